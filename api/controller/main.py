"""The process of ``klever-controller``: wait to lead, work while leading, give the lead away at the end.

It may be killed anywhere: the next leader finds in the cluster all that there is to know. What does not belong here:
the work.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import click

from klever.api.controller import settings as defaults
from klever.api.controller.health import numbers, serving, told
from klever.api.controller.index import JobIndex
from klever.api.controller.leader import Leadership
from klever.api.controller.metrics import Metrics
from klever.api.controller.reconcile import Rules
from klever.api.controller.service import Service
from klever.api.controller.settings import Settings, parse_namespaces
from klever.api.controller.sweep import Sweeper
from klever.api.logs import LOG_LEVELS, configure
from klever.api.modeljob.model import MODEL_JOBS
from klever.steps.errors import KleverError, TemporaryError
from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOWS, Cluster, Resource, connect

#: What a process ends with that has lost the lead: others began while it may have been at work.
LOST_CODE: Final = 3
#: Seconds between looks whether the cluster knows what is watched, and between signs of life of the loop.
_LOOK_SECONDS: Final = 5.0
_BEAT_SECONDS: Final = 1.0
#: Without a sign of life for so long the loop hangs.
_SILENCE_SECONDS: Final = 60.0

_logger: Final = logging.getLogger(__name__)


class Namespaces(click.ParamType[tuple[str, ...]]):
    """Names with commas between them."""

    name = "NAMES"

    def convert(self, value: Any, _parameter: Any, _context: Any) -> tuple[str, ...]:
        """Return the names."""
        return value if isinstance(value, tuple) else parse_namespaces(str(value))


_FILE: Final = click.Path(path_type=Path)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option(
    "--namespaces",
    type=Namespaces(),
    envvar="KLEVER_NAMESPACES",
    default="",
    help="Where the ModelJobs are; every namespace by default.",
)
@click.option("--namespace", envvar="KLEVER_NAMESPACE", default="", help="Where the Lease is; the pod's by default.")
@click.option("--workers", envvar="KLEVER_WORKERS", type=click.IntRange(1, 64), default=defaults.DEFAULT_WORKERS)
@click.option(
    "--job-ttl-seconds",
    envvar="KLEVER_JOB_TTL_SECONDS",
    type=click.IntRange(0),
    default=defaults.DEFAULT_TTL_SECONDS,
    help="How long a finished job stays that does not say so itself.",
)
@click.option(
    "--health-port",
    envvar="KLEVER_HEALTH_PORT",
    type=click.IntRange(-1, 65_535),
    default=defaults.DEFAULT_HEALTH_PORT,
    help="/healthz and /readyz; -1 for none.",
)
@click.option(
    "--metrics-port",
    envvar="KLEVER_METRICS_PORT",
    type=click.IntRange(-1, 65_535),
    default=defaults.DEFAULT_METRICS_PORT,
    help="/metrics; -1 for none.",
)
@click.option("--harbor-url", envvar="KLEVER_HARBOR_URL", default="", help="Harbor to be relisted; none by default.")
@click.option("--registry-host", envvar="KLEVER_REGISTRY_HOST", default="", help="The host of references in jobs.")
@click.option("--harbor-username-file", envvar="KLEVER_HARBOR_USERNAME_FILE", type=_FILE)
@click.option("--harbor-password-file", envvar="KLEVER_HARBOR_PASSWORD_FILE", type=_FILE)
@click.option("--policy-file", envvar="KLEVER_POLICY_FILE", type=_FILE, default=defaults.DEFAULT_POLICY_FILE)
@click.option(
    "--relist-seconds",
    envvar="KLEVER_RELIST_SECONDS",
    type=click.IntRange(0),
    default=defaults.DEFAULT_RELIST_SECONDS,
    help="Between two relists; 0 for none.",
)
@click.option("--plain-http", envvar="KLEVER_PLAIN_HTTP", is_flag=True, help="Harbor's certificate is not checked.")
@click.option("--ca-file", envvar="KLEVER_CA_FILE", type=_FILE, help="Authorities of Harbor's certificate.")
@click.option(
    "--log-level",
    envvar="KLEVER_LOG_LEVEL",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="info",
)
def control(**given: Any) -> int:
    """Make each ModelJob one Workflow, and have its status follow that.

    Of several replicas one works; the others wait to take over.
    """
    try:
        settings = Settings(**given)
        configure(settings.log_level)
        with connect(namespace=settings.namespace or None) as cluster:
            return Process(cluster, settings).run()
    except KleverError as error:
        raise click.ClickException(f"{error}; next: {error.next_step}") from None


def run(arguments: Sequence[str]) -> int:
    """Run the controller with these arguments and return its exit code."""
    try:
        return int(control.main(list(arguments), prog_name="klever-controller", standalone_mode=False) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130


class Process:
    """One replica, from its start to its end."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._stopped = threading.Event()
        #: What keeps it from its work, for whoever asks whether it is ready.
        self._lacks = ""
        self._beat_at: float | None = None
        identity = f"{socket.gethostname()}_{uuid4().hex[:8]}"
        self._leadership = Leadership(cluster, cluster.namespace, identity)
        jobs = JobIndex(settings.job_ttl_seconds)
        self._metrics = Metrics(jobs)
        self._service = Service(
            cluster, Rules(settings.job_ttl_seconds, identity), jobs, self._metrics, workers=settings.workers
        )

    def run(self) -> int:
        """Wait, lead, end; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stopped.set())
        health = {"/healthz": lambda: told(self._ails()), "/readyz": lambda: told(self._lacks)}
        settings = self._settings
        with (
            serving(settings.health_port, health) as health_port,
            serving(settings.metrics_port, {"/metrics": numbers(self._metrics.render)}) as metrics_port,
        ):
            fields = {"identity": self._leadership.identity, "health": health_port, "metrics": metrics_port}
            _logger.info("the controller starts", extra={"fields": fields})
            if not (self._wait_for_the_kinds() and self._leadership.wait(self._stopped)):
                return 0
            return self._lead()

    def _lead(self) -> int:
        _logger.info("this replica leads", extra={"fields": {"identity": self._leadership.identity}})
        keepers = self._leadership.keep(self._stopped, self._lose)
        self._metrics.leads.set(1)
        sweeper = Sweeper(self._cluster, self._settings, self._service, self._metrics)
        self._service.start()
        sweeper.start()
        code = 0
        try:
            asyncio.run(self._watch())
        except Exception:
            _logger.exception("watching has ended; the process does too, and starts anew")
            code = 1
        finally:
            sweeper.stop()
            self._service.stop()
            self._stopped.set()
            for keeper in keepers:
                keeper.join()
            self._leadership.release()
        _logger.info("the controller ends")
        return code

    async def _watch(self) -> None:
        # Imported when it leads: it takes half of the memory.
        from klever.api.controller.handlers import watch

        watching = asyncio.create_task(watch(self._cluster, self._settings.namespaces, self._service))
        # Signs of life for as long as the loop goes round.
        while not watching.done():
            self._beat_at = time.monotonic()
            if self._stopped.is_set():
                # The end was asked for before kopf listened to signals.
                watching.cancel()
            await asyncio.wait({watching}, timeout=_BEAT_SECONDS)
        self._beat_at = None
        with contextlib.suppress(asyncio.CancelledError):
            watching.result()

    def _ails(self) -> str:
        beat_at = self._beat_at
        if beat_at is not None and time.monotonic() - beat_at > _SILENCE_SECONDS:
            return f"the loop has not gone round for {_SILENCE_SECONDS:.0f} s"
        return ""

    def _wait_for_the_kinds(self) -> bool:
        """Wait until the cluster knows what is watched; return whether it does, or the end came before."""
        while not self._stopped.is_set():
            try:
                missing = [kind for kind in (MODEL_JOBS, WORKFLOWS) if not self._knows(kind)]
                lacks = "; ".join(_MISSING[kind] for kind in missing)
            except TemporaryError as error:
                lacks = f"{error}; next: {error.next_step}"
            if lacks and lacks != self._lacks:
                _logger.warning(lacks)
            self._lacks = lacks
            if not lacks:
                return True
            self._stopped.wait(_LOOK_SECONDS)
        return False

    def _knows(self, kind: Resource) -> bool:
        try:
            listed = self._cluster.get(kind.root)
        except (errors.ClusterObjectMissingError, errors.ArgoMissingError):
            return False
        return any(each.get("name") == kind.plural for each in listed.get("resources") or ())

    def _lose(self) -> None:
        """End at once: another may lead by now, and whatever is half done it does again."""
        _logger.error("this replica does not lead any more; the process ends")
        logging.shutdown()
        os._exit(LOST_CODE)


_MISSING: Final = {
    MODEL_JOBS: "the cluster does not know modeljobs.kleveross.io; next: apply crds/modeljobs.kleveross.io.yaml",
    WORKFLOWS: "the cluster does not know workflows.argoproj.io; next: install Argo Workflows",
}
