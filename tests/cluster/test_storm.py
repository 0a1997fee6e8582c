"""A thousand events in a minute, told often, late, out of order or never, to processes that are killed: one extraction a
digest.

Harbor is the stand-in; everything else is real. There are fewer digests than events, as every digest takes a pod: the
others tell once more of a digest that was told of. ``KLEVER_TEST_STORM_DIGESTS=1000`` makes them a digest each, which
takes the node that many pods.
"""

import base64
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from clusters import HOST_IP_VARIABLE, Cluster, install, lack, temporary_namespace, until
from daemons import Daemon, daemon
from harbor.deliveries import Happening, Manner
from harbor.server import StandIn, running_harbor
from registries import free_port

from klever.api.modeljob import names
from klever.api.modeljob.crd import build
from klever.api.modeljob.model import MODEL_JOBS, JobPhase, ModelJob, parse_job
from klever.steps.artifact import DERIVED_FROM, EXTRACTED_FROM, load_artifact
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.publish import publish
from klever.steps.stores import Stores
from klever.workflows.argo.client import WORKFLOWS

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(7_200)]

EVENTS, SECONDS = 1_000, 60.0
DIGESTS = int(os.environ.get("KLEVER_TEST_STORM_DIGESTS") or 100)
#: Of the events that are never sent, those that were the only ones of their digest, at least: what the relist is for.
SURELY_LOST = 3
LOST_SHARE = 0.05
COPIES = (1, 4)
SHUFFLE_SECONDS = 10.0
KILLED_AT = (15.0, 30.0, 45.0)
AWAY_SECONDS = 2.0
#: A pod a second, with patience for a busy machine, and the rest of a minute for the lead to change hands.
DONE_SECONDS = 300.0 + 6.0 * DIGESTS
RELIST_SECONDS = 10
PROJECT, REPOSITORIES = "release", 10
SECRET = "Bearer storm"
ADMIN = Credentials("admin", "Harbor12345")
CUSTOM_RESOURCES = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class Pushed:
    """A model without its signature, in Harbor."""

    repository: str
    tag: str
    digest: str


@dataclass(frozen=True)
class Told:
    """An event: when it happens, and of which model; whether it is ever sent."""

    moment: float
    model: Pushed
    is_lost: bool


@dataclass(frozen=True)
class Storm:
    """Everything that the test needs."""

    cluster: Cluster
    namespace: str
    harbor: StandIn
    models: list[Pushed]
    controller: Daemon
    server: Daemon
    port: int

    def jobs(self) -> list[ModelJob]:
        documents, _ = self.cluster.list_all(MODEL_JOBS.path(self.namespace))
        return [parse_job(document) for document in documents]

    def wait(self, condition: Callable[[list[ModelJob]], bool], what: str, seconds: float) -> None:
        """Wait until a condition of the jobs holds.

        A process that ends by itself, as a controller does that a busy machine has cost its lease, is begun again.
        """

        def holds() -> bool:
            self.controller.ensure()
            self.server.ensure()
            # The cluster has other things to do than to list.
            time.sleep(1)
            return condition(self.jobs())

        until(holds, what, seconds)

    def tell(self, told: Told) -> None:
        """Have Harbor tell of a push."""
        repository = self.harbor.inventory.repository(told.model.repository)
        happened = Happening("PUSH_ARTIFACT", repository, told.model.digest, told.model.tag, "admin")
        self.harbor.deliveries.announce(happened, str(uuid4()))

    def has_answered(self) -> bool:
        """Say whether the server has done what it has accepted."""
        try:
            with urllib3.PoolManager(retries=False) as pool:
                text = pool.request("GET", f"http://127.0.0.1:{self.port}/metrics").data.decode()
        except urllib3.exceptions.HTTPError:
            return False
        return "\nklever_harbor_queue 0.0\n" in text


