"""The signature of a Caffe2 model: the predict net's external blobs, given the shapes of what the init net fills."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final

from klever.steps.encodings.json import parse_json
from klever.steps.encodings.prototext import MAX_TEXT_BYTES, decode_prototext
from klever.steps.errors import LimitExceededError, MalformedModelError, MissingFilesError, ModelError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Claim, Reading
from klever.steps.formats.netdef.graph import Net, build_net, find_inputs, find_outputs, read_net
from klever.steps.formats.netdef.inputs import Implied, imply_values
from klever.steps.formats.netdef.placeholders import find_placeholders
from klever.steps.formats.netdef.shapes import infer_values, is_known
from klever.steps.formats.netdef.values import UNKNOWN_VALUE, Value
from klever.steps.frameworks import onnx
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, merge
from klever.steps.model.signature import Signature, Tensor

_MAX_NOTES: Final = 5
_MAX_INFO_BYTES: Final = 1 << 20


def read_model(files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
    """Read the inputs, outputs and operator types of the predict net.

    Shapes of inputs come from ``value_info.json`` where it lies beside the nets, else from what the operators that
    read them need. Raises a `ModelError`.
    """
    nets = [path for path in claim.files if not path.endswith(".json")]
    if len(nets) != 2:
        raise MissingFilesError("a NetDef is two nets", missing=("init_net.pb", "predict_net.pb"))
    with ExitStack() as stack:
        predict, init = (_read(files, path, stack) for path in nets)
        filled = dict(infer_values(init.operators, {}).blobs)
    if not predict.operators:
        raise MalformedModelError(f"{nets[0]} has no operators")
    stated = _value_info(files, claim)
    implied = imply_values(predict.operators, filled)
    for name in find_placeholders(init.operators, predict.operators, filled, implied):
        del filled[name]
    names = find_inputs(predict, frozenset(filled))
    authored = {tensor.name: tensor for tensor in (author.inputs if author else None) or ()}
    inputs, fed = [], dict(filled)
    for name in names:
        told = stated.get(name) or implied.get(name) or Implied(UNKNOWN_VALUE)
        fed[name] = _fed(told, authored.get(name))
        inputs.append(_tensor(name, fed[name]))
    inference = infer_values(predict.operators, fed)
    outputs = [
        _tensor(name, inference.blobs.get(name, UNKNOWN_VALUE)) for name in find_outputs(predict, frozenset(filled))
    ]
    signature = Signature(inputs=tuple(inputs), outputs=tuple(outputs), layers=predict.count_types())
    return Reading(signature, notes=tuple(_notes(predict, inference.notes)))


def _read(files: ModelFiles, path: str, stack: ExitStack) -> Net:
    source = files.open(path)
    stack.callback(source.close)
    if path.endswith((".pbtxt", ".prototxt")):
        if source.size > MAX_TEXT_BYTES:
            raise LimitExceededError(f"{path} has {source.size} bytes, more than any net's text")
        return build_net(decode_prototext(source.read_at(0, source.size)))
    return read_net(source)


def _tensor(name: str, value: Value) -> Tensor:
    return Tensor(name=name, dtype=value.dtype, shape=value.shape)


def _fed(told: Implied, author: Tensor | None) -> Value:
    """Put together what the file and the author say of an input; the file wins.

    What follows from weights leaves batch and image sizes open, not dynamic: there the author's sizes stand.
    """
    if author is None:
        return told.value
    dtype = told.value.dtype or author.dtype
    if not told.binding and author.shape is not None:
        # A rank that is only likely gives way to what a person wrote.
        return Value(author.shape, dtype)
    try:
        return Value(merge(told.value.shape, author.shape), dtype)
    except ShapeMismatchError:
        return Value(told.value.shape, dtype)


def _value_info(files: ModelFiles, claim: Claim) -> Mapping[str, Implied]:
    """Read ``value_info.json`` as Caffe2's exporter to ONNX takes it: ``{"data": [1, [1, 3, 224, 224]]}``."""
    path = next((path for path in claim.files if path.endswith(".json")), None)
    if path is None or files.sizes[path] > _MAX_INFO_BYTES:
        return {}
    try:
        with opened(files, path) as source:
            document = parse_json(source.read_at(0, source.size), path)
    except ModelError:
        return {}
    found: dict[str, Implied] = {}
    if isinstance(document, dict):
        for name, info in document.items():
            if isinstance(info, list) and len(info) == 2 and isinstance(info[0], int):
                found[name] = Implied(Value(_sizes(info[1]), onnx.DTYPES.get(info[0])))
    return found


def _sizes(sizes: object) -> Shape:
    if not isinstance(sizes, list) or not all(isinstance(size, int) and UNKNOWN <= size < 2**62 for size in sizes):
        return None
    return tuple(sizes)


def _notes(net: Net, faults: tuple[str, ...]) -> list[str]:
    notes = list(faults[:_MAX_NOTES])
    if len(faults) > _MAX_NOTES:
        notes.append(f"and {len(faults) - _MAX_NOTES} more operators whose shapes could not be worked out")
    unknown = sorted({operator.type for operator in net.operators if not is_known(operator.type)})
    if unknown:
        notes.append(f"operators whose shapes are not known: {', '.join(unknown[:20])}")
    return notes
