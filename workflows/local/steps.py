"""Walk the groups of a steps template, one after the other, the steps of a group together (Argo's ``steps.go``).

What does not belong here: what a step's template does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from klever.steps.errors import KleverError
from klever.workflows.local.call import Call
from klever.workflows.local.dag import continues, resolve_references
from klever.workflows.local.errors import ParallelismReachedError, TimeoutReachedError, WaitingError
from klever.workflows.local.hooks import run_exit_hook, run_hooks
from klever.workflows.local.items import expand, is_loop
from klever.workflows.local.library import template_label
from klever.workflows.local.scope import Scope
from klever.workflows.local.variables import UnresolvedError
from klever.workflows.local.when import WhenError, should_execute
from klever.workflows.status import Kind, Phase

if TYPE_CHECKING:
    from klever.workflows.local.library import Base
    from klever.workflows.local.nodes import LocalNode
    from klever.workflows.local.operation import Operation


def execute(operation: Operation, node: LocalNode, template: dict[str, Any], base: Base, call: Call) -> LocalNode:
    """Go over the groups as far as they have come, and mark the node if they have ended."""
    return _Walk(operation, node, template, base, call).run()


def groups_of(template: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Return the groups; one that is no list is a group of its own."""
    return [group if isinstance(group, list) else [group] for group in template.get("steps") or []]


