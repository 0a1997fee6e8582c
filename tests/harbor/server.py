"""A Harbor's stand-in: its REST interface, tokens and webhooks in front of a real CNCF registry.

    with running_harbor(directory) as harbor:
        harbor.make_project("release")
        harbor.url, harbor.host

As a process of its own, for what runs elsewhere (``PYTHONPATH=tests``):

    python -m harbor.server --directory DIR --address 0.0.0.0 --port 8085 --host harbor.example:8085

It answers as the recordings of a Harbor 2.16 do, which a test replays. Below ``/.stand-in/`` are its own doors:
``GET statistics``, ``PUT manner`` (fields of `Manner`), ``POST seed``. Products must know neither.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import signal
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harbor.deliveries import Deliveries, Happening, Manner
from harbor.inventory import Inventory, Project, RefusedError, Robot
from harbor.rest import ROOT, Answer, Request, Rest, read_query
from harbor.users import User, Users

_CHUNK = 256 << 10
_DRAINED = 8 << 20
_NAME = r"/v2/(?P<name>[^_][^?]*?)"
_MANIFEST = re.compile(rf"{_NAME}/manifests/(?P<reference>[^/]+)")
_BLOB = re.compile(rf"{_NAME}/blobs/(?P<rest>.+)")
_TAGS = re.compile(rf"{_NAME}/tags/list")
_REFERRERS = re.compile(rf"{_NAME}/referrers/(?P<reference>[^/]+)")
_ACTIONS = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
_HOP = {"connection", "transfer-encoding", "keep-alive", "authorization", "content-length", "cookie"}
_API = {"Docker-Distribution-Api-Version": "registry/2.0"}
_CONFIG = "application/vnd.caicloud.model.config.v1alpha1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class UnauthorizedError(RefusedError):
    """What the registry's side answers to who may not, with its challenge."""

    def __init__(self, message: str, challenge: str) -> None:
        super().__init__(401, "UNAUTHORIZED", f"{message}: {message}")
        self.challenge = challenge


