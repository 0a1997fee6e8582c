"""Unpack a layer into a staging directory while it streams; nothing outside that directory can be touched.

Every directory is opened by its descriptor without following links and every file is created anew, so that not even
another process that plants links in the staging directory leads a write astray. Whatever the archive says of modes
and owners, files become 0644 and directories 0755. What does not belong here: making the result visible (see
`klever.steps.oci.staging`), and where chunks come from.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from klever.steps.errors import ArchiveError, StorageDeniedError, StorageError, storage_error
from klever.steps.oci import tar
from klever.steps.oci.inflate import Ratio, gunzip
from klever.steps.oci.tar import HeaderParser, Member

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Limits:
    """What a layer may cost whoever unpacks it; the defaults stop attacks, not models."""

    #: Bytes of all files; None is as much as the disk has free.
    total_bytes: int | None = None
    members: int = tar.MAX_MEMBERS
    ratio: Ratio = field(default_factory=Ratio)


def unpack(
    chunks: Iterable[bytes], staging: Path, *, limits: Limits | None = None, gzipped: bool = True
) -> tuple[Member, ...]:
    """Unpack the tar ``chunks`` below the existing, empty directory ``staging``; return its members.

    The tar is gzipped unless told otherwise. The whole stream is consumed, even that of a bad archive, so that whoever
    verifies it on the way has seen its end and can say that the bytes were damaged rather than the archive. Raises
    `ArchiveError` for an archive that breaks a rule, `StorageError` where the disk refuses; what is in ``staging`` by
    then is of no use.
    """
    stream = iter(chunks)
    try:
        return _unpack(stream, staging, limits or Limits(), gzipped=gzipped)
    except ArchiveError:
        for _ in stream:
            pass
        raise


def _unpack(stream: Iterator[bytes], staging: Path, limits: Limits, *, gzipped: bool) -> tuple[Member, ...]:
    free = _free_bytes(staging)
    left = free if limits.total_bytes is None else limits.total_bytes
    members: list[Member] = []
    with _Tree(staging) as tree:
        pieces = gunzip(stream, limits.ratio) if gzipped else stream
        reader = TarStream(pieces, max_members=limits.members)
        for member in reader:
            left -= member.size
            if left < 0 and limits.total_bytes is not None:
                raise ArchiveError(f"the layer unpacks to more than the limit of {limits.total_bytes} bytes")
            if left < 0:
                raise StorageError(
                    f"the layer unpacks to more than the {free} bytes that the disk has free",
                    next_step="make room, or choose a directory on another disk",
                )
            members.append(member)
            if member.directory:
                tree.make_directory(member.path)
            else:
                tree.write_file(member.path, reader.content())
    return tuple(members)


class TarStream:
    """The members of an unpacked tar that streams by, one after the other, with their contents."""

    def __init__(self, pieces: Iterable[bytes], *, max_members: int = tar.MAX_MEMBERS) -> None:
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")
        self._parser = HeaderParser(max_members=max_members)
        self._content_left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Member]:
        """Yield each member; what was not read of its content is skipped. Ends when the stream has ended well."""
        while (member := self.next_member()) is not None:
            yield member

    def next_member(self) -> Member | None:
        """Go to the next member; None at the end, which has been checked then."""
        for _ in self.content():
            pass
        self._content_left = self._padding
        for _ in self.content():
            pass
        member = None
        while member is None and not self._parser.ended:
            member = self._parser.feed(self._exactly(self._parser.wanted))
        if member is None:
            self._check_end()
            return None
        self._content_left, self._padding = member.size, member.padding
        return member

    def content(self) -> Iterator[memoryview]:
        """Yield what is left of the current member's content."""
        while self._content_left:
            if not self._piece and not self._refill():
                raise ArchiveError("the archive ends within a file")
            part = self._piece[: self._content_left]
            self._piece = self._piece[len(part) :]
            self._content_left -= len(part)
            yield part

    def _exactly(self, count: int) -> bytes:
        parts: list[bytes] = []
        while count:
            if not self._piece and not self._refill():
                raise ArchiveError("the archive ends without its end marker")
            part = bytes(self._piece[:count])
            self._piece = self._piece[len(part) :]
            count -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _refill(self) -> bool:
        self._piece = memoryview(next(self._pieces, b""))
        return bool(self._piece)

    def _check_end(self) -> None:
        """Read on to the end of the gzip stream, whose CRC comes last; tar pads its last record with zeros."""
        while self._piece or self._refill():
            if any(self._piece):
                raise ArchiveError("the archive goes on after its end marker")
            self._piece = memoryview(b"")


class _Tree:
    """The directory that is being filled. The descriptor of the last used directory is kept open."""

    def __init__(self, root: Path) -> None:
        try:
            self._root = os.open(root, _DIRECTORY)
        except OSError as error:
            raise storage_error(f"cannot open {root}", error) from error
        self._made: set[str] = set()
        self._current = ""
        self._current_fd = self._root

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()
        os.close(self._root)

    def make_directory(self, path: str) -> None:
        """Make a directory and those above it."""
        try:
            self._enter(path)
        except OSError as error:
            raise _storage_error(path, error) from error

    def write_file(self, path: str, content: Iterable[memoryview]) -> None:
        """Make a new file of the given content."""
        parent, _, name = path.rpartition("/")
        try:
            self._enter(parent)
            fd = os.open(name, _NEW_FILE, 0o600, dir_fd=self._current_fd)
        except OSError as error:
            raise _storage_error(path, error) from error
        try:
            for part in content:
                _write(fd, part, path)
            os.fchmod(fd, 0o644)
        except OSError as error:
            raise _storage_error(path, error) from error
        finally:
            os.close(fd)

    def _enter(self, path: str) -> None:
        if path == self._current:
            return
        self._leave()
        fd, walked = self._root, ""
        for name in path.split("/") if path else ():
            walked = f"{walked}/{name}" if walked else name
            try:
                if walked not in self._made:
                    os.mkdir(name, 0o755, dir_fd=fd)
                    self._made.add(walked)
                below = os.open(name, _DIRECTORY, dir_fd=fd)
            finally:
                if fd != self._root:
                    os.close(fd)
            fd = below
            # Past the umask.
            os.fchmod(fd, 0o755)
        self._current, self._current_fd = path, fd

    def _leave(self) -> None:
        if self._current_fd != self._root:
            os.close(self._current_fd)
        self._current, self._current_fd = "", self._root


def _write(fd: int, part: memoryview, path: str) -> None:
    while part:
        try:
            written = os.write(fd, part)
        except OSError as error:
            raise _storage_error(path, error) from error
        part = part[written:]


def _storage_error(path: str, error: OSError) -> ArchiveError | StorageDeniedError | StorageError:
    """Tell what the archive is to blame for from what the disk refuses."""
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
        # The parser has refused what is the same text: this file system tells the two names not apart.
        return ArchiveError(f"the archive holds two members that are both {path!r} on this file system")
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
        return ArchiveError(f"the file system refuses the name {path[:100]!r}")
    return storage_error(f"cannot write {path}", error)


def _free_bytes(directory: Path) -> int:
    try:
        status = os.statvfs(directory)
    except OSError as error:
        raise storage_error(f"cannot write below {directory}", error) from error
    return status.f_bavail * status.f_frsize
