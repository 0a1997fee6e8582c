"""Say what a model is: format, framework, size, signature; of a path or of an artifact in a store."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from klever.steps.errors import at_stage
from klever.steps.extract import Extraction, extract
from klever.steps.model.metadata import Metadata
from klever.steps.recognise import Model, choose, recognise

# A local path needs no store: what artifacts need is imported where they are inspected.
if TYPE_CHECKING:
    from klever.steps.artifact import StoredArtifact
    from klever.steps.model.signature import Signature
    from klever.steps.oci.reference import Reference
    from klever.steps.oci.store import Store
    from klever.steps.stores import Stores


class Inspection(NamedTuple):
    """What is known of a model. ``size`` counts bytes: of the model's files, or of the packed model in a store."""

    metadata: Metadata
    size: int
    notes: tuple[str, ...] = ()
    reference: "Reference | None" = None

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object; inputs, outputs and layers are always there."""
        document = {**self.metadata.to_json(), "size": self.size}
        signature = document.get("signature", {})
        document["signature"] = {"inputs": [], "outputs": [], "layers": {}, **signature}
        if self.reference is not None:
            document |= {"reference": str(replace(self.reference, digest=None)), "digest": self.reference.digest}
        if self.notes:
            document["notes"] = list(self.notes)
        return document


def inspect_path(path: Path, *, format_id: str | None = None) -> Inspection:
    """Inspect a local model; raises what `recognise` and `extract` raise."""
    model = recognise(path, format_id=format_id)
    extraction = extract(model)
    return Inspection(extraction.metadata, sum(model.files.sizes.values()), extraction.notes)


def inspect_artifact(
    reference: "Reference", stores: "Stores", *, format_id: str | None = None, reread: bool = False
) -> Inspection:
    """Inspect an artifact.

    The signature in its config is taken where it was read from this very layer; else, or with ``reread``, it is read
    from the layer by ranges or one streaming pass, which stores nothing.
    """
    from klever.steps.artifact import load_artifact

    store = stores.open(reference)
    artifact = load_artifact(store, reference)
    size = artifact.manifest.layer.size
    if artifact.has_full_signature and not reread and format_id is None:
        return Inspection(artifact.metadata, size, (), artifact.reference)
    extraction = extract_artifact(store, artifact, format_id=format_id)
    return Inspection(extraction.metadata, size, extraction.notes, artifact.reference)


def extract_artifact(
    store: "Store", artifact: "StoredArtifact", *, format_id: str | None = None, told: "Signature | None" = None
) -> Extraction:
    """Read the signature of an artifact from its layer, in place; ``told`` as of `extract`."""
    from klever.steps.oci.layer import LayerFiles

    with at_stage("read"):
        files = LayerFiles(store, artifact.reference.repository, artifact.manifest.layer)
        try:
            form, claim = choose(files, format_id or artifact.metadata.format)
            return extract(Model(files, form, claim, artifact.metadata), told=told)
        finally:
            files.close()
