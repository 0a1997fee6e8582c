"""Work out what a retry in place keeps of a finished workflow, as Argo does it, and what a resubmission carries over.

`reset` follows ``FormulateRetryWorkflow`` of Argo's ``workflow/util/util.go`` (3.7): a failed pod and everything after
it is forgotten, the groups around it run again, what succeeded stays. What does not belong here: the network.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from klever.workflows.argo.errors import UnreadableStatusError, WrongPhaseError
from klever.workflows.argo.status import read_nodes, write_nodes
from klever.workflows.manifest import Document
from klever.workflows.status import Kind, Phase

COMPLETED_LABEL: Final = "workflows.argoproj.io/completed"
PHASE_LABEL: Final = "workflows.argoproj.io/phase"
PREVIOUS_LABEL: Final = "workflows.argoproj.io/resubmitted-from-workflow"
_ARCHIVING_LABEL: Final = "workflows.argoproj.io/workflow-archiving-status"
_CREATOR_LABELS: Final = frozenset(
    f"workflows.argoproj.io/creator{suffix}" for suffix in ("", "-email", "-preferred-username")
)
_POD_NAMES_ANNOTATION: Final = "workflows.argoproj.io/pod-name-format"

#: ``isGroupNodeType`` and ``isExecutionNodeType``.
_GROUPS: Final = frozenset({Kind.DAG, Kind.TASK_GROUP, Kind.STEP_GROUP, Kind.STEPS})
_EXECUTED: Final = frozenset({Kind.CONTAINER, Kind.POD, Kind.HTTP, Kind.PLUGIN})
_EXPANDED: Final = frozenset({Kind.RETRY, Kind.STEP_GROUP, Kind.TASK_GROUP})
_FAILED: Final = frozenset({Phase.FAILED, Phase.ERROR})

#: ``maxPrefixLength - 1`` of pod_name.go: a name's 253 characters without a hash's ten and the hyphen.
_MAX_POD_PREFIX: Final = 242

_Raw = dict[str, Any]


@dataclass(frozen=True)
class Retry:
    """A workflow as it has to be written to run again, and the pods that must not be there then."""

    workflow: Document
    pods: tuple[str, ...]


class _Tree:
    """The nodes by id, with the parents that Argo does not keep."""

    def __init__(self, workflow: str, nodes: Mapping[str, _Raw]) -> None:
        self.nodes = nodes
        self.workflow = workflow
        self.parents: dict[str, str] = {}
        for key, node in nodes.items():
            for child in node.get("children") or ():
                if child not in nodes:
                    raise UnreadableStatusError(
                        f"the status of workflow {workflow} lacks its node {child}", stage="retry"
                    )
                self.parents[child] = key
        self._check_ends()

    def _check_ends(self) -> None:
        """Raise `UnreadableStatusError` where a way up from a node leads in a circle."""
        ends: set[str] = set()
        for key in self.nodes:
            way: dict[str, None] = {}
            current: str | None = key
            while current is not None and current not in ends:
                if current in way:
                    raise UnreadableStatusError(f"the nodes of workflow {self.workflow} go in a circle", stage="retry")
                way[current] = None
                current = self.parents.get(current)
            ends.update(way)

    def below(self, key: str) -> list[str]:
        """Return what is below a node or after it."""
        found: dict[str, None] = {}
        queue = list(self.nodes[key].get("children") or ())
        while queue:
            each = queue.pop(0)
            if each not in found:
                found[each] = None
                queue += self.nodes[each].get("children") or ()
        return list(found)

    def from_the_root(self) -> list[str]:
        """Return the nodes of the entrypoint, breadth first; the exit handler is not among them."""
        root = next((key for key, node in self.nodes.items() if node["name"] == self.workflow), None)
        return [] if root is None else [root, *self.below(root)]

    def succeeded_below(self, key: str) -> bool:
        """Return whether anything after a node has succeeded (``isDescendantNodeSucceeded``)."""
        return any(self.nodes[each]["phase"] == Phase.SUCCEEDED for each in self.below(key))

    def retry_of(self, key: str) -> str:
        """Return the node that retries, of a try."""
        for parent, node in self.nodes.items():
            if node["type"] == Kind.RETRY and key in (node.get("children") or ()):
                return parent
        return key


def reset(workflow: Document, *, now: datetime | None = None) -> Retry:
    """Return a failed workflow as it is to be written, and the names of the pods to delete first.

    Raises `WrongPhaseError` for a workflow that runs or has succeeded, `UnreadableStatusError`.
    """
    phase = (workflow.get("status") or {}).get("phase") or Phase.PENDING
    name = workflow["metadata"]["name"]
    if phase not in _FAILED:
        raise WrongPhaseError(
            f"workflow {name} is {phase}, and only a failed one can be retried",
            stage="retry",
            next_step=f"klever workflows resubmit {name} runs it anew"
            if phase == Phase.SUCCEEDED
            else f"wait for its end, or klever workflows stop {name}",
        )
    time = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    nodes = read_nodes(workflow)
    tree = _Tree(name, nodes)
    again, forgotten = _affected(tree)

    kept: dict[str, _Raw] = {}
    for key, node in nodes.items():
        exit_handler = node["name"].startswith(f"{name}.onExit")
        if key in forgotten or (exit_handler and key not in again):
            continue
        kept[key] = _restarted(node, time) if key in again else deepcopy(node)
    for node in kept.values():
        for links in ("children", "outboundNodes"):
            if links in node:
                node[links] = [key for key in node[links] if key not in forgotten]

    gone = [key for key in nodes if key in forgotten and nodes[key]["type"] == Kind.POD]
    handler = next((key for key, node in nodes.items() if node["name"] == f"{name}.onExit"), None)
    if handler is not None:
        gone += [handler, *tree.below(handler)]
    pods = dict.fromkeys(pod_name(workflow, nodes[key]) for key in gone)
    return Retry(_reopened(workflow, kept, time), tuple(pods))


def resubmission(workflow: Document) -> Document:
    """Return a new Workflow that runs the same again from its beginning (``FormulateResubmitWorkflow``)."""
    metadata = workflow["metadata"]
    dropped = {*_CREATOR_LABELS, COMPLETED_LABEL, PHASE_LABEL, _ARCHIVING_LABEL}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key not in dropped}
    fresh: Document = {
        "apiVersion": workflow["apiVersion"],
        "kind": "Workflow",
        "metadata": {
            "generateName": metadata.get("generateName") or f"{metadata['name']}-",
            "labels": {**labels, PREVIOUS_LABEL: metadata["name"]},
            "annotations": dict(metadata.get("annotations") or {}),
        },
        "spec": _without_end(workflow["spec"]),
    }
    if metadata.get("ownerReferences"):
        fresh["metadata"]["ownerReferences"] = deepcopy(metadata["ownerReferences"])
    return fresh


def pod_name(workflow: Document, node: Mapping[str, Any]) -> str:
    """Return the name of a node's pod (``GeneratePodName``)."""
    metadata = workflow["metadata"]
    if (metadata.get("annotations") or {}).get(_POD_NAMES_ANNOTATION) == "v1":
        return str(node["id"])
    if node["name"] == metadata["name"]:
        return str(node["name"])
    template = (node.get("templateRef") or {}).get("template") or node.get("templateName")
    prefix = f"{metadata['name']}-{template}" if template else metadata["name"]
    return f"{prefix[:_MAX_POD_PREFIX]}-{_fnv32a(node['name'].encode())}"


