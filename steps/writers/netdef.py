"""Caffe2's NetDef written: operators with their arguments, fillers with streamed weights, the files of a model.

The message definitions: ``caffe2/proto/caffe2.proto``. What does not belong here: what an operator computes, and any
other format that a net comes from.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from klever.steps.errors import ConversionError, storage_error
from klever.steps.writers.protobuf import MAX_MESSAGE_BYTES, Message, Stream

#: The names by which Caffe2's predictors and Triton find the two nets.
INIT_NET: Final = "init_net.pb"
PREDICT_NET: Final = "predict_net.pb"
#: Where Caffe2's exporter to ONNX looks for the types and shapes of inputs, which a NetDef has no place for.
VALUE_INFO: Final = "value_info.json"

#: ``TensorProto.DataType`` of ``caffe2.proto``, as the argument of a ``Cast`` or a ``ConstantFill``.
FLOAT, INT32, INT64 = 1, 2, 10
#: ``TensorProto.DataType`` of ONNX, which ``value_info.json`` is written in.
_ONNX_FLOAT: Final = 1

Value = int | float | str | Sequence[int] | Sequence[float] | Stream

# Fields of NetDef, OperatorDef and Argument.
_NET_NAME, _NET_OP, _NET_INPUT, _NET_OUTPUT = 1, 2, 7, 8
_OP_INPUT, _OP_OUTPUT, _OP_NAME, _OP_TYPE, _OP_ARGUMENT = 1, 2, 3, 4, 5
_ARGUMENT_NAME, _F, _I, _S, _FLOATS, _INTS = 1, 2, 3, 4, 5, 6


def build_operator(
    kind: str, inputs: Iterable[str], outputs: Iterable[str], name: str = "", arguments: Mapping[str, Value] = {}
) -> Message:
    """Build an OperatorDef; a `Stream` among the arguments is packed little-endian ``floats``."""
    message = Message()
    for blob in inputs:
        message.add_text(_OP_INPUT, blob)
    for blob in outputs:
        message.add_text(_OP_OUTPUT, blob)
    if name:
        message.add_text(_OP_NAME, name)
    message.add_text(_OP_TYPE, kind)
    for key, value in arguments.items():
        message.add_message(_OP_ARGUMENT, _argument(key, value))
    return message


def _argument(name: str, value: Value) -> Message:
    message = Message().add_text(_ARGUMENT_NAME, name)
    if isinstance(value, Stream):
        # The schema does not say "packed", yet every parser of protobuf takes both: a fifth less, and one copy.
        return message.add_stream(_FLOATS, value)
    if isinstance(value, int):
        return message.add_varint(_I, value)
    if isinstance(value, float):
        return message.add_float(_F, value)
    if isinstance(value, str):
        return message.add_text(_S, value)
    for item in value:
        if isinstance(item, float):
            message.add_float(_FLOATS, item)
        else:
            message.add_varint(_INTS, item)
    return message


def write_net(
    path: Path,
    name: str,
    operators: Iterable[Message],
    external_inputs: Iterable[str] = (),
    external_outputs: Iterable[str] = (),
) -> None:
    """Write a NetDef, operator by operator.

    Raises `ConversionError` for more than 2 GiB, which no parser of protobuf takes, and `StorageError`.
    """
    tail = Message()
    for blob in external_inputs:
        tail.add_text(_NET_INPUT, blob)
    for blob in external_outputs:
        tail.add_text(_NET_OUTPUT, blob)
    total = 0
    try:
        with path.open("wb") as stream:
            parts = (Message().add_message(_NET_OP, operator) for operator in operators)
            for part in chain((Message().add_text(_NET_NAME, name),), parts, (tail,)):
                total += part.length
                if total > MAX_MESSAGE_BYTES:
                    raise ConversionError(
                        f"{path.name} would have more than 2 GiB, which no parser of protobuf takes",
                        next_step="convert to a format that keeps weights outside of its messages",
                    )
                stream.writelines(part.chunks())
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error


def write_value_info(path: Path, shapes: Mapping[str, Sequence[int] | None]) -> None:
    """Write the shapes of inputs, which are ``float32``; -1 is a size that is open, None an unknown rank, left out."""
    known = {name: [_ONNX_FLOAT, list(shape)] for name, shape in shapes.items() if shape is not None}
    try:
        path.write_text(json.dumps(known) + "\n", encoding="utf-8")
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error
