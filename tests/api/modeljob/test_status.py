"""What a ModelJob says of itself: while it waits, while it runs, and when it has ended, well or not."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from modeljobs import HISTORIC, MODEL, conversion, manifest

from klever.api.modeljob.model import InvalidJobError, JobPhase, ModelJob, ModelJobStatus, parse_job, parse_status
from klever.api.modeljob.status import changes, is_finished, sentence_of, status_of
from klever.steps.errors import KleverError
from klever.workflows.argo.errors import ClusterUnreachableError, TemplateMissingError
from klever.workflows.argo.status import parse_run
from klever.workflows.status import Kind, Node, Phase, Run

#: Workflows that a real Argo left.
RECORDINGS = Path(__file__).resolve().parents[2] / "workflows" / "argo" / "recordings"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
REFERENCE = f"{MODEL}@sha256:{'0' * 64}"
DONE = Run("job-abc", phase=Phase.SUCCEEDED, started=NOW, finished=LATER, outputs={"reference": REFERENCE})
BROKEN = Run("job-abc", phase=Phase.FAILED, started=NOW, finished=LATER, message="invalid spec: no entrypoint")


def job(status: ModelJobStatus | None = None, *, generation: int = 1, deleted: bool = False, **spec: Any) -> ModelJob:
    document = manifest(**(spec or {"model": MODEL, "extraction": {}}))
    document["metadata"] |= {"namespace": "models", "uid": "u", "generation": generation}
    if deleted:
        document["metadata"]["deletionTimestamp"] = "2026-03-01T12:00:00Z"
    return parse_job(document | {"status": status.to_json() if status else {}})


def recorded(name: str) -> Run:
    return parse_run(json.loads((RECORDINGS / f"{name}.json").read_text("utf-8")))


def truths(status: ModelJobStatus) -> dict[str, str]:
    return {condition.type: condition.status.value for condition in status.conditions}


def pod(name: str, phase: Phase, message: str = "", **others: Any) -> Node:
    return Node(f"w-{name}", f"w.{name}", name, others.pop("kind", Kind.POD), phase, message, **others)


def running(*nodes: Node) -> Run:
    return Run("w", phase=Phase.RUNNING, started=NOW, nodes={node.id: node for node in nodes})


PENDING = {"Accepted": "True", "Running": "False", "Succeeded": "Unknown", "Failed": "Unknown"}
AT_WORK = {**PENDING, "Running": "True"}
SUCCEEDED = {"Accepted": "True", "Running": "False", "Succeeded": "True", "Failed": "False"}
FAILED = {"Accepted": "True", "Running": "False", "Succeeded": "False", "Failed": "True"}
REFUSED = {**FAILED, "Accepted": "False"}


def test_a_new_job_waits_for_its_workflow() -> None:
    status = status_of(job(generation=3), None, now=NOW)
    assert (status.phase, status.message, status.work) == (JobPhase.PENDING, "it waits for its Workflow", "extraction")
    assert truths(status) == PENDING
    assert status.observed_generation == 3
    assert {condition.observed_generation for condition in status.conditions} == {3}


def test_a_job_runs_as_soon_as_a_pod_of_it_does() -> None:
    created = status_of(job(), Run("w", phase=Phase.RUNNING), now=NOW)
    assert (created.phase, created.workflow) == (JobPhase.PENDING, "w")
    group = pod("all", Phase.RUNNING, kind=Kind.DAG)
    starting = status_of(job(), running(group, pod("plan", Phase.PENDING, "PodInitializing")), now=NOW)
    assert starting.phase is JobPhase.PENDING
    status = status_of(job(), running(group, pod("plan", Phase.SUCCEEDED), pod("make", Phase.RUNNING)), now=NOW)
    assert (status.phase, status.message) == (JobPhase.RUNNING, "at work: make")
    assert truths(status) == AT_WORK
    assert status.start_time == NOW


def test_between_two_steps_a_job_still_runs() -> None:
    status = status_of(job(), running(pod("plan", Phase.SUCCEEDED)), now=NOW)
    assert (status.phase, status.message) == (JobPhase.RUNNING, "at work")


def test_of_many_parts_at_work_some_are_named() -> None:
    nodes = [pod(f"to-{n}", Phase.RUNNING) for n in range(9)]
    assert status_of(job(), running(*nodes), now=NOW).message == "at work: to-0, to-1, to-2 and 6 more"


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("no-image", "ImagePullBackOff", "main: waits: its image docker.io/klever/nothing:1 cannot be pulled (ImagePullBackOff); next: check"),
        ("image-not-loaded", "ErrImageNeverPull", "main: waits: its image docker.io/klever/nothing:1 is not on the node"),
        ("too-large", "Unschedulable", "main: waits: no node of the cluster can take it: 1 Insufficient memory (Unschedulable); next: ask for less"),
        ("no-secret", "CreateContainerConfigError", 'main: waits: its container cannot be set up: secret "nope" not found (CreateContainerConfigError); next: create'),
        ("over-quota", "Waiting", "main: waits: the namespace's quota is used up"),
    ],
)  # fmt: skip
def test_a_pod_that_does_not_start_says_what_it_waits_for(name: str, reason: str, message: str) -> None:
    status = status_of(job(), recorded(name), now=NOW)
    assert status.phase is JobPhase.PENDING
    assert status.message.startswith(message)
    condition = status.condition("Running")
    assert condition is not None
    assert (condition.reason, condition.message) == (reason, status.message)
    assert truths(status) == PENDING


def test_a_job_that_waits_for_a_lock_says_which() -> None:
    waiting = pod("extract", Phase.PENDING, "Waiting for models/Mutex/klever/h.e/a/b:v1 lock. Lock status: 0/1")
    status = status_of(job(), running(waiting), now=NOW)
    assert status.message.startswith("extract: waits: another workflow holds the lock klever/h.e/a/b:v1; next: wait")


def test_one_pod_that_waits_is_told_while_others_run() -> None:
    waiting = pod("make", Phase.PENDING, "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.")
    status = status_of(job(), running(pod("plan", Phase.RUNNING), waiting), now=NOW)
    assert status.phase is JobPhase.RUNNING
    assert status.message.startswith("make: waits: no node of the cluster can take it")


def test_a_step_that_is_tried_again_says_why() -> None:
    group = pod("extract", Phase.RUNNING, kind=Kind.RETRY, children=["w-extract(0)"])
    failed = pod("extract(0)", Phase.FAILED, "main: Error (exit code 75): pull: the registry answers 503; next: wait")
    status = status_of(job(), running(group, failed), now=NOW)
    assert status.phase is JobPhase.RUNNING
    assert status.message == "pull: the registry answers 503; next: wait; it is tried again"


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("out-of-memory", "OOMKilled", "main: it needed more memory than its limit allows and was killed (OOMKilled); next: run the template by spec.pipeline"),
        ("nobody-there", "StepFailed", "greet: nobody is there; next: come back later"),
        ("mixed", "StepFailed", "convert: the model is malformed; next: save it again"),
        ("crashed", "StepFailed", "main: its program crashed on an invalid memory access (SIGSEGV); next: see its log"),
        ("no-account", "StepFailed", "main: its service account nobody does not exist in the namespace; next: create"),
        ("no-such-template", "WorkflowFailed", "workflow: WorkflowTemplate gret does not exist in the namespace; next: apply it"),
        ("late", "StepFailed", "main: it ran longer than its deadline allows; next: give"),
        ("stopped", "StepFailed", "main: it was stopped because the workflow was; next: delete the job and apply it again"),
    ],
)  # fmt: skip
def test_a_failure_is_one_sentence_with_stage_cause_and_next_step(name: str, reason: str, message: str) -> None:
    status = status_of(job(), recorded(name), now=NOW)
    assert status.phase is JobPhase.FAILED
    assert status.message.startswith(message)
    condition = status.condition("Failed")
    assert condition is not None
    assert (condition.reason, condition.message) == (reason, status.message)
    assert truths(status) == FAILED
    assert status.result is None
    assert status.completion_time is not None


def test_of_several_failures_the_first_is_told_and_the_others_named() -> None:
    nodes = [
        pod(f"to-{n}", Phase.FAILED, f"Error (exit code 1): convert: cause {n}; next: step {n}", finished=NOW)
        for n in range(3)
    ]
    run = Run("w", phase=Phase.FAILED, nodes={node.id: node for node in nodes})
    assert status_of(job(), run, now=NOW).message == "convert: cause 0; next: step 0; also failed: to-1, to-2"


def test_an_extraction_that_is_done_says_what_it_made() -> None:
    outputs = {
        "reference": REFERENCE,
        "digest": "sha256:" + "0" * 64,
        "format": "MXNetParams",
        "signature": "data float32[-1, 4] -> prob float32[-1, 3]",
        "changed": "true",
        "moved": "true",
        "note": "the file tells no type",
    }
    run = Run("w", phase=Phase.SUCCEEDED, started=NOW, finished=LATER, outputs=outputs)
    status = status_of(job(), run, now=LATER)
    assert truths(status) == SUCCEEDED
    assert status.message == f"extraction is done: {REFERENCE}; note: the file tells no type"
    assert (status.start_time, status.completion_time) == (NOW, LATER)
    assert status.to_json()["result"] == {
        "reference": REFERENCE,
        "digest": "sha256:" + "0" * 64,
        "format": "MXNetParams",
        "signature": "data float32[-1, 4] -> prob float32[-1, 3]",
        "outputs": {"changed": "true", "moved": "true"},
    }


def test_a_conversion_that_is_done_has_a_summary_of_its_certificate() -> None:
    outputs = {"reference": REFERENCE, "level": "compared", "path": "mxnetparams_to_onnx", "found": "false"}
    asked = job(model=MODEL, conversion=conversion("MXNetParams", "ONNX"))
    status = status_of(asked, Run("w", phase=Phase.SUCCEEDED, outputs=outputs), now=NOW)
    assert status.message == f"conversion to ONNX is done: {REFERENCE}, proven to the level compared"
    assert status.to_json()["result"] == {
        "reference": REFERENCE,
        "certificate": {"level": "compared", "path": "mxnetparams_to_onnx"},
        "outputs": {"found": "false"},
    }


def test_a_pipeline_without_outputs_has_no_result() -> None:
    asked = job(pipeline={"template": "nightly"})
    status = status_of(asked, Run("w", phase=Phase.SUCCEEDED), now=NOW)
    assert (status.message, status.result) == ("pipeline nightly is done", None)


def test_outputs_of_any_size_and_letters_leave_a_small_status() -> None:
    outputs = {f"o{n:03}": "x" * 2000 for n in range(100)} | {"long": "y" * 10_000, "odd": "\x1b[2J"}
    status = status_of(job(), Run("w", phase=Phase.SUCCEEDED, outputs=outputs), now=NOW)
    assert status.result is not None
    kept = status.result.outputs or {}
    assert "long" not in kept
    assert 0 < sum(map(len, kept.values())) <= 16_384
    assert all(value.isprintable() for value in kept.values())


def test_a_job_that_cannot_be_run_is_not_accepted() -> None:
    status = status_of(parse_job(HISTORIC["init-container"]), None, now=NOW)
    assert truths(status) == REFUSED
    assert status.message.startswith(
        "job: spec.initContainer is not run by this version; next: write a WorkflowTemplate"
    )
    condition = status.condition("Accepted")
    assert condition is not None
    assert (condition.reason, condition.message) == ("InvalidJob", status.message)
    assert status.completion_time == NOW


def test_a_template_that_is_not_there_fails_the_job() -> None:
    error = TemplateMissingError(
        "namespace models has no WorkflowTemplate klever-deploy; it has klever-extract", stage="submit"
    )
    status = status_of(job(model=MODEL, deployment={}), None, error, now=NOW)
    assert truths(status) == REFUSED
    assert status.message.startswith("submit: namespace models has no WorkflowTemplate klever-deploy")
    condition = status.condition("Failed")
    assert condition is not None
    assert condition.reason == "TemplateMissing"


def test_a_cluster_that_does_not_answer_keeps_the_job_waiting() -> None:
    error = ClusterUnreachableError("the cluster answers 503", stage="submit")
    status = status_of(job(), None, error, now=NOW)
    assert truths(status) == PENDING
    assert status.message.startswith("submit: the cluster answers 503; next: ")
    assert status.completion_time is None


def test_what_is_not_used_of_a_job_is_told_though_it_is_accepted() -> None:
    status = status_of(parse_job(HISTORIC["env"]), None, now=NOW)
    condition = status.condition("Accepted")
    assert condition is not None
    assert (condition.status.value, condition.message) == (
        "True",
        "COMMAND of spec.env is not used: this work has no meaning for it",
    )


def test_a_condition_keeps_the_time_at_which_it_changed() -> None:
    first = status_of(job(), None, now=NOW)
    second = status_of(job(first), running(pod("extract", Phase.RUNNING)), now=LATER)
    times = {condition.type: condition.last_transition_time for condition in second.conditions}
    assert times == {"Accepted": NOW, "Running": LATER, "Succeeded": NOW, "Failed": NOW}


@pytest.mark.parametrize("run", [None, running(pod("extract", Phase.RUNNING)), DONE, BROKEN], ids=str)
def test_the_same_run_gives_the_same_status_at_any_time(run: Run | None) -> None:
    first = status_of(job(), run, now=NOW)
    again = status_of(job(first), run, now=LATER + timedelta(hours=1))
    assert changes(first.to_json(), again.to_json()) == {}


def test_a_refusal_does_not_move_on_with_time() -> None:
    broken = parse_job(HISTORIC["init-container"])
    first = status_of(broken, None, now=NOW)
    again = status_of(broken.model_copy(update={"status": first}), None, now=LATER)
    assert again == first


@pytest.mark.parametrize("run", [DONE, BROKEN], ids=["succeeded", "failed"])
def test_a_finished_job_stays_as_it_is_when_its_workflow_is_gone(run: Run) -> None:
    ended = status_of(job(), run, now=NOW)
    assert is_finished(job(ended))
    assert status_of(job(ended), None, now=LATER) == ended
    assert status_of(job(ended), None, ClusterUnreachableError("no"), now=LATER) == ended


def test_a_new_generation_begins_anew() -> None:
    ended = status_of(job(), DONE, now=NOW)
    changed = job(ended, generation=2, model=MODEL, extraction={"format": "ONNX"})
    assert not is_finished(changed)
    status = status_of(changed, None, now=LATER)
    assert (status.phase, status.result, status.start_time, status.completion_time, status.workflow) == (
        JobPhase.PENDING,
        None,
        None,
        None,
        None,
    )


def test_jobs_that_ended_under_the_first_version_stay_as_they_ended() -> None:
    old = parse_job(HISTORIC["as-read-after-it-failed"])
    assert is_finished(old)
    assert status_of(old, None, now=NOW).to_json() == {"phase": "Failed", "message": "ErrImagePull"}


def test_a_deleted_job_says_that_it_goes() -> None:
    before = status_of(job(), running(pod("extract", Phase.RUNNING)), now=NOW)
    status = status_of(job(before, deleted=True), running(pod("extract", Phase.RUNNING)), now=LATER)
    assert (status.phase, status.workflow) == (JobPhase.DELETING, "w")
    assert status.conditions == before.conditions


def test_an_error_is_one_sentence_with_or_without_its_parts() -> None:
    assert sentence_of(KleverError("it broke")) == "it broke"
    assert sentence_of(KleverError("it broke", stage="push", next_step="mend it")) == "push: it broke; next: mend it"
    assert sentence_of(InvalidJobError("it is wrong")).startswith("it is wrong; next: correct the spec")


def test_a_message_of_any_length_and_letters_is_one_short_line() -> None:
    broken = Run("w", phase=Phase.ERROR, message="\x1b]0;x\x07" + "long\n" * 10_000)
    message = status_of(job(), broken, now=NOW).message
    assert message.isprintable()
    assert len(message) <= 2003


MERGED = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(st.sampled_from("abcd"), MERGED, max_size=4)


def merged(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch as RFC 7396, section 2, says."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


@given(DOCUMENTS, DOCUMENTS)
def test_the_changes_turn_one_document_into_the_other(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = changes(old, new)
    assert merged(old, patch) == new
    assert bool(patch) is (old != new)


def test_a_status_survives_its_way_through_json() -> None:
    status = status_of(job(), DONE, now=NOW)
    assert parse_status(json.loads(json.dumps(status.to_json()))) == status
