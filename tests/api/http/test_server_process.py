"""``klever-server`` as a process, over a real registry and an API server that a script plays: from the event to the job,
and its end."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
from fakes import Exchange, fake
from registries import Registry, find_program, free_port, running

from klever.steps.artifact import EXTRACTED_FROM, load_artifact
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import parse_reference
from klever.steps.publish import publish
from klever.steps.stores import Stores

from .conftest import SECRET, Facade, Handled, default_event, digest, until

SERVER = str(Path(sys.executable).with_name("klever-server"))
JOBS = "/apis/kleveross.io/v1alpha1/namespaces/models/modeljobs"


@dataclass
class ApiServer:
    """An API server that keeps the jobs that it is given."""

    jobs: dict[str, Any] = field(default_factory=dict)
    #: Answers 503 while this is set.
    is_away: bool = False
    #: Cleared, it answers nothing.
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    def __call__(self, exchange: Exchange) -> None:
        body = exchange.body()
        self.may_answer.wait(20)
        if self.is_away:
            self._answer(exchange, 503, {"message": "away"})
        elif exchange.path_only == "/version":
            self._answer(exchange, 200, {"major": "1"})
        elif exchange.command == "POST" and exchange.path_only == JOBS:
            document = json.loads(body)
            name = document["metadata"]["name"]
            if name in self.jobs:
                self._answer(exchange, 409, {"kind": "Status", "reason": "AlreadyExists", "message": f"{name} exists"})
            else:
                self.jobs[name] = document
                self._answer(exchange, 201, document)
        elif exchange.path_only.startswith(f"{JOBS}/"):
            self._answer(exchange, 200, self.jobs[exchange.path_only.rpartition("/")[2]])
        else:
            self._answer(exchange, 404, {"kind": "Status", "message": "not found"})

    @staticmethod
    def _answer(exchange: Exchange, status: int, document: Any) -> None:
        exchange.reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Process:
    """A server that runs, and what it reads."""

    facade: Facade
    process: "subprocess.Popen[bytes]"
    log_file: Path

    def end(self) -> int:
        """Ask it to end and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(40)

    @property
    def log(self) -> list[dict[str, Any]]:
        """What it has logged; every line has to be JSON."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]


Begin = Callable[..., Process]


@pytest.fixture
def api_server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def begin(api_server: ApiServer, registry: Registry, tmp_path: Path) -> Iterator[Begin]:
    """Start a server: ``begin("--workers=2", KLEVER_QUEUE_SIZE="3")``."""
    with ExitStack() as stack:
        host = stack.enter_context(fake(api_server)).host

        def start(*options: str, **variables: str) -> Process:
            return stack.enter_context(_running(options, variables, host, registry, tmp_path))

        yield start


@contextmanager
def _running(
    options: tuple[str, ...], variables: dict[str, str], api_server: str, registry: Registry, directory: Path
) -> Iterator[Process]:
    kubeconfig, policy, secret = directory / "kubeconfig", directory / "policy.yaml", directory / "secret"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "c", "cluster": {"server": f"http://{api_server}"}}],
                "users": [{"name": "u", "user": {"token": "secret-token"}}],
                "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    policy.write_text("projects: [{match: release, namespace: models}]")
    secret.write_text(SECRET)
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("KLEVER_")},
        "KUBECONFIG": str(kubeconfig),
        "KLEVER_HOST": "127.0.0.1",
        "KLEVER_PORT": str(port),
        "KLEVER_REGISTRY_HOST": registry.host,
        "KLEVER_HOOK_SECRET_FILE": str(secret),
        "KLEVER_POLICY_FILE": str(policy),
        "KLEVER_PLAIN_HTTP": "true",
        **variables,
    }
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([SERVER, *options], env=environment, stderr=log)
    running = Process(Facade(port, Handled(), secret, policy), process, directory / "log")
    try:
        until(lambda: _answers(running.facade) or process.poll() is not None, seconds=60)
        yield running
    finally:
        process.kill()
        process.wait()


def _answers(facade: Facade) -> bool:
    try:
        return facade.get("/healthz").status == 200
    except urllib3.exceptions.HTTPError:
        return False


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One registry: what differs between their versions is tested elsewhere."""
    version = next((each for each in ("3", "2.8") if find_program(each)), "3")
    with running(version, tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture
def unread(registry: Registry, models: Path) -> str:
    """The digest of a model in the registry whose signature nobody has read."""
    reference = parse_reference(f"{registry.host}/release/mnist:v1")
    publish(models / "MXNetParams" / "mlp" / "model", reference, Stores(plain_http=True))
    with registry.store() as store:
        artifact = load_artifact(store, reference)
        config = artifact.metadata.changed(signature=None).to_config()
        described = store.put_blob(reference.repository, lambda: (config,))
        annotations = {k: v for k, v in artifact.manifest.annotations.items() if k != EXTRACTED_FROM}
        descriptor = Descriptor(media.CONFIG, described.digest, described.size)
        manifest = build_manifest(descriptor, artifact.manifest.layer, annotations)
        return store.put_manifest(reference.repository, manifest, media.MANIFEST, tag="v1").digest


def test_a_push_becomes_a_job_that_names_our_registry(
    begin: Begin, unread: str, registry: Registry, api_server: ApiServer
) -> None:
    server = begin()
    until(lambda: server.facade.get("/readyz").status == 200)
    assert server.facade.get("/readyz").document["checks"] == {"secret": "ok", "policy": "ok", "cluster": "ok"}
    assert server.facade.send(default_event(unread)).status == 202
    until(lambda: server.facade.count("started") == 1)
    (job,) = api_server.jobs.values()
    # The payload says evil.example.
    assert job["spec"]["model"] == f"{registry.host}/release/mnist:v1@{unread}"
    # Told of once more when nobody remembers the first time, it is the same job.
    assert server.facade.send(default_event(unread, tag="v2")).status == 202
    until(lambda: server.facade.count("duplicate") == 1)
    assert len(api_server.jobs) == 1
    # The registry has no such artifact, whatever the payload says.
    assert server.facade.send(default_event(digest(1))).status == 202
    until(lambda: server.facade.count("ignored") == 1)
    results = [line["result"] for line in server.log if "result" in line]
    assert results == ["started", "duplicate", "ignored"]
    text = server.log_file.read_text()
    assert "hook-secret" not in text
    assert "secret-token" not in text


def test_a_cluster_that_is_away_costs_no_push(begin: Begin, unread: str, api_server: ApiServer) -> None:
    api_server.is_away = True
    server = begin()
    assert server.facade.send(default_event(unread)).status == 202
    until(lambda: any(line.get("result") == "tried again" for line in server.log))
    ready = server.facade.get("/readyz")
    assert (ready.status, ready.reason) == (503, "NotReady")
    api_server.is_away = False
    until(lambda: server.facade.count("started") == 1)
    assert len(api_server.jobs) == 1


def test_an_end_that_is_asked_for_waits_for_accepted_pushes(begin: Begin, unread: str, api_server: ApiServer) -> None:
    server = begin()
    until(lambda: server.facade.get("/readyz").status == 200)
    api_server.may_answer.clear()
    assert server.facade.send(default_event(unread)).status == 202
    server.process.send_signal(signal.SIGTERM)
    until(lambda: any("Shutting down" in line["message"] for line in server.log))
    api_server.may_answer.set()
    assert server.process.wait(40) == 0
    assert len(api_server.jobs) == 1


def test_an_end_does_not_wait_for_ever(begin: Begin, unread: str, api_server: ApiServer) -> None:
    server = begin()
    until(lambda: server.facade.get("/readyz").status == 200)
    api_server.may_answer.clear()
    assert server.facade.send(default_event(unread)).status == 202
    assert server.end() == 0
    assert any("1 accepted pushes were not done in time" in line["message"] for line in server.log)


def test_a_process_that_works_may_be_killed(begin: Begin, unread: str, api_server: ApiServer) -> None:
    server = begin()
    until(lambda: server.facade.get("/readyz").status == 200)
    api_server.may_answer.clear()
    assert server.facade.send(default_event(unread)).status == 202
    (worker,) = children(server.process.pid)
    os.kill(worker, signal.SIGKILL)
    until(lambda: children(server.process.pid) not in ([], [worker]))
    assert server.facade.get("/healthz").status == 200
    api_server.may_answer.set()
    until(lambda: server.facade.count("started") + server.facade.count("duplicate") == 1)
    assert len(api_server.jobs) == 1


def test_who_is_killed_leaves_no_process_behind(begin: Begin) -> None:
    server = begin()
    until(lambda: children(server.process.pid))
    (worker,) = children(server.process.pid)
    server.process.kill()
    until(lambda: not Path(f"/proc/{worker}").exists() or "zombie" in Path(f"/proc/{worker}/status").read_text())


def children(process_id: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


def test_each_process_imports_what_it_needs() -> None:
    code = "import sys; import klever.api.http.{}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    for module, without in (
        ("app", {"kubernetes", "aiohttp"}),
        ("worker", {"fastapi", "uvicorn", "prometheus_client"}),
    ):
        done = subprocess.run([sys.executable, "-c", code.format(module)], capture_output=True, text=True, check=True)
        assert not without & set(done.stdout.split())


def test_several_worker_processes_count_together(begin: Begin) -> None:
    server = begin("--workers=2")
    for number in range(40):
        # Each on a connection of its own, for whichever worker takes it.
        assert server.facade.send(default_event(digest(number), kind="PULL_ARTIFACT")).status == 202
    assert server.facade.count("ignored") == 40
    assert server.end() == 0


def test_a_wrong_option_and_a_wrong_variable_are_told_in_one_line() -> None:
    for variables, told in (
        ({"KLEVER_HARBOR_URL": "harbor"}, r"Error: settings: KLEVER_HARBOR_URL is not the address"),
        ({"KLEVER_PORT": "many"}, r"Error: Invalid value for '--port'"),
    ):
        done = subprocess.run([SERVER], env={**os.environ, **variables}, capture_output=True, text=True, timeout=60)
        assert done.returncode in (1, 2)
        assert re.search(told, done.stderr)
        assert "Traceback" not in done.stderr
