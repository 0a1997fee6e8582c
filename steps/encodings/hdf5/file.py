"""Files and groups: where the superblock is, what a group holds, which attributes it has."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Final

from klever.steps.encodings.hdf5.btrees import RecordTree, read_symbol_nodes
from klever.steps.encodings.hdf5.extents import Extent, read_extent
from klever.steps.encodings.hdf5.headers import (
    ATTRIBUTE,
    ATTRIBUTE_INFO,
    DATATYPE,
    LINK,
    LINK_INFO,
    SYMBOL_TABLE,
    Message,
    read_messages,
)
from klever.steps.encodings.hdf5.heaps import FractalHeap, GlobalHeaps, LocalHeap
from klever.steps.encodings.hdf5.signature import SIGNATURE, find_signature
from klever.steps.encodings.hdf5.storage import Cursor, Storage
from klever.steps.encodings.hdf5.values import Attribute, Value, decode, read_attribute
from klever.steps.errors import MalformedModelError
from klever.steps.files import Source

_SOFT_LINK_CACHE: Final = 2
_HARD_LINK: Final = 0
_LINKS_BY_NAME: Final = 5
_ATTRIBUTES_BY_NAME: Final = 8
_LINK_ID_BYTES: Final = 7


class File:
    """An open HDF5 file. The source stays the caller's, who closes it."""

    def __init__(self, source: Source) -> None:
        """Read the superblock; raises `MalformedModelError` where there is none that is known."""
        base = find_signature(source)
        if base is None:
            raise MalformedModelError("the file has no HDF5 signature")
        self.storage = Storage(source, base)
        self.heaps = GlobalHeaps(self.storage)
        self._root_address = _read_superblock(self.storage)

    @cached_property
    def root(self) -> "Group":
        """The root group."""
        return Group(self, self._root_address, "/")


class Group:
    """A group, or a dataset, whose attributes are read alike and which has no children."""

    def __init__(self, file: File, address: int, path: str) -> None:
        self._file = file
        self._address = address
        self.path = path

    @cached_property
    def _messages(self) -> tuple[Message, ...]:
        return tuple(read_messages(self._file.storage, self._address))

    def attribute(self, name: str) -> Value:
        """Return the value of an attribute, None where it is absent or of a type that is not understood."""
        attribute = self.attributes.get(name)
        return None if attribute is None else decode(self._file.storage, self._file.heaps, attribute)

    @cached_property
    def attributes(self) -> Mapping[str, Attribute]:
        """All attributes by name; values are decoded by `attribute` only."""
        found: dict[str, Attribute] = {}
        for data in self._attribute_messages():
            attribute = read_attribute(self._file.storage, data)
            found[attribute.name] = attribute
        return MappingProxyType(found)

    @cached_property
    def children(self) -> Mapping[str, "Group"]:
        """The objects that hard links of this group name; soft and external links are left out."""
        prefix = self.path.rstrip("/")
        return MappingProxyType(
            {
                name: Group(self._file, address, f"{prefix}/{name}")
                for name, address in self._links
                if address is not None
            }
        )

    @property
    def address(self) -> int:
        """Where the object lies in the file; several links may lead there."""
        return self._address

    @property
    def indirect(self) -> tuple[str, ...]:
        """The names in this group that stand for a path, in this or another file, and not for an object."""
        return tuple(name for name, address in self._links if address is None)

    @cached_property
    def is_dataset(self) -> bool:
        """Whether this holds an array, not links."""
        return any(message.type == DATATYPE for message in self._messages)

    @cached_property
    def extent(self) -> Extent:
        """What a dataset claims of its elements, without a look at them."""
        return read_extent(self._file.storage, self._messages)

    def __getitem__(self, path: str) -> "Group":
        """Return what is at a path below this group; raises `KeyError` where there is nothing."""
        group = self
        for name in filter(None, path.split("/")):
            group = group.children[name]
        return group

    def _attribute_messages(self) -> Iterator[bytes]:
        for message in self._messages:
            if message.shared:
                continue
            if message.type == ATTRIBUTE:
                yield message.data
            elif message.type == ATTRIBUTE_INFO:
                cursor = Cursor(message.data)
                cursor.take(1)
                cursor.take(2 if cursor.integer(1) & 1 else 0)
                yield from self._dense(cursor, _ATTRIBUTES_BY_NAME)

    @cached_property
    def _links(self) -> tuple[tuple[str, int | None], ...]:
        """Name and address of all links; the address of those that are paths is None."""
        return tuple(self._read_links())

    def _read_links(self) -> Iterator[tuple[str, int | None]]:
        for message in self._messages:
            if message.shared:
                continue
            if message.type == SYMBOL_TABLE:
                yield from _read_symbol_table(self._file.storage, message.data)
            elif message.type == LINK:
                yield from _read_link(self._file.storage, message.data)
            elif message.type == LINK_INFO:
                cursor = Cursor(message.data)
                cursor.take(1)
                cursor.take(8 if cursor.integer(1) & 1 else 0)
                for data in self._dense(cursor, _LINKS_BY_NAME):
                    yield from _read_link(self._file.storage, data)

    def _dense(self, cursor: Cursor, expected: int) -> Iterator[bytes]:
        """Yield the messages of a fractal heap, as the tree by names lists them; both addresses come next."""
        storage = self._file.storage
        heap_address, tree_address = storage.offset(cursor), storage.offset(cursor)
        if heap_address is None or tree_address is None:
            return
        heap, tree = FractalHeap(storage, heap_address), RecordTree(storage, tree_address)
        if tree.type != expected:
            raise MalformedModelError(f"an HDF5 B-tree has type {tree.type} where {expected} was expected")
        for record in tree:
            if expected == _LINKS_BY_NAME:
                record.take(4)  # the hash of the name
                yield heap.read(record.take(_LINK_ID_BYTES))
            else:
                identifier = record.take(heap.id_bytes)
                if not record.integer(1) & 0x02:  # else shared, in a table of its own
                    yield heap.read(identifier)


