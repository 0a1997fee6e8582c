"""Heaps: where names, values of variable length and large collections of messages are kept.

Local heaps hold the names of a symbol table (section III.D), global heaps what attributes refer to (III.E), fractal
heaps the links or attributes of one object that has many (III.G).
"""

from typing import Final

from klever.steps.encodings.hdf5.btrees import RecordTree, bytes_for
from klever.steps.encodings.hdf5.storage import Cursor, Storage
from klever.steps.errors import LimitExceededError, MalformedModelError

#: Names are C strings; netCDF, with the longest in use, allows 256 characters.
_MAX_NAME_BYTES: Final = 4096
#: The longest single object: text of a model's configuration, or one chunk of a list of names.
MAX_OBJECT_BYTES: Final = 32 << 20

_MANAGED, _HUGE, _TINY = range(3)
_HUGE_INDIRECT: Final = 1
_MAX_INDIRECTION: Final = 16


class LocalHeap:
    """The names of one symbol table."""

    def __init__(self, storage: Storage, address: int) -> None:
        self._storage = storage
        header = storage.cursor(address, 8 + 2 * storage.length_bytes + storage.offset_bytes)
        header.expect(b"HEAP")
        header.take(4)
        self._size = storage.length(header)
        storage.length(header)
        self._data = storage.offset(header)

    def name(self, offset: int) -> str:
        """Return the null-terminated name at ``offset`` of the heap."""
        if self._data is None or offset >= self._size:
            raise MalformedModelError(f"an HDF5 link name lies outside its heap, at {offset} of {self._size} bytes")
        data = self._storage.read(self._data + offset, min(self._size - offset, _MAX_NAME_BYTES), short=True)
        return data.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


