"""What a dataset claims: the shape and size of its elements, and whether they lie in this file (section IV.A.2)."""

from collections.abc import Iterable
from math import prod
from typing import Final, NamedTuple

from klever.steps.encodings.hdf5.headers import DATASPACE, DATATYPE, EXTERNAL_FILES, LAYOUT, Message
from klever.steps.encodings.hdf5.storage import Cursor, Storage
from klever.steps.encodings.hdf5.values import read_dataspace, read_datatype

_VIRTUAL: Final = 3


class Extent(NamedTuple):
    """A dataset's claims."""

    #: Sizes in elements; None for no elements at all, or where a shared message tells them.
    shape: tuple[int, ...] | None
    #: Bytes of one element; 0 where a shared message tells them.
    item_bytes: int
    #: Whether elements lie in other files: raw ones, or parts of other datasets.
    is_elsewhere: bool

    @property
    def size(self) -> int:
        """All elements in bytes."""
        return prod(self.shape) * self.item_bytes if self.shape is not None else 0


def read_extent(storage: Storage, messages: Iterable[Message]) -> Extent:
    """Read the messages of a dataset's header; raises `MalformedModelError`."""
    shape: tuple[int, ...] | None = None
    item_bytes = 0
    elsewhere = False
    for message in messages:
        if message.type == EXTERNAL_FILES:
            elsewhere = True
        elif message.shared:
            continue
        elif message.type == DATASPACE:
            shape = read_dataspace(storage, message.data)
        elif message.type == DATATYPE:
            item_bytes = read_datatype(message.data).size
        elif message.type == LAYOUT:
            elsewhere = elsewhere or _layout_class(message.data) == _VIRTUAL
    return Extent(shape, item_bytes, elsewhere)


def _layout_class(data: bytes) -> int:
    """Return the class of a layout message; versions 1 and 2 have the rank before it."""
    cursor = Cursor(data)
    cursor.take(1 if cursor.integer(1) < 3 else 0)
    return cursor.integer(1)
