"""kopf lists and watches, tells of every change, writes nothing, remembers nothing, and outlives refusals."""

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes import Exchange, Fake, fake

from klever.api.controller.handlers import _NoMemories, watch
from klever.workflows.argo.client import Cluster, Trust
from klever.workflows.manifest import Document

JOBS, WORKFLOWS = "modeljobs", "workflows"
VERBS = ["get", "list", "watch", "patch"]


def served(kind: str, name: str, *, namespaced: bool = True) -> Document:
    return {"kind": kind, "name": name, "singularName": kind.lower(), "namespaced": namespaced, "verbs": VERBS}


#: What the API server answers to who asks what there is.
DISCOVERY = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {"resources": [served("Namespace", "namespaces", namespaced=False)]},
    "/apis": {
        "groups": [
            {"name": name, "versions": [{"version": version}], "preferredVersion": {"version": version}}
            for name, version in (("kleveross.io", "v1alpha1"), ("argoproj.io", "v1alpha1"))
        ]
    },
    "/apis/kleveross.io/v1alpha1": {"resources": [served("ModelJob", JOBS)]},
    "/apis/argoproj.io/v1alpha1": {"resources": [served("Workflow", WORKFLOWS)]},
}


def named(name: str, **more: Any) -> Document:
    return {"metadata": {"name": name, "namespace": "models", "uid": f"uid-{name}", "resourceVersion": "7"}, **more}


