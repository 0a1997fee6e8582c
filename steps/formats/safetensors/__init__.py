"""Safetensors: a header of names, types and shapes, then the weights; one file or numbered shards.

Recognition alone; `reader` reads the headers.
"""

from typing import Final

from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.shards import group_shards, sibling_shards
from klever.steps.model.signature import Signature

#: About 150 000 tensors, more than any published shard; the reference implementation's limit of 100 MB would cost 1 GB.
MAX_HEADER_BYTES: Final = 16_000_000
SUFFIX: Final = ".safetensors"
_INDEX_SUFFIX: Final = ".safetensors.index.json"


class Safetensors(Format):
    """Hugging Face's file of weights."""

    id = "Safetensors"
    framework = "PyTorch"
    needs = "one *.safetensors, or all of its shards"
    unreadable = "a safetensors file holds weights without a graph: write the inputs and outputs in ormbfile.yaml"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the files that begin as a header of JSON, whole shards of one model together."""
        named = [path for path in files.sizes if "/" not in path and path.endswith(SUFFIX)]
        proven = [path for path in named if _begins_header(files.head(path), files.sizes[path])]
        # A torn file is still one; a file that begins with something else is not.
        paths = proven or [path for path in named if len(files.head(path)) < 9]
        if not paths:
            return None
        models = group_shards(paths)
        indices = tuple(path for path in files.sizes if "/" not in path and path.endswith(_INDEX_SUFFIX))
        return Claim(
            evidence=Evidence.CONTENT if proven else Evidence.NAME,
            files=(*models[0].present, *indices),
            missing=models[0].missing,
            competing=tuple(path for model in models for path in model.present) if len(models) > 1 else (),
        )

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return the other shards, their index and Hugging Face's configuration."""
        if not name.endswith(SUFFIX):
            return ()
        beside = (each for each in sorted(siblings) if each == "config.json" or each.endswith(_INDEX_SUFFIX))
        return (*sibling_shards(name, siblings), *beside)

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the headers; the weights are passed over."""
        from klever.steps.formats.safetensors.reader import read_model

        del author
        return read_model(files, tuple(path for path in claim.files if path.endswith(SUFFIX)), self.unreadable)


def _begins_header(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and head[8:9] == b"{" and 2 <= length <= min(MAX_HEADER_BYTES, size - 8)


FORMAT = Safetensors()
