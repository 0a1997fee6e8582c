"""Act on workflows that a cluster has: list, stop, retry, run again, delete.

What does not belong here: following one (`watch`), and what a retry keeps (`retry`).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from klever.workflows.argo import errors
from klever.workflows.argo.client import PODS, WORKFLOWS, Cluster
from klever.workflows.argo.retry import PHASE_LABEL, reset, resubmission
from klever.workflows.argo.server import server_of
from klever.workflows.argo.status import is_offloaded
from klever.workflows.argo.submit import Identity, Submitted, identified, submit, with_arguments
from klever.workflows.argo.watch import get_workflow
from klever.workflows.manifest import Document
from klever.workflows.status import Phase

#: Tries to write what the controller writes too, and seconds between them.
_WRITES: Final = 5
_WRITE_WAIT_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Listed:
    """A workflow as a list shows it."""

    name: str
    namespace: str
    phase: Phase
    message: str
    #: Title from the annotation ``workflows.argoproj.io/title``; empty where there is none.
    title: str
    template: str
    progress: str
    created: datetime
    started: datetime | None
    finished: datetime | None
    labels: Mapping[str, str]


def list_workflows(cluster: Cluster, namespace: str = "", *, labels: str = "", phase: str = "") -> list[Listed]:
    """Return the workflows of a namespace, the newest first.

    ``labels`` is a selector as Kubernetes writes it, ``phase`` one of `Phase`.
    """
    parts = [labels] if labels else []
    if phase:
        parts.append(f"{PHASE_LABEL}={phase}")
    query = {"labelSelector": ",".join(parts)} if parts else {}
    documents, _ = cluster.list_all(WORKFLOWS.path(namespace or cluster.namespace), query)
    return sorted((_listed(each) for each in documents), key=lambda each: each.created, reverse=True)


def stop(cluster: Cluster, name: str, namespace: str = "", *, terminate: bool = False) -> None:
    """End a workflow that runs: its pods are stopped, and ``onExit`` runs unless ``terminate``.

    Raises `WorkflowMissingError`, and `WrongPhaseError` for one that is over.
    """
    workflow = get_workflow(cluster, name, namespace)
    phase = _phase(workflow)
    if phase.is_final:
        raise errors.WrongPhaseError(f"workflow {name} is over already: {phase}", stage="stop")
    cluster.merge(
        WORKFLOWS.path(workflow["metadata"]["namespace"], name),
        {"spec": {"shutdown": "Terminate" if terminate else "Stop"}},
    )


def retry(cluster: Cluster, name: str, namespace: str = "") -> None:
    """Run a failed workflow again in place: what succeeded is kept, what failed and all after it runs once more.

    Where its nodes are in the controller's database the Argo server does it, which ``ARGO_SERVER`` has to name.
    Raises `WorkflowMissingError`, `WrongPhaseError`, `UnreadableStatusError`, `ConflictError`.
    """
    namespace = namespace or cluster.namespace
    for left in range(_WRITES, 0, -1):
        workflow = get_workflow(cluster, name, namespace)
        if is_offloaded(workflow) and (server := server_of(cluster)) is not None:
            # Only the server can write such nodes back to where they were.
            server.retry_workflow(name, namespace)
            return
        plan = reset(workflow)
        for pod in plan.pods:
            try:
                cluster.delete(PODS.path(namespace, pod))
            except errors.ClusterObjectMissingError:
                # Cleaned up already, or never made.
                continue
        try:
            cluster.replace(WORKFLOWS.path(namespace, name), plan.workflow)
        except errors.ConflictError:
            if left == 1:
                raise
            # The controller wrote a label or its archive's mark in between.
            time.sleep(_WRITE_WAIT_SECONDS)
        else:
            return


def resubmit(
    cluster: Cluster,
    name: str,
    namespace: str = "",
    arguments: Mapping[str, str] | None = None,
    identity: Identity | None = None,
) -> Submitted:
    """Submit a new workflow that is as this one was, with other arguments where they are given.

    It has a name of its own and refers to the old one by a label. Raises as `submit` and `get_workflow`.
    """
    fresh = resubmission(get_workflow(cluster, name, namespace))
    fresh = identified(with_arguments(fresh, arguments or {}), identity or Identity())
    return submit(cluster, fresh, namespace)


def delete(cluster: Cluster, name: str, namespace: str = "") -> None:
    """Delete a workflow and, with it, its pods. Raises `WorkflowMissingError`."""
    namespace = namespace or cluster.namespace
    try:
        cluster.delete(WORKFLOWS.path(namespace, name))
    except errors.ClusterObjectMissingError as error:
        raise errors.WorkflowMissingError(f"namespace {namespace} has no workflow {name}", stage="delete") from error


def _phase(workflow: Document) -> Phase:
    text = (workflow.get("status") or {}).get("phase")
    try:
        return Phase(text) if text else Phase.PENDING
    except ValueError:
        return Phase.ERROR


def _listed(workflow: Document) -> Listed:
    metadata = workflow["metadata"]
    status = workflow.get("status") or {}
    annotations = metadata.get("annotations") or {}
    reference = (workflow.get("spec") or {}).get("workflowTemplateRef") or {}
    return Listed(
        name=metadata["name"],
        namespace=metadata["namespace"],
        phase=_phase(workflow),
        message=str(status.get("message") or ""),
        title=str(annotations.get("workflows.argoproj.io/title") or ""),
        template=str(reference.get("name") or ""),
        progress=str(status.get("progress") or ""),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        started=_time(status.get("startedAt")),
        finished=_time(status.get("finishedAt")),
        labels=dict(metadata.get("labels") or {}),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
