"""How much memory a program may reserve: what this machine or container has, and what frameworks never touch."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Where a container's limit stands, in control groups of version 2 and 1.
_CGROUP_FILES: Final = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
#: Stacks of threads and arenas that are reserved and not used, in bytes: an exporter of PyTorch that touches 620 MiB
#: reserves 800, MXNet with 240 MiB 500, and each core adds to it.
_RESERVED_BYTES: Final = 1 << 30


def memory_limit() -> int:
    """Return the bytes that a program may reserve where it may use what this machine or container has; 0 for unknown.

    A program that would take much more fails with an error of its own, not by the kernel's choice of a process to kill.
    """
    limits = []
    with suppress(OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for name in _CGROUP_FILES:
        # The file says "max" where there is no limit.
        with suppress(OSError, ValueError):
            limits.append(int(Path(name).read_text(encoding="ascii")))
    return min(limits) + _RESERVED_BYTES if limits else 0
