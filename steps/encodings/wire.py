"""The wire format of protocol buffers at its lowest: varints, and the fields with which a file begins.

Recognition needs no more than this. What does not belong here: whole messages, which `protobuf` reads.

The wire format: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Iterator

from klever.steps.errors import MalformedModelError, TruncatedModelError

VARINT, FIXED64, DELIMITED, START_GROUP, END_GROUP, FIXED32 = range(6)


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the varint at ``position``, as 64 bits, and where it ends.

    Raises `TruncatedModelError` or, for more than ten bytes, `MalformedModelError`.
    """
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & 0xFFFFFFFFFFFFFFFF, position
            shift += 7
            if shift > 63:
                raise MalformedModelError(f"a protobuf varint at offset {position} is longer than ten bytes")
    except IndexError:
        raise TruncatedModelError("the file ends inside a protobuf varint") from None


def decode_head(head: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield ``(field number, wire type, value)`` of a file's beginning, the last value cut where the head ends.

    Ends early, without an error, where the bytes cannot be a protobuf.
    """
    position, end = 0, len(head)
    try:
        while position < end:
            tag, position = decode_varint(head, position)
            kind = tag & 7
            if tag < 8 or (kind > DELIMITED and kind != FIXED32):
                return
            if kind in (FIXED64, FIXED32):
                length = 8 if kind == FIXED64 else 4
            else:
                length, position = decode_varint(head, position)
            if kind == VARINT:
                yield tag >> 3, kind, length
                continue
            value = head[position : position + length]
            position += length
            yield tag >> 3, kind, value if kind == DELIMITED else int.from_bytes(value, "little")
    except MalformedModelError:
        return