class StandIn:
    """A running stand-in."""

    def __init__(
        self,
        registry: str,
        *,
        address: str = "127.0.0.1",
        port: int = 0,
        host: str = "",
        admin_password: str = "Harbor12345",
        manner: Manner | None = None,
    ) -> None:
        self.registry = registry
        self.inventory = Inventory()
        self.users = Users(self.inventory, admin_password)
        stand_in = self

        class Handler(_Handler):
            harbor = stand_in

        self._server = _Server((address, port), Handler)
        #: As references and pods name it.
        self.host = host or f"{address}:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        self.deliveries = Deliveries(self.inventory, self.host, manner)
        self.rest = Rest(self.inventory, self.deliveries, self.host)
        self.local = threading.local()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.deliveries.close()

    # What tests ask for without HTTP.

    def make_project(self, name: str, *, public: bool = False) -> Project:
        return self.inventory.add_project(name, {"public": str(public).lower()})

    def make_robot(self, project: str, name: str = "klever", rights: Iterable[str] | None = None) -> Robot:
        """Make a robot with the rights that the recorded one has; ``rights`` as ``artifact:list``."""
        chosen = rights or (
            *("repository:push", "repository:pull", "repository:list"),
            *("artifact:read", "artifact:list", "tag:list", "tag:create"),
        )
        access = [dict(zip(("resource", "action"), right.split(":"), strict=True)) for right in chosen]
        permission = {"kind": "project", "namespace": project, "access": access}
        asked = {"name": name, "level": "project", "duration": -1, "permissions": [permission]}
        return self.inventory.add_robot(asked, {project: self.inventory.project(project).id})

    def make_policy(
        self, project: str, address: str, *, authorization: str = "", payload: str = "Default", name: str = "klever"
    ) -> None:
        """Make a webhook policy for pushes."""
        target = {"type": "http", "address": address, "auth_header": authorization, "payload_format": payload}
        document = {"name": name, "enabled": True, "event_types": ["PUSH_ARTIFACT"], "targets": [target]}
        self.inventory.add_policy(self.inventory.project(project), document)

    def seed(self, project: str, artifacts: int, *, repositories: int = 100, extracted: bool = True) -> None:
        """Put models into the listings that are in no registry: for measuring those who list."""
        if project not in self.inventory.projects:
            self.make_project(project)
        for number in range(artifacts):
            layer = "sha256:" + hashlib.sha256(f"{project} {number}".encode()).hexdigest()
            manifest = {
                "schemaVersion": 2,
                "config": {"mediaType": _CONFIG, "digest": layer, "size": 1000},
                "layers": [{"mediaType": "application/tar+gzip", "digest": layer, "size": 100_000}],
                "annotations": {"kleveross.io/extracted-from": layer} if extracted else {},
            }
            extra: dict[str, Any] = {"format": "ONNX", "framework": "ONNX", "author": "somebody"}
            if extracted:
                tensor = {"name": "x", "dType": "float32", "size": [-1, 3, 224, 224]}
                layers = {"Conv": 53, "Relu": 49, "MaxPool": 1, "Gemm": 1}
                extra["signature"] = {"inputs": [tensor], "outputs": [tensor], "layers": layers}
            data = json.dumps(manifest).encode()
            name = f"{project}/model-{number % repositories}"
            self.inventory.ensure_artifact(name, data, _MANIFEST_TYPE, extra, f"v{number // repositories}")

    # The registry behind it.

    def backend(self) -> http.client.HTTPConnection:
        """Return this thread's connection to the registry."""
        held: http.client.HTTPConnection | None = getattr(self.local, "connection", None)
        if held is None:
            held = self.local.connection = http.client.HTTPConnection(self.registry, timeout=60)
        return held

    def fetch(self, path: str) -> bytes:
        """Return what the registry has under a path."""
        connection = self.backend()
        connection.request("GET", path)
        answer = connection.getresponse()
        data = answer.read()
        return data if answer.status == 200 else b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        # Whoever hangs up between two requests is killed or done.
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    harbor: StandIn
    protocol_version = "HTTP/1.1"
    timeout = 120
    wbufsize = 1 << 16
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        self.request_id = self.headers.get("X-Request-Id") or str(uuid.uuid4())
        self._left: int | None = None
        parts = urlsplit(self.path)
        try:
            self._route(parts.path, parts.query)
        except UnauthorizedError as refusal:
            self._refuse(refusal, {**_API, "Www-Authenticate": refusal.challenge})
        except RefusedError as refusal:
            self._refuse(refusal, {})
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        self._drain()

    def _route(self, path: str, query: str) -> None:
        if path.startswith("/.stand-in/"):
            self._own_door(path.removeprefix("/.stand-in/"))
            return
        user = self.harbor.users.by_header(self.headers.get("Authorization", ""))
        if path.startswith(ROOT + "/"):
            request = Request(self.command, path, read_query(query), self.headers, self._body(), user, self.request_id)
            self._answer(self.harbor.rest.answer(request))
        elif path == "/service/token":
            scopes = [one for value in parse_qs(query).get("scope", []) for one in value.split()]
            document = self.harbor.users.make_token(user, scopes)
            self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json; charset=utf-8"})
        elif path.startswith("/v2/"):
            self._registry(path, query, user)
        else:
            raise RefusedError(404, "NOT_FOUND", f"path {path} was not found")

    # The registry's side.

    def _registry(self, path: str, query: str, user: User) -> None:
        if path == "/v2/":
            if not user.is_known:
                raise UnauthorizedError("unauthorized", self._challenge(""))
            self._send(200, b"{}", {**_API, "Content-Type": "application/json"})
            return
        for pattern, serve in (
            (_MANIFEST, self._manifest),
            (_BLOB, self._blob),
            (_TAGS, self._tags),
            (_REFERRERS, self._referrers),
        ):
            if found := pattern.fullmatch(path):
                self._authorise(user, found["name"], self._action(pattern))
                serve(user, query, **found.groupdict())
                return
        raise UnauthorizedError("unauthorized to list catalog", 'Basic realm="harbor"')

    def _action(self, pattern: re.Pattern[str]) -> str:
        # Cancelling an upload is part of a push.
        return "push" if pattern is _BLOB and self.command == "DELETE" else _ACTIONS.get(self.command, "push")

    def _authorise(self, user: User, name: str, action: str) -> None:
        inventory, project = self.harbor.inventory, name.partition("/")[0]
        with inventory.lock:
            if "Authorization" not in self.headers and action == "pull":
                message = "authorize header needed to send HEAD to repository"
                raise UnauthorizedError(message, self._challenge(f"repository:{name}:{action}"))
            if project not in inventory.projects:
                raise UnauthorizedError(f"project {project} not found", "")
            if not user.may_at_registry(inventory, name, action):
                message = f"unauthorized to access repository: {name}, action: {action}"
                raise UnauthorizedError(message, self._challenge(f"repository:{name}:{action}"))

    def _challenge(self, scope: str) -> str:
        if "Authorization" in self.headers:
            return 'Basic realm="harbor"'
        asked = f'Bearer realm="{self.harbor.url}/service/token",service="harbor-registry"'
        return f'{asked},scope="{scope}"' if scope else asked

    def _manifest(self, user: User, query: str, name: str, reference: str) -> None:
        inventory = self.harbor.inventory
        if self.command == "PUT":
            self._put_manifest(user, name, reference)
            return
        if self.command == "DELETE":
            if ":" not in reference:
                raise RefusedError(405, "UNSUPPORTED", f"unsupported digest {reference}")
            inventory.delete_artifact(inventory.artifact(name, reference))
            self._send(202, b"", {})
            return
        artifact = inventory.artifact(name, reference)
        self._forward(f"/v2/{name}/manifests/{artifact.digest}", b"")
        if self.command == "GET":
            tag = None if ":" in reference else reference
            self._announce(Happening("PULL_ARTIFACT", artifact.repository, artifact.digest, tag, user.name))

    def _put_manifest(self, user: User, name: str, reference: str) -> None:
        data = self._body()
        status, headers, answer = self._exchange(f"/v2/{name}/manifests/{reference}", data)
        if status != 201:
            self._send(status, answer, headers)
            return
        document = json.loads(data)
        inventory = self.harbor.inventory
        extra = None
        if inventory.needs_config(document):
            try:
                extra = json.loads(self.harbor.fetch(f"/v2/{name}/blobs/{document['config']['digest']}"))
            except ValueError:
                extra = None
        tag = None if ":" in reference else reference
        kind = document.get("mediaType") or self.headers.get("Content-Type", "").partition(";")[0]
        artifact = inventory.ensure_artifact(name, data, kind, extra if isinstance(extra, dict) else None, tag)
        if artifact.subject:
            headers["OCI-Subject"] = artifact.subject
        # Before the answer, so that whoever pushes can wait for what it makes happen.
        self._announce(Happening("PUSH_ARTIFACT", artifact.repository, artifact.digest, tag, user.name))
        self._send(status, answer, headers)

    def _announce(self, happened: Happening) -> None:
        self.harbor.deliveries.announce(happened, self.request_id)

    def _blob(self, user: User, query: str, name: str, rest: str) -> None:
        source = parse_qs(query).get("from", [""])[0]
        if source and not user.may_at_registry(self.harbor.inventory, source, "pull"):
            raise UnauthorizedError(
                f"unauthorized to access repository: {source}, action: pull", 'Basic realm="harbor"'
            )
        path = f"/v2/{name}/blobs/{rest}" + (f"?{query}" if query else "")
        self._forward(path, self._stream())

    def _tags(self, user: User, query: str, name: str) -> None:
        with self.harbor.inventory.lock:
            tags = sorted(self.harbor.inventory.repository(name).tags)
        size, last = int(read_query(query).get("n", 0)), read_query(query).get("last", "")
        listed = [tag for tag in tags if tag > last]
        headers = {"Content-Type": "application/json; charset=utf-8"}
        if size and len(listed) > size:
            listed = listed[:size]
            headers["Link"] = f'</v2/{name}/tags/list?last={listed[-1]}&n={size}>; rel="next"'
        self._send(200, json.dumps({"name": name, "tags": listed}).encode(), headers)

    def _referrers(self, user: User, query: str, name: str, reference: str) -> None:
        wanted = read_query(query).get("artifactType", "")
        with self.harbor.inventory.lock:
            try:
                artifacts = list(self.harbor.inventory.repository(name).artifacts.values())
            except RefusedError:
                artifacts = []
            found = [
                {
                    "mediaType": each.manifest_type,
                    "digest": each.digest,
                    "size": each.manifest_size,
                    **({"annotations": each.annotations} if each.annotations else {}),
                    "artifactType": each.artifact_type,
                }
                for each in artifacts
                if each.subject == reference and wanted in ("", each.artifact_type)
            ]
        index_type = "application/vnd.oci.image.index.v1+json"
        document = {"schemaVersion": 2, "mediaType": index_type, "manifests": found}
        headers = {"Content-Type": index_type, "X-Total-Count": str(len(found))}
        self._send(200, json.dumps(document).encode(), headers)

    # The registry behind it.

    def _forward(self, path: str, body: bytes | Iterator[bytes]) -> None:
        """Pass a request on, and its answer back as it comes."""
        answer = self._ask(path, body)
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}
        length = answer.getheader("Content-Length")
        self._head(answer.status, headers, int(length or 0))
        if self.command != "HEAD":
            while chunk := answer.read(_CHUNK):
                self.wfile.write(chunk)
        answer.read()

    def _exchange(self, path: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        answer = self._ask(path, body)
        data = answer.read()
        return answer.status, {name: value for name, value in answer.getheaders() if name.lower() not in _HOP}, data

    def _ask(self, path: str, body: bytes | Iterator[bytes]) -> http.client.HTTPResponse:
        # Clients repeat Accept, a line for each type.
        names = dict.fromkeys(name for name in self.headers if name.lower() not in _HOP)
        headers = {name: ", ".join(self.headers.get_all(name) or ()) for name in names}
        connection = self.harbor.backend()
        chunked = not isinstance(body, bytes) and "Content-Length" not in self.headers
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(len(body)) if isinstance(body, bytes) else self.headers["Content-Length"]
        for attempt in (1, 2):
            try:
                connection.request(self.command, path, body=body or None, headers=headers, encode_chunked=chunked)
                return connection.getresponse()
            except (http.client.HTTPException, OSError):
                # A connection that the registry has closed meanwhile.
                connection.close()
                if attempt == 2 or not isinstance(body, bytes):
                    raise RefusedError(502, "UNKNOWN", "bad gateway") from None
        raise AssertionError

    # Its own doors.

    def _own_door(self, name: str) -> None:
        deliveries = self.harbor.deliveries
        if (self.command, name) == ("GET", "statistics"):
            document: Mapping[str, Any] = deliveries.statistics()
        elif (self.command, name) == ("PUT", "manner"):
            asked = json.loads(self._body())
            asked |= {"copies": tuple(asked["copies"])} if "copies" in asked else {}
            deliveries.manner = replace(deliveries.manner, **asked)
            document = asdict(deliveries.manner)
        elif (self.command, name) == ("POST", "seed"):
            self.harbor.seed(**json.loads(self._body()))
            document = {}
        else:
            raise RefusedError(404, "NOT_FOUND", f"no such door: {name}")
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    # Bytes.

    def _stream(self) -> bytes | Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked" or int(
            self.headers.get("Content-Length") or 0
        ):
            return self._chunks()
        return b""

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            self._left = 0
            while size := int(self.rfile.readline().split(b";")[0], 16):
                while size and (part := self.rfile.read(min(size, _CHUNK))):
                    size -= len(part)
                    yield part
                self.rfile.readline()
            self.rfile.readline()
            return
        self._left = int(self.headers.get("Content-Length") or 0)
        while self._left and (part := self.rfile.read(min(self._left, _CHUNK))):
            self._left -= len(part)
            yield part

    def _body(self) -> bytes:
        return b"".join(self._chunks())

    def _drain(self) -> None:
        """Read what nobody has read of the request, so that the next one of the connection begins where it does."""
        left = int(self.headers.get("Content-Length") or 0) if self._left is None else self._left
        chunked = self._left is None and self.headers.get("Transfer-Encoding")
        if chunked or left > _DRAINED:
            self.close_connection = True
        elif left:
            self.rfile.read(left)

    def _answer(self, answer: Answer) -> None:
        if answer.document is None:
            self._send(answer.status, b"", answer.headers)
        else:
            data = json.dumps(answer.document).encode()
            self._send(answer.status, data, {"Content-Type": "application/json", **answer.headers})

    def _refuse(self, refusal: RefusedError, headers: Mapping[str, str]) -> None:
        document = {"errors": [{"code": refusal.code, "message": refusal.message}]}
        self._send(
            refusal.status,
            json.dumps(document).encode(),
            {"Content-Type": "application/json; charset=utf-8", **headers},
        )

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self._head(status, headers, len(data))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _head(self, status: int, headers: Mapping[str, str], length: int) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "x-request-id", "set-cookie"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.send_header("X-Request-Id", self.request_id)
        self.send_header("Set-Cookie", f"sid={uuid.uuid4().hex}; Path=/; HttpOnly")
        self.end_headers()

    def finish(self) -> None:
        super().finish()
        # The thread ends with its connection.
        self.harbor.backend().close()

    def log_message(self, *_arguments: Any) -> None:
        pass


