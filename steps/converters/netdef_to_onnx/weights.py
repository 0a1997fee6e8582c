"""The values that fillers hold, read from the file while the model is written.

A ``repeated float`` of protobuf 2 takes five bytes an element, tag and value, unless its writer packed it. What does
not belong here: which operators fill (see ``fillers``).
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from klever.steps.converters.netdef_to_onnx.fillers import Filled, Kind
from klever.steps.encodings.protobuf import Message
from klever.steps.encodings.wire import decode_varint
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import BytesSource, Source
from klever.steps.formats.netdef.graph import Argument
from klever.steps.writers.onnx import Weight

#: What is read at a time; a multiple of the five bytes of a tagged float.
_CHUNK_BYTES: Final = 5 << 20
#: Integers and text are taken into memory as a whole.
_MAX_WHOLE_BYTES: Final = 1 << 28
_FLOATS, _INTS, _STRINGS, _TEXT = 5, 6, 7, 4
_TAGGED: Final = np.dtype([("tag", "u1"), ("value", "<f4")])
_FIXED32_TAG: Final = _FLOATS << 3 | 5
_PACKED_TAG: Final = _FLOATS << 3 | 2
_VARINT_TAG: Final = _INTS << 3


def weight_of(filled: Filled) -> Weight:
    """Return the weight, whose values are read when they are written.

    Reading raises `MalformedModelError` where the file does not hold as many values as the shape takes.
    """
    if filled.kind is Kind.CONSTANT:
        return Weight(filled.dtype, filled.shape, lambda: _constant_chunks(filled))
    if filled.kind is Kind.RANGE:
        return _made(filled, lambda: np.arange(filled.elements, dtype=filled.dtype))
    if filled.kind is Kind.DIAGONAL:
        return _made(filled, lambda: _diagonal(filled))
    if filled.kind is Kind.BYTES:
        return Weight("uint8", filled.shape, lambda: [_counted(filled, _bytes(filled.values))])
    if filled.dtype == "float32":
        return Weight("float32", filled.shape, lambda: _float_chunks(filled))
    return _made(filled, lambda: _small(filled))


def _made(filled: Filled, make: Callable[[], NDArray[Any]]) -> Weight:
    def chunks() -> Iterator[memoryview]:
        array: NDArray[Any] = np.ascontiguousarray(make(), np.dtype(filled.dtype).newbyteorder("<"))
        if array.size != filled.elements:
            raise _miscounted(filled, array.size)
        yield array.reshape(-1).view(np.uint8).data

    return Weight(filled.dtype, filled.shape, chunks)


def _constant_chunks(filled: Filled) -> Iterator[bytes]:
    step = _CHUNK_BYTES // 8
    chunk = np.full(min(filled.elements, step), filled.value, np.dtype(filled.dtype).newbyteorder("<")).tobytes()
    for _ in range(filled.elements // step):
        yield chunk
    width = len(chunk) // max(min(filled.elements, step), 1)
    yield chunk[: filled.elements % step * width]


def _diagonal(filled: Filled) -> NDArray[Any]:
    array = np.zeros(filled.shape, filled.dtype)
    steps = [np.arange(min(filled.shape, default=0))] * len(filled.shape)
    array[tuple(steps)] = filled.value
    return array


def _miscounted(filled: Filled, found: int) -> MalformedModelError:
    return MalformedModelError(f"a filler holds {found} values for the shape {list(filled.shape)}")


def _counted(filled: Filled, data: bytes) -> bytes:
    if len(data) != filled.elements:
        raise _miscounted(filled, len(data))
    return data


def _float_chunks(filled: Filled) -> Iterator[bytes]:
    count = 0
    for chunk in _floats(filled.values, filled.source):
        count += len(chunk) // 4
        if count > filled.elements:
            break
        yield chunk
    if count != filled.elements:
        raise _miscounted(filled, count)


def _small(filled: Filled) -> NDArray[Any]:
    """Return the values of what is not a float32 as an array: integers, truth values, doubles and halves."""
    if filled.dtype.startswith("float"):
        data = b"".join(_floats(filled.values, filled.source))
        return np.frombuffer(data, "<f4").astype(filled.dtype)
    argument = filled.values or Argument()
    if argument.stored is None:
        return np.array(argument.ints, np.int64).astype(filled.dtype)
    return _integers(_whole(argument.stored)).astype(filled.dtype)


def _whole(part: bytes | Message) -> bytes:
    if isinstance(part, Message):
        return part.bytes(_MAX_WHOLE_BYTES)
    return part


def _bytes(argument: Argument | None) -> bytes:
    """Return the bytes of a text argument: one string, or strings one behind the other."""
    argument = argument or Argument()
    if argument.stored is None:
        return argument.s if argument.s is not None else b"".join(argument.strings)
    data = _whole(argument.stored)
    return b"".join(
        data[start:end] for number, kind, start, end in _fields(data) if kind == 2 and number in (_TEXT, _STRINGS)
    )


def _fields(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and the range of the value of each field."""
    position = 0
    while position < len(data):
        tag, position = decode_varint(data, position)
        start = position
        if tag & 7 == 0:
            _, position = decode_varint(data, position)
        elif tag & 7 == 2:
            length, start = decode_varint(data, position)
            position = start + length
        elif tag & 7 in (1, 5):
            position += 8 if tag & 7 == 1 else 4
        else:
            raise MalformedModelError(f"protobuf wire type {tag & 7} is not in use")
        if position > len(data):
            raise TruncatedModelError("the file ends inside an argument")
        yield tag >> 3, tag & 7, start, position


