"""Walk the tasks of a DAG (Argo's ``dag.go``).

What does not belong here: what a task's template does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from klever.steps.errors import KleverError
from klever.workflows.local.call import Call
from klever.workflows.local.depends import Graph, Outcome
from klever.workflows.local.errors import ParallelismReachedError, TimeoutReachedError, WaitingError
from klever.workflows.local.hooks import run_exit_hook, run_hooks
from klever.workflows.local.items import expand, is_loop
from klever.workflows.local.library import template_label
from klever.workflows.local.scope import Scope
from klever.workflows.local.variables import UnresolvedError, references, substitute
from klever.workflows.local.when import WhenError, should_execute
from klever.workflows.status import Kind, Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from klever.workflows.local.library import Base
    from klever.workflows.local.nodes import LocalNode
    from klever.workflows.local.operation import Operation


def execute(operation: Operation, node: LocalNode, template: dict[str, Any], base: Base, call: Call) -> LocalNode:
    """Go over the tasks once, and mark the node if they have ended; raises `KleverError` for outputs that fail."""
    return _Walk(operation, node, template, base, call).run()


@dataclass(frozen=True)
class _Known:
    """What a DAG's node keeps from pass to pass."""

    template: dict[str, Any]
    graph: Graph


class _Walk:
    def __init__(self, operation: Operation, node: LocalNode, template: dict[str, Any], base: Base, call: Call) -> None:
        self._operation = operation
        self._nodes = operation.nodes
        self._node = node
        self._template = template
        self._base = base
        self._call = call
        self._tasks: dict[str, dict[str, Any]] = {task["name"]: task for task in template["dag"].get("tasks") or []}
        known = operation.graphs.get(node.id)
        if known is None or known.template is not template:
            known = operation.graphs[node.id] = _Known(template, Graph(self._tasks))
        self._graph: Graph = known.graph
        self._visited: set[str] = set()

    @property
    def _targets(self) -> list[str]:
        target = self._template["dag"].get("target") or ""
        return target.split(" ") if target else self._graph.leaves

    def _task_node(self, name: str) -> LocalNode | None:
        return self._nodes.get(f"{self._node.name}.{name}")

    # -- the whole

    def run(self) -> LocalNode:
        exits_ended = True
        for name in self._targets:
            self._visit(name)
            task_node = self._task_node(name)
            if task_node is None:
                continue
            # Outputs that cannot be put together end the whole DAG, not the task that would use them.
            self._scope_of(name)
            self._run_hooks(name, task_node)
            if task_node.is_completed:
                exit_node = self._nodes.get(f"{task_node.name}.onExit")
                exits_ended = exits_ended and (exit_node is None or exit_node.is_final)
        phase = self._assess(stopped=self._operation.shutdown is not None and exits_ended)
        if phase is Phase.RUNNING:
            return self._node
        self._set_outbound()
        if phase.is_failure:
            return self._nodes.mark(self._node, phase)
        outputs = self._whole_scope().outputs_of(self._template)
        if outputs is not None:
            self._node.give(outputs)
        return self._nodes.mark(self._node, Phase.SUCCEEDED)

    def _set_outbound(self) -> None:
        ends = (self._task_node(name) for name in self._targets)
        self._node.outbound = [found for end in ends if end is not None for found in self._nodes.outbound_of(end.id)]

    def _whole_scope(self) -> Scope:
        scope = Scope(self._template)
        for name in self._graph.sorted:
            task_node = self._task_node(name)
            if task_node is None:
                continue
            self._add_to(scope, name, task_node)
            self._operation.publish(task_node.given)
        return scope

    def _add_to(self, scope: Scope, name: str, node: LocalNode) -> None:
        prefix = f"tasks.{name}"
        if node.kind is Kind.TASK_GROUP:
            own = f"{node.name}("
            children = (self._nodes[child] for child in node.children)
            scope.add_items(prefix, (child for child in children if child.name.startswith(own)))
        scope.add_node(prefix, node, self._nodes)
        if node.phase in (Phase.SKIPPED, Phase.OMITTED):
            try:
                _, template = self._operation.resolve(self._tasks[name], self._base)
            except KleverError:
                return
            scope.add_skipped(prefix, node, template)

    def _scope_of(self, name: str) -> Scope:
        """Return what the task can refer to: all that comes before it."""
        scope = Scope(self._template)
        for ancestor in self._graph.ancestry(name, self._finished):
            node = self._task_node(ancestor)
            if node is not None:
                self._add_to(scope, ancestor, node)
        return scope

    def _finished(self, name: str) -> Any:
        node = self._task_node(name)
        return None if node is None else node.finished or node.started

    def _assess(self, *, stopped: bool) -> Phase:
        """Return the phase of the DAG (``assessDAGPhase``): an omitted task has that of the branch before it."""
        if stopped:
            return Phase.FAILED
        reached: dict[str, Phase | None] = {
            self._nodes.id_of(f"{self._node.name}.{name}"): None for name in self._targets
        }
        queue = [(child, Phase.SUCCEEDED) for child in self._node.children]
        seen = set(queue)
        at = 0
        while at < len(queue):
            node_id, branch = queue[at]
            at += 1
            node = self._nodes[node_id]
            if not node.is_final:
                return Phase.RUNNING
            branch = node.phase if node.is_completed else branch
            if node_id in reached:
                before = reached[node_id]
                if before is None or not before.is_failure:
                    reached[node_id] = branch
            for child in self._below(node):
                if (child, branch) not in seen:
                    seen.add((child, branch))
                    queue.append((child, branch))
        return self._judge(reached)

    def _judge(self, reached: Mapping[str, Phase | None]) -> Phase:
        fail_fast = self._template["dag"].get("failFast") is not False
        result = Phase.SUCCEEDED
        for name in self._targets:
            phase = reached[self._nodes.id_of(f"{self._node.name}.{name}")]
            if phase is None:
                result = Phase.RUNNING
                if not fail_fast:
                    break
            elif phase.is_failure and not continues(self._tasks[name], phase):
                result = phase
                if fail_fast:
                    break
        return result

    def _below(self, node: LocalNode) -> list[str]:
        if node.kind is not Kind.RETRY:
            return node.children
        # A retry node already has the phase of its last try: what comes after hangs below the tries.
        found: list[str] = []
        for child in reversed([self._nodes[child] for child in node.children]):
            found += [child.id] if child.hooked else child.children
        return found

    # -- a task

    def _visit(self, name: str) -> None:
        if name in self._visited:
            return
        self._visited.add(name)
        try:
            self._execute_task(name)
        except WaitingError as waiting:
            self._operation.waits_for.append(str(waiting))

    def _run_hooks(self, name: str, node: LocalNode) -> bool:
        if not self._tasks[name].get("hooks"):
            return True
        scope = self._scope_of(name)
        scope.values[f"tasks.{name}.status"] = node.phase.value
        try:
            return run_hooks(
                self._operation, self._tasks[name], node, self._base, self._hook_call(), f"tasks.{name}", scope
            )
        except KleverError as error:
            self._nodes.mark(node, Phase.ERROR, error.cause)
            return True

    def _hook_call(self) -> Call:
        return self._inner_call(hooked=True)

    def _inner_call(self, *, hooked: bool = False, exiting: bool = False) -> Call:
        return Call(boundary=self._node.id, exiting=exiting or self._call.exiting, hooked=hooked)

    def _run_exit_hook(self, name: str, node: LocalNode) -> bool:
        task = self._tasks[name]
        if not (task.get("onExit") or task.get("hooks")):
            return True
        scope = self._scope_of(name)
        scope.values[f"tasks.{name}.status"] = node.phase.value
        call = self._inner_call(hooked=True, exiting=True)
        try:
            return run_exit_hook(self._operation, task, node, self._base, call, f"tasks.{name}", scope)
        except KleverError as error:
            self._nodes.mark(node, Phase.ERROR, error.cause)
            return False

    def _execute_task(self, name: str) -> None:
        node = self._task_node(name)
        begun = node is not None and (node.is_final or node.phase is Phase.RUNNING)
        if node is not None and begun and not self._run_hooks(name, node):
            return
        if node is not None and node.is_final:
            # A group's items have had their exit hooks each.
            if node.is_completed:
                self._run_exit_hook(name, node)
            return
        if self._graph.logic(name) and not self._may_begin(name):
            return
        expanded = self._expanded(name)
        if expanded is None:
            return
        group = self._task_node(name)
        group = group if group is not None and group.kind is Kind.TASK_GROUP else None
        open_tasks = self._operation.open_tasks
        full = f"{self._node.name}.{name}"
        for task in open_tasks.get(full, expanded):
            if not self._start(name, task, group):
                return
        if group is not None:
            open_tasks[full] = [task for task in open_tasks.get(full, expanded) if not self._is_settled(task)]
            if not open_tasks[full]:
                self._end_group(group, expanded)

    def _may_begin(self, name: str) -> bool:
        """Visit what the task waits for, and say whether it may begin now (``evaluateDependsLogic``)."""
        for dependency in self._graph.dependencies(name):
            self._visit(dependency)
        if self._task_node(name) is not None:
            return True
        for dependency in self._graph.dependencies(name):
            node = self._task_node(dependency)
            if node is None or not node.is_final or not self._nodes.hooks_final(node):
                return False
        try:
            runs = self._graph.should_run(name, self._outcome)
        except KleverError as error:
            self._connect(name, self._skipped(name, Phase.ERROR, error.cause))
            return False
        if not runs:
            self._connect(name, self._skipped(name, Phase.OMITTED, "omitted: depends condition not met"))
        return runs

    def _outcome(self, name: str) -> Outcome:
        node = self._nodes.named(f"{self._node.name}.{name}")
        if node.kind is not Kind.TASK_GROUP:
            return Outcome(node.phase)
        return Outcome(node.phase, tuple(self._nodes[child].phase for child in node.children))

    def _skipped(self, name: str, phase: Phase, message: str, *, kind: Kind = Kind.SKIPPED) -> LocalNode:
        task_name = name if name in self._tasks else name.rsplit("(", 1)[0]
        return self._nodes.add(
            f"{self._node.name}.{name}",
            kind,
            phase=phase,
            message=message,
            boundary=self._node.id,
            template=template_label(self._tasks.get(task_name, {})),
            exiting=self._call.exiting,
        )

    def _connect(self, name: str, node: LocalNode, group: LocalNode | None = None) -> None:
        """Hang a task's node below what comes before it (``connectDependencies``)."""
        dependencies = self._graph.dependencies(name)
        if group is not None:
            self._nodes.join(group, node)
        elif not dependencies:
            self._nodes.join(self._node, node)
        else:
            for dependency in dependencies:
                before = self._nodes.named(f"{self._node.name}.{dependency}")
                for end in self._nodes.outbound_of(before.id):
                    self._nodes.join(self._nodes[end], node)

    def _expanded(self, name: str) -> list[dict[str, Any]] | None:
        """Return the tasks that a task becomes, with references replaced; None where it ends before."""
        full = f"{self._node.name}.{name}"
        if full in self._operation.expanded:
            return self._operation.expanded[full]
        task = self._tasks[name]
        try:
            scope = self._scope_of(name)
            try:
                resolved = resolve_references(task, scope, self._operation.globals)
            except UnresolvedError as error:
                # It may yet come; what an item's task cannot resolve will not.
                self._operation.waits_for.append(error.cause)
                return None
            tasks = expand(resolved, scope.over(self._operation.globals)) if is_loop(resolved) else [resolved]
        except KleverError as error:
            self._connect(name, self._skipped(name, Phase.ERROR, error.cause))
            return None
        if is_loop(resolved):
            if not tasks:
                self._connect(name, self._skipped(name, Phase.SKIPPED, "Skipped, empty params"))
                return None
            self._connect(name, self._skipped(name, Phase.RUNNING, "", kind=Kind.TASK_GROUP))
        self._operation.expanded[full] = tasks
        return tasks

    def _start(self, name: str, task: dict[str, Any], group: LocalNode | None) -> bool:
        """Start or continue one task; return whether its siblings may be looked at too."""
        full = f"{self._node.name}.{task['name']}"
        node = self._nodes.get(full)
        if node is not None and self._operation.is_under_way(node):
            return True
        if node is None:
            try:
                proceed = should_execute(task.get("when") or "")
            except WhenError as error:
                self._connect(name, self._skipped(task["name"], Phase.ERROR, error.cause), group)
                return True
            if not proceed:
                message = f"when '{task.get('when')}' evaluated false"
                self._connect(name, self._skipped(task["name"], Phase.SKIPPED, message), group)
                return True
        node = self._execute_node(name, full, task, group)
        if node is None:
            return False
        return not node.is_completed or self._run_exit_hook(name, node)

    def _execute_node(self, name: str, full: str, task: dict[str, Any], group: LocalNode | None) -> LocalNode | None:
        arguments = task.get("arguments") or {}
        failed: KleverError | None = None
        node: LocalNode | None
        try:
            node = self._operation.execute(full, task, arguments, self._base, self._inner_call())
        except ParallelismReachedError as waiting:
            self._operation.waits_for.append(str(waiting))
            node = self._nodes.get(full)
        except TimeoutReachedError as error:
            self._nodes.mark(self._nodes.named(full), Phase.FAILED, error.cause)
            return None
        except KleverError as error:
            failed, node = error, self._nodes.named(full)
        if node is not None:
            self._connect(name, node, group)
        if failed is not None and node is not None:
            self._nodes.mark(node, Phase.ERROR, f"task '{full}' errored: {failed.cause}")
            return None
        return node

    def _is_settled(self, task: dict[str, Any]) -> bool:
        """Say whether nothing will change about an item's task any more."""
        node = self._nodes.get(f"{self._node.name}.{task['name']}")
        return node is not None and node.is_final and self._nodes.hooks_final(node)

    def _end_group(self, group: LocalNode, tasks: list[dict[str, Any]]) -> None:
        phase = Phase.SUCCEEDED
        for task in tasks:
            node = self._nodes.get(f"{self._node.name}.{task['name']}")
            if node is None or not node.is_final:
                return
            if node.phase.is_failure:
                phase = node.phase
        self._nodes.mark(group, phase)


