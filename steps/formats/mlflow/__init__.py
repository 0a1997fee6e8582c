"""MLflow: a directory whose ``MLmodel`` file declares the signature.

The directory also holds the model in a flavour of its own (``model.pkl``, ``data/``); those files
travel along and are not read. Recognition alone; `reader` reads what is declared.
"""

import re
from typing import Final

from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Precedence, Reading
from klever.steps.model.signature import Signature

FILE: Final = "MLmodel"
#: Keys that only an ``MLmodel`` has at its outer level; MLflow sorts them, so the first block holds one.
_KEYS: Final = re.compile(rb"^(?:flavors|artifact_path|mlflow_version|model_uuid|utc_time_created)\s*:", re.MULTILINE)


class MLflow(Format):
    """A model directory with ``MLmodel`` at its root."""

    id = "MLflow"
    framework = "MLflow"
    precedence = Precedence.DIRECTORY
    needs = "MLmodel"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim by the file's name and its keys; ``files`` lists nothing else, as the flavours are opaque."""
        if FILE not in files.sizes:
            return None
        head = files.head(FILE)
        if b"\0" in head:
            return None
        return Claim(Evidence.CONTENT if _KEYS.search(head) else Evidence.NAME, files=(FILE,))

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return everything: the directory is the model."""
        return tuple(sorted(siblings)) if name == FILE else ()

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the declared signature; see `reader.read_document`."""
        from klever.steps.formats.mlflow.reader import read_document

        del claim, author
        return read_document(files)


FORMAT = MLflow()
