"""What an administrator decides about the templates; everything else about them is the same in every installation.

What does not belong here: what a user decides for one run, which is a template's inputs.
"""

import re
from dataclasses import dataclass
from typing import Final

from klever.steps.errors import PermanentError

#: A registry's host and path, which end with a slash: what an image's short name is put behind.
PREFIX: Final = re.compile(r"(?:[a-z0-9]+(?:[._:-]+[a-z0-9]+)*/)+", re.ASCII)
TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
#: Names of Kubernetes' objects (RFC 1123 subdomain).
NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?", re.ASCII)
DURATION: Final = re.compile(r"\d{1,6}[smh]", re.ASCII)
#: What URLs begin with that ``klever-publish`` may read.
URL: Final = re.compile(r"https?://[^/\s{}$]+/[^\s{}$]*", re.ASCII)
ARGO_VERSIONS: Final = ("3", "4")
PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")


class SettingsError(PermanentError):
    """A setting that no cluster would accept."""

    usual_step = "see klever templates render --help"


@dataclass(frozen=True)
class Settings:
    """One installation's settings; raises `SettingsError` for one that no cluster would accept."""

    #: The major version of Argo Workflows, whose schemas differ.
    argo: str = "3"
    #: What stands before an image's short name, with its last slash.
    image_prefix: str = "docker.io/klever/"
    image_tag: str = "1.0.0"
    image_pull_policy: str = "IfNotPresent"
    #: A secret of the type kubernetes.io/dockerconfigjson; pods start without it where it is not there.
    registry_secret: str = "klever-registry"  # noqa: S105 - a name
    #: Whether the registry speaks HTTP, not HTTPS.
    plain_http: bool = False
    #: A ConfigMap with the registry's certificate authorities in ``ca.crt``; empty for the usual ones.
    ca_config_map: str = ""
    #: The account of the pods, which has no rights and whose token is not mounted.
    service_account: str = "klever-step"
    #: The account by which Argo's own container beside a step reports its outputs.
    executor_service_account: str = "klever-executor"
    #: Argo's controller, which has to be allowed to keep the cache of results in its own namespace.
    controller_service_account: str = "argo"
    controller_namespace: str = "argo"
    #: What ``klever-publish`` may read: prefixes of URLs, and claims that are mounted read-only at /sources/NAME.
    allowed_urls: tuple[str, ...] = ()
    allowed_claims: tuple[str, ...] = ()
    #: How long the same step with the same inputs is not done again; empty for always.
    remember: str = "1h"
    #: Seconds that one try of a pod may take.
    step_deadline: int = 3_600
    convert_deadline: int = 4 * 3_600
    #: Seconds that a whole workflow may take.
    workflow_deadline: int = 24 * 3_600
    #: Seconds that a finished workflow stays.
    keep_succeeded: int = 24 * 3_600
    keep_failed: int = 7 * 24 * 3_600
    #: How long the pod of a step that succeeded stays for its logs; one that failed stays with its workflow.
    keep_logs: str = "600s"
    #: Whether the pods that convert ask the scheduler for their disk; not every node accounts for disks.
    reserve_storage: bool = False
    #: How often a temporary failure is tried again.
    retries: int = 4

    def __post_init__(self) -> None:
        _check("image prefix", self.image_prefix, PREFIX, "HOST/PATH/ with a slash at its end")
        _check("image tag", self.image_tag, TAG, "a tag")
        if self.argo not in ARGO_VERSIONS:
            raise SettingsError(f"got Argo {self.argo!r}, expected one of {', '.join(ARGO_VERSIONS)}")
        if self.image_pull_policy not in PULL_POLICIES:
            raise SettingsError(
                f"got the pull policy {self.image_pull_policy!r}, expected one of {', '.join(PULL_POLICIES)}"
            )
        for what, name in (
            ("registry secret", self.registry_secret),
            ("service account", self.service_account),
            ("executor's service account", self.executor_service_account),
            ("controller's service account", self.controller_service_account),
            ("controller's namespace", self.controller_namespace),
            *(("claim", claim) for claim in self.allowed_claims),
            *((("config map", self.ca_config_map),) if self.ca_config_map else ()),
        ):
            _check(what, name, NAME, "a name of a Kubernetes object")
        for url in self.allowed_urls:
            if not URL.fullmatch(url):
                raise SettingsError(f"got the URL prefix {url!r}, expected https://HOST/ and what paths begin with")
        for what, duration in (("time to keep logs", self.keep_logs), ("time to remember", self.remember or "0s")):
            _check(what, duration, DURATION, "a number with s, m or h")
        for what, number in (
            ("step deadline", self.step_deadline),
            ("conversion deadline", self.convert_deadline),
            ("workflow deadline", self.workflow_deadline),
            ("seconds to keep what succeeded", self.keep_succeeded),
            ("seconds to keep what failed", self.keep_failed),
            ("number of retries", self.retries),
        ):
            if number < 1:
                raise SettingsError(f"got {number} for the {what}, expected a number above 0")


def _check(what: str, value: str, form: re.Pattern[str], expected: str) -> None:
    if not form.fullmatch(value):
        raise SettingsError(f"got {value!r} for the {what}, expected {expected}")
