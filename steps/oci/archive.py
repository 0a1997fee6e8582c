"""Pack files into a layer: a gzipped tar in one pass, in constant memory, the same bytes every time.

    >>> from klever.steps.files import BytesSource
    >>> archive = Archive([PackMember("model/m.onnx", 5, lambda: BytesSource(b"bytes"))])
    >>> layer = b"".join(archive.chunks())
    >>> [(entry.path, entry.size) for entry in archive.index.entries]
    [('model/m.onnx', 5)]

Weights do not shrink, so they go into stored deflate blocks (RFC 1951, section 3.2.4), which cost no more than a
copy; text is deflated. Every tar header and every file begins a block of its own at a byte boundary and without
history, so that a reader who knows the offsets can begin there: they are the `LayerIndex`. What does not belong here:
reading archives, and which files an artifact has.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final, Self

from isal import isal_zlib

from klever.steps.errors import ArchiveError, StorageError
from klever.steps.files import Source
from klever.steps.model.strict import parse_json
from klever.steps.oci import tar

#: The longest stored block, in bytes: its length is sixteen bits.
STORED_BYTES: Final = 0xFFFF
#: Bytes before a stored block's content: three bits of type padded to a byte, the length and its complement.
STORED_HEADER_BYTES: Final = 5

#: No name, no time, unknown system (RFC 1952, section 2.3.1), so that equal files make equal archives.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x01\x00\x00\xff\xff"
_FULL_BLOCK: Final = b"\x00\xff\xff\x00\x00"
#: CRC-32 and length (RFC 1952, section 2.3.1).
_TRAILER_BYTES: Final = 8

#: Bytes read and handed on at a time: sixteen full blocks, just below 1 MiB.
_READ_BYTES: Final = 16 * STORED_BYTES
_SAMPLE_BYTES: Final = 64 * 1024
#: Deflating must save this part of every sample: half-precision weights shrink to about 0.85, text to 0.3.
_WORTHWHILE: Final = 0.6
#: What shrinks more than this is a run of zeros, which would look like a decompression bomb to who unpacks it.
_SUSPICIOUS: Final = 0.01
#: Files below this many bytes are stored: a deflate block's own tables outweigh what it saves.
_SMALL_BYTES: Final = 512
#: ISA-L's second level: about the size of zlib's 5 at ten times the speed.
_LEVEL: Final = 2

#: A manifest must stay small, registries refuse those above 4 MiB.
_MAX_INDEX_MEMBERS: Final = 200
_MAX_INDEX_CHARS: Final = 32 * 1024


@dataclass(frozen=True)
class PackMember:
    """One file to pack: its path in the archive, its size in bytes, and how to open its bytes."""

    path: str
    size: int
    open: Callable[[], Source]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Where one file lies in a layer: the gzip offset of the stored block that holds its tar header.

    ``packed`` is the length in the gzip stream of a deflated file's blocks, None for a file in stored blocks.
    """

    path: str
    size: int
    offset: int
    packed: int | None = None


@dataclass(frozen=True)
class LayerIndex:
    """The files of a layer and where they lie. A hint: nobody vouches for it, its reader checks every header."""

    entries: tuple[IndexEntry, ...]
    #: How many files the layer holds; more than ``entries`` where an index of all would be too long.
    total: int

    @property
    def complete(self) -> bool:
        """Say whether every file is listed."""
        return len(self.entries) == self.total

    def fills(self, size: int) -> bool:
        """Say whether these files, one behind the other as `Archive` packs them, make up a layer of ``size`` bytes.

        Where they do not, the index names other files than the layer holds, or other places.
        """
        offset = len(GZIP_HEADER)
        for entry in self.entries:
            if entry.offset != offset:
                return False
            try:
                offset += STORED_HEADER_BYTES + len(tar.build_header(entry.path, entry.size))
            except ArchiveError:
                return False
            offset += _stored_size(entry.size) if entry.packed is None else entry.packed
            offset += _stored_size(-entry.size % tar.BLOCK)
        return size == offset + _stored_size(len(tar.END)) + len(_LAST_BLOCK) + _TRAILER_BYTES

    def to_annotation(self) -> str:
        """Return compact JSON: ``{"v": 1, "n": total, "m": [[path, size, offset, packed?], ...]}``."""
        rows: list[list[str | int]] = []
        chars = 0
        for entry in self.entries[:_MAX_INDEX_MEMBERS]:
            row: list[str | int] = [entry.path, entry.size, entry.offset]
            if entry.packed is not None:
                row.append(entry.packed)
            chars += len(json.dumps(row))
            if chars > _MAX_INDEX_CHARS:
                break
            rows.append(row)
        return json.dumps({"v": 1, "n": self.total, "m": rows}, separators=(",", ":"))

    @classmethod
    def from_annotation(cls, text: str) -> Self | None:
        """Read an annotation; None for one that is of another version or malformed, since it is only a hint."""
        if len(text) > 2 * _MAX_INDEX_CHARS:
            return None
        try:
            document = parse_json(text.encode())
            if document["v"] != 1:
                return None
            entries = tuple(_entry(*row) for row in document["m"])
            total = document["n"]
        except (ValueError, TypeError, KeyError):
            return None
        if type(total) is not int or total < len(entries) or len({e.path for e in entries}) < len(entries):
            return None
        return cls(entries, total)


