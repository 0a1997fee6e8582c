"""Read files out of a layer that can only be streamed, without ever holding or storing the whole of one.

One pass over the layer lists its files and keeps what readers mostly ask for: small files whole, of large ones the
beginning and the end. What is asked beyond that is taken from the stream as it passes, and a step back begins a new
pass, of which there is a bound. What does not belong here: ranges (see `klever.steps.oci.ranged`).
"""

from collections.abc import Callable, Iterator
from typing import Final

from klever.steps.errors import ArchiveError
from klever.steps.oci.inflate import gunzip
from klever.steps.oci.passage import HEAD_BYTES, Passage, check_passes
from klever.steps.oci.unpack import TarStream

#: Kept of all files together: whole small files and beginnings of large ones.
_KEPT_BYTES: Final = 32 << 20
#: Kept of every file as long as there is room for it beyond that, for recognition.
_LEAST_BYTES: Final = 4096
_LEAST_KEPT_BYTES: Final = 8 << 20
#: Files whose ends are kept.
_TAILS: Final = 3


class StreamedLayer:
    """The files of a layer, from a stream that can be begun again. Not for several threads."""

    def __init__(self, begin: Callable[[], Iterator[bytes]]) -> None:
        self._begin = begin
        self._passages: dict[str, Passage] = {}
        self._passes = 0
        self._stream: TarStream | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._current: Passage | None = None
        self._content: Iterator[memoryview] = iter(())
        #: Files of this pass that have not begun yet.
        self._ahead: set[str] = set()
        self._complete = False
        self._kept = self._least_kept = self._tails = 0

    def sizes(self) -> dict[str, int]:
        """Return path to size of all files; streams to the end once."""
        while not self._complete:
            self._next_file()
        return {path: passage.size for path, passage in self._passages.items()}

    def open(self, path: str) -> "StreamedSource":
        """Open a file; streams until it begins. Raises `ArchiveError` if the layer has no such file."""
        while path not in self._passages and not self._complete:
            self._next_file()
        if path not in self._passages:
            raise ArchiveError(f"the layer holds no file {path!r}, though its index names it")
        return StreamedSource(self, path, self._passages[path].size)

    def read(self, path: str, offset: int, end: int) -> bytes:
        """Return the bytes [offset, end) of a file."""
        passage = self._passages[path]
        while (data := passage.copy(offset, end)) is None:
            if self._current is not passage:
                if path not in self._ahead:
                    self._restart()
                while self._current is not passage:
                    self._next_file()
            elif offset < passage.position and passage.copy(offset, passage.position) is None:
                self._restart()
            else:
                passage.absorb(next(self._content), offset)
        return data

    def close(self) -> None:
        """Let go of the stream and of what is kept."""
        self._end_pass()
        self._passages.clear()

    def _restart(self) -> None:
        self._end_pass()
        self._passes += 1
        check_passes(self._passes)
        self._chunks = self._begin()
        self._stream = TarStream(gunzip(self._chunks))
        self._ahead = set(self._passages)
        for passage in self._passages.values():
            passage.rewind()

    def _end_pass(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()
        self._chunks = iter(())
        self._stream = self._current = None
        self._ahead = set()

    def _next_file(self) -> None:
        """Let the current file pass, and go to the next; at the end the list of files is complete."""
        if self._stream is None:
            self._restart()
        if self._current is not None:
            for part in self._content:
                self._current.absorb(part, self._current.position)
            self._current.forget()
            self._current = None
        stream = self._stream
        member = stream.next_member() if stream else None
        while stream and member and member.directory:
            member = stream.next_member()
        if stream is None or member is None:
            self._complete = True
            self._end_pass()
            return
        self._ahead.discard(member.path)
        if member.path not in self._passages:
            self._passages[member.path] = self._plan(member.size)
        self._current = self._passages[member.path]
        self._content = stream.content()

    def _plan(self, size: int) -> Passage:
        """Decide how much of a file to keep."""
        head = min(size, HEAD_BYTES, _KEPT_BYTES - self._kept)
        least = 0
        if head < min(size, _LEAST_BYTES):
            head = least = min(size, _LEAST_BYTES, _LEAST_KEPT_BYTES - self._least_kept)
        self._kept += head - least
        self._least_kept += least
        keep_tail = head < size and self._tails < _TAILS
        self._tails += keep_tail
        return Passage(size, head_bytes=head, keep_tail=keep_tail)


class StreamedSource:
    """One file of a streamed layer."""

    def __init__(self, layer: StreamedLayer, path: str, size: int) -> None:
        self._layer = layer
        self._path = path
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``; forward is cheap, back beyond what is kept streams anew."""
        end = min(offset + length, self.size)
        return self._layer.read(self._path, offset, end) if offset < end else b""

    def close(self) -> None:
        """Do nothing; the layer is open for other files."""
