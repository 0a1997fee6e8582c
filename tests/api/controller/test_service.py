"""The leader's work: what it is told of is done, whatever fails meanwhile, and is counted."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from memory_cluster import MemoryCluster
from modeljobs import manifest

from klever.api.controller import service as module
from klever.api.controller.index import JobIndex, entry_of
from klever.api.controller.metrics import Metrics
from klever.api.controller.reconcile import Rules
from klever.api.controller.service import Service
from klever.api.controller.settings import Settings
from klever.api.controller.sweep import Sweeper
from klever.api.controller.workqueue import Key
from klever.api.modeljob.model import MODEL_JOBS
from klever.steps.errors import KleverError, TemporaryError
from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOWS
from klever.workflows.manifest import Document

MODEL = "harbor.example/release/mnist:v1"


@pytest.fixture
def cluster() -> MemoryCluster:
    cluster = MemoryCluster()
    cluster.template("klever-extract", "model", "format")
    return cluster


@pytest.fixture
def service(cluster: MemoryCluster) -> Iterator[Service]:
    jobs = JobIndex(3600)
    service = Service(cluster, Rules(3600), jobs, Metrics(jobs), workers=3)
    service.start()
    yield service
    service.stop()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def job(cluster: MemoryCluster, name: str, **spec: Any) -> Document:
    return cluster.put(MODEL_JOBS, manifest(name, **(spec or {"model": MODEL, "extraction": {}})))


def phase(cluster: MemoryCluster, name: str) -> str:
    status = cluster.objects[MODEL_JOBS.path("models", name)].get("status") or {}
    return str(status.get("phase", ""))


def number(service: Service, name: str, **labels: str) -> float:
    """Return a number as Prometheus reads it."""
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    lines = service.metrics.render().decode().splitlines()
    return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(f"{wanted} ")), "0"))


def test_what_it_is_told_of_is_done_and_counted(cluster: MemoryCluster, service: Service) -> None:
    for count in range(20):
        service.job_changed(job(cluster, f"job-{count}"))
    until(lambda: number(service, "klever_modeljobs", phase="Pending") == 20)
    assert len(cluster.workflows()) == 20
    assert number(service, "klever_modeljob_queue_seconds_count") == 20
    for each in cluster.workflows():
        path = WORKFLOWS.path("models", each["metadata"]["name"])
        pod = {
            "id": "pod",
            "name": "pod",
            "type": "Pod",
            "phase": "Succeeded",
            "templateName": "extract",
            "startedAt": "2026-01-01T00:00:00Z",
            "finishedAt": "2026-01-01T00:00:03Z",
        }
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        cluster.objects[path]["status"] = {"phase": "Succeeded", "finishedAt": now, "nodes": {"pod": pod}}
        service.workflow_changed(cluster.objects[path])
    until(lambda: number(service, "klever_modeljobs", phase="Succeeded") == 20)
    assert number(service, "klever_modeljob_stage_seconds_count", stage="extract") == 20
    assert number(service, "klever_modeljob_stage_seconds_sum", stage="extract") == 60


def test_a_finished_job_is_counted_and_not_looked_at(cluster: MemoryCluster, service: Service) -> None:
    document = job(cluster, "old") | {"status": {"phase": "Succeeded", "observedGeneration": 1}}
    service.job_changed(document)
    assert number(service, "klever_modeljobs", phase="Succeeded") == 1
    assert len(service.queue) == 0
    service.job_changed(document, gone=True)
    assert len(service.jobs) == 0


def test_an_end_that_is_told_late_does_not_make_a_new_job_of_that_name_forgotten(
    cluster: MemoryCluster, service: Service
) -> None:
    old = job(cluster, "twice")
    cluster.delete(MODEL_JOBS.path("models", "twice"))
    service.job_changed(job(cluster, "twice"))
    service.job_changed(old, gone=True)
    assert service.jobs.keys() == [Key("models", "twice")]


def test_an_api_server_that_comes_back_finds_the_work_done(cluster: MemoryCluster, service: Service) -> None:
    document = job(cluster, "job")

    def away(_method: str, _path: str) -> None:
        raise errors.ClusterUnreachableError("it does not answer")

    cluster.fault = away
    service.job_changed(document)
    until(lambda: number(service, "klever_controller_failures_total", reason="ClusterUnreachable") >= 2)
    cluster.fault = lambda *_: None
    until(lambda: phase(cluster, "job") == "Pending")
    assert len(cluster.workflows()) == 1


def test_one_job_at_which_it_fails_keeps_no_other_waiting(
    cluster: MemoryCluster, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A defect of our own, which no cluster can be made to show.
    whole = module.reconcile

    def defective(cluster: Any, key: Key, *rest: Any) -> Any:
        if key.name == "bad" and phase(cluster, "bad") != "Failed":
            raise KeyError("x")
        return whole(cluster, key, *rest)

    monkeypatch.setattr(module, "reconcile", defective)
    service.job_changed(job(cluster, "bad"))
    service.job_changed(job(cluster, "good"))
    until(lambda: phase(cluster, "good") == "Pending")
    until(lambda: phase(cluster, "bad") == "Failed")
    status = cluster.objects[MODEL_JOBS.path("models", "bad")]["status"]
    assert status["message"].startswith("controller: the controller fails on this job: KeyError('x'); next: ")


def test_a_status_that_is_refused_keeps_no_other_waiting(cluster: MemoryCluster, service: Service) -> None:
    def refuse(method: str, path: str) -> None:
        if method == "PATCH" and "/bad/" in path:
            raise errors.InvalidWorkflowError("spec.model: Invalid value")

    cluster.fault = refuse
    service.job_changed(job(cluster, "bad"))
    service.job_changed(job(cluster, "good"))
    until(lambda: phase(cluster, "good") == "Pending")
    until(lambda: number(service, "klever_controller_failures_total", reason="Refused") >= 1)


def test_a_workflow_of_nobodys_is_nothing_to_do(service: Service) -> None:
    service.workflow_changed({"metadata": {"name": "x", "namespace": "models"}})
    service.workflow_changed(
        {"metadata": {"name": "x", "namespace": "models", "ownerReferences": [{"kind": "CronWorkflow", "name": "y"}]}}
    )
    assert len(service.queue) == 0


def test_a_look_at_every_job_finds_what_no_watch_told_of(cluster: MemoryCluster, service: Service) -> None:
    service.jobs.see(job(cluster, "gone"))
    cluster.delete(MODEL_JOBS.path("models", "gone"))
    job(cluster, "missed")
    Sweeper(cluster, Settings(), service, service.metrics).resync()
    until(lambda: phase(cluster, "missed") == "Pending")
    assert service.jobs.keys() == [Key("models", "missed")]


def test_jobs_whose_time_is_over_are_deleted_by_the_clock(cluster: MemoryCluster, service: Service) -> None:
    long_ago = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
    status = {"phase": "Succeeded", "observedGeneration": 1, "completionTime": long_ago}
    for name, ttl in (("short", 60), ("long", 86400)):
        document = job(cluster, name, model=MODEL, extraction={}, ttlSecondsAfterFinished=ttl)
        path = MODEL_JOBS.path("models", name)
        cluster.objects[path]["status"] = status
        service.job_changed(document | {"status": status})
    sweeper = Sweeper(cluster, Settings(), service, service.metrics)
    sweeper.start()
    try:
        until(lambda: MODEL_JOBS.path("models", "short") not in cluster.objects)
    finally:
        sweeper.stop()
    assert MODEL_JOBS.path("models", "long") in cluster.objects
    assert service.jobs.keys() == [Key("models", "long")]


@pytest.mark.parametrize(
    ("changed", "finished", "expires"),
    [
        ({}, True, True),
        ({"status": {"phase": "Running", "observedGeneration": 1}}, False, False),
        ({"metadata": {"generation": 2}}, False, False),
        ({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}, False, False),
        ({"status": {"phase": "Failed"}}, True, False),
        ({"status": {"phase": "Odd", "observedGeneration": 1}}, False, False),
        ({"status": {"phase": "Failed", "completionTime": "yesterday"}}, True, False),
        ({"status": "none"}, False, False),
        ({"spec": ["odd"]}, True, True),
        ({"spec": {"ttlSecondsAfterFinished": "soon"}}, True, True),
    ],
)
def test_what_is_remembered_of_a_job_however_it_is_written(changed: Document, finished: bool, expires: bool) -> None:
    document: Document = {
        "metadata": {"name": "job", "namespace": "models", "uid": "u", "generation": 1},
        "spec": {},
        "status": {"phase": "Succeeded", "observedGeneration": 1, "completionTime": "2026-01-01T00:00:00Z"},
    }
    metadata = document["metadata"] | changed.get("metadata", {})
    entry = entry_of(document | changed | {"metadata": metadata}, 3600)
    assert (entry.finished, entry.expires is not None) == (finished, expires)


def test_five_thousand_jobs_take_a_few_megabytes() -> None:
    import tracemalloc

    def document(count: int) -> Document:
        return {
            "metadata": {"name": f"job-{count:06d}-0123456789abcdef", "namespace": "models", "uid": f"{count:036d}"},
            "spec": {"model": MODEL},
            "status": {"phase": "Succeeded", "completionTime": "2026-01-01T00:00:00Z", "message": "x" * 4000},
        }

    jobs = JobIndex(3600)
    tracemalloc.start()
    for count in range(5000):
        jobs.see(document(count))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 4_000_000


def test_a_relist_that_cannot_be_made_says_why(cluster: MemoryCluster, service: Service, tmp_path: Path) -> None:
    policy, secret = tmp_path / "policy.yaml", tmp_path / "secret"
    # Nothing listens there.
    settings = Settings(harbor_url="http://127.0.0.1:9", policy_file=policy)
    with pytest.raises(KleverError, match="policy"):
        Sweeper(cluster, settings, service, service.metrics).relist()
    policy.write_text("projects: [{match: release, namespace: models}]")
    named = replace(settings, harbor_username_file=secret, harbor_password_file=secret)
    with pytest.raises(KleverError, match="cannot read"):
        Sweeper(cluster, named, service, service.metrics).relist()
    secret.write_text("s3cret\n")
    with pytest.raises(TemporaryError) as caught:
        Sweeper(cluster, named, service, service.metrics).relist()
    assert "s3cret" not in str(caught.value)
    assert number(service, "klever_relist_seconds_count") == 0


def test_a_relist_is_timed_and_counted(cluster: MemoryCluster, service: Service, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("projects: []")
    settings = Settings(harbor_url="http://127.0.0.1:9", policy_file=policy)
    Sweeper(cluster, settings, service, service.metrics).relist()
    assert number(service, "klever_relist_seconds_count") == 1
    assert number(service, "klever_relist_jobs_total") == 0
