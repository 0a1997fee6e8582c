"""Write the signature that an artifact's layer tells into its config: a new manifest over the same layer.

    >>> enrich(parse_reference("harbor.example/vision/resnet:v1"), Stores())  # doctest: +SKIP

Kilobytes move, whatever the size of the model. The result is a function of the manifest that was read: who is stopped
anywhere and starts again arrives at the same digest. What does not belong here: how a signature is read
(`klever.steps.inspect`), how a local model is published.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from klever.steps.artifact import DERIVED_FROM, EXTRACTED_FROM, StoredArtifact, find_manifest, load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, Place, carry_over
from klever.steps.copy import copy, copy_blob
from klever.steps.errors import NotFoundError, at_stage
from klever.steps.formats.table import load_format
from klever.steps.inspect import extract_artifact
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Signature
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.layer import LayerFiles
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.retag import retag
from klever.steps.oci.store import Store
from klever.steps.recognise import MODEL_FOLDER, ORMBFILE
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, unwatched

#: What comes along with a layer.
_KINDS: Final = (CERTIFICATE, CONVERSION)
#: Tags that a note names.
_SHOWN_TAGS: Final = 10


@dataclass(frozen=True)
class Enriched:
    """An artifact whose config holds the signature of its layer."""

    #: Pinned to the digest of the manifest that holds it.
    reference: Reference
    descriptor: Descriptor
    metadata: Metadata
    #: Whether it is another manifest than the one that the reference meant.
    changed: bool
    #: Whether the tag that was meant points at it now, and did not before; of a reference without one, any tag.
    moved: bool
    notes: tuple[str, ...] = ()


def enrich(
    reference: Reference,
    stores: Stores,
    *,
    format_id: str | None = None,
    told: Signature | None = None,
    repack: bool = False,
    publish_as: Reference | None = None,
    all_tags: bool = False,
    watch: Watch = unwatched,
) -> Enriched:
    """Read the signature of an artifact from its layer, in place, and write it into a new config and manifest.

    Every other field and annotation is kept; certificates and records of conversions hang on the new manifest too. The
    tag moves to it where it still points at the manifest that was read; else it is left, and a note says so. A
    reference without a tag gets an untagged manifest. What carries the signature of its layer already is left as it is.

    ``told`` is the author's word for this extraction, joined with the file as that of an ``ormbfile.yaml``. ``repack``
    makes a new layer of one that holds an ``ormbfile.yaml`` beside ``model/``, for tools that would read that one
    instead of the config. ``publish_as`` is where the result goes, whatever is there, instead of to the tag of
    ``reference``; in another repository layer, certificates and records come with it. ``all_tags`` moves each other tag
    of the repository that points at the manifest that was read. Raises a `ModelError` and what stores raise; in each
    case the reference's own tag, or that of ``publish_as``, is as it was.
    """
    target = _elsewhere(reference, publish_as)
    store = stores.open(reference)
    to = stores.open(target) if target else store
    route = _Route(reference, store, target, to, stores, all_tags=all_tags, watch=watch)
    format_id = load_format(format_id).id if format_id else None
    try:
        artifact = load_artifact(store, reference, format_id=format_id)
    except NotFoundError:
        if (derived := _find_derived(store, reference, all_tags=all_tags)) is None:
            raise
        if target is None:
            return Enriched(derived.reference, derived.descriptor, derived.metadata, changed=True, moved=True)
        artifact = derived
    if repack and ORMBFILE in (strays := _strays(store, artifact)):
        return _write(route, artifact, _repack(route, artifact, strays, format_id, told))
    if told is None and _carries_signature(artifact) and format_id in (None, artifact.metadata.format):
        return _leave(route, artifact)
    extraction = extract_artifact(store, artifact, format_id=format_id, told=told)
    if _is_extracted(artifact) and extraction.metadata.to_json() == artifact.metadata.to_json():
        return _leave(route, artifact, extraction.notes)
    return _write(route, artifact, _Made(artifact.manifest.layer, *extraction))


@dataclass(frozen=True)
class _Route:
    """What is extracted, and where the result goes."""

    source: Reference
    source_store: Store
    #: Another place than the source's own tag.
    target: Reference | None
    #: Where the result goes.
    store: Store
    stores: Stores
    all_tags: bool
    watch: Watch

    @property
    def result(self) -> Reference:
        """What the result's reference is made from."""
        return self.target or self.source

    @property
    def other_repository(self) -> Place | None:
        """Where the result goes, if that is another repository than the source's."""
        if self.store is self.source_store and self.source.repository == self.result.repository:
            return None
        return Place(self.store, self.result.repository)


