"""What ``klever-server`` is told by its environment: plain values in variables, secrets in files that they name.

What does not belong here: what is in those files, which may change while the server runs.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from klever.api.logs import LOG_LEVELS
from klever.steps.errors import PermanentError, printable
from klever.steps.oci.reference import parse_reference

DEFAULT_PORT: Final = 8080
DEFAULT_POLICY_FILE: Final = Path("/etc/klever/policy.yaml")
#: A push takes half a kilobyte, so a full queue takes some megabytes; Harbor sends what it finds full once more.
DEFAULT_QUEUE_SIZE: Final = 10_000
#: They wait for the registry and for the API server, hardly ever for the processor.
DEFAULT_QUEUE_THREADS: Final = 8
#: Where worker processes keep their numbers; read by prometheus_client when it is imported.
SHARED_METRICS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
#: How long accepted pushes may take when the server is told to end. Kubernetes gives 30 seconds for everything.
DEFAULT_DRAIN_SECONDS: Final = 10
_MAX_DRAIN_SECONDS: Final = 3_600
_MAX_PORT: Final = 65_535
_MAX_WORKERS: Final = 64
_MAX_QUEUE_SIZE: Final = 1_000_000
_MAX_THREADS: Final = 128
_TRUE: Final = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE: Final = frozenset({"", "0", "false", "f", "no", "n", "off"})


class SettingsError(PermanentError):
    """A variable of the environment does not say what it has to."""

    usual_step = "correct the variable and start the server again"


@dataclass(frozen=True)
class Settings:
    """How the server runs. Nothing in it is secret."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached at its address
    port: int = DEFAULT_PORT
    workers: int = 1
    log_level: str = "info"
    access_log: bool = False
    #: None: Harbor's webhook is off.
    secret_file: Path | None = None
    policy_file: Path = DEFAULT_POLICY_FILE
    #: The host of the references in jobs; empty: Harbor's webhook is off.
    registry_host: str = ""
    #: Together, or neither: then credentials are looked up where Docker keeps them.
    username_file: Path | None = None
    password_file: Path | None = None
    plain_http: bool = False
    ca_file: Path | None = None
    queue_size: int = DEFAULT_QUEUE_SIZE
    queue_threads: int = DEFAULT_QUEUE_THREADS
    drain_seconds: int = DEFAULT_DRAIN_SECONDS

    @property
    def takes_events(self) -> bool:
        """Whether Harbor's webhook is configured."""
        return self.secret_file is not None and bool(self.registry_host)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the variables; raises `SettingsError` that names the one that is wrong."""
        read = _Variables(environment)
        username_file, password_file = (
            read.path("KLEVER_HARBOR_USERNAME_FILE"),
            read.path("KLEVER_HARBOR_PASSWORD_FILE"),
        )
        if (username_file is None) != (password_file is None):
            raise SettingsError(
                "only one of KLEVER_HARBOR_USERNAME_FILE and KLEVER_HARBOR_PASSWORD_FILE is set",
                stage="settings",
                next_step="set both or neither",
            )
        return cls(
            host=environment.get("KLEVER_HOST") or cls.host,
            port=read.number("KLEVER_PORT", DEFAULT_PORT, 1, _MAX_PORT),
            workers=read.number("KLEVER_WORKERS", 1, 1, _MAX_WORKERS),
            log_level=read.choice("KLEVER_LOG_LEVEL", "info", LOG_LEVELS),
            access_log=read.flag("KLEVER_ACCESS_LOG"),
            secret_file=read.path("KLEVER_HOOK_SECRET_FILE"),
            policy_file=read.path("KLEVER_POLICY_FILE") or DEFAULT_POLICY_FILE,
            registry_host=_registry_host(environment),
            username_file=username_file,
            password_file=password_file,
            plain_http=read.flag("KLEVER_PLAIN_HTTP"),
            ca_file=read.path("KLEVER_CA_FILE"),
            queue_size=read.number("KLEVER_QUEUE_SIZE", DEFAULT_QUEUE_SIZE, 1, _MAX_QUEUE_SIZE),
            queue_threads=read.number("KLEVER_QUEUE_THREADS", DEFAULT_QUEUE_THREADS, 1, _MAX_THREADS),
            drain_seconds=read.number("KLEVER_DRAIN_SECONDS", DEFAULT_DRAIN_SECONDS, 0, _MAX_DRAIN_SECONDS),
        )


class _Variables:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def path(self, name: str) -> Path | None:
        value = self._environment.get(name)
        return Path(value) if value else None

    def number(self, name: str, default: int, least: int, most: int) -> int:
        text = self._environment.get(name) or str(default)
        if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most:
            return int(text)
        raise SettingsError(f"{name} is {printable(text)!r}, not a number from {least} to {most}", stage="settings")

    def flag(self, name: str) -> bool:
        text = self._environment.get(name, "").lower()
        if text not in _TRUE | _FALSE:
            raise SettingsError(f"{name} is {printable(text)!r}, not true or false", stage="settings")
        return text in _TRUE

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        text = (self._environment.get(name) or default).lower()
        if text not in choices:
            raise SettingsError(f"{name} is {printable(text)!r}, not one of {', '.join(choices)}", stage="settings")
        return text


def _registry_host(environment: Mapping[str, str]) -> str:
    """Return the host of references: the one that is named, else that of Harbor's address."""
    name, host = "KLEVER_REGISTRY_HOST", environment.get("KLEVER_REGISTRY_HOST", "")
    if not host and (url := environment.get("KLEVER_HARBOR_URL", "")):
        name = "KLEVER_HARBOR_URL"
        try:
            parts = urlsplit(url)
            # Who writes the password into the address finds it in the logs of others.
            host = "" if "@" in parts.netloc or parts.scheme not in ("http", "https") else parts.netloc
        except ValueError:
            host = ""
        if not host:
            raise SettingsError(
                "KLEVER_HARBOR_URL is not the address of a Harbor",
                stage="settings",
                next_step="write it as https://HOST[:PORT], with user and password in files of their own",
            )
    if host and not _is_host(host):
        raise SettingsError(f"{name} names no registry's host: {printable(host)!r}", stage="settings")
    return host


def _is_host(text: str) -> bool:
    try:
        return parse_reference(f"{text}/project/name").host == text
    except PermanentError:
        return False