class GlobalHeaps:
    """All collections of variable-length data in a file; the index of each is read once."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._collections: dict[int, dict[int, tuple[int, int]]] = {}

    def read(self, address: int, index: int) -> bytes:
        """Return an object of the collection at ``address``."""
        if address not in self._collections:
            self._collections[address] = self._read_collection(address)
        if index not in self._collections[address]:
            raise MalformedModelError(f"the HDF5 global heap at offset {address} has no object {index}")
        start, size = self._collections[address][index]
        if size > MAX_OBJECT_BYTES:
            raise LimitExceededError(f"an HDF5 value of {size} bytes is longer than the {MAX_OBJECT_BYTES} allowed")
        self._storage.step()
        return self._storage.read(start, size) if size else b""

    def _read_collection(self, address: int) -> dict[int, tuple[int, int]]:
        storage = self._storage
        header = storage.cursor(address, 8 + storage.length_bytes)
        header.expect(b"GCOL")
        header.take(4)
        end = address + storage.length(header)
        position, object_bytes = address + header.position, 8 + storage.length_bytes
        objects: dict[int, tuple[int, int]] = {}
        while position + object_bytes <= end:
            storage.step()
            entry = storage.cursor(position, object_bytes)
            index = entry.integer(2)
            entry.take(6)
            size = storage.length(entry)
            if index == 0:  # the free space, always last
                break
            position += object_bytes
            objects[index] = (position, size)
            position += size + -size % 8
        return objects


class FractalHeap:
    """A heap whose blocks double in size; holds the links or attributes of one object."""

    def __init__(self, storage: Storage, address: int) -> None:
        self._storage = storage
        offset_bytes, length_bytes = storage.offset_bytes, storage.length_bytes
        header = storage.cursor(address, 22 + 3 * offset_bytes + 12 * length_bytes)
        header.expect(b"FRHP")
        header.take(1)
        self.id_bytes = header.integer(2)
        filters = header.integer(2)
        header.take(1)
        largest = header.integer(4)
        storage.length(header)
        self._huge_tree = storage.offset(header)
        header.take(length_bytes + offset_bytes + 8 * length_bytes)
        self._width = header.integer(2)
        self._start_bytes = storage.length(header)
        direct_bytes = storage.length(header)
        bits = header.integer(2)
        header.take(2)
        self._root = storage.offset(header)
        self._root_rows = header.integer(2)
        if filters:
            raise MalformedModelError(
                "the HDF5 file compresses its links or attributes, which this reader does not support"
            )
        if not self._width or not self._start_bytes or direct_bytes < self._start_bytes or bits > 64:
            raise MalformedModelError(f"the HDF5 fractal heap at offset {address} has impossible block sizes")
        self._direct_rows = direct_bytes.bit_length() - self._start_bytes.bit_length() + 2
        self._offset_width = (bits + 7) // 8
        self._length_width = min((direct_bytes.bit_length() - 1 + 7) // 8, bytes_for(largest))
        self._huge: dict[int, tuple[int, int]] | None = None

    def read(self, identifier: bytes) -> bytes:
        """Return the object that a heap ID of ``id_bytes`` names."""
        self._storage.step()
        cursor = Cursor(identifier)
        first = cursor.integer(1)
        kind = first >> 4 & 3
        if kind == _TINY:
            return cursor.take((first & 0x0F) + 1)
        if kind == _HUGE:
            address, size = self._locate_huge(cursor)
        elif kind == _MANAGED:
            offset, size = cursor.integer(self._offset_width), cursor.integer(self._length_width)
            address = self._locate(offset)
        else:
            raise MalformedModelError("an HDF5 heap ID is of an unknown type")
        if size > MAX_OBJECT_BYTES:
            raise LimitExceededError(f"an HDF5 value of {size} bytes is longer than the {MAX_OBJECT_BYTES} allowed")
        return self._storage.read(address, size) if size else b""

    def _locate(self, offset: int) -> int:
        """Return the address of the managed object at ``offset`` of the heap's own space."""
        block, rows, storage = self._root, self._root_rows, self._storage
        for _ in range(_MAX_INDIRECTION):
            if block is None:
                break
            if rows == 0:
                return block + offset
            row, first, size = self._row_of(offset)
            if row >= rows:
                break
            column = (offset - first) // size
            # Filtered heaps, whose entries are longer, were refused above.
            entry = (row * self._width + column) * storage.offset_bytes
            header_bytes = 5 + storage.offset_bytes + self._offset_width
            child = storage.cursor(block, 4)
            child.expect(b"FHIB")
            block = storage.offset(storage.cursor(block + header_bytes + entry, storage.offset_bytes))
            offset -= first + column * size
            rows = 0
            if row >= self._direct_rows:
                rows = size.bit_length() - (self._start_bytes * self._width).bit_length() + 1
        raise MalformedModelError("an HDF5 heap ID names no block")

    def _row_of(self, offset: int) -> tuple[int, int, int]:
        """Return the row of an indirect block that holds ``offset``, where it begins and its blocks' size."""
        first_row = self._start_bytes * self._width
        row = (offset // first_row).bit_length()
        if row == 0:
            return 0, 0, self._start_bytes
        return row, first_row << (row - 1), self._start_bytes << (row - 1)

    def _locate_huge(self, cursor: Cursor) -> tuple[int, int]:
        storage = self._storage
        if storage.offset_bytes + storage.length_bytes <= self.id_bytes - 1:
            return storage.offset(cursor) or 0, storage.length(cursor)
        key = cursor.integer(min(cursor.left, storage.length_bytes))
        if self._huge is None:
            self._huge = self._read_huge()
        if key not in self._huge:
            raise MalformedModelError(f"an HDF5 fractal heap has no huge object {key}")
        return self._huge[key]

    def _read_huge(self) -> dict[int, tuple[int, int]]:
        if self._huge_tree is None:
            return {}
        tree = RecordTree(self._storage, self._huge_tree)
        if tree.type != _HUGE_INDIRECT:
            raise MalformedModelError(
                f"an HDF5 tree of huge objects has type {tree.type} where {_HUGE_INDIRECT} was expected"
            )
        found: dict[int, tuple[int, int]] = {}
        for record in tree:
            address, size = self._storage.offset(record), self._storage.length(record)
            if address is not None:
                found[self._storage.length(record)] = (address, size)
        return found
