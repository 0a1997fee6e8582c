"""Fetch an artifact into a directory: verified while it streams, visible when it is whole."""

from pathlib import Path

from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.errors import at_stage
from klever.steps.oci.reference import Reference
from klever.steps.oci.staging import staged_directory
from klever.steps.oci.unpack import unpack
from klever.steps.publish import Watch, unwatched
from klever.steps.recognise import ORMBFILE
from klever.steps.stores import Stores


def fetch(
    reference: Reference, directory: Path, stores: Stores, *, force: bool = False, watch: Watch = unwatched
) -> StoredArtifact:
    """Fetch ``reference`` into ``directory``, as an ORMB package.

    ``ormbfile.yaml`` is written from the config, also where the layer holds one of its own. Raises
    `AlreadyExistsError` for a directory that is not empty, unless ``force`` replaces it whole.
    """
    store = stores.open(reference)
    artifact = load_artifact(store, reference)
    layer = artifact.manifest.layer
    with at_stage("unpack"), staged_directory(directory, force=force) as staging:
        with watch("fetch", layer.size) as progress:
            unpack(store.get_blob(reference.repository, layer, progress=progress), staging)
        ormbfile = staging / ORMBFILE
        ormbfile.unlink(missing_ok=True)
        ormbfile.write_text(artifact.metadata.to_yaml(), encoding="utf-8")
    return artifact
