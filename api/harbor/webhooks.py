"""Webhook policies: what a project of Harbor tells, whom, and how that went.

What does not belong here: the payloads (`klever.api.harbor.events`). Source: swagger of Harbor 2.16; recordings
``webhook-policy-create`` and ``webhook-test-executions``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from klever.api.harbor import errors
from klever.api.harbor.client import Document, Harbor, path_of
from klever.steps.errors import PermanentError

CLOUD_EVENTS, DEFAULT = "CloudEvents", "Default"
_EVENTS: Final = ["PUSH_ARTIFACT"]
_DESCRIPTION: Final = "Tells Klever of every push; run klever harbor setup again to change it."


class InvalidHookUrlError(PermanentError):
    """Harbor would send its events elsewhere than to this address, or nowhere."""

    usual_step = "write the address of the server's /hooks/harbor as Harbor reaches it, http or https"


@dataclass(frozen=True)
class Target:
    """Where events go, and as what; ``name`` is what the policy is called in each project."""

    name: str
    address: str
    #: What is sent as the header ``Authorization``.
    authorization: str = field(repr=False)
    payload: str = CLOUD_EVENTS
    #: Whether Harbor checks the certificate of the address.
    verified: bool = True


class Policy(NamedTuple):
    """A webhook policy of a project."""

    id: int
    enabled: bool
    document: Document

    @property
    def address(self) -> str:
        """Where its events go; the first address where there are several."""
        return next((str(each.get("address", "")) for each in _targets(self.document)), "")

    @property
    def authorization(self) -> str:
        """What its events are sent with."""
        return next((str(each.get("auth_header") or "") for each in _targets(self.document)), "")


def check_address(url: str) -> str:
    """Return an address as Harbor keeps it; raises `InvalidHookUrlError`.

    Harbor keeps scheme, host and path alone (``validateTargets`` in its ``handler/webhook.go``).
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise InvalidHookUrlError(f"got {url[:200]!r} for the webhook, expected https://HOST/hooks/harbor")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise InvalidHookUrlError("the webhook's address has a user, a question mark or a #, which Harbor drops")
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def find(harbor: Harbor, project: str, name: str) -> Policy | None:
    """Return the policy ``name`` of a project; None where there is none."""
    return next((policy for policy in listed(harbor, project) if policy.document.get("name") == name), None)


def listed(harbor: Harbor, project: str) -> list[Policy]:
    """Return the webhook policies of a project, those of others among them."""
    policies = []
    for document in harbor.list_all(_path(project)):
        if not isinstance(document.get("id"), int):
            raise errors.HarborRefusedError(
                f"Harbor lists a webhook policy of {project} without an id", stage="webhook"
            )
        policies.append(Policy(document["id"], document.get("enabled") is True, document))
    return policies


def differences(policy: Policy, target: Target) -> list[str]:
    """Return, in words without secrets, what has to change so that the policy tells the target of pushes."""
    targets = _targets(policy.document)
    found = targets[0] if targets else {}
    changes = []
    if not policy.enabled:
        changes.append("it was disabled")
    if policy.document.get("event_types") != _EVENTS:
        changes.append("it told of other events")
    if len(targets) != 1 or found.get("type") != "http" or found.get("address") != target.address:
        changes.append(f"it told {policy.address or 'nobody'}")
    if found.get("auth_header") != target.authorization:
        changes.append("it sent another Authorization")
    # Harbor before 2.8 has no choice of payloads, and an empty one is the default.
    if (found.get("payload_format") or DEFAULT) != target.payload:
        changes.append(f"it sent {found.get('payload_format') or DEFAULT} payloads")
    if bool(found.get("skip_cert_verify")) is target.verified:
        changes.append("it " + ("did not check" if target.verified else "checked") + " the certificate")
    return changes


def make(harbor: Harbor, project: str, target: Target) -> None:
    """Create the policy in a project."""
    harbor.create(_path(project), _document(target))


def change(harbor: Harbor, project: str, policy: Policy, target: Target) -> None:
    """Make an existing policy tell the target, and nobody else, of pushes, and of nothing else."""
    harbor.replace(_path(project, str(policy.id)), {"id": policy.id} | _document(target))


def last_executions(harbor: Harbor, project: str, policy: Policy) -> list[Document]:
    """Return the last deliveries of a policy, newest first, a page of them."""
    found = harbor.page(_path(project, str(policy.id), "executions")).items
    return sorted(found, key=lambda each: each["id"] if isinstance(each.get("id"), int) else 0, reverse=True)


def _document(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "description": _DESCRIPTION,
        "enabled": True,
        "event_types": _EVENTS,
        "targets": [
            {
                "type": "http",
                "address": target.address,
                "auth_header": target.authorization,
                "skip_cert_verify": not target.verified,
                "payload_format": target.payload,
            }
        ],
    }


def _targets(document: Document) -> list[Mapping[str, Any]]:
    return [each for each in document.get("targets") or () if isinstance(each, dict)]


def _path(project: str, *rest: str) -> str:
    return path_of("projects", project, "webhook", "policies", *rest)
