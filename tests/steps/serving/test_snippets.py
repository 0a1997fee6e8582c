"""Lines by which people ask a model: each runs as it stands against a server that answers."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from klever.steps.errors import ServingError
from klever.steps.serving.snippets import snippet
from klever.steps.serving.v2 import Values

INPUTS = [
    Values('it\'s "x"', "FP32", (1, 3), [0.5, 1.0, 1.5]),
    Values("long", "INT64", (2, 50), [1] * 100),
    Values("flag", "BOOL", (1,), [True]),
    Values("word", "BYTES", (1,), ["don't"]),
]
ANSWER = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [42.5]}]}


class Server(ThreadingHTTPServer):
    asked: list[tuple[str, dict[str, Any]]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.path, json.loads(body)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(ANSWER).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.asked = []
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.mark.parametrize("kind", ["curl", "python"])
def test_the_lines_ask_for_a_prediction_and_show_it(server: Server, kind: str) -> None:
    lines = snippet(kind, f"http://127.0.0.1:{server.server_port}", "net", INPUTS)
    command = ["sh", "-c", lines] if kind == "curl" else [sys.executable, "-c", lines]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "42.5" in done.stdout
    ((path, request),) = server.asked
    assert path == "/v2/models/net/infer"
    assert [(each["name"], each["datatype"], each["shape"], each["data"]) for each in request["inputs"]] == [
        (each.name, each.datatype, list(each.shape), list(each.data)) for each in INPUTS
    ]


def test_lines_for_tritonclient_are_python_that_names_every_input() -> None:
    lines = snippet("tritonclient", "http://127.0.0.1:8000", "net", INPUTS)
    compile(lines, "snippet", "exec")
    assert "InferenceServerClient('127.0.0.1:8000')" in lines
    assert "np.array([1] * 100, dtype=np.int64).reshape([2, 50])" in lines
    assert "dtype=np.bool_" in lines
    assert "dtype=object" in lines


def test_a_client_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ServingError, match="there are no lines for 'fortran'"):
        snippet("fortran", "http://127.0.0.1:8000", "net", INPUTS)
