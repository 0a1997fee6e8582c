"""Protocol buffers by their wire format, without generated classes and without reading what is skipped.

    >>> from klever.steps.files import BytesSource
    >>> message = Message.of(BytesSource(b"\\x08\\x96\\x01\\x12\\x02hi"))
    >>> [(number, value if isinstance(value, int) else value.text()) for number, value in message]
    [(1, 150), (2, 'hi')]

Iterating a `Message` yields ``(field number, value)``: an integer for varints and fixed-width fields (as the
unsigned number of its bits; see `signed` and `as_float`), and for length-delimited fields another `Message`, whose
bytes are read only when asked for. So the weights of a 10 GB file cost nothing.

The wire format: https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterator
from typing import Final, Self

from klever.steps.encodings.wire import DELIMITED, FIXED32, FIXED64, VARINT, decode_varint
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import Source

#: The C++ and Java parsers refuse messages nested deeper than this.
MAX_DEPTH: Final = 100
#: Fields of large messages read in one file, all depths together; a graph of a million nodes stays below it.
MAX_FIELDS: Final = 5_000_000
#: The longest text or bytes field that is taken into memory as one value, in bytes.
MAX_VALUE_BYTES: Final = 256 << 20

_BUFFER_BYTES: Final = 64 << 10
#: What is read first behind something skipped: one header of weights is followed by more weights.
_JUMP_BYTES: Final = 4 << 10
#: What a reader of tags takes from the read-ahead at a time, in bytes: the price of a copy, not of a request.
_WINDOW_BYTES: Final = 512
#: Messages up to this size are read whole when entered, so that their own fields need no further reads.
_WHOLE_BYTES: Final = _BUFFER_BYTES

#: Messages up to this size are decoded as one piece of memory by `fields`; nodes of graphs are that small.
_DECODE_BYTES: Final = 16 << 10


class _Budget:
    """How many fields may still be read from a file."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_FIELDS


