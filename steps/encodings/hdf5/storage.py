"""Bounded access to a file's bytes: addresses, blocks kept for reuse, and a budget for all that is read.

What does not belong here: any structure of the format above integers and addresses.
"""

from collections import OrderedDict
from typing import Final

from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import Source

#: Structures (messages, nodes, links, heap objects) that one file may make a reader visit.
MAX_STEPS: Final = 200_000
#: Bytes that one file may make a reader fetch and take, counted again whenever that happens again.
MAX_BYTES: Final = 96 << 20

_BLOCK_BYTES: Final = 64 << 10
_BLOCKS_KEPT: Final = 16


class Cursor:
    """Little-endian fields of a structure, one after the other."""

    __slots__ = ("_data", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    @property
    def left(self) -> int:
        """How many bytes follow."""
        return len(self._data) - self.position

    def take(self, length: int) -> bytes:
        """Return the next bytes; raises `TruncatedModelError` where they are fewer."""
        data = self._data[self.position : self.position + length]
        if len(data) < length:
            raise TruncatedModelError(f"an HDF5 structure needs {length} bytes where {len(data)} are left")
        self.position += length
        return data

    def integer(self, width: int) -> int:
        """Return the next unsigned integer of ``width`` bytes."""
        return int.from_bytes(self.take(width), "little")

    def expect(self, signature: bytes) -> None:
        """Skip a structure's signature; raises `MalformedModelError` where it is another."""
        if (found := self.take(len(signature))) != signature:
            raise MalformedModelError(f"an HDF5 structure begins with {found!r} where {signature!r} was expected")


class Storage:
    """A file by its addresses, which count from the superblock (section II.A, "base address")."""

    def __init__(self, source: Source, base: int) -> None:
        self._source = source
        self._base = base
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._steps = MAX_STEPS
        self._bytes = MAX_BYTES
        #: Width of an address and of a length, in bytes; the superblock tells them.
        self.offset_bytes = 8
        self.length_bytes = 8

    def step(self) -> None:
        """Count one visited structure against the budget."""
        self._steps -= 1
        if self._steps < 0:
            raise LimitExceededError(f"the HDF5 file makes its reader visit more than {MAX_STEPS} structures")

    def read(self, address: int, length: int, *, short: bool = False) -> bytes:
        """Return ``length`` bytes, or with ``short`` as many as the file has.

        Raises `TruncatedModelError` beyond the end of the file and `LimitExceededError` over the budget.
        """
        start = self._base + address
        available = max(0, min(length, self._source.size - start))
        if available < length and not (short and available):
            raise TruncatedModelError(
                f"the HDF5 file refers to {length} bytes at offset {start}, but has only {self._source.size}"
            )
        self._spend(available)
        first, last = start // _BLOCK_BYTES, (start + available - 1) // _BLOCK_BYTES
        if last - first > 1:
            return self._source.read_at(start, available)
        data = b"".join(self._block(index) for index in range(first, last + 1))
        begin = start - first * _BLOCK_BYTES
        return data[begin : begin + available]

    def cursor(self, address: int, length: int, *, short: bool = False) -> Cursor:
        """Read the fields at an address."""
        return Cursor(self.read(address, length, short=short))

    def offset(self, cursor: Cursor) -> int | None:
        """Return the next address, None for the undefined one (all bits set)."""
        value = cursor.integer(self.offset_bytes)
        return None if value == (1 << 8 * self.offset_bytes) - 1 else value

    def length(self, cursor: Cursor) -> int:
        """Return the next length."""
        return cursor.integer(self.length_bytes)

    def _spend(self, length: int) -> None:
        self._bytes -= length
        if self._bytes < 0:
            raise LimitExceededError(f"the HDF5 file makes its reader take more than {MAX_BYTES} bytes of metadata")

    def _block(self, index: int) -> bytes:
        if (block := self._blocks.get(index)) is not None:
            self._blocks.move_to_end(index)
            return block
        self._spend(_BLOCK_BYTES)
        block = self._blocks[index] = self._source.read_at(index * _BLOCK_BYTES, _BLOCK_BYTES)
        if len(self._blocks) > _BLOCKS_KEPT:
            self._blocks.popitem(last=False)
        return block
