"""Bring objects of a cluster to what documents say, and tell what that changes: server-side apply, and the same dry.

    >>> list(apply(cluster, documents))  # doctest: +SKIP
    [Change(kind='WorkflowTemplate', name='klever-extract', namespace='models', result='configured', ...)]

What does not belong here: what the documents are.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from klever.workflows.argo.client import Cluster, Resource
from klever.workflows.argo.errors import ClusterObjectMissingError, ConflictError
from klever.workflows.manifest import Document

#: Who sets the fields, in the server's book of who set which.
FIELD_MANAGER: Final = "klever"
#: Kind to where the API has it.
_RESOURCES: Final = {
    "WorkflowTemplate": Resource("argoproj.io", "workflowtemplates"),
    "ServiceAccount": Resource("", "serviceaccounts", "v1"),
    "Secret": Resource("", "secrets", "v1"),
    "Role": Resource("rbac.authorization.k8s.io", "roles", "v1"),
    "RoleBinding": Resource("rbac.authorization.k8s.io", "rolebindings", "v1"),
}
#: What the server, and tools other than this one, keep in an object's metadata.
_OF_THE_SERVER: Final = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_OF_KUBECTL: Final = "kubectl.kubernetes.io/last-applied-configuration"
#: The schemas of Argo's objects as the cluster has them; whoever is logged in may read them.
_SCHEMAS: Final = "/openapi/v3/apis/argoproj.io/v1alpha1"

CREATED, CONFIGURED, UNCHANGED = "created", "configured", "unchanged"


@dataclass(frozen=True)
class Change:
    """What happened, or would, to one object; both documents are without fields of the server's own."""

    kind: str
    name: str
    namespace: str
    result: str
    #: None where the object was not there.
    before: Document | None
    after: Document


def apply(
    cluster: Cluster, documents: Iterable[Document], *, dry_run: bool = False, force: bool = False
) -> Iterator[Change]:
    """Apply documents one after another, those without a namespace to the cluster's; ``dry_run`` only asks.

    ``force`` takes fields over that somebody else has set otherwise; else `ConflictError` is raised. Raises the errors
    of `klever.workflows.argo.errors`; what was yielded before is done.
    """
    for document in documents:
        kind, metadata = document["kind"], document["metadata"]
        namespace = metadata.get("namespace") or cluster.namespace
        path = _RESOURCES[kind].path(namespace, metadata["name"])
        try:
            before: Document | None = cluster.get(path)
        except ClusterObjectMissingError:
            before = None
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        wanted = document | {"metadata": metadata | {"namespace": namespace}}
        try:
            after = cluster.apply(path, wanted, query | ({"force": "true"} if force else {}))
        except ConflictError as error:
            error.next_step = "look at what differs with klever templates diff --force, then apply with --force"
            raise
        was, is_now = own_fields(before) if before else None, own_fields(after)
        result = CREATED if was is None else UNCHANGED if was == is_now else CONFIGURED
        yield Change(kind, metadata["name"], namespace, result, was, is_now)


def own_fields(document: Document) -> Document:
    """Return an object without what the server keeps in it, and without the data of a secret."""
    rest = {key: value for key, value in document.items() if key != "status"}
    metadata = {key: value for key, value in document["metadata"].items() if key not in _OF_THE_SERVER}
    if annotations := {key: value for key, value in metadata.pop("annotations", {}).items() if key != _OF_KUBECTL}:
        metadata["annotations"] = annotations
    if document.get("kind") == "Secret":
        # Kubernetes writes the token and its account's id into it.
        rest.pop("data", None)
        annotations.pop("kubernetes.io/service-account.uid", None)
    return rest | {"metadata": metadata}


def argo_major(cluster: Cluster) -> str:
    """Return the major version of the Argo whose WorkflowTemplates the cluster knows, by their schema; "3" in doubt.

    Argo 3 requires a key in the cache of a memoized template and Argo 4 knows none; without a schema either will do.
    """
    try:
        schemas = cluster.get(_SCHEMAS).get("components", {}).get("schemas", {})
    except ClusterObjectMissingError:
        return "3"
    template: dict[str, Any] = next(
        (schema for name, schema in schemas.items() if name.endswith(".WorkflowTemplate")), {}
    )
    cache = _descend(template, "spec", "templates", "memoize", "cache", "configMap")
    return "4" if cache and "key" not in cache else "3"


def _descend(schema: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the properties of what ``names`` lead to, through the items of lists; empty where the schema has none."""
    for name in names:
        schema = schema.get("properties", {}).get(name, {})
        schema = schema.get("items", schema)
    properties: dict[str, Any] = schema.get("properties", {})
    return properties
