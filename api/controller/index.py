"""What is remembered of every job: as little as counting them by phase and deleting them in time needs.

Five thousand finished jobs take a few megabytes so, where their documents would take a hundred. What does not belong
here: the jobs themselves, which the cluster has.
"""

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from klever.api.controller.workqueue import Key
from klever.api.modeljob.model import JobPhase


class Entry(NamedTuple):
    """What is remembered of a job."""

    uid: str
    phase: str
    #: Seconds since 1970 at which it is to be deleted; None for never.
    expires: float | None
    #: Whether nothing is to be done for it any more.
    finished: bool


class JobIndex:
    """All jobs that were seen; for any number of threads."""

    def __init__(self, ttl_seconds: int) -> None:
        self._ttl_seconds = ttl_seconds
        self._lock = threading.Lock()
        self._entries: dict[Key, Entry] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def see(self, document: Mapping[str, Any]) -> Entry:
        """Remember a job as the API server gives it, however it is written, and return what is remembered."""
        metadata = document["metadata"]
        key = Key(str(metadata["namespace"]), str(metadata["name"]))
        entry = entry_of(document, self._ttl_seconds)
        with self._lock:
            self._entries[key] = entry
        return entry

    def forget(self, key: Key, uid: str | None = None) -> None:
        """Forget a job; with ``uid`` only that very one, not a later one of the same name."""
        with self._lock:
            there = self._entries.get(key)
            if there is not None and uid in (None, there.uid):
                del self._entries[key]

    def keep_only(self, keys: Iterable[Key], before: Iterable[Key]) -> None:
        """Forget those of ``before`` that are not among ``keys``: jobs whose end nobody told of."""
        there = set(keys)
        for key in before:
            if key not in there:
                self.forget(key)

    def keys(self) -> list[Key]:
        """Return all jobs."""
        with self._lock:
            return list(self._entries)

    def expired(self, now: float) -> Iterator[Key]:
        """Yield the jobs whose time is over."""
        with self._lock:
            items = list(self._entries.items())
        for key, entry in items:
            if entry.expires is not None and entry.expires <= now:
                yield key

    def counts(self) -> Mapping[str, int]:
        """Return how many jobs there are in each phase, all phases named."""
        with self._lock:
            found = Counter(entry.phase for entry in self._entries.values())
        return {phase.value: found[phase.value] for phase in JobPhase}


def entry_of(document: Mapping[str, Any], ttl_seconds: int) -> Entry:
    """Return what is remembered of a job's document; whatever cannot be read counts as absent."""
    metadata = document["metadata"]
    status, spec = (
        value if isinstance(value, dict) else {} for value in (document.get("status"), document.get("spec"))
    )
    try:
        phase = JobPhase(status.get("phase") or "")
    except ValueError:
        phase = JobPhase.NEW
    seen = status.get("observedGeneration")
    deleting = bool(metadata.get("deletionTimestamp"))
    finished = phase.is_final and not deleting and not (isinstance(seen, int) and seen < metadata.get("generation", 1))
    expires = None
    if finished and (completed := _seconds(status.get("completionTime"))) is not None:
        own = spec.get("ttlSecondsAfterFinished")
        expires = completed + (own if isinstance(own, int) else ttl_seconds)
    # The phases are few; the same text for all of them.
    return Entry(str(metadata.get("uid", "")), phase.value, expires, finished)


def _seconds(time: object) -> float | None:
    try:
        read = datetime.fromisoformat(str(time))
    except ValueError:
        return None
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
