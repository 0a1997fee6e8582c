"""The policy: which projects of Harbor a push counts in, which namespace each maps to, which pipeline a push starts.

    projects:
      - match: release            # the project's name, or a pattern: vision-*; or a list of them
        namespace: models         # where its ModelJobs are made
        pipeline:                 # left out: the model's signature is read
          template: klever-release
          arguments: {formats: "ONNX"}
        tags: ["v*"]              # only pushes with such a tag; left out: every push
        repositories: ["mnist*"]  # names within the project; left out: all
      - match: release
        namespace: models

    # Who pushes the results of pipelines: their pushes start none. Left out: the robots that klever harbor setup makes.
    robots: ["robot$klever", "robot$*+klever"]

The first entry that covers a push decides; what none covers starts nothing. Patterns are a shell's (``*``, ``?``,
``[a-z]``), by which ``*`` goes over slashes. What does not belong here: what is in the registry.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from klever.steps.errors import MetadataError, PermanentError, printable
from klever.steps.model.document import parse_yaml

#: The robots that ``klever harbor setup`` makes, for the whole of Harbor or for one project.
ROBOTS: Final = ("robot$klever", "robot$*+klever")
#: Largest policy that is read, in bytes: that of a ConfigMap (k8s.io/docs: ConfigMaps).
MAX_POLICY_BYTES: Final = 1 << 20
_MAX_PATTERN: Final = 255
_MAX_PATTERNS: Final = 100
_MAX_RULES: Final = 1000
#: RFC 1123 label, which a namespace's name is, and subdomain, which that of a WorkflowTemplate is.
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_SUBDOMAIN: Final = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
_WILD: Final = frozenset("*?[")


class PolicyError(PermanentError):
    """The policy cannot be read, or is not one."""

    usual_step = "correct the policy (the key policy.yaml of the ConfigMap); it is read again by itself"


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str | int | float) else value


def _as_text(value: object) -> object:
    """Return numbers and booleans of YAML as the text that they were written as."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


_Pattern = Annotated[str, BeforeValidator(_as_text), Field(min_length=1, max_length=_MAX_PATTERN)]
_Patterns = Annotated[tuple[_Pattern, ...], BeforeValidator(_as_list), Field(min_length=1, max_length=_MAX_PATTERNS)]
_Value = Annotated[str, BeforeValidator(_as_text), Field(max_length=1 << 16)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))


class PipelineChoice(_Part):
    """A WorkflowTemplate of the namespace, with arguments besides ``model``."""

    template: Annotated[str, Field(pattern=f"^{_SUBDOMAIN}$")]
    arguments: Annotated[dict[str, _Value], Field(max_length=64)] = Field(default_factory=dict)

    @field_validator("arguments")
    @classmethod
    def _leave_model_to_the_push(cls, value: dict[str, str]) -> dict[str, str]:
        if taken := value.keys() & {"model", "as"}:
            raise ValueError(f"{min(taken)} is not an argument to choose: it is what was pushed")
        return value


class Rule(_Part):
    """What happens to pushes that this covers."""

    match: _Patterns
    namespace: Annotated[str, Field(pattern=f"^{_LABEL}$")]
    #: None: the signature is read.
    pipeline: PipelineChoice | None = None
    repositories: _Patterns = ("*",)
    tags: _Patterns = ("*",)

    def covers(self, project: str, repository: str, tag: str | None) -> bool:
        """Say whether a push counts here; ``repository`` is its name within the project.

        What has no tag counts where every tag does.
        """
        named = "*" in self.tags if tag is None else _matches(tag, self.tags)
        return named and _matches(project, self.match) and _matches(repository, self.repositories)


