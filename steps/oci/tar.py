"""Tar headers: one parser that both checks and extracts, and the writer of what this project packs.

Formats: POSIX.1-2017 ``pax`` (ustar and extended headers) and, on reading, GNU long names. The parser does no I/O:
it says how many bytes it wants and is fed them, so a stream and ranged reads share it. What does not belong here:
gzip, files on disk.
"""

import re
from dataclasses import dataclass
from typing import Final

from klever.steps.errors import ArchiveError

BLOCK: Final = 512
#: The two zero blocks that end an archive.
END: Final = bytes(2 * BLOCK)

#: More members than any published model has.
MAX_MEMBERS: Final = 100_000
#: Bytes of one extended header; those of real archives hold a name and a few times.
MAX_EXTENSION_BYTES: Final = 1 << 20
#: Linux's PATH_MAX less room for the directory that the archive is unpacked into.
MAX_PATH_BYTES: Final = 2048
#: Linux's NAME_MAX.
MAX_NAME_BYTES: Final = 255
MAX_DEPTH: Final = 64
#: No file is larger than this, in bytes; the field's base-256 form could claim 2 to the power of 87.
MAX_SIZE: Final = 1 << 62
#: What the eleven octal digits of ustar can hold.
_MAX_OCTAL_SIZE: Final = 8**11 - 1

_NUMBER: Final = re.compile(rb" *([0-7]+)[ \0]*", re.ASCII)
#: First byte of a number in base 256, positive or negative, as GNU writes what octal digits cannot hold.
_BASE_256: Final = (0x80, 0xFF)
#: Fields that do not matter here, but where other tools stop reading when they are malformed.
_OTHER_NUMBERS: Final = (
    (100, 108, "mode"),
    (108, 116, "owner"),
    (116, 124, "group"),
    (136, 148, "time"),
    (329, 337, "device"),
    (337, 345, "device"),
)
#: Control characters of both sets, and what turns a line or its direction: such a name shows as another one.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_RECORD_LENGTH: Final = re.compile(rb"[1-9][0-9]{0,6} ")

_REFUSED_TYPES: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"K": "a link with a long target",
    b"S": "a sparse file",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One file or directory of an archive: its relative POSIX path and its content's length in bytes."""

    path: str
    size: int
    directory: bool = False

    @property
    def padding(self) -> int:
        """How many zero bytes follow the content."""
        return -self.size % BLOCK