def _elsewhere(reference: Reference, publish_as: Reference | None) -> Reference | None:
    """Return where else the result goes than to the reference's own tag, if anywhere."""
    if publish_as is None:
        return None
    publish_as.check_destination()
    own = (reference.host, reference.layout, reference.repository, reference.new_tag)
    is_own = own == (publish_as.host, publish_as.layout, publish_as.repository, publish_as.new_tag)
    return None if is_own else publish_as


class _Made(NamedTuple):
    """A layer that is in the store, and the metadata that belong to it."""

    layer: Descriptor
    metadata: Metadata
    notes: tuple[str, ...] = ()


def _find_derived(store: Store, reference: Reference, *, all_tags: bool) -> StoredArtifact | None:
    """Return what a tag points at where it was made from the very digest that the store no longer has.

    A layout forgets a manifest without a tag: an extraction that is begun again after it was done finds its result.
    """
    if reference.digest is None:
        return None
    tags: tuple[str, ...] = (reference.tag,) if reference.tag else ()
    if all_tags and not tags:
        with suppress(NotFoundError):
            tags = tuple(store.tags(reference.repository))
    for tag in tags:
        with suppress(NotFoundError):
            artifact = load_artifact(store, replace(reference, tag=tag, digest=None))
            if artifact.manifest.annotations.get(DERIVED_FROM) == reference.digest and _is_extracted(artifact):
                return replace(artifact, reference=replace(artifact.reference, tag=reference.tag))
    return None


def _is_extracted(artifact: StoredArtifact) -> bool:
    """Say whether its config was written from this very layer."""
    return artifact.manifest.annotations.get(EXTRACTED_FROM) == artifact.manifest.layer.digest


def _carries_signature(artifact: StoredArtifact) -> bool:
    return _is_extracted(artifact) and artifact.metadata.signature is not None


def _leave(route: _Route, artifact: StoredArtifact, notes: tuple[str, ...] = ()) -> Enriched:
    """Return an artifact that says already what an extraction would write; it is copied to where else it is to go."""
    reference, target = artifact.reference, route.target
    if target is not None:
        if there := route.other_repository:
            with at_stage("push"):
                carry_over(route.source_store, artifact.reference, artifact.descriptor, _KINDS, to=there)
        reference = copy(reference, target, route.stores, watch=route.watch)
    return Enriched(
        reference, artifact.descriptor, artifact.metadata, changed=False, moved=target is not None, notes=notes
    )


def _strays(store: Store, artifact: StoredArtifact) -> tuple[str, ...]:
    with at_stage("read"), LayerFiles(store, artifact.reference.repository, artifact.manifest.layer) as files:
        return files.strays


def _repack(
    route: _Route, artifact: StoredArtifact, strays: tuple[str, ...], format_id: str | None, told: Signature | None
) -> _Made:
    """Put a layer of ``model/`` alone into the store, through the disk; returns it with what was read from it."""
    # What only this needs; an extraction as such is to start fast.
    from klever.steps.extract import extract
    from klever.steps.fetch import fetch
    from klever.steps.files import LocalFiles
    from klever.steps.oci.archive import Archive
    from klever.steps.oci.staging import scratch_directory
    from klever.steps.publish import package_members, put_layer
    from klever.steps.recognise import Model, choose

    store, stores, watch = route.store, route.stores, route.watch
    with scratch_directory("klever-repack") as scratch:
        fetch(artifact.reference, scratch / "package", stores, format_id=format_id, watch=watch)
        files = LocalFiles.below(scratch / "package" / MODEL_FOLDER)
        form, claim = choose(files, format_id or artifact.metadata.format)
        extraction = extract(Model(files, form, claim, artifact.metadata), told=told)
        archive = Archive(package_members(files, claim))
        with at_stage("push"):
            layer, metadata, notes = put_layer(store, route.result.repository, archive, extraction, watch)
    if others := [path for path in strays if path != ORMBFILE]:
        notes = (*notes, f"left out, as they are not below {MODEL_FOLDER}/: {', '.join(others[:10])}")
    return _Made(layer, metadata, notes)


