"""Publish a local model: recognise, read, pack in one pass, push.

    >>> publish(Path("resnet.onnx"), parse_reference("vision/resnet:v1"), Stores())  # doctest: +SKIP
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from klever.steps.artifact import EXTRACTED_FROM
from klever.steps.errors import StorageError, UnrecognisedFormatError, at_stage
from klever.steps.extract import extract
from klever.steps.files import LocalFiles
from klever.steps.formats.interface import Claim
from klever.steps.model.metadata import Metadata
from klever.steps.oci import media
from klever.steps.oci.archive import Member, Packing
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Progress, no_progress
from klever.steps.recognise import MODEL_FOLDER, recognise
from klever.steps.stores import Stores


class Watch(Protocol):
    """Makes a progress callback for a piece of work of so many bytes."""

    def __call__(self, label: str, total: int | None) -> AbstractContextManager[Progress]:
        """Begin to watch."""


def unwatched(_label: str, _total: int | None) -> AbstractContextManager[Progress]:
    """Watch nothing."""
    return nullcontext(no_progress)


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
    watch: Watch = unwatched,
) -> Published:
    """Publish the model at ``path`` as ``reference``.

    ``changes`` are fields of `Metadata` that the caller adds to what the author wrote. Nothing is visible under the
    reference before every blob is whole; a failure leaves at most blobs for garbage collection.
    """
    model = recognise(path, format_id=format_id)
    extraction = extract(model)
    members = package_members(model.files, model.claim)
    total = sum(member.size for member in members)
    store = stores.open(reference)
    packing = Packing(members)
    with at_stage("push"):
        with watch("publish", total) as progress:
            layer = store.put_blob(reference.repository, packing.chunks, progress=progress)
        layer = Descriptor(media.LAYER, layer.digest, layer.size, {media.LAYER_INDEX: packing.index.to_json()})
        metadata = extraction.metadata.changed(
            **{
                **(changes or {}),
                "size": layer.size,
                "created": _now(),
                "directory_structure": tuple(sorted(member.path for member in members)),
            }
        )
        config = metadata.to_config()
        config_descriptor = store.put_blob(
            reference.repository, lambda: (config,), expected=Descriptor.of(config, media.CONFIG)
        )
        manifest = build_manifest(
            Descriptor(media.CONFIG, config_descriptor.digest, config_descriptor.size),
            layer,
            {media.CREATED: str(metadata.created), EXTRACTED_FROM: layer.digest},
        )
        descriptor = store.put_manifest(reference.repository, manifest, media.MANIFEST, tag=reference.tag)
    return Published(reference.pinned(descriptor.digest), descriptor, metadata, extraction.notes)


def package_members(files: LocalFiles, claim: Claim) -> tuple[Member, ...]:
    """Return the archive's members: files that bear headers first, so that a stream may stop early."""
    order: Iterable[str] = dict.fromkeys((*claim.files, *files.sizes))
    members = []
    for name in order:
        path = f"{MODEL_FOLDER}/{claim.rename.get(name, name)}"
        if "\\" in path or not path.isprintable():
            raise UnrecognisedFormatError(
                f"the file name {name!r} cannot stand in an artifact", stage="pack", next_step="rename the file"
            )
        members.append(Member(path, files.sizes[name], files.paths[name]))
    return tuple(members)


def _now() -> str:
    """Return the time in RFC 3339, UTC; ``SOURCE_DATE_EPOCH`` makes a publication reproducible."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        moment = datetime.fromtimestamp(int(epoch), UTC) if epoch else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise StorageError("SOURCE_DATE_EPOCH is not a time in seconds", stage="pack") from None
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
