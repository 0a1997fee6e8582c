"""A relay in front of a registry that holds a request until the test lets it go.

    with relay(registry.near, address) as stopping:
        with stopping.held("PUT", "/manifests/v1") as held:
            ...
            held.wait()      # somebody wants to write the tag, and waits

So a fault strikes at a known point of somebody else's work. What does not belong here: what the registry answers.
"""

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest
from fakes import Exchange
from registries import serving

#: Seconds that a test waits until the request that it holds arrives: a pod's start on a busy machine.
_ARRIVAL_SECONDS = 120.0
_CHUNK_BYTES = 1 << 16


@dataclass
class Hold:
    """Requests of one kind, which stand still until the block that made this is left, or until `release`."""

    method: str
    path: re.Pattern[str]
    _arrived: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)

    def wait(self) -> None:
        """Wait until a request stands here."""
        if not self._arrived.wait(_ARRIVAL_SECONDS):
            pytest.fail(f"no {self.method} {self.path.pattern} arrived within {_ARRIVAL_SECONDS:.0f} s")

    def release(self) -> None:
        """Let every request go on, those to come as well."""
        self._released.set()

    def stand(self) -> None:
        """Keep a request."""
        self._arrived.set()
        self._released.wait()


@dataclass
class Relay:
    """A running relay: where it is, and what it holds."""

    host: str = ""
    holds: list[Hold] = field(default_factory=list)

    @contextmanager
    def held(self, method: str, path: str) -> Iterator[Hold]:
        """Hold every request whose method and path (a regular expression, found anywhere) are these."""
        hold = Hold(method, re.compile(path))
        self.holds.append(hold)
        try:
            yield hold
        finally:
            hold.release()
            self.holds.remove(hold)


@contextmanager
def relay(target: str, address: str) -> Iterator[Relay]:
    """Relay requests that come to a port of ``address`` to the registry ``target``, a host with its port."""
    running = Relay()

    class Handler(Exchange):
        def _pass_on(self) -> None:
            for hold in [each for each in running.holds if each.method == self.command and each.path.search(self.path)]:
                hold.stand()
            with suppress(BrokenPipeError, ConnectionResetError):
                try:
                    self._exchange()
                except (OSError, http.client.HTTPException):
                    # The registry is away: as its own host would, hang up.
                    self.hang_up()

        def _exchange(self) -> None:
            connection = http.client.HTTPConnection(target, timeout=60)
            try:
                body = self.body()
                connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                # The registry forms the addresses that it sends people to from the Host that it was asked by: ours.
                for name, value in self.headers.items():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        connection.putheader(name, value)
                connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
                self._answer(connection.getresponse())
            finally:
                connection.close()

        def _answer(self, response: http.client.HTTPResponse) -> None:
            self.send_response_only(response.status, response.reason)
            for name, value in response.getheaders():
                if name.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.end_headers()
            while chunk := response.read(_CHUNK_BYTES):
                self.wfile.write(chunk)

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._pass_on)
    with serving(Handler, address) as port:
        running.host = f"{address}:{port}"
        try:
            yield running
        finally:
            for hold in running.holds:
                hold.release()
