"""ZIP archives by position: the central directory, and single members when they are asked for.

    >>> archive = ZipArchive(source)  # doctest: +SKIP
    >>> archive.read("config.json", limit=1 << 20)  # doctest: +SKIP

Opening costs one read of the file's end (two where the directory is large), a member one more. The central
directory says what the archive holds; a local header that contradicts it is refused, as parsers would then
disagree about the content. What does not belong here: writing, extraction to disk, the meaning of a member.

The format: PKWARE APPNOTE 6.3.10, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT.
"""

import struct
import zlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from klever.steps.encodings import magic
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from klever.steps.files import Source

#: More members than any model's archive has: each tensor of a checkpoint is one.
MAX_MEMBERS: Final = 200_000
#: The largest central directory that is read, in bytes.
MAX_DIRECTORY_BYTES: Final = 32 << 20
#: All that may be read out of one archive together; overlapping members would else multiply the work.
MAX_READ_BYTES: Final = 256 << 20

#: What a stream of deflate can expand to at most (zlib's technical notes: 1032:1), and its end block.
_MAX_RATIO: Final = 1032
_SLACK_BYTES: Final = 64

_END = struct.Struct("<4s4H2LH")  # 4.3.16
_END64_LOCATOR = struct.Struct("<4sLQL")  # 4.3.15
_END64 = struct.Struct("<4sQ2H2L4Q")  # 4.3.14
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")  # 4.3.12
_LOCAL = struct.Struct("<4s5H3L2H")  # 4.3.7
_END_SIGNATURE: Final = b"PK\x05\x06"
_END64_LOCATOR_SIGNATURE: Final = b"PK\x06\x07"
_END64_SIGNATURE: Final = b"PK\x06\x06"
_CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
_ZIP64_EXTRA: Final = 1
_IN_ZIP64: Final = 0xFFFFFFFF
_MAX_COMMENT_BYTES: Final = 0xFFFF
_BLOCK_BYTES: Final = 128 << 10
#: Room for a local header's extra field; PyTorch pads with one so that the data is aligned to 64 bytes.
_USUAL_EXTRA_BYTES: Final = 256

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _STRONGLY_ENCRYPTED, _UTF8 = 1 << 0, 1 << 6, 1 << 11


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the central directory; sizes in bytes, ``offset`` that of its local header."""

    name: str
    offset: int
    size: int
    compressed_size: int
    method: int
    flags: int
    crc32: int
    raw_name: bytes

    @property
    def is_stored(self) -> bool:
        """Whether the content stands in the archive as it is, so that parts of it can be read by position."""
        return self.method == _STORED


class ZipArchive:
    """The members of a ZIP archive over a `Source`, which stays the caller's to close.

    Raises `TruncatedModelError` where the archive's end is missing, `MalformedModelError` where its parts
    contradict each other, `LimitExceededError` beyond `MAX_MEMBERS` or `MAX_DIRECTORY_BYTES`. Where
    ``crc_optional``, a CRC of zero means that the writer computed none.
    """

    def __init__(self, source: "Source", *, crc_optional: bool = False) -> None:
        self._source = _ReadAhead(source)
        self._crc_optional = crc_optional
        self._left = MAX_READ_BYTES
        #: Members by name, in the directory's order.
        self.names: Mapping[str, Member] = MappingProxyType(_read_directory(self._source))

    def read(self, name: str, limit: int) -> bytes:
        """Return a member's content, inflated and checked against its CRC.

        Raises `LimitExceededError` above ``limit`` bytes, and `MalformedModelError` where there is no such
        member, or it is encrypted, compressed by a method other than deflate, or damaged.
        """
        member = self._member(name)
        if member.size > limit:
            raise LimitExceededError(f"{name} in the archive has {member.size} bytes, more than {limit}")
        self._left -= member.size + member.compressed_size
        if self._left < 0:
            raise LimitExceededError(f"the archive's members have more than {MAX_READ_BYTES} bytes together")
        data = self._stored_bytes(member)
        if member.method == _DEFLATED:
            data = _inflate(member, data)
        is_checked = member.crc32 != 0 or not self._crc_optional
        if is_checked and zlib.crc32(data) != member.crc32:
            raise MalformedModelError(f"{name} in the archive does not match its CRC-32")
        return data

    def open(self, name: str) -> "Source":
        """Return a view of a stored member, for reading parts of it; nothing is checked against the CRC.

        Raises `MalformedModelError` for an unknown name and for a compressed member.
        """
        member = self._member(name)
        if not member.is_stored:
            raise MalformedModelError(f"{name} in the archive is compressed, so it cannot be read in parts")
        return _View(self._source, self._start(member), member.size)

    def _member(self, name: str) -> Member:
        member = self.names.get(name)
        if member is None:
            raise MalformedModelError(f"the archive has no member {name}")
        if member.flags & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
            raise MalformedModelError(f"{name} in the archive is encrypted", next_step="remove the password")
        if member.method not in (_STORED, _DEFLATED):
            raise MalformedModelError(
                f"{name} in the archive is compressed by method {member.method}",
                next_step="write the archive with deflate or without compression",
            )
        if member.is_stored and member.size != member.compressed_size:
            raise MalformedModelError(f"{name} in the archive is stored, but its two sizes differ")
        if member.size > member.compressed_size * _MAX_RATIO + _SLACK_BYTES:
            raise MalformedModelError(f"{name} in the archive claims a size that deflate cannot expand to")
        return member

    def _stored_bytes(self, member: Member) -> bytes:
        header = _LOCAL.size + len(member.raw_name)
        window = self._source.read_at(member.offset, header + _USUAL_EXTRA_BYTES + member.compressed_size)
        start = header + self._check_local(member, window[:header])
        data = window[start : start + member.compressed_size]
        if len(data) < member.compressed_size and start > header + _USUAL_EXTRA_BYTES:
            data = self._source.read_at(member.offset + start, member.compressed_size)
        if len(data) < member.compressed_size:
            raise TruncatedModelError(f"the archive ends inside its member {member.name}")
        return data

    def _start(self, member: Member) -> int:
        header = _LOCAL.size + len(member.raw_name)
        local = self._source.read_at(member.offset, header)
        start = member.offset + header + self._check_local(member, local)
        if start + member.size > self._source.size:
            raise TruncatedModelError(f"the archive ends inside its member {member.name}")
        return start

    @staticmethod
    def _check_local(member: Member, header: bytes) -> int:
        """Return the length of the local header's extra field, in bytes."""
        if len(header) < _LOCAL.size + len(member.raw_name):
            raise TruncatedModelError(f"the archive ends inside the header of its member {member.name}")
        signature, _, _, method, *_, name_bytes, extra_bytes = _LOCAL.unpack_from(header)
        if signature != magic.ZIP:
            raise MalformedModelError(f"{member.name} is not where the archive's directory says")
        name = header[_LOCAL.size :]
        if (name_bytes, name, method) != (len(name), member.raw_name, member.method):
            raise MalformedModelError(f"the header of {member.name} contradicts the archive's directory")
        return int(extra_bytes)


