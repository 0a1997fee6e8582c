"""B-trees: version 1 over the symbols of a group, version 2 over links, attributes and huge objects (section III.A)."""

from collections.abc import Iterator
from typing import Final

from klever.steps.encodings.hdf5.storage import Cursor, Storage
from klever.steps.errors import MalformedModelError

#: Deeper than any tree whose nodes hold at least two children and whose file is below 2^64 bytes.
_MAX_DEPTH: Final = 64

#: Signature, version, type and checksum of a version 2 node.
_V2_NODE_BYTES: Final = 10


def bytes_for(limit: int) -> int:
    """Return the width in which the format stores a count of at most ``limit``."""
    return max(limit.bit_length() - 1, 0) // 8 + 1


def read_symbol_nodes(storage: Storage, address: int) -> Iterator[int]:
    """Yield the addresses of the symbol table nodes below the version 1 tree at ``address``."""
    pending, seen = [(address, _MAX_DEPTH)], {address}
    while pending:
        address, ceiling = pending.pop()
        storage.step()
        node = storage.cursor(address, 8 + 2 * storage.offset_bytes)
        node.expect(b"TREE")
        kind, level, used = node.integer(1), node.integer(1), node.integer(2)
        if kind != 0 or level >= ceiling:
            raise MalformedModelError(f"the HDF5 B-tree node at offset {address} is not of a group")
        entries = storage.cursor(
            address + 8 + 2 * storage.offset_bytes, used * (storage.length_bytes + storage.offset_bytes)
        )
        children = []
        for _ in range(used):
            storage.step()
            storage.length(entries)
            child = storage.offset(entries)
            if child is None or child in seen:
                raise MalformedModelError(f"the HDF5 B-tree node at offset {address} is reached in a cycle")
            seen.add(child)
            children.append(child)
        if level == 0:
            yield from children
        else:
            pending.extend((child, level) for child in reversed(children))


class RecordTree:
    """A version 2 B-tree: records of one fixed length in order of their key."""

    def __init__(self, storage: Storage, address: int) -> None:
        self._storage = storage
        header = storage.cursor(address, 16 + storage.offset_bytes + 2)
        header.expect(b"BTHD")
        header.take(1)
        self.type = header.integer(1)
        self._node_bytes = header.integer(4)
        self.record_bytes = header.integer(2)
        self._depth = header.integer(2)
        header.take(2)
        self._root = storage.offset(header)
        self._root_records = header.integer(2)
        if self.record_bytes == 0 or self._depth > _MAX_DEPTH:
            raise MalformedModelError(f"the HDF5 B-tree at offset {address} has impossible records or depth")

    def __iter__(self) -> Iterator[Cursor]:
        if self._root is None:
            return
        widths = self._count_widths()
        pending, seen = [(self._root, self._root_records, self._depth)], {self._root}
        while pending:
            address, records, depth = pending.pop()
            self._storage.step()
            node = self._storage.cursor(address, self._node_bytes)
            node.expect(b"BTIN" if depth else b"BTLF")
            node.take(2)
            for _ in range(records):
                self._storage.step()
                yield Cursor(node.take(self.record_bytes))
            if depth:
                for child, count in self._children(node, records, depth, widths):
                    if child in seen:
                        raise MalformedModelError("an HDF5 B-tree reaches a node twice")
                    seen.add(child)
                    pending.append((child, count, depth - 1))

    def _children(self, node: Cursor, records: int, depth: int, widths: list[int]) -> Iterator[tuple[int, int]]:
        for _ in range(records + 1):
            child = self._storage.offset(node)
            count = node.integer(widths[0])
            if depth > 1:
                node.take(widths[depth - 1])
            if child is not None:
                yield child, count

    def _count_widths(self) -> list[int]:
        """Return the width of a node's own record count, then for each depth from 1 that of all below it."""
        most = max(self._node_bytes - _V2_NODE_BYTES, 0) // self.record_bytes
        own, below, total_width = bytes_for(most), most, 0
        widths = [own]
        for _ in range(self._depth):
            pointer = self._storage.offset_bytes + own + total_width
            most = max(self._node_bytes - _V2_NODE_BYTES - pointer, 0) // (self.record_bytes + pointer)
            below = (most + 1) * below + most
            total_width = bytes_for(below)
            widths.append(total_width)
        return widths
