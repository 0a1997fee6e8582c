"""What ``klever-controller`` is told by flags and its environment: plain values; secrets are in files that they name.

What does not belong here: what is in those files, which may change while the controller runs.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from klever.steps.errors import PermanentError, printable
from klever.steps.oci.reference import parse_reference

DEFAULT_POLICY_FILE: Final = Path("/etc/klever/policy.yaml")
DEFAULT_RELIST_SECONDS: Final = 600
#: A week.
DEFAULT_TTL_SECONDS: Final = 7 * 24 * 3600
DEFAULT_HEALTH_PORT: Final = 8081
DEFAULT_METRICS_PORT: Final = 9090
#: They wait for the API server, hardly ever for the processor.
DEFAULT_WORKERS: Final = 8
#: RFC 1123 label, which a namespace's name is.
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


class SettingsError(PermanentError):
    """A flag or variable does not say what it has to."""

    usual_step = "correct it and start the controller again; klever-controller --help lists them"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the controller runs. Nothing in it is secret. Raises `SettingsError`."""

    #: Where its ModelJobs are; empty for every namespace.
    namespaces: tuple[str, ...] = ()
    #: Where its Lease is; empty for the pod's own, or that of the kubeconfig's context.
    namespace: str = ""
    workers: int = DEFAULT_WORKERS
    job_ttl_seconds: int = DEFAULT_TTL_SECONDS
    #: 0 for the next free port, -1 for none.
    health_port: int = DEFAULT_HEALTH_PORT
    metrics_port: int = DEFAULT_METRICS_PORT
    #: Empty: nothing is relisted.
    harbor_url: str = ""
    #: The host of references in jobs; empty for that of Harbor's address.
    registry_host: str = ""
    harbor_username_file: Path | None = None
    harbor_password_file: Path | None = None
    policy_file: Path = DEFAULT_POLICY_FILE
    relist_seconds: int = DEFAULT_RELIST_SECONDS
    plain_http: bool = False
    ca_file: Path | None = None
    log_level: str = "info"

    def __post_init__(self) -> None:
        for name in (*self.namespaces, *((self.namespace,) if self.namespace else ())):
            if not _NAMESPACE.fullmatch(name):
                raise SettingsError(f"{printable(name)!r} cannot be the name of a namespace", stage="settings")
        if (self.harbor_username_file is None) != (self.harbor_password_file is None):
            raise SettingsError(
                "only one of KLEVER_HARBOR_USERNAME_FILE and KLEVER_HARBOR_PASSWORD_FILE is set",
                stage="settings",
                next_step="set both or neither",
            )
        if self.harbor_url:
            _check_address(self.harbor_url)
        if self.registry_host and not _is_host(self.registry_host):
            raise SettingsError(
                f"KLEVER_REGISTRY_HOST names no registry's host: {printable(self.registry_host)!r}", stage="settings"
            )

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces to ask for objects; the empty one is all of them."""
        return self.namespaces or ("",)


def parse_namespaces(text: str) -> tuple[str, ...]:
    """Return the names that a list with commas has, each once."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _check_address(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise SettingsError(
            "KLEVER_HARBOR_URL is not the address of a Harbor",
            stage="settings",
            next_step="write it as https://HOST[:PORT], with user and password in files of their own",
        )


def _is_host(text: str) -> bool:
    try:
        return parse_reference(f"{text}/project/name").host == text
    except PermanentError:
        return False
