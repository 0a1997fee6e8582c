"""Pushes between the answer and the work: which are taken, and the threads that bring each to its end.

It forgets everything when the process ends; what was lost then, the relist finds. What does not belong here: what a
push leads to, and in which process.
"""

import asyncio
import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from heapq import heappop, heappush
from typing import Final, Protocol

from klever.api.harbor.events import Push
from klever.steps.errors import KleverError, TemporaryError

#: What is asked to come again comes after so many seconds.
RETRY_AFTER_SECONDS: Final = 5
#: A push that is told of again so soon is the same; later it may be a tag that was put back on its digest. Less than
#: any job takes.
_RECENT_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)

#: What makes two pushes one: repository, digest, tag.
Key = tuple[str, str, str | None]


class QueueFullError(TemporaryError):
    """There is no room for more pushes, or the server is about to end."""

    usual_step = f"send it again after {RETRY_AFTER_SECONDS} seconds"


class Result(StrEnum):
    """What became of an event of Harbor, or of a push that it tells of."""

    #: Every event from whoever knows the secret.
    RECEIVED = "received"
    #: Without the secret, malformed, or while the queue was full.
    REFUSED = "refused"
    #: Accepted, and given up after all tries.
    DROPPED = "dropped"
    #: Told of before, or its job was there.
    DUPLICATE = "duplicate"
    STARTED = "started"
    #: No push, or one that calls for nothing.
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a push led to (started, duplicate or ignored), and the job or the reason."""

    result: Result
    about: str = ""


@dataclass(frozen=True, slots=True)
class Offered:
    """What became of pushes that were offered."""

    accepted: int
    #: Those that wait already, or that were done a moment ago.
    duplicate: int


Handle = Callable[[Push], Outcome]
#: Is told of each push that is done: what became of it, and the seconds since it was taken.
Done = Callable[[Push, Result, float], None]


class Queue(Protocol):
    """Takes pushes at once, and sees that each is handled."""

    @property
    def is_working(self) -> bool:
        """Whether there is somebody to handle them."""

    def offer(self, pushes: Sequence[Push]) -> Offered:
        """Take pushes, all or none; raises `QueueFullError`."""

    async def open(self) -> None:
        """Begin to work."""

    async def shut(self, seconds: float) -> int:
        """Take no more, give what there is so many seconds to be done, and return how many pushes are lost."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often a temporary failure is tried again, and after how many seconds; each wait is twice the one before."""

    tries: int = 9
    first: float = 0.5
    longest: float = 30.0

    def wait(self, tried: int) -> float:
        """Return the seconds after the given number of tries, spread so that not all come back at once."""
        return float(min(self.first * 2 ** (tried - 1), self.longest)) * random.uniform(0.75, 1.25)  # noqa: S311


class Known:
    """The pushes that need not be taken again: those that are not done, and those that were done a moment ago."""

    def __init__(self, size: int, recent_seconds: float = _RECENT_SECONDS) -> None:
        self._size = size
        self._recent_seconds = recent_seconds
        #: When each was taken.
        self._undone: dict[Key, float] = {}
        self._recent: set[Key] = set()
        #: Until when each counts as recent, the oldest first.
        self._until: deque[tuple[float, Key]] = deque()
        self.is_closed = False

    def __len__(self) -> int:
        """Return how many are not done."""
        return len(self._undone)

    def take(self, pushes: Sequence[Push]) -> dict[Key, Push]:
        """Return those that are new, which count as known from now on; raises `QueueFullError` and takes none."""
        now = time.monotonic()
        while self._until and self._until[0][0] <= now:
            self._recent.discard(self._until.popleft()[1])
        new = {key_of(push): push for push in pushes}
        for key in list(new):
            if key in self._undone or key in self._recent:
                del new[key]
        if new and self.is_closed:
            raise QueueFullError("the server is about to end")
        if len(self._undone) + len(new) > self._size:
            raise QueueFullError(f"{len(self._undone)} pushes are waiting, and there is no room for more")
        self._undone |= dict.fromkeys(new, now)
        return new

    def done(self, key: Key, result: Result) -> float:
        """Note that one is done, and return the seconds since it was taken; one that was dropped may come again."""
        now = time.monotonic()
        if result is not Result.DROPPED:
            # It was new when it was taken, so it is not there twice.
            self._recent.add(key)
            self._until.append((now + self._recent_seconds, key))
        return now - self._undone.pop(key)


