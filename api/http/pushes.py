"""What a push leads to, with what that takes: the policy, the registry and the cluster, each as it is now.

    intake = Intake(settings)
    intake.handle(push)

Connections are made when they are first needed. What does not belong here: the decision (`klever.api.intake.decide`)
and the job (`klever.api.intake.submit`).
"""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from klever.api.harbor.events import Push
from klever.api.harbor.mounted import read_credentials
from klever.api.http.queue import Outcome, Result
from klever.api.http.settings import Settings
from klever.api.intake.decide import decide
from klever.api.intake.policy import PolicyError, PolicyFile
from klever.api.intake.submit import Outcome as Creation
from klever.api.intake.submit import at_registry, start
from klever.steps.errors import TemporaryError, UnauthorizedError
from klever.steps.oci.auth import Find
from klever.steps.oci.http import Retry, Timeouts
from klever.steps.oci.registry import RegistryStore, find_credentials
from klever.workflows.argo.client import Cluster, connect
from klever.workflows.argo.errors import NoClusterError

#: Less patience than elsewhere: the queue itself tries again, and its threads are few.
_TIMEOUTS: Final = Timeouts(connect=5, read=15)
_RETRY: Final = Retry(tries=2, total=5)

T = TypeVar("T")


class NotReadyError(TemporaryError):
    """Something of this server's own is missing, which says nothing about the push."""


class _Kept(Generic[T]):
    """Something that is opened once, when it is first needed; safe to share between threads."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None

    def get(self) -> T:
        with self._lock:
            if self._value is None:
                self._value = self._make()
            return self._value

    def forget(self, value: T) -> None:
        """Open another the next time, where this is still the one; other threads may be using it."""
        with self._lock:
            if self._value is value:
                self._value = None


class Intake:
    """Answers pushes with jobs."""

    def __init__(self, settings: Settings) -> None:
        self._policy = PolicyFile(settings.policy_file)
        self._cluster: _Kept[Cluster] = _Kept(connect)
        self._registry: _Kept[RegistryStore] = _Kept(lambda: _open_registry(settings))

    def handle(self, push: Push) -> Outcome:
        """Create the job that a push calls for; raises what the registry and the cluster raise."""
        try:
            policy, cluster = self._policy.current(), self._cluster.get()
        except (PolicyError, NoClusterError) as error:
            raise NotReadyError(error.cause, stage=error.stage, next_step=error.next_step) from error
        registry = self._registry.get()
        try:
            decision = decide(push, policy, registry)
            if decision.wanted is None:
                return Outcome(Result.IGNORED, decision.reason)
            job = start(cluster, decision.wanted, at_registry(registry))
        except UnauthorizedError:
            # The credentials may have been replaced since they were looked up.
            self._registry.forget(registry)
            raise
        about = f"modeljob {job.namespace}/{job.name}"
        return Outcome(Result.STARTED if job.outcome is Creation.CREATED else Result.DUPLICATE, about)

    def reach_cluster(self) -> None:
        """Ask the API server for an answer; raises why there is none."""
        self._cluster.get().get("/version")


def _open_registry(settings: Settings) -> RegistryStore:
    return RegistryStore(
        settings.registry_host,
        plain_http=settings.plain_http,
        ca_file=settings.ca_file,
        credentials=_find(settings),
        timeouts=_TIMEOUTS,
        retry=_RETRY,
    )


def _find(settings: Settings) -> Find:
    user, password = settings.username_file, settings.password_file
    if user is None or password is None:
        return find_credentials
    return lambda _host, _repository: read_credentials(user, password)