def _floats(argument: Argument | None, source: Source | None) -> Iterator[bytes]:
    """Yield the floats of an argument as little-endian bytes, however they are stored."""
    argument = argument or Argument()
    if argument.stored is None:
        if argument.floats:
            yield np.array(argument.floats, "<f4").tobytes()
        return
    if isinstance(argument.stored, Message) and source is not None:
        yield from _stored_floats(source, argument.stored.start, argument.stored.end)
    else:
        data = _whole(argument.stored)
        yield from _stored_floats(BytesSource(data), 0, len(data))


def _stored_floats(source: Source, position: int, end: int) -> Iterator[bytes]:
    while position < end:
        data = source.read_at(position, min(_CHUNK_BYTES, end - position))
        if not data:
            raise TruncatedModelError("the file ends inside an array of weights")
        run = _tagged_run(data)
        if run:
            yield np.frombuffer(data, _TAGGED, run)["value"].tobytes()
            position += 5 * run
            continue
        tag, after = decode_varint(data, 0)
        if tag == _PACKED_TAG:
            length, after = decode_varint(data, after)
            yield from _packed(source, position + after, min(length, end - position - after))
            position += after + length
        else:
            position += _skip(tag, data, after)


def _tagged_run(data: bytes) -> int:
    """Count how many tagged floats the data begins with."""
    if data[0] != _FIXED32_TAG:
        return 0
    tags = np.frombuffer(data, _TAGGED, len(data) // 5)["tag"] == _FIXED32_TAG
    return len(tags) if tags.all() else int(np.argmin(tags))


def _packed(source: Source, position: int, length: int) -> Iterator[bytes]:
    for start in range(0, length - 3, _CHUNK_BYTES - _CHUNK_BYTES % 4):
        wanted = min(_CHUNK_BYTES - _CHUNK_BYTES % 4, length - start)
        data = source.read_at(position + start, wanted)
        if len(data) < wanted:
            raise TruncatedModelError("the file ends inside an array of weights")
        yield data[: len(data) // 4 * 4]


def _skip(tag: int, data: bytes, after: int) -> int:
    """Return how long a field is that holds no floats."""
    if tag & 7 == 0:
        return decode_varint(data, after)[1]
    if tag & 7 == 2:
        length, after = decode_varint(data, after)
        return after + length
    if tag & 7 in (1, 5):
        return after + (8 if tag & 7 == 1 else 4)
    raise MalformedModelError(f"protobuf wire type {tag & 7} is not in use")


def _integers(data: bytes) -> NDArray[np.int64]:
    """Return the integers of an Argument message, single or packed."""
    found = []
    position, tried = 0, False
    for number, kind, start, end in _fields(data):
        if number == _INTS and kind == 2:
            found.append(_varints(np.frombuffer(data, np.uint8, end - start, start)))
        elif number == _INTS and kind == 0:
            # From here on every other varint is a tag, where nothing else follows; a second look would be the same.
            values = None if tried else _tagged_varints(data[position:])
            tried = True
            if values is not None:
                return np.concatenate([*found, values])
            found.append(_varints(np.frombuffer(data, np.uint8, end - start, start)))
        position = end
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _tagged_varints(data: bytes) -> NDArray[np.int64] | None:
    """Return the values of a message that is nothing but tagged integers, None where there is more to it."""
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer < 0x80) + 1
    if not len(ends) or len(ends) % 2 or ends[-1] != len(buffer):
        return None
    starts = np.concatenate([[0], ends[:-1]])
    tags = starts[::2]
    if not ((ends[::2] - tags == 1) & (buffer[tags] == _VARINT_TAG)).all():
        return None
    return _join(buffer, starts[1::2], ends[1::2])


def _varints(buffer: NDArray[np.uint8]) -> NDArray[np.int64]:
    ends = np.flatnonzero(buffer < 0x80) + 1
    if len(buffer) and (not len(ends) or ends[-1] != len(buffer)):
        raise TruncatedModelError("a packed field ends inside a number")
    return _join(buffer, np.concatenate([[0], ends[:-1]])[: len(ends)], ends)


def _join(buffer: NDArray[np.uint8], starts: NDArray[Any], ends: NDArray[Any]) -> NDArray[np.int64]:
    lengths = ends - starts
    longest = int(lengths.max(initial=0))
    if longest > 10:
        raise LimitExceededError("a number of a protobuf takes more than ten bytes")
    values = np.zeros(len(starts), np.uint64)
    for place in range(longest):
        held = lengths > place
        part = buffer[starts[held] + place].astype(np.uint64) & np.uint64(0x7F)
        values[held] |= part << np.uint64(7 * place)
    return values.view(np.int64)
