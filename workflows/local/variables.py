"""Substitute ``{{...}}`` in a document as Argo does (``util/template``): simple tags, and expressions.

A document's every text is substituted on its own, keys included. What does not belong here: which variables there are
at which point, and what happens with a text that has none.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from klever.steps.errors import PermanentError
from klever.workflows.local.expressions import ExpressionError, environment, parse
from klever.workflows.local.expressions.environment import has_variable
from klever.workflows.local.gotext import check_substitutable, dump_json

#: A variable with this value is a skipped task's output that has no default: it is there, and it is nothing.
ABSENT: Final = None

#: What stands in an argument for a reference to `ABSENT`, until the template that takes it says whether it has a
#: default (Argo's ``AbsentOptionalArgumentValue``).
ABSENT_ARGUMENT: Final = "__argo-internal.absent-optional-output__"

#: These come later than the first substitution, so an expression with one of them waits (``variablesToCheck``).
_LATE: Final = (
    "item", "retries", "lastRetry.exitCode", "lastRetry.status", "lastRetry.duration", "lastRetry.message",
    "workflow.status", "workflow.failures",
)  # fmt: skip

#: Says whether a variable has to be there.
Strict = Callable[[str], bool]


class UnresolvedError(PermanentError):
    """A tag names a variable that is not there (yet); Argo waits and tries again."""

    usual_step = "check the name of the variable, and that what gives it comes before"


class AbsentValueError(PermanentError):
    """A tag names the output of a skipped task, which has no default."""

    usual_step = "give the output or the input a default"


def everything(_: str) -> bool:
    """Demand every variable."""
    return True


def nothing(_: str) -> bool:
    """Leave in place what is not there."""
    return False


def references(name: str) -> bool:
    """Demand what tasks and steps give; leave the rest, such as ``item``, for later."""
    root = name.split(".", 1)[0]
    return root in ("tasks", "steps")


def substitute(
    value: Any, variables: Mapping[str, Any], *, strict: Strict = nothing, artifacts_later: bool = True
) -> Any:
    """Return ``value`` with the tags of all its texts replaced.

    Raises `UnresolvedError` for a demanded variable that is missing, `AbsentValueError`, `ExpressionError`.
    """
    return _Substitution(variables, strict, artifacts_later=artifacts_later).of(value)


def tags(value: Any) -> Iterator[str]:
    """Yield the simple tags in all texts of ``value``, without their braces."""
    if isinstance(value, str):
        rest = value
        while "{{" in rest:
            tag, closing, rest = rest.partition("{{")[2].partition("}}")
            if closing and not tag.startswith("="):
                yield tag
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tags(key)
            yield from tags(item)
    elif isinstance(value, list):
        for item in value:
            yield from tags(item)


class _Substitution:
    def __init__(self, variables: Mapping[str, Any], strict: Strict, *, artifacts_later: bool) -> None:
        self._variables = variables
        self._strict = strict
        self._artifacts_later = artifacts_later
        self._environment: dict[str, Any] | None = None

    def of(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value) if "{{" in value else value
        if isinstance(value, Mapping):
            return {self.of(key): self.of(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.of(item) for item in value]
        return value

    def text(self, text: str) -> str:
        """Replace the tags of one text: the first ``}}`` ends a tag, whatever is in it (fasttemplate)."""
        parts: list[str] = []
        rest = text
        while True:
            before, opening, rest = rest.partition("{{")
            parts.append(before)
            if not opening:
                break
            tag, closing, after = rest.partition("}}")
            if not closing:
                parts += ["{{", rest]
                break
            parts.append(self._expression(tag[1:]) if tag.startswith("=") else self._simple(tag))
            rest = after
        return "".join(parts)

    def _simple(self, tag: str) -> str:
        name = tag.strip()
        if name in self._variables:
            value = self._variables[name]
            if value is ABSENT:
                raise AbsentValueError(
                    f"unable to substitute {{{{{tag}}}}}: output is an absent optional "
                    "(skipped/omitted node with no default)"
                )
            if not isinstance(value, str):
                raise UnresolvedError(f"failed to resolve {{{{{tag}}}}} to string")
            return check_substitutable(value)
        # {{outer-{{inner}}}}: the inner tag first; the outer one in the next pass.
        if (index := tag.rfind("{{")) > 0 and (inner := tag[index + 2 :]) in self._variables:
            value = self._variables[inner]
            if value is ABSENT:
                raise AbsentValueError(
                    f'unable to substitute nested tag {{{{{tag}}}}}: "{inner}" is an absent optional'
                )
            if isinstance(value, str):
                return "{{" + tag[:index] + check_substitutable(value)
        later = self._artifacts_later and ".outputs.artifacts." in name
        if self._strict(name) and not later:
            raise UnresolvedError(f"failed to resolve {{{{{tag}}}}}")
        return f"{{{{{tag}}}}}"

    def _expression(self, source: str) -> str:
        unresolved = f"{{{{={source}}}}}"
        try:
            expression = parse(source)
        except ExpressionError as error:
            raise ExpressionError(f"failed to evaluate expression: {error.cause}") from error
        if self._environment is None:
            self._environment = environment(self._variables)
        missing = [name for name in expression.identifiers() if not self._has(name)]
        for name in missing:
            if self._strict(name):
                raise UnresolvedError(f"failed to evaluate expression: {name} is missing")
        lenient = bool(missing) or self._strict is nothing
        if lenient and any(name in _LATE for name in missing):
            return unresolved
        try:
            value = expression.evaluate(self._environment)
        except ExpressionError as error:
            if lenient:
                return unresolved
            raise ExpressionError(f"failed to evaluate expression: {error.cause}") from error
        if value is None:
            if lenient:
                return unresolved
            raise ExpressionError(f'failed to evaluate expression "{source}"')
        return check_substitutable(value) if isinstance(value, str) else dump_json(value)

    def _has(self, name: str) -> bool:
        root = name.split(".", 1)[0]
        return root in ("asInt", "asFloat", "jsonpath", "toJson", "sprig") or has_variable(
            self._environment or {}, name
        )
