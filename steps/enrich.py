"""Write the signature that an artifact's layer tells into its config: a new manifest over the same layer.

    >>> enrich(parse_reference("harbor.example/vision/resnet:v1"), Stores())  # doctest: +SKIP

Kilobytes move, whatever the size of the model. The result is a function of the manifest that was read: who is stopped
anywhere and starts again arrives at the same digest. What does not belong here: how a signature is read
(`klever.steps.inspect`), how a local model is published.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from klever.steps.artifact import DERIVED_FROM, EXTRACTED_FROM, StoredArtifact, find_manifest, load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, carry_over
from klever.steps.errors import NotFoundError, at_stage
from klever.steps.formats.table import load_format
from klever.steps.inspect import extract_artifact
from klever.steps.model.metadata import Metadata
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.layer import LayerFiles
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store
from klever.steps.recognise import MODEL_FOLDER, ORMBFILE
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, unwatched


@dataclass(frozen=True)
class Enriched:
    """An artifact whose config holds the signature of its layer."""

    #: Pinned to the digest of the manifest that holds it.
    reference: Reference
    descriptor: Descriptor
    metadata: Metadata
    #: Whether it is another manifest than the one that the reference meant.
    changed: bool
    #: Whether the tag points at it now, and did not before.
    moved: bool
    notes: tuple[str, ...] = ()


def enrich(
    reference: Reference,
    stores: Stores,
    *,
    format_id: str | None = None,
    repack: bool = False,
    watch: Watch = unwatched,
) -> Enriched:
    """Read the signature of an artifact from its layer, in place, and write it into a new config and manifest.

    Every other field and annotation is kept; certificates and records of conversions hang on the new manifest too. The
    tag moves to it where it still points at the manifest that was read; else it is left, and a note says so. A
    reference without a tag gets an untagged manifest. What carries the signature of its layer already is left as it is.
    ``repack`` makes a new layer of one that holds an ``ormbfile.yaml`` beside ``model/``, for tools that would read
    that one instead of the config. Raises a `ModelError` and what stores raise; in each case the tag is as it was.
    """
    format_id = load_format(format_id).id if format_id else None
    store = stores.open(reference)
    try:
        artifact = load_artifact(store, reference)
    except NotFoundError:
        if (derived := _find_derived(store, reference)) is None:
            raise
        return Enriched(derived.reference, derived.descriptor, derived.metadata, changed=True, moved=True)
    if repack and ORMBFILE in (strays := _strays(store, artifact)):
        return _write(store, reference, artifact, _repack(artifact, strays, stores, format_id, watch))
    if _carries_signature(artifact) and format_id in (None, artifact.metadata.format):
        return _unchanged(artifact)
    extraction = extract_artifact(store, artifact, format_id=format_id)
    if _is_extracted(artifact) and extraction.metadata.to_json() == artifact.metadata.to_json():
        return _unchanged(artifact, extraction.notes)
    return _write(store, reference, artifact, _Made(artifact.manifest.layer, *extraction))


class _Made(NamedTuple):
    """A layer that is in the store, and the metadata that belong to it."""

    layer: Descriptor
    metadata: Metadata
    notes: tuple[str, ...] = ()


def _find_derived(store: Store, reference: Reference) -> StoredArtifact | None:
    """Return what the tag points at where it was made from the very digest that the store no longer has.

    A layout forgets a manifest without a tag: an extraction that is begun again after it was done finds its result.
    """
    if reference.digest is None or reference.tag is None:
        return None
    try:
        artifact = load_artifact(store, replace(reference, digest=None))
    except NotFoundError:
        return None
    derived = artifact.manifest.annotations.get(DERIVED_FROM) == reference.digest and _is_extracted(artifact)
    return artifact if derived else None


def _is_extracted(artifact: StoredArtifact) -> bool:
    """Say whether its config was written from this very layer."""
    return artifact.manifest.annotations.get(EXTRACTED_FROM) == artifact.manifest.layer.digest


def _carries_signature(artifact: StoredArtifact) -> bool:
    return _is_extracted(artifact) and artifact.metadata.signature is not None


def _unchanged(artifact: StoredArtifact, notes: tuple[str, ...] = ()) -> Enriched:
    return Enriched(artifact.reference, artifact.descriptor, artifact.metadata, changed=False, moved=False, notes=notes)


def _strays(store: Store, artifact: StoredArtifact) -> tuple[str, ...]:
    with at_stage("read"), LayerFiles(store, artifact.reference.repository, artifact.manifest.layer) as files:
        return files.strays


def _repack(
    artifact: StoredArtifact, strays: tuple[str, ...], stores: Stores, format_id: str | None, watch: Watch
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

    store, repository = stores.open(artifact.reference), artifact.reference.repository
    with scratch_directory("klever-repack") as scratch:
        fetch(artifact.reference, scratch / "package", stores, watch=watch)
        files = LocalFiles.below(scratch / "package" / MODEL_FOLDER)
        form, claim = choose(files, format_id or artifact.metadata.format)
        extraction = extract(Model(files, form, claim, artifact.metadata))
        archive = Archive(package_members(files, claim))
        with at_stage("push"):
            layer, metadata, notes = put_layer(store, repository, archive, extraction, watch)
    if others := [path for path in strays if path != ORMBFILE]:
        notes = (*notes, f"left out, as they are not below {MODEL_FOLDER}/: {', '.join(others[:10])}")
    return _Made(layer, metadata, notes)


def _write(store: Store, reference: Reference, artifact: StoredArtifact, made: _Made) -> Enriched:
    """Put config, attachments and manifest into the store, what is visible last."""
    old, read = artifact.manifest, artifact.descriptor.digest
    config = made.metadata.to_config()
    described = Descriptor.of(config, media.CONFIG)
    annotations = {**old.annotations, EXTRACTED_FROM: made.layer.digest, DERIVED_FROM: read}
    manifest = build_manifest(
        described.annotated(old.config.annotations), made.layer, annotations, old.subject, old.artifact_type
    )
    descriptor = Descriptor.of(manifest, media.MANIFEST)
    repository = reference.repository
    # Certificates are about the bytes of a layer; what was converted before is known by those bytes.
    kinds = (CERTIFICATE, CONVERSION) if made.layer.digest == old.layer.digest else ()
    with at_stage("push"):
        store.put_blob(repository, lambda: (config,), expected=described)
        carry_over(store, artifact.reference, descriptor, kinds)
        tag, notes = _movable_tag(store, reference, read, descriptor.digest)
        store.put_manifest(repository, manifest, media.MANIFEST, tag=tag)
    return Enriched(
        reference.pinned(descriptor.digest),
        descriptor,
        made.metadata,
        changed=True,
        moved=tag is not None,
        notes=(*made.notes, *notes),
    )


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
