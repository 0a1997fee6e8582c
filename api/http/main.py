"""The process of ``klever-server``: its options, its logs, its end.

SIGTERM and SIGINT end it gracefully: no new connections, open answers are finished, accepted pushes are given some
seconds. What does not belong here: the application.
"""

import os
import signal
import sys
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Final

import click

from klever.api.http.settings import SHARED_METRICS_VARIABLE, Settings, SettingsError
from klever.api.logs import LOG_LEVELS, configure

#: Answers take milliseconds; a body that arrives slower is not waited for.
_GRACE_SECONDS: Final = 5
#: More connections than this are answered 503 at once. Harbor's job service has ten workers by default.
_MAX_CONNECTIONS: Final = 2_000


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", envvar="KLEVER_HOST", help="Address to listen on; all by default.")
@click.option(
    "--port", envvar="KLEVER_PORT", type=click.IntRange(1, 65_535), help="Port to listen on; 8080 by default."
)
@click.option("--workers", envvar="KLEVER_WORKERS", type=click.IntRange(1, 64), help="Worker processes; 1 by default.")
@click.option("--log-level", envvar="KLEVER_LOG_LEVEL", type=click.Choice(LOG_LEVELS, case_sensitive=False))
@click.option("--access-log/--no-access-log", envvar="KLEVER_ACCESS_LOG", default=False, help="Log every request.")
def serve(host: str | None, port: int | None, workers: int | None, log_level: str | None, access_log: bool) -> None:
    """Serve Klever's HTTP interface: Harbor's webhook, health, metrics.

    Everything else is told by variables: KLEVER_HARBOR_URL or KLEVER_REGISTRY_HOST, KLEVER_HOOK_SECRET_FILE,
    KLEVER_POLICY_FILE, KLEVER_HARBOR_USERNAME_FILE, KLEVER_HARBOR_PASSWORD_FILE, KLEVER_PLAIN_HTTP, KLEVER_CA_FILE.
    """
    given = {"HOST": host, "PORT": port, "WORKERS": workers, "LOG_LEVEL": log_level, "ACCESS_LOG": access_log}
    # Worker processes read the environment alone.
    os.environ.update({f"KLEVER_{name}": str(value) for name, value in given.items() if value is not None})
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        raise click.ClickException(f"{error}; {error.next_step}") from None
    # What uvicorn restores and raises again once it has ended: an end that was asked for is no failure.
    signal.signal(signal.SIGTERM, _end)
    if settings.workers == 1:
        _run(settings)
        return
    # Read when prometheus_client is imported, which happens in the workers.
    with TemporaryDirectory(prefix="klever-metrics-") as directory:
        os.environ[SHARED_METRICS_VARIABLE] = directory
        _run(settings)


def _run(settings: Settings) -> None:
    import uvicorn

    configure(settings.log_level)
    uvicorn.run(
        "klever.api.http.app:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=settings.log_level,
        access_log=settings.access_log,
        # Who asks is told by the secret, never by a header about addresses.
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
