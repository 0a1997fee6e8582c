"""What a ModelJob's status says, from its Workflow's run or from the error that kept it from starting.

A pure function: the same run gives the same status, and a condition keeps the time at which it last changed. What does
not belong here: reading and writing objects, and what a message of Kubernetes means (`klever.workflows.argo.reasons`).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from klever.api.modeljob.model import (
    CertificateSummary,
    Condition,
    ConditionStatus,
    ConditionType,
    InvalidJobError,
    JobPhase,
    ModelJob,
    ModelJobStatus,
    Result,
)
from klever.api.modeljob.request import Request, request_of, work_of
from klever.api.text import visible
from klever.steps.errors import KleverError, printable
from klever.workflows.argo.reasons import Reason, explain, waits_for
from klever.workflows.status import Kind, Node, Phase, Run

#: Nodes that are made of others, or of nothing.
_NO_WORK: Final = frozenset({Kind.DAG, Kind.STEPS, Kind.STEP_GROUP, Kind.TASK_GROUP, Kind.RETRY, Kind.SKIPPED})
#: A message of a step of ours begins with its stage: one word (see ``klever-task``).
_STAGED: Final = re.compile(r"[a-z][a-z-]{1,30}: ")
#: Reasons of kubelet, scheduler and node that people search for.
_KNOWN: Final = re.compile(
    r"\b(ErrImagePull|ImagePullBackOff|ErrImageNeverPull|InvalidImageName|ImageInspectError|OOMKilled|CrashLoopBackOff"
    r"|Unschedulable|CreateContainerConfigError|CreateContainerError|RunContainerError|StartError|ContainerCannotRun"
    r"|Evicted|DeadlineExceeded|NodeLost|Preempting)\b"
)
#: What whoever has a workflow of their own can do, and what whoever has a job does instead.
_INSTEAD: Final = (
    ("klever workflows retry", "delete the job and apply it again"),
    (
        "give it a higher memory limit",
        "run the template by spec.pipeline with a higher value of its argument memory, which klever-convert has",
    ),
)
#: What `explain` says where it knows nothing better, and which does not help whoever waits.
_SEE_LOG: Final = "see its log for why"
#: Names of parts in one sentence.
_MOST_PARTS: Final = 3
#: The longest output that a status carries, and all of them together, in characters: thousands of jobs are kept.
_MAX_OUTPUT: Final = 2048
_MAX_OUTPUTS: Final = 16_384
_MAX_MESSAGE: Final = 2000


class _Story(NamedTuple):
    """What is told of a job at one moment."""

    phase: JobPhase
    #: For the conditions: one word.
    reason: str
    message: str
    accepted: bool = True


def is_finished(job: ModelJob) -> bool:
    """Return whether this generation of the job has ended, so that nothing is to be done for it any more.

    Jobs of versions that wrote no observedGeneration stay as they ended.
    """
    seen = job.status.observed_generation
    return job.status.phase.is_final and (seen is None or seen >= job.generation)


def status_of(
    job: ModelJob, run: Run | None, error: KleverError | None = None, *, now: datetime | None = None
) -> ModelJobStatus:
    """Return the status of a job whose Workflow's run is ``run``, or that could not be started because of ``error``.

    Where there is neither, it waits to be taken up; one that has finished stays as it is, as Workflows are deleted
    before jobs. A temporary error keeps it pending, another makes it failed. ``now`` is the time, for what changes.
    """
    now = now or datetime.now(UTC)
    if job.is_deleting:
        return job.status.model_copy(
            update={"phase": JobPhase.DELETING, "message": "its Workflow is stopped and what it left is removed"}
        )
    if run is None and is_finished(job):
        return job.status
    request: Request | None = None
    try:
        request = request_of(job)
    except InvalidJobError as invalid:
        error = error or invalid
    story = _of_run(run, request) if run is not None else _of_error(error)
    started, completed = _times(job, run, story, now)
    return ModelJobStatus(
        phase=story.phase,
        message=printable(story.message, _MAX_MESSAGE),
        work=work_of(job.spec) or None,
        conditions=_conditions(job, story, request.notes if request else (), now),
        workflow=run.name if run is not None else None,
        result=_result(run.outputs) if run is not None and story.phase is JobPhase.SUCCEEDED else None,
        start_time=started,
        completion_time=completed,
        observed_generation=job.generation,
    )


def changes(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any]:
    """Return what turns one document into another as a JSON merge patch (RFC 7396); empty where they are the same."""
    patch: dict[str, Any] = {name: None for name in old or {} if name not in new}
    for name, value in new.items():
        before = (old or {}).get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := changes(before, value):
                patch[name] = inner
        elif before != value or name not in (old or {}):
            patch[name] = value
    return patch


def sentence_of(error: KleverError) -> str:
    """Return an error as one sentence: ``STAGE: CAUSE; next: NEXT STEP``."""
    return _sentence(error.stage, error.cause, error.next_step)


def _sentence(stage: str, cause: str, next_step: str) -> str:
    staged = f"{stage}: {cause}" if stage else cause
    return f"{staged}; next: {next_step}" if next_step else staged


def _of_error(error: KleverError | None) -> _Story:
    if error is None:
        return _Story(JobPhase.PENDING, "Waiting", "it waits for its Workflow")
    reason = type(error).__name__.removesuffix("Error")
    if error.temporary:
        return _Story(JobPhase.PENDING, reason, sentence_of(error))
    return _Story(JobPhase.FAILED, reason, sentence_of(error), accepted=False)


def _of_run(run: Run, request: Request | None) -> _Story:
    if run.phase.is_failure:
        return _of_failure(run)
    if run.phase.is_final:
        return _Story(JobPhase.SUCCEEDED, "Succeeded", _success(run, request))
    at_work = [node for node in run.nodes.values() if node.kind not in _NO_WORK and node.phase is not Phase.PENDING]
    phase = JobPhase.RUNNING if run.phase is Phase.RUNNING and at_work else JobPhase.PENDING
    for node, reason in _waiting(run):
        word = _known_word(node.message)
        return _Story(phase, word or "Waiting", _told(node, reason, word, waits=True))
    for node in _tried_again(run):
        reason = explain(node.message, node.exit_code)
        return _Story(phase, "TriedAgain", f"{_told(node, reason, _known_word(node.message))}; it is tried again")
    running = [node.display_name for node in at_work if node.phase is Phase.RUNNING]
    if running:
        return _Story(phase, "Running", f"at work: {_some(running)}")
    if phase is JobPhase.RUNNING:
        return _Story(phase, "Running", "at work")
    return _Story(phase, "Waiting", printable(run.message) or "its Workflow waits for its first pod")


def _waiting(run: Run) -> Iterator[tuple[Node, Reason]]:
    for node in run.nodes.values():
        reason = waits_for(node)
        if reason is not None and node.kind not in _NO_WORK:
            yield node, reason


def _tried_again(run: Run) -> Iterator[Node]:
    """Yield the last failed try of each node that is going to be tried again."""
    for group in run.nodes.values():
        if group.kind is Kind.RETRY and not group.phase.is_final:
            tries = run.within(group)
            if tries and tries[-1].phase.is_failure:
                yield tries[-1]


def _of_failure(run: Run) -> _Story:
    causes = list(run.failures())
    if not causes:
        reason = explain(run.message)
        word = _known_word(run.message)
        return _Story(JobPhase.FAILED, word or "WorkflowFailed", _sentence("workflow", reason.cause, reason.next_step))
    first, *others = causes
    word = _known_word(first.message)
    message = _told(first, explain(first.message, first.exit_code), word)
    if others:
        message += f"; also failed: {_some([node.display_name for node in others])}"
    return _Story(JobPhase.FAILED, word or "StepFailed", message)


def _told(node: Node, reason: Reason, word: str, *, waits: bool = False) -> str:
    cause = f"{reason.cause} ({word})" if word and word not in reason.cause else reason.cause
    next_step = next((step for words, step in _INSTEAD if reason.next_step.startswith(words)), reason.next_step)
    stage = node.template or node.display_name
    if waits:
        return _sentence(stage, f"waits: {cause}", "" if next_step == _SEE_LOG else next_step)
    return _sentence("" if _STAGED.match(cause) else stage, cause, next_step)


def _known_word(message: str) -> str:
    found = _KNOWN.search(message)
    return found[1] if found else ""


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:_MOST_PARTS])
    return f"{shown} and {len(names) - _MOST_PARTS} more" if len(names) > _MOST_PARTS else shown


def _success(run: Run, request: Request | None) -> str:
    outputs = run.outputs
    made = f"{request.work if request else 'the work'} is done"
    if reference := outputs.get("reference"):
        made += f": {reference}"
    if level := outputs.get("level"):
        made += f", proven to the level {level}"
    note = outputs.get("note")
    return f"{made}; note: {note}" if note else made


def _result(outputs: Mapping[str, str]) -> Result | None:
    if not outputs:
        return None
    left = {name: visible(value) for name, value in outputs.items() if value and len(value) <= _MAX_OUTPUT}
    told = {name: left.pop(name, None) for name in ("reference", "digest", "format", "signature")}
    level, path = left.pop("level", None), left.pop("path", None)
    certificate = CertificateSummary(level=level, path=path) if level else None
    left.pop("note", None)
    others: dict[str, str] = {}
    room = _MAX_OUTPUTS
    for name, value in sorted(left.items()):
        room -= len(value)
        if room >= 0:
            others[name] = value
    return Result(**told, certificate=certificate, outputs=others or None)


def _times(job: ModelJob, run: Run | None, story: _Story, now: datetime) -> tuple[datetime | None, datetime | None]:
    before = job.status if job.status.observed_generation == job.generation else ModelJobStatus()
    started = (run.started if run is not None else None) or before.start_time
    if not story.phase.is_final:
        return started, None
    return started, (run.finished if run is not None else None) or before.completion_time or now


def _conditions(job: ModelJob, story: _Story, notes: tuple[str, ...], now: datetime) -> list[Condition]:
    ended = story.phase.is_final
    unknown = ConditionStatus.UNKNOWN
    not_ended = "NotFinished"

    def condition(kind: ConditionType, status: ConditionStatus, reason: str, message: str) -> Condition:
        before = job.status.condition(kind)
        return Condition(
            type=kind.value,
            status=status,
            reason=reason,
            message=printable(message, _MAX_MESSAGE),
            last_transition_time=before.last_transition_time if before and before.status is status else now,
            observed_generation=job.generation,
        )

    succeeded, failed = story.phase is JobPhase.SUCCEEDED, story.phase is JobPhase.FAILED
    return [
        condition(ConditionType.ACCEPTED, _truth(True), "Accepted", "; ".join(notes))
        if story.accepted
        else condition(ConditionType.ACCEPTED, _truth(False), story.reason, story.message),
        condition(
            ConditionType.RUNNING,
            _truth(story.phase is JobPhase.RUNNING),
            "Finished" if ended else story.reason,
            "" if ended else story.message,
        ),
        condition(ConditionType.SUCCEEDED, _truth(succeeded), story.reason, story.message)
        if ended
        else condition(ConditionType.SUCCEEDED, unknown, not_ended, ""),
        condition(ConditionType.FAILED, _truth(failed), story.reason, story.message if failed else "")
        if ended
        else condition(ConditionType.FAILED, unknown, not_ended, ""),
    ]


def _truth(value: bool) -> ConditionStatus:
    return ConditionStatus.TRUE if value else ConditionStatus.FALSE