class HeaderParser:
    """Parses headers as they come, and refuses every archive that two tools could unpack in different ways.

    Feed it exactly `wanted` bytes; a `Member` comes back when its header is complete. The caller then consumes the
    member's content and padding before it feeds on. Paths are checked against all that came before: a path given
    twice, or a file used as a directory, is an error.
    """

    def __init__(self, *, max_members: int = MAX_MEMBERS) -> None:
        self.wanted = BLOCK
        #: True when both zero blocks have been seen.
        self.ended = False
        self._max_members = max_members
        self._headers = 0
        self._zero_blocks = 0
        self._extension: tuple[bytes, int] | None = None
        self._pax: dict[str, str] | None = None
        self._long_name: str | None = None
        self._files: set[str] = set()
        #: Directory to whether it had a member of its own, or was only implied by a path below it.
        self._directories: dict[str, bool] = {}

    def feed(self, data: bytes) -> Member | None:
        """Take the next `wanted` bytes; return a member if they complete one; raises `ArchiveError`."""
        if self.ended:
            raise ArchiveError("the archive goes on after its end marker")
        if len(data) != self.wanted:
            raise ArchiveError("the archive ends within a header")
        if self._extension:
            kind, size = self._extension
            self._extension, self.wanted = None, BLOCK
            self._take_extension(kind, data[:size], data[size:])
            return None
        if not any(data):
            self._take_zero_block()
            return None
        if self._zero_blocks:
            raise ArchiveError("the archive has a single zero block between its members")
        self._headers += 1
        # An extended header or two may precede each member.
        if self._headers > 3 * self._max_members:
            raise ArchiveError(f"the archive has more than {3 * self._max_members} headers")
        return self._take_header(data)

    def _take_zero_block(self) -> None:
        if self._pax is not None or self._long_name is not None:
            raise ArchiveError("the archive ends after an extended header without its member")
        self._zero_blocks += 1
        self.ended = self._zero_blocks == 2

    def _take_header(self, block: bytes) -> Member | None:
        _check_sum(block)
        for begin, end, what in _OTHER_NUMBERS:
            if block[begin] not in _BASE_256 and block[begin:end].strip(b" \0"):
                _number(block[begin:end], what)
        kind = block[156:157]
        size = _size_field(block[124:136])
        if kind in (b"x", b"g", b"L"):
            if not 0 < size <= MAX_EXTENSION_BYTES:
                raise ArchiveError(f"the archive has an extended header of {size} bytes")
            self._extension = kind, size
            self.wanted = size + -size % BLOCK
            return None
        return self._take_member(block, kind, size)

    def _take_extension(self, kind: bytes, data: bytes, padding: bytes) -> None:
        if any(padding):
            raise ArchiveError("the archive has data in the padding of an extended header")
        if kind == b"L":
            if self._long_name is not None:
                raise ArchiveError("the archive has two long names for one member")
            self._long_name = _text(data.rstrip(b"\0"))
            return
        records = parse_pax(data)
        if kind == b"g":
            if forbidden := records.keys() & {"path", "size", "linkpath"}:
                raise ArchiveError(f"the archive sets {min(forbidden)} for all members by a global header")
        elif self._pax is not None:
            raise ArchiveError("the archive has two extended headers for one member")
        else:
            self._pax = records

    def _take_member(self, block: bytes, kind: bytes, size: int) -> Member | None:
        pax, long_name = self._pax or {}, self._long_name
        self._pax = self._long_name = None
        if "path" in pax and long_name is not None:
            raise ArchiveError("the archive names one member both by a pax and by a GNU header")
        name = pax["path"] if "path" in pax else long_name if long_name is not None else _ustar_name(block)
        shown = repr(name[:100])
        if kind in _REFUSED_TYPES:
            raise ArchiveError(f"the archive holds {_REFUSED_TYPES[kind]}, {shown}")
        # V7 archives mark a directory by its trailing slash alone.
        directory = kind == b"5" or (kind == b"\0" and name.endswith("/"))
        if kind not in (b"0", b"\0", b"5"):
            raise ArchiveError(f"the archive holds {shown} of unknown type {kind!r}")
        if "linkpath" in pax or any(block[157:257]):
            raise ArchiveError(f"the archive gives {shown} the target of a link")
        if _number(block[100:108], "mode") & 0o7000:
            raise ArchiveError(f"the archive gives {shown} setuid, setgid or sticky bits")
        size = _agreed_size(size, pax, shown)
        if directory and size:
            raise ArchiveError(f"the archive gives directory {shown} a content")
        path = normal_path(name, directory=directory)
        if not path:
            return None
        self._remember(path, directory)
        return Member(path, size, directory)

    def _remember(self, path: str, directory: bool) -> None:
        if path in self._files or (directory and self._directories.get(path)):
            raise ArchiveError(f"the archive holds {path!r} twice")
        if not directory and path in self._directories:
            raise ArchiveError(f"the archive holds {path!r} as a file and as a directory")
        cut = path.rfind("/")
        while cut > 0 and (parent := path[:cut]) not in self._directories:
            if parent in self._files:
                raise ArchiveError(f"the archive uses file {parent!r} as a directory")
            self._directories[parent] = False
            cut = path.rfind("/", 0, cut)
        if directory:
            self._directories[path] = True
        else:
            self._files.add(path)
        if len(self._files) + len(self._directories) > self._max_members:
            raise ArchiveError(f"the archive holds more than {self._max_members} files and directories")


def normal_path(name: str, *, directory: bool = False) -> str:
    """Return a member's name as a path below the root, empty for the root itself.

    Raises `ArchiveError` for everything that is absolute, leaves the root, is not in normal form or means another
    thing on another system. A single leading ``./`` is what ``tar -c .`` writes, and is dropped.
    """
    shown = repr(name[:100])
    if directory and name.endswith("/"):
        name = name[:-1]
    if directory and name == ".":
        return ""
    if name.startswith("/"):
        raise ArchiveError(f"the archive holds absolute path {shown}")
    if "\\" in name or _UNPRINTABLE.search(name):
        raise ArchiveError(f"the archive holds path {shown} with a backslash or control character")
    parts = name.removeprefix("./").split("/")
    if ".." in parts:
        raise ArchiveError(f"the archive holds path {shown}, which leaves the archive")
    if "" in parts or "." in parts:
        raise ArchiveError(f"the archive holds path {shown}, which is not in normal form")
    if len(parts) > MAX_DEPTH or len(name.encode()) > MAX_PATH_BYTES:
        raise ArchiveError(f"the archive holds an overlong path, {shown}")
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        raise ArchiveError(f"the archive holds path {shown} with a name over {MAX_NAME_BYTES} bytes")
    return "/".join(parts)


