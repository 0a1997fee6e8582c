"""Whether the weights of a Keras file can be given to libhdf5: all in the file itself, and of a real size.

libhdf5 follows links into other files and allocates what a dataset claims. What does not belong here: their values.
"""

from typing import Final

from klever.steps.encodings.hdf5.file import File, Group
from klever.steps.errors import LimitExceededError, UnsafeModelError, printable
from klever.steps.files import Source

#: Weights compress to no less than this part of their size, but for small or constant ones.
_MAX_RATIO: Final = 64
_SLACK_BYTES: Final = 256 << 20
#: Nested models and wrapped layers make groups in groups.
_MAX_DEPTH: Final = 64


def check_weights(source: Source) -> None:
    """Check every group and dataset of a file; names in it lead a loader anywhere, not to the weights alone.

    Raises `UnsafeModelError` for links to paths and for elements in other files, `LimitExceededError` for arrays that
    the file is far too small for.
    """
    pending = [(File(source).root, 0)]
    total = 0
    seen: set[int] = set()
    while pending:
        node, depth = pending.pop()
        if node.address in seen:
            continue
        seen.add(node.address)
        total += _checked_size(node)
        if total > _MAX_RATIO * source.size + _SLACK_BYTES:
            raise LimitExceededError(
                f"the arrays of the HDF5 file claim {total} bytes where the file has {source.size}"
            )
        if depth > _MAX_DEPTH:
            raise LimitExceededError(f"the groups of the HDF5 file are nested deeper than {_MAX_DEPTH}")
        if not node.is_dataset:
            pending += [(child, depth + 1) for child in node.children.values()]


def _checked_size(node: Group) -> int:
    if node.indirect:
        where = f"{node.path.rstrip('/')}/{node.indirect[0]}"
        raise UnsafeModelError(f"{printable(where)} of the HDF5 file is a link to another place")
    if not node.is_dataset:
        return 0
    if node.extent.is_elsewhere:
        raise UnsafeModelError(f"the elements of {printable(node.path)} in the HDF5 file lie in other files")
    return node.extent.size
