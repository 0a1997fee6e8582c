"""What the server counts, for Prometheus, and ``GET /metrics``.

Several worker processes keep their numbers in files of one directory (``PROMETHEUS_MULTIPROC_DIR``), and whichever is
asked adds them up. What does not belong here: what the controller counts.
"""

import os
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from klever.api.harbor.events import Push
from klever.api.http.queue import Offered, Result
from klever.api.http.settings import SHARED_METRICS_VARIABLE

#: From what a person does not notice to what an outage takes, in seconds.
_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """The server's numbers, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._is_shared = SHARED_METRICS_VARIABLE in os.environ
        if self._is_shared:
            _forget_the_dead()
        else:
            ProcessCollector(registry=self._registry)
        events = Counter(
            "klever_harbor_events",
            "Events of Harbor and the pushes in them, by what became of them.",
            ["result"],
            registry=self._registry,
        )
        # All from the start, at zero: a rate needs a first value.
        self._events = {result: events.labels(result.value) for result in Result}
        self._waiting = Gauge(
            "klever_harbor_queue",
            "Pushes that are accepted and not done.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._handled = Histogram(
            "klever_harbor_event_seconds",
            "From the acceptance of a push until its job is there or nothing is to be done.",
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def count(self, result: Result, number: int = 1) -> None:
        """Count events or pushes."""
        if number:
            self._events[result].inc(number)

    def taken(self, offered: Offered) -> None:
        """Note what became of the pushes of an event at once."""
        self.count(Result.DUPLICATE, offered.duplicate)
        if offered.accepted:
            self._waiting.inc(offered.accepted)

    def done(self, _push: Push, result: Result, seconds: float) -> None:
        """Note what became of a push in the end, and how long that took."""
        self.count(result)
        self._waiting.dec()
        if result is not Result.DROPPED:
            self._handled.observe(seconds)

    def render(self) -> bytes:
        """Return all numbers in Prometheus' text format."""
        if not self._is_shared:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)


def _forget_the_dead() -> None:
    """Leave out what waited in workers that were killed; what they counted stays."""
    for path in Path(os.environ[SHARED_METRICS_VARIABLE]).glob("gauge_live*_*.db"):
        process = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            mark_process_dead(process)  # type: ignore[no-untyped-call]


def build_router(metrics: Metrics) -> APIRouter:
    """Return ``GET /metrics``."""
    router = APIRouter(tags=["operation"])

    @router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
    async def read_metrics() -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE_LATEST)

    return router