class _Walk:
    def __init__(self, operation: Operation, node: LocalNode, template: dict[str, Any], base: Base, call: Call) -> None:
        self._operation = operation
        self._nodes = operation.nodes
        self._node = node
        self._template = template
        self._base = base
        self._call = call
        self._scope = Scope(template)

    def run(self) -> LocalNode:
        previous: LocalNode | None = None
        for index, steps in enumerate(groups_of(self._template)):
            group = self._group(index, previous)
            try:
                self._execute_group(group, steps)
            except WaitingError as waiting:
                self._operation.waits_for.append(str(waiting))
            except KleverError as error:
                return self._nodes.mark(group, Phase.ERROR, error.cause)
            if not group.is_final:
                return self._node
            if group.phase.is_failure:
                self._set_outbound(group)
                return self._nodes.mark(self._node, Phase.FAILED, group.message)
            self._add_to_scope(group, steps)
            previous = group
        if previous is not None:
            self._set_outbound(previous)
        outputs = self._scope.outputs_of(self._template)
        if outputs is not None:
            self._node.give(outputs)
            self._operation.publish(outputs)
        return self._nodes.mark(self._node, Phase.SUCCEEDED)

    def _group(self, index: int, previous: LocalNode | None) -> LocalNode:
        name = f"{self._node.name}[{index}]"
        group = self._nodes.get(name)
        if group is not None:
            return group
        group = self._nodes.add(
            name, Kind.STEP_GROUP, phase=Phase.RUNNING, boundary=self._node.id, exiting=self._call.exiting
        )
        if previous is None:
            self._nodes.join(self._node, group)
        elif not previous.children:
            # The group before was empty, for instance for want of items.
            self._nodes.join(previous, group)
        else:
            for child in previous.children:
                for end in self._nodes.outbound_of(child):
                    self._nodes.join(self._nodes[end], group)
        return group

    def _set_outbound(self, group: LocalNode) -> None:
        self._node.outbound = [found for child in group.children for found in self._nodes.outbound_of(child)]

    def _add_to_scope(self, group: LocalNode, steps: list[dict[str, Any]]) -> None:
        for step in steps:
            prefix = f"steps.{step['name']}"
            name = f"{group.name}.{step['name']}"
            node = self._nodes.get(name)
            if node is None:
                own = f"{name}("
                children = [
                    child
                    for child in self._nodes.with_boundary(self._node.id)
                    if child.name.startswith(own) and child.kind is not Kind.SKIPPED
                ]
                self._scope.add_items(prefix, children)
                self._scope.add_node(prefix, group, self._nodes)
                continue
            self._scope.add_node(prefix, node, self._nodes)
            if node.phase in (Phase.SKIPPED, Phase.OMITTED):
                try:
                    _, template = self._operation.resolve(step, self._base)
                except KleverError:
                    continue
                self._scope.add_skipped(prefix, node, template)

    # -- a group

    def _execute_group(self, group: LocalNode, declared: list[dict[str, Any]]) -> None:
        if group.is_final and self._nodes.all_below_final(group):
            return
        steps = self._expanded(group, declared)
        if steps is None:
            return
        by_node: dict[str, dict[str, Any]] = {}
        for step in steps:
            node = self._execute_step(group, step)
            if group.is_final:
                return
            if node is not None:
                by_node[node.id] = step
                self._nodes.join(group, node)
        self._end(group, by_node)

    def _expanded(self, group: LocalNode, declared: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
        """Return the steps of a group with references replaced and loops unrolled; None where the group ends."""
        if group.name in self._operation.expanded:
            return self._operation.expanded[group.name]
        globals_ = self._operation.globals
        try:
            resolved = [resolve_references(step, self._scope, globals_) for step in declared]
        except UnresolvedError as error:
            self._operation.waits_for.append(error.cause)
            return None
        except KleverError as error:
            self._nodes.mark(group, Phase.ERROR, f"Failed to resolve references: {error.cause}")
            return None
        steps: list[dict[str, Any]] = []
        for step in resolved:
            try:
                made = expand(step, self._scope.over(globals_)) if is_loop(step) else [step]
            except KleverError as error:
                self._nodes.mark(group, Phase.ERROR, error.cause)
                return None
            if not made:
                self._nodes.join(group, self._skipped(group, step, Phase.SKIPPED, "Skipped, empty params"))
            steps += made
        self._operation.expanded[group.name] = steps
        return steps

    def _skipped(self, group: LocalNode, step: dict[str, Any], phase: Phase, message: str) -> LocalNode:
        return self._nodes.add(
            f"{group.name}.{step['name']}",
            Kind.SKIPPED,
            phase=phase,
            message=message,
            boundary=self._node.id,
            template=template_label(step),
            exiting=self._call.exiting,
        )

    def _execute_step(self, group: LocalNode, step: dict[str, Any]) -> LocalNode | None:
        name = f"{group.name}.{step['name']}"
        try:
            proceed = should_execute(step.get("when") or "")
        except WhenError as error:
            self._nodes.join(group, self._skipped(group, step, Phase.ERROR, error.cause))
            self._nodes.mark(group, Phase.ERROR, error.cause)
            return None
        if not proceed:
            if self._nodes.get(name) is None:
                message = f"when '{step.get('when')}' evaluated false"
                self._nodes.join(group, self._skipped(group, step, Phase.SKIPPED, message))
            return None
        try:
            return self._operation.execute(name, step, step.get("arguments") or {}, self._base, self._inner_call())
        except ParallelismReachedError as waiting:
            self._operation.waits_for.append(str(waiting))
            return self._nodes.get(name)
        except TimeoutReachedError as error:
            self._nodes.mark(group, Phase.FAILED, error.cause)
        except KleverError as error:
            self._nodes.join(group, self._nodes.named(name))
            self._nodes.mark(group, Phase.ERROR, f"step group deemed errored due to child {name} error: {error.cause}")
        return None

    def _inner_call(self, *, hooked: bool = False, exiting: bool = False) -> Call:
        return Call(boundary=self._node.id, exiting=exiting or self._call.exiting, hooked=hooked)

    def _end(self, group: LocalNode, by_node: dict[str, dict[str, Any]]) -> None:
        ended = True
        for child in map(self._nodes.__getitem__, list(group.children)):
            step = by_node.get(child.id, {})
            self._scope.values[f"steps.{child.display_name}.status"] = child.phase.value
            if not self._run_hooks(group, child, step):
                return
            if not child.is_final:
                ended = False
            elif child.is_completed:
                ended = self._run_exit_hook(child, step) and ended
        if not ended:
            return
        for child in map(self._nodes.__getitem__, group.children):
            if child.phase.is_failure and not continues(by_node.get(child.id, {}), child.phase):
                self._nodes.mark(group, Phase.FAILED, f"child '{child.id}' failed")
                return
        self._nodes.mark(group, Phase.SUCCEEDED)

    def _run_hooks(self, group: LocalNode, node: LocalNode, step: dict[str, Any]) -> bool:
        if not step.get("hooks"):
            return True
        try:
            return run_hooks(
                self._operation,
                step,
                node,
                self._base,
                self._inner_call(hooked=True),
                f"steps.{step['name']}",
                self._scope,
            )
        except KleverError as error:
            self._nodes.mark(group, Phase.ERROR, error.cause)
            return True

    def _run_exit_hook(self, node: LocalNode, step: dict[str, Any]) -> bool:
        if not (step.get("onExit") or step.get("hooks")):
            return True
        return run_exit_hook(
            self._operation,
            step,
            node,
            self._base,
            self._inner_call(hooked=True, exiting=True),
            f"steps.{step['name']}",
            self._scope,
        )