def _fnv32a(data: bytes) -> int:
    # The hash of Fowler, Noll and Vo, variant 1a of 32 bits, with its published offset and prime.
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _affected(tree: _Tree) -> tuple[set[str], set[str]]:
    """Return the nodes that run again and those that are forgotten, which wins."""
    again: set[str] = set()
    forgotten: set[str] = set()
    starts = {key for key, node in tree.nodes.items() if _has_to_run(tree, key, node)}
    # From the root down: what is forgotten with a node above is no start of its own.
    for key in tree.from_the_root():
        if key in starts and key not in forgotten:
            up, down = _path(tree, key)
            again |= up
            forgotten |= down
    return again, forgotten


def _has_to_run(tree: _Tree, key: str, node: _Raw) -> bool:
    if node["phase"] not in _FAILED or node["type"] not in _EXECUTED:
        return False
    retried = (node.get("nodeFlag") or {}).get("retried")
    return not tree.succeeded_below(tree.retry_of(key) if retried else key)


def _path(tree: _Tree, start: str) -> tuple[set[str], set[str]]:
    """Return what has to run again above a node, and what is to be forgotten with it (``resetPath``)."""
    again: set[str] = set()
    forgotten = {start, *tree.below(start)}
    if start not in tree.parents:
        return again, forgotten
    current: str | None = start
    while current is not None:
        node = tree.nodes[current]
        if node["type"] in _GROUPS:
            again.add(current)
            current = _boundaries(tree, current, again)
            continue
        if node["type"] == Kind.RETRY and node["phase"] in _FAILED:
            again.add(current)
        elif node["type"] == Kind.CONTAINER:
            # Containers of a set are in one pod.
            while tree.nodes[current]["type"] != Kind.POD:
                current = _parent(tree, current)
            forgotten |= {current, *tree.below(current)}
        current = tree.parents.get(current)
    return again, forgotten


