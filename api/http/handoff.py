"""Hand pushes over to a process that handles them, and begin another where that dies.

What does not belong here: what that process does (`klever.api.http.worker`).
"""

import asyncio
import logging
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from klever.api.harbor.events import Push
from klever.api.http import lines
from klever.api.http.queue import Done, Key, Known, Offered, Result
from klever.api.http.settings import Settings

_COMMAND: Final = (sys.executable, "-m", "klever.api.http.worker")
#: A push that was with so many processes when they died is given up: it may be what they died of.
_MOST_DEATHS: Final = 3
#: Seconds until another is begun.
_PAUSE_SECONDS: Final = 1.0
#: After so many deaths in a row, with no push done in between, something is wrong with the server as a whole.
_MOST_FAILURES: Final = 5
#: Seconds that the process has for its end, besides those for its pushes.
_GRACE_SECONDS: Final = 5.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    push: Push
    deaths: int = 0


class Handoff:
    """A queue whose pushes another process handles; for the thread of the event loop alone."""

    def __init__(
        self,
        settings: Settings,
        done: Done,
        tell_cluster: Callable[[str], None],
        *,
        command: Sequence[str] = _COMMAND,
        pause: float = _PAUSE_SECONDS,
        grace: float = _GRACE_SECONDS,
    ) -> None:
        self._settings = settings
        self._tell_done = done
        self._tell_cluster = tell_cluster
        self._command = command
        self._pause = pause
        self._grace = grace
        self._known = Known(settings.queue_size)
        #: What the process has, or the next one will be given.
        self._held: dict[Key, _Held] = {}
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._failures = 0

    async def open(self) -> None:
        """Begin a process, and see from now on that there is one."""
        self._keeper = asyncio.create_task(self._keep())

    @property
    def is_working(self) -> bool:
        """Whether there is a process, or will be in a moment."""
        return self._failures < _MOST_FAILURES and self._keeper is not None and not self._keeper.done()

    def __len__(self) -> int:
        """Return how many pushes are not done."""
        return len(self._known)

    def offer(self, pushes: Sequence[Push]) -> Offered:
        """Take pushes, all or none; raises `QueueFullError`."""
        new = self._known.take(pushes)
        for key, push in new.items():
            self._held[key] = _Held(push)
            self._send(push)
        return Offered(len(new), len(pushes) - len(new))

    async def shut(self, seconds: float) -> int:
        """Take no more, give what there is so many seconds to be done, and return how many pushes are lost."""
        self._known.is_closed = True
        if self._keeper is None:
            return len(self._known)
        if self._process is None:
            # Between two of them; another would begin when the time is over.
            self._keeper.cancel()
        else:
            self._end_input(self._process)
            await asyncio.wait([self._keeper], timeout=seconds + self._grace)
            if not self._keeper.done():
                with suppress(ProcessLookupError):
                    self._process.kill()
        # Its end is the process's.
        with suppress(asyncio.CancelledError):
            await self._keeper
        return len(self._known)

    async def _keep(self) -> None:
        while True:
            ended = await self._run()
            if self._known.is_closed:
                return
            _log.error("the process that handles pushes %s; another begins", ended)
            self._failures += 1
            self._count_death()
            await asyncio.sleep(self._pause)

    async def _run(self) -> str:
        """Run one process to its end, and return in words what that was."""
        try:
            process = await asyncio.create_subprocess_exec(*self._command, stdin=PIPE, stdout=PIPE)
        except OSError as error:
            return f"cannot be started: {error.strerror or error}"
        self._begin(process)
        try:
            await self._listen(process)
            return f"has ended with {await process.wait()}"
        finally:
            self._process = None

    def _begin(self, process: Process) -> None:
        self._process = process
        self._write(lines.write_settings(self._settings))
        for held in self._held.values():
            self._send(held.push)
        if self._known.is_closed:
            self._end_input(process)

    def _send(self, push: Push) -> None:
        if self._process is not None:
            self._write(lines.write_push(push))

    def _write(self, line: bytes) -> None:
        """Write without waiting: what is on its way is bounded by what may be undone."""
        assert self._process is not None  # noqa: S101 - for the checker of types
        source = self._process.stdin
        if source is not None and not source.is_closing():
            source.write(line)

    @staticmethod
    def _end_input(process: Process) -> None:
        if process.stdin is not None and not process.stdin.is_closing():
            process.stdin.close()

    async def _listen(self, process: Process) -> None:
        """Take what a process tells until it ends."""
        assert process.stdout is not None  # noqa: S101 - for the checker of types
        async for line in process.stdout:
            told = lines.read_told(line)
            if isinstance(told, lines.Cluster):
                self._tell_cluster(told.problem)
            else:
                self._failures = 0
                self._finish(told.key, told.result)

    def _finish(self, key: Key, result: Result) -> None:
        held = self._held.pop(key)
        self._tell_done(held.push, result, self._known.done(key, result))

    def _count_death(self) -> None:
        for key, held in list(self._held.items()):
            held.deaths += 1
            if held.deaths >= _MOST_DEATHS:
                _log.error("the push of %s@%s is given up, as %d processes died with it", *key[:2], held.deaths)
                self._finish(key, Result.DROPPED)
