"""Bytes by position: what readers read from, be it a file on disk, a blob in a registry or a stream.

A reader asks for the ranges that it needs and no others, so a `Source` may be a ranged HTTP request as well as a
local file. What does not belong here: anything that knows a format.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, Self

from klever.steps.errors import LimitExceededError, MalformedModelError, NotFoundError, storage_error

#: More files than any published model has; a guard against walking a home directory by mistake.
MAX_FILES = 100_000


class Source(Protocol):
    """Random access to the bytes of one file."""

    @property
    def size(self) -> int:
        """The file's length in bytes."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes [offset, offset + length), fewer only where the file ends."""

    def close(self) -> None:
        """Let go of what is held; the source is not used afterwards."""


class BytesSource:
    """A source over bytes that are in memory already."""

    __slots__ = ("_data", "size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size = len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        """Return a slice."""
        return self._data[offset : offset + length]

    def close(self) -> None:
        """Do nothing."""


class FileSource:
    """A source over a local regular file, by ``pread``, so that threads may share it."""

    __slots__ = ("_fd", "size")

    def __init__(self, path: Path) -> None:
        try:
            # O_NONBLOCK keeps the open of a FIFO from waiting for ever; it means nothing for a regular file.
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {path}") from None
        except OSError as error:
            raise storage_error(f"cannot open {path}", error) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise MalformedModelError(f"{path} is not a regular file", next_step="give a model's file or directory")
        self.size = status.st_size

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes at ``offset``; one system call unless the kernel returns less."""
        # What a file claims of itself may lie far beyond it, or be longer than memory. One byte past the end is asked
        # for all the same: it shows that the file has grown.
        if offset > self.size:
            return b""
        length = min(length, self.size - offset or 1)
        try:
            data = os.pread(self._fd, length, offset)
            if len(data) < length and offset + len(data) < self.size:
                parts = [data]
                got = len(data)
                while got < length and (more := os.pread(self._fd, length - got, offset + got)):
                    parts.append(more)
                    got += len(more)
                data = b"".join(parts)
        except OSError as error:
            raise storage_error("cannot read a file of the model", error) from error
        return data

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


class ModelFiles(Protocol):
    """The files of one model: relative POSIX paths and their bytes."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Path to size in bytes, in sorted order of paths."""

    def open(self, path: str) -> Source:
        """Open one of the paths. The caller closes it; see `opened`."""

    def head(self, path: str) -> bytes:
        """Return the first `HEAD_BYTES` of a file, kept so that every format may look at them."""


#: Enough for every magic number and for the first fields of every protobuf.
HEAD_BYTES = 4096


def exists(path: Path) -> bool:
    """Say whether there is something at ``path`` that can be seen; a name that no file can have is none."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def names_in(directory: Path) -> list[str]:
    """Return the names in a directory in lexical order; raises `StorageError`."""
    try:
        return sorted(path.name for path in directory.iterdir())
    except OSError as error:
        raise storage_error(f"cannot list {directory}", error) from error


@contextmanager
def opened(files: ModelFiles, path: str) -> Iterator[Source]:
    """Open ``path`` for the length of a ``with`` block."""
    source = files.open(path)
    try:
        yield source
    finally:
        source.close()


class MemoryFiles:
    """Model files in memory: what tests and small remote models are read from."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = dict(sorted(contents.items()))
        self.sizes: Mapping[str, int] = {path: len(data) for path, data in self._contents.items()}

    def open(self, path: str) -> Source:
        """Open a file."""
        return BytesSource(self._contents[path])

    def head(self, path: str) -> bytes:
        """Return a file's beginning."""
        return self._contents[path][:HEAD_BYTES]


class LocalFiles:
    """Model files on the local disk: relative paths mapped to where they are."""

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self.paths = dict(sorted(paths.items()))
        try:
            self.sizes: Mapping[str, int] = {name: path.stat().st_size for name, path in self.paths.items()}
        except OSError as error:
            raise storage_error(f"cannot read {error.filename}", error) from error
        self._heads: dict[str, bytes] = {}

    @classmethod
    def below(cls, directory: Path) -> Self:
        """Take every regular file below ``directory``; links and special files are refused."""
        paths: dict[str, Path] = {}
        pending = [directory]
        while pending:
            folder = pending.pop()
            try:
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                raise storage_error(f"cannot list {folder}", error) from error
            for entry in entries:
                if entry.is_symlink():
                    raise MalformedModelError(
                        f"{entry.path} is a symbolic link, which an artifact cannot hold",
                        next_step="replace links by what they point to, as cp -rL does",
                    )
                if entry.is_dir():
                    pending.append(Path(entry.path))
                elif entry.is_file():
                    path = Path(entry.path)
                    paths[path.relative_to(directory).as_posix()] = path
                else:
                    raise MalformedModelError(f"{entry.path} is neither a file nor a directory")
                if len(paths) > MAX_FILES:
                    raise LimitExceededError(f"{directory} holds more than {MAX_FILES} files")
        return cls(paths)

    def open(self, path: str) -> Source:
        """Open a file."""
        return FileSource(self.paths[path])

    def head(self, path: str) -> bytes:
        """Return a file's beginning, read once."""
        if path not in self._heads:
            with opened(self, path) as source:
                self._heads[path] = source.read_at(0, HEAD_BYTES)
        return self._heads[path]