for _method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler._serve)


@contextmanager
def stand_in(registry: str, **options: Any) -> Iterator[StandIn]:
    """Run a stand-in in front of a registry that runs, a host with its port; options are those of `StandIn`."""
    harbor = StandIn(registry, **options)
    try:
        yield harbor
    finally:
        harbor.close()


@contextmanager
def running_harbor(directory: Path, **options: Any) -> Iterator[StandIn]:
    """Run a registry with its storage in ``directory``, and a stand-in in front of it."""
    from registries import find_program, running

    version = next((each for each in ("3", "2.8") if find_program(each)), "3")
    with running(version, directory) as registry, stand_in(registry.host, **options) as harbor:
        yield harbor


def main() -> None:
    """Run until a signal comes; the first line of the output is a JSON object with ``url`` and ``host``."""
    parser = argparse.ArgumentParser(prog="harbor.server")
    parser.add_argument("--directory", type=Path, required=True, help="storage of the registry")
    parser.add_argument("--address", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="", help="as references name it; by default address and port")
    parser.add_argument("--project", action="append", default=[], help="a project to begin with; repeatable")
    parser.add_argument("--webhook", default="", help="where pushes to these projects are told")
    parser.add_argument("--payload", default="CloudEvents", choices=("CloudEvents", "Default"))
    parser.add_argument("--copies", type=int, nargs=2, default=(1, 1), metavar=("LEAST", "MOST"))
    parser.add_argument("--shuffle-seconds", type=float, default=0.0)
    parser.add_argument("--lost", type=float, default=0.0, help="share of events that is never sent")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    manner = Manner(tuple(chosen.copies), chosen.shuffle_seconds, chosen.lost, chosen.seed)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    options = {"address": chosen.address, "port": chosen.port, "host": chosen.host, "manner": manner}
    password = os.environ.get("HARBOR_ADMIN_PASSWORD", "Harbor12345")
    with running_harbor(chosen.directory, admin_password=password, **options) as harbor:
        for project in chosen.project:
            harbor.make_project(project)
            if chosen.webhook:
                authorization = os.environ.get("HARBOR_WEBHOOK_AUTHORIZATION", "")
                harbor.make_policy(project, chosen.webhook, authorization=authorization, payload=chosen.payload)
        sys.stdout.write(json.dumps({"url": harbor.url, "host": harbor.host, "registry": harbor.registry}) + "\n")
        sys.stdout.flush()
        stopped.wait()


if __name__ == "__main__":
    main()