def parse_pax(data: bytes) -> dict[str, str]:
    """Parse the records of an extended header: ``LENGTH KEY=VALUE\\n``, the length counting itself.

    Values that do not matter to a path or a size may be of any encoding and are left out. Raises `ArchiveError`.
    """
    records: dict[str, str] = {}
    at = 0
    while at < len(data):
        match = _RECORD_LENGTH.match(data, at)
        end = at + int(match[0]) if match else 0
        if not match or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
            raise ArchiveError("the archive has a malformed extended header")
        key, equals, value = data[match.end() : end - 1].partition(b"=")
        if not equals or not key:
            raise ArchiveError("the archive has an extended header without a key")
        name = key.decode("utf-8", "replace")
        if name.startswith("GNU.sparse"):
            raise ArchiveError("the archive holds a sparse file")
        if name in ("path", "size", "linkpath"):
            if name in records:
                raise ArchiveError(f"the archive gives {name} twice in one extended header")
            records[name] = _text(value)
        at = end
    return records


def build_header(path: str, size: int) -> bytes:
    """Build the header blocks of a regular file: ustar where it can say path and size, else pax before it.

    Deterministic: mode 0644, owner 0, time 0. Raises `ArchiveError` for a path that the parser would refuse.
    """
    if normal_path(path) != path:
        raise ArchiveError(f"path {path[:100]!r} is not in normal form")
    raw = path.encode()
    prefix, name = _split(raw) if path.isascii() else (b"", b"")
    records = b""
    if not name:
        records += _record("path", path)
        name = f"PaxFile{len(raw)}".encode()
    if size > _MAX_OCTAL_SIZE:
        records += _record("size", str(size))
        # Go and Python write 0 where the octal field cannot hold the size.
        size = 0
    header = _block(name, prefix, b"0", size)
    if not records:
        return header
    return _block(b"PaxHeader", b"", b"x", len(records)) + records + bytes(-len(records) % BLOCK) + header


def _block(name: bytes, prefix: bytes, kind: bytes, size: int) -> bytes:
    block = bytearray(BLOCK)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[148:156] = b"        "
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[329:337] = block[337:345] = b"0000000\0"
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """Split a path into ustar's prefix and name; empty if it fits in no way."""
    if len(path) <= 100:
        return b"", path
    cut = path.find(b"/", len(path) - 101)
    return (path[:cut], path[cut + 1 :]) if 0 < cut <= 155 else (b"", b"")


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def _check_sum(block: bytes) -> None:
    expected = _number(block[148:156], "checksum")
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    if expected != unsigned:
        raise ArchiveError("the archive has a header with a wrong checksum")


def _ustar_name(block: bytes) -> str:
    name = block[:100].split(b"\0", 1)[0]
    # GNU's magic, "ustar  ", marks a header whose bytes 345 and following are times instead of a prefix.
    if block[257:263] == b"ustar\0" and (prefix := block[345:500].split(b"\0", 1)[0]):
        name = prefix + b"/" + name
    return _text(name)


def _agreed_size(size: int, pax: dict[str, str], shown: str) -> int:
    """Return the size on which the ustar field and the pax record agree.

    They may differ only where the field cannot hold the size, and is then 0: an archive with two sizes is read in
    two ways, and a second archive can be hidden between them.
    """
    if "size" not in pax:
        return size
    text = pax["size"]
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ArchiveError(f"the archive gives {shown} a malformed size")
    given = int(text)
    if given > MAX_SIZE or (given != size and not (size == 0 and given > _MAX_OCTAL_SIZE)):
        raise ArchiveError(f"the archive gives {shown} two sizes, {size} and {given}")
    return given


def _size_field(raw: bytes) -> int:
    """Read octal digits or, as GNU writes from 8 GiB on, base 256 marked by the first bit."""
    if raw[0] & 0x80:
        size = int.from_bytes(bytes([raw[0] & 0x7F]) + raw[1:], "big")
        if size > MAX_SIZE:
            raise ArchiveError("the archive has a member of impossible size")
        return size
    return _number(raw, "size")


def _number(raw: bytes, what: str) -> int:
    match = _NUMBER.fullmatch(raw)
    if not match:
        raise ArchiveError(f"the archive has a header with a malformed {what}")
    return int(match[1], 8)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ArchiveError(f"the archive has a name that is not UTF-8, {raw[:100]!r}") from None
