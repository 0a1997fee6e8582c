"""The WorkflowTemplates, and the accounts and rights of their pods, as templates of Helm.

They are rendered with a sentinel for each value of the chart, and again without each option. Lines that differ stand
under a condition of Helm's, sentinels become its expressions, and braces that are Argo's stay braces. What does not
belong here: what a WorkflowTemplate does, which `workflows/templates/` says.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any, Final

from klever.workflows.manifest import Document
from klever.workflows.templates import access
from klever.workflows.templates.golden import as_yaml
from klever.workflows.templates.settings import Settings
from klever.workflows.templates.table import TEMPLATES, build

WRITTEN: Final = "Written by charts/generate.py from {source}; change that instead."
#: What stands in rendered templates for a value of the chart, in a form that `Settings` accepts, and how Helm says it.
NAMESPACE, RELEASE, SERVICE, HOME = "sentinel-namespace", "sentinel-release", "sentinel-service", "sentinel-home"
URL, CLAIM = "https://sentinel.example/url/", "sentinel-claim"
EXPRESSIONS: Final = {
    NAMESPACE: "$namespace",
    RELEASE: "$.Release.Name",
    SERVICE: "$.Release.Service",
    HOME: "$.Release.Namespace",
    URL: "$url",
    CLAIM: "$claim",
    "sentinel-prefix/": "$values.image.prefix",
    "sentinel-tag": "$values.image.tag",
    "sentinel-registry": "$values.registry.secret",
    "sentinel-authorities": "$values.registry.caConfigMap",
    "sentinel-argo-account": "$values.argo.serviceAccount",
    "sentinel-argo-namespace": "$values.argo.namespace",
    "910001s": "$values.pipelines.remember",
    "910002s": "$values.pipelines.keepLogs",
    "910003": "$values.pipelines.deadlines.stepSeconds",
    "910004": "$values.pipelines.deadlines.convertSeconds",
    "910005": "$values.pipelines.deadlines.workflowSeconds",
    "910006": "$values.pipelines.keepSucceededSeconds",
    "910007": "$values.pipelines.keepFailedSeconds",
    "910008": "$values.pipelines.retries",
}
_SENTINEL: Final = re.compile("|".join(re.escape(each) for each in sorted(EXPRESSIONS, key=len, reverse=True)))
#: Every option on, with sentinels for values.
FULL: Final = Settings(
    image_prefix="sentinel-prefix/",
    image_tag="sentinel-tag",
    # No other field of a template has this word.
    image_pull_policy="Never",
    registry_secret="sentinel-registry",  # noqa: S106 - a name
    plain_http=True,
    ca_config_map="sentinel-authorities",
    controller_service_account="sentinel-argo-account",
    controller_namespace="sentinel-argo-namespace",
    allowed_urls=(URL,),
    allowed_claims=(CLAIM,),
    remember="910001s",
    keep_logs="910002s",
    step_deadline=910003,
    convert_deadline=910004,
    workflow_deadline=910005,
    keep_succeeded=910006,
    keep_failed=910007,
    retries=910008,
    reserve_storage=True,
)


@dataclass(frozen=True)
class Option:
    """Lines that are there, there otherwise, or there several times, as a value of the chart says."""

    #: What Helm opens the lines with.
    opening: str
    #: The settings without them.
    off: Mapping[str, Any]


#: In the order in which they are opened; one stands within another where both are said of a line.
OPTIONS: Final = (
    Option("if $values.pipelines.remember", {"remember": ""}),
    Option('if eq $values.argo.version "3"', {"argo": "4"}),
    Option("if $values.registry.plainHttp", {"plain_http": False}),
    Option("if $values.registry.caConfigMap", {"ca_config_map": ""}),
    Option("if $values.pipelines.reserveStorage", {"reserve_storage": False}),
    Option("range $url := $values.pipelines.allowedUrls", {"allowed_urls": ()}),
    Option("range $number, $claim := $values.pipelines.allowedClaims", {"allowed_claims": ()}),
)


@dataclass
class Line:
    """A line of a rendered document, and the options without which it is not there or is another."""

    text: str
    options: list[Option] = field(default_factory=list)
    #: What stands there without the last of the options.
    otherwise: list[str] = field(default_factory=list)


def with_options(render: Callable[[Settings], str]) -> Iterator[str]:
    """Yield the lines of a Helm template for what ``render`` gives, whatever the options."""
    lines = [Line(text) for text in render(FULL).splitlines()]
    for option in OPTIONS:
        _mark(lines, render(replace(FULL, **option.off)).splitlines(), option)
    opened: list[Option] = []
    for position, line in enumerate(lines):
        while opened and opened[-1] not in line.options:
            yield from _closed(lines[position - 1])
            opened.pop()
        if line.options[: len(opened)] != opened:
            raise SystemExit(f"charts/generate.py cannot nest the options of {line.text!r}")
        for option in line.options[len(opened) :]:
            yield f"{{{{- {option.opening} }}}}"
            opened.append(option)
        yield as_helm(line.text)
    while opened:
        yield from _closed(lines[-1])
        opened.pop()


def _closed(last: Line) -> Iterator[str]:
    if last.otherwise:
        yield "{{- else }}"
        yield from map(as_helm, last.otherwise)
    yield "{{- end }}"


def _mark(lines: list[Line], without: Sequence[str], option: Option) -> None:
    texts = [line.text for line in lines]
    for kind, begin, end, other_begin, other_end in SequenceMatcher(None, texts, without, autojunk=False).get_opcodes():
        if kind == "equal":
            continue
        if kind == "insert":
            raise SystemExit(f"charts/generate.py cannot add {without[other_begin:other_end]!r} for {option.opening}")
        if kind == "delete":
            begin, end = _aligned(texts, begin, end)
        for line in lines[begin:end]:
            line.options.append(option)
        lines[end - 1].otherwise = list(without[other_begin:other_end])


def _aligned(texts: Sequence[str], begin: int, end: int) -> tuple[int, int]:
    """Return the same removal moved to where it begins: the lines of an item, and not the end of one before it."""
    while begin and texts[begin - 1] == texts[end - 1]:
        begin, end = begin - 1, end - 1
    while _indent(texts[begin]) > min(map(_indent, texts[begin:end])):
        if texts[begin] != texts[end]:
            raise SystemExit(f"charts/generate.py cannot remove {texts[begin:end]!r}")
        begin, end = begin + 1, end + 1
    return begin, end


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def as_helm(line: str) -> str:
    """Return a line of YAML in which Helm puts values for the sentinels, and leaves braces that are Argo's."""
    if line.endswith(" imagePullPolicy: Never"):
        return line.replace("Never", "{{ $values.image.pullPolicy }}")
    if line.endswith(" name: source-0"):
        return line.replace("0", "{{ $number }}")
    lead, scalar = re.fullmatch(r"((?:\s*- )*\s*(?:[\w./-]+: )?)(.*)", line).groups()  # type: ignore[union-attr]
    if not _SENTINEL.search(scalar):
        return escaped(line)
    if scalar.isdigit():
        return f"{lead}{{{{ int64 {EXPRESSIONS[scalar]} }}}}"
    if scalar.startswith("'"):
        # Of the values that stand within other text, the schema allows no letter that would mean something there.
        return lead + _SENTINEL.sub(lambda found: f"{{{{ {EXPRESSIONS[found[0]]} }}}}", escaped(scalar))
    if scalar in EXPRESSIONS:
        return f"{lead}{{{{ {EXPRESSIONS[scalar]} | quote }}}}"
    parts = [EXPRESSIONS.get(part) or json.dumps(part) for part in re.split(f"({_SENTINEL.pattern})", scalar) if part]
    # print would set blanks between values of which none is text.
    return f"{lead}{{{{ printf {json.dumps('%s' * len(parts))} {' '.join(parts)} | quote }}}}"


