"""Hold the arguments that a person gives against the parameters that a workflow declares, before anything runs.

What does not belong here: reading documents, and the values themselves, which only the steps understand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from klever.steps.errors import PermanentError, printable


class InvalidArgumentsError(PermanentError):
    """Arguments that the workflow does not declare, lacks, or does not admit; ``faults`` has a sentence for each."""

    def __init__(self, of: str, faults: tuple[str, ...]) -> None:
        super().__init__(
            f"the arguments of {of} are not right: {'; '.join(faults)}",
            stage="arguments",
            next_step=f"correct them; klever run {of} --describe lists what there is",
        )
        self.faults = faults


@dataclass(frozen=True)
class Parameter:
    """A parameter as ``spec.arguments.parameters`` declares it."""

    name: str
    #: None where a value has to be given.
    default: str | None = None
    description: str = ""
    #: The only values that it may have; empty for any.
    choices: tuple[str, ...] = ()
    #: Whether the cluster has a value for it, from a ConfigMap for instance, which is not known here.
    elsewhere: bool = False

    @property
    def required(self) -> bool:
        """Whether nothing but an argument gives it a value."""
        return self.default is None and not self.elsewhere


def declared_parameters(spec: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the parameters of a workflow's or template's ``spec``, by name and in their order."""
    arguments = spec.get("arguments") or {}
    return {str(each["name"]): _parameter(each) for each in arguments.get("parameters") or ()}


def _parameter(declared: Mapping[str, Any]) -> Parameter:
    # Argo's Parameter (workflow_types.go): each place that a value may come from has a field.
    source = declared.get("valueFrom") or {}
    default = declared.get("value", declared.get("default", source.get("default")))
    return Parameter(
        name=str(declared["name"]),
        default=None if default is None else plain(default),
        description=str(declared.get("description") or ""),
        choices=tuple(plain(choice) for choice in declared.get("enum") or ()),
        elsewhere=bool(source) and default is None,
    )


def plain(value: object) -> str:
    """Return a parameter's value as Argo reads it: numbers and booleans as their JSON text (``AnyString``)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def check_arguments(arguments: Mapping[str, str], parameters: Mapping[str, Parameter], *, of: str) -> None:
    """Raise `InvalidArgumentsError` with every fault at once: unknown names, missing values, values not admitted."""
    faults = [_unknown(name, parameters) for name in arguments if name not in parameters]
    missing = [parameter.name for parameter in parameters.values() if parameter.required]
    faults += [f"{name} has to be given" for name in missing if name not in arguments]
    for name, value in arguments.items():
        choices = parameters[name].choices if name in parameters else ()
        if choices and value not in choices:
            faults.append(f"{name} is {printable(value)!r}, expected one of {', '.join(map(repr, choices))}")
    if faults:
        raise InvalidArgumentsError(of, tuple(faults))


def _unknown(name: str, parameters: Mapping[str, Parameter]) -> str:
    close = get_close_matches(name, parameters, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(parameters) or 'none'}"
    return f"{printable(name)!r} is not a parameter ({hint})"
