"""Give a template its inputs, and put them where the template names them (Argo's ``ProcessArgs``).

Substitution goes over a template twice, as in Argo: the first time with what the whole workflow knows, the second
time with the inputs as well. So a value with ``{{workflow.name}}`` in it is replaced in turn, and one with
``{{inputs.parameters.x}}`` too; one with ``{{tasks.x...}}`` in a pod is not. What does not belong here: the values.
"""

import copy
from collections.abc import Mapping
from typing import Any

from klever.workflows.local.errors import TemplateError
from klever.workflows.local.gotext import dump_json
from klever.workflows.local.variables import ABSENT_ARGUMENT, substitute


def parameters_of(holder: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the parameters of ``inputs``, ``outputs`` or ``arguments``."""
    return list((holder or {}).get("parameters") or [])


def by_name(holder: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the parameters by their names."""
    return {parameter["name"]: parameter for parameter in parameters_of(holder)}


def process(
    template: Mapping[str, Any],
    arguments: Mapping[str, Any],
    globals_: Mapping[str, str],
    local: Mapping[str, str],
) -> dict[str, Any]:
    """Return the template with inputs and variables in place; raises `TemplateError` and what substitution raises."""
    made = copy.deepcopy(dict(template))
    given = by_name(arguments)
    inputs = made.get("inputs") or {}
    if inputs.get("parameters"):
        inputs["parameters"] = [_input(declared, given.get(declared["name"])) for declared in inputs["parameters"]]
    return substitute_twice(made, globals_, local)


def _input(declared: Mapping[str, Any], argument: Mapping[str, Any] | None) -> dict[str, Any]:
    parameter = dict(declared)
    name = parameter["name"]
    if parameter.get("value") is None and parameter.get("default") is not None:
        parameter["value"] = parameter["default"]
    if argument is not None and argument.get("value") == ABSENT_ARGUMENT:
        if parameter.get("value") is None:
            raise TemplateError(
                f"inputs.parameters.{name}: argument references an absent optional "
                "(skipped/omitted node output with no default)"
            )
    elif argument is not None:
        parameter["value"] = argument.get("value")
    if parameter.get("value") is None:
        raise TemplateError(f"inputs.parameters.{name} was not supplied")
    return parameter


def substitute_twice(template: dict[str, Any], globals_: Mapping[str, str], local: Mapping[str, str]) -> dict[str, Any]:
    """Substitute what the workflow knows, then the inputs too (``SubstituteParams``)."""
    variables: dict[str, str] = {**globals_, **local}
    first: dict[str, Any] = substitute(template, variables)
    parameters = parameters_of(first.get("inputs"))
    for parameter in parameters:
        variables[f"inputs.parameters.{parameter['name']}"] = parameter["value"]
    variables["inputs.parameters"] = parameters_json(parameters)
    for parameter in parameters_of(first.get("outputs")):
        if path := (parameter.get("valueFrom") or {}).get("path"):
            variables[f"outputs.parameters.{parameter['name']}.path"] = path
    second: dict[str, Any] = substitute(first, variables)
    return second


#: The order of the fields in Argo's ``Parameter``, which is that of its JSON.
_FIELDS = ("name", "default", "value", "valueFrom", "globalName", "enum", "description")


def parameters_json(parameters: list[dict[str, Any]]) -> str:
    """Return ``{{inputs.parameters}}``: what Hera's runner reads; null where there are none."""
    if not parameters:
        return "null"
    listed = (
        "{"
        + ",".join(
            f'"{field}":{dump_json(parameter[field])}'
            for field in _FIELDS
            if parameter.get(field) or (field == "value" and field in parameter)
        )
        + "}"
        for parameter in parameters
    )
    return "[" + ",".join(listed) + "]"
