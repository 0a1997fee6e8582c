"""The file of a finished graph: the skeleton first, then weight after weight as it is read.

Above 2 GB, where a protobuf ends, the weights lie in a file beside it. Source: onnx/onnx.proto3 (field numbers) and
"External Data" in onnx/docs/ExternalData.md.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from onnx import ModelProto, StringStringEntryProto, TensorProto

from klever.steps.encodings.wire import DELIMITED
from klever.steps.errors import ConversionError, storage_error
from klever.steps.writers.onnx.graph import GraphBuilder
from klever.steps.writers.onnx.half import halve
from klever.steps.writers.onnx.skeleton import SMALL_BYTES, build_skeleton, header, infer, live_nodes, names_read
from klever.steps.writers.onnx.weight import Weight
from klever.steps.writers.protobuf import encode_tag, encode_varint

#: The limit of a protobuf, less what the graph itself may take.
EXTERNAL_ABOVE_BYTES: Final = (2 << 30) - (64 << 20)
#: So that a runtime may map the weights into memory; a page on every platform.
_ALIGNMENT: Final = 64 << 10
_GRAPH_FIELD, _INITIALIZER_FIELD, _RAW_DATA_FIELD = 7, 5, 9


def write_model(
    graph: GraphBuilder,
    path: Path,
    *,
    half: bool = False,
    external_above: int = EXTERNAL_ABOVE_BYTES,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Check ``graph`` and write it to ``path``, weights above ``external_above`` bytes to ``<path>.data``.

    ``half`` computes and stores in float16. ``progress`` is called with the part that is written, from 0 to 1.
    Raises `ConversionError` where the graph breaks ONNX's rules, before anything is written.
    """
    used = {name for node in live_nodes(graph) for name in names_read(node)} | {each.name for each in graph.outputs}
    weights = {name: weight for name, weight in graph.weights.items() if name in used}
    _check_names(graph)
    model = infer(build_skeleton(graph, weights))
    large = {name: weight for name, weight in weights.items() if weight.nbytes > SMALL_BYTES}
    if half:
        model, large = halve(model, large)
    _drop_inputs(model, large)
    total = sum(weight.nbytes for weight in large.values())
    report = _Report(total, progress)
    try:
        if total > external_above:
            _write_external(model, large, path, report)
        else:
            with path.open("wb") as stream:
                _write_inline(model, large, stream, report)
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error


class _Report:
    """Counts the bytes of weights that were written."""

    def __init__(self, total: int, progress: Callable[[float], None] | None) -> None:
        self._total = max(total, 1)
        self._done = 0
        self._progress = progress

    def __call__(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done / self._total)


def _check_names(graph: GraphBuilder) -> None:
    missing = [output.name for output in graph.outputs if output.name not in graph._taken]
    if missing:
        raise ConversionError(f"nothing computes the output {missing[0]!r}", stage="write")


def _drop_inputs(model: ModelProto, large: Mapping[str, Weight]) -> None:
    """Take the stand-ins of weights out of the inputs."""
    kept = [each for each in model.graph.input if each.name not in large]
    copies = [type(each).FromString(each.SerializeToString()) for each in kept]
    del model.graph.input[:]
    model.graph.input.extend(copies)


def _write_inline(model: ModelProto, large: Mapping[str, Weight], stream: BinaryIO, report: _Report) -> None:
    graph = model.graph.SerializeToString()
    model.ClearField("graph")
    headers = {name: header(name, weight).SerializeToString() for name, weight in large.items()}
    lengths = {
        name: len(headers[name]) + len(_prefix(_RAW_DATA_FIELD, weight.nbytes)) + weight.nbytes
        for name, weight in large.items()
    }
    total = len(graph) + sum(len(_prefix(_INITIALIZER_FIELD, length)) + length for length in lengths.values())
    stream.write(model.SerializeToString() + _prefix(_GRAPH_FIELD, total))
    stream.write(graph)
    for name, weight in large.items():
        stream.write(_prefix(_INITIALIZER_FIELD, lengths[name]) + headers[name])
        stream.write(_prefix(_RAW_DATA_FIELD, weight.nbytes))
        _copy(name, weight, stream, report)


def _write_external(model: ModelProto, large: Mapping[str, Weight], path: Path, report: _Report) -> None:
    data_path = path.with_name(path.name + ".data")
    with data_path.open("wb") as stream:
        for name, weight in large.items():
            offset = -(-stream.tell() // _ALIGNMENT) * _ALIGNMENT
            stream.seek(offset)
            _copy(name, weight, stream, report)
            tensor = header(name, weight)
            tensor.data_location = TensorProto.EXTERNAL
            tensor.external_data.extend(
                StringStringEntryProto(key=key, value=str(value))
                for key, value in (("location", data_path.name), ("offset", offset), ("length", weight.nbytes))
            )
            model.graph.initializer.append(tensor)
    path.write_bytes(model.SerializeToString())


def _copy(name: str, weight: Weight, stream: BinaryIO, report: _Report) -> None:
    written = 0
    for chunk in weight.chunks():
        stream.write(chunk)
        written += len(chunk)
        report(len(chunk))
    if written != weight.nbytes:
        raise ConversionError(f"weight {name!r} has {written} bytes instead of {weight.nbytes}", stage="write")


def _prefix(field: int, length: int) -> bytes:
    """Return the tag of a length-delimited field and its length."""
    return encode_tag(field, DELIMITED) + encode_varint(length)
