"""Protobuf's wire format, written by hand: messages that no library would write among them."""


def varint(number: int) -> bytes:
    """Return a varint; a negative number takes ten bytes, as ``int32`` and ``int64`` fields have it."""
    number %= 1 << 64
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def field(number: int, content: bytes | int) -> bytes:
    """Return a field: a varint, or bytes behind their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content
