"""What a run of a workflow looks like, whoever runs it: its nodes as Argo's ``status.nodes`` describes them.

Both runners report a `Run`; whatever shows or compares runs needs nothing else. What does not belong here: how it came
to be, and Kubernetes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum


class Phase(StrEnum):
    """The phases of a node, and of a whole workflow (Argo's ``NodePhase`` and ``WorkflowPhase``)."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ERROR = "Error"
    SKIPPED = "Skipped"
    OMITTED = "Omitted"

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (Phase.PENDING, Phase.RUNNING)

    @property
    def is_failure(self) -> bool:
        """Whether the work was tried and not done."""
        return self in (Phase.FAILED, Phase.ERROR)


class Kind(StrEnum):
    """The types of nodes (Argo's ``NodeType``)."""

    POD = "Pod"
    DAG = "DAG"
    STEPS = "Steps"
    STEP_GROUP = "StepGroup"
    TASK_GROUP = "TaskGroup"
    RETRY = "Retry"
    SKIPPED = "Skipped"
    SUSPEND = "Suspend"
    # Of these the local runner makes none.
    CONTAINER = "Container"
    HTTP = "HTTP"
    PLUGIN = "Plugin"


#: Nodes that hold others without being a template of their own, and how the names of those go on.
_INSIDE = {Kind.STEP_GROUP: ".", Kind.TASK_GROUP: "(", Kind.RETRY: "("}
_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass
class Node:
    """One node of the tree."""

    id: str
    #: The full name, as Argo forms it: ``WORKFLOW.TASK(0:item).STEP``; a retry's tries are ``NAME(0)``, ``NAME(1)``.
    name: str
    #: What people see: the last part of ``name``, or what the template's display-name annotation says.
    display_name: str
    kind: Kind
    phase: Phase = Phase.PENDING
    #: One sentence; for a failed pod ``Error (exit code 1): STAGE: CAUSE``.
    message: str = ""
    template: str = ""
    #: The id of the node whose template (DAG or steps) this one was started by; empty for the first.
    boundary: str = ""
    children: list[str] = field(default_factory=list)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    #: Standard output, for scripts; None where there is none.
    result: str | None = None
    exit_code: int | None = None
    #: ``N/M`` as Argo counts it; empty where unknown.
    progress: str = ""
    started: datetime | None = None
    finished: datetime | None = None


@dataclass
class Run:
    """A workflow that runs or has run."""

    name: str
    namespace: str = ""
    phase: Phase = Phase.PENDING
    message: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    #: The outputs of the first template.
    outputs: dict[str, str] = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None

    @property
    def root(self) -> Node | None:
        """The node of the entrypoint."""
        return next((node for node in self.nodes.values() if node.name == self.name), None)

    @property
    def exit_handler(self) -> Node | None:
        """The node of ``onExit``."""
        return next((node for node in self.nodes.values() if node.name == f"{self.name}.onExit"), None)

    def within(self, group: Node) -> list[Node]:
        """Return the nodes of a group: the tries of a retry, the expansions of a task, the steps that run together.

        What comes after a group without members is a child of it as well; names tell them apart.
        """
        inside = _INSIDE.get(group.kind)
        if inside is None:
            return []
        children = (self.nodes[child] for child in group.children if child in self.nodes)
        return [child for child in children if child.name.startswith(group.name + inside)]

    def failures(self) -> Iterator[Node]:
        """Yield the failed nodes that are a cause, not a consequence, in the order in which they ended.

        A DAG, a list of steps or a group that failed is a consequence of a failed node in it. Of the tries of a node
        that was retried the last one counts, and none where a try succeeded; a failure that the DAG or steps around it
        allow for is none.
        """
        failed = [node for node in self.nodes.values() if node.phase.is_failure]
        # ``children`` of a pod are the tasks after it, which is why a boundary and not a child tells what is within.
        consequences = {node.boundary for node in failed}
        for group in self.nodes.values():
            inner = [child.id for child in self.within(group) if child.phase.is_failure]
            if inner and group.phase.is_failure:
                consequences.add(group.id)
            if group.kind is Kind.RETRY:
                consequences.update(inner[:-1] if group.phase.is_failure else inner)
        forgiven = {node.id for node in self.nodes.values() if node.phase is Phase.SUCCEEDED}
        causes = (node for node in failed if node.id not in consequences and node.boundary not in forgiven)
        yield from sorted(causes, key=lambda node: (node.finished is None, node.finished or _EPOCH))
