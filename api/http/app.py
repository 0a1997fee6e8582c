"""The application: its routes, and what they share.

    app = create_app(Settings.from_environment())

What does not belong here: a route, which is in the module of its group; the process around the application.
"""

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Final

from fastapi import FastAPI

from klever.api.http import health, hooks, metrics, problems
from klever.api.http.handoff import Handoff
from klever.api.http.metrics import Metrics
from klever.api.http.queue import Handle, Known, PushQueue, Queue
from klever.api.http.reach import Reachability
from klever.api.http.secret import SecretFile
from klever.api.http.settings import Settings
from klever.api.intake.policy import PolicyFile
from klever.api.logs import configure
from klever.steps.errors import KleverError

_ABOUT: Final = (
    "Klever registers models of any format as OCI artifacts, reads their signatures, converts and serves them. "
    'A failure answers `{"message": ..., "reason": ...}`.'
)
_log = logging.getLogger(__name__)


def create_app(settings: Settings, handle: Handle | None = None) -> FastAPI:
    """Return the application; ``handle`` is what a push leads to, by default a job on the cluster.

    Threads of this process call ``handle``; without one a process of its own does the work.
    """
    counted = Metrics()
    secret = SecretFile(settings.secret_file) if settings.takes_events and settings.secret_file else None
    policy = PolicyFile(settings.policy_file)
    cluster = Reachability()
    checks: dict[str, health.Check] = {}
    if secret is not None:
        checks |= {"secret": lambda: secret.problem, "policy": lambda: _problem_of(policy)}
    queue: Queue
    if handle is None:
        queue = Handoff(settings, counted.done, cluster.tell)
        checks["cluster"] = cluster.check
    else:
        queue = PushQueue(handle, counted.done, Known(settings.queue_size), threads=settings.queue_threads)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await queue.open()
        try:
            yield
        finally:
            if lost := await queue.shut(settings.drain_seconds):
                _log.warning("%d accepted pushes were not done in time; the relist finds what they told of", lost)

    app = FastAPI(
        title="Klever",
        version=version("klever"),
        description=_ABOUT,
        lifespan=lifespan,
        # Their pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(hooks.build_router(secret, queue, counted))
    app.include_router(health.build_router(lambda: queue.is_working, checks))
    app.include_router(metrics.build_router(counted))
    return app


def from_environment() -> FastAPI:
    """Return the application of a worker process."""
    settings = Settings.from_environment()
    configure(settings.log_level)
    app = create_app(settings)
    # What is there from the start stays: walking it again and again would hold answers up by tens of milliseconds.
    gc.collect()
    gc.freeze()
    return app


def _problem_of(policy: PolicyFile) -> str:
    try:
        policy.current()
    except KleverError as error:
        return error.cause
    # The last good one counts on, but somebody has to be told.
    return policy.problem.cause if policy.problem else ""
