"""Bring one ModelJob forward: start its Workflow, say how that fares, tidy up. Whatever happened before.

    look at the job ─┬─ is being deleted: its Workflows go
                     ├─ has finished: it goes when its time is over
                     └─ else: its Workflow is started, or looked at ──▶ status

Each call begins with what the cluster has, and what it makes has a name that is a function of the job's uid and
generation. So it may be called again at any time, by anybody, and be killed anywhere. What does not belong here: when
it is called, and what a job means (`klever.api.modeljob`).
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from klever.api.controller import errors as waiting
from klever.api.controller.index import entry_of
from klever.api.controller.told import tell_end
from klever.api.controller.workqueue import Failing, Key
from klever.api.modeljob.model import (
    API_VERSION,
    KIND,
    MODEL_JOBS,
    InvalidJobError,
    ModelJob,
    ModelJobSpec,
    ModelJobStatus,
    parse_job,
    parse_status,
)
from klever.api.modeljob.names import JOB, JOB_UID, job_label, workflow_name
from klever.api.modeljob.request import request_of
from klever.api.modeljob.status import changes, status_of
from klever.steps.errors import KleverError
from klever.workflows.argo import control, errors
from klever.workflows.argo.client import WORKFLOWS, Cluster
from klever.workflows.argo.reasons import explain
from klever.workflows.argo.server import hydrated
from klever.workflows.argo.status import parse_run
from klever.workflows.argo.submit import Identity, from_template, get_template, submit
from klever.workflows.arguments import declared_parameters
from klever.workflows.manifest import Document
from klever.workflows.status import Phase, Run

#: Argo marks a Workflow that is over with this label (workflow/common/common.go).
COMPLETED: Final = "workflows.argoproj.io/completed"
#: Seconds that a missing WorkflowTemplate may take to come: whoever applies both at once may apply the job first.
_TEMPLATE_SECONDS: Final = 60.0
#: Seconds that Argo's controller has to take up a Workflow before its absence is worth a word.
_TAKEN_UP_SECONDS: Final = 20.0
_NOT_TAKEN_UP: Final = "it waits for Argo's controller; next: check that it runs and watches this namespace"
_GONE: Final = (
    "its Workflow was deleted before its end was seen; next: create the job again, and keep its Workflows until they"
    " have ended"
)
#: Fields of a Workflow's status that tell how it ended, whatever became of its nodes.
_WITHOUT_NODES: Final = ("phase", "message", "startedAt", "finishedAt", "outputs")


@dataclass(frozen=True)
class Rules:
    """What an administrator decides about all jobs."""

    #: Seconds that a finished job stays where it does not say itself.
    ttl_seconds: int
    #: Which replica this is.
    instance: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a job was left."""

    #: The job as the cluster has it now; None where there is none.
    job: Mapping[str, Any] | None
    #: What kept it from going on for now.
    problem: KleverError | None = None
    #: Seconds after which to look again where nothing happens.
    again_seconds: float | None = None
    #: Seconds from the job's creation until its Workflow was created, where that has just been done.
    queued_seconds: float | None = None
    #: The run whose end was just noted.
    ended: Run | None = None


def reconcile(cluster: Cluster, key: Key, rules: Rules, failing: Failing | None = None, now: float = 0.0) -> Outcome:
    """Bring a job forward by one step; ``failing`` tells how it has failed so far, and ``now`` by which clock.

    Raises the errors of the cluster that come before anything can be said in the job's status.
    """
    try:
        document = cluster.get(MODEL_JOBS.path(*key))
    except errors.ClusterObjectMissingError:
        return Outcome(None)
    job, unreadable = _read(document)
    entry = entry_of(document, rules.ttl_seconds)
    if job.is_deleting:
        _remove_workflows(cluster, job)
        return Outcome(_written(cluster, document, status_of(job, None)))
    if entry.finished:
        if entry.expires is None or entry.expires > time.time():
            return Outcome(document)
        return _expired(cluster, document)
    waited = now - failing.since if failing and failing.times else 0.0
    return _brought_forward(cluster, document, job, unreadable, rules, waited)


