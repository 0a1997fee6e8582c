"""Answer the kubelet and Prometheus over HTTP: ``/healthz``, ``/readyz``, ``/metrics``.

What does not belong here: what healthy means.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_LATEST

#: Seconds that a request may take to arrive.
_SECONDS = 10


class Answer(NamedTuple):
    """A status and a text."""

    status: int
    text: bytes
    content_type: str = "text/plain; charset=utf-8"


Ask = Callable[[], Answer]


def told(problem: str) -> Answer:
    """Return the answer of a probe: what is wrong, or nothing."""
    return Answer(503, f"{problem}\n".encode()) if problem else Answer(200, b"ok\n")


def numbers(render: Callable[[], bytes]) -> Ask:
    """Return what answers with numbers for Prometheus."""
    return lambda: Answer(200, render(), CONTENT_TYPE_LATEST)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # As many as a kubelet and a few Prometheus ask at once.
    request_queue_size = 16


@contextmanager
def serving(port: int, paths: Mapping[str, Ask], host: str = "") -> Iterator[int]:
    """Answer at a port, the next free one for 0, and yield it; do nothing for -1."""
    if port < 0:
        yield port
        return

    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            ask = paths.get(self.path.partition("?")[0])
            answer = ask() if ask else Answer(404, b"not here\n")
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.text)))
            self.end_headers()
            self.wfile.write(answer.text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
            """Keep quiet: probes ask every few seconds."""

        def version_string(self) -> str:
            return "klever"

    with _Server((host, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name=f"port {port}", daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
