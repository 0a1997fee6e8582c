"""Copy an artifact between stores: manifest and blobs as they are, byte for byte."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

from klever.steps.artifact import find_manifest
from klever.steps.errors import InvalidReferenceError, ManifestError, at_stage
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.manifest import check_media_type, children_of, is_index, load_document
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store, StoredManifest
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, try_again, unwatched

#: Indexes within indexes; images for several platforms have one.
_MAX_DEPTH: Final = 8


def copy(source: Reference, target: Reference, stores: Stores, *, watch: Watch = unwatched) -> Reference:
    """Copy ``source`` to ``target`` and return the target pinned to its digest, which is the source's.

    Blobs that the target has are not sent; between repositories of one registry they are mounted.
    """
    from_store, to_store = stores.open(source), stores.open(target)
    with at_stage("copy"):
        stored = find_manifest(from_store, source)
        if target.digest not in (None, stored.descriptor.digest):
            raise InvalidReferenceError(
                f"{target} names another digest than the {stored.descriptor.digest} of {source}",
                next_step="leave out the target's digest: a copy keeps that of its source",
            )
        _copy_manifest(stored, _Route(from_store, source, to_store, target, watch), target.new_tag)
        return target.pinned(stored.descriptor.digest)


def copy_blob(
    descriptor: Descriptor, source: Reference, target: Reference, stores: Stores, *, watch: Watch = unwatched
) -> None:
    """Make a blob of the repository of ``source`` appear in that of ``target``: it is there, mounted or sent."""
    _copy_blob(descriptor, _Route(stores.open(source), source, stores.open(target), target, watch))


@dataclass
class _Route:
    """From where to where, and what has gone that way: an index may name one manifest many times over."""

    from_store: Store
    source: Reference
    to_store: Store
    target: Reference
    watch: Watch
    copied: set[Digest] = field(default_factory=set)


def _copy_manifest(stored: StoredManifest, route: _Route, tag: str | None, depth: int = 0) -> None:
    if depth > _MAX_DEPTH:
        raise ManifestError(f"the indexes of {route.source} are nested deeper than {_MAX_DEPTH}")
    document = load_document(stored.data, f"the manifest of {route.source}")
    check_media_type(document, stored.descriptor.media_type)
    for child in children_of(document):
        if child.digest in route.copied:
            continue
        if is_index(document):
            manifest = route.from_store.get_manifest(route.source.repository, child.digest)
            _copy_manifest(manifest, route, None, depth + 1)
        else:
            _copy_blob(child, route)
        route.copied.add(child.digest)
    route.to_store.put_manifest(route.target.repository, stored.data, stored.descriptor.media_type, tag=tag)


def _copy_blob(descriptor: Descriptor, route: _Route) -> None:
    from_store, source, to_store, target = route.from_store, route.source, route.to_store, route.target
    if to_store.has_blob(target.repository, descriptor.digest):
        return
    if from_store is to_store and to_store.mount_blob(target.repository, descriptor, source.repository):
        return

    def transfer() -> Descriptor:
        with route.watch("copy", descriptor.size) as progress:
            chunks = partial(from_store.get_blob, source.repository, descriptor)
            return to_store.put_blob(target.repository, chunks, expected=descriptor, progress=progress)

    stored = try_again(transfer)
    if stored.digest != descriptor.digest:
        raise ManifestError(f"{descriptor.digest} arrived as {stored.digest}")
