"""Writes a translated network: the weights from the caffemodel straight into the init net, the rest as it is."""

from collections.abc import Callable, Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klever.steps.converters.caffemodel_to_netdef.network import Fill, Network, Operator
from klever.steps.converters.caffemodel_to_netdef.translate import Translation
from klever.steps.converters.interface import Conversion, Progress
from klever.steps.errors import ConversionError, TruncatedModelError
from klever.steps.files import ModelFiles, Source, opened
from klever.steps.formats.caffemodel.weights import Blob, Run
from klever.steps.writers.netdef import INIT_NET, PREDICT_NET, VALUE_INFO, build_operator, write_net, write_value_info
from klever.steps.writers.protobuf import Message, Stream

#: Weights are passed through in pieces of this many bytes.
_PIECE_BYTES: Final = 4 << 20
_FLOAT_BYTES: Final = 4
Array = NDArray[Any]
_DTYPES: Final = {"float16": "<f2", "float32": "<f4", "float64": "<f8"}


def write(
    translation: Translation, name: str, files: ModelFiles, weights: str, directory: Path, progress: Progress
) -> Conversion:
    """Write ``init_net.pb``, ``predict_net.pb`` and ``value_info.json``.

    Raises `ConversionError` where the nets would be larger than protobuf can be, `TruncatedModelError` where the
    weights end too early, `StorageError`.
    """
    if not translation.outputs:
        raise ConversionError("the network has no output")
    network = translation.network
    with opened(files, weights) as source:
        write_net(directory / INIT_NET, f"{name}_init", _fillers(network, source, progress))
    write_net(
        directory / PREDICT_NET,
        name,
        map(_operator, network.operators),
        external_inputs=(*(given.name for given in translation.inputs), *network.fills),
        external_outputs=translation.outputs,
    )
    write_value_info(directory / VALUE_INFO, {given.name: given.shape for given in translation.inputs})
    progress(1.0, "written")
    return Conversion(translation.notes, _ranges(translation))


def _operator(operator: Operator) -> Message:
    # `ConvPoolOpBase` demands a kernel of whatever is called so, of a PadImage and of global pooling too.
    name = "" if operator.name.startswith("Conv") or "Pool" in operator.name else operator.name
    return build_operator(operator.type, operator.inputs, operator.outputs, name, operator.arguments)


def _ranges(translation: Translation) -> dict[str, tuple[int, int]]:
    """Say which inputs are looked up in a table, by its count of rows."""
    fed = {given.name for given in translation.inputs}
    cast = {each.outputs[0]: each.inputs[0] for each in translation.network.operators if each.type == "Cast"}
    found: dict[str, tuple[int, int]] = {}
    for each in translation.network.operators:
        if each.type == "Gather" and each.inputs[0] in translation.network.fills:
            name = cast.get(each.inputs[1], "")
            if name in fed:
                found[name] = (0, translation.network.fills[each.inputs[0]].shape[0])
    return found


def _fillers(network: Network, source: Source, progress: Progress) -> Iterator[Message]:
    total = sum(prod(fill.shape) for fill in network.fills.values()) or 1
    done = 0
    for name, fill in network.fills.items():
        progress(done / total, f"writing {name}")
        yield _filler(name, fill, source)
        done += prod(fill.shape)


def _filler(name: str, fill: Fill, source: Source) -> Message:
    if fill.constant is not None:
        return build_operator("ConstantFill", (), (name,), "", {"shape": fill.shape, "value": fill.constant})
    if fill.integers:
        arguments = {"shape": fill.shape, "values": fill.integers}
        return build_operator("GivenTensorInt64Fill", (), (name,), "", arguments)
    length = prod(fill.shape) * _FLOAT_BYTES
    compute = fill.compute
    if compute is None:
        values = Stream(length, lambda: _pieces(source, fill.blobs[0]))
    else:
        values = Stream(length, lambda: _computed(source, fill.blobs, compute))
    return build_operator("GivenTensorFill", (), (name,), "", {"shape": fill.shape, "values": values})


def _pieces(source: Source, blob: Blob) -> Iterator[bytes]:
    """Yield the numbers of a blob as 32-bit floats, as they lie in the file where they are that already."""
    for run in blob.runs:
        for start in range(0, run.count, _PIECE_BYTES // run.stride):
            count = min(_PIECE_BYTES // run.stride, run.count - start)
            data = _read(source, run, start, count)
            if blob.dtype == "float32" and run.stride == _FLOAT_BYTES:
                yield data
            else:
                yield _numbers(data, blob.dtype, run).astype("<f4").tobytes()


def _read(source: Source, run: Run, first: int, count: int) -> bytes:
    # The last number ends where its own bytes do, not a stride further.
    length = count * run.stride
    data = source.read_at(run.start + first * run.stride, length)
    if len(data) < length - (run.stride - 1):
        raise TruncatedModelError("the caffemodel ends inside its weights")
    return data


def _numbers(data: bytes, dtype: str, run: Run) -> NDArray[Any]:
    """Take numbers out of the tags between them."""
    kind = np.dtype(_DTYPES[dtype])
    if run.stride == kind.itemsize:
        return np.frombuffer(data, kind)
    padded = data + bytes(-len(data) % run.stride)
    rows = np.frombuffer(padded, np.uint8).reshape(-1, run.stride)
    return np.ascontiguousarray(rows[:, : kind.itemsize]).view(kind).reshape(-1)


def _computed(source: Source, blobs: Sequence[Blob], compute: Callable[[Sequence[Array]], Array]) -> Iterator[bytes]:
    arrays = [np.frombuffer(b"".join(_pieces(source, blob)), "<f4").reshape(blob.shape) for blob in blobs]
    with np.errstate(all="ignore"):
        values = np.ascontiguousarray(compute(arrays), "<f4")
    yield values.tobytes()
