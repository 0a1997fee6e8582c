"""GGUF: llama.cpp's file of typed metadata and quantised weights; one file or numbered shards.

Recognition alone; `reader` walks the headers.
"""

from typing import Final

from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.shards import group_shards, sibling_shards
from klever.steps.model.signature import Signature

MAGIC: Final = b"GGUF"
_SUFFIX: Final = ".gguf"


class GGUF(Format):
    """llama.cpp's file of weights and metadata."""

    id = "GGUF"
    framework = "Others"
    needs = "one *.gguf, or all of its shards"
    unreadable = "a GGUF file holds weights and metadata without a graph: write the inputs and outputs in ormbfile.yaml"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the files with the magic number, whole shards of one model together."""
        paths = [path for path in files.sizes if "/" not in path]
        proven = [path for path in paths if files.head(path).startswith(MAGIC)]
        torn = [path for path in paths if path.endswith(_SUFFIX) and MAGIC.startswith(files.head(path)[:4])]
        paths = proven or torn
        if not paths:
            return None
        models = group_shards(paths)
        renamed = {path: f"{path}{_SUFFIX}" for path in models[0].present if not path.endswith(_SUFFIX)}
        return Claim(
            evidence=Evidence.CONTENT if proven else Evidence.NAME,
            files=models[0].present,
            missing=models[0].missing,
            competing=tuple(path for model in models for path in model.present) if len(models) > 1 else (),
            rename=renamed,
        )

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return the other shards."""
        return sibling_shards(name, siblings) if name.endswith(_SUFFIX) else ()

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the headers; the weights are passed over."""
        from klever.steps.formats.gguf.reader import read_model

        del author
        return read_model(files, claim.files, self.unreadable)


FORMAT = GGUF()
