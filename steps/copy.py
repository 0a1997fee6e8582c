"""Copy an artifact between stores: manifest and blobs as they are, byte for byte."""

from functools import partial

from klever.steps.artifact import find_manifest
from klever.steps.errors import ManifestError, at_stage
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import check_media_type, children_of, is_index, load_document
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store, StoredManifest
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, try_again, unwatched


def copy(source: Reference, target: Reference, stores: Stores, *, watch: Watch = unwatched) -> Reference:
    """Copy ``source`` to ``target`` and return the target pinned to its digest, which is the source's.

    Blobs that the target has are not sent; between repositories of one registry they are mounted.
    """
    from_store, to_store = stores.open(source), stores.open(target)
    with at_stage("copy"):
        stored = find_manifest(from_store, source)
        _copy_manifest(stored, from_store, source, to_store, target, target.tag, watch)
        return target.pinned(stored.descriptor.digest)


def _copy_manifest(
    stored: StoredManifest,
    from_store: Store,
    source: Reference,
    to_store: Store,
    target: Reference,
    tag: str | None,
    watch: Watch,
) -> None:
    document = load_document(stored.data, f"the manifest of {source}")
    check_media_type(document, stored.descriptor.media_type)
    for child in children_of(document):
        if is_index(document):
            manifest = from_store.get_manifest(source.repository, child.digest)
            _copy_manifest(manifest, from_store, source, to_store, target, None, watch)
        else:
            _copy_blob(child, from_store, source, to_store, target, watch)
    to_store.put_manifest(target.repository, stored.data, stored.descriptor.media_type, tag=tag)


def _copy_blob(
    descriptor: Descriptor,
    from_store: Store,
    source: Reference,
    to_store: Store,
    target: Reference,
    watch: Watch,
) -> None:
    if to_store.has_blob(target.repository, descriptor.digest):
        return
    if from_store is to_store and to_store.mount_blob(target.repository, descriptor, source.repository):
        return

    def transfer() -> Descriptor:
        with watch("copy", descriptor.size) as progress:
            chunks = partial(from_store.get_blob, source.repository, descriptor)
            return to_store.put_blob(target.repository, chunks, expected=descriptor, progress=progress)

    stored = try_again(transfer)
    if stored.digest != descriptor.digest:
        raise ManifestError(f"{descriptor.digest} arrived as {stored.digest}")
