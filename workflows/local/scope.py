"""What tasks and steps can refer to: inputs, and the outputs of what came before (Argo's ``scope.go``).

What does not belong here: replacing the references.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from klever.steps.errors import PermanentError
from klever.workflows.local.expressions import ExpressionError, environment, parse
from klever.workflows.local.gojson import compact_json
from klever.workflows.local.gotext import dump_json, format_value, timestamp
from klever.workflows.local.nodes import LocalNode, Nodes, Outputs
from klever.workflows.local.variables import ABSENT, ABSENT_ARGUMENT
from klever.workflows.status import Phase


class OutputsError(PermanentError):
    """A template's outputs cannot be made of those of its tasks."""

    usual_step = "check the names in the template's outputs, or give them a default"


class Scope:
    """The variables of one template's inside."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self.values: dict[str, str | None] = {}
        for parameter in (template.get("inputs") or {}).get("parameters") or []:
            self.values[f"inputs.parameters.{parameter['name']}"] = parameter.get("value", "")

    def over(self, globals_: Mapping[str, str]) -> dict[str, str | None]:
        """Return these variables and the workflow's; these win."""
        return {**globals_, **self.values}

    def add_node(self, prefix: str, node: LocalNode, nodes: Nodes) -> None:
        """Add what a node tells of itself (``buildLocalScope``); a retry node tells of its last try."""
        node = nodes.last_try(node) or node
        self.values[f"{prefix}.id"] = node.id
        if node.started:
            self.values[f"{prefix}.startedAt"] = timestamp(node.started)
        if node.finished:
            self.values[f"{prefix}.finishedAt"] = timestamp(node.finished)
        self.values[f"{prefix}.status"] = node.phase.value
        self.add_outputs(prefix, node.given)

    def add_outputs(self, prefix: str, outputs: Outputs | None) -> None:
        """Add outputs (``addOutputsToLocalScope``)."""
        if outputs is None:
            return
        if prefix != "workflow" and outputs.result is not None:
            self.values[f"{prefix}.outputs.result"] = outputs.result
        if prefix != "workflow" and outputs.exit_code is not None:
            self.values[f"{prefix}.exitCode"] = str(outputs.exit_code)
        for name, value in outputs.parameters.items():
            if value is not None:
                self.values[f"{prefix}.outputs.parameters.{name}"] = value

    def add_skipped(self, prefix: str, node: LocalNode, template: Mapping[str, Any]) -> None:
        """Add the declared outputs of a node that did not run: their default, or nothing."""
        if node.given is not None or node.phase not in (Phase.SKIPPED, Phase.OMITTED):
            return
        for parameter in (template.get("outputs") or {}).get("parameters") or []:
            default = (parameter.get("valueFrom") or {}).get("default")
            key = f"{prefix}.outputs.parameters.{parameter['name']}"
            self.values[key] = ABSENT if default is None else default

    def add_items(self, prefix: str, children: Iterable[LocalNode]) -> None:
        """Add the outputs of a loop's items as JSON lists, in the items' order (``processAggregateNodeOutputs``)."""
        kept = [child for child in children if not child.hooked and not child.retried]
        kept.sort(key=lambda child: _loop_index(child.name))
        parameters: list[dict[str, str]] = []
        by_name: dict[str, list[str]] = {}
        results: list[Any] = []
        for child in kept:
            if child.given is None or child.phase is not Phase.SUCCEEDED:
                continue
            if child.given.parameters:
                values = {name: value or "" for name, value in child.given.parameters.items()}
                parameters.append(values)
                for name, value in values.items():
                    by_name.setdefault(name, []).append(value)
            if child.given.result is not None:
                results.append(_item(child.given.result))
        if not kept:
            return
        self.values[f"{prefix}.outputs.result"] = "[" + ",".join(results) + "]"
        self.values[f"{prefix}.outputs.parameters"] = dump_json(parameters)
        for name, values_of_name in by_name.items():
            self.values[f"{prefix}.outputs.parameters.{name}"] = _aggregate(values_of_name)

    def mark_absent(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments in which a pure reference to nothing is the mark that a default may answer."""
        marked = [
            {**parameter, "value": ABSENT_ARGUMENT} if self._is_absent(parameter.get("value")) else parameter
            for parameter in arguments.get("parameters") or []
        ]
        return {**arguments, "parameters": marked} if marked else dict(arguments)

    def _is_absent(self, value: Any) -> bool:
        if not isinstance(value, str) or not (value.startswith("{{") and value.endswith("}}")):
            return False
        key = value[2:-2].strip()
        return "{{" not in key and "}}" not in key and key in self.values and self.values[key] is ABSENT

    def outputs_of(self, template: Mapping[str, Any]) -> Outputs | None:
        """Return what the template's ``outputs`` makes of these variables; raises `OutputsError`."""
        declared = (template.get("outputs") or {}).get("parameters") or []
        if not declared:
            return None
        return Outputs(
            {parameter["name"]: self._output(parameter) for parameter in declared},
            global_names=global_names(template),
        )

    def _output(self, parameter: Mapping[str, Any]) -> str:
        source = parameter.get("valueFrom")
        if source is None:
            raise OutputsError("output parameters must have a valueFrom specified")
        default = source.get("default")
        try:
            value = self._resolve(source)
        except (OutputsError, ExpressionError):
            if default is None:
                raise
            return str(default)
        if value is ABSENT:
            if default is None:
                raise OutputsError(
                    f'output parameter "{parameter["name"]}": "{source.get("parameter", "")}" is an absent optional '
                    "(skipped/omitted node output with no default)"
                )
            return str(default)
        return format_value(value)

    def _resolve(self, source: Mapping[str, Any]) -> Any:
        if text := source.get("expression"):
            value = parse(text).evaluate(environment(self.values))
            if value is None:
                raise OutputsError(f'failed to evaluate expression "{text}"')
            return value
        reference = source.get("parameter") or ""
        if not reference:
            return ""
        name = reference.removeprefix("{{").removesuffix("}}").strip()
        if name.startswith("="):
            return parse(name[1:]).evaluate(environment(self.values))
        if name not in self.values:
            raise OutputsError(f'Unable to resolve: "{name}"')
        return self.values[name]


def global_names(template: Mapping[str, Any]) -> dict[str, str]:
    """Return under which name the whole workflow knows each output that it knows."""
    declared = (template.get("outputs") or {}).get("parameters") or []
    return {parameter["name"]: parameter["globalName"] for parameter in declared if parameter.get("globalName")}


def _loop_index(name: str) -> int:
    """Return 2 of ``task(2:item)``."""
    return int(name.rsplit("(", 1)[-1].split(":", 1)[0])


def _item(result: str) -> str:
    """Return a result as it stands in a list: its JSON; raises `OutputsError` for what is none."""
    try:
        return compact_json(result)
    except ValueError as error:
        raise OutputsError(str(error)) from error


def _aggregate(values: list[str]) -> str:
    """Return a JSON list of the values: of what they hold if all hold lists or mappings, else of texts."""
    read = []
    for value in values:
        try:
            inner = json.loads(value, parse_int=float)
        except (ValueError, RecursionError):
            return dump_json(values)
        if not isinstance(inner, list | dict):
            return dump_json(values)
        read.append(inner)
    return dump_json(read)
