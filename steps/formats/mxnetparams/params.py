"""MXNet's NDArray file: which arrays a ``.params`` file holds, and where, without reading their values.

The layout is that of ``NDArray::Save`` in MXNet's ``src/ndarray/ndarray.cc``: a list header, the arrays one after
another, the names at the end. Arrays carry a mark of their generation: none (up to 0.8, 32-bit sizes), V1 (64-bit
sizes), V2 (sparse storage), V3 (numpy shapes, in which rank 0 is a scalar).

What does not belong here: what an array is used for.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import Source

#: The first eight bytes of a list of arrays, little-endian.
MAGIC: Final = 0x112
#: A ZIP archive: what ``save`` of MXNet 2 writes.
_ARCHIVE: Final = b"PK\3\4"
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA

#: Type flags of mshadow, with their numpy names and sizes in bytes.
DTYPES: Final = {
    0: ("float32", 4),
    1: ("float64", 8),
    2: ("float16", 2),
    3: ("uint8", 1),
    4: ("int32", 4),
    5: ("int8", 1),
    6: ("int64", 8),
    7: ("bool", 1),
    8: ("int16", 2),
    9: ("uint16", 2),
    10: ("uint32", 4),
    11: ("uint64", 8),
    12: ("bfloat16", 2),
}
#: Storage types, with how many index arrays each keeps beside its values.
_STORAGES: Final = {-1: ("default", 0), 0: ("default", 0), 1: ("row_sparse", 1), 2: ("csr", 2)}

MAX_ARRAYS: Final = 200_000
#: numpy's limit; MXNet itself has none.
MAX_RANK: Final = 32
_MAX_NAME_BYTES: Final = 4096
_WINDOW_BYTES: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Array:
    """One array of the file; its values are the bytes [offset, offset + length) in C order, little-endian.

    ``kind`` is ``arg`` or ``aux`` where the name carried that prefix, else empty. ``dtype`` and ``shape`` are None
    for an array that was never filled. Of a sparse array the range holds the stored values only.
    """

    name: str
    kind: str
    dtype: str | None
    shape: tuple[int, ...] | None
    offset: int
    length: int
    storage: str = "default"


class _Cursor:
    """A position that moves forward over a source, with a read-ahead for headers."""

    __slots__ = ("_data", "_source", "_start", "position")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._data = b""
        self._start = 0
        self.position = 0

    def take(self, length: int) -> bytes:
        at = self.position - self._start
        if at + length > len(self._data) or at < 0:
            self._start = self.position
            self._data = self._source.read_at(self.position, max(length, _WINDOW_BYTES))
            at = 0
        data = self._data[at : at + length]
        if len(data) < length:
            raise TruncatedModelError(f"the params file ends at byte {self._source.size} inside a header")
        self.position += length
        return data

    def skip(self, length: int) -> None:
        if length > self._source.size - self.position:
            raise TruncatedModelError(
                f"an array of the params file claims {length} bytes at {self.position}, "
                f"the file ends at {self._source.size}"
            )
        self.position += length

    def uint64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def int32(self) -> int:
        return int.from_bytes(self.take(4), "little", signed=True)


def read_arrays(source: Source) -> tuple[Array, ...]:
    """Return the arrays in the file's order; those without names have empty ones.

    Raises `MalformedModelError`, `TruncatedModelError` or `LimitExceededError`.
    """
    cursor = _Cursor(source)
    if source.size < 24:
        raise TruncatedModelError(f"the params file of {source.size} bytes is shorter than its header")
    if (mark := cursor.uint64()) != MAGIC:
        if mark.to_bytes(8, "little").startswith(_ARCHIVE):
            raise MalformedModelError(
                "the params file is a NumPy archive, which only MXNet 2 writes",
                next_step="export the model by MXNet 1.9, or convert it to ONNX",
            )
        raise MalformedModelError("the params file is not a list of MXNet arrays")
    cursor.skip(8)
    count = _counted(cursor.uint64())
    arrays = [_read_array(cursor) for _ in range(count)]
    names = list(_read_names(cursor))
    if names and len(names) != count:
        raise MalformedModelError(f"the params file holds {count} arrays, but {len(names)} names")
    return tuple(_named(array, name) for array, name in zip(arrays, names or [""] * count, strict=True))


def _counted(count: int) -> int:
    if count > MAX_ARRAYS:
        raise LimitExceededError(f"the params file claims {count} entries, more than the {MAX_ARRAYS} allowed")
    return count


def _read_names(cursor: _Cursor) -> Iterator[str]:
    for _ in range(_counted(cursor.uint64())):
        length = cursor.uint64()
        if length > _MAX_NAME_BYTES:
            raise LimitExceededError(f"the params file names an array in {length} bytes")
        yield cursor.take(length).decode("utf-8", "backslashreplace")


def _named(array: Array, name: str) -> Array:
    prefix, separator, rest = name.partition(":")
    kind = prefix if separator and prefix in ("arg", "aux") else ""
    return Array(rest if kind else name, kind, array.dtype, array.shape, array.offset, array.length, array.storage)


def _read_array(cursor: _Cursor) -> Array:
    mark = cursor.uint32()
    if mark in (_V2, _V3):
        return _read_marked(cursor, scalars=mark == _V3)
    # Up to 0.8 the rank stood first, with 32-bit sizes behind it.
    shape = _read_shape(cursor) if mark == _V1 else _sizes(cursor, mark, width=4)
    if not shape:
        return _unfilled(cursor)
    dtype, width = _read_type(cursor)
    return _filled(cursor, dtype, shape, prod(shape) * width)


def _read_marked(cursor: _Cursor, *, scalars: bool) -> Array:
    storage, indices = _read_storage(cursor)
    stored = _read_shape(cursor) if indices else None
    shape = _read_shape(cursor)
    if shape is None or (not shape and not scalars):
        return _unfilled(cursor)
    dtype, width = _read_type(cursor)
    index_bytes = 0
    for _ in range(indices):
        index_width = _width(cursor.int32())[1]
        index_bytes += prod(_read_shape(cursor) or ()) * index_width
    array = _filled(cursor, dtype, shape, prod(shape if stored is None else stored) * width, storage)
    cursor.skip(index_bytes)
    return array


def _read_storage(cursor: _Cursor) -> tuple[str, int]:
    storage = cursor.int32()
    if storage not in _STORAGES:
        raise MalformedModelError(f"an array of the params file has storage type {storage}, which does not exist")
    return _STORAGES[storage]


def _read_shape(cursor: _Cursor) -> tuple[int, ...] | None:
    rank = cursor.int32()
    return None if rank == -1 else _sizes(cursor, rank, width=8)


def _sizes(cursor: _Cursor, rank: int, *, width: int) -> tuple[int, ...]:
    if not 0 <= rank <= MAX_RANK:
        raise MalformedModelError(f"an array of the params file has rank {rank} at byte {cursor.position}")
    data = cursor.take(rank * width)
    sizes: tuple[int, ...] = struct.unpack(f"<{rank}{'I' if width == 4 else 'q'}", data)
    if min(sizes, default=0) < 0:
        raise MalformedModelError(f"an array of the params file has the shape {sizes}")
    return sizes


def _read_type(cursor: _Cursor) -> tuple[str, int]:
    cursor.take(8)  # the device that held the array
    return _width(cursor.int32())


def _width(flag: int) -> tuple[str, int]:
    if flag not in DTYPES:
        raise MalformedModelError(f"an array of the params file has type flag {flag}, which does not exist")
    return DTYPES[flag]


def _filled(cursor: _Cursor, dtype: str, shape: tuple[int, ...], length: int, storage: str = "default") -> Array:
    offset = cursor.position
    cursor.skip(length)
    return Array("", "", dtype, shape, offset, length, storage)


def _unfilled(cursor: _Cursor) -> Array:
    return Array("", "", None, None, cursor.position, 0)
