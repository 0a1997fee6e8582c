"""A Harbor with a registry behind it, models pushed as tools push them, and the cluster's jobs, kept in memory."""

import json
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakes import Exchange
from harbor.server import StandIn

from klever.api.harbor.client import Harbor
from klever.api.harbor.events import Push
from klever.steps.artifact import EXTRACTED_FROM, load_artifact
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.publish import publish
from klever.steps.stores import Stores

ADMIN = Credentials("admin", "Harbor12345")


@dataclass
class Site:
    """A Harbor with the project ``release``, and what people do to it."""

    stand_in: StandIn
    registry: RegistryStore
    harbor: Harbor

    @property
    def host(self) -> str:
        return self.stand_in.host

    def publish(self, package: Path, name: str) -> Push:
        """Publish as ``klever publish`` does; ``name`` is ``PROJECT/NAME:TAG``."""
        reference = self.reference(name)
        stores = Stores(plain_http=True)
        stores._open[self.host, None] = self.registry
        published = publish(package, reference, stores)
        return self.push_of(reference, published.descriptor)

    def publish_unread(self, package: Path, name: str) -> Push:
        """Push as a tool does that reads no signature."""
        self.publish(package, f"{name}-read")
        artifact = load_artifact(self.registry, self.reference(f"{name}-read"))
        config = artifact.metadata.changed(signature=None).to_config()
        annotations = {k: v for k, v in artifact.manifest.annotations.items() if k != EXTRACTED_FROM}
        pushed = self.put(name, config, artifact.manifest.layer, annotations)
        self.stand_in.inventory.delete_artifact(
            self.stand_in.inventory.artifact(pushed.repository, artifact.descriptor.digest)
        )
        return pushed

    def put(self, name: str, config: bytes, layer: Descriptor, annotations: dict[str, str] | None = None) -> Push:
        """Push a manifest of a model over a layer that is there."""
        reference = self.reference(name)
        self.registry.put_blob(reference.repository, lambda: (config,))
        described = Descriptor.of(config, media.CONFIG)
        return self.put_manifest(name, build_manifest(described, layer, annotations))

    def put_manifest(self, name: str, manifest: bytes, kind: str = media.MANIFEST) -> Push:
        reference = self.reference(name)
        return self.push_of(
            reference, self.registry.put_manifest(reference.repository, manifest, kind, tag=reference.tag)
        )

    def tag(self, push: Push, tag: str) -> Push:
        """Put a tag on what was pushed, by pushing it again."""
        stored = self.registry.get_manifest(push.repository, push.digest)
        self.registry.put_manifest(push.repository, stored.data, stored.descriptor.media_type, tag=tag)
        return replace(push, tag=tag)

    def reference(self, name: str) -> Reference:
        repository, _, tag = name.partition(":")
        return Reference(self.host, repository, tag or None)

    def push_of(self, reference: Reference, descriptor: Descriptor) -> Push:
        project = reference.repository.partition("/")[0]
        return Push(project, reference.repository, descriptor.digest, reference.tag, "admin")


@dataclass
class Jobs:
    """An API server that keeps ModelJobs, and nothing else."""

    kept: dict[str, dict[str, Any]] = field(default_factory=dict)
    #: Namespaces in which nothing may be done.
    forbidden: set[str] = field(default_factory=set)
    #: Methods that find the API server away.
    away: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def names(self) -> list[str]:
        return [path.rpartition("/")[2] for path in self.kept]

    @property
    def documents(self) -> list[dict[str, Any]]:
        return list(self.kept.values())

    def finish(self, phase: str = "Succeeded") -> None:
        """End every job."""
        for document in self.kept.values():
            document["status"] = {"phase": phase}

    def answer(self, exchange: Exchange) -> None:
        body = exchange.body()
        with self._lock:
            self.requests.append(f"{exchange.command} {exchange.path_only}")
            status, document = self._answer(exchange, body)
        exchange.reply(status, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _answer(self, exchange: Exchange, body: bytes) -> tuple[int, dict[str, Any]]:
        path = exchange.path_only
        if exchange.command in self.away:
            return 503, _status(503, "ServiceUnavailable", "away")
        if path.split("/namespaces/")[1].split("/")[0] in self.forbidden:
            return 403, _status(403, "Forbidden", "modeljobs.kleveross.io is forbidden: not here")
        if exchange.command == "POST":
            document = json.loads(body)
            name = f"{path}/{document['metadata']['name']}"
            if name in self.kept:
                return 409, _status(409, "AlreadyExists", "it exists")
            self.kept[name] = document
            return 201, document
        if path in self.kept:
            return 200, self.kept[path]
        if path.endswith("/modeljobs"):
            return 200, {"items": [one for name, one in self.kept.items() if name.startswith(path)], "metadata": {}}
        return 404, _status(404, "NotFound", "none", details={"name": path.rpartition("/")[2]})


def _status(code: int, reason: str, message: str, **more: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "reason": reason, "message": message, **more}
