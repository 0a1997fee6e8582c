"""Publish a local model: recognise, read, pack in one pass, push.

>>> publish(Path("resnet.onnx"), parse_reference("vision/resnet:v1"), Stores())  # doctest: +SKIP
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from klever.steps.artifact import EXTRACTED_FROM
from klever.steps.errors import ArchiveError, MetadataError, UnrecognisedFormatError, at_stage
from klever.steps.extract import Extraction, extract
from klever.steps.files import LocalFiles
from klever.steps.formats.interface import Claim
from klever.steps.model.metadata import Metadata
from klever.steps.oci import media
from klever.steps.oci.archive import Archive, PackMember
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.hashing import Hasher
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store
from klever.steps.recognise import MODEL_FOLDER, Model, recognise
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, unwatched


@dataclass(frozen=True)
class Published:
    """What was published: the reference pinned to its digest, the metadata as pushed."""

    reference: Reference
    descriptor: Descriptor
    metadata: Metadata
    notes: tuple[str, ...] = field(default=())


def publish(
    path: Path,
    reference: Reference,
    stores: Stores,
    *,
    format_id: str | None = None,
    changes: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    watch: Watch = unwatched,
) -> Published:
    """Publish the model at ``path`` as ``reference``.

    ``changes`` are fields of `Metadata` that the caller adds to what the author wrote, ``annotations`` stand on the
    manifest beside our own. Nothing is visible under the
    reference before every blob is whole; a failure leaves at most blobs for garbage collection.
    """
    reference.check_destination()
    model = recognise(path, format_id=format_id)
    extraction = extract(model)
    members = package_members(model.files, model.claim)
    store = stores.open(reference)
    try:
        archive = Archive(members)
    except ArchiveError as error:
        raise ArchiveError(error.cause, stage="pack", next_step="rename or move the file, then publish again") from None
    with at_stage("push"):
        layer, metadata, notes = put_layer(store, reference.repository, archive, extraction, watch)
        metadata = metadata.changed(**{**(changes or {}), "created": _now()})
        config = metadata.to_config()
        described = Descriptor.of(config, media.CONFIG)
        store.put_blob(reference.repository, lambda: (config,), expected=described)
        manifest = build_manifest(
            described,
            layer,
            {**(annotations or {}), media.CREATED: str(metadata.created), EXTRACTED_FROM: layer.digest},
        )
        descriptor = store.put_manifest(reference.repository, manifest, media.MANIFEST, tag=reference.new_tag)
    return Published(reference.pinned(descriptor.digest), descriptor, metadata, notes)


def digest_of_package(model: Model[LocalFiles]) -> Digest:
    """Return the digest that the layer of a model has when it is published; nothing is stored."""
    with at_stage("pack"), Hasher() as hashed:
        for chunk in Archive(package_members(model.files, model.claim)).chunks():
            hashed.update(chunk)
        return hashed.digest()


def put_layer(
    store: Store, repository: str, archive: Archive, extraction: Extraction, watch: Watch
) -> tuple[Descriptor, Metadata, tuple[str, ...]]:
    """Put an archive into the store; returns its descriptor with its index, and metadata and notes that fit it."""
    with watch("publish", archive.size) as progress:
        layer = store.put_blob(repository, archive.chunks, progress=progress)
    layer = replace(layer, media_type=media.LAYER).annotated({media.LAYER_INDEX: archive.index.to_annotation()})
    metadata, notes = without_foreign_certificate(extraction, layer.digest)
    paths = tuple(sorted(member.path for member in archive.members))
    return layer, metadata.changed(size=layer.size, directory_structure=paths), notes


def package_members(files: LocalFiles, claim: Claim) -> tuple[PackMember, ...]:
    """Return the archive's members: files that bear headers first, so that a stream may stop early."""
    order: Iterable[str] = dict.fromkeys((*claim.files, *files.sizes))
    members = []
    for name in order:
        path = f"{MODEL_FOLDER}/{claim.rename.get(name, name)}"
        if "\\" in path or not path.isprintable():
            raise UnrecognisedFormatError(
                f"the file name {name!r} cannot stand in an artifact",
                stage="pack",
                next_step="rename the file",
            )
        members.append(PackMember(path, files.sizes[name], partial(files.open, name)))
    return tuple(members)


def without_foreign_certificate(extraction: Extraction, digest: Digest) -> tuple[Metadata, tuple[str, ...]]:
    """Return metadata and notes, without a certificate that is about other bytes than those of the layer ``digest``."""
    certificate = extraction.metadata.certificate
    if certificate is None or certificate.result.digest == digest:
        return extraction.metadata, extraction.notes
    note = "the certificate in the metadata is about other bytes than these, and is left out"
    return extraction.metadata.changed(certificate=None), (*extraction.notes, note)


def _now() -> str:
    """Return the time in RFC 3339, UTC; ``SOURCE_DATE_EPOCH`` makes a publication reproducible."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise MetadataError(
            "SOURCE_DATE_EPOCH is not a time in seconds", stage="pack", next_step="correct the variable, or unset it"
        ) from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
