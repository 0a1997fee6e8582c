"""TensorRT: a serialised engine (``*.plan``, ``*.engine``), which only the TensorRT that wrote it can open.

What does not belong here: a reader of the engine's inside, whose layout NVIDIA does not publish.
"""

import json
from typing import Any, Final

from klever.steps.errors import MalformedModelError, TruncatedModelError
from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading
from klever.steps.model.signature import Signature

#: How engines of TensorRT 8 and earlier, and of later ones, begin.
_TAGS: Final = (b"ptrt", b"ftrt")
_SUFFIXES: Final = (".plan", ".engine")
#: What else may stand at the start of a file that someone named so: archives, HDF5, GGUF, text formats, executables.
_FOREIGN: Final = (
    b"PK\x03\x04",
    b"\x89HDF",
    b"GGUF",
    b"\x1f\x8b",
    b"\x7fELF",
    b"{",
    b"<",
    b"#",
    b"---",
    b"\x80\x02",
    b"\x80\x04",
)
_ULTRALYTICS_FACTS: Final = ("description", "task", "batch", "imgsz", "stride", "version")


class TensorRT(Format):
    """A serialised TensorRT engine."""

    id = "TensorRT"
    framework = "TensorRT"
    needs = "one *.plan or *.engine"
    unreadable = (
        "an engine can be opened by nothing but the TensorRT release that built it, on such a GPU: "
        "write the inputs and outputs in ormbfile.yaml"
    )

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim engines by their tag, or by name what is no file of another kind."""
        paths = [path for path in files.sizes if _is_in_place(path)]
        proven = [path for path in paths if _is_engine(files.head(path))]
        likely = [path for path in paths if path.endswith(_SUFFIXES) and not files.head(path).startswith(_FOREIGN)]
        found = proven or likely
        if not found:
            return None
        first = found[0]
        rename = {} if first.endswith(_SUFFIXES) else {first: f"{first.removesuffix('.trt')}.plan"}
        return Claim.of_one(Evidence.CONTENT if proven else Evidence.NAME, found, rename)

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Return what Ultralytics wrote before the engine; the engine itself tells nothing."""
        del author
        (path,) = claim.files
        head = files.head(path)
        if not head:
            raise TruncatedModelError(f"the engine {path} is empty")
        if head.startswith(_FOREIGN):
            raise MalformedModelError(f"{path} is a file of another kind under the name of an engine")
        return Reading(signature=Signature(), notes=(self.unreadable,), facts=_facts(head))


def _is_in_place(path: str) -> bool:
    """Take files of the package root, and those of a numbered version folder, as Triton lays them out."""
    folder, _, name = path.rpartition("/")
    return bool(name) and (not folder or folder.isdecimal())


def _is_engine(head: bytes) -> bool:
    return head.startswith(_TAGS) or _ultralytics(head) is not None


def _ultralytics(head: bytes) -> dict[str, Any] | None:
    """Return the metadata that Ultralytics writes before an engine: its length in four bytes, then JSON."""
    length = int.from_bytes(head[:4], "little")
    if head[4:5] != b"{" or not head[4 + length : 8 + length].startswith(_TAGS):
        return None
    try:
        document = json.loads(head[4 : 4 + length])
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _facts(head: bytes) -> dict[str, Any]:
    metadata = _ultralytics(head) or {}
    return {key: metadata[key] for key in _ULTRALYTICS_FACTS if isinstance(metadata.get(key), str | int | list)}


FORMAT = TensorRT()