def give_up(cluster: Cluster, key: Key, rules: Rules, error: KleverError) -> Outcome:
    """Mark a job failed that cannot be dealt with, however it is written."""
    try:
        document = cluster.get(MODEL_JOBS.path(*key))
    except errors.ClusterObjectMissingError:
        return Outcome(None)
    job = _bare(document)
    status = status_of(job, Run(name="", phase=Phase.ERROR), None)
    status = status.model_copy(update={"message": f"{error}; next: {error.next_step}", "workflow": None})
    tell_end(cluster, job, status, rules.instance)
    return Outcome(_written(cluster, document, status))


def owner_of(workflow: Mapping[str, Any]) -> Key | None:
    """Return the job that a Workflow belongs to; None where it belongs to none."""
    metadata = workflow["metadata"]
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("kind") == KIND and str(owner.get("apiVersion")).startswith(f"{MODEL_JOBS.group}/"):
            return Key(str(metadata["namespace"]), str(owner["name"]))
    return None


def _read(document: Document) -> tuple[ModelJob, InvalidJobError | None]:
    """Return the job of a document, and what is wrong with it; then all but its metadata and status is empty."""
    try:
        return parse_job(document), None
    except InvalidJobError as error:
        return _bare(document), error


def _bare(document: Document) -> ModelJob:
    status = parse_status(document.get("status"))
    return ModelJob(metadata=document["metadata"], spec=ModelJobSpec(), status=status)


def _brought_forward(
    cluster: Cluster, document: Document, job: ModelJob, unreadable: KleverError | None, rules: Rules, waited: float
) -> Outcome:
    name = workflow_name(job.uid, job.generation, job.name)
    started = job.status.workflow == name
    if not started and job.generation > 1:
        _stop_older(cluster, job, name)
    queued: float | None = None
    run: Run | None = None
    problem: KleverError | None = unreadable
    again: float | None = None
    if started:
        workflow = _own_workflow(cluster, job, name)
        run, again = _run_of(cluster, workflow) if workflow else _gone(job, name)
    elif problem is None:
        try:
            workflow, made = _start(cluster, job, name)
            run, again = _run_of(cluster, workflow)
            queued = _age(job) if made and job.generation == 1 else None
        except KleverError as error:
            problem = _judged(error, waited)
    status = status_of(job, run, problem)
    if status.phase.is_final:
        tell_end(cluster, job, status, rules.instance)
    written = _written(cluster, document, status)
    return Outcome(
        written,
        problem=problem if problem is not None and not status.phase.is_final else None,
        again_seconds=None if status.phase.is_final else again,
        queued_seconds=queued,
        ended=run if status.phase.is_final else None,
    )


def _start(cluster: Cluster, job: ModelJob, name: str) -> tuple[Document, bool]:
    """Return the Workflow of this generation, and whether it was made now."""
    request = request_of(job)
    template = get_template(cluster, request.template, job.namespace)
    arguments = request.arguments_for(declared_parameters(template.get("spec") or {}))
    identity = Identity(
        name=name,
        labels={JOB: job_label(job.name), JOB_UID: job.uid},
        owners=({"apiVersion": API_VERSION, "kind": KIND, "name": job.name, "uid": job.uid, "controller": True},),
    )
    workflow = from_template(request.template, arguments, identity)
    try:
        submitted = submit(cluster, workflow, job.namespace, template=template)
    except errors.NameTakenError:
        # Made before with what an older version asked for.
        if (existing := _own_workflow(cluster, job, name)) is None:
            raise
        return existing, False
    return submitted.document, not submitted.found


def _own_workflow(cluster: Cluster, job: ModelJob, name: str) -> Document | None:
    try:
        workflow = cluster.get(WORKFLOWS.path(job.namespace, name))
    except errors.ClusterObjectMissingError:
        return None
    labels = workflow["metadata"].get("labels") or {}
    return workflow if labels.get(JOB_UID) == job.uid else None


