"""Let the C library keep freed buffers.

Transfers allocate and free a megabyte at a time. glibc gives each back to the kernel, which clears its pages again for
the next: a third of the processor time of a transfer on loopback. What stays is a few buffers, not the model.
"""

from contextlib import suppress
from typing import Final

#: ``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's ``malloc.h``.
_TRIM, _MMAP = -1, -3
_KEPT_BYTES: Final = 32 << 20


def keep_freed_buffers() -> None:
    """Raise glibc's thresholds for this process; elsewhere do nothing."""
    import ctypes

    # mallopt is glibc's: macOS and musl have none, and need none.
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP, _KEPT_BYTES)
        mallopt(_TRIM, 2 * _KEPT_BYTES)