class _ReadAhead:
    """A source that keeps the block it read last: small members, such as files of code, stand side by side."""

    __slots__ = ("_block", "_source", "_start", "size")

    def __init__(self, source: "Source") -> None:
        self._source = source
        self._block = b""
        self._start = 0
        self.size = source.size

    def read_at(self, offset: int, length: int) -> bytes:
        at = offset - self._start
        if at < 0 or at + length > len(self._block):
            if length > _BLOCK_BYTES:
                return self._source.read_at(offset, length)
            self._block = self._source.read_at(offset, _BLOCK_BYTES)
            self._start, at = offset, 0
        return self._block[at : at + length]

    def close(self) -> None:
        pass


class _View:
    """A range of a source as a source of its own; closing it leaves the other open."""

    __slots__ = ("_source", "_start", "size")

    def __init__(self, source: "Source", start: int, size: int) -> None:
        self._source = source
        self._start = start
        self.size = size

    def read_at(self, offset: int, length: int) -> bytes:
        length = min(length, self.size - offset)
        return self._source.read_at(self._start + offset, length) if length > 0 else b""

    def close(self) -> None:
        pass


def _inflate(member: Member, data: bytes) -> bytes:
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        # One byte more than claimed shows that the stream goes on; zero would mean no bound at all.
        content = stream.decompress(data, member.size + 1)
    except zlib.error as error:
        raise MalformedModelError(f"{member.name} in the archive does not inflate: {error}") from None
    if len(content) != member.size or not stream.eof:
        raise MalformedModelError(f"{member.name} in the archive does not inflate to {member.size} bytes")
    return content


