"""Who of several replicas works: the holder of a Lease, as Kubernetes' own controllers do it (client-go's).

The holder renews it every few seconds. Another takes it over when it has not changed for as long as it says that it
lasts, by the other's own clock, for clocks of machines differ. Two that believe to hold it for a moment do no harm:
what they make has names that are functions of what it is made for, and what they write names the version that they
read. What does not belong here: the work.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from klever.steps.errors import KleverError
from klever.workflows.argo import errors
from klever.workflows.argo.client import Cluster, Resource
from klever.workflows.manifest import Document

LEASES: Final = Resource("coordination.k8s.io", "leases", "v1")
LEASE: Final = "klever-controller"

#: client-go's defaults: how long a lease lasts, until when its holder has to have renewed it, and how often it tries.
DURATION_SECONDS: Final = 15
_RENEW_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 2.0
#: An answer about a lease that comes later than this is worth nothing.
_ANSWER_SECONDS: Final = 4.0

_logger: Final = logging.getLogger(__name__)


class Leadership:
    """One replica's part in who leads; ``identity`` tells it from the others."""

    def __init__(
        self, cluster: Cluster, namespace: str, identity: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._cluster = cluster.hurried(_ANSWER_SECONDS)
        self._all = LEASES.path(namespace)
        self._path = LEASES.path(namespace, LEASE)
        self.identity = identity
        self._clock = clock
        #: The lease as it was last seen, and when it was first seen so.
        self._seen: Document | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None

    @property
    def holds(self) -> bool:
        """Whether this replica leads."""
        return self._renewed_at is not None and self._clock() - self._renewed_at < _RENEW_SECONDS

    def try_to_lead(self) -> bool:
        """Take or renew the lease and return whether this replica holds it. Raises the errors of the cluster."""
        asked = self._clock()
        try:
            if self._renewed_at is None or self._seen is None:
                self._look()
            if self._seen is None:
                self._note(self._cluster.create(self._all, self._claimed(None)))
            elif self._is_mine(self._seen) or self._is_over(self._seen):
                self._note(self._cluster.replace(self._path, self._claimed(self._seen)))
            else:
                self._renewed_at = None
                return False
        except (errors.ConflictError, errors.NameTakenError, errors.ClusterObjectMissingError):
            # Another was faster, or somebody has deleted it: look again before the next try.
            self._seen = None
            return self.holds
        self._renewed_at = asked
        return True

    def wait(self, stopped: threading.Event) -> bool:
        """Try until this replica leads and return True, or False once ``stopped`` is set."""
        told = ""
        while not stopped.is_set():
            try:
                if self.try_to_lead():
                    return True
                said = f"waits: {_holder(self._seen)} leads"
            except KleverError as error:
                said = f"waits: {error.cause}; next: {error.next_step}"
            if said != told:
                _logger.info(said)
                told = said
            stopped.wait(_RETRY_SECONDS)
        return False

    def keep(self, stopped: threading.Event, lost: Callable[[], None]) -> list[threading.Thread]:
        """Renew the lease from now on in a thread, until ``stopped``; another calls ``lost`` once it is not held."""
        threads = [
            threading.Thread(target=self._renew, args=(stopped,), name="renews the lease", daemon=True),
            # A request that hangs must not hide that the lease is over.
            threading.Thread(target=self._watch, args=(stopped, lost), name="watches the lease", daemon=True),
        ]
        for thread in threads:
            thread.start()
        return threads

    def _renew(self, stopped: threading.Event) -> None:
        while not stopped.wait(_RETRY_SECONDS):
            try:
                self.try_to_lead()
            except KleverError as error:
                _logger.warning("the lease is not renewed: %s", error.cause)

    def _watch(self, stopped: threading.Event, lost: Callable[[], None]) -> None:
        while not stopped.wait(0.5):
            if not self.holds:
                lost()
                return

    def release(self) -> None:
        """Let the next replica lead at once; what goes wrong is told and no more, for the lease ends by itself."""
        if self._renewed_at is None or self._seen is None:
            return
        self._renewed_at = None
        free = self._claimed(self._seen)
        free["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            self._cluster.replace(self._path, free)
        except KleverError as error:
            _logger.warning("the lease is not released: %s", error.cause)

    def _look(self) -> None:
        try:
            self._note(self._cluster.get(self._path))
        except errors.ClusterObjectMissingError:
            self._seen = None

    def _note(self, lease: Document) -> None:
        if self._seen is None or _record(self._seen) != _record(lease):
            self._seen_at = self._clock()
        self._seen = lease

    def _is_mine(self, lease: Document) -> bool:
        return _holder(lease) == self.identity

    def _is_over(self, lease: Document) -> bool:
        if not _holder(lease):
            return True
        lasts = float((lease.get("spec") or {}).get("leaseDurationSeconds") or DURATION_SECONDS)
        return self._clock() - self._seen_at > lasts

    def _claimed(self, before: Document | None) -> Document:
        spec: dict[str, Any] = dict((before or {}).get("spec") or {})
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        if spec.get("holderIdentity") != self.identity:
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + (before is not None)
            spec["acquireTime"] = now
        spec |= {"holderIdentity": self.identity, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now}
        metadata: dict[str, Any] = {"name": LEASE}
        if before is not None:
            # With the version that was read, so that of two that take it over one is refused.
            metadata |= {key: before["metadata"][key] for key in ("resourceVersion", "uid")}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _record(lease: Document) -> tuple[Any, ...]:
    spec = lease.get("spec") or {}
    return tuple(spec.get(key) for key in ("holderIdentity", "renewTime", "acquireTime", "leaseTransitions"))


def _holder(lease: Document | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")
