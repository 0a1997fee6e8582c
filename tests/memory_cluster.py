"""An API server in memory, behind the interface of `Cluster`: names, versions, generations, status, selectors, owners.

It refuses as the real one does where the controller counts on it. What does not belong here: schemas, rights, and what a
test against a real cluster can show.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOW_TEMPLATES, WORKFLOWS, Cluster, Resource
from klever.workflows.manifest import Document

#: Called with the method and the path of a request before anything happens; may raise.
Fault = Callable[[str, str], None]


def merged(document: Any, change: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(change, dict):
        return deepcopy(change)
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in change.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class MemoryCluster(Cluster):
    """Objects by their paths."""

    def __init__(self, namespace: str = "models") -> None:
        self.namespace = namespace
        self.objects: dict[str, Document] = {}
        #: (method, path) of every request.
        self.asked: list[tuple[str, str]] = []
        self.fault: Fault = lambda _method, _path: None
        self._version = 100

    def hurried(self, seconds: float) -> Cluster:
        return self

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Document:
        self._ask("GET", path)
        found = self.objects.get(path)
        if found is None:
            raise errors.ClusterObjectMissingError(f"{path} not found", stage="cluster")
        return deepcopy(found)

    def create(self, path: str, document: Document, query: Mapping[str, str] | None = None) -> Document:
        self._ask("POST", path)
        made = deepcopy(document)
        name = made["metadata"]["name"]
        if f"{path}/{name}" in self.objects:
            raise errors.NameTakenError(f"{name} already exists", stage="cluster")
        made["metadata"] |= {
            "namespace": path.split("/namespaces/")[1].split("/")[0],
            "uid": str(uuid4()),
            "generation": 1,
            "creationTimestamp": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        return self._store(f"{path}/{name}", made)

    def replace(self, path: str, document: Document) -> Document:
        self._ask("PUT", path)
        before = self._of_version(path, document)
        return self._store(path, merged({"metadata": before["metadata"]}, deepcopy(document)))

    def merge(self, path: str, change: Document) -> Document:
        status = path.endswith("/status")
        self._ask("PATCH", path)
        path = path.removesuffix("/status")
        before = self._of_version(path, change)
        if status:
            return self._store(path, before | {"status": merged(before.get("status"), change["status"])})
        after = merged(before, change)
        after["metadata"]["generation"] += after.get("spec") != before.get("spec")
        return self._store(path, after)

    def delete(
        self, path: str, query: Mapping[str, str] | None = None, *, only: Mapping[str, str] | None = None
    ) -> None:
        self._ask("DELETE", path)
        if path not in self.objects:
            raise errors.ClusterObjectMissingError(f"{path} not found", stage="cluster")
        metadata = self.objects[path]["metadata"]
        if any(metadata[key] != value for key, value in (only or {}).items()):
            raise errors.ConflictError("the preconditions do not hold", stage="cluster")
        del self.objects[path]
        for other, document in list(self.objects.items()):
            owners = document["metadata"].get("ownerReferences") or ()
            if any(owner["uid"] == metadata["uid"] for owner in owners):
                del self.objects[other]

    def list_all(self, path: str, query: Mapping[str, str] | None = None) -> tuple[list[Document], str]:
        return list(self.each(path, query)), str(self._version)

    def each(self, path: str, query: Mapping[str, str] | None = None, *, page: int = 500) -> Iterator[Document]:
        self._ask("GET", path)
        *_, plural = path.split("/")
        everywhere = "/namespaces/" not in path
        for place, document in list(self.objects.items()):
            above, _, _ = place.rpartition("/")
            inside = above.endswith(f"/{plural}") if everywhere else above == path
            if inside and _selects((query or {}).get("labelSelector", ""), document["metadata"].get("labels") or {}):
                yield deepcopy(document)

    # What the tests do beside the controller.

    def put(self, kind: Resource, document: Document, **metadata: Any) -> Document:
        """Make an object as somebody else does, with what its metadata is to be."""
        path = kind.path(document["metadata"].get("namespace") or self.namespace)
        made = self.create(path, document)
        self.objects[f"{path}/{made['metadata']['name']}"]["metadata"] |= metadata
        self.asked.clear()
        return deepcopy(self.objects[f"{path}/{made['metadata']['name']}"])

    def template(self, name: str, *parameters: str) -> None:
        """Make a WorkflowTemplate with these parameters, all of which have a default."""
        declared = [{"name": each, "value": ""} for each in parameters]
        spec = {"arguments": {"parameters": declared}}
        self.put(WORKFLOW_TEMPLATES, {"metadata": {"name": name}, "spec": spec})

    def workflows(self) -> list[Document]:
        """Return all Workflows."""
        return [deepcopy(each) for path, each in self.objects.items() if f"/{WORKFLOWS.plural}/" in path]

    def all_of(self, kind: Resource) -> list[Document]:
        """Return all objects of a kind."""
        return [deepcopy(each) for path, each in self.objects.items() if f"/{kind.plural}/" in path]

    def _ask(self, method: str, path: str) -> None:
        self.asked.append((method, path))
        self.fault(method, path)

    def _of_version(self, path: str, document: Document) -> Document:
        if path not in self.objects:
            raise errors.ClusterObjectMissingError(f"{path} not found", stage="cluster")
        before = self.objects[path]
        version = (document.get("metadata") or {}).get("resourceVersion")
        if version not in (None, before["metadata"]["resourceVersion"]):
            raise errors.ConflictError("the object has been modified", stage="cluster")
        return before

    def _store(self, path: str, document: Document) -> Document:
        self._version += 1
        document["metadata"] = document["metadata"] | {"resourceVersion": str(self._version)}
        self.objects[path] = document
        return deepcopy(document)


def _selects(selector: str, labels: Mapping[str, str]) -> bool:
    for part in filter(None, selector.split(",")):
        if "!=" in part:
            name, _, value = part.partition("!=")
            if labels.get(name) == value:
                return False
        elif "=" in part:
            name, _, value = part.partition("=")
            if labels.get(name) != value:
                return False
        elif part not in labels:
            return False
    return True
