"""One look at a job: what it makes, what it says, and that it may be cut off anywhere and be taken again."""

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from memory_cluster import MemoryCluster
from modeljobs import HISTORIC, manifest

from klever.api.controller.errors import HandlingError
from klever.api.controller.reconcile import Outcome, Rules, give_up, owner_of, reconcile
from klever.api.controller.told import EVENTS
from klever.api.controller.workqueue import Failing, Key
from klever.api.modeljob.model import MODEL_JOBS
from klever.api.modeljob.names import JOB, JOB_UID, workflow_name
from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOWS
from klever.workflows.manifest import Document

KEY = Key("models", "job")
RULES = Rules(ttl_seconds=3600, instance="one")
MODEL = "harbor.example/release/mnist:v1"


class Killed(BaseException):
    """The process is killed here."""


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.template("klever-extract", "model", "format", "as", "inputs", "outputs")
    cluster.template("mine", "model", "speed")
    return cluster


def apply(cluster: MemoryCluster, **spec: Any) -> Document:
    """Make the job, or give it another spec."""
    path = MODEL_JOBS.path(*KEY)
    if path in cluster.objects:
        return cluster.merge(path, {"spec": dict.fromkeys(cluster.objects[path]["spec"]) | spec})
    return cluster.put(MODEL_JOBS, manifest(KEY.name, **spec))


def look(cluster: MemoryCluster, failing: Failing | None = None, now: float = 0.0) -> Outcome:
    return reconcile(cluster, KEY, RULES, failing, now)


def status(cluster: MemoryCluster) -> Document:
    found: Document = cluster.objects[MODEL_JOBS.path(*KEY)].get("status") or {}
    return found


def condition(cluster: MemoryCluster, kind: str) -> Document:
    found: Document = next(each for each in status(cluster)["conditions"] if each["type"] == kind)
    return found


def workflow(cluster: MemoryCluster, **changed: Any) -> Document:
    """Return the newest Workflow, with a status that Argo has given it."""
    path = WORKFLOWS.path("models", cluster.workflows()[-1]["metadata"]["name"])
    cluster.objects[path] |= {"status": changed} if changed else {}
    return cluster.objects[path]


def node(name: str, phase: str, **more: Any) -> Document:
    return {
        "id": name,
        "name": name,
        "displayName": name,
        "type": "Pod",
        "phase": phase,
        "templateName": "extract",
    } | more


def finish(cluster: MemoryCluster, phase: str = "Succeeded", message: str = "", **outputs: str) -> None:
    name = workflow(cluster)["metadata"]["name"]
    parameters = [{"name": key, "value": value} for key, value in outputs.items()]
    pod = node(f"{name}[0].extract", phase, message=message, boundaryID=name, outputs={"parameters": parameters})
    root = node(name, phase, type="Steps", outputs={"parameters": parameters})
    workflow(
        cluster,
        phase=phase,
        startedAt="2026-01-01T00:00:00Z",
        finishedAt=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        nodes={pod["id"]: pod, root["id"]: root},
    )


def events(cluster: MemoryCluster) -> list[tuple[str, str, str]]:
    return [(each["type"], each["reason"], each["message"]) for each in cluster.all_of(EVENTS)]


def test_a_job_becomes_one_workflow_that_it_owns(cluster: MemoryCluster) -> None:
    job = apply(cluster, model=MODEL, extraction={"format": "onnx"})
    outcome = look(cluster)
    (made,) = cluster.workflows()
    uid = job["metadata"]["uid"]
    assert made["metadata"]["name"] == workflow_name(uid, 1, "job")
    assert made["metadata"]["labels"] == {JOB: "job", JOB_UID: uid}
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("ModelJob", "job", uid, True)
    assert owner_of(made) == KEY
    assert made["spec"] == {
        "workflowTemplateRef": {"name": "klever-extract"},
        "arguments": {"parameters": [{"name": "model", "value": MODEL}, {"name": "format", "value": "ONNX"}]},
    }
    assert outcome.queued_seconds is not None
    assert outcome.queued_seconds < 60
    assert (status(cluster)["phase"], status(cluster)["workflow"]) == ("Pending", made["metadata"]["name"])
    assert outcome.job is not None
    assert outcome.job["status"] == status(cluster)


