"""The facade on a loopback port, in a thread of this process, with a stand-in for what a push leads to."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3
import uvicorn
from registries import free_port

from klever.api.harbor.events import Push
from klever.api.http.app import create_app
from klever.api.http.queue import Handle, Outcome, Result
from klever.api.http.settings import Settings

SECRET = "Bearer hook-secret"
HOOK = "/hooks/harbor"
DEFAULT, CLOUD = "application/json", "application/cloudevents+json"
DIGEST = "sha256:" + "a" * 64
PATIENCE_SECONDS = 20.0


def digest(number: int) -> str:
    """Return one of many digests."""
    return f"sha256:{number:064x}"


def default_event(*digests: str, kind: str = "PUSH_ARTIFACT", tag: str = "v1") -> dict[str, Any]:
    """Return an event in Harbor's Default format."""
    return {
        "type": kind,
        "occur_at": 1795325393,
        "operator": "admin",
        "event_data": {
            "resources": [
                {"digest": each, "tag": tag, "resource_url": f"evil.example/release/mnist:{tag}"}
                for each in digests or (DIGEST,)
            ],
            "repository": {
                "date_created": 1795325393,
                "name": "mnist",
                "namespace": "release",
                "repo_full_name": "release/mnist",
                "repo_type": "private",
            },
        },
    }


def cloud_event(*digests: str) -> dict[str, Any]:
    """Return the same as a CloudEvent."""
    return {
        "specversion": "1.0",
        "id": "fadeb80b-8482-4b47-83cb-5769c7874649",
        "source": "/projects/2/webhook/policies/2",
        "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json",
        "time": "2026-11-22T05:29:53Z",
        "data": default_event(*digests)["event_data"],
        "operator": "admin",
    }


@dataclass
class Handled:
    """Stands for what a push leads to: keeps what it was given, and waits while it is held."""

    pushes: list[Push] = field(default_factory=list)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    #: Raised, one after the other, before a push succeeds.
    failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.may_go_on.set()

    def __call__(self, push: Push) -> Outcome:
        self.pushes.append(push)
        assert self.may_go_on.wait(PATIENCE_SECONDS)
        if self.failures:
            raise self.failures.pop(0)
        return Outcome(Result.STARTED, "modeljob models/mnist")


@dataclass(frozen=True)
class Answer:
    """What the facade answered."""

    status: int
    headers: Mapping[str, str]
    data: bytes

    @property
    def document(self) -> Any:
        """The JSON of the body."""
        return json.loads(self.data)

    @property
    def reason(self) -> str:
        """The reason of a problem, whose shape is checked on the way."""
        document = self.document
        assert document["message"]
        return str(document["reason"])


@dataclass(frozen=True)
class Facade:
    """A running facade."""

    port: int
    handled: Handled
    secret_file: Path
    policy_file: Path

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request; ``body`` may be an iterable, which is sent in chunks."""
        with urllib3.PoolManager(retries=False) as pool:
            response = pool.request(method, f"http://127.0.0.1:{self.port}{path}", body=body, headers=headers)
            return Answer(response.status, dict(response.headers), response.data)

    def get(self, path: str) -> Answer:
        """Read."""
        return self.ask("GET", path)

    def send(self, event: Any, *, secret: str = SECRET, kind: str = DEFAULT) -> Answer:
        """Send an event as Harbor does."""
        body = event if isinstance(event, bytes) else json.dumps(event).encode()
        return self.ask("POST", HOOK, body, {"Authorization": secret, "Content-Type": kind})

    def count(self, result: str) -> float:
        """Return a number of the metrics."""
        name = f'klever_harbor_events_total{{result="{result}"}} '
        text = self.get("/metrics").data.decode()
        return float(next(line.removeprefix(name) for line in text.splitlines() if line.startswith(name)))


Serve = Callable[..., Facade]


def until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a secret and a policy."""
    secret_file, policy_file = tmp_path / "secret", tmp_path / "policy.yaml"
    secret_file.write_text(f"{SECRET}\n")
    policy_file.write_text("projects: [{match: release, namespace: models}]")
    return Settings(
        secret_file=secret_file,
        policy_file=policy_file,
        registry_host="harbor.example",
        queue_size=100,
        queue_threads=2,
        drain_seconds=1,
    )


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start facades: ``serve(queue_size=3)``."""
    with ExitStack() as stack:

        def begin(handle: Handle | None = None, **changed: Any) -> Facade:
            changed_settings = Settings(**{**vars(settings), **changed})
            handled = Handled()
            app = create_app(changed_settings, handle or handled)
            port = stack.enter_context(_running(app))
            return Facade(port, handled, settings.secret_file or Path(), settings.policy_file)

        yield begin


@pytest.fixture
def facade(serve: Serve) -> Facade:
    """A facade as it usually runs."""
    return serve()


@contextmanager
def _running(app: Any) -> Iterator[int]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, port=port, loop="uvloop", http="httptools", ws="none", lifespan="on", log_config=None)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        yield port
    finally:
        server.should_exit = True
        thread.join()
