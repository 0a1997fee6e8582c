"""Fetch an artifact into a directory: verified while it streams, visible when it is whole."""

from pathlib import Path

from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.errors import ArchiveError, at_stage, storage_error
from klever.steps.oci.reference import Reference
from klever.steps.oci.staging import staged_directory
from klever.steps.oci.unpack import unpack
from klever.steps.recognise import ORMBFILE
from klever.steps.stores import Stores
from klever.steps.transfer import Watch, try_again, unwatched


def fetch(
    reference: Reference,
    directory: Path,
    stores: Stores,
    *,
    format_id: str | None = None,
    force: bool = False,
    watch: Watch = unwatched,
) -> StoredArtifact:
    """Fetch ``reference`` into ``directory``, as an ORMB package.

    ``ormbfile.yaml`` is written from the config, also where the layer holds one of its own; ``format_id`` is the format
    where the config does not say any. Raises `AlreadyExistsError` for a directory that is not empty, unless ``force``
    replaces it whole.
    """
    store = stores.open(reference)
    artifact = load_artifact(store, reference, format_id=format_id)
    layer = artifact.manifest.layer

    def transfer() -> None:
        with at_stage("unpack"), staged_directory(directory, force=force) as staging:
            with watch("fetch", layer.size) as progress:
                unpack(store.get_blob(reference.repository, layer, progress=progress), staging)
            _write_ormbfile(staging / ORMBFILE, artifact.metadata.to_yaml())

    try_again(transfer)
    return artifact


def _write_ormbfile(path: Path, text: str) -> None:
    """Write it in the place of one that the layer holds: layers of the original tool do."""
    try:
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
    except IsADirectoryError:
        raise ArchiveError(f"the layer holds a directory in the place of {ORMBFILE}") from None
    except OSError as error:
        raise storage_error(f"cannot write {path.name}", error) from error
