"""Documents that a real Argo left, and API servers that do what a test tells them."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes import Exchange, Fake, Script, fake

from klever.workflows.argo.client import Cluster, connect

RECORDINGS = Path(__file__).resolve().parent / "recordings"

Document = dict[str, Any]
Recorded = Callable[[str], Document]


@dataclass(frozen=True)
class Served:
    """A cluster whose API server is a script, and what it was asked."""

    cluster: Cluster
    server: Fake


Serve = Callable[[Script], Served]


@pytest.fixture
def recorded() -> Recorded:
    """Read a document that record.py has kept."""
    return lambda name: json.loads((RECORDINGS / f"{name}.json").read_text("utf-8"))


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write a kubeconfig with a token and a namespace for a server's URL, and let KUBECONFIG name it."""

    def write(url: str) -> Path:
        path = tmp_path / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"token": "secret-token"}}],
            "contexts": [
                {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "models"}},
                {"name": "other", "context": {"cluster": "c", "user": "u"}},
            ],
        }
        path.write_text(json.dumps(document), "utf-8")
        # First, as this imports the client, which reads the variable then and keeps what it finds.
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
        monkeypatch.setenv("KUBECONFIG", str(path))
        return path

    return write


@pytest.fixture
def serve(kubeconfig: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Begin an API server that answers by a script, and connect to it; retries come quickly."""
    monkeypatch.setattr("klever.workflows.argo.client._FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr("klever.workflows.argo.watch._FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr("klever.workflows.argo.logs._WAIT_SECONDS", 0.01)
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    with ExitStack() as stack:

        def begin(script: Script) -> Served:
            server = stack.enter_context(fake(script))
            kubeconfig(f"http://{server.host}")
            return Served(stack.enter_context(connect()), server)

        yield begin


def answer(exchange: Exchange, document: Any, status: int = 200) -> None:
    """Send a JSON document."""
    exchange.reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def refuse(exchange: Exchange, code: int, reason: str, message: str, **details: str) -> None:
    """Send a ``Status`` as an API server refuses."""
    document = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}
    answer(exchange, document, code)


def events(exchange: Exchange, *lines: Any, cut: bytes = b"") -> None:
    """Send events of a watch in chunks; with ``cut`` its bytes and then nothing more, as a server that dies."""
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    for line in lines:
        data = json.dumps(line).encode() + b"\n"
        exchange.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        exchange.wfile.flush()
    if cut:
        exchange.wfile.write(b"%x\r\n%s\r\n" % (len(cut), cut))
        exchange.reset()
    else:
        exchange.wfile.write(b"0\r\n\r\n")
