"""Compressed files as sources that only go forward: zlib, gzip, bzip2, xz and LZMA, by their magic numbers.

What does not belong here: archives of several members, writing.
"""

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from klever.steps.errors import LimitExceededError, MalformedModelError

if TYPE_CHECKING:
    from klever.steps.files import Source

#: A small file may expand to this much, a large one by the ratio; models of floating-point numbers shrink little.
MAX_SMALL_BYTES: Final = 64 << 20
MAX_RATIO: Final = 20
#: The dictionary that an xz file may ask for; ``xz -9`` asks for 64 MiB.
_MAX_XZ_BYTES: Final = 80 << 20
_CHUNK_BYTES: Final = 64 << 10
#: No size is known before the end is reached.
_ENDLESS: Final = 1 << 62


class Decompressor(Protocol):
    """What inflates: the interface of ``bz2.BZ2Decompressor``."""

    @property
    def eof(self) -> bool:
        """Whether the end of the compressed stream was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes without more data."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Take more data; return at most ``max_length`` bytes."""


class _Zlib:
    """zlib's object under the interface of the others."""

    def __init__(self, window_bits: int) -> None:
        self._object = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def needs_input(self) -> bool:
        return not self._object.unconsumed_tail

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._object.decompress(self._object.unconsumed_tail + data, max_length)


class Inflated:
    """The content of a compressed source, read front to back.

    ``read_at`` may not go back behind the offset of the read before. Raises `MalformedModelError` where the data
    does not inflate, `LimitExceededError` beyond `MAX_SMALL_BYTES` and `MAX_RATIO`.
    """

    def __init__(self, source: "Source", start: int, decompressor: Decompressor) -> None:
        self._source = source
        self._next = start
        self._decompressor = decompressor
        self._limit = max(MAX_SMALL_BYTES, MAX_RATIO * source.size)
        self._base = 0
        self._window = bytearray()
        self.size = _ENDLESS

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``, fewer only where the content ends."""
        while True:
            gone = min(len(self._window), offset - self._base)
            del self._window[:gone]
            self._base += gone
            if (self._base == offset and len(self._window) >= length) or not self._inflate():
                return bytes(self._window[:length]) if self._base == offset else b""

    def close(self) -> None:
        """Do nothing: the compressed source is its opener's to close."""

    def _inflate(self) -> bool:
        """Add a chunk to the window; False at the end."""
        if self._decompressor.eof:
            return False
        data = b""
        if self._decompressor.needs_input:
            data = self._source.read_at(self._next, _CHUNK_BYTES)
            self._next += len(data)
        try:
            chunk = self._decompressor.decompress(data, _CHUNK_BYTES)
        except (zlib.error, OSError, EOFError, lzma.LZMAError) as error:
            raise MalformedModelError(f"the file does not inflate: {error}") from None
        self._window += chunk
        if self._base + len(self._window) > self._limit:
            raise LimitExceededError(f"the file inflates to more than {self._limit} bytes")
        return bool(chunk or data)


def _zlib() -> Decompressor:
    return _Zlib(zlib.MAX_WBITS)


def _gzip() -> Decompressor:
    return _Zlib(zlib.MAX_WBITS | 16)


def _lzma() -> Decompressor:
    return lzma.LZMADecompressor(memlimit=_MAX_XZ_BYTES)


_DECOMPRESSORS: Final[tuple[tuple[bytes, Callable[[], Decompressor]], ...]] = (
    (b"\x78\x01", _zlib),
    (b"\x78\x5e", _zlib),
    (b"\x78\x9c", _zlib),
    (b"\x78\xda", _zlib),
    (b"\x1f\x8b\x08", _gzip),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", _lzma),
    (b"\x5d\x00\x00", _lzma),
)
#: joblib before 0.10: the prefix, the length in hexadecimal padded to 19 characters, a zlib stream.
_ZFILE: Final = b"ZF0x"
_ZFILE_HEADER_BYTES: Final = 21
_LZ4: Final = b"\x04\x22\x4d\x18"


def inflate(source: "Source") -> "Source":
    """Return the content of a compressed source, or the source itself where no magic number is known.

    Raises `MalformedModelError` for LZ4, which nothing here inflates.
    """
    head = source.read_at(0, _ZFILE_HEADER_BYTES + 1)
    if head.startswith(_LZ4):
        raise MalformedModelError(
            "the file is compressed by LZ4, which cannot be read here",
            next_step="write it with joblib.dump(model, path, compress='zlib')",
        )
    if head.startswith(_ZFILE):
        # Python 2 wrote one more space; a zlib stream never begins with one.
        return Inflated(source, _ZFILE_HEADER_BYTES + head.endswith(b" "), _zlib())
    for magic, decompressor in _DECOMPRESSORS:
        if head.startswith(magic):
            return Inflated(source, 0, decompressor())
    return source
