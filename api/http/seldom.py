"""Tell of what strangers can cause at will, but not each time.

What does not belong here: what is told.
"""

import threading
import time
from typing import Final

_SECONDS: Final = 10.0


class Seldom:
    """Whether it is time again to tell of something, and how often it happened since."""

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._next = 0.0
        self._count = 0

    def count(self) -> int:
        """Count one more; return how many there were since it was last told, or 0 while it is too soon."""
        with self._lock:
            self._count += 1
            now = time.monotonic()
            if now < self._next:
                return 0
            count, self._count, self._next = self._count, 0, now + self._seconds
            return count