def plan(models: list[Pushed], chance: random.Random) -> list[Told]:
    """Return the events in the order of their moments.

    Half of the models are told of once. Of the events that are lost some are the only ones of their model.
    """
    often = models[: len(models) // 2]
    events = [*models, *(chance.choice(often) for _ in range(EVENTS - len(models)))]
    singles = [number for number, model in enumerate(events) if model not in often]
    lost = set(chance.sample(singles, max(SURELY_LOST, int(len(singles) * LOST_SHARE))))
    lost |= set(chance.sample(range(EVENTS), int(EVENTS * LOST_SHARE) - len(lost)))
    told = [Told(chance.uniform(0, SECONDS), model, number in lost) for number, model in enumerate(events)]
    return sorted(told, key=lambda each: each.moment)


@pytest.fixture
def storm(cluster: Cluster, tmp_path: Path, models: Path) -> Iterator[Storm]:
    """Harbor with models in it, a namespace with Klever in it, and both processes."""
    address = os.environ.get(HOST_IP_VARIABLE)
    if not address:
        lack(f"{HOST_IP_VARIABLE}, the address under which pods reach this machine")
    definition = build()
    name = definition["metadata"]["name"]
    cluster.apply(f"{CUSTOM_RESOURCES}/{name}", definition, {"fieldManager": "klever-test", "force": "true"})
    port = free_port()
    manner = Manner(copies=COPIES, shuffle_seconds=SHUFFLE_SECONDS, seed=6)
    with ExitStack() as stack:
        namespace = stack.enter_context(temporary_namespace(cluster, "klever-test-storm"))
        install(namespace)
        harbor = stack.enter_context(running_harbor(tmp_path / "harbor", address=address, manner=manner))
        harbor.make_project(PROJECT)
        pushed = push_models(harbor.host, models / "MXNetParams" / "mlp" / "model", DIGESTS)
        hook = f"http://127.0.0.1:{port}/hooks/harbor"
        harbor.make_policy(PROJECT, hook, authorization=SECRET, payload="CloudEvents")
        robot = harbor.make_robot(PROJECT)
        give_credentials(cluster, namespace, harbor.host, robot.name, robot.secret)
        files = {"secret": SECRET, "username": robot.name, "password": robot.secret}
        files["policy.yaml"] = json.dumps({"projects": [{"match": PROJECT, "namespace": namespace}]})
        for file, text in files.items():
            (tmp_path / file).write_text(text)
        variables = {
            "KLEVER_NAMESPACES": namespace,
            "KLEVER_NAMESPACE": namespace,
            "KLEVER_HARBOR_URL": harbor.url,
            "KLEVER_HARBOR_USERNAME_FILE": str(tmp_path / "username"),
            "KLEVER_HARBOR_PASSWORD_FILE": str(tmp_path / "password"),
            "KLEVER_POLICY_FILE": str(tmp_path / "policy.yaml"),
            "KLEVER_HOOK_SECRET_FILE": str(tmp_path / "secret"),
            "KLEVER_PLAIN_HTTP": "true",
            "KLEVER_PORT": str(port),
            "KLEVER_HOST": "127.0.0.1",
            "KLEVER_HEALTH_PORT": "-1",
            "KLEVER_METRICS_PORT": "-1",
            # What events alone achieve comes first.
            "KLEVER_RELIST_SECONDS": "0",
        }
        controller = stack.enter_context(daemon("klever-controller", variables, tmp_path / "controller.log"))
        server = stack.enter_context(daemon("klever-server", variables, tmp_path / "server.log"))
        running = Storm(cluster, namespace, harbor, pushed, controller, server, port)
        until(running.has_answered, "the start of klever-server")
        yield running


def push_models(host: str, package: Path, count: int) -> list[Pushed]:
    """Push models as a tool does that reads no signatures: over one layer, each with metadata of its own."""
    pushed = []
    with RegistryStore(host, plain_http=True, credentials=ADMIN) as store:
        stores = Stores(plain_http=True)
        # Otherwise it looks for credentials where Docker keeps them.
        stores._open[host, None] = store
        for number in range(min(REPOSITORIES, count)):
            reference = parse_reference(f"{host}/{PROJECT}/mlp-{number}:source")
            publish(package, reference, stores)
            artifact = load_artifact(store, reference)
            annotations = {k: v for k, v in artifact.manifest.annotations.items() if k != EXTRACTED_FROM}
            for version in range(number, count, REPOSITORIES):
                config = artifact.metadata.changed(signature=None, description=f"number {version}").to_config()
                described = store.put_blob(reference.repository, lambda config=config: (config,))
                descriptor = Descriptor(media.CONFIG, described.digest, described.size)
                manifest = build_manifest(descriptor, artifact.manifest.layer, annotations)
                tag = f"v{version}"
                put = store.put_manifest(reference.repository, manifest, media.MANIFEST, tag=tag)
                pushed.append(Pushed(reference.repository, tag, put.digest))
    return pushed


def give_credentials(cluster: Cluster, namespace: str, host: str, user: str, password: str) -> None:
    """Give the pods of a namespace a robot's credentials."""
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "klever-registry"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {host: {"auth": both}}})},
    }
    cluster.create(f"/api/v1/namespaces/{namespace}/secrets", document)


