"""The conversion: reads the weights lazily, walks the graph and writes the model.

What does not belong here: any operator; whether the model can be converted at all.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klever.steps.converters.interface import Conversion, Options, Progress, SourceModel
from klever.steps.converters.mxnetparams_to_onnx.call import Operand, Value
from klever.steps.converters.mxnetparams_to_onnx.network import Network, computed_type, describe_doubts
from klever.steps.converters.mxnetparams_to_onnx.ranges import find_ranges
from klever.steps.converters.mxnetparams_to_onnx.walk import Walk, reserve_heads
from klever.steps.errors import ConversionError, MalformedModelError
from klever.steps.files import Source, opened
from klever.steps.formats.mxnetparams.params import Array
from klever.steps.writers.onnx import GraphBuilder, Weight, write_model

#: A row-sparse array keeps the positions of its rows as int64 behind its values.
_POSITION: Final = np.dtype("<i8")


def convert_network(
    model: SourceModel, network: Network, options: Options, directory: Path, progress: Progress
) -> Conversion:
    """Write ``model.onnx`` into ``directory``, beside it ``model.onnx.data`` above 2 GB."""
    builder = GraphBuilder("mxnet", options.opset)
    with opened(model.files, model.claim.files[1]) as source:
        build(network, builder, source)
        try:
            write_model(
                builder,
                directory / "model.onnx",
                half=options.dtype == "float16",
                progress=lambda done: progress(done, "writing"),
            )
        except (ValueError, LookupError, ArithmeticError) as error:
            # A weight that does not have the shape that its rule found.
            raise ConversionError(f"the weights do not fit the graph: {error}") from error
    return Conversion(notes=describe_doubts(network), ranges=find_ranges(network))


def build(network: Network, builder: GraphBuilder, source: Source) -> None:
    """Fill a builder with the whole network; the weights are read from ``source`` when they are written."""
    operands = {
        tensor.name: Operand(
            Value(
                builder.input(tensor.name, str(tensor.dtype), tensor.shape),
                str(tensor.dtype),
                network.shapes.of(tensor.name),
            )
        )
        for tensor in network.inputs
    }
    heads = reserve_heads(network.graph, network.outputs, builder)
    parameters = {name: _operand(array, source) for name, array in network.arrays.items()}
    walk = Walk(parameters)
    values = walk.run(network.graph, network.shapes, {**parameters, **operands}, builder, heads)
    if walk.uncovered or walk.lacking:
        found = (walk.uncovered + walk.lacking)[0]
        raise ConversionError(f"node {found.node!r} ({found.operator}) was surveyed but cannot be converted")
    taken: set[str] = set()
    for entry, name, value in zip(network.graph.heads, network.outputs, values, strict=True):
        wanted = heads.get(entry, value.name)
        if wanted in taken:
            wanted = builder.identity(value.name, name)
        elif value.name != wanted:
            wanted = builder.identity(value.name, wanted, reserved=True)
        taken.add(wanted)
        builder.output(wanted, value.dtype, value.shape)


def _operand(array: Array, source: Source) -> Operand:
    weight = _weight(array, source)
    return Operand(Value(array.name, weight.dtype, weight.shape), weight, placed=False)


def _weight(array: Array, source: Source) -> Weight:
    shape, dtype = array.shape or (), array.dtype or "float32"
    if array.storage != "default":
        return Weight.made(lambda: _dense(array, source), computed_type(dtype), shape)
    if dtype == "bfloat16":
        return Weight.of_source(source, array.offset, "uint16", shape).map(_widen, dtype="float32")
    return Weight.of_source(source, array.offset, dtype, shape)


def _widen(halves: NDArray[Any]) -> NDArray[Any]:
    """Return bfloat16 values, which are the upper halves of float32."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


def _dense(array: Array, source: Source) -> NDArray[Any]:
    """Return a row-sparse array with its missing rows as zeros."""
    shape = array.shape or ()
    if array.storage != "row_sparse" or array.dtype == "bfloat16":
        raise ConversionError(f"the array {array.name!r} is stored as {array.storage}, which no weight should be")
    result = np.zeros(shape, array.dtype)
    row = max(result[:1].nbytes, 1)
    count = array.length // row
    values = source.read_at(array.offset, array.length)
    positions = np.frombuffer(source.read_at(array.offset + array.length, count * _POSITION.itemsize), _POSITION)
    if len(positions) < count or (count and not 0 <= positions.min() <= positions.max() < shape[0]):
        raise MalformedModelError(f"the row-sparse array {array.name!r} has rows beyond its shape {shape}")
    result[positions] = np.frombuffer(values, np.dtype(str(array.dtype)).newbyteorder("<")).reshape(-1, *shape[1:])
    return result
