"""Read files out of a layer by ranges, without fetching the rest.

Works for the layers that this project packs: every tar header and file begins a deflate block of its own, and weights
lie in stored blocks, so that a position in a file is a position in the blob. Nothing here is verified by a digest,
since that would take the whole blob; what is checked is that block and tar headers stand where they are said to.
What does not belong here: layers that have to be read from their beginning (see `klever.steps.oci.streamed`).
"""

import struct
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from klever.steps.errors import ArchiveError
from klever.steps.files import Source
from klever.steps.oci import tar
from klever.steps.oci.archive import GZIP_HEADER, STORED_BYTES, STORED_HEADER_BYTES, IndexEntry, LayerIndex
from klever.steps.oci.inflate import inflate_range
from klever.steps.oci.passage import ForwardSource

_BLOCK_BYTES: Final = 16 * 1024
#: What is kept, in blocks: 4 MiB.
_BLOCKS: Final = 256
#: Who reads on gets more with each request, up to so many blocks: 1 MiB, which outweighs a request's price.
_MAX_AHEAD_BLOCKS: Final = 64
#: Each header walked to is a request; with more files than this, one streaming pass is cheaper.
_MAX_WALKED: Final = 50
#: Bytes in a blob of one full stored block.
_STRIDE: Final = STORED_HEADER_BYTES + STORED_BYTES


class BufferedSource:
    """A source that asks another for whole blocks and keeps the last used ones."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.size = source.size
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        #: The block behind the last fetch, and how many blocks a read there fetches.
        self._next = 0
        self._ahead = 8

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``; long reads pass the buffer by."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = offset // _BLOCK_BYTES, (end - 1) // _BLOCK_BYTES
        if last - first >= _MAX_AHEAD_BLOCKS:
            return self._source.read_at(offset, end - offset)
        missing = [block for block in range(first, last + 1) if block not in self._blocks]
        if missing:
            self._fetch(missing[0], missing[-1])
        parts = []
        for block in range(first, last + 1):
            self._blocks.move_to_end(block)
            parts.append(self._blocks[block])
        while len(self._blocks) > _BLOCKS:
            self._blocks.popitem(last=False)
        begin = offset - first * _BLOCK_BYTES
        return b"".join(parts)[begin : begin + end - offset]

    def close(self) -> None:
        """Close the other source."""
        self._source.close()

    def _fetch(self, first: int, last: int) -> None:
        if first == self._next:
            last = max(last, min(first + self._ahead - 1, (self.size - 1) // _BLOCK_BYTES))
            self._ahead = min(2 * self._ahead, _MAX_AHEAD_BLOCKS)
        else:
            self._ahead = 2
        self._next = last + 1
        data = self._source.read_at(first * _BLOCK_BYTES, (last + 1 - first) * _BLOCK_BYTES)
        for block in range(first, last + 1):
            at = (block - first) * _BLOCK_BYTES
            self._blocks[block] = data[at : at + _BLOCK_BYTES]


class StoredSource:
    """A file in stored blocks, each full save the last, from ``begin`` on in a blob."""

    def __init__(self, blob: Source, begin: int, size: int) -> None:
        self._blob = blob
        self._begin = begin
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``; raises `ArchiveError` where the blocks are not as they should be."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first, last = offset // STORED_BYTES, (end - 1) // STORED_BYTES
        # From the header of the first block to the last byte asked for.
        span = (last - first) * _STRIDE + STORED_HEADER_BYTES + end - last * STORED_BYTES
        if first == last and offset - first * STORED_BYTES > _BLOCK_BYTES:
            # A few bytes far behind their block's header: the header is fetched alone, not all that lies between.
            return self._within(first, offset - first * STORED_BYTES, end - offset)
        data = memoryview(self._blob.read_at(self._begin + first * _STRIDE, span))
        parts = []
        for block in range(first, last + 1):
            at = (block - first) * _STRIDE
            expected = self._check(block, data[at : at + STORED_HEADER_BYTES])
            at += STORED_HEADER_BYTES
            parts.append(data[at : at + expected])
        skipped = offset - first * STORED_BYTES
        content = b"".join(parts)[skipped : skipped + end - offset]
        if len(content) != end - offset:
            raise ArchiveError("the layer ends within a file")
        return content

    def _within(self, block: int, skipped: int, length: int) -> bytes:
        at = self._begin + block * _STRIDE
        self._check(block, self._blob.read_at(at, STORED_HEADER_BYTES))
        content = self._blob.read_at(at + STORED_HEADER_BYTES + skipped, length)
        if len(content) != length:
            raise ArchiveError("the layer ends within a file")
        return content

    def _check(self, block: int, header: bytes | memoryview) -> int:
        """Return a block's length as it has to be; raises where its header says otherwise."""
        expected = min(STORED_BYTES, self.size - block * STORED_BYTES)
        if _stored_length(header) != expected:
            raise ArchiveError("a file of the layer is not in stored blocks, as the layer's index says")
        return expected

    def close(self) -> None:
        """Do nothing; the blob is open for others."""


