"""ONNX: a ModelProto in one file, its large tensors perhaps in files beside it.

Recognition alone; `reader` reads the signature. ONNX in text form and ONNX Runtime's own flatbuffer (``.ort``)
do not belong here.
"""

from typing import Final

from klever.steps.encodings.wire import decode_head
from klever.steps.files import ModelFiles
from klever.steps.formats.interface import Claim, Evidence, Format, Reading, outermost, renamed
from klever.steps.model.signature import Signature

_VARINT, _BYTES = 0, 2
_IR_VERSION, _GRAPH = 1, 7
#: Field numbers of ModelProto and GraphProto (onnx.proto3) to their wire types.
_MODEL_FIELDS: Final = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_GRAPH_FIELDS: Final = dict.fromkeys((1, 2, 5, 10, 11, 12, 13, 14, 15, 16), _BYTES)
#: The file formats of ONNX are numbered 1 to 13 so far.
_MAX_IR_VERSION: Final = 64


def _is_model(head: bytes) -> bool:
    """Tell whether a file begins as a ModelProto, in which a version and a graph are required."""
    versioned = False
    graph: bytes | None = None
    for number, kind, value in decode_head(head):
        if _MODEL_FIELDS.get(number) != kind:
            return False
        if number == _IR_VERSION:
            versioned = isinstance(value, int) and 0 < value <= _MAX_IR_VERSION
        elif number == _GRAPH and isinstance(value, bytes):
            graph = value
    if not versioned or not graph:
        return False
    numbers = set()
    for number, kind, _ in decode_head(graph):
        if _GRAPH_FIELDS.get(number) != kind:
            return False
        numbers.add(number)
    return bool(numbers)


class ONNX(Format):
    """Open Neural Network Exchange."""

    id = "ONNX"
    framework = "ONNX"
    needs = "one *.onnx (external data beside it)"

    def claim(self, files: ModelFiles) -> Claim | None:
        """Claim the files that begin as a ModelProto, else those named ``*.onnx``."""
        models = [path for path in files.sizes if not path.endswith(".ort") and _is_model(files.head(path))]
        evidence = Evidence.CONTENT if models else Evidence.NAME
        models = models or [path for path in files.sizes if path.lower().endswith(".onnx")]
        if not models:
            return None
        models = outermost(models)
        rename = renamed(models[0], ".onnx", files.sizes) if evidence is Evidence.CONTENT else {}
        return Claim.of_one(evidence, models, rename)

    def companions(self, name: str, siblings: frozenset[str]) -> tuple[str, ...]:
        """Return the files in which exporters keep external data, by the names that they give them."""
        stem = name.rsplit(".", 1)[0]
        usual = {f"{stem}{end}" for end in (".data", "_data", ".weights", ".bin.data", "_external_data")}
        longer = (f"{name}.", f"{name}_", f"{name}-")
        return tuple(sorted(other for other in siblings - {name} if other in usual or other.startswith(longer)))

    def read(self, files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
        """Read the signature; see `reader.read_model`."""
        from klever.steps.formats.onnx.reader import read_model

        del author
        return read_model(files, claim.files[0])


FORMAT = ONNX()