def _run_of(cluster: Cluster, workflow: Document) -> tuple[Run, float | None]:
    """Return a Workflow's run, and after how many seconds to look again although nothing happens."""
    try:
        run = parse_run(hydrated(cluster, workflow))
    except errors.UnreadableStatusError:
        # How it ended is told all the same, though not which part of it failed.
        told = {key: value for key, value in (workflow.get("status") or {}).items() if key in _WITHOUT_NODES}
        run = parse_run({**workflow, "status": told})
    if workflow.get("status"):
        return run, None
    age = (datetime.now(UTC) - datetime.fromisoformat(workflow["metadata"]["creationTimestamp"])).total_seconds()
    if age < _TAKEN_UP_SECONDS:
        return run, _TAKEN_UP_SECONDS - age + 1
    run.message = run.message or _NOT_TAKEN_UP
    return run, None


def _gone(job: ModelJob, name: str) -> tuple[Run, None]:
    return Run(name=name, namespace=job.namespace, phase=Phase.ERROR, message=_GONE), None


def _judged(error: KleverError, waited: float) -> KleverError:
    """Return an error as temporary where somebody may put right what caused it while the job waits."""
    if "exceeded quota" in error.cause:
        reason = explain(error.cause)
        return waiting.QuotaExceededError(reason.cause, stage="submit", next_step=reason.next_step)
    twins: dict[type[KleverError], type[KleverError]] = {
        errors.ForbiddenError: waiting.ForbiddenError,
        errors.ArgoMissingError: waiting.ArgoMissingError,
    }
    if isinstance(error, errors.TemplateMissingError):
        if waited < _TEMPLATE_SECONDS:
            return waiting.TemplateMissingError(error.cause, stage=error.stage, next_step=error.next_step)
        error.next_step = f"{error.next_step}; then delete the job and create it again"
    twin = twins.get(type(error))
    return twin(error.cause, stage="submit", next_step=error.next_step) if twin else error


def _stop_older(cluster: Cluster, job: ModelJob, name: str) -> None:
    """Stop what runs for earlier generations of a job."""
    running = {"labelSelector": f"{JOB_UID}={job.uid},{COMPLETED}!=true"}
    for workflow in cluster.each(WORKFLOWS.path(job.namespace), running):
        older = str(workflow["metadata"]["name"])
        if older != name and not (workflow.get("spec") or {}).get("shutdown"):
            with suppress(errors.WrongPhaseError, errors.WorkflowMissingError, errors.ClusterObjectMissingError):
                control.stop(cluster, older, job.namespace)


def _remove_workflows(cluster: Cluster, job: ModelJob) -> None:
    """Delete every Workflow of a job, and with it its pods."""
    for workflow in cluster.each(WORKFLOWS.path(job.namespace), {"labelSelector": f"{JOB_UID}={job.uid}"}):
        with suppress(errors.WorkflowMissingError):
            control.delete(cluster, str(workflow["metadata"]["name"]), job.namespace)


def _expired(cluster: Cluster, document: Document) -> Outcome:
    metadata = document["metadata"]
    path = MODEL_JOBS.path(metadata["namespace"], metadata["name"])
    # Only as it was read: somebody may have changed it meanwhile, and then it is to run again.
    only = {key: metadata[key] for key in ("uid", "resourceVersion")}
    with suppress(errors.ClusterObjectMissingError):
        cluster.delete(path, only=only)
    return Outcome(None)


def _written(cluster: Cluster, document: Document, status: ModelJobStatus) -> Document:
    """Write a status where it says something new, and return the job as it then is."""
    change = changes(document.get("status") or {}, status.to_json())
    if not change:
        return document
    metadata = document["metadata"]
    path = MODEL_JOBS.path(metadata["namespace"], metadata["name"], "status")
    # With the version that was read: who has seen an older job must not say how a newer one is.
    version = {"resourceVersion": metadata["resourceVersion"]}
    try:
        return cluster.merge(path, {"metadata": version, "status": change})
    except errors.ClusterObjectMissingError:
        # Deleted meanwhile.
        return document


def _age(job: ModelJob) -> float | None:
    created = job.metadata.get("creationTimestamp")
    return max(0.0, time.time() - datetime.fromisoformat(str(created)).timestamp()) if created else None