def resolve_references(task: Mapping[str, Any], scope: Scope, globals_: Mapping[str, str]) -> dict[str, Any]:
    """Return a task or step with what it refers to in place (``resolveDependencyReferences``, ``resolveReferences``).

    ``when`` comes first: what will not run need not be resolvable. Hooks keep their references, which may be to the
    task itself. Raises `UnresolvedError` and what substitution raises, `WhenError`.
    """
    variables = scope.over(globals_)
    hooks = {key: task[key] for key in ("hooks",) if key in task}
    body = {key: value for key, value in task.items() if key != "hooks"}
    if when := task.get("when"):
        resolved = substitute(when, variables, strict=references)
        try:
            proceed = should_execute(resolved)
        except WhenError:
            # The condition may need its item, which comes later.
            if not is_loop(task):
                raise
        else:
            if not proceed:
                return {**body, **hooks, "when": resolved}
    if "arguments" in body:
        body["arguments"] = scope.mark_absent(body["arguments"] or {})
    made: dict[str, Any] = substitute(body, variables, strict=references)
    return {**made, **hooks}


def continues(task: Mapping[str, Any], phase: Phase) -> bool:
    """Say whether the task's ``continueOn`` lets others go on (``ContinuesOn``)."""
    on = task.get("continueOn") or {}
    return bool((on.get("error") and phase is Phase.ERROR) or (on.get("failed") and phase is Phase.FAILED))
