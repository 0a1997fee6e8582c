"""How much memory a program may take: what this machine or container has."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Where a container's limit stands, in control groups of version 2 and 1.
_CGROUP_FILES: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory_limit() -> int:
    """Return the bytes of memory that this machine has or this container may use; 0 where nothing tells.

    A program that would take more fails with an error of its own, not by the kernel's choice of a process to kill.
    """
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in _CGROUP_FILES:
        # The file says "max" where there is no limit.
        with suppress(OSError, ValueError):
            limits.append(int(Path(name).read_text(encoding="ascii")))
    return min(limits, default=0)
