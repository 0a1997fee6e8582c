"""Positions in bytes that only pass by: what to keep so that a reader finds what it comes back for.

A reader goes front to back mostly, and back to the beginning or from the end at times (a ZIP's directory is last).
So the beginning is kept, the last stretch that passed, and once all has passed the end. What does not belong here:
where the bytes come from.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from klever.steps.errors import LimitExceededError

HEAD_BYTES: Final = 8 << 20
WINDOW_BYTES: Final = 4 << 20
#: How often a source may begin anew, each time inflating or fetching all that comes before the place.
MAX_PASSES: Final = 12


class Passage:
    """What is kept of one file's bytes as they pass."""

    def __init__(self, size: int, *, head_bytes: int = HEAD_BYTES, keep_tail: bool = True) -> None:
        self.size = size
        #: Offset of the byte that comes next.
        self.position = 0
        self._head = bytearray()
        self._head_bytes = head_bytes
        self._keep_tail = keep_tail
        self._tail = b""
        self._window: deque[bytes] = deque()
        self._window_start = 0

    def rewind(self) -> None:
        """Begin again; head and tail stay."""
        self.position = self._window_start = 0
        self._window.clear()

    def absorb(self, data: bytes | memoryview, wanted_from: int) -> None:
        """Take the bytes that come next; those from ``wanted_from`` on are kept until the next call at least."""
        if self.position <= len(self._head) < self._head_bytes:
            known = len(self._head) - self.position
            self._head += data[known : self._head_bytes - self.position]
        self._window.append(bytes(data))
        self.position += len(data)
        keep_from = min(wanted_from, self.position - WINDOW_BYTES)
        while self._window and self._window_start + len(self._window[0]) <= keep_from:
            self._window_start += len(self._window.popleft())
        if self.position == self.size and self._keep_tail and not self._tail and self.size > len(self._head):
            self._tail = b"".join(self._window)[-WINDOW_BYTES:]

    def forget(self) -> None:
        """Let go of the window, when the passing bytes are another file's."""
        self._window.clear()
        self._window_start = self.position

    def copy(self, offset: int, end: int) -> bytes | None:
        """Return the bytes [offset, end) if they are all kept."""
        if end <= len(self._head):
            return bytes(self._head[offset:end])
        tail_start = self.size - len(self._tail)
        if offset >= tail_start:
            return self._tail[offset - tail_start : end - tail_start]
        parts: list[bytes | bytearray] = []
        if offset < self._window_start and offset < len(self._head):
            parts.append(self._head[offset:])
            offset = len(self._head)
        if offset < self._window_start or end > self.position:
            return None
        at = self._window_start
        for piece in self._window:
            if at < end and at + len(piece) > offset:
                parts.append(piece[max(0, offset - at) : end - at])
            at += len(piece)
        return b"".join(parts)


class ForwardSource:
    """A source over bytes that can only be read from their beginning, as often as bounded."""

    def __init__(self, size: int, begin: Callable[[], Iterator[bytes]]) -> None:
        self.size = size
        self._begin = begin
        self._pieces: Iterator[bytes] = iter(())
        self._passes = 0
        self._passage = Passage(size)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``; forward is cheap, back beyond what is kept begins anew."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        while (data := self._passage.copy(offset, end)) is None:
            self._advance(offset)
        return data

    def close(self) -> None:
        """Let go of the bytes."""
        self._pieces = iter(())
        self._passage = Passage(self.size)

    def _advance(self, offset: int) -> None:
        reached = self._passage.position
        if not self._passes or (offset < reached and self._passage.copy(offset, reached) is None):
            self._passes += 1
            check_passes(self._passes)
            self._passage.rewind()
            self._pieces = self._begin()
        self._passage.absorb(next(self._pieces), offset)


def check_passes(passes: int) -> None:
    """Raise `LimitExceededError` beyond the bound."""
    if passes > MAX_PASSES:
        raise LimitExceededError(
            f"the file needs more than {MAX_PASSES} passes over a layer that cannot be read by ranges",
            next_step="pull the artifact and inspect the directory",
        )
