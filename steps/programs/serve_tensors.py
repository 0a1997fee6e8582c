"""Tensors of the Open Inference Protocol (V2) as numpy arrays and back, from JSON values and from raw bytes.

Whatever does not fit is a `TensorError` that says what was got and what was expected. What does not belong here: a
server, a model.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

#: The protocol's name to numpy's; what MLServer knows.
DTYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "object",
}
#: Kinds of numpy's, of values as they come in JSON, from which an array of the kind that is the key is made.
_TAKEN = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
_WORDS = {"b": "booleans", "i": "whole numbers", "u": "whole numbers", "f": "numbers", "U": "text", "S": "text"}
_LENGTH = struct.Struct("<I")
#: How much of a value stands in a message, in characters.
_SHOWN = 60


class TensorError(ValueError):
    """A tensor of a request is not what it says to be, or not what the model takes."""


def from_values(name: str, datatype: str, shape: Sequence[int], data: Any) -> Any:
    """Return the array of a tensor whose values stand in a list, flat or nested; in row-major order."""
    kind = _kind(name, datatype)
    if kind.kind == "O":
        array = _texts(name, data)
    elif isinstance(data, np.ndarray):
        array = data
    else:
        array = _numbers(name, datatype, kind, data)
    return _shaped(name, array, shape)


def from_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> Any:
    """Return the array of a tensor that is given as bytes: little-endian, texts each behind its length in 4 bytes."""
    kind = _kind(name, datatype)
    if kind.kind == "O":
        return _shaped(name, _texts(name, list(_unpacked(name, raw))), shape)
    expected = math.prod(shape) * kind.itemsize
    if len(raw) != expected:
        raise TensorError(
            "input %r: got %d bytes, expected %d for %s of %s" % (name, len(raw), expected, list(shape), datatype)
        )
    return np.frombuffer(raw, kind.newbyteorder("<")).reshape(shape)


def to_values(array: Any) -> list[Any]:
    """Return an array's values as a flat list; texts as UTF-8."""
    if array.dtype.kind in "OUS":
        return [_encoded(value) for value in array.ravel().tolist()]
    values: list[Any] = array.ravel().tolist()
    return values


def to_raw(array: Any) -> bytes:
    """Return an array as bytes: little-endian, texts each behind its length in 4 bytes."""
    if array.dtype.kind in "OUS":
        texts = to_values(array)
        return b"".join(part for text in texts for part in (_LENGTH.pack(len(text)), text))
    raw: bytes = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return raw


def datatype_of(array: Any) -> str:
    """Return the protocol's name of an array's type."""
    if array.dtype.kind in "OUS":
        return "BYTES"
    for datatype, dtype in DTYPES.items():
        if array.dtype == dtype:
            return datatype
    raise TensorError("the model answers %s, for which the protocol has no data type" % array.dtype)


def _kind(name: str, datatype: str) -> Any:
    try:
        return np.dtype(DTYPES[datatype])
    except KeyError:
        shown = str(datatype)[:_SHOWN]
        raise TensorError("input %r: got datatype %r, expected one of %s" % (name, shown, ", ".join(DTYPES))) from None


def _numbers(name: str, datatype: str, kind: Any, data: Any) -> Any:
    try:
        array = _read(kind, data)
    except (ValueError, OverflowError, TypeError):
        raise TensorError("input %r: the lists of its data are not of one length" % name) from None
    if kind.kind in "iu" and array.dtype.kind == "O" and _are(array, (int,)):
        return _whole(name, datatype, kind, array)
    if array.size and array.dtype.kind not in _TAKEN[kind.kind]:
        got = _WORDS.get(array.dtype.kind, "a mixture")
        raise TensorError("input %r: got %s, expected %s for %s" % (name, got, _WORDS[kind.kind], datatype))
    if kind.kind in "iu":
        return _whole(name, datatype, kind, array)
    with np.errstate(over="ignore"):
        return array.astype(kind, copy=False)


def _read(kind: Any, data: Any) -> Any:
    array = np.asarray(data)
    if kind.kind == "f" and array.dtype.kind == "O" and _are(array, (int, float, type(None))):
        # JSON has no NaN: servers of this protocol write null.
        return array.astype("float64")
    if kind.kind in "iu" and array.dtype.kind == "f" and array.size:
        # numpy has no type of its own for small numbers together with those from 2**63 on.
        whole = np.asarray(data, object)
        return whole if _are(whole, (int,)) else array
    return array


def _whole(name: str, datatype: str, kind: Any, array: Any) -> Any:
    limits = np.iinfo(kind)
    if array.size and not (limits.min <= int(array.min()) and int(array.max()) <= limits.max):
        raise TensorError("input %r: a value is too large or too small for %s" % (name, datatype))
    return array.astype(kind, copy=False)


def _are(array: Any, types: tuple[type, ...]) -> bool:
    return all(type(value) in types for value in array.ravel())


def _texts(name: str, data: Any) -> Any:
    if isinstance(data, np.ndarray):
        data = data.tolist()
    flat: list[Any] = []
    pending = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, (list, tuple)):
            pending.extend(reversed(value))
        else:
            flat.append(_text(name, value))
    array = np.empty(len(flat), object)
    array[:] = flat
    return array


def _text(name: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            raise TensorError("input %r: got bytes that are not UTF-8, expected text" % name) from None
    raise TensorError("input %r: got %r, expected text for BYTES" % (name, str(value)[:_SHOWN]))


def _encoded(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _unpacked(name: str, raw: bytes) -> Any:
    place = 0
    while place < len(raw):
        start = place + _LENGTH.size
        length = _LENGTH.unpack_from(raw, place)[0] if start <= len(raw) else len(raw)
        place = start + length
        if place > len(raw):
            raise TensorError("input %r: a text goes beyond the end of the data" % name)
        yield raw[start:place]


def _shaped(name: str, array: Any, shape: Sequence[int]) -> Any:
    if array.size != math.prod(shape):
        raise TensorError(
            "input %r: got %d values, expected %d for shape %s" % (name, array.size, math.prod(shape), list(shape))
        )
    return array.reshape(shape)
