"""An ORMB artifact as it lies in a store: its manifest joined with the metadata in its config."""

from dataclasses import dataclass
from typing import Final

from klever.steps.errors import ManifestError, NotFoundError, at_stage
from klever.steps.model.metadata import MAX_CONFIG_BYTES, Metadata
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import Artifact, parse_manifest
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store, StoredManifest

#: On a manifest: the digest of the layer whose bytes the config's signature was read from.
EXTRACTED_FROM: Final = "kleveross.io/extracted-from"
#: On a manifest: the digest of the manifest that it was made from, whose metadata it carries on.
DERIVED_FROM: Final = "kleveross.io/derived-from"


@dataclass(frozen=True)
class StoredArtifact:
    """One version of a model: where it is, pinned to its digest, and what is known of it."""

    reference: Reference
    #: The manifest's own descriptor.
    descriptor: Descriptor
    manifest: Artifact
    metadata: Metadata

    @property
    def has_full_signature(self) -> bool:
        """Whether the config's signature was read from this layer, by us or by an extraction of Klever 0.2.

        The latter left no annotation, and counts of layers that no author writes.
        """
        signature, extracted_from = self.metadata.signature, self.manifest.annotations.get(EXTRACTED_FROM)
        if signature is None or extracted_from is None:
            return signature is not None and bool(signature.layers)
        return extracted_from == self.manifest.layer.digest


def load_artifact(store: Store, reference: Reference, *, format_id: str | None = None) -> StoredArtifact:
    """Load manifest and metadata; raises `NotFoundError`, `ManifestError` or `MetadataError`.

    ``format_id`` is the format of a model whose config does not say any.
    """
    with at_stage("pull"):
        stored = find_manifest(store, reference)
        manifest = parse_manifest(stored.data, stored.descriptor.media_type)
        config = read_blob(store, reference.repository, manifest.config, MAX_CONFIG_BYTES)
        metadata = Metadata.from_config(config, f"the config of {reference}", format_id=format_id)
        return StoredArtifact(reference.pinned(stored.descriptor.digest), stored.descriptor, manifest, metadata)


def find_manifest(store: Store, reference: Reference) -> StoredManifest:
    """Return the manifest that a reference means; a `NotFoundError` names the reference and where to look."""
    try:
        return store.get_manifest(reference.repository, reference.version)
    except NotFoundError as error:
        if reference.host:
            raise
        raise no_such_artifact(reference) from error


def no_such_artifact(reference: Reference) -> NotFoundError:
    """Return the error for a reference that a layout does not hold: it names the place and where to look."""
    place = "this machine's store" if reference.layout is None else f"the layout {reference.layout}"
    listing = "klever models" if reference.layout is None else f"klever models oci:{reference.layout}"
    return NotFoundError(f"there is no {reference} in {place}", next_step=f"see {listing}")


def read_blob(store: Store, repository: str, descriptor: Descriptor, limit: int) -> bytes:
    """Return a small blob, verified; raises `ManifestError` above ``limit`` bytes."""
    if descriptor.size > limit:
        raise ManifestError(f"blob {descriptor.digest} of {descriptor.size} bytes is longer than the {limit} it may be")
    return b"".join(store.get_blob(repository, descriptor))
