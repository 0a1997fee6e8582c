"""What the leader does by the clock: jobs whose time is over, a look at every job, Harbor's listing.

What does not belong here: what a job's end means (`reconcile`), and what of Harbor's calls for a job
(`klever.api.intake`).
"""

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from klever.api.controller.metrics import Metrics
from klever.api.controller.service import Service
from klever.api.controller.settings import Settings
from klever.api.controller.workqueue import Key
from klever.api.modeljob.model import MODEL_JOBS
from klever.steps.errors import KleverError
from klever.workflows.argo.client import Cluster

if TYPE_CHECKING:
    from klever.api.intake.policy import PolicyFile

#: Seconds between looks for jobs whose time is over.
_EXPIRY_SECONDS: Final = 1.0
#: Seconds between looks at every job. Watches tell of each change; this is for what they missed while they were away.
_RESYNC_SECONDS: Final = 300.0
_PAGE: Final = 100
#: Seconds after the start of a leader until its first relist.
_FIRST_RELIST_SECONDS: Final = 5.0

_logger: Final = logging.getLogger(__name__)


class Sweeper:
    """The threads that wake up by the clock."""

    def __init__(self, cluster: Cluster, settings: Settings, service: Service, metrics: Metrics) -> None:
        self._cluster = cluster
        self._settings = settings
        self._service = service
        self._metrics = metrics
        self._stopped = threading.Event()
        #: Kept from relist to relist, as it remembers the last good policy.
        self._policy: PolicyFile | None = None

    def start(self) -> None:
        """Begin."""
        works = [(self._expire, "expiry"), (self._resync, "resync")]
        if self._settings.harbor_url and self._settings.relist_seconds > 0:
            works.append((self._relist, "relist"))
        for work, name in works:
            threading.Thread(target=work, name=name, daemon=True).start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopped.set()

    def _expire(self) -> None:
        while not self._stopped.wait(_EXPIRY_SECONDS):
            for key in self._service.jobs.expired(time.time()):
                # It is looked at first: it may have been changed, and then it is not deleted.
                self._service.queue.add(key)

    def _resync(self) -> None:
        while not self._stopped.wait(_RESYNC_SECONDS):
            try:
                self.resync()
            except KleverError as error:
                _logger.warning("not every job could be looked at: %s", error)
            except Exception:
                _logger.exception("the controller fails on a look at every job")

    def resync(self) -> None:
        """Look at every job there is, and forget those that are gone."""
        before = self._service.jobs.keys()
        there: set[Key] = set()
        for namespace in self._settings.watched:
            for document in self._cluster.each(MODEL_JOBS.path(namespace), page=_PAGE):
                if self._stopped.is_set():
                    return
                metadata = document["metadata"]
                there.add(Key(str(metadata["namespace"]), str(metadata["name"])))
                self._service.job_changed(document)
        self._service.jobs.keep_only(there, before)

    def _relist(self) -> None:
        wait = _FIRST_RELIST_SECONDS
        while not self._stopped.wait(wait):
            wait = float(self._settings.relist_seconds)
            try:
                self.relist()
            except KleverError as error:
                self._metrics.relist_failures.inc()
                _logger.warning("Harbor is not relisted: %s; next: %s", error, error.next_step)
            except Exception:
                self._metrics.relist_failures.inc()
                _logger.exception("the controller fails on a relist")

    def relist(self) -> None:
        """Make the jobs that no event told of; raises what keeps it from ending."""
        # Imported where Harbor is configured: it takes memory.
        from klever.api.harbor.client import Harbor
        from klever.api.harbor.mounted import read_credentials
        from klever.api.intake.policy import PolicyFile
        from klever.api.intake.relist import relist

        settings = self._settings
        if self._policy is None:
            self._policy = PolicyFile(settings.policy_file)
        policy = self._policy.current()
        if self._policy.problem:
            _logger.warning("the last good policy counts on: %s", self._policy.problem)
        credentials = None
        if settings.harbor_username_file is not None and settings.harbor_password_file is not None:
            credentials = read_credentials(settings.harbor_username_file, settings.harbor_password_file)
        started = time.perf_counter()
        with Harbor(settings.harbor_url, credentials, ca_file=settings.ca_file) as harbor:
            done = relist(harbor, policy, self._cluster, host=settings.registry_host)
        seconds = time.perf_counter() - started
        self._metrics.relist_seconds.observe(seconds)
        self._metrics.relist_jobs.inc(done.created)
        for problem in done.problems:
            _logger.warning("a relist leaves something out: %s; next: %s", problem, problem.next_step)
        fields = {"projects": done.projects, "artifacts": done.artifacts, "created": done.created, "found": done.found}
        _logger.log(
            logging.INFO if done.created else logging.DEBUG,
            "Harbor was relisted",
            extra={"fields": fields | {"seconds": round(seconds, 3)}},
        )
