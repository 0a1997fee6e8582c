"""A position in a source, and the block of bytes around it."""

from typing import Final, Self

from klever.steps.errors import LimitExceededError, TruncatedModelError
from klever.steps.files import Source

_BLOCK_BYTES: Final = 64 << 10
#: Values that are taken into memory; the names of two hundred thousand features stay below.
MAX_VALUE_BYTES: Final = 4 << 20


class Window:
    """Reads forward in blocks and jumps without reading."""

    __slots__ = ("_source", "_start", "block", "limit", "position")

    def __init__(self, source: Source, position: int = 0, limit: int = MAX_VALUE_BYTES) -> None:
        self._source = source
        self.position = position
        #: How many bytes a value may have that is taken.
        self.limit = limit
        self._start = position
        self.block = b""

    @property
    def size(self) -> int:
        """The source's length in bytes."""
        return self._source.size

    def at(self, position: int) -> Self:
        """Return another window on the same source."""
        return type(self)(self._source, position, self.limit)

    def available(self) -> int:
        """Return the index of the position in ``block``, which is filled if it was used up; raises at the end."""
        index = self.position - self._start
        if not 0 <= index < len(self.block):
            self.block = self._source.read_at(self.position, _BLOCK_BYTES)
            self._start, index = self.position, 0
            if not self.block:
                raise TruncatedModelError(f"the XGBoost model ends at byte {self.position} before it is complete")
        return index

    def peek(self) -> int:
        """Return the next byte."""
        index = self.available()  # which may replace the block
        return self.block[index]

    def take(self, length: int) -> bytes:
        """Return the next bytes and go past them."""
        index = self.position - self._start
        if index >= 0 and index + length <= len(self.block):
            self.position += length
            return self.block[index : index + length]
        if length > self.limit:
            raise LimitExceededError(f"a value of the XGBoost model is longer than {self.limit >> 20} MiB")
        if self.position + length > self.size:
            raise TruncatedModelError(f"the XGBoost model ends in a value of {length} bytes at {self.position}")
        parts = []
        while length > 0:
            index = self.available()
            parts.append(self.block[index : index + length])
            length -= len(parts[-1])
            self.position += len(parts[-1])
        return b"".join(parts)

    def jump(self, length: int) -> None:
        """Go past bytes without reading them."""
        self.position += length
        if self.position > self.size:
            raise TruncatedModelError(f"the XGBoost model claims {self.position - self.size} bytes more than it has")
