"""Learn of changes by kopf, which lists and watches ModelJobs and their running Workflows, and pass them on.

Of kopf the watching is used and nothing else. Its handlers of changes would keep their progress in annotations of every
job and ask for a finalizer; here a change only says which job to look at. What does not belong here: what is done then.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Final, Protocol

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from klever.api.controller.reconcile import COMPLETED
from klever.api.modeljob.model import MODEL_JOBS
from klever.api.modeljob.names import JOB_UID
from klever.workflows.argo.client import WORKFLOWS, Cluster
from klever.workflows.manifest import Document

#: Objects that are in memory at once while all are listed: a job's document takes some 20 kB so.
_PAGE: Final = 100
#: Seconds that kopf keeps a task for an object after its last change; each takes memory.
_IDLE_SECONDS: Final = 0.01
#: Seconds after which a watch is opened again; the API server would do it after half an hour to an hour.
_WATCH_SECONDS: Final = 600
_REQUEST_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10.0
#: Seconds until kopf's own end is not waited for any more.
_EXIT_SECONDS: Final = 20.0

_logger: Final = logging.getLogger(__name__)


class Told(Protocol):
    """Whoever is told of changes."""

    def job_changed(self, document: Document, *, gone: bool = False) -> None:
        """Take a job as it is, or as it last was."""

    def workflow_changed(self, document: Document) -> None:
        """Take a Workflow as it is, or as it last was."""


async def watch(cluster: Cluster, namespaces: tuple[str, ...], told: Told) -> None:
    """Tell of every job and each change until it is cancelled, or until SIGTERM or SIGINT.

    Empty ``namespaces`` are all. Raises what kopf cannot outlive.
    """
    # It tells of each handler that has succeeded; and of what ends it several times, which is told once where it ends.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("kopf._core.reactor").setLevel(logging.CRITICAL)
    await kopf.operator(
        registry=_registry(cluster, told),
        settings=_settings(),
        memories=_NoMemories(),
        clusterwide=not namespaces,
        namespaces=list(namespaces),
    )


def _registry(cluster: Cluster, told: Told) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        # Asked again when a token is refused, as one of a pod is after an hour.
        *scheme, token = cluster.token.split(" ")
        trust = cluster.trust
        return kopf.ConnectionInfo(
            server=cluster.address,
            ca_path=trust.authorities,
            certificate_path=trust.certificate,
            private_key_path=trust.key,
            insecure=not trust.verified,
            scheme=scheme[0] if scheme else None,
            token=token or None,
        )

    @kopf.on.event(*_kind(MODEL_JOBS), registry=registry)
    async def job(event: Any, **_: Any) -> None:
        _pass_on(event, lambda document: told.job_changed(document, gone=event["type"] == "DELETED"))

    @kopf.on.event(*_kind(WORKFLOWS), registry=registry)
    async def workflow(event: Any, **_: Any) -> None:
        # One that is over leaves the selection, which comes as its deletion.
        _pass_on(event, told.workflow_changed)

    return registry


def _pass_on(event: Any, take: Any) -> None:
    try:
        take(event["object"])
    except Exception:
        # However an object is written, the next one counts.
        _logger.exception("a change is not understood")


def _kind(resource: Any) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    # No right beyond a namespace is needed so.
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.watching.chunk_size = _PAGE
    settings.watching.server_timeout = _WATCH_SECONDS
    # What runs, and not thousands of finished ones with all their nodes.
    selectors: Any = settings.watching.label_selectors
    selectors[_kind(WORKFLOWS)] = f"{JOB_UID},{COMPLETED}!=true"
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.networking.request_timeout = _REQUEST_SECONDS
    settings.networking.connect_timeout = _CONNECT_SECONDS
    settings.networking.error_backoffs = _Waits()
    settings.process.ultimate_exiting_timeout = _EXIT_SECONDS
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.progress_storage = _NoProgress()
    return settings


class _Waits(Iterable[float]):
    """Seconds between tries of a request, without an end: an API server that is away comes back."""

    def __iter__(self) -> Iterator[float]:
        wait = 0.5
        while True:
            yield wait
            wait = min(wait * 2, 10.0)


class _NoMemories(ResourceMemories):
    """kopf remembers each object for handlers of a kind that there is none of here."""

    async def recall(self, raw_body: Any, **given: Any) -> ResourceMemory:
        """Return what is remembered of an object: nothing, each time."""
        return await super().recall(raw_body, **given | {"ephemeral": True})


class _NoDiffs(kopf.DiffBaseStorage):
    """kopf keeps in each object what it last saw, for handlers of a kind that there is none of here."""

    def build(self, **_: Any) -> Any:
        """Return nothing of an object: copying all of it takes most of the time."""
        return {}

    def fetch(self, **_: Any) -> None:
        """Return nothing."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""


class _NoProgress(kopf.ProgressStorage):
    """kopf keeps in each object how far its handlers came, for those of a kind that there is none of here."""

    def fetch(self, **_: Any) -> None:
        """Return nothing."""

    def store(self, **_: Any) -> None:
        """Keep nothing."""

    def purge(self, **_: Any) -> None:
        """Forget nothing."""

    def touch(self, **_: Any) -> None:
        """Change nothing."""

    def clear(self, *, essence: Any) -> Any:
        """Return what was given."""
        return essence
