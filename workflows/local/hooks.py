"""Run what hangs on the life of a node or of the workflow: ``onExit`` and ``hooks`` (Argo's ``hooks.go``).

What does not belong here: the workflow's own exit handler, which is the end of a pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klever.workflows.local.call import Call
from klever.workflows.local.expressions import environment, parse
from klever.workflows.local.variables import substitute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from klever.workflows.local.library import Base
    from klever.workflows.local.nodes import LocalNode, Outputs
    from klever.workflows.local.operation import Operation
    from klever.workflows.local.scope import Scope

#: The hook that runs when all else has ended.
EXIT = "exit"


def exit_hook(task: Mapping[str, Any], workflow_arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the exit hook of a task or step; without arguments it gets the workflow's."""
    if on_exit := task.get("onExit"):
        return {"template": on_exit, "arguments": workflow_arguments}
    hook = (task.get("hooks") or {}).get(EXIT)
    if hook is None:
        return None
    given = hook.get("arguments") or {}
    return {**hook, "arguments": given if given.get("parameters") else workflow_arguments}


def run_exit_hook(
    operation: Operation,
    task: Mapping[str, Any],
    parent: LocalNode,
    base: Base,
    call: Call,
    prefix: str,
    scope: Scope,
) -> bool:
    """Run the exit hook of a node that has ended; return whether there is none, or it has ended too.

    Raises `WaitingError` and what the hook's template raises.
    """
    hook = exit_hook(task, operation.base.spec.get("arguments") or {})
    if hook is None or not operation.may_run(exiting=True):
        return True
    source = hook.get("expression")
    if source and not parse(source).evaluate_bool(environment(scope.over(operation.globals))):
        return True
    name = f"{parent.name}.onExit"
    return _run(operation, hook, name, parent, base, call, prefix, scope)


def run_hooks(
    operation: Operation,
    task: Mapping[str, Any],
    parent: LocalNode,
    base: Base,
    call: Call,
    prefix: str,
    scope: Scope,
) -> bool:
    """Run the hooks of a node whose condition holds; return whether all that have begun have ended."""
    ended = True
    for hook_name, hook in (task.get("hooks") or {}).items():
        if hook_name == EXIT:
            continue
        name = f"{parent.name}.hooks.{hook_name}"
        node = operation.nodes.get(name)
        due = parse(hook["expression"]).evaluate_bool(environment(scope.over(operation.globals)))
        if not due and node is None:
            continue
        ended = _run(operation, hook, name, parent, base, call, prefix, scope) and ended
    return ended


def run_workflow_hooks(operation: Operation) -> bool:
    """Run the workflow's hooks; return whether all that have begun have ended (``executeWfLifeCycleHook``)."""
    root = operation.nodes.get(operation.run.name)
    ended = True
    for hook_name, hook in (operation.base.spec.get("hooks") or {}).items():
        if hook_name == EXIT or root is None:
            continue
        name = f"{operation.run.name}.hooks.{hook_name}"
        node = operation.nodes.get(name)
        due = parse(hook["expression"]).evaluate_bool(environment(operation.globals))
        if not due and node is None:
            continue
        node = operation.execute(name, _holder(hook), hook.get("arguments") or {}, operation.base, Call(hooked=True))
        if node is None:
            ended = False
            continue
        operation.nodes.join(root, node)
        ended = ended and node.is_final
    return ended


def _run(
    operation: Operation,
    hook: Mapping[str, Any],
    name: str,
    parent: LocalNode,
    base: Base,
    call: Call,
    prefix: str,
    scope: Scope,
) -> bool:
    """Run one hook of a node, or go on with it; return whether it has ended."""
    node = operation.nodes.get(name)
    if node is None or not node.is_final:
        arguments = _arguments(operation, hook, parent, prefix, scope)
        node = operation.execute(name, _holder(hook), arguments, base, call)
    if node is None:
        return False
    operation.nodes.join(parent, node)
    return node.is_final


def _holder(hook: Mapping[str, Any]) -> dict[str, Any]:
    return {key: hook[key] for key in ("template", "templateRef") if hook.get(key)}


def _arguments(
    operation: Operation, hook: Mapping[str, Any], parent: LocalNode, prefix: str, scope: Scope
) -> dict[str, Any]:
    """Return the hook's arguments with the outputs of the node that it hangs on (``resolveExitTmplArgument``)."""
    given = hook.get("arguments") or {}
    if not given.get("parameters"):
        return dict(given)
    outputs: Outputs | None = (operation.nodes.last_try(parent) or parent).given
    for name, value in (outputs.parameters if outputs else {}).items():
        scope.values[f"{prefix}.outputs.parameters.{name}"] = value or ""
    resolved: dict[str, Any] = substitute(scope.mark_absent(given), scope.over(operation.globals))
    return resolved
