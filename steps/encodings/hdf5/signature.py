"""The signature of HDF5 and where it stands; all that recognition needs."""

from typing import Final

from klever.steps.files import Source

SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"
#: A user block is a power of two from 512 bytes on (section II.A); nobody prepends more than this.
_MAX_USER_BLOCK_BYTES: Final = 1 << 20


def find_signature(source: Source) -> int | None:
    """Return the offset of the superblock: 0, 512, 1024, 2048 and so on; None where there is none."""
    offset = 0
    while offset + len(SIGNATURE) <= source.size and offset <= _MAX_USER_BLOCK_BYTES:
        if source.read_at(offset, len(SIGNATURE)) == SIGNATURE:
            return offset
        offset = max(512, 2 * offset)
    return None
