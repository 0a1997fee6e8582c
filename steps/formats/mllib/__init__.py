"""MLlib: recognition of a directory that Spark's ML persistence wrote. Its columns are in `reader`."""

import re
from typing import Final

from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Precedence, Reading
from klever.steps.model.signature import Signature

#: The one line of JSON that every saved stage has; ``class`` comes first in all versions.
_METADATA: Final = re.compile(rb'\s*\{\s*"class"\s*:\s*"([\w.$]{1,300})"')
#: Third parties' stages bear other package names, but are saved by Spark's ``DefaultParamsWriter``.
_SPARK: Final = re.compile(rb'"(?:sparkVersion|paramMap)"\s*:|"org\.apache\.spark\.')


class MLlib(Format):
    """A Spark model directory: ``metadata/`` and, by the class, ``data/``, ``stages/`` or nested models."""

    id = "MLlib"
    framework = "MLlib"
    precedence = Precedence.DIRECTORY
    needs = "a Spark model directory: metadata/part-*, with data/ or stages/"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim by the metadata of the outermost stage."""
        part = metadata_path(files, "")
        if part is None:
            return None
        head = files.head(part)
        found = _METADATA.match(head)
        if not found or not _SPARK.search(head):
            # A file cut short may still show that it was meant to begin as all of them do.
            cut = len(head) < 64 and not head.rstrip().endswith(b"}")
            meant = b'{"class":'.startswith(b"".join(head.split())[:9])
            return Claim(Evidence.NAME, files=(part,)) if cut and meant else None
        name = found[1].rpartition(b".")[2].decode()
        fitted = name.endswith("Model") or found[1].startswith(b"org.apache.spark.mllib.")
        alone = all(path.startswith("metadata/") for path in files.sizes)
        wanted = "stages/" if name == "PipelineModel" else "data/"
        return Claim(Evidence.CONTENT, files=(part,), missing=(wanted,) if fitted and alone else ())

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the columns that the stages take and give."""
        from klever.steps.formats.mllib.reader import read_directory

        del claim, author
        return read_directory(files)


def metadata_path(files: ModelFiles, directory: str) -> str | None:
    """Return the first metadata file with content below ``directory``, which ends in ``/`` or is empty.

    Spark up to 3.5 calls it ``part-00000``, later ones ``part-00000-<uuid>-c000.txt``; both are text.
    """
    prefix = f"{directory}metadata/part-"
    named = [path for path in files.sizes if path.startswith(prefix) and not path.endswith(".crc")]
    return min((path for path in named if files.sizes[path]), default=min(named, default=None))


FORMAT = MLlib()
