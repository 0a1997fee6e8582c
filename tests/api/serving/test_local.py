"""Servings of this machine: real processes, with a small server in the place of an inference server."""

import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from klever.api.serving.local import control
from klever.api.serving.local.record import Asked, Place, State
from klever.api.serving.local.supervise import MAX_FAILURES
from klever.steps.errors import NotFoundError, ServingError

#: Serves at its first argument, says what it was given, ends when it is asked to, and fails where a file says so.
SERVER = """
import json, os, pathlib, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
print("started", flush=True)
if pathlib.Path(sys.argv[2], "broken").exists():
    sys.exit(3)
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid(), "arguments": sys.argv[2:], "environment": dict(os.environ)}).encode())
HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Place]]:
    """Start servings; all of them are gone in the end."""
    places: list[Place] = []

    def start(name: str = "net", *, broken: bool = False, **environment: str) -> Place:
        place = control.place_of(name, tmp_path)
        place.directory.mkdir(parents=True)
        if broken:
            (place.directory / "broken").touch()
        command = (sys.executable, "-c", SERVER, "{http}", str(place.directory))
        place.write_asked(
            Asked(name, "a/net:v1", "a/net@sha256:0", "ONNX", "mlserver", "v2", command, ("http",), "/", environment)
        )
        places.append(place)
        control.start(place)
        return place

    yield start
    for place in places:
        control.delete(place)


def ask(place: Place, path: str = "/") -> dict[str, object]:
    with urllib.request.urlopen(place.read_standing().url + path, timeout=5) as answer:
        document: dict[str, object] = json.loads(answer.read() or b"{}")
        return document


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_server_answers_on_a_port_of_its_own(serve: Callable[..., Place]) -> None:
    places = [serve(name) for name in ("one", "two")]
    urls = {control.wait_ready(place, 20).url for place in places}
    assert len(urls) == 2
    for place in places:
        assert ask(place)["arguments"] == [str(place.directory)]


def test_a_server_gets_what_its_model_needs_and_no_secret(
    serve: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLEVER_HARBOR_PASSWORD", "secret")
    place = serve(PORT="{http}")
    control.wait_ready(place, 20)
    environment = ask(place)["environment"]
    assert isinstance(environment, dict)
    assert place.read_standing().url.endswith(f":{environment['PORT']}")
    assert "KLEVER_HARBOR_PASSWORD" not in environment


def test_a_server_that_crashed_is_started_again(serve: Callable[..., Place]) -> None:
    place = serve()
    before = control.wait_ready(place, 20)
    os.kill(before.pid, signal.SIGSEGV)
    until(lambda: (now := place.read_standing()).state is State.READY and now.pid != before.pid)
    assert place.read_standing().restarts == 1
    assert ask(place)["pid"] == place.read_standing().pid


def test_a_server_that_never_gets_ready_is_given_up(serve: Callable[..., Place]) -> None:
    place = serve(broken=True)
    with pytest.raises(ServingError, match=f"exit code 3, {MAX_FAILURES} times before it was ready"):
        control.wait_ready(place, 60)
    assert place.log.read_text().count("started") == MAX_FAILURES
    until(lambda: not place.is_supervised())
    assert place.read_standing().state is State.FAILED


def test_a_server_that_is_not_ready_in_time_is_told_of(serve: Callable[..., Place]) -> None:
    with pytest.raises(control.NotReadyError, match="the server of net is not ready after 0 s") as caught:
        control.wait_ready(serve(broken=True), 0)
    assert caught.value.next_step == "klever serving logs net"


def test_a_server_ends_with_its_supervisor_that_is_killed(serve: Callable[..., Place]) -> None:
    place = serve()
    server, supervisor = control.wait_ready(place, 20).pid, place.supervisor()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not is_alive(server))
    assert place.read_standing().state is State.STOPPED
    control.start(place)
    assert control.wait_ready(place, 20).pid != server


def test_a_second_start_leaves_what_runs(serve: Callable[..., Place]) -> None:
    place = serve()
    server = control.wait_ready(place, 20).pid
    control.start(place)
    assert control.wait_ready(place, 20).pid == server


def test_a_stopped_serving_stays_and_can_be_started_again(serve: Callable[..., Place], tmp_path: Path) -> None:
    place = serve()
    server = control.wait_ready(place, 20).pid
    control.stop(place)
    assert not is_alive(server)
    assert place.read_standing().state is State.STOPPED
    assert [asked.name for _, asked in control.list_all(tmp_path)] == ["net"]
    control.start(place)
    assert control.wait_ready(place, 20).state is State.READY


def test_a_deleted_serving_leaves_no_process_and_no_file(serve: Callable[..., Place], tmp_path: Path) -> None:
    place = serve()
    server, supervisor = control.wait_ready(place, 20).pid, place.supervisor()
    assert supervisor is not None
    control.delete(place)
    assert not is_alive(server)
    until(lambda: not is_alive(supervisor))
    assert list(control.list_all(tmp_path)) == []
    assert not place.directory.exists()
    with pytest.raises(NotFoundError, match="nothing is served as net"):
        control.find("net", tmp_path)


def test_servings_are_found_by_whoever_looks(serve: Callable[..., Place], tmp_path: Path) -> None:
    for name in ("two", "one"):
        serve(name)
    assert [asked.name for _, asked in control.list_all(tmp_path)] == ["one", "two"]
    assert control.find("one", tmp_path).read_asked().reference == "a/net:v1"