def _write(route: _Route, artifact: StoredArtifact, made: _Made) -> Enriched:
    """Put layer, config, attachments and manifest where they go, what is visible last."""
    old, read = artifact.manifest, artifact.descriptor.digest
    config = made.metadata.to_config()
    described = Descriptor.of(config, media.CONFIG)
    annotations = {**old.annotations, EXTRACTED_FROM: made.layer.digest, DERIVED_FROM: read}
    manifest = build_manifest(
        described.annotated(old.config.annotations), made.layer, annotations, old.subject, old.artifact_type
    )
    descriptor = Descriptor.of(manifest, media.MANIFEST)
    result, store, there = route.result, route.store, route.other_repository
    # Certificates are about the bytes of a layer; what was converted before is known by those bytes.
    same_layer = made.layer.digest == old.layer.digest
    with at_stage("push"):
        if same_layer and there:
            copy_blob(made.layer, artifact.reference, result, route.stores, watch=route.watch)
        store.put_blob(result.repository, lambda: (config,), expected=described)
        carry_over(route.source_store, artifact.reference, descriptor, _KINDS if same_layer else (), to=there)
        if route.target is None:
            tags = _own_tags(route, manifest, descriptor, read)
        else:
            tags = _Tags(result.new_tag, moved=True)
        store.put_manifest(result.repository, manifest, media.MANIFEST, tag=tags.tag)
    return Enriched(
        result.pinned(descriptor.digest),
        descriptor,
        made.metadata,
        changed=True,
        moved=tags.moved,
        notes=(*made.notes, *tags.notes),
    )


class _Tags(NamedTuple):
    """The tag that the last writing gives, whether what was meant is moved, and what a person should know."""

    tag: str | None
    moved: bool
    notes: tuple[str, ...] = ()


def _own_tags(route: _Route, manifest: bytes, new: Descriptor, read: Digest) -> _Tags:
    """Move the other tags that are to be moved, and say whether the one that is meant may be.

    That one comes last: who is stopped before finds by it what was to be done.
    """
    reference, store = route.source, route.store
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if route.all_tags:
        others, notes = retag(store, reference.repository, manifest, new, read, but=reference.new_tag)
    if others:
        more = f" and {len(others) - _SHOWN_TAGS} more" if len(others) > _SHOWN_TAGS else ""
        notes = (f"moved to it as well: {', '.join(others[:_SHOWN_TAGS])}{more}", *notes)
    tag, told = _movable_tag(store, reference, read, new.digest)
    return _Tags(tag, tag is not None if reference.new_tag else bool(others), (*notes, *told))


def _movable_tag(store: Store, reference: Reference, read: Digest, new: Digest) -> tuple[str | None, tuple[str, ...]]:
    """Return the tag if it points at the manifest that was read; else None and a note."""
    tag = reference.new_tag
    if tag is None:
        return None, ()
    try:
        current = find_manifest(store, replace(reference, digest=None)).descriptor.digest
    except NotFoundError:
        return None, (f"the tag {tag} was removed meanwhile; the new manifest is {new}",)
    # A run that was stopped after its last write has moved it.
    if current in (read, new):
        return tag, ()
    note = f"the tag {tag} points at {current} and not at the {read} that was read, so it is left"
    return None, (f"{note}; the new manifest is {new}",)