def key_of(push: Push) -> Key:
    """Return what a push is known by."""
    return push.repository, push.digest, push.tag


@dataclass(slots=True)
class _Item:
    push: Push
    tried: int = 0


@dataclass(order=True, slots=True)
class _Waiting:
    due: float
    item: _Item = field(compare=False)


class PushQueue:
    """A queue whose pushes are handled by threads of this process, each until it is done or given up."""

    def __init__(self, handle: Handle, done: Done, known: Known, *, threads: int, backoff: Backoff | None = None):
        self._handle = handle
        self._tell_done = done
        self._known = known
        self._backoff = backoff or Backoff()
        self._changed = threading.Condition()
        self._ready: deque[_Item] = deque()
        self._waiting: list[_Waiting] = []
        self._ended = False
        self._threads = [
            # A thread that waits for a registry must not keep the process from ending.
            threading.Thread(target=self._work, name=f"pushes-{number}", daemon=True)
            for number in range(threads)
        ]

    async def open(self) -> None:
        """Start the threads."""
        self.start()

    async def shut(self, seconds: float) -> int:
        """Take no more, give what there is so many seconds to be done, and return how many pushes are lost."""
        return await asyncio.to_thread(self.close, seconds)

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def is_working(self) -> bool:
        """Whether its threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def __len__(self) -> int:
        """Return how many pushes are not done."""
        return len(self._known)

    def offer(self, pushes: Sequence[Push]) -> Offered:
        """Take pushes, all or none; raises `QueueFullError`."""
        with self._changed:
            new = self._known.take(pushes)
            self._ready.extend(map(_Item, new.values()))
            self._changed.notify(len(new))
        return Offered(len(new), len(pushes) - len(new))

    def close(self, seconds: float) -> int:
        """Do what `shut` does."""
        deadline = time.monotonic() + seconds
        with self._changed:
            self._known.is_closed = True
            self._changed.notify_all()
            while self._known and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            self._ended = True
            self._changed.notify_all()
            lost = len(self._known)
        for thread in self._threads:
            if not lost and thread.is_alive():
                thread.join(1)
        return lost

    def _work(self) -> None:
        while (item := self._take()) is not None:
            self._try(item)

    def _take(self) -> _Item | None:
        with self._changed:
            while not self._ended:
                now = time.monotonic()
                # What would be tried again later than the end is tried at once.
                while self._waiting and (self._known.is_closed or self._waiting[0].due <= now):
                    self._ready.append(heappop(self._waiting).item)
                if self._ready:
                    return self._ready.popleft()
                self._changed.wait(self._waiting[0].due - now if self._waiting else None)
        return None

    def _try(self, item: _Item) -> None:
        item.tried += 1
        try:
            outcome = self._handle(item.push)
        except TemporaryError as error:
            if item.tried < self._backoff.tries and not self._known.is_closed:
                self._put_off(item, error)
            else:
                self._drop(item, error)
        except Exception as error:  # noqa: BLE001 - one push that hits a fault of ours must not end the thread
            self._drop(item, error)
        else:
            _tell(logging.INFO, item, outcome.result.value, outcome.about)
            self._done(item, outcome.result)

    def _put_off(self, item: _Item, error: TemporaryError) -> None:
        wait = self._backoff.wait(item.tried)
        _tell(logging.WARNING, item, "tried again", str(error))
        with self._changed:
            heappush(self._waiting, _Waiting(time.monotonic() + wait, item))
            self._changed.notify()

    def _drop(self, item: _Item, error: Exception) -> None:
        if isinstance(error, KleverError):
            about = f"{error}; next: {error.next_step}" if error.next_step else str(error)
            _tell(logging.ERROR, item, "dropped", about)
        else:
            _tell(logging.ERROR, item, "dropped", f"a fault of Klever itself: {type(error).__name__}", error)
        self._done(item, Result.DROPPED)

    def _done(self, item: _Item, result: Result) -> None:
        with self._changed:
            seconds = self._known.done(key_of(item.push), result)
            # Before anybody who waits for the end goes on.
            self._tell_done(item.push, result, seconds)
            if not self._known:
                self._changed.notify_all()


def _tell(level: int, item: _Item, result: str, about: str, error: Exception | None = None) -> None:
    push = item.push
    fields = {
        "repository": push.repository,
        "digest": push.digest,
        "tag": push.tag,
        "result": result,
        "about": about,
        "tries": item.tried,
    }
    _log.log(level, "push %s", result, extra={"fields": fields}, exc_info=error)
