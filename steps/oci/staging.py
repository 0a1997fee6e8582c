"""A directory that appears whole or not at all: filled beside its target, then renamed.

A killed run leaves a hidden sibling that the next run for the same target removes. A lock on the sibling tells one
that is being filled from one that is dead: the kernel lets go of it with the process. What does not belong here: what
the directory holds.
"""

import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from klever.steps.errors import AlreadyExistsError, StorageDeniedError, StorageError, storage_error

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: linux/fs.h and linux/fcntl.h.
_RENAME_EXCHANGE: Final = 2
_AT_FDCWD: Final = -100


@contextmanager
def staged_directory(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield an empty directory, mode 0700, that becomes ``target`` (0755) when the block ends well.

    ``target`` must not exist or be an empty directory, else `AlreadyExistsError`; with ``force`` a directory there
    is replaced in one step. When the block fails, nothing is left. Raises `StorageError` where the disk refuses.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  (resolve would follow a link in the last place)
    try:
        _check_target(target, force=force)
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(target)
        staging, lock = _make(target)
    except OSError as error:
        raise storage_error(f"cannot write to {target.parent}", error) from error
    try:
        yield staging
        try:
            os.fchmod(lock, 0o755)
            _publish(staging, target, force=force)
        except OSError as error:
            raise _publish_error(target, error) from error
    finally:
        # After a plain rename nothing is there; after an exchange, what the target was.
        shutil.rmtree(staging, ignore_errors=True)
        os.close(lock)


@contextmanager
def scratch_directory(name: str) -> Iterator[Path]:
    """Yield an empty directory, mode 0700, among the temporary files; it is gone when the block ends.

    What killed runs left under the same ``name`` is removed too. Raises `StorageError` where the disk refuses.
    """
    target = Path(tempfile.gettempdir()) / name
    try:
        remove_stale(target)
        directory, lock = _make(target)
    except OSError as error:
        raise storage_error(f"cannot write to {target.parent}", error) from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def remove_stale(target: Path) -> None:
    """Remove what killed runs for ``target`` left beside it."""
    for sibling in target.parent.glob(glob.escape(f".{target.name}.klever-") + "*"):
        try:
            fd = os.open(sibling, _DIRECTORY)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(sibling, ignore_errors=True)
        except OSError:
            # Locked: another run is filling it.
            continue
        finally:
            os.close(fd)


def _make(target: Path) -> tuple[Path, int]:
    """Make a staging directory and lock it; a fresh one may fall to another run's cleaning before it is locked."""
    while True:
        staging = target.with_name(f".{target.name}.klever-{secrets.token_hex(4)}")
        staging.mkdir(mode=0o700)
        fd = -1
        try:
            fd = os.open(staging, _DIRECTORY)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), staging.stat(follow_symlinks=False)):
                return staging, fd
        except (FileNotFoundError, BlockingIOError):
            pass
        except BaseException:
            with suppress(OSError):
                staging.rmdir()
            if fd >= 0:
                os.close(fd)
            raise
        if fd >= 0:
            os.close(fd)


def _check_target(target: Path, *, force: bool) -> None:
    if not target.is_symlink() and not target.exists():
        return
    if target.is_symlink() or not target.is_dir():
        raise AlreadyExistsError(f"{target} exists and is not a directory")
    if not force and any(target.iterdir()):
        raise AlreadyExistsError(
            f"{target} exists and is not empty", next_step="choose another directory, or force its replacement"
        )
    if any(target.iterdir()) and any(place.is_relative_to(target.resolve()) for place in _inhabited()):
        raise AlreadyExistsError(
            f"{target} is or holds the working directory or the home directory, and is not replaced",
            next_step="choose another directory",
        )


def _inhabited() -> tuple[Path, ...]:
    """Return the directories that no one means to lose with all that is in them."""
    return Path.cwd().resolve(), Path(os.path.expanduser("~")).resolve()  # noqa: PTH111 - pathlib's raises for a user without a home


def _publish(staging: Path, target: Path, *, force: bool) -> None:
    try:
        # POSIX: an empty directory is replaced, anything else is an error.
        staging.rename(target)
    except OSError as error:
        if not force or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(staging, target):
            aside = target.with_name(f"{staging.name}-old")
            target.rename(aside)
            staging.rename(target)
            shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Let two directories swap their names in one step; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    answer: int = renameat2(_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    return answer == 0


def _publish_error(target: Path, error: OSError) -> AlreadyExistsError | StorageDeniedError | StorageError:
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
        return AlreadyExistsError(f"{target} was made by another process meanwhile")
    return storage_error(f"cannot publish {target}", error)