def _read_directory(source: "Source") -> dict[str, Member]:
    tail_start = max(0, source.size - _END.size - _MAX_COMMENT_BYTES)
    tail = source.read_at(tail_start, source.size - tail_start)
    at = _find_end(tail)
    _, disk, first_disk, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    locator = tail[max(0, at - _END64_LOCATOR.size) : at]
    if locator.startswith(_END64_LOCATOR_SIGNATURE) and len(locator) == _END64_LOCATOR.size:
        count, size, offset, end = _read_end64(source, locator)
    elif disk or first_disk:
        raise MalformedModelError("the archive is one part of several, which no model's is")
    if count > MAX_MEMBERS:
        raise LimitExceededError(f"the archive claims {count} members, more than {MAX_MEMBERS}")
    if size > MAX_DIRECTORY_BYTES:
        raise LimitExceededError(f"the archive's directory has {size} bytes, more than {MAX_DIRECTORY_BYTES}")
    if offset + size > end:
        raise TruncatedModelError("the archive's directory does not lie inside the file")
    if offset >= tail_start:
        directory = tail[offset - tail_start : offset - tail_start + size]
    else:
        directory = source.read_at(offset, size)
    if len(directory) < size:
        raise TruncatedModelError("the archive ends inside its directory")
    return _parse_directory(directory, count, offset)


def _find_end(tail: bytes) -> int:
    """Return where the end record starts whose comment reaches exactly to the end of the file."""
    at = len(tail)
    while (at := tail.rfind(_END_SIGNATURE, 0, at)) >= 0:
        comment_bytes = len(tail) - at - _END.size
        if comment_bytes >= 0 and _END.unpack_from(tail, at)[-1] == comment_bytes:
            return at
    raise TruncatedModelError("no ZIP end record stands at the end of the file: it was cut short")


def _read_end64(source: "Source", locator: bytes) -> tuple[int, int, int, int]:
    _, _, end, disks = _END64_LOCATOR.unpack(locator)
    record = source.read_at(end, _END64.size) if end < source.size else b""
    if disks > 1 or len(record) < _END64.size or not record.startswith(_END64_SIGNATURE):
        raise MalformedModelError("the archive's ZIP64 end record is not where its locator says")
    *_, count, size, offset = _END64.unpack(record)
    return count, size, offset, end


def _parse_directory(directory: bytes, count: int, directory_start: int) -> dict[str, Member]:
    members: dict[str, Member] = {}
    at = 0
    for _ in range(count):
        if at + _CENTRAL.size > len(directory):
            raise MalformedModelError(f"the archive's directory ends before its {count} members do")
        fields = _CENTRAL.unpack_from(directory, at)
        if fields[0] != _CENTRAL_SIGNATURE:
            raise MalformedModelError(f"the archive's directory is damaged at offset {directory_start + at}")
        flags, method, crc32, compressed, size = fields[5], fields[6], *fields[9:12]
        name_bytes, extra_bytes, comment_bytes, offset = *fields[12:15], fields[18]
        name_at = at + _CENTRAL.size
        extra_at = name_at + name_bytes
        at = extra_at + extra_bytes + comment_bytes
        if at > len(directory):
            raise MalformedModelError("the archive's directory ends inside a member")
        if _IN_ZIP64 in (size, compressed, offset):
            extra = directory[extra_at : extra_at + extra_bytes]
            size, compressed, offset = _widen(extra, (size, compressed, offset))
        raw_name = directory[name_at:extra_at]
        name = raw_name.decode("utf-8" if flags & _UTF8 else "cp437", "backslashreplace")
        if offset + compressed > directory_start:
            raise TruncatedModelError(f"{name} in the archive claims bytes that lie outside its data")
        if name in members:
            raise MalformedModelError(f"the archive holds {name} twice")
        members[name] = Member(name, offset, size, compressed, method, flags, crc32, raw_name)
    return members


def _widen(extra: bytes, fields: tuple[int, int, int]) -> tuple[int, int, int]:
    """Replace those of size, compressed size and offset that stand in the ZIP64 extra field (4.5.3)."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == _ZIP64_EXTRA:
            wide = extra[at + 4 : at + 4 + length]
            wanted = fields.count(_IN_ZIP64)
            if len(wide) < 8 * wanted:
                break
            values = iter(struct.unpack_from(f"<{wanted}Q", wide))
            size, compressed, offset = (next(values) if field == _IN_ZIP64 else field for field in fields)
            return size, compressed, offset
        at += 4 + length
    raise MalformedModelError("a member's ZIP64 sizes are missing from the archive's directory")
