"""Attributes and their values: dataspaces, datatypes and the elements they describe (section IV.A.2)."""

import struct
from math import prod
from typing import Final, Literal, NamedTuple

from klever.steps.encodings.hdf5.heaps import MAX_OBJECT_BYTES, GlobalHeaps
from klever.steps.encodings.hdf5.storage import Cursor, Storage
from klever.steps.errors import LimitExceededError, MalformedModelError

#: A scalar, the elements of an array in C order, or None for a type that nobody needs here.
Value = str | int | float | list[str] | list[int] | list[float] | None

_FIXED_POINT, _FLOAT, _STRING, _VARIABLE = 0, 1, 3, 9
#: Elements of one attribute; a network has fewer layers than this.
_MAX_ELEMENTS: Final = 1_000_000
#: The format's own maximum (H5S_MAX_RANK).
_MAX_RANK: Final = 32
_FLOAT_CODES: Final = {2: "e", 4: "f", 8: "d"}


class Datatype(NamedTuple):
    """What is needed to decode an element of ``size`` bytes; ``flags`` are the class bit field."""

    kind: int
    flags: int
    size: int


class Attribute(NamedTuple):
    """A named value, not decoded yet; ``datatype`` is None where it is kept elsewhere in the file."""

    name: str
    datatype: Datatype | None
    #: Sizes of the array in elements, () for a scalar, None for no value at all.
    shape: tuple[int, ...] | None
    data: bytes


def read_attribute(storage: Storage, data: bytes) -> Attribute:
    """Read an attribute message (section IV.A.2.m), versions 1 to 3."""
    cursor = Cursor(data)
    version, flags = cursor.integer(1), cursor.integer(1)
    if version not in (1, 2, 3):
        raise MalformedModelError(f"HDF5 attribute message version {version} is unknown")
    sizes = [cursor.integer(2) for _ in range(3)]
    if version == 3:
        cursor.take(1)  # the name's character set; ASCII is UTF-8 as well
    parts = []
    for size in sizes:
        parts.append(cursor.take(size))
        if version == 1:
            cursor.take(min(-size % 8, cursor.left))
    name = parts[0].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    shared_type, shared_space = (bool(flags & 1), bool(flags & 2)) if version > 1 else (False, False)
    return Attribute(
        name,
        None if shared_type else read_datatype(parts[1]),
        None if shared_space else read_dataspace(storage, parts[2]),
        cursor.take(cursor.left),
    )


def read_dataspace(storage: Storage, data: bytes) -> tuple[int, ...] | None:
    """Return the sizes of a dataspace message (section IV.A.2.b), None for a null space."""
    cursor = Cursor(data)
    version, rank, _flags = cursor.integer(1), cursor.integer(1), cursor.integer(1)
    if version not in (1, 2) or rank > _MAX_RANK:
        raise MalformedModelError(f"HDF5 dataspace version {version} with rank {rank} is unknown")
    kind = cursor.integer(1)
    if version == 1:
        cursor.take(4)
    elif kind == 2:
        return None
    return tuple(storage.length(cursor) for _ in range(rank))


def read_datatype(data: bytes) -> Datatype:
    """Read a datatype message (section IV.A.2.d) without the properties of its class.

    A variable-length type says by its flags whether it is text, and a number by its size and flags how it is stored.
    """
    cursor = Cursor(data)
    kind = cursor.integer(1) & 0x0F
    return Datatype(kind, cursor.integer(3), cursor.integer(4))


def decode(storage: Storage, heaps: GlobalHeaps, attribute: Attribute) -> Value:
    """Decode an attribute's value: text, integers and floats; None for anything else.

    Raises `LimitExceededError` for more elements or bytes than any real attribute has.
    """
    datatype, shape = attribute.datatype, attribute.shape
    if datatype is None or shape is None:
        return None
    count = prod(shape)
    if count > _MAX_ELEMENTS or count * datatype.size > MAX_OBJECT_BYTES:
        raise LimitExceededError(
            f"the HDF5 attribute {attribute.name!r} claims {count} elements of {datatype.size} bytes"
        )
    cursor = Cursor(attribute.data)
    if datatype.kind == _STRING:
        texts = [_fixed_text(cursor.take(datatype.size), datatype.flags) for _ in range(count)]
        return texts if shape else texts[0]
    if datatype.kind == _VARIABLE and datatype.flags & 0x0F == 1:
        texts = [_variable_text(storage, heaps, cursor) for _ in range(count)]
        return texts if shape else texts[0]
    if datatype.kind == _FIXED_POINT:
        order: Literal["big", "little"] = "big" if datatype.flags & 1 else "little"
        numbers = [
            int.from_bytes(cursor.take(datatype.size), order, signed=bool(datatype.flags & 8)) for _ in range(count)
        ]
        return numbers if shape else numbers[0]
    if datatype.kind == _FLOAT and datatype.size in _FLOAT_CODES:
        code = (">" if datatype.flags & 1 else "<") + f"{count}{_FLOAT_CODES[datatype.size]}"
        reals = list(struct.unpack(code, cursor.take(count * datatype.size)))
        return reals if shape else reals[0]
    return None


def _fixed_text(data: bytes, flags: int) -> str:
    """Decode by the padding that bits 0 to 3 name: null-terminated, null-padded or space-padded."""
    padding = flags & 0x0F
    data = data.split(b"\0", 1)[0] if padding == 0 else data.rstrip(b"\0" if padding == 1 else b" ")
    return data.decode("utf-8", "backslashreplace")


def _variable_text(storage: Storage, heaps: GlobalHeaps, cursor: Cursor) -> str:
    length = cursor.integer(4)
    address, index = storage.offset(cursor), cursor.integer(4)
    if not length or not address:
        return ""
    return heaps.read(address, index)[:length].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
