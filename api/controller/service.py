"""What the leader does with jobs: threads that take them from the queue, one after another, and what is noted of each.

What does not belong here: what becomes of one job (`reconcile`), and how changes become known (`handlers`).
"""

import logging
import threading
import time
from typing import Any, Final

from klever.api.controller.errors import HandlingError
from klever.api.controller.index import JobIndex
from klever.api.controller.metrics import Metrics
from klever.api.controller.reconcile import Outcome, Rules, give_up, owner_of, reconcile
from klever.api.controller.workqueue import Key, WorkQueue
from klever.api.modeljob.model import JobPhase
from klever.steps.errors import KleverError, printable
from klever.workflows.argo import errors
from klever.workflows.argo.client import Cluster
from klever.workflows.manifest import Document

#: A job at which the controller itself has failed so often in a row is marked failed.
_MOST_CRASHES: Final = 5
#: Seconds that work in progress is given at the end.
_GRACE_SECONDS: Final = 8.0

_logger: Final = logging.getLogger(__name__)


class Service:
    """The work of the leader: told of changes from any thread, it brings jobs forward in its own."""

    def __init__(self, cluster: Cluster, rules: Rules, jobs: JobIndex, metrics: Metrics, *, workers: int) -> None:
        self._cluster = cluster
        self._rules = rules
        self._workers = workers
        self._threads: list[threading.Thread] = []
        self.jobs = jobs
        self.metrics = metrics
        self.queue = WorkQueue()

    def job_changed(self, document: Document, *, gone: bool = False) -> None:
        """Note a job as it is now, or was last, and have it looked at where anything is to be done."""
        metadata = document["metadata"]
        key = Key(str(metadata["namespace"]), str(metadata["name"]))
        if gone:
            self.jobs.forget(key, str(metadata.get("uid", "")))
        elif not self.jobs.see(document).finished:
            self.queue.add(key)

    def workflow_changed(self, document: Document) -> None:
        """Have the job of a Workflow looked at."""
        if (key := owner_of(document)) is not None:
            self.queue.add(key)

    def start(self) -> None:
        """Begin to work."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"worker {number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End what is being done, if it does not take long; what is not done now is done by the next leader."""
        self.queue.close()
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (key := self.queue.take()) is not None:
            try:
                self._look_at(key)
            except Exception:
                _logger.exception("a job could not even be put back", extra={"fields": _fields(key)})

    def _look_at(self, key: Key) -> None:
        failing = self.queue.failing(key)
        try:
            outcome = reconcile(self._cluster, key, self._rules, failing, time.monotonic())
        except errors.ConflictError:
            # Somebody has changed it meanwhile, which the next look sees.
            self._put_off(key, "Conflict")
        except errors.InvalidWorkflowError as error:
            # Its status, for nothing else is written: the whole of the job is no longer what the definition allows.
            _logger.error("the status is not taken: %s", error.cause, extra={"fields": _fields(key)})
            self._put_off(key, "Refused")
        except KleverError as error:
            self._put_off(key, _reason(error))
            _logger.warning(str(error), extra={"fields": _fields(key)})
        except Exception as error:
            _logger.exception("the controller fails on a job", extra={"fields": _fields(key)})
            self._crashed(key, error, failing.times + 1)
        else:
            self._note(key, outcome)

    def _put_off(self, key: Key, reason: str) -> None:
        self.metrics.failures.labels(reason).inc()
        self.queue.failed(key)

    def _crashed(self, key: Key, error: Exception, times: int) -> None:
        self.metrics.failures.labels("Bug").inc()
        if times >= _MOST_CRASHES:
            told = HandlingError(f"the controller fails on this job: {printable(repr(error), 200)}", stage="controller")
            try:
                give_up(self._cluster, key, self._rules, told)
            except Exception:
                _logger.exception("a job could not be given up", extra={"fields": _fields(key)})
        self.queue.failed(key)

    def _note(self, key: Key, outcome: Outcome) -> None:
        if outcome.job is None:
            self.jobs.forget(key)
            self.queue.done(key)
            return
        self.jobs.see(outcome.job)
        if outcome.queued_seconds is not None:
            self.metrics.queue_seconds.observe(outcome.queued_seconds)
        if outcome.ended is not None:
            self.metrics.ended(outcome.ended)
            _log_end(key, outcome.job)
        if outcome.problem is not None:
            self._put_off(key, _reason(outcome.problem))
            return
        self.queue.done(key, outcome.again_seconds)


def _reason(error: KleverError) -> str:
    return type(error).__name__.removesuffix("Error")


def _fields(key: Key) -> dict[str, Any]:
    return {"namespace": key.namespace, "modeljob": key.name}


def _log_end(key: Key, job: Any) -> None:
    status = job.get("status") or {}
    level = logging.INFO if status.get("phase") == JobPhase.SUCCEEDED else logging.WARNING
    fields = _fields(key) | {"phase": status.get("phase"), "workflow": status.get("workflow")}
    _logger.log(level, str(status.get("message") or ""), extra={"fields": fields})
