"""The two nets of a model as the converter takes them: operators, what is fed and what a run leaves.

The same blobs are inputs and outputs as in the signature; see ``klever.steps.formats.netdef``.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple

from klever.steps.converters.asked import check_names
from klever.steps.converters.interface import Options, SourceModel
from klever.steps.encodings.prototext import MAX_TEXT_BYTES, decode_prototext
from klever.steps.errors import ConversionError, LimitExceededError, MalformedModelError, MissingFilesError
from klever.steps.files import ModelFiles, Source
from klever.steps.formats.netdef.graph import Net, Operator, build_net, find_inputs, find_outputs, read_net
from klever.steps.formats.netdef.inputs import Implied, imply_values
from klever.steps.formats.netdef.placeholders import find_placeholders
from klever.steps.formats.netdef.shapes import infer_values
from klever.steps.formats.netdef.values import Value
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, merge
from klever.steps.model.signature import Tensor

#: Operators whose index input may be int32 or int64, by the place of that input.
_INDICES: Final = {
    "BatchGather": 1,
    "Gather": 1,
    "OneHot": 0,
    "SparseLengthsMean": 1,
    "SparseLengthsMax": 1,
    "SparseLengthsSum": 1,
    "SparseLengthsWeightedSum": 2,
}


class Nets(NamedTuple):
    """A model to translate; ``sources`` are the files of the predict and the init net, open for their weights."""

    predict: Net
    init: Net
    sources: tuple[Source, Source] | None
    inputs: Mapping[str, Value]
    outputs: tuple[str, ...]
    #: Blob to the shape, type and, of few integers, content that the init net gives it.
    filled: Mapping[str, Value]


def read_nets(model: SourceModel, options: Options, stack: ExitStack) -> Nets:
    """Read both nets; the files are closed with ``stack``. Raises a `ModelError`, or `ConversionError`."""
    paths = [path for path in model.claim.files if not path.endswith(".json")]
    if len(paths) != 2:
        raise MissingFilesError("a NetDef is two nets", missing=("init_net.pb", "predict_net.pb"))
    (predict, predict_source), (init, init_source) = (_read(model.files, path, stack) for path in paths)
    if not predict.operators:
        raise MalformedModelError(f"{paths[0]} has no operators")
    filled = dict(infer_values(init.operators, {}).blobs)
    implied = imply_values(predict.operators, filled)
    for name in find_placeholders(init.operators, predict.operators, filled, implied):
        del filled[name]
    told = {tensor.name: tensor for tensor in model.signature.inputs or ()}
    indices = _find_indices(predict.operators)
    names = find_inputs(predict, frozenset(filled))
    check_names(names, options)
    inputs = {name: _fed(name, told.get(name), options, indices=name in indices) for name in names}
    for name in options.shapes:
        _check(name, inputs[name].shape, implied.get(name))
    outputs = find_outputs(predict, frozenset(filled))
    return Nets(predict, init, (predict_source, init_source), inputs, outputs, filled)


def _read(files: ModelFiles, path: str, stack: ExitStack) -> tuple[Net, Source]:
    source = files.open(path)
    stack.callback(source.close)
    if path.endswith((".pbtxt", ".prototxt")):
        if source.size > MAX_TEXT_BYTES:
            raise LimitExceededError(f"{path} has {source.size} bytes, more than any net's text")
        return build_net(decode_prototext(source.read_at(0, source.size))), source
    return read_net(source), source


def _find_indices(operators: tuple[Operator, ...]) -> frozenset[str]:
    """Return the blobs that operators look up by."""
    return frozenset(
        operator.inputs[place]
        for operator in operators
        if (place := _INDICES.get(operator.type)) is not None and place < len(operator.inputs)
    )


def _fed(name: str, tensor: Tensor | None, options: Options, *, indices: bool) -> Value:
    """Return shape and type of an input: what the person asks for, else what the signature says."""
    shape = options.shapes.get(name, tensor.shape if tensor is not None else None)
    if shape and options.batch is not None:
        shape = (options.batch, *shape[1:])
    dtype = tensor.dtype if tensor is not None else None
    return Value(None if shape is None else tuple(shape), dtype or ("int64" if indices else "float32"))


def _check(name: str, asked: Shape, implied: Implied | None) -> None:
    """Raise `ConversionError` where a shape that a person asks for is none that the weights take."""
    if implied is None or not implied.binding:
        return
    try:
        merge(implied.value.shape, tuple(UNKNOWN if size < 0 else size for size in asked or ()))
    except ShapeMismatchError:
        raise ConversionError(
            f"the shape {asked} for input {name!r} contradicts the weights, which take {implied.value.shape}",
            next_step="give a shape that fits",
        ) from None
