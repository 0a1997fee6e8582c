"""Protocol buffers written by their wire format, with weights passed through as streams.

    >>> message = Message().add_text(1, "hi").add_varint(3, 150)
    >>> b"".join(message.chunks())
    b'\\n\\x02hi\\x18\\x96\\x01'

A `Message` is the list of its parts and knows its length before any weight is read, so that a length can stand before
what it measures. What does not belong here: any schema.

The wire format: https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from math import copysign, inf
from typing import Final, NamedTuple, Self

from klever.steps.encodings.wire import DELIMITED, FIXED32, VARINT

#: Parsers refuse more: a message's length has to fit 31 bits.
MAX_MESSAGE_BYTES: Final = 2**31 - 1


class Stream(NamedTuple):
    """Bytes that are produced when they are written: their number, and a function that yields them piece by piece."""

    length: int
    chunks: Callable[[], Iterable[bytes | memoryview]]


def encode_varint(value: int) -> bytes:
    """Encode an integer; a negative one as the 64 bits of its two's complement, as ``int32`` and ``int64`` have it."""
    value &= 0xFFFFFFFFFFFFFFFF
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def encode_tag(number: int, kind: int) -> bytes:
    """Encode what stands before a field's value."""
    return encode_varint(number << 3 | kind)


class Message:
    """A message being put together; fields stand in the order in which they are added."""

    __slots__ = ("_parts", "length")

    def __init__(self) -> None:
        self._parts: list[bytes | Stream] = []
        #: In bytes.
        self.length = 0

    def add_varint(self, number: int, value: int) -> Self:
        """Add an integer, enumerator or truth value."""
        return self._add(encode_tag(number, VARINT) + encode_varint(value))

    def add_float(self, number: int, value: float) -> Self:
        """Add a number of 32 bits; what is too large for them becomes infinite."""
        try:
            encoded = struct.pack("<f", value)
        except OverflowError:
            encoded = struct.pack("<f", copysign(inf, value))
        return self._add(encode_tag(number, FIXED32) + encoded)

    def add_bytes(self, number: int, value: bytes) -> Self:
        """Add bytes."""
        return self._add(encode_tag(number, DELIMITED) + encode_varint(len(value)) + value)

    def add_text(self, number: int, value: str) -> Self:
        """Add text in UTF-8."""
        return self.add_bytes(number, value.encode("utf-8", "replace"))

    def add_stream(self, number: int, value: Stream) -> Self:
        """Add a length-delimited field whose content is produced at writing: weights, packed numbers."""
        self._add(encode_tag(number, DELIMITED) + encode_varint(value.length))
        self._parts.append(value)
        self.length += value.length
        return self

    def add_message(self, number: int, value: "Message") -> Self:
        """Add a message; its streams stay streams."""
        self._add(encode_tag(number, DELIMITED) + encode_varint(value.length))
        self._parts.extend(value._parts)
        self.length += value.length
        return self

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the encoded message; raises `ValueError` where a stream does not keep to its length."""
        for part in self._parts:
            if not isinstance(part, Stream):
                yield part
                continue
            left = part.length
            for chunk in part.chunks():
                left -= memoryview(chunk).nbytes
                yield chunk
            if left:
                raise ValueError(f"a stream of {part.length} bytes differs from that by {-left}")

    def _add(self, encoded: bytes) -> Self:
        self._parts.append(encoded)
        self.length += len(encoded)
        return self