def _boundaries(tree: _Tree, start: str, again: set[str]) -> str | None:
    """Go from a group to the template that it is in, and so on to the first (``resetBoundaries``)."""
    current = start
    while True:
        parent = tree.parents.get(current)
        if parent is not None and tree.nodes[parent]["type"] == Kind.RETRY:
            again.add(parent)
            current, parent = parent, tree.parents.get(parent)
        if parent is not None and tree.nodes[parent]["type"] in _EXPANDED - {Kind.RETRY}:
            again.add(parent)
        boundary = tree.nodes[current].get("boundaryID")
        if not boundary:
            return parent
        while current != boundary:
            current = _parent(tree, current)
        again.add(current)


def _parent(tree: _Tree, key: str) -> str:
    parent = tree.parents.get(key)
    if parent is None:
        raise UnreadableStatusError(f"node {key} of workflow {tree.workflow} hangs on no other", stage="retry")
    return parent


def _restarted(node: _Raw, time: str) -> _Raw:
    """Return a node as one that runs (``resetNode``)."""
    fresh = deepcopy(node)
    if fresh["type"] == Kind.SUSPEND and "outputs" in fresh:
        fresh["outputs"]["parameters"] = [
            {"name": each["name"], "valueFrom": {"supplied": {}}} for each in fresh["outputs"].get("parameters") or ()
        ]
    if fresh["phase"] != Phase.SKIPPED:
        fresh["phase"] = Phase.RUNNING.value
    fresh.pop("message", None)
    fresh["startedAt"] = time
    fresh["finishedAt"] = None
    return fresh


def _reopened(workflow: Document, nodes: Mapping[str, _Raw], time: str) -> Document:
    """Return the workflow as one that runs, with these nodes (``createNewRetryWorkflow``)."""
    fresh = deepcopy(workflow)
    labels = fresh["metadata"].setdefault("labels", {})
    for label in (COMPLETED_LABEL, _ARCHIVING_LABEL):
        labels.pop(label, None)
    labels[PHASE_LABEL] = Phase.RUNNING.value
    fresh["spec"] = _without_end(fresh["spec"])
    status = fresh["status"]
    status |= {"phase": Phase.RUNNING.value, "startedAt": time, "finishedAt": None}
    for of_the_end in ("message", "persistentVolumeClaims", "offloadNodeStatusVersion"):
        status.pop(of_the_end, None)
    status["conditions"] = [
        *_others(status.get("conditions") or (), "Completed"),
        {"type": "Completed", "status": "False"},
    ]
    if "storedWorkflowTemplateSpec" in status:
        status["storedWorkflowTemplateSpec"].pop("shutdown", None)
    write_nodes(fresh, nodes)
    return fresh


def _others(conditions: Iterable[_Raw], kind: str) -> list[_Raw]:
    return [each for each in conditions if each.get("type") != kind]


def _without_end(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return a spec without what stopped the workflow: a shutdown, and the deadline of 0 that older Argos set."""
    fresh = deepcopy(dict(spec))
    fresh.pop("shutdown", None)
    if fresh.get("activeDeadlineSeconds") == 0:
        fresh.pop("activeDeadlineSeconds")
    return fresh
