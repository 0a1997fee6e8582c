"""The stand-in beyond its recordings: who may do what, and how it delivers events."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3
from fakes import Exchange, Fake, fake
from harbor.deliveries import Manner
from harbor.server import StandIn, running_harbor
from registries import QUICK

from klever.steps.errors import UnauthorizedError
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.reference import parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.publish import publish
from klever.steps.stores import Stores

pytestmark = pytest.mark.registry

ADMIN = Credentials("admin", "Harbor12345")
TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def harbor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_harbor(tmp_path_factory.mktemp("harbor")) as running:
        yield running


def open_as(harbor: StandIn, credentials: Credentials | None) -> RegistryStore:
    return RegistryStore(harbor.host, plain_http=True, credentials=credentials, retry=QUICK)


def push(harbor: StandIn, name: str, credentials: Credentials = ADMIN, content: str = "") -> str:
    """Push an artifact of nothing and return its digest."""
    repository, _, tag = name.partition(":")
    with open_as(harbor, credentials) as store:
        config = store.put_blob(repository, lambda: (f'{{"format": "ONNX", "author": "{content}"}}'.encode(),))
        document = {
            "schemaVersion": 2,
            "mediaType": media.MANIFEST,
            "config": {"mediaType": media.CONFIG, "digest": config.digest, "size": config.size},
            "layers": [],
        }
        return store.put_manifest(repository, json.dumps(document).encode(), media.MANIFEST, tag=tag or None).digest


@contextmanager
def receiver(harbor: StandIn, project: str, statuses: tuple[int, ...] = ()) -> Iterator[Fake]:
    """Receive the events of a project; the first requests are answered by ``statuses``."""
    left = list(statuses)

    def script(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(left.pop(0) if left else 200)

    harbor.make_project(project)
    with fake(script) as server:
        harbor.make_policy(project, f"http://{server.host}/hooks/harbor", authorization="Bearer it")
        yield server


@pytest.fixture
def manner(harbor: StandIn) -> Iterator[Manner]:
    """The manner of delivery, put back in the end."""
    before = harbor.deliveries.manner
    yield before
    harbor.deliveries.manner = before


def test_an_event_is_sent_once_for_each_push(harbor: StandIn) -> None:
    with receiver(harbor, "once") as server:
        for tag in ("v1", "v2"):
            push(harbor, f"once/mnist:{tag}")
        harbor.deliveries.wait_idle()
    assert len(server.requests) == 2
    assert {headers["Authorization"] for _, _, headers in server.requests} == {"Bearer it"}


def test_a_refused_event_is_sent_again_three_times_in_all(harbor: StandIn, manner: Manner) -> None:
    harbor.deliveries.manner = replace(manner, retry_seconds=0.01)
    for statuses, tries in (((503,), 2), ((503, 503), 3), ((503,) * 9, 3)):
        with receiver(harbor, f"again-{len(statuses)}", statuses) as server:
            push(harbor, f"again-{len(statuses)}/mnist:v1")
            harbor.deliveries.wait_idle()
        assert len(server.requests) == tries


def test_events_come_several_times_out_of_order_or_never_if_wanted(harbor: StandIn, manner: Manner) -> None:
    harbor.deliveries.manner = replace(manner, copies=(1, 4), shuffle_seconds=0.3, lost=0.2)
    before = Counter(harbor.deliveries.counts)
    bodies: list[str] = []

    def script(exchange: Exchange) -> None:
        bodies.append(json.loads(exchange.body())["event_data"]["resources"][0]["tag"])
        exchange.reply(200)

    harbor.make_project("storm")
    with fake(script) as server:
        harbor.make_policy("storm", f"http://{server.host}/")
        tags = [f"v{number:03}" for number in range(60)]
        for tag in tags:
            push(harbor, f"storm/mnist:{tag}")
        harbor.deliveries.wait_idle()
    counts = Counter(harbor.deliveries.counts) - before
    assert counts["events"] == 60
    assert 0 < counts["lost"] < 30
    assert len(set(bodies)) == 60 - counts["lost"]
    assert len(bodies) == counts["copies"] == counts["delivered"]
    assert set(Counter(bodies).values()) == {1, 2, 3, 4}
    assert bodies != sorted(bodies)


def test_a_robot_pushes_in_its_own_project_alone(harbor: StandIn) -> None:
    for name in ("own", "other"):
        harbor.make_project(name)
    robot = harbor.make_robot("own")
    credentials = Credentials(robot.name, robot.secret)
    push(harbor, "own/mnist:v1", credentials)
    push(harbor, "other/mnist:v1")
    with pytest.raises(UnauthorizedError):
        push(harbor, "other/mnist:v2", credentials)
    with open_as(harbor, credentials) as store, pytest.raises(UnauthorizedError):
        store.get_manifest("other/mnist", "v1")


def test_a_stranger_pulls_from_public_projects_alone(harbor: StandIn) -> None:
    for name, public in (("open", True), ("closed", False)):
        harbor.make_project(name, public=public)
        push(harbor, f"{name}/mnist:v1")
    with open_as(harbor, None) as store:
        assert store.get_manifest("open/mnist", "v1").data
        with pytest.raises(UnauthorizedError):
            store.get_manifest("closed/mnist", "v1")


def test_a_deleted_artifact_is_gone_with_its_tags(harbor: StandIn) -> None:
    harbor.make_project("gone")
    digest = push(harbor, "gone/mnist:v1")
    push(harbor, "gone/mnist:v2")
    with open_as(harbor, ADMIN) as store:
        assert list(store.tags("gone/mnist")) == ["v1", "v2"]
        store.delete("gone/mnist", digest)
        assert list(store.tags("gone/mnist")) == []


def test_a_large_blob_goes_through_in_pieces(harbor: StandIn) -> None:
    harbor.make_project("large")
    piece = os.urandom(1 << 20)
    with open_as(harbor, ADMIN) as store:
        described = store.put_blob("large/blob", lambda: (piece for _ in range(40)))
        assert described.size == 40 << 20
        assert sum(map(len, store.get_blob("large/blob", described))) == 40 << 20


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_skopeo_copies_to_it_and_from_it(harbor: StandIn, tmp_path: Path, models: Path) -> None:
    harbor.make_project("copied")
    layout = parse_reference(f"oci:{tmp_path / 'layout'}:kmeans:v1")
    published = publish(models / "PMML" / "kmeans" / "model", layout, Stores())
    credentials = f"{ADMIN.username}:{ADMIN.password}"
    for source, target in (
        (f"oci:{tmp_path / 'layout'}:kmeans:v1", f"docker://{harbor.host}/copied/kmeans:v1"),
        (f"docker://{harbor.host}/copied/kmeans:v1", f"docker://{harbor.host}/copied/again:v1"),
    ):
        sides = [
            f"--{side}-{rest}" for side in ("src", "dest") for rest in ("tls-verify=false", f"creds={credentials}")
        ]
        subprocess.run(["skopeo", "copy", "--quiet", *sides, source, target], check=True, capture_output=True)
    with open_as(harbor, ADMIN) as store:
        assert store.get_manifest("copied/again", "v1").descriptor.digest == published.descriptor.digest


def test_it_runs_as_a_process_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "harbor.server", "--directory", str(tmp_path / "registry")]
    options = ["--project", "release", "--copies", "2", "2"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "HARBOR_ADMIN_PASSWORD": "another"}
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            told = json.loads(process.stdout.readline())
            with urllib3.PoolManager() as http:

                def ask(method: str, path: str, body: object = None) -> urllib3.BaseHTTPResponse:
                    headers = urllib3.make_headers(basic_auth="admin:another")
                    data = None if body is None else json.dumps(body).encode()
                    return http.request(method, f"{told['url']}{path}", headers=headers, body=data)

                assert ask("GET", "/api/v2.0/projects/release").json()["name"] == "release"
                assert ask("GET", "/.stand-in/statistics").json()["manner"]["copies"] == [2, 2]
                assert ask("PUT", "/.stand-in/manner", {"lost": 1.0}).json()["lost"] == 1.0
                ask("POST", "/.stand-in/seed", {"project": "release", "artifacts": 5, "repositories": 2})
                listed = ask("GET", "/api/v2.0/projects/release/artifacts")
                assert listed.headers["X-Total-Count"] == "5"
        finally:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.returncode == 0