def rage(storm: Storm, events: list[Told]) -> None:
    """Tell all events, each at its moment, and kill both processes in between."""
    began = time.monotonic()
    kills = list(KILLED_AT)
    back_at: float | None = None
    for told in events:
        while (now := time.monotonic() - began) < told.moment:
            if back_at is not None and now >= back_at:
                storm.server.start()
                storm.controller.ensure()
                back_at = None
            elif back_at is None and kills and now >= kills[0]:
                for process in (storm.server, storm.controller):
                    process.ensure()
                    process.kill()
                back_at = kills.pop(0) + AWAY_SECONDS
            time.sleep(0.01)
        if not told.is_lost:
            storm.tell(told)
    assert not kills
    assert time.monotonic() - began < SECONDS + 10, "this machine is too slow to send so many events"
    storm.harbor.deliveries.wait_idle(SECONDS)
    until(storm.has_answered, "the work of klever-server")


def test_each_digest_is_extracted_once_whatever_happens_to_events_and_processes(storm: Storm) -> None:
    events = plan(storm.models, random.Random(6))
    rage(storm, events)
    assert min(storm.controller.lives, storm.server.lives) > len(KILLED_AT)
    by_events = storm.jobs()
    # What no event told of has no job yet; most of all else does, although the processes died with what they had accepted.
    never_told = {each.digest for each in storm.models} - {each.model.digest for each in events if not each.is_lost}
    assert len(never_told) >= SURELY_LOST
    told = {job.metadata["annotations"][names.DIGEST] for job in by_events}
    assert not told & never_told
    assert len(told) > 0.5 * (len(storm.models) - len(never_told))

    storm.controller.ensure()
    storm.controller.stop()
    storm.controller.start(KLEVER_RELIST_SECONDS=str(RELIST_SECONDS))
    storm.wait(lambda jobs: len(jobs) >= len(storm.models), "the relist", 120)
    storm.wait(lambda jobs: all(job.status.phase.is_final for job in jobs), "the extractions", DONE_SECONDS)
    # Whatever else a relist, or the events of the results, may bring about.
    time.sleep(3 * RELIST_SECONDS)
    until(storm.has_answered, "the work of klever-server")

    check_jobs(storm)
    check_workflows(storm)
    check_artifacts(storm)
    for process in (storm.controller, storm.server):
        assert "fault of Klever itself" not in process.log
        assert '"trace"' not in process.log
        assert "Traceback" not in process.log
        assert SECRET not in process.log


def check_jobs(storm: Storm) -> None:
    """Check that each digest has one job, which succeeded, and that events and relist both had their part."""
    jobs = storm.jobs()
    failed = [(job.name, job.status.message) for job in jobs if job.status.phase is not JobPhase.SUCCEEDED]
    assert not failed
    digests = Counter(job.metadata["annotations"][names.DIGEST] for job in jobs)
    assert digests == Counter(model.digest for model in storm.models)
    origins = Counter(job.metadata["labels"][names.ORIGIN] for job in jobs)
    assert origins[names.FROM_RELIST] >= SURELY_LOST
    assert origins[names.FROM_EVENT] > origins[names.FROM_RELIST]
    print(f"{len(jobs)} jobs: {dict(origins)}; deliveries: {storm.harbor.deliveries.statistics()}")


def check_workflows(storm: Storm) -> None:
    """Check that each digest was extracted by one Workflow, which succeeded."""
    workflows, _ = storm.cluster.list_all(WORKFLOWS.path(storm.namespace))
    assert {workflow["status"]["phase"] for workflow in workflows} == {"Succeeded"}
    assert Counter(digest_of(workflow) for workflow in workflows) == Counter(model.digest for model in storm.models)


def digest_of(workflow: dict[str, Any]) -> str:
    """Return the digest that a Workflow works on."""
    parameters = {each["name"]: each.get("value", "") for each in workflow["spec"]["arguments"]["parameters"]}
    return str(parameters["model"].partition("@")[2])


def check_artifacts(storm: Storm) -> None:
    """Check that every tag leads to its model's signature."""
    with RegistryStore(storm.harbor.host, plain_http=True, credentials=ADMIN) as store:
        for model in storm.models:
            reference = parse_reference(f"{storm.harbor.host}/{model.repository}:{model.tag}")
            artifact = load_artifact(store, reference)
            assert artifact.manifest.annotations[DERIVED_FROM] == model.digest
            assert artifact.manifest.annotations[EXTRACTED_FROM] == artifact.manifest.layer.digest
            assert artifact.metadata.signature is not None