@dataclass
class Api:
    """What the server has and says."""

    listed: list[Document] = field(default_factory=list)
    #: Events of watches, by kind; None ends the watch.
    events: dict[str, "queue.Queue[Document | None]"] = field(
        default_factory=lambda: {JOBS: queue.Queue(), WORKFLOWS: queue.Queue()}
    )
    #: Answers that come before any other: namespace to (status, how often).
    refusals: dict[str, tuple[int, int]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    def answer(self, exchange: Exchange) -> None:
        path = exchange.path_only
        if path in DISCOVERY:
            exchange.reply(200, json.dumps(DISCOVERY[path]).encode(), {"Content-Type": "application/json"})
            return
        for namespace, (status, left) in list(self.refusals.items()):
            if f"/{namespace}/" in path and left:
                self.refusals[namespace] = (status, left - 1)
                refusal = {"kind": "Status", "apiVersion": "v1", "code": status, "message": "no", "status": "Failure"}
                exchange.reply(status, json.dumps(refusal).encode(), {"Content-Type": "application/json"})
                return
        kind = path.rpartition("/")[2]
        if "watch" in exchange.query:
            self._watch(exchange, kind)
            return
        items = self.listed if kind == JOBS else []
        begin = int(exchange.query.get("continue", ["0"])[0])
        end = begin + int(exchange.query["limit"][0])
        rest = str(end) if end < len(items) else ""
        page = {"metadata": {"resourceVersion": "5", "continue": rest}, "items": items[begin:end]}
        exchange.reply(200, json.dumps(page).encode(), {"Content-Type": "application/json"})

    def _watch(self, exchange: Exchange, kind: str) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Type", "application/json")
        exchange.end_headers()
        while not self.ended.is_set():
            try:
                event = self.events[kind].get(timeout=0.1)
            except queue.Empty:
                continue
            if event is None:
                break
            exchange.wfile.write(json.dumps(event).encode() + b"\n")
            exchange.wfile.flush()
        exchange.hang_up()


class Heard:
    """Who is told."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, bool]] = []
        self.workflows: list[str] = []

    def job_changed(self, document: Document, *, gone: bool = False) -> None:
        self.jobs.append((document["metadata"]["name"], gone))
        if document.get("spec") == "odd":
            raise TypeError("what is this?")

    def workflow_changed(self, document: Document) -> None:
        self.workflows.append(document["metadata"]["name"])


class Address(Cluster):
    """A cluster of which nothing but its address is known."""

    def __init__(self, host: str) -> None:
        self._host = host

    @property
    def address(self) -> str:
        return f"http://{self._host}"

    @property
    def token(self) -> str:
        return "Bearer secret-token"

    @property
    def trust(self) -> Trust:
        return Trust(None, None, None, verified=True)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture
def server(api: Api) -> Iterator[Fake]:
    with fake(api.answer) as running:
        yield running
        api.ended.set()


@contextmanager
def deadline(seconds: float = 20.0) -> Iterator[Callable[[], bool]]:
    end = time.monotonic() + seconds
    yield lambda: time.monotonic() < end


def watched(server: Fake, api: Api, heard: Heard, *until: Callable[[], object], namespaces: Any = ("models",)) -> None:
    """Watch until each of these holds, one after another; some do something first."""

    async def run() -> None:
        task = asyncio.create_task(watch(Address(server.host), namespaces, heard))
        with deadline() as in_time:
            for condition in until:
                while not condition():
                    assert in_time(), (heard.jobs, heard.workflows)
                    assert not task.done()
                    await asyncio.sleep(0.02)
        task.cancel()
        api.ended.set()
        await asyncio.wait({task})

    asyncio.run(run())


def does(action: Callable[[], object]) -> Callable[[], bool]:
    """Return a condition that holds at once, and does something."""

    def condition() -> bool:
        action()
        return True

    return condition


def test_what_is_there_and_each_change_is_told_and_nothing_is_written(server: Fake, api: Api) -> None:
    api.listed = [named(f"old-{number}") for number in range(250)]
    heard = Heard()
    change = named("new", status={"phase": "Pending"})
    watched(
        server,
        api,
        heard,
        lambda: len(heard.jobs) == 250,
        does(lambda: api.events[JOBS].put({"type": "ADDED", "object": change})),
        lambda: heard.jobs[-1] == ("new", False),
        does(lambda: api.events[JOBS].put({"type": "DELETED", "object": change})),
        lambda: heard.jobs[-1] == ("new", True),
        does(lambda: api.events[WORKFLOWS].put({"type": "MODIFIED", "object": named("w")})),
        lambda: heard.workflows == ["w"],
    )
    assert {method for method, _, _ in server.requests} == {"GET"}
    assert all(headers["Authorization"] == "Bearer secret-token" for _, _, headers in server.requests)


def test_objects_are_listed_in_pages_and_only_workflows_that_run(server: Fake, api: Api) -> None:
    api.listed = [named(f"old-{number}") for number in range(250)]
    heard = Heard()
    watched(server, api, heard, lambda: len(heard.jobs) == 250)
    asked = server.asked("GET")
    lists = [path for path in asked if path.split("?")[0].endswith(JOBS) and "watch" not in path]
    assert len(lists) == 3
    assert all("limit=100" in path for path in lists)
    selections = [path for path in asked if path.split("?")[0].endswith(WORKFLOWS)]
    assert selections
    assert all("kleveross.io/modeljob-uid,workflows.argoproj.io/completed!%3Dtrue" in path for path in selections)


def test_every_namespace_is_asked_at_once_and_named_ones_alone(server: Fake, api: Api) -> None:
    watched(server, api, Heard(), lambda: any("watch" in path for path in server.asked("GET")), namespaces=())
    paths = {path.split("?")[0] for path in server.asked("GET")} - DISCOVERY.keys()
    assert paths == {"/apis/kleveross.io/v1alpha1/modeljobs", "/apis/argoproj.io/v1alpha1/workflows"}


def test_an_object_that_is_not_understood_keeps_no_other_waiting(server: Fake, api: Api) -> None:
    api.listed = [named("a", spec="odd"), named("b")]
    heard = Heard()
    watched(server, api, heard, lambda: len(heard.jobs) == 2)


def test_a_watch_that_is_too_old_begins_with_a_list_again(server: Fake, api: Api) -> None:
    api.listed = [named("a")]
    heard = Heard()
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}
    watched(
        server,
        api,
        heard,
        lambda: len(heard.jobs) == 1,
        does(lambda: api.listed.append(named("b"))),
        does(lambda: api.events[JOBS].put(gone)),
        lambda: ("b", False) in heard.jobs,
    )


@pytest.mark.parametrize("status", [403, 429, 500, 503])
def test_a_namespace_that_refuses_for_a_while_keeps_no_other_waiting(server: Fake, api: Api, status: int) -> None:
    api.listed = [named("a")]
    api.refusals["closed"] = (status, 4)
    heard = Heard()
    watched(
        server,
        api,
        heard,
        lambda: len(heard.jobs) == 1,
        lambda: api.refusals["closed"] == (status, 0),
        # Twice: once for each namespace.
        lambda: len(heard.jobs) == 2,
        namespaces=("models", "closed"),
    )


def test_kopf_remembers_nothing_of_an_object() -> None:
    memories = _NoMemories()

    async def recall() -> None:
        for number in range(10):
            await memories.recall(named(f"job-{number}"), noticed_by_listing=True)

    asyncio.run(recall())
    assert list(memories.iter_all_memories()) == []