def open_entry(blob: Source, entry: IndexEntry) -> Source | None:
    """Open a file where the index says it lies; None if its header is not there or says otherwise."""
    found = _header_at(blob, entry.offset)
    if found is None or found[0] != tar.Member(entry.path, entry.size):
        return None
    begin = found[1]
    if entry.packed is None:
        # The first block is checked now, while another way can still be chosen.
        expected = min(STORED_BYTES, entry.size)
        if entry.size and _stored_length(blob.read_at(begin, STORED_HEADER_BYTES)) != expected:
            return None
        return StoredSource(blob, begin, entry.size)
    packed = entry.packed

    def inflate() -> Iterator[bytes]:
        return inflate_range(blob, begin, packed, entry.size, _BLOCK_BYTES)

    return ForwardSource(entry.size, inflate)


def walk(blob: Source) -> LayerIndex | None:
    """Find the files of a layer by going from header to header; None unless all its files are in stored blocks."""
    if blob.read_at(0, len(GZIP_HEADER))[:9] != GZIP_HEADER[:9]:
        return None
    entries: list[IndexEntry] = []
    offset = len(GZIP_HEADER)
    while len(entries) <= _MAX_WALKED:
        block = _stored_block(blob, offset)
        if block == tar.END:
            return LayerIndex(tuple(entries), len(entries))
        found = _header_at(blob, offset)
        if found is None:
            return None
        member, begin = found
        if member.directory:
            return None
        entries.append(IndexEntry(member.path, member.size, offset))
        if open_entry(blob, entries[-1]) is None:
            return None
        offset = begin + member.size + -(-member.size // STORED_BYTES) * STORED_HEADER_BYTES
        if member.padding:
            if _stored_length(blob.read_at(offset, STORED_HEADER_BYTES)) != member.padding:
                return None
            offset += STORED_HEADER_BYTES + member.padding
    return None


def _header_at(blob: Source, offset: int) -> tuple[tar.Member, int] | None:
    """Parse the tar header in the stored block at ``offset``; return its member and where that block ends."""
    block = _stored_block(blob, offset)
    if block is None:
        return None
    parser = tar.HeaderParser()
    at = 0
    try:
        while at < len(block):
            part = block[at : at + parser.wanted]
            at += len(part)
            if member := parser.feed(part):
                return (member, offset + STORED_HEADER_BYTES + at) if at == len(block) else None
    except ArchiveError:
        return None
    return None


def _stored_block(blob: Source, offset: int) -> bytes | None:
    length = _stored_length(blob.read_at(offset, STORED_HEADER_BYTES))
    if not length:
        return None
    block = blob.read_at(offset + STORED_HEADER_BYTES, length)
    return block if len(block) == length else None


def _stored_length(header: bytes | memoryview) -> int:
    """Return the length of a stored block that is not the last; 0 if this is no header of one."""
    if len(header) < STORED_HEADER_BYTES:
        return 0
    kind, length, complement = struct.unpack("<BHH", header[:STORED_HEADER_BYTES])
    return length if kind == 0 and length ^ complement == STORED_BYTES else 0
