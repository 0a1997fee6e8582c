"""Mutexes as locked files, so that runs on one machine see each other's.

What does not belong here: which node wants which mutex.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path


class FileLocks:
    """The mutexes of one run; ``freed`` is called, in the loop's thread, when one may be had."""

    def __init__(self, directory: Path, freed: Callable[[], None]) -> None:
        self._directory = directory
        self._freed = freed
        self._loop = asyncio.get_running_loop()
        #: Who holds what, by name of the mutex.
        self._holders: dict[str, str] = {}
        #: Who waits for what, in order.
        self._waiting: dict[str, list[str]] = {}
        self._files: dict[str, int] = {}
        #: The names whose file another run holds, and which a thread waits for.
        self._awaited: set[str] = set()
        self._closed = threading.Event()

    def try_acquire(self, holder: str, names: list[str]) -> str | None:
        """Take all, or none and return the first that another holds."""
        if all(self._holders.get(name) == holder for name in names):
            return None
        for name in names:
            queue = self._waiting.setdefault(name, [])
            if holder not in queue:
                queue.append(holder)
        busy = next((name for name in names if not self._may_take(holder, name)), None)
        if busy is not None:
            self._give_back_unused(names)
            return busy
        for name in names:
            self._holders[name] = holder
            self._waiting[name].remove(holder)
        return None

    def release(self, holder: str) -> None:
        """Give back all that ``holder`` has, and forget what it wants."""
        for name, queue in self._waiting.items():
            if holder in queue:
                queue.remove(holder)
                self._wake(name)
        for name in [name for name, other in self._holders.items() if other == holder]:
            del self._holders[name]
            self._close_file(name)
            self._wake(name)

    def close(self) -> None:
        """Give back everything."""
        self._closed.set()
        for name in list(self._files):
            self._close_file(name)

    @property
    def is_waiting(self) -> bool:
        """Whether another run has what this one wants."""
        return bool(self._awaited)

    def _wake(self, name: str) -> None:
        if self._waiting.get(name):
            self._freed()

    def _may_take(self, holder: str, name: str) -> bool:
        if self._holders.get(name, holder) != holder or self._waiting[name][0] != holder:
            return False
        if name in self._files:
            return True
        if name in self._awaited:
            return False
        file = self._open(name)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._awaited.add(name)
            # A thread that waits for a lock cannot be called back; a daemon does not keep the interpreter.
            threading.Thread(target=self._await, args=(name, file), daemon=True).start()
            return False
        self._files[name] = file
        return True

    def _open(self, name: str) -> int:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"{hashlib.sha256(name.encode()).hexdigest()}.lock"
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _await(self, name: str, file: int) -> None:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        # A closed loop means that the run is over.
        with contextlib.suppress(RuntimeError):
            if not self._closed.is_set():
                self._loop.call_soon_threadsafe(self._got, name, file)
                return
        os.close(file)

    def _got(self, name: str, file: int) -> None:
        self._awaited.discard(name)
        if self._closed.is_set() or not self._waiting.get(name):
            os.close(file)
            return
        self._files[name] = file
        self._freed()

    def _give_back_unused(self, names: list[str]) -> None:
        for name in names:
            if name in self._files and name not in self._holders:
                # Not to keep from others what cannot be used yet; the next to ask takes it again.
                self._close_file(name)

    def _close_file(self, name: str) -> None:
        if name in self._files:
            os.close(self._files.pop(name))
