"""The private directory of an image layout: its lock, the blobs being written, the leases of writers.

    .klever/            0700; image layouts allow other files, and readers ignore them
      lock              shared by who adds a blob, exclusive for who changes the index or collects garbage
      blob-XXXX         a blob being written, locked by its writer
      lease-XXXX        a writer with blobs that no manifest refers to yet, locked by it

A file whose lock is free belongs to a process that is dead. What does not belong here: blobs and the index.
"""

import errno
import fcntl
import os
import secrets
import weakref
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import BinaryIO, Final

from klever.steps.oci.descriptor import Digest

DIRECTORY: Final = ".klever"
_BLOB: Final = "blob-"
_LEASE: Final = "lease-"


class Ingest:
    """The private directory of one layout. Nothing is created before something is written."""

    def __init__(self, layout: Path) -> None:
        self.directory = layout / DIRECTORY

    def create(self) -> None:
        """Make the directory, and those above it."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        # What is removed here must not be another directory's.
        if self.directory.is_symlink():
            raise NotADirectoryError(errno.ENOTDIR, f"{self.directory} is a symbolic link")

    @contextmanager
    def locked(self, *, exclusive: bool) -> Iterator[None]:
        """Hold the layout's lock; waits for others."""
        fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    @contextmanager
    def blob(self) -> Iterator[tuple[BinaryIO, Path]]:
        """Yield a new locked file for a blob; it is gone afterwards unless it was renamed."""
        fd, path = self._make(_BLOB)
        try:
            with open(fd, "wb", buffering=0) as file:  # noqa: PTH123  (a descriptor)
                yield file, path
        finally:
            path.unlink(missing_ok=True)

    def take_lease(self) -> "Lease":
        """Announce a writer: garbage collection spares every blob that is not older than its lease."""
        fd, path = self._make(_LEASE)
        return Lease(fd, path)

    def oldest_lease(self, spare: "Lease | None") -> float | None:
        """Return when the oldest live lease other than ``spare`` was taken; seconds since the epoch."""
        times: list[float] = []
        for path in self.directory.glob(f"{_LEASE}*"):
            if (spare is None or path != spare.path) and not self._remove_dead(path):
                with suppress(FileNotFoundError):
                    times.append(path.stat().st_mtime)
        return min(times, default=None)

    def remove_dead(self) -> tuple[int, int]:
        """Remove what killed writers left; return how many files and bytes."""
        files = freed = 0
        for path in [*self.directory.glob(f"{_BLOB}*"), *self.directory.glob(f"{_LEASE}*")]:
            with suppress(FileNotFoundError):
                size = path.stat().st_size
                if self._remove_dead(path):
                    files, freed = files + 1, freed + size
        return files, freed

    def _make(self, prefix: str) -> tuple[int, Path]:
        self.create()
        while True:
            path = self.directory / f"{prefix}{secrets.token_hex(8)}"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Between creation and lock it looked dead, and may have been removed.
            if os.fstat(fd).st_nlink:
                return fd, path
            os.close(fd)

    @staticmethod
    def _remove_dead(path: Path) -> bool:
        try:
            # O_NONBLOCK for a pipe that somebody put there.
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink(missing_ok=True)
        except BlockingIOError:
            return False
        finally:
            os.close(fd)
        return True


class Lease:
    """A writer's announcement; ends with `release` or with the process."""

    def __init__(self, fd: int, path: Path) -> None:
        self.path = path
        self._fd = fd

    def release(self) -> None:
        """End the lease; may be called twice."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1


class Writer:
    """One store's part as a writer: the blobs that it stored and that no manifest of its refers to yet.

    A lease lasts while there are any, or while one is being written. Threads may share it.
    """

    def __init__(self, ingest: Ingest) -> None:
        self._ingest = ingest
        self._mutex = RLock()
        self._held: tuple[Lease, weakref.finalize[..., Writer]] | None = None
        self._writes = 0
        self._pending: set[Digest] = set()

    @property
    def lease(self) -> Lease | None:
        """The lease, while there is one."""
        return self._held[0] if self._held else None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold a lease while a blob is written or taken into use, and on until its manifest is there."""
        with self._mutex:
            if self._held is None:
                self._ingest.remove_dead()
                lease = self._ingest.take_lease()
                self._held = lease, weakref.finalize(self, lease.release)
            self._writes += 1
        try:
            yield
        finally:
            with self._mutex:
                self._writes -= 1
                self.settle(frozenset())

    def stored(self, digest: Digest) -> None:
        """Take note of a blob that waits for its manifest."""
        with self._mutex:
            self._pending.add(digest)

    def settle(self, referred: AbstractSet[Digest]) -> None:
        """Take note of blobs that a manifest refers to; the lease ends with the last."""
        with self._mutex:
            self._pending -= referred
            if not self._pending and not self._writes and self._held is not None:
                _, end = self._held
                end()
                self._held = None

    def close(self) -> None:
        """End the lease, whatever waits for a manifest; raises nothing, also when called twice."""
        with self._mutex:
            self._pending.clear()
            self.settle(frozenset())
