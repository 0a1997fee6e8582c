"""List the models in a store: every version with what its config says."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.errors import (
    ManifestError,
    MetadataError,
    NotFoundError,
    PermanentError,
    RegistryRefusedError,
    UnauthorizedError,
    at_stage,
)
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store
from klever.steps.stores import Stores

#: Requests under way at once; a listing is two small requests a version.
_PARALLEL = 8
_BATCH = 64


def list_models(place: Reference, prefix: str, stores: Stores) -> Iterator[StoredArtifact]:
    """Yield the artifacts of a place whose ``repository:tag`` begins with ``prefix``, ordered by name and tag.

    ``place`` tells the store. What is no ORMB artifact, and what vanishes meanwhile, is passed over.
    """
    store = stores.open(place)
    with at_stage("list"), ThreadPoolExecutor(_PARALLEL) as threads:
        versions = _versions(store, place, prefix)
        while batch := list(islice(versions, _BATCH)):
            for artifact in threads.map(lambda version: _load(store, version), batch):
                if artifact is not None:
                    yield artifact


def _versions(store: Store, place: Reference, prefix: str) -> Iterator[Reference]:
    name, _, _ = prefix.partition(":")
    for repository in _repositories(store, place, name):
        try:
            for tag in store.tags(repository):
                if f"{repository}:{tag}".startswith(prefix):
                    yield replace(place, repository=repository, tag=tag, digest=None)
        except NotFoundError:
            continue


def _repositories(store: Store, place: Reference, prefix: str) -> Iterator[str]:
    try:
        yield from store.repositories(prefix)
    except NotFoundError:
        # The laptop's own store is made by the first publication; before that it is empty, not missing.
        if place.host or place.layout is not None:
            raise
    except (UnauthorizedError, RegistryRefusedError):
        # Many registries list their repositories for administrators only; one that is named needs no list.
        if not _is_repository(store, prefix):
            raise
        yield prefix


def _is_repository(store: Store, name: str) -> bool:
    try:
        return next(iter(store.tags(name)), None) is not None
    except PermanentError:
        return False


def _load(store: Store, version: Reference) -> StoredArtifact | None:
    try:
        return load_artifact(store, version)
    except (ManifestError, MetadataError, NotFoundError):
        return None