def _read_superblock(storage: Storage) -> int:
    """Set the widths of addresses and return where the root group's header is (section II.A)."""
    cursor = storage.cursor(0, 128, short=True)
    cursor.expect(SIGNATURE)
    version = cursor.integer(1)
    if version not in (0, 1, 2, 3):
        raise MalformedModelError(f"HDF5 superblock version {version} is unknown")
    cursor.take(4 if version < 2 else 0)
    storage.offset_bytes, storage.length_bytes = cursor.integer(1), cursor.integer(1)
    if storage.offset_bytes not in (2, 4, 8) or storage.length_bytes not in (2, 4, 8):
        raise MalformedModelError(f"HDF5 addresses of {storage.offset_bytes} bytes are not in use")
    if version < 2:
        # Reserved, the B-trees' K (in version 1 one more), flags; then four addresses and the root's name.
        cursor.take(9 + (4 if version == 1 else 0) + 5 * storage.offset_bytes)
    else:
        cursor.take(1 + 3 * storage.offset_bytes)
    root = storage.offset(cursor)
    if root is None:
        raise MalformedModelError("the HDF5 file has no root group")
    return root


def _read_symbol_table(storage: Storage, data: bytes) -> Iterator[tuple[str, int | None]]:
    """Yield name and address of a group's objects in the old storage (sections III.B and III.C)."""
    cursor = Cursor(data)
    tree, heap_address = storage.offset(cursor), storage.offset(cursor)
    if tree is None or heap_address is None:
        return
    heap = LocalHeap(storage, heap_address)
    entry_bytes = 2 * storage.offset_bytes + 24
    for address in read_symbol_nodes(storage, tree):
        node = storage.cursor(address, 8)
        node.expect(b"SNOD")
        node.take(2)
        count = node.integer(2)
        entries = storage.cursor(address + 8, count * entry_bytes) if count else Cursor(b"")
        for _ in range(count):
            storage.step()
            name, target = entries.integer(storage.offset_bytes), storage.offset(entries)
            cache = entries.integer(4)
            entries.take(20)
            if cache == _SOFT_LINK_CACHE or target is not None:
                yield heap.name(name), None if cache == _SOFT_LINK_CACHE else target


def _read_link(storage: Storage, data: bytes) -> Iterator[tuple[str, int | None]]:
    """Yield name and address of a link message (section IV.A.2.g); the address is None where it is no hard one."""
    storage.step()
    cursor = Cursor(data)
    cursor.take(1)
    flags = cursor.integer(1)
    kind = cursor.integer(1) if flags & 0x08 else _HARD_LINK
    cursor.take((8 if flags & 0x04 else 0) + (1 if flags & 0x10 else 0))
    name = cursor.take(cursor.integer(1 << (flags & 3))).decode("utf-8", "backslashreplace")
    if kind != _HARD_LINK:
        yield name, None
    elif (target := storage.offset(cursor)) is not None:
        yield name, target
