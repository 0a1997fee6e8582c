"""Refuse what Argo refuses before a workflow starts (``workflow/validate``), in its words.

What does not belong here: what only this machine refuses.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from klever.workflows.local.arguments import parameters_of
from klever.workflows.local.depends import Graph, invalid_result
from klever.workflows.local.errors import InvalidWorkflowError, TemplateError
from klever.workflows.local.items import is_loop
from klever.workflows.local.library import Base, Library
from klever.workflows.local.variables import tags

_MAX_NAME: Final = 63
_FIELD: Final = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_PARAMETER: Final = re.compile(r"[-a-zA-Z0-9_]+")
_KINDS: Final = (
    "container", "containerSet", "steps", "script", "resource", "dag", "suspend", "data", "http", "plugin",
)  # fmt: skip
_CHOICES: Final = "container, containerSet, steps, script, resource, dag, suspend, template, template ref"
#: Only variables that begin so have to be there; others are the user's own text.
_ROOTS: Final = ("item.", "steps.", "inputs.", "outputs.", "pod.", "workflow.", "tasks.")
#: These are known when they are needed.
_LATE: Final = (
    "outputs.", "workflow.creationTimestamp", "workflow.scheduledTime", "workflow.duration", "tasks.name",
    "steps.name", "node.name", "workflow.outputs.", "workflow.status", "workflow.failures",
)  # fmt: skip


def validate(base: Base, library: Library, globals_: Mapping[str, str]) -> None:
    """Raise `InvalidWorkflowError` for what Argo would not run."""
    _Validation(base, library, globals_).run()


class _Validation:
    def __init__(self, base: Base, library: Library, globals_: Mapping[str, str]) -> None:
        self._base = base
        self._library = library
        self._globals = globals_
        self._done: set[tuple[str, str]] = set()

    def run(self) -> None:
        if len(self._base.name) > _MAX_NAME:
            raise InvalidWorkflowError(
                f'workflow name "{self._base.name}" must not be more than 63 characters long '
                f"(currently {len(self._base.name)})"
            )
        spec = self._base.spec
        if not spec.get("entrypoint"):
            raise InvalidWorkflowError("spec.entrypoint is required")
        _check_names("spec.templates", spec.get("templates") or [], _FIELD)
        _check_names("spec.arguments.parameters", parameters_of(spec.get("arguments")), _PARAMETER)
        self._holder({"template": spec["entrypoint"]}, self._base, "")
        if spec.get("onExit"):
            self._holder({"template": spec["onExit"]}, self._base, "")
        for name, hook in (spec.get("hooks") or {}).items():
            _check_hook(f"hooks.{name}", name, hook)
            self._holder(hook, self._base, "")
        for name in self._base.templates:
            try:
                self._holder({"template": name}, self._base, "")
            except InvalidWorkflowError as error:
                raise InvalidWorkflowError(f"templates.{name} {error.cause}") from error

    def _holder(self, holder: Mapping[str, Any], base: Base, where: str) -> dict[str, Any] | None:
        """Check the template that a holder names, and return it; None where its name is a variable."""
        reference = holder.get("templateRef") or {}
        if reference:
            if holder.get("template"):
                raise InvalidWorkflowError(f"{where}template name cannot be specified with templateRef.")
            if any("{{" in str(value) for value in reference.values()):
                return None
        if holder.get("template") and holder["template"] not in base.templates:
            raise InvalidWorkflowError(f"{where}template name '{holder['template']}' undefined")
        try:
            inner, template = self._library.resolve(holder, base)
        except TemplateError as error:
            raise InvalidWorkflowError(f"{where}{error.cause}", next_step=error.next_step) from error
        key = (inner.name, template.get("name") or str(id(template)))
        if key not in self._done:
            self._done.add(key)
            self._template(template, inner, where)
        return template

    def _template(self, template: Mapping[str, Any], base: Base, where: str) -> None:
        name = template.get("name") or ""
        prefix = f"{where}templates.{name}"
        kinds = [kind for kind in _KINDS if template.get(kind) is not None]
        if not kinds:
            raise InvalidWorkflowError(f"{prefix} template type unspecified. choose one of: {_CHOICES}")
        if len(kinds) > 1:
            raise InvalidWorkflowError(f"{prefix} multiple template types specified. choose one of: {_CHOICES}")
        for holder in ("inputs", "outputs"):
            _check_names(f"{prefix}.{holder}.parameters", parameters_of(template.get(holder)), _PARAMETER)
        scope = self._scope(template)
        if template.get("dag") is not None:
            self._dag(template, base, prefix, scope)
        elif template.get("steps") is not None:
            self._steps(template, base, prefix, scope)
        else:
            self._leaf(template, prefix, scope)
        self._outputs(template, prefix, scope)

    def _scope(self, template: Mapping[str, Any]) -> set[str]:
        scope = set(self._globals)
        inputs = parameters_of(template.get("inputs"))
        scope |= {f"inputs.parameters.{parameter['name']}" for parameter in inputs}
        if inputs:
            scope.add("inputs.parameters")
        if template.get("container") is not None or template.get("script") is not None:
            scope.add("pod.name")
        return scope

    def _leaf(self, template: Mapping[str, Any], prefix: str, scope: set[str]) -> None:
        self._resolvable(template, scope, f"{prefix}: ")
        if template.get("parallelism") is not None:
            raise InvalidWorkflowError(f"{prefix}.parallelism is only valid for steps and dag templates")
        for kind in ("container", "script"):
            mounts: dict[str, str] = {}
            for index, mount in enumerate((template.get(kind) or {}).get("volumeMounts") or []):
                path = mount.get("mountPath") or ""
                if path in mounts:
                    raise InvalidWorkflowError(
                        f"{prefix}.{kind}.volumeMounts[{index}].mountPath '{path}' already mounted in {mounts[path]}"
                    )
                mounts[path] = f"{kind}.volumeMounts.{mount.get('name')}"

    def _outputs(self, template: Mapping[str, Any], prefix: str, scope: set[str]) -> None:
        leaf = next((kind for kind in ("container", "script") if template.get(kind) is not None), "")
        inner = next((kind for kind in ("dag", "steps") if template.get(kind) is not None), "")
        titles = {"container": "Container", "script": "Script", "dag": "DAG", "steps": "Steps"}
        self._resolvable(template.get("outputs") or {}, scope, f"{prefix}.outputs ")
        for parameter in parameters_of(template.get("outputs")):
            where = f"{prefix}.outputs.parameters.{parameter['name']}"
            source = parameter.get("valueFrom")
            if parameter.get("value") is not None:
                if source:
                    raise InvalidWorkflowError(f"{where} has both valueFrom and value specified. Choose one.")
                continue
            if not source:
                raise InvalidWorkflowError(f"{where} does not have valueFrom or value specified")
            if leaf and not source.get("path"):
                raise InvalidWorkflowError(f"{where}.path must be specified for {titles[leaf]} templates")
            if inner and not source.get("parameter") and not source.get("expression"):
                raise InvalidWorkflowError(
                    f"{where}.parameter or expression must be specified for {titles[inner]} templates"
                )

    def _resolvable(self, value: Any, scope: set[str], where: str, *, items: bool = False) -> None:
        """Raise for a tag that names what will never be there (``resolveAllVariables``)."""
        for tag in tags(value):
            name = tag.strip()
            if not name.startswith(_ROOTS) or name in scope or name.startswith(_LATE):
                continue
            if name.startswith("item.") and items:
                continue
            raise InvalidWorkflowError(f"{where}failed to resolve {{{{{tag}}}}}")

    # -- tasks and steps

    def _add_outputs(
        self, scope: set[str], prefix: str, template: Mapping[str, Any] | None, task: Mapping[str, Any]
    ) -> None:
        scope |= {f"{prefix}.{name}" for name in ("id", "startedAt", "finishedAt", "hostNodeName", "status")}
        if template is None:
            # Its name is a variable, and so are its outputs.
            return
        leaf = template.get("container") is not None or template.get("script") is not None
        if leaf:
            scope |= {f"{prefix}.outputs.result", f"{prefix}.exitCode"}
        scope |= {f"{prefix}.outputs.parameters.{item['name']}" for item in parameters_of(template.get("outputs"))}
        if is_loop(task):
            scope |= {f"{prefix}.outputs.result", f"{prefix}.outputs.parameters"}

    def _steps(self, template: Mapping[str, Any], base: Base, prefix: str, scope: set[str]) -> None:
        _check_no_deadline(template, prefix)
        names: set[str] = set()
        for index, group in enumerate(template["steps"]):
            for step in group if isinstance(group, list) else [group]:
                where = f"{prefix}.steps[{index}]"
                name = step.get("name") or ""
                _check_step_name(where, name, names)
                names.add(name)
                reference = f"steps.{name}"
                scope.add(f"{reference}.status")
                inner = self._task(step, base, f"{where}.{name}")
                visible = _with_inline(scope, step)
                if step.get("onExit") or step.get("hooks"):
                    self._add_outputs(visible, reference, inner, step)
                self._resolvable(step, visible, f"{prefix}.steps ", items=is_loop(step))
                self._add_outputs(scope, reference, inner, step)

    def _task(self, task: Mapping[str, Any], base: Base, where: str) -> dict[str, Any] | None:
        """Check what tasks and steps have in common, and return the template."""
        _check_loops(task, where)
        for parameter in parameters_of(task.get("arguments")):
            if parameter.get("value") is None and not parameter.get("valueFrom"):
                name = f"{where}.arguments.{parameter.get('name')}"
                raise InvalidWorkflowError(f"{name}.value or {name}.valueFrom is required")
        _check_names(f"{where}.arguments.parameters", parameters_of(task.get("arguments")), _PARAMETER)
        inner = self._holder(task, base, f"{where} ")
        if inner is not None:
            _check_supplied(task, inner, where)
        for name, hook in (task.get("hooks") or {}).items():
            _check_hook(f"{where}.{name}", name, hook)
            self._holder(hook, base, f"{where} ")
        if task.get("onExit"):
            self._holder({"template": task["onExit"]}, base, f"{where} ")
        return inner

    def _dag(self, template: Mapping[str, Any], base: Base, prefix: str, scope: set[str]) -> None:
        _check_no_deadline(template, prefix)
        tasks = template["dag"].get("tasks") or []
        if not tasks:
            raise InvalidWorkflowError(f"{prefix} must have at least one task")
        _check_names(f"{prefix}.tasks", tasks, _FIELD)
        by_name = {task["name"]: task for task in tasks}
        _check_depends(prefix, tasks, by_name)
        graph = Graph(by_name)
        for task in tasks:
            _check_dependencies(f"{prefix}.tasks.{task['name']}", graph, task["name"], by_name)
        if cycle := graph.cycle():
            raise InvalidWorkflowError(f"{prefix}.tasks dependency cycle detected: {'->'.join(cycle)}")
        for target in (template["dag"].get("target") or "").split():
            if "{{" not in target and target not in by_name:
                raise InvalidWorkflowError(f"{prefix}.targets: target '{target}' is not defined")
        templates = {task["name"]: self._task(task, base, f"{prefix}.tasks.{task['name']}") for task in tasks}
        for name, inner in templates.items():
            self._add_outputs(scope, f"tasks.{name}", inner, by_name[name])
        for task in tasks:
            where = f"{prefix}.tasks.{task['name']}"
            self._resolvable(task, _with_inline(scope, task), f"{where} ", items=is_loop(task))
            ancestry = graph.ancestry(task["name"], _no_time)
            for parameter in parameters_of(task.get("arguments")):
                value = str(parameter.get("value") or "")
                if value.startswith("{{tasks.") and (other := value.split(".")[1]) not in ancestry:
                    raise InvalidWorkflowError(
                        f"{where} missing dependency '{other}' for parameter '{parameter['name']}'"
                    )


def _no_time(_: str) -> None:
    return None


def _with_inline(scope: set[str], task: Mapping[str, Any]) -> set[str]:
    """Return the scope with the inputs of a template that stands in the task itself."""
    inputs = parameters_of((task.get("inline") or {}).get("inputs"))
    inline = {f"inputs.parameters.{parameter['name']}" for parameter in inputs}
    return scope | inline | ({"inputs.parameters", "pod.name"} if task.get("inline") else set()) | {"item"}


def _check_names(where: str, items: list[Any], pattern: re.Pattern[str]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        name = item.get("name") or ""
        if not name:
            raise InvalidWorkflowError(f"{where}[{index}].name is required")
        if not pattern.fullmatch(name):
            raise InvalidWorkflowError(
                f"{where}[{index}].name: '{name}' is invalid: it must consist of letters, digits and '-'"
                f"{' or _' if pattern is _PARAMETER else ''}"
            )
        if name in seen:
            raise InvalidWorkflowError(f"{where}[{index}].name '{name}' is not unique")
        seen.add(name)


def _check_step_name(where: str, name: str, names: set[str]) -> None:
    if not name:
        raise InvalidWorkflowError(f"{where}.name is required")
    if name in names:
        raise InvalidWorkflowError(f"{where}.name '{name}' is not unique")
    if not _FIELD.fullmatch(name):
        raise InvalidWorkflowError(f"{where}.name '{name}' is invalid: it must consist of letters, digits and '-'")


def _check_no_deadline(template: Mapping[str, Any], prefix: str) -> None:
    if template.get("activeDeadlineSeconds") is not None:
        raise InvalidWorkflowError(f"{prefix}.activeDeadlineSeconds is only valid for leaf templates")
    if template.get("timeout"):
        kind = "DAG" if template.get("dag") is not None else "Steps"
        raise InvalidWorkflowError(f"{kind} template doesn't support timeout field.")


def _check_hook(where: str, name: str, hook: Mapping[str, Any]) -> None:
    if name != "exit" and not hook.get("expression"):
        raise InvalidWorkflowError(f"{where} Expression required")


def _check_loops(task: Mapping[str, Any], where: str) -> None:
    sequence = task.get("withSequence")
    loops = [bool(task.get("withItems")), bool(task.get("withParam")), sequence is not None]
    if sum(loops) > 1:
        raise InvalidWorkflowError(f"{where} only one of withItems, withParam, withSequence can be specified")
    if sequence and sequence.get("count") is not None and sequence.get("end") is not None:
        raise InvalidWorkflowError(f"{where} only one of count or end can be defined in withSequence")


def _check_supplied(task: Mapping[str, Any], template: Mapping[str, Any], where: str) -> None:
    given = {parameter["name"] for parameter in parameters_of(task.get("arguments"))}
    for parameter in parameters_of(template.get("inputs")):
        has_own = parameter.get("value") is not None or parameter.get("default") is not None
        if not has_own and parameter["name"] not in given:
            raise InvalidWorkflowError(
                f"{where} templates.{template.get('name') or ''} inputs.parameters.{parameter['name']} was not supplied"
            )


def _check_depends(prefix: str, tasks: list[Any], by_name: Mapping[str, Any]) -> None:
    using_depends = any(task.get("depends") for task in tasks)
    for task in by_name.values():
        where = f"{prefix}.tasks.{task['name']}"
        if (using_depends or task.get("dependencies")) and task["name"][0].isdigit():
            raise InvalidWorkflowError(
                f"{where} name cannot begin with a digit when using either 'depends' or 'dependencies'"
            )
        if using_depends and task.get("dependencies"):
            raise InvalidWorkflowError(
                f"{prefix} cannot use both 'depends' and 'dependencies' in the same DAG template"
            )
        if using_depends and task.get("continueOn"):
            raise InvalidWorkflowError(
                f"{prefix} cannot use 'continueOn' when using 'depends'. Instead use "
                "'dep-task.Failed'/'dep-task.Errored'"
            )
        if invalid := invalid_result(task.get("depends") or ""):
            raise InvalidWorkflowError(f"{where} task result '{invalid[1]}' for task '{invalid[0]}' is invalid")


def _check_dependencies(where: str, graph: Graph, name: str, by_name: Mapping[str, Any]) -> None:
    for dependency, of_items in graph.dependencies(name).items():
        if dependency not in by_name:
            raise InvalidWorkflowError(f"{where} dependency '{dependency}' not defined")
        if of_items and not is_loop(by_name[dependency]):
            raise InvalidWorkflowError(
                f"{where} dependency '{dependency}' uses an items-based condition such as .AnySucceeded or .AllFailed "
                "but does not contain any items"
            )
