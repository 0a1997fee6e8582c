"""Which jobs are to be looked at and when: each at most once at a time, and again after a failure, ever more rarely.

The pattern of Kubernetes' own controllers (k8s.io/client-go/util/workqueue): an entry is a key and not a change, so
that however many changes of an object are one look at how it is now. What does not belong here: what is done with a
job.
"""

import heapq
import random
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

#: Seconds after the first failure, and the most; each further wait is twice as long as the one before.
_FIRST_WAIT_SECONDS: Final = 0.25
_LAST_WAIT_SECONDS: Final = 60.0


class Key(NamedTuple):
    """Which job."""

    namespace: str
    name: str


class Failing(NamedTuple):
    """How often a key has failed in a row, and since when by the queue's clock."""

    times: int
    since: float


class WorkQueue:
    """Keys with the time from which they are due; for any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._heap: list[tuple[float, Key]] = []
        #: When each waiting key is due; entries of the heap that say otherwise are out of date.
        self._due: dict[Key, float] = {}
        #: Keys that somebody works on, with when they are due again; None where they are not.
        self._taken: dict[Key, float | None] = {}
        self._failing: dict[Key, Failing] = {}
        self._closed = False

    def __len__(self) -> int:
        with self._changed:
            return len(self._due)

    def add(self, key: Key, after_seconds: float = 0.0) -> None:
        """Have a key looked at, at the latest after so many seconds."""
        with self._changed:
            self._add(key, self._clock() + after_seconds)

    def _add(self, key: Key, due: float) -> None:
        if key in self._taken:
            before = self._taken[key]
            self._taken[key] = due if before is None else min(before, due)
            return
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.notify()

    def take(self) -> Key | None:
        """Wait for a key that is due and return it; None once the queue is closed. `done` or `failed` gives it back."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
                    heapq.heappop(self._heap)
                if self._heap and self._heap[0][0] <= now:
                    _, key = heapq.heappop(self._heap)
                    del self._due[key]
                    self._taken[key] = None
                    return key
                self._changed.wait(self._heap[0][0] - now if self._heap else None)
            return None

    def failing(self, key: Key) -> Failing:
        """Return how a key has failed in a row; no time and now for one that has not."""
        with self._changed:
            return self._failing.get(key) or Failing(0, self._clock())

    def done(self, key: Key, again_seconds: float | None = None) -> None:
        """Give a key back that was dealt with; it is due again after ``again_seconds``, if not before."""
        with self._changed:
            self._failing.pop(key, None)
            self._give_back(key, None if again_seconds is None else self._clock() + again_seconds)

    def failed(self, key: Key) -> float:
        """Give a key back that could not be dealt with, and return after how many seconds it is due again."""
        with self._changed:
            times, since = self._failing.get(key) or Failing(0, self._clock())
            self._failing[key] = Failing(times + 1, since)
            # The exponent is bounded, or a float would overflow in the end.
            wait = min(_FIRST_WAIT_SECONDS * 2.0 ** min(times, 16), _LAST_WAIT_SECONDS)
            # Spread, so that many do not come back at once.
            wait *= random.uniform(0.75, 1.25)  # noqa: S311 - no secret
            self._give_back(key, self._clock() + wait)
            return wait

    def _give_back(self, key: Key, due: float | None) -> None:
        meanwhile = self._taken.pop(key, None)
        times = [each for each in (due, meanwhile) if each is not None]
        if times:
            self._add(key, min(times))

    def close(self) -> None:
        """Let everybody who waits for a key go."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
