"""Undo gzip while it streams: any legal gzip, its CRC and length verified, bombs stopped.

What does not belong here: the tar within.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from isal import isal_zlib

from klever.steps.errors import ArchiveError
from klever.steps.files import Source

#: ISA-L's error class, which its type stub declares as an instance.
_InflateError: Final = cast("type[Exception]", isal_zlib.error)

#: Most bytes given to, and taken from, the decompressor at once.
_STEP_BYTES: Final = 1 << 20
#: The same after the first member of a file of many: what follows a member is copied, so that the work would grow
#: with the square of the step.
_MEMBER_STEP_BYTES: Final = 1 << 14
#: Window bits that mean a gzip wrapper, and none (zlib.h, ``inflateInit2``).
_GZIP: Final = 16 + isal_zlib.MAX_WBITS
_RAW: Final = -isal_zlib.MAX_WBITS


@dataclass(frozen=True)
class Ratio:
    """The most that deflate may have saved: ``bound`` to one, once ``floor_bytes`` have come out.

    Deflate reaches 1032 to one; text hardly ever reaches 50, and what this project packs stays below 100.
    """

    bound: int = 200
    floor_bytes: int = 256 << 20

    def check(self, packed: int, unpacked: int) -> None:
        """Raise `ArchiveError` where ``unpacked`` bytes came from too few ``packed`` ones."""
        if unpacked > self.floor_bytes and unpacked > self.bound * packed:
            raise ArchiveError(
                f"the layer is a decompression bomb: {packed} bytes unpack to more than {unpacked}",
                next_step=f"raise the limit if files that shrink over {self.bound}-fold are meant",
            )


def gunzip(chunks: Iterable[bytes], ratio: Ratio | None = None) -> Iterator[bytes]:
    """Yield the unpacked bytes of one or more gzip members (RFC 1952) in pieces of at most 1 MiB.

    Raises `ArchiveError` for what is no gzip, ends early, goes on after its end, fails its CRC or is a bomb.
    """
    ratio = ratio or Ratio()
    inflater = isal_zlib.decompressobj(_GZIP)
    step, packed, unpacked, begun = _STEP_BYTES, 0, 0, False
    for chunk in chunks:
        view, at = memoryview(chunk), 0
        while at < len(view):
            data: bytes | memoryview = view[at : at + step]
            at += len(data)
            packed += len(data)
            while data:
                if inflater.eof:
                    inflater = isal_zlib.decompressobj(_GZIP)
                    step = _MEMBER_STEP_BYTES
                begun = True
                piece = _inflated(inflater, data)
                data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                if piece:
                    unpacked += len(piece)
                    ratio.check(packed, unpacked)
                    yield piece
    # The bit buffer may have swallowed the last input while the output was at its bound.
    while not inflater.eof and (piece := _inflated(inflater, b"")):
        unpacked += len(piece)
        ratio.check(packed, unpacked)
        yield piece
    if not begun or not inflater.eof:
        raise ArchiveError("the layer's gzip stream ends early")


def inflate_range(source: Source, offset: int, packed: int, size: int, step: int) -> Iterator[bytes]:
    """Yield ``size`` bytes that the raw deflate blocks at [offset, offset + packed) hold, reading ``step`` at a time.

    Raises `ArchiveError` if they hold fewer.
    """
    inflater = isal_zlib.decompressobj(_RAW)
    end = min(offset + packed, source.size)
    while size:
        data = source.read_at(offset, min(step, end - offset))
        offset += len(data)
        exhausted = not data
        while size:
            piece = _inflated(inflater, data)[:size]
            data = inflater.unconsumed_tail
            size -= len(piece)
            if piece:
                yield piece
            elif not data:
                break
        if size and (exhausted or inflater.eof):
            raise ArchiveError("a file of the layer ends early")


def _inflated(inflater: isal_zlib.Decompress, data: bytes | memoryview) -> bytes:
    try:
        return inflater.decompress(data, _STEP_BYTES)
    except _InflateError as error:
        raise ArchiveError(f"the layer is no gzip stream, or a damaged one: {error}") from None
