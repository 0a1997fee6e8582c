"""Keras models in one HDF5 file: recognition. The configuration stands in the root's attribute ``model_config``."""

from typing import Final

from klever.steps.encodings.hdf5.signature import SIGNATURE, find_signature
from klever.steps.errors import StorageDeniedError, StorageError
from klever.steps.files import HEAD_BYTES, ModelFiles, opened
from klever.steps.formats.interface import Claim, Evidence, Format, Reading, renamed
from klever.steps.model.signature import Signature

_SUFFIX: Final = ".h5"
#: Names under which Keras models are stored in HDF5; Keras 2 wrote it as ``.keras``, too.
_SUFFIXES: Final = (".h5", ".hdf5", ".hdf", ".he5", ".keras")
#: What Keras calls files of weights alone; Caffe's snapshots in HDF5 are not Keras's at all.
_WEIGHTS_SUFFIX: Final = ".weights.h5"
_FOREIGN_SUFFIXES: Final = (".caffemodel.h5", ".solverstate.h5", ".nc", ".mat")


class H5(Format):
    """A Keras model in HDF5."""

    id = "H5"
    framework = "Keras"
    needs = "one *.h5"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim HDF5 files at the top by their signature, which stands at 0, 512, 1024 and so on."""
        found: list[str] = []
        cut: list[str] = []
        for path in files.sizes:
            if "/" in path or path.endswith(_FOREIGN_SUFFIXES):
                continue
            if _is_hdf5(files, path):
                found.append(path)
            elif path.endswith(_SUFFIX) and SIGNATURE.startswith(files.head(path)):
                cut.append(path)  # empty, or cut inside the signature
        # Weights beside the model they belong to do not compete with it.
        candidates = [path for path in found if not path.endswith(_WEIGHTS_SUFFIX)] or found or cut
        if not candidates:
            return None
        evidence = Evidence.CONTENT if found else Evidence.NAME
        return Claim.of_one(evidence, candidates, renamed(candidates[0], _SUFFIX, files.sizes))

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the configuration; the weights are not touched."""
        from klever.steps.formats.h5.reader import read_model

        with opened(files, claim.files[0]) as source:
            return read_model(source, author)


def _is_hdf5(files: ModelFiles, path: str) -> bool:
    head = files.head(path)
    if any(head.startswith(SIGNATURE, offset) for offset in (0, 512, 1024, 2048)):
        return True
    if files.sizes[path] <= HEAD_BYTES or not path.endswith(_SUFFIXES) or head.startswith(b"PK"):
        return False
    try:
        with opened(files, path) as source:
            return find_signature(source) is not None
    except (StorageDeniedError, StorageError):
        return False


FORMAT = H5()