def escaped(text: str) -> str:
    """Return text that Helm gives back as it is."""
    return text.replace("{{", '{{ "{{" }}')


def placed(document: Document, namespace: str = NAMESPACE) -> Document:
    """Return a document in its namespace, marked as the release's."""
    metadata = dict(document["metadata"])
    labels = metadata.pop("labels") | {
        "app.kubernetes.io/instance": RELEASE,
        "app.kubernetes.io/managed-by": SERVICE,
    }
    metadata = {"name": metadata.pop("name"), "namespace": namespace, "labels": labels} | metadata
    return document | {"metadata": metadata}


def helm_template(source: str, conditions: Iterable[str], lines: Iterable[str], *, each_namespace: bool = True) -> str:
    """Return a template that gives the lines under conditions, in each namespace for jobs."""
    opened = [*conditions, *(["range $namespace := $values.namespaces"] if each_namespace else [])]
    return "\n".join(
        [
            f"{{{{- /* {WRITTEN.format(source=source)} */}}}}",
            '{{- $values := include "klever.values" . | fromYaml }}',
            *(f"{{{{- {each} }}}}" for each in opened),
            "---",
            *lines,
            *["{{- end }}"] * len(opened),
            "",
        ]
    )


def pipelines() -> dict[str, str]:
    """Return the Helm templates of the WorkflowTemplates, and of what access they need, by file name."""
    asked = "if $values.pipelines.install"

    def template(name: str) -> Callable[[Settings], str]:
        return lambda given: as_yaml([placed(build(given, [name])[0].to_dict())])

    def allowed(given: Settings, *, cache: bool) -> str:
        documents = [
            placed(each, each["metadata"].get("namespace", NAMESPACE))
            for each in access.build(given, NAMESPACE)
            if (each["metadata"].get("namespace") == given.controller_namespace) is cache
        ]
        return as_yaml(map(of_the_release, documents) if cache else documents)

    made = {
        f"pipelines-{module}.yaml": helm_template(
            f"workflows/templates/{module}.py", [asked], with_options(template(name))
        )
        for name, module in TEMPLATES.items()
    }
    source = "workflows/templates/access.py"
    made["pipelines-access.yaml"] = helm_template(
        source, [asked], with_options(lambda given: allowed(given, cache=False))
    )
    made["pipelines-cache.yaml"] = helm_template(
        source,
        [asked, "if and $values.argo.cacheRights $values.pipelines.remember"],
        # The conditions are those of the file: without the option there is nothing.
        map(as_helm, allowed(FULL, cache=True).splitlines()),
        each_namespace=False,
    )
    return made


def of_the_release(document: Document) -> Document:
    """Return a document of Argo's namespace by a name of its own: several releases have one there."""
    name = f"{document['metadata']['name']}-{HOME}"
    metadata = document["metadata"] | {"name": name}
    reference = document.get("roleRef")
    return document | {"metadata": metadata} | ({"roleRef": reference | {"name": name}} if reference else {})
