"""Lines of all pods arrive once each and in order, over streams that break and pods that go."""

import threading
from typing import Any

import pytest
from fakes import Exchange

from klever.workflows.argo.logs import Line, Logs

from .conftest import Serve, answer, events, refuse


def pod(name: str, state: str = "running", version: int = 1) -> dict[str, Any]:
    annotations = {"workflows.argoproj.io/node-id": f"id-{name}", "workflows.argoproj.io/node-name": f"w.{name}"}
    statuses = [{"name": "wait", "state": {"running": {}}}, {"name": "main", "state": {state: {}}}]
    metadata = {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version), "annotations": annotations}
    return {"metadata": metadata, "status": {"containerStatuses": statuses}}


class Server:
    """Pods that are listed, in turn what each log request gets, and what the watch tells."""

    def __init__(
        self, pods: list[dict[str, Any]], logs: dict[str, list[Any]], watched: list[Any] | None = None
    ) -> None:
        self.pods = pods
        self.logs = logs
        self.watched = watched or []
        self.asked: list[str] = []
        self.over = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        parts = exchange.path_only.split("/")
        if parts[-1] == "log":
            self.asked.append(exchange.query.get("sinceTime", [""])[0])
            said = self.logs[parts[-2]].pop(0)
            if callable(said):
                said(exchange)
            else:
                exchange.reply(200, said.encode())
        elif "watch" in exchange.query:
            if self.watched:
                events(exchange, *self.watched)
                self.watched = []
            else:
                self.over.wait(5)
                events(exchange)
        elif parts[-1] == "pods":
            answer(exchange, {"items": self.pods, "metadata": {"resourceVersion": "1"}})
        else:
            found = [each for each in self.pods if each["metadata"]["name"] == parts[-1]]
            answer(exchange, found[0]) if found else refuse(exchange, 404, "NotFound", "no pod", name=parts[-1])


def read(serve: Serve, server: Server, node: str = "") -> tuple[list[Line], list[str]]:
    lines: list[Line] = []
    notes: list[str] = []
    with Logs(serve(server).cluster, "w", on_line=lines.append, on_note=notes.append, node=node):
        pass
    server.over.set()
    return lines, notes


def cut(text: str) -> Any:
    """Answer with text and break the connection."""

    def script(exchange: Exchange) -> None:
        exchange.begin(200, len(text) + 100)
        exchange.wfile.write(text.encode())
        exchange.reset()

    return script


A = "2026-01-02T03:04:05.100000000Z a\n2026-01-02T03:04:05.2Z b\n2026-01-02T03:04:05.2Z b\n"


def test_every_line_is_given_with_its_node(serve: Serve) -> None:
    lines, notes = read(serve, Server([pod("x", "terminated")], {"x": [A]}))
    assert [line.text for line in lines] == ["a", "b", "b"]
    assert {(line.node, line.node_name, line.pod) for line in lines} == {("id-x", "w.x", "x")}
    assert notes == []


def test_what_argos_own_process_says_is_left_out(serve: Serve) -> None:
    own = (
        '2026-01-02T03:04:06Z time="2026-01-02T03:04:06Z" level=info msg="sub-process exited" argo=true error="<nil>"\n'
    )
    lines, _ = read(serve, Server([pod("x", "terminated")], {"x": [A + own]}))
    assert [line.text for line in lines] == ["a", "b", "b"]


def test_a_broken_stream_is_taken_up_without_a_line_twice_or_lost(serve: Serve) -> None:
    rest = "2026-01-02T03:04:05.2Z b\n2026-01-02T03:04:06Z c\n"
    server = Server([pod("x", "terminated")], {"x": [cut(A), A + rest]})
    lines, notes = read(serve, server)
    assert [line.text for line in lines] == ["a", "b", "b", "b", "c"]
    assert server.asked == ["", "2026-01-02T03:04:05Z"]
    assert notes == []


def test_a_stream_that_ends_while_the_container_runs_is_taken_up(serve: Serve) -> None:
    server = Server([pod("x")], {"x": [A]})

    def last(exchange: Exchange) -> None:
        server.pods = [pod("x", "terminated")]
        exchange.reply(200, (A + "2026-01-02T03:04:07Z c\n").encode())

    server.logs["x"].append(last)
    lines, _ = read(serve, server)
    assert [line.text for line in lines] == ["a", "b", "b", "c"]


def test_a_stream_that_stays_broken_is_given_up_with_a_note(serve: Serve) -> None:
    lines, notes = read(serve, Server([pod("x", "terminated")], {"x": [lambda exchange: exchange.reset()] * 20}))
    assert lines == []
    assert notes[0].startswith("the log of w.x breaks off")


def test_a_pod_that_is_gone_is_noted(serve: Serve) -> None:
    gone = [lambda exchange: refuse(exchange, 404, "NotFound", "no pod", name="x")]
    _, notes = read(serve, Server([pod("x", "terminated")], {"x": gone}))
    assert notes == ["the pod of w.x is gone, and its log with it"]


def test_a_right_that_is_missing_is_noted(serve: Serve) -> None:
    message = (
        'pods "x" is forbidden: User "ada" cannot get resource "pods/log" in API group "" in the namespace "models"'
    )
    refused = [lambda exchange: refuse(exchange, 403, "Forbidden", message)]
    _, notes = read(serve, Server([pod("x", "terminated")], {"x": refused}))
    assert notes == ["the log of w.x cannot be read: ada may not get pods/log in namespace models"]


def test_a_pod_is_read_once_its_container_has_started_and_only_once(serve: Serve) -> None:
    started = [{"type": "MODIFIED", "object": pod("x", state, version)} for version, state in ((2, "running"), (3, "terminated"))]  # fmt: skip
    server = Server([pod("x", "waiting")], {"x": [A]}, started)

    def told(exchange: Exchange) -> None:
        server.pods = [pod("x", "terminated")]
        exchange.reply(200, A.encode())

    server.logs["x"] = [told]
    lines: list[Line] = []
    seen = threading.Event()

    def note(line: Line) -> None:
        lines.append(line)
        seen.set()

    with Logs(serve(server).cluster, "w", on_line=note, on_note=pytest.fail):
        assert seen.wait(5)
    server.over.set()
    assert [line.text for line in lines] == ["a", "b", "b"]


def test_a_workflow_without_pods_says_so(serve: Serve) -> None:
    assert read(serve, Server([], {})) == ([], ["there are no logs: no pod has run, or all were cleaned up"])


def test_one_node_can_be_read_alone(serve: Serve) -> None:
    server = Server([pod("x", "terminated"), pod("y", "terminated")], {"x": [A], "y": [A]})
    lines, _ = read(serve, server, node="id-y")
    assert {line.pod for line in lines} == {"y"}


def test_bytes_that_are_no_text_do_not_end_it(serve: Serve) -> None:
    raw = [lambda exchange: exchange.reply(200, b"2026-01-02T03:04:05Z \xff\xfe\r\n\n2026-01-02T03:04:06Z ok\n")]
    lines, _ = read(serve, Server([pod("x", "terminated")], {"x": raw}))
    assert lines[-1].text == "ok"
    assert "\ufffd" in lines[0].text
