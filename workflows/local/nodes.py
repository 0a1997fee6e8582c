"""The nodes of a run: made, marked, and joined as Argo's controller does it in ``status.nodes``.

What does not belong here: when a node comes to be, and what it runs.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from klever.workflows.status import Kind, Node, Phase, Run

#: What a node's name has between its parent's and its own (``stepsOrDagSeparator``).
_SEPARATOR: Final = re.compile(r"^(\[\d+\])?\.")
#: Pods that work, and the containers of them, in Argo's counts of children.
_COUNTED: Final = (Kind.POD, Kind.STEPS, Kind.DAG)
_ACTIVE: Final = (Phase.PENDING, Phase.RUNNING)


@dataclass
class Outputs:
    """What a node gives: parameters in the order of the template, None for one without a value."""

    parameters: dict[str, str | None] = field(default_factory=dict)
    result: str | None = None
    exit_code: int | None = None
    #: Under which name a parameter is known to the whole workflow (``globalName``).
    global_names: dict[str, str] = field(default_factory=dict)


@dataclass
class LocalNode(Node):
    """A node, and what the runner has to remember about it."""

    #: None until there is something; a skipped node never has.
    given: Outputs | None = None
    hooked: bool = False
    retried: bool = False
    #: Started by ``onExit``, or below what was.
    exiting: bool = False
    #: The nodes that what comes next hangs on.
    outbound: list[str] = field(default_factory=list)
    #: A pod that has been handed to the processes.
    created: bool = False
    waiting_for_lock: bool = False

    @property
    def is_final(self) -> bool:
        """Whether it has ended, or never began (Argo's ``Fulfilled``)."""
        return self.phase.is_final

    @property
    def is_completed(self) -> bool:
        """Whether it ran to an end (Argo's ``Completed``)."""
        return self.phase in (Phase.SUCCEEDED, Phase.FAILED, Phase.ERROR)

    def give(self, outputs: Outputs | None) -> None:
        """Take ``outputs`` for its own, and show them."""
        self.given = outputs
        if outputs is None:
            return
        self.outputs = {name: value for name, value in outputs.parameters.items() if value is not None}
        self.result = outputs.result
        self.exit_code = outputs.exit_code

    def seconds(self) -> float:
        """Return how long it took in whole seconds, as Kubernetes' times have it."""
        if self.started is None or self.finished is None:
            return 0.0
        return float(int(self.finished.timestamp()) - int(self.started.timestamp()))


def hash_name(name: str) -> int:
    """Return FNV-1a of 32 bits, which Argo makes ids of."""
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


class Nodes:
    """All nodes of one run, by id."""

    def __init__(self, run: Run, changed: Callable[[], None]) -> None:
        self._run = run
        self._changed = changed
        self._nodes: dict[str, LocalNode] = {}
        self._ids: dict[str, str] = {run.name: run.name}
        self._joined: set[tuple[str, str]] = set()

    def id_of(self, name: str) -> str:
        """Return the id that the node of this name has or will have (``NodeID``)."""
        if name not in self._ids:
            self._ids[name] = f"{self._run.name}-{hash_name(name)}"
        return self._ids[name]

    def pod_name(self, name: str, template: str) -> str:
        """Return the name that the node's pod has on a cluster (``GeneratePodName``)."""
        if name == self._run.name:
            return name
        prefix = f"{self._run.name}-{template}" if template else self._run.name
        return f"{prefix[:242]}-{hash_name(name)}"

    def __getitem__(self, node_id: str) -> LocalNode:
        return self._nodes[node_id]

    def __iter__(self) -> Iterator[LocalNode]:
        return iter(self._nodes.values())

    def get(self, name: str) -> LocalNode | None:
        """Return the node of this name, if it is there."""
        return self._nodes.get(self.id_of(name))

    def named(self, name: str) -> LocalNode:
        """Return the node of this name, which is there."""
        return self._nodes[self.id_of(name)]

    def with_boundary(self, boundary: str) -> Iterator[LocalNode]:
        """Yield the nodes that belong to one DAG or steps template."""
        return (node for node in self._nodes.values() if node.boundary == boundary)

    def add(
        self,
        name: str,
        kind: Kind,
        *,
        phase: Phase,
        template: str = "",
        boundary: str = "",
        message: str = "",
        hooked: bool = False,
        retried: bool = False,
        exiting: bool = False,
        inputs: dict[str, str] | None = None,
    ) -> LocalNode:
        """Make a node (``initializeNode``); one that is final already ends when it begins."""
        now = datetime.now(UTC)
        node = LocalNode(
            id=self.id_of(name),
            name=name,
            display_name=self._display_name(name, boundary),
            kind=kind,
            phase=phase,
            message=message,
            template=template,
            boundary=boundary,
            inputs=inputs or {},
            started=now,
            finished=now if phase.is_final else None,
            hooked=hooked,
            retried=retried,
            exiting=exiting,
        )
        self._nodes[node.id] = node
        self._run.nodes[node.id] = node
        self._changed()
        return node

    def _display_name(self, name: str, boundary: str) -> str:
        if boundary not in self._nodes:
            return name
        return _SEPARATOR.sub("", name.removeprefix(self._nodes[boundary].name))

    def mark(self, node: LocalNode, phase: Phase, message: str | None = None) -> LocalNode:
        """Set the phase, and the message unless it is None (``markNodePhase``)."""
        if node.phase is not phase or (message is not None and message != node.message):
            node.phase = phase
            node.message = node.message if message is None else message
            self._changed()
        if node.is_final and node.finished is None:
            node.finished = datetime.now(UTC)
        return node

    def join(self, parent: LocalNode, child: LocalNode) -> None:
        """Make ``child`` a child, once."""
        if (parent.id, child.id) not in self._joined:
            self._joined.add((parent.id, child.id))
            parent.children.append(child.id)
            self._changed()

    def outbound_of(self, node_id: str) -> list[str]:
        """Return the ids that hang at the end of a node (``getOutboundNodes``)."""
        node = self._nodes[node_id]
        match node.kind:
            case Kind.SKIPPED | Kind.SUSPEND | Kind.POD:
                return [node.id]
            case Kind.TASK_GROUP:
                if not node.children:
                    return [node.id]
                return [found for child in node.children for found in self.outbound_of(child)]
            case Kind.RETRY if node.children:
                return [node.children[-1]]
        return [found for child in node.outbound for found in self.outbound_of(child)]

    def tries(self, node: LocalNode) -> list[LocalNode]:
        """Return the tries of a retry node, without hooks (``getChildNodeIdsRetried``)."""
        return [child for child in map(self.__getitem__, node.children) if child.retried]

    def last_try(self, node: LocalNode) -> LocalNode | None:
        """Return the last child of a retry node that is no hook (``possiblyGetRetryChildNode``)."""
        if node.kind is not Kind.RETRY:
            return None
        children = (self._nodes[child] for child in reversed(node.children))
        return next((child for child in children if not child.hooked), None)

    def all_below_final(self, node: LocalNode) -> bool:
        """Say whether every leaf below has ended (``childrenFulfilled``)."""
        seen: set[str] = set()
        stack = [node.id]
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            children = self._nodes[current].children
            if not children and not self._nodes[current].is_final:
                return False
            stack += children
        return True

    def hooks_final(self, node: LocalNode) -> bool:
        """Say whether the hooks of a node have ended (``CheckAllHooksFullfilled``)."""
        return all(child.is_final for child in map(self.__getitem__, node.children) if child.hooked)

    def active_pods(self, boundary: str = "") -> int:
        """Count the pods that run or are to run, all or those of one template."""
        return sum(
            node.kind is Kind.POD and node.phase in _ACTIVE and node.created and not node.waiting_for_lock
            for node in self._nodes.values()
            if not boundary or node.boundary == boundary
        )

    def active_children(self, boundary: str) -> int:
        """Count the pods, DAGs and steps of a template that have not ended."""
        return sum(node.kind in _COUNTED and node.phase in _ACTIVE for node in self.with_boundary(boundary))

    def failed_children(self, boundary: str) -> int:
        """Count the pods, DAGs and steps of a template that failed."""
        return sum(node.kind in _COUNTED and node.phase.is_failure for node in self.with_boundary(boundary))

    def last_step_group(self, node: LocalNode) -> LocalNode | None:
        """Return the deepest step group below (``findLeafNodeWithType``)."""
        found: LocalNode | None = None
        seen: set[str] = set()

        def visit(current: str) -> None:
            nonlocal found
            if current in seen:
                return
            seen.add(current)
            if self._nodes[current].kind is Kind.STEP_GROUP:
                found = self._nodes[current]
            for child in self._nodes[current].children:
                visit(child)

        visit(node.id)
        return found

    def update_progress(self) -> None:
        """Sum the progress of pods up to the root (``progress/updater.go``)."""
        for node in self._nodes.values():
            if node.kind in (Kind.POD, Kind.SUSPEND):
                node.progress = node.progress or "0/1"
                if node.phase is Phase.SUCCEEDED:
                    _, _, whole = node.progress.partition("/")
                    node.progress = f"{whole}/{whole}"
        for node in self._nodes.values():
            if node.kind not in (Kind.POD, Kind.SUSPEND):
                node.progress = self._sum(node) or node.progress

    def _sum(self, node: LocalNode) -> str:
        done = whole = 0
        seen: set[str] = set()
        stack = list(node.children)
        while stack:
            child = self._nodes[stack.pop()]
            if child.id in seen:
                continue
            seen.add(child.id)
            stack += child.children
            if child.kind in (Kind.POD, Kind.SUSPEND):
                parts = child.progress.split("/")
                done, whole = done + int(parts[0]), whole + int(parts[1])
        return f"{done}/{whole}" if whole else ""


def is_progress(text: str) -> bool:
    """Say whether ``text`` is ``N/M`` with 0 <= N <= M and M > 0."""
    match = re.fullmatch(r"(\d{1,18})/(\d{1,18})", text)
    return match is not None and int(match[1]) <= int(match[2]) and int(match[2]) > 0


def declared_inputs(template: dict[str, Any]) -> dict[str, str]:
    """Return the input parameters of a processed template."""
    parameters = (template.get("inputs") or {}).get("parameters") or []
    return {parameter["name"]: parameter["value"] for parameter in parameters if "value" in parameter}
