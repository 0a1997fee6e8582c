"""Object headers: the messages that describe a group or a dataset (section IV.A)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from klever.steps.encodings.hdf5.storage import Cursor, Storage
from klever.steps.errors import MalformedModelError

DATASPACE: Final = 0x01
LINK_INFO: Final = 0x02
DATATYPE: Final = 0x03
LINK: Final = 0x06
EXTERNAL_FILES: Final = 0x07
LAYOUT: Final = 0x08
ATTRIBUTE: Final = 0x0C
_CONTINUATION: Final = 0x10
SYMBOL_TABLE: Final = 0x11
ATTRIBUTE_INFO: Final = 0x15

_V1_PREFIX_BYTES: Final = 16
#: The longest prefix of version 2: signature, version, flags, four times, two phase changes, size of chunk 0.
_V2_PREFIX_BYTES: Final = 4 + 1 + 1 + 16 + 4 + 8


class Message(NamedTuple):
    """One header message; ``shared`` says that its data is a reference to another place."""

    type: int
    shared: bool
    data: bytes


def read_messages(storage: Storage, address: int) -> Iterator[Message]:
    """Yield the messages of the header at ``address``, continuation blocks included.

    Messages of zero length are skipped. Raises `MalformedModelError` where there is no object header or its blocks
    form a cycle.
    """
    start = storage.read(address, 4)
    if start == b"OHDR":
        chunk, ordered = _open_v2(storage, address)
        header_bytes = 6 if ordered else 4
    elif start[0] == 1:
        chunk, header_bytes = _open_v1(storage, address), 8
    else:
        raise MalformedModelError(f"there is no HDF5 object header at offset {address}")
    pending, seen = [chunk], {address}
    while pending:
        cursor = pending.pop(0)
        while cursor.left >= header_bytes:
            storage.step()
            message = _read_message(cursor, header_bytes)
            if message.type != _CONTINUATION:
                yield message
                continue
            where = Cursor(message.data)
            block, length = storage.offset(where), storage.length(where)
            if block is None or block in seen:
                raise MalformedModelError(f"the HDF5 object header at offset {address} continues in a cycle")
            seen.add(block)
            pending.append(_open_continuation(storage, block, length, signed=header_bytes != 8))


def _open_v1(storage: Storage, address: int) -> Cursor:
    prefix = storage.cursor(address, _V1_PREFIX_BYTES)
    prefix.take(8)
    return storage.cursor(address + _V1_PREFIX_BYTES, prefix.integer(4))


def _open_v2(storage: Storage, address: int) -> tuple[Cursor, bool]:
    prefix = storage.cursor(address, _V2_PREFIX_BYTES, short=True)
    prefix.expect(b"OHDR")
    version, flags = prefix.integer(1), prefix.integer(1)
    if version != 2:
        raise MalformedModelError(f"HDF5 object header version {version} at offset {address} is unknown")
    prefix.take((16 if flags & 0x20 else 0) + (4 if flags & 0x10 else 0))
    length = prefix.integer(1 << (flags & 3))
    return storage.cursor(address + prefix.position, length), bool(flags & 0x04)


def _open_continuation(storage: Storage, address: int, length: int, *, signed: bool) -> Cursor:
    if not signed:
        return storage.cursor(address, length)
    # The last four bytes are a checksum, the first four a signature.
    cursor = storage.cursor(address, max(length - 4, 4))
    cursor.expect(b"OCHK")
    return cursor


def _read_message(cursor: Cursor, header_bytes: int) -> Message:
    kind = cursor.integer(2 if header_bytes == 8 else 1)
    size, flags = cursor.integer(2), cursor.integer(1)
    cursor.take(header_bytes - (5 if header_bytes == 8 else 4))
    return Message(kind, bool(flags & 0x02), cursor.take(size))
