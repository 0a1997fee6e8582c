"""A server that does what a test tells it to, however wrong: in this process, on a loopback port."""

import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from registries import serving


class Exchange(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    #: Head and body are two writes, of which the second would wait for the first to be acknowledged: 40 ms.
    disable_nagle_algorithm = True

    @property
    def path_only(self) -> str:
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.path).query)

    def body(self) -> bytes:
        """Read the request's body, in either framing."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer."""
        self.begin(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, status: int, length: int, headers: Mapping[str, str] | None = None) -> None:
        """Send the head of an answer that announces ``length`` bytes."""
        self.send_response(status)
        for name, value in {"Content-Length": str(length), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def refuse(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Send an error document of the distribution API."""
        self.reply(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)

    def reset(self) -> None:
        """Cut the connection as a crashed host does."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection after this answer."""
        self.close_connection = True

    def log_message(self, *_arguments: Any) -> None:
        pass


Script = Callable[[Exchange], None]


@dataclass
class Fake:
    """A running server: where it is, and what it was asked."""

    host: str = ""
    #: (method, path with query, headers) in order of arrival.
    requests: list[tuple[str, str, Message]] = field(default_factory=list)

    def asked(self, method: str) -> list[str]:
        """Return the paths asked for by a method."""
        return [path for verb, path, _headers in self.requests if verb == method]


@contextmanager
def fake(script: Script) -> Iterator[Fake]:
    """Serve every request by ``script``."""
    server = Fake()

    class Handler(Exchange):
        def _serve(self) -> None:
            server.requests.append((self.command, self.path, self.headers))
            try:
                script(self)
            except (BrokenPipeError, ConnectionResetError):
                self.hang_up()

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._serve)
    with serving(Handler) as port:
        server.host = f"127.0.0.1:{port}"
        yield server
