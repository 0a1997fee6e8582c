"""A position moving forward over a `Source`, for encodings whose parts have no index.

What is skipped is not read, so that weights cost nothing. What does not belong here: going back.
"""

from typing import TYPE_CHECKING, Final

from klever.steps.errors import LimitExceededError, TruncatedModelError

if TYPE_CHECKING:
    from klever.steps.files import Source

#: Old pickles hold an array's bytes in one line of text; a hole in a file is a line without end.
MAX_LINE_BYTES: Final = 256 << 20
_BUFFER_BYTES: Final = 64 << 10


class Stream:
    """Reads of a few bytes each, served from a buffer of 64 KiB."""

    __slots__ = ("_at", "_base", "_buffer", "source")

    def __init__(self, source: "Source", start: int = 0) -> None:
        self.source = source
        self._base = start
        self._buffer = b""
        self._at = 0

    @property
    def position(self) -> int:
        """The offset in the source of the next byte."""
        return self._base + self._at

    def take(self, length: int) -> bytes:
        """Return the next ``length`` bytes; raises `TruncatedModelError` where fewer are left."""
        at = self._at
        end = at + length
        if end > len(self._buffer):
            self._fill(length)
            at, end = 0, length
        self._at = end
        return self._buffer[at:end]

    def peek(self, length: int) -> bytes:
        """Return up to ``length`` bytes without moving, fewer only at the end."""
        if self._at + length > len(self._buffer):
            self._refill(length)
        return self._buffer[self._at : self._at + length]

    def skip(self, length: int) -> None:
        """Move on by ``length`` bytes; raises `TruncatedModelError` where fewer are left."""
        if self.position + length > self.source.size:
            raise TruncatedModelError(
                f"{length} bytes are claimed at offset {self.position} of a file of {self.source.size}"
            )
        if self._at + length <= len(self._buffer):
            self._at += length
        else:
            self._base, self._buffer, self._at = self.position + length, b"", 0

    def line(self, limit: int) -> bytes | int:
        """Return the bytes up to the next newline, which is consumed, or only their count above ``limit``.

        Raises `LimitExceededError` above `MAX_LINE_BYTES`, `TruncatedModelError` where there is no newline.
        """
        start = self.position
        parts: list[bytes] = []
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            if self.position - start > MAX_LINE_BYTES:
                raise LimitExceededError(f"a line of the file is longer than {MAX_LINE_BYTES} bytes")
            rest = self._buffer[self._at :]
            if self.position - start <= limit:
                parts.append(rest)
            self._base, self._buffer, self._at = self.position + len(rest), b"", 0
            self._fill(1)
        parts.append(self._buffer[self._at : end])
        length = self._base + end - start
        self._at = end + 1
        return b"".join(parts) if length <= limit else length

    def _fill(self, length: int) -> None:
        if length > self.source.size - self.position:
            raise TruncatedModelError(
                f"{length} bytes are claimed at offset {self.position} of a file of {self.source.size}"
            )
        self._refill(length)
        if len(self._buffer) < length:
            raise TruncatedModelError(f"the file ends at offset {self._base + len(self._buffer)}, inside a value")

    def _refill(self, length: int) -> None:
        """Make the buffer start at the position and hold ``length`` bytes if there are so many."""
        self._base += self._at
        self._at = 0
        self._buffer = self.source.read_at(self._base, max(length, _BUFFER_BYTES))