class Policy(_Part):
    """The whole policy."""

    projects: Annotated[tuple[Rule, ...], Field(max_length=_MAX_RULES)] = ()
    robots: Annotated[tuple[_Pattern, ...], BeforeValidator(_as_list), Field(max_length=_MAX_PATTERNS)] = ROBOTS

    def rule_for(self, project: str, repository: str, tag: str | None) -> Rule | None:
        """Return the first rule that covers a push, None for none; ``repository`` is its name within the project."""
        return next((rule for rule in self.projects if rule.covers(project, repository, tag)), None)

    def has_project(self, project: str) -> bool:
        """Say whether any rule is about a project."""
        return any(_matches(project, rule.match) for rule in self.projects)

    def is_robot(self, operator: str) -> bool:
        """Say whether who pushed is one of ours."""
        return bool(operator) and _matches(operator, self.robots)

    @property
    def names(self) -> tuple[str, ...]:
        """The projects that the rules name in full."""
        patterns = (pattern for rule in self.projects for pattern in rule.match)
        return tuple(dict.fromkeys(pattern for pattern in patterns if not _is_wild(pattern)))

    @property
    def has_patterns(self) -> bool:
        """Whether projects have to be listed to know which are meant."""
        return any(_is_wild(pattern) for rule in self.projects for pattern in rule.match)

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that jobs are made in."""
        return tuple(dict.fromkeys(rule.namespace for rule in self.projects))


def parse_policy(text: str | bytes, what: str = "the policy") -> Policy:
    """Parse a policy; raises `PolicyError` that names the line and the key."""
    if len(text) > MAX_POLICY_BYTES:
        raise PolicyError(f"{what} is larger than {MAX_POLICY_BYTES >> 20} MiB", stage="policy")
    try:
        document = parse_yaml(text, what)
    except MetadataError as error:
        raise PolicyError(error.cause, stage="policy") from None
    if document is None:
        return Policy()
    if not isinstance(document, dict):
        raise PolicyError(f"{what} is not a map with the key projects", stage="policy")
    try:
        return Policy.model_validate(document)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        raise PolicyError(_tell(what, text, faults[0], len(faults) - 1), stage="policy") from None


class PolicyFile:
    """A policy in a file, read again when the file changes; safe to share between threads.

    A mounted ConfigMap changes by a symbolic link that is swapped, so what counts is the file that the path leads to.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._policy: Policy | None = None
        self._problem: PolicyError | None = None

    @property
    def problem(self) -> PolicyError | None:
        """What is wrong with the file as it is; the last good policy counts meanwhile."""
        return self._problem

    def current(self) -> Policy:
        """Return the policy as it is now; raises `PolicyError` where there never was a good one."""
        with self._lock:
            found = self._look()
            # A file that is away is looked for again each time: it is about to be replaced.
            if found != self._seen or found is None:
                self._read(found)
            if self._policy is None:
                raise self._problem or PolicyError("there is no policy", stage="policy")
            return self._policy

    def _look(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size

    def _read(self, found: tuple[int, ...] | None) -> None:
        try:
            with self._path.open("rb") as file:
                text = file.read(MAX_POLICY_BYTES + 1)
            self._policy = parse_policy(text, f"the policy {self._path}")
            self._problem = None
        except OSError as error:
            self._problem = PolicyError(
                f"the policy {self._path} cannot be read: {error.strerror or error}",
                stage="policy",
                next_step="mount the ConfigMap with the key policy.yaml, or set KLEVER_POLICY_FILE",
            )
        except PolicyError as error:
            self._problem = error
        self._seen = found


def _matches(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _is_wild(pattern: str) -> bool:
    return not _WILD.isdisjoint(pattern)


#: What pydantic says, for people who write a policy.
_FAULTS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not a key of a policy",
    "string_pattern_mismatch": "is not a name that Kubernetes takes: lower-case letters, digits and hyphens",
    "string_type": "is not text",
    "string_too_short": "is empty",
    "tuple_type": "is not a list",
    "dict_type": "is not a map",
    "model_type": "is not a map",
    "too_short": "is empty",
}


def _tell(what: str, text: str | bytes, fault: Any, others: int) -> str:
    """Return a sentence about a fault that pydantic found: the line, the key, what is wrong."""
    place = [part for part in fault["loc"] if not str(part).startswith(("function-", "tuple["))]
    said = printable(str(fault["msg"]).removeprefix("Value error, "), 200)
    message = _FAULTS.get(fault["type"], said[:1].lower() + said[1:])
    key = re.sub(r"\.(\d+)", r"[\1]", ".".join(str(part) for part in place))
    more = f" (and {others} more)" if others else ""
    return f"{what}, line {_line(text, place)}: {printable(key) or 'it'} {message}{more}"


def _line(text: str | bytes, place: Sequence[Any]) -> int:
    """Return the line of the key, or of the last one on the way to it that is there."""
    decoded = text if isinstance(text, str) else text.decode("utf-8-sig", "replace")
    node = yaml.compose(decoded, Loader=yaml.SafeLoader)
    line = 1
    for part in place:
        found = next(_below(node, part), None)
        if found is None:
            break
        line, node = found
    return line


def _below(node: yaml.Node | None, part: object) -> Iterator[tuple[int, yaml.Node]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                yield key.start_mark.line + 1, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        child = node.value[part]
        yield child.start_mark.line + 1, child