def test_looking_again_changes_nothing(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    before = copy.deepcopy(cluster.objects)
    cluster.asked.clear()
    for _ in range(3):
        assert look(cluster).queued_seconds is None
    assert cluster.objects == before
    assert {method for method, _ in cluster.asked} == {"GET"}


def test_the_status_follows_the_workflow_to_its_end(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    name = workflow(cluster)["metadata"]["name"]
    pod = node(f"{name}[0].extract", "Running")
    workflow(cluster, phase="Running", startedAt="2026-01-01T00:00:00Z", nodes={pod["id"]: pod})
    look(cluster)
    assert (status(cluster)["phase"], status(cluster)["startTime"]) == ("Running", "2026-01-01T00:00:00Z")
    finish(cluster, reference=f"{MODEL}@sha256:{'a' * 64}", signature="x float32[-1] -> y float32[-1]")
    outcome = look(cluster)
    assert status(cluster)["phase"] == "Succeeded"
    assert status(cluster)["result"]["signature"] == "x float32[-1] -> y float32[-1]"
    assert condition(cluster, "Succeeded")["status"] == "True"
    assert status(cluster)["observedGeneration"] == 1
    assert outcome.ended is not None
    assert [event[:2] for event in events(cluster)] == [("Normal", "Succeeded")]


def test_why_a_pod_waits_is_told_while_it_waits(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    name = workflow(cluster)["metadata"]["name"]
    message = 'ErrImagePull: failed to pull image "docker.io/klever/steps:none": not found'
    pod = node(f"{name}[0].extract", "Pending", message=message)
    workflow(cluster, phase="Running", nodes={pod["id"]: pod})
    look(cluster)
    assert status(cluster)["phase"] == "Pending"
    assert (
        "docker.io/klever/steps:none does not exist (ErrImagePull); next: push the image" in status(cluster)["message"]
    )
    assert events(cluster) == []


def test_a_failure_is_one_sentence_and_one_warning(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    said = "Error (exit code 1): recognise: no format claims these files; next: give the format"
    finish(cluster, "Failed", said)
    look(cluster)
    told = "recognise: no format claims these files; next: give the format"
    assert (status(cluster)["phase"], status(cluster)["message"]) == ("Failed", told)
    assert events(cluster) == [("Warning", "Failed", told)]


def test_argos_absence_is_told_after_a_while(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    outcome = look(cluster)
    assert outcome.again_seconds is not None
    assert 15 < outcome.again_seconds < 30
    made = workflow(cluster)
    made["metadata"]["creationTimestamp"] = f"{datetime.now(UTC) - timedelta(seconds=30):%Y-%m-%dT%H:%M:%SZ}"
    assert look(cluster).again_seconds is None
    assert "waits for Argo's controller; next: check that it runs" in status(cluster)["message"]


def test_a_changed_job_stops_what_runs_for_it_and_starts_anew(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    apply(cluster, model=MODEL, extraction={"format": "H5"})
    look(cluster)
    first, second = cluster.workflows()
    assert first["spec"]["shutdown"] == "Stop"
    assert "shutdown" not in second["spec"]
    assert status(cluster)["workflow"] == second["metadata"]["name"]
    assert status(cluster)["observedGeneration"] == 2


def test_what_a_finished_job_says_goes_when_it_is_changed(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    finish(cluster, reference=f"{MODEL}@sha256:{'a' * 64}")
    look(cluster)
    assert "completionTime" in status(cluster)
    apply(cluster, model=MODEL, extraction={"format": "H5"})
    look(cluster)
    assert status(cluster)["phase"] == "Pending"
    assert not {"result", "completionTime"} & status(cluster).keys()
    finish(cluster)
    look(cluster)
    assert [event[1] for event in events(cluster)] == ["Succeeded", "Succeeded"]


def test_a_finished_job_keeps_its_status_when_its_workflow_goes(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    finish(cluster)
    look(cluster)
    before = copy.deepcopy(status(cluster))
    cluster.delete(WORKFLOWS.path("models", before["workflow"]))
    look(cluster)
    assert status(cluster) == before
    assert cluster.workflows() == []


def test_a_workflow_that_goes_before_its_end_fails_the_job(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    name = status(cluster)["workflow"]
    cluster.delete(WORKFLOWS.path("models", name))
    look(cluster)
    assert (status(cluster)["phase"], status(cluster)["workflow"]) == ("Failed", name)
    assert "deleted before its end was seen; next: create the job again" in status(cluster)["message"]
    assert cluster.workflows() == []
    assert [event[:2] for event in events(cluster)] == [("Warning", "Failed")]


def test_a_pipelines_template_gets_the_model_where_it_takes_one(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, pipeline={"template": "mine", "arguments": {"speed": "2"}})
    look(cluster)
    given = {each["name"]: each["value"] for each in workflow(cluster)["spec"]["arguments"]["parameters"]}
    assert given == {"speed": "2", "model": MODEL}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"model": MODEL, "pipeline": {"template": "mine", "arguments": {"sped": "2"}}}, "speed"),
        ({"model": MODEL, "extraction": {}, "initContainer": {"name": "x"}}, "spec.initContainer is not run"),
        ({"model": MODEL, "conversion": {"mmdnn": {"from": "ONNX", "to": "H5"}}}, "nothing converts ONNX to H5"),
        ({"model": MODEL}, "exactly one of them"),
        ({"model": "harbor.example/a/{{workflow.name}}:v1", "extraction": {}}, "spec.model is no reference"),
        ({"model": MODEL, "extraction": {}, "env": [{"name": "INPUTS", "value": "{"}]}, "INPUTS of spec.env"),
        # What no API server with our definition takes, but one with an older one may have kept.
        ({"model": 7, "extraction": []}, "is not right"),
        ({"env": "many"}, "is not right"),
    ],
)
def test_a_job_that_cannot_be_run_says_why_and_stays(
    cluster: MemoryCluster, spec: dict[str, Any], message: str
) -> None:
    apply(cluster, **spec)
    outcome = look(cluster)
    assert status(cluster)["phase"] == "Failed"
    assert message in status(cluster)["message"]
    assert "; next: " in status(cluster)["message"]
    assert condition(cluster, "Accepted")["status"] == "False"
    assert outcome.problem is None
    assert cluster.workflows() == []
    assert len(events(cluster)) == 1


def test_a_job_that_is_corrected_runs(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL)
    look(cluster)
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    assert status(cluster)["phase"] == "Pending"
    assert len(cluster.workflows()) == 1


def test_a_running_job_that_is_spoiled_is_stopped(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    apply(cluster, model=MODEL)
    look(cluster)
    assert status(cluster)["phase"] == "Failed"
    assert workflow(cluster)["spec"]["shutdown"] == "Stop"


def test_a_template_may_come_after_the_job(cluster: MemoryCluster) -> None:
    apply(cluster, pipeline={"template": "later"})
    outcome = look(cluster)
    assert outcome.problem is not None
    assert status(cluster)["phase"] == "Pending"
    assert "has no WorkflowTemplate later" in status(cluster)["message"]
    cluster.template("later")
    assert look(cluster, Failing(3, 100.0), 110.0).problem is None
    assert len(cluster.workflows()) == 1


def test_a_template_that_does_not_come_fails_the_job(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, deployment={})
    look(cluster)
    outcome = look(cluster, Failing(8, 100.0), 170.0)
    assert outcome.problem is None
    assert (status(cluster)["phase"], condition(cluster, "Failed")["reason"]) == ("Failed", "TemplateMissing")
    assert "namespace models has no WorkflowTemplate klever-deploy" in status(cluster)["message"]
    assert status(cluster)["message"].endswith("then delete the job and create it again")


@pytest.mark.parametrize(
    ("refusal", "reason", "message"),
    [
        (
            errors.ForbiddenError("klever may not create workflows", stage="cluster", next_step="ask for the right"),
            "Forbidden",
            "submit: klever may not create workflows; next: ask for the right",
        ),
        (
            errors.ForbiddenError("workflows is forbidden: exceeded quota: small, limited: count/workflows=1"),
            "QuotaExceeded",
            "the namespace's quota is used up",
        ),
        (errors.ArgoMissingError("no workflows here"), "ArgoMissing", "install Argo Workflows"),
        (errors.ClusterUnreachableError("a webhook does not answer"), "ClusterUnreachable", "a webhook"),
    ],
)
def test_what_somebody_may_put_right_is_waited_for(
    cluster: MemoryCluster, refusal: Exception, reason: str, message: str
) -> None:
    apply(cluster, model=MODEL, extraction={})

    def refuse(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/workflows"):
            raise copy.copy(refusal)

    cluster.fault = refuse
    for _ in range(2):
        outcome = look(cluster, Failing(50, 0.0), 1e6)
        assert outcome.problem is not None
    assert (status(cluster)["phase"], condition(cluster, "Running")["reason"]) == ("Pending", reason)
    assert message in status(cluster)["message"]
    assert events(cluster) == []
    cluster.fault = lambda *_: None
    assert look(cluster).problem is None
    assert len(cluster.workflows()) == 1


def test_a_workflow_that_an_older_version_made_is_taken_as_it_is(cluster: MemoryCluster) -> None:
    job = apply(cluster, model=MODEL, extraction={})
    name, uid = workflow_name(job["metadata"]["uid"], 1, "job"), job["metadata"]["uid"]
    cluster.put(WORKFLOWS, {"metadata": {"name": name, "labels": {JOB_UID: uid}}, "spec": {"entrypoint": "old"}})
    look(cluster)
    assert [each["spec"] for each in cluster.workflows()] == [{"entrypoint": "old"}]
    assert status(cluster)["workflow"] == name


def test_a_foreign_workflow_of_that_name_is_left_alone(cluster: MemoryCluster) -> None:
    job = apply(cluster, model=MODEL, extraction={})
    name = workflow_name(job["metadata"]["uid"], 1, "job")
    cluster.put(WORKFLOWS, {"metadata": {"name": name}, "spec": {"entrypoint": "theirs"}})
    look(cluster)
    assert status(cluster)["phase"] == "Failed"
    assert "another workflow" in status(cluster)["message"]
    assert cluster.workflows()[0]["spec"] == {"entrypoint": "theirs"}


def test_a_job_that_is_being_deleted_takes_its_workflows_with_it(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    cluster.objects[MODEL_JOBS.path(*KEY)]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    look(cluster)
    assert status(cluster)["phase"] == "Deleting"
    assert cluster.workflows() == []


def test_a_job_that_is_gone_is_nothing_to_do(cluster: MemoryCluster) -> None:
    assert look(cluster) == Outcome(None)


@pytest.mark.parametrize(("own", "gone"), [(None, False), (60, True), (7200, False)])
def test_a_finished_job_goes_when_its_time_is_over(cluster: MemoryCluster, own: int | None, gone: bool) -> None:
    ttl = {} if own is None else {"ttlSecondsAfterFinished": own}
    apply(cluster, model=MODEL, extraction={}, **ttl)
    look(cluster)
    finish(cluster)
    look(cluster)
    half_an_hour_ago = f"{datetime.now(UTC) - timedelta(minutes=30):%Y-%m-%dT%H:%M:%SZ}"
    status(cluster)["completionTime"] = half_an_hour_ago
    look(cluster)
    assert (MODEL_JOBS.path(*KEY) not in cluster.objects) is gone
    assert (cluster.workflows() == []) is gone


def test_a_job_that_is_changed_at_the_last_moment_is_not_deleted(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={}, ttlSecondsAfterFinished=0)
    look(cluster)
    finish(cluster)
    look(cluster)

    def meanwhile(method: str, _path: str) -> None:
        if method == "DELETE":
            cluster.fault = lambda *_: None
            apply(cluster, model=MODEL, extraction={"format": "H5"})

    cluster.fault = meanwhile
    with pytest.raises(errors.ConflictError):
        look(cluster)
    look(cluster)
    assert status(cluster)["phase"] == "Pending"
    assert status(cluster)["observedGeneration"] == 2


def test_a_status_of_what_was_read_is_never_written_over_a_newer_one(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})

    def meanwhile(method: str, path: str) -> None:
        if method == "PATCH" and path.endswith("/status"):
            cluster.fault = lambda *_: None
            apply(cluster, model=MODEL, extraction={"format": "H5"})

    cluster.fault = meanwhile
    with pytest.raises(errors.ConflictError):
        look(cluster)
    assert status(cluster) == {}
    look(cluster)
    first, second = cluster.workflows()
    assert (first["spec"].get("shutdown"), status(cluster)["workflow"]) == ("Stop", second["metadata"]["name"])


@pytest.mark.parametrize("refused", [errors.ForbiddenError("no"), errors.InvalidWorkflowError("no")])
def test_who_gets_no_events_gets_his_status_all_the_same(cluster: MemoryCluster, refused: Exception) -> None:
    apply(cluster, model=MODEL)

    def refuse(_method: str, path: str) -> None:
        if path.endswith("/events"):
            raise copy.copy(refused)

    cluster.fault = refuse
    look(cluster)
    assert status(cluster)["phase"] == "Failed"


def _lives(cluster: MemoryCluster, step: Callable[[], None]) -> None:
    """Do what a controller does until nothing changes; whoever kills it kills it here."""
    while True:
        before = copy.deepcopy(cluster.objects)
        step()
        if cluster.objects == before:
            return


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_killed_at_any_request_it_ends_as_if_it_had_not_been(phase: str, *, after: bool) -> None:
    """At the n-th request, before it arrives or before its answer does, for every n."""

    def life(kill_at: int) -> tuple[MemoryCluster, bool]:
        cluster = MemoryCluster()
        cluster.template("klever-extract", "model", "format")
        apply(cluster, model=MODEL, extraction={})
        left = [kill_at]

        def count(_method: str, _path: str) -> None:
            left[0] -= 1
            if left[0] == 0 and not after:
                raise Killed

        def stored(path: str, document: Document) -> Document:
            result = MemoryCluster._store(cluster, path, document)
            if left[0] <= 0 and after and not killed:
                killed.append(True)
                raise Killed
            return result

        killed: list[bool] = []
        cluster.fault = count
        cluster._store = stored  # type: ignore[method-assign]
        was_killed = False

        def step() -> None:
            nonlocal was_killed
            try:
                look(cluster)
            except Killed:
                was_killed = True
                look(cluster)

        _lives(cluster, step)
        before = len(cluster.workflows())
        assert before == 1
        finish(cluster, phase)
        _lives(cluster, step)
        return cluster, was_killed

    kills = 0
    for number in range(1, 40):
        cluster, was_killed = life(number)
        kills += was_killed
        assert len(cluster.workflows()) == 1
        assert status(cluster)["phase"] == phase
        assert [event[1] for event in events(cluster)] == [phase]
    assert kills >= (3 if after else 8)


def test_two_that_work_at_the_same_time_make_one_workflow(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})

    def meanwhile(method: str, path: str) -> None:
        if method == "POST" and path.endswith("/workflows"):
            cluster.fault = lambda *_: None
            look(cluster)

    cluster.fault = meanwhile
    with pytest.raises(errors.ConflictError):
        look(cluster)
    assert len(cluster.workflows()) == 1
    look(cluster)
    assert len(cluster.workflows()) == 1


def test_a_job_at_which_the_controller_fails_is_given_up_with_a_sentence(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    give_up(cluster, KEY, RULES, HandlingError("the controller fails on this job: KeyError('x')", stage="controller"))
    assert status(cluster)["phase"] == "Failed"
    assert status(cluster)["message"].startswith("controller: the controller fails on this job: KeyError('x'); next: ")
    assert len(events(cluster)) == 1


def test_what_failed_under_an_older_version_stays_as_it_is(cluster: MemoryCluster) -> None:
    document = HISTORIC["as-read-after-it-failed"]
    cluster.put(MODEL_JOBS, document)
    look(cluster)
    assert status(cluster) == document["status"]
    assert cluster.workflows() == []


def test_the_nodes_that_cannot_be_read_do_not_hide_the_end(cluster: MemoryCluster) -> None:
    apply(cluster, model=MODEL, extraction={})
    look(cluster)
    workflow(cluster, phase="Failed", message="child 'x' failed", offloadNodeStatusVersion="fnv:1")
    look(cluster)
    assert status(cluster)["phase"] == "Failed"
