"""An API server of Kubernetes with the objects that a test gives it: for what a real cluster cannot be made to have.

It knows getting, listing, applying, dry runs and reviews of rights. What does not belong here: what a real one does by
itself; tests of that are in ``tests/cluster``.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes import Exchange, fake

Document = dict[str, Any]

_LISTING = re.compile(r"/.*/namespaces/[^/]+/[a-z]+")
_GROUP = re.compile(r"/apis/[^/]+/[^/]+")


@dataclass
class ApiServer:
    """Objects by their paths, and what is forbidden."""

    objects: dict[str, Document] = field(default_factory=dict)
    #: Paths, and all below them, that nobody may read or write.
    forbidden: set[str] = field(default_factory=set)
    #: (account or "you", verb, resource with subresource) that reviews deny.
    denied: set[tuple[str, str, str]] = field(default_factory=set)
    #: What was written, not counting dry runs: (method, path).
    written: list[tuple[str, str]] = field(default_factory=list)
    host: str = ""

    def put(self, path: str, document: Document) -> None:
        """Have an object."""
        name = path.rpartition("/")[2]
        self.objects[path] = {**document, "metadata": {"name": name, **document.get("metadata", {})}}

    def kubeconfig(self, directory: Path, namespace: str) -> Path:
        """Write a kubeconfig that names this server."""
        path = directory / "kubeconfig"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": f"http://{self.host}"}}],
            "users": [{"name": "u", "user": {"token": "secret-token"}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
        }
        path.write_text(json.dumps(document), "utf-8")
        return path

    def answer(self, exchange: Exchange) -> None:
        """Answer a request."""
        path, body = exchange.path_only, exchange.body()
        if any(path == each or path.startswith(f"{each}/") for each in self.forbidden):
            message = f'it is forbidden: User "ada" cannot use resource "{path}" in API group ""'
            _refuse(exchange, 403, "Forbidden", message)
        elif path.endswith("accessreviews"):
            self._review(exchange, json.loads(body))
        elif exchange.command == "GET":
            self._get(exchange, path)
        elif exchange.command in ("POST", "PATCH"):
            self._write(exchange, path, json.loads(body))
        else:
            _refuse(exchange, 405, "MethodNotAllowed", f"no {exchange.command} here")

    def _get(self, exchange: Exchange, path: str) -> None:
        if path in self.objects:
            _reply(exchange, self.objects[path])
            return
        if _LISTING.fullmatch(path):
            below = [one for at, one in self.objects.items() if at.rpartition("/")[0] == path]
            _reply(exchange, {"items": below, "metadata": {"resourceVersion": "1"}})
            return
        if _GROUP.fullmatch(path):
            exchange.reply(404, b"404 page not found", {"Content-Type": "text/plain"})
            return
        name = path.rpartition("/")[2]
        _refuse(exchange, 404, "NotFound", f'"{name}" not found', name)

    def _write(self, exchange: Exchange, path: str, document: Document) -> None:
        at = path if exchange.command == "PATCH" else f"{path}/{document['metadata']['name']}"
        if "dryRun" not in exchange.query:
            self.written.append((exchange.command, at))
            self.put(at, document)
        _reply(exchange, document)

    def _review(self, exchange: Exchange, review: Document) -> None:
        spec = review["spec"]
        asked = spec["resourceAttributes"]
        who = str(spec.get("user", "you")).rpartition(":")[2]
        resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
        _reply(exchange, review | {"status": {"allowed": (who, asked["verb"], resource) not in self.denied}})


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Run an API server without objects."""
    server = ApiServer()
    with fake(server.answer) as running:
        server.host = running.host
        yield server


def _reply(exchange: Exchange, document: Document, status: int = 200) -> None:
    exchange.reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})


def _refuse(exchange: Exchange, code: int, reason: str, message: str, name: str = "") -> None:
    details = {"name": name} if name else {}
    _reply(exchange, {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}, code)