def _stored_size(size: int) -> int:
    """Return how many bytes of a gzip stream ``size`` bytes take in stored blocks."""
    return size + -(-size // STORED_BYTES) * STORED_HEADER_BYTES


def _entry(path: object, size: object, offset: object, packed: object = None) -> IndexEntry:
    """Check the types of one row; raises ValueError."""
    if not isinstance(path, str) or type(size) is not int or type(offset) is not int:
        raise ValueError("not a row of an index")
    if packed is not None and (type(packed) is not int or not 0 <= packed <= tar.MAX_SIZE):
        raise ValueError("not a length")
    if not 0 <= size <= tar.MAX_SIZE or not 0 <= offset <= tar.MAX_SIZE:
        raise ValueError("not an offset")
    return IndexEntry(path, size, offset, packed if type(packed) is int else None)


class Archive:
    """The archive of some members, in their given order: those that bear headers first, for who reads remotely.

    Raises `ArchiveError` for paths that unpacking would refuse.
    """

    def __init__(self, members: Sequence[PackMember]) -> None:
        self.members = tuple(members)
        self._headers = [tar.build_header(member.path, member.size) for member in self.members]
        self._index: LayerIndex | None = None
        parser = tar.HeaderParser()
        for header in self._headers:
            at = 0
            while at < len(header):
                wanted = parser.wanted
                parser.feed(header[at : at + wanted])
                at += wanted

    @property
    def size(self) -> int:
        """The members' bytes in all, unpacked."""
        return sum(member.size for member in self.members)

    @property
    def index(self) -> LayerIndex:
        """Where the members lie; known when `chunks` has run to its end."""
        if self._index is None:
            raise ValueError("the archive has not been packed yet")
        return self._index

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive in chunks of about 1 MiB; may be called again for another try.

        Raises `StorageError` where a file cannot be read or changes its size meanwhile.
        """
        gzip = _GzipWriter()
        entries: list[IndexEntry] = []
        for member, header in zip(self.members, self._headers, strict=True):
            offset = gzip.offset
            gzip.store(header)
            packed: int | None = None
            if member.size:
                with closing(member.open()) as source:
                    _same_size(member, source.size)
                    begin = gzip.offset
                    deflate = _is_compressible(source)
                    for data in _contents(member, source):
                        (gzip.deflate if deflate else gzip.store)(data)
                        if gzip.pending >= _READ_BYTES:
                            yield gzip.take()
                    if deflate:
                        packed = gzip.offset - begin
                gzip.store(bytes(-member.size % tar.BLOCK))
            entries.append(IndexEntry(member.path, member.size, offset, packed))
        gzip.store(tar.END)
        gzip.finish()
        self._index = LayerIndex(tuple(entries), len(entries))
        yield gzip.take()


def _contents(member: PackMember, source: Source) -> Iterator[bytes]:
    at = 0
    while at < member.size:
        wanted = min(_READ_BYTES, member.size - at)
        data = source.read_at(at, wanted)
        _same_size(member, member.size - wanted + len(data))
        yield data
        at += wanted
    _same_size(member, member.size + len(source.read_at(member.size, 1)))


def _same_size(member: PackMember, size: int) -> None:
    if size != member.size:
        raise StorageError(
            f"{member.path} changed while it was packed: got {size} bytes, expected {member.size}",
            next_step="pack again when nothing writes to the model",
        )


def _is_compressible(source: Source) -> bool:
    """Say whether the beginning, the middle and the end all shrink well, but not like a run of zeros."""
    if source.size < _SMALL_BYTES:
        return False
    starts = {0, max(0, source.size // 2 - _SAMPLE_BYTES // 2), max(0, source.size - _SAMPLE_BYTES)}
    for start in sorted(starts):
        sample = source.read_at(start, _SAMPLE_BYTES)
        if not _SUSPICIOUS * len(sample) < len(_deflated(sample)) < _WORTHWHILE * len(sample):
            return False
    return True


def _deflated(data: bytes) -> bytes:
    """Deflate without history before and, by the empty stored block of a flush, up to a byte boundary."""
    compressor = isal_zlib.compressobj(_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(isal_zlib.Z_SYNC_FLUSH)


class _GzipWriter:
    """A gzip stream that is put together from parts; parts are joined once, when they are taken."""

    def __init__(self) -> None:
        #: Offset in the stream of what is written next.
        self.offset = 0
        #: Bytes written and not taken.
        self.pending = 0
        self._parts: list[bytes | memoryview] = []
        self._crc = 0
        self._length = 0
        self._write(GZIP_HEADER)

    def store(self, data: bytes) -> None:
        """Append as stored blocks."""
        self._count(data)
        self._store(data)

    def deflate(self, data: bytes) -> None:
        """Append deflated, save a piece that does not shrink or shrinks like a bomb."""
        self._count(data)
        packed = _deflated(data)
        if _SUSPICIOUS * len(data) < len(packed) < len(data):
            self._write(packed)
        else:
            self._store(data)

    def finish(self) -> None:
        """Append the last block and the trailer: CRC-32 and length modulo 2 to the power of 32."""
        self._write(_LAST_BLOCK)
        self._write(struct.pack("<II", self._crc, self._length & 0xFFFFFFFF))

    def take(self) -> bytes:
        """Return what is pending."""
        data = b"".join(self._parts)
        self._parts.clear()
        self.pending = 0
        return data

    def _count(self, data: bytes) -> None:
        self._crc = isal_zlib.crc32(data, self._crc)
        self._length += len(data)

    def _store(self, data: bytes) -> None:
        view = memoryview(data)
        whole = len(data) - len(data) % STORED_BYTES
        for at in range(0, whole, STORED_BYTES):
            self._write(_FULL_BLOCK)
            self._write(view[at : at + STORED_BYTES])
        if rest := len(data) - whole:
            self._write(struct.pack("<BHH", 0, rest, rest ^ 0xFFFF))
            self._write(view[whole:])

    def _write(self, part: bytes | memoryview) -> None:
        self._parts.append(part)
        self.pending += len(part)
        self.offset += len(part)