class Message:
    """A length-delimited range of a source: a message, text, bytes or packed numbers, as its reader decides."""

    __slots__ = ("_budget", "_depth", "_source", "end", "start")

    def __init__(self, source: Source, start: int, end: int, depth: int, budget: _Budget) -> None:
        self._source = source
        self.start = start
        self.end = end
        self._depth = depth
        self._budget = budget

    @classmethod
    def of(cls, source: Source) -> Self:
        """Take a whole source as one message."""
        return cls(_Ahead(source), 0, source.size, 0, _Budget())

    def __len__(self) -> int:
        return self.end - self.start

    def __bool__(self) -> bool:
        return True

    def bytes(self, limit: int = MAX_VALUE_BYTES) -> bytes:
        """Return the content; raises `LimitExceededError` above ``limit`` bytes."""
        length = self.end - self.start
        if length > limit:
            raise LimitExceededError(
                f"a protobuf field of {length} bytes is longer than the {limit} that its kind may be"
            )
        data = self._source.read_at(self.start, length)
        if len(data) < length:
            raise TruncatedModelError(f"the file ends inside a protobuf field at offset {self.start}")
        return data

    def text(self, limit: int = 1 << 20) -> str:
        """Return the content as UTF-8 text; names from older writers that are not UTF-8 are kept by escapes."""
        return self.bytes(limit).decode("utf-8", "backslashreplace")

    def __iter__(self) -> Iterator[tuple[int, "int | Message"]]:
        if self._depth > MAX_DEPTH:
            raise LimitExceededError(f"protobuf messages are nested deeper than {MAX_DEPTH}")
        if len(self) <= _WHOLE_BYTES:
            window = _Window(_Slice(self.bytes(), self.start), self.end)
        else:
            window = _Window(self._source, self.end)
        position, end, budget, depth = self.start, self.end, self._budget, self._depth + 1
        while position < end:
            budget.left -= 1
            if budget.left < 0:
                raise LimitExceededError(f"the file holds more than {MAX_FIELDS} protobuf fields")
            tag, position = window.varint(position)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise MalformedModelError(f"protobuf field number 0 at offset {position}")
            if kind == VARINT:
                value, position = window.varint(position)
                yield number, value
            elif kind == DELIMITED:
                length, position = window.varint(position)
                if length > end - position:
                    raise TruncatedModelError(
                        f"protobuf field {number} at offset {position} claims {length} bytes, {end - position} are left"
                    )
                yield number, Message(window.source, position, position + length, depth, budget)
                position += length
            elif kind in (FIXED32, FIXED64):
                width = 4 if kind == FIXED32 else 8
                yield number, int.from_bytes(window.take(position, width), "little")
                position += width
            else:
                raise MalformedModelError(
                    f"protobuf wire type {kind} of field {number} at offset {position} is not in use"
                )

    def varints(self) -> Iterator[int]:
        """Yield a packed repeated field's varints (unsigned; see `signed`)."""
        data = self.bytes()
        position, end = 0, len(data)
        while position < end:
            value, position = decode_varint(data, position)
            yield value

    def floats(self) -> tuple[float, ...]:
        """Return a packed repeated ``float`` field."""
        data = self.bytes()
        return struct.unpack(f"<{len(data) // 4}f", data[: len(data) // 4 * 4])


class _Ahead:
    """A read-ahead of one block, so that a run of small messages costs one read of the source per block.

    The block is short behind a jump, over weights, and grows as the run goes on.
    """

    __slots__ = ("_block", "_source", "_start", "_step", "size")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._start = 0
        self._block = b""
        self._step = _BUFFER_BYTES
        self.size = source.size

    def read_at(self, offset: int, length: int) -> bytes:
        at = offset - self._start
        if at >= 0 and at + length <= len(self._block):
            return self._block[at : at + length]
        if length >= _BUFFER_BYTES:
            return self._source.read_at(offset, length)
        runs_on = 0 <= at <= len(self._block)
        self._step = min(4 * self._step, _BUFFER_BYTES) if runs_on else _JUMP_BYTES
        self._start = offset
        self._block = self._source.read_at(offset, max(length, self._step))
        return self._block[:length]

    def close(self) -> None:
        self._source.close()


class _Slice:
    """Bytes of a source that are in memory, under their offsets in the source."""

    __slots__ = ("_base", "_data", "size")

    def __init__(self, data: bytes, base: int) -> None:
        self._data = data
        self._base = base
        self.size = base + len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        offset -= self._base
        return self._data[offset : offset + length]

    def close(self) -> None:
        pass


class _Window:
    """The few bytes around a position: tags, lengths and short fields."""

    __slots__ = ("_data", "_end", "_start", "source")

    def __init__(self, source: Source, end: int) -> None:
        self.source = source
        self._end = end
        self._start = 0
        self._data = b""

    def take(self, position: int, length: int) -> bytes:
        at = position - self._start
        if at < 0 or at + length > len(self._data):
            self._data = self.source.read_at(position, min(max(_WINDOW_BYTES, length), self._end - position))
            self._start = position
            at = 0
        data = self._data[at : at + length]
        if len(data) < length:
            raise TruncatedModelError(f"the file ends inside a protobuf field at offset {position}")
        return data

    def varint(self, position: int) -> tuple[int, int]:
        at = position - self._start
        if 0 <= at < len(self._data) and (byte := self._data[at]) < 0x80:
            return byte, position + 1
        if at < 0 or at + 10 > len(self._data):
            self._data = self.source.read_at(position, min(_WINDOW_BYTES, self._end - position))
            self._start = position
            at = 0
        value, after = decode_varint(self._data, at)
        return value, after + self._start


def decode(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield ``(field number, value)`` of a small message in memory, several times as fast as a `Message`.

    Length-delimited values are their bytes. Raises what iterating a `Message` raises.
    """
    position, end = 0, len(data)
    while position < end:
        tag = data[position]
        position += 1
        if tag >= 0x80:
            tag, position = decode_varint(data, position - 1)
        kind = tag & 7
        if kind > DELIMITED and kind != FIXED32:
            raise MalformedModelError(f"protobuf wire type {kind} of field {tag >> 3} is not in use")
        if tag < 8:
            raise MalformedModelError("protobuf field number 0")
        if kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            length, position = decode_varint(data, position)
            if kind == VARINT:
                yield tag >> 3, length
                continue
        value = data[position : position + length]
        position += length
        if position > end:
            raise TruncatedModelError(f"protobuf field {tag >> 3} leaves its message with {length} bytes")
        yield tag >> 3, value if kind == DELIMITED else int.from_bytes(value, "little")


def fields(part: bytes | Message) -> Iterator[tuple[int, int | bytes | Message]]:
    """Yield the fields of a message, decoded in memory where it is small: the way through graphs of many nodes."""
    if isinstance(part, Message):
        if len(part) > _DECODE_BYTES:
            yield from part
            return
        part = part.bytes()
    yield from decode(part)


def text(part: bytes | Message, limit: int = 1 << 16) -> str:
    """Return text that `fields` yielded; raises `LimitExceededError` above ``limit`` bytes."""
    if isinstance(part, Message):
        return part.text(limit)
    return part.decode("utf-8", "backslashreplace")


def signed(value: int) -> int:
    """Return an ``int32`` or ``int64`` from the 64 bits of its varint."""
    return value - (1 << 64) if value >> 63 else value


def as_float(bits: int) -> float:
    """Return a ``float`` from the 32 bits of its fixed-width field."""
    number: float = struct.unpack("<f", (bits & 0xFFFFFFFF).to_bytes(4, "little"))[0]
    return number
