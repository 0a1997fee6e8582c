"""What a platform's object says about itself, in the same few words for every kind.

What does not belong here: asking the model, which alone proves that it answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from klever.steps.errors import ServingError, printable
from klever.steps.serving.platforms.names import URL

_REASON: Final = 300
#: Of a Deployment (``DeploymentTimedOutReason``) and of Knative's revisions alike.
_TIMED_OUT: Final = "ProgressDeadlineExceeded"
#: What Knative says of a revision that nothing will make ready.
_FAILED: Final = frozenset({_TIMED_OUT, "RevisionFailed", "ContainerMissing", "ExitCode1"})
#: What KServe says of a model that does not load (``TransitionStatus``).
_BLOCKED: Final = frozenset({"BlockedByFailedLoad", "InvalidSpec"})


@dataclass(frozen=True)
class Standing:
    """How a serving stands: ready, failed, or neither yet."""

    ready: bool
    failed: bool
    #: The server's own address within the cluster, without the path of a request; empty where it is not known.
    url: str = ""
    #: Why it is not ready, on one line.
    reason: str = ""


def read_standing(manifest: Mapping[str, Any]) -> Standing:
    """Read how a Deployment, a SeldonDeployment or an InferenceService stands; raises `ServingError` for others."""
    kind = str(manifest.get("kind"))
    status = _mapping(manifest.get("status"))
    if kind not in _READERS:
        raise ServingError(f"a {kind[:80]} does not say how a serving stands")
    seen = status.get("observedGeneration")
    generation = _mapping(manifest.get("metadata")).get("generation")
    if isinstance(seen, int) and isinstance(generation, int) and seen < generation:
        # What it says is of an earlier wish.
        return Standing(ready=False, failed=False, url=_url(manifest, status), reason="the change is not seen yet")
    if not status:
        return Standing(ready=False, failed=False, url=_url(manifest, status), reason="nothing has happened yet")
    return _READERS[kind](manifest, status)


def _deployment(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> Standing:
    wanted = _count(_mapping(manifest.get("spec")), "replicas", 1)
    updated, available, total = (_count(status, key) for key in ("updatedReplicas", "availableReplicas", "replicas"))
    conditions = _conditions(status)
    progressing = conditions.get("Progressing", {})
    failed = progressing.get("status") == "False" and progressing.get("reason") == _TIMED_OUT
    ready = not failed and updated >= wanted and available >= wanted and total == updated
    reason = ""
    if not ready:
        # A quota or an admission says why no pod is made, and may yet change its mind.
        blocked = conditions.get("ReplicaFailure", {})
        told = blocked if blocked.get("status") == "True" else progressing if failed else {}
        reason = _reason(told) or f"{min(updated, available)} of {wanted} new pods are ready"
    return Standing(ready, failed, _url(manifest, status), reason)


def _seldon(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> Standing:
    state = status.get("state")
    reason = "" if state == "Available" else str(status.get("description") or state or "")
    return Standing(state == "Available", state == "Failed", _url(manifest, status), printable(reason, _REASON))


def _kserve(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> Standing:
    conditions = _conditions(status)
    ready = conditions.get("Ready", {}).get("status") == "True"
    loading = _mapping(status.get("modelStatus"))
    lost = _mapping(loading.get("lastFailureInfo"))
    false = [each for each in conditions.values() if each.get("status") == "False"]
    hopeless = next((each for each in false if each.get("reason") in _FAILED), None)
    blocked = loading.get("transitionStatus") in _BLOCKED
    # With an old revision that serves, Ready stays true while the new one fails.
    failed = blocked or hopeless is not None
    told = hopeless or next((each for each in false if each.get("message")), None) or conditions.get("Ready", {})
    reason = "" if ready and not failed else (blocked and _reason(lost)) or _reason(told) or "the predictor is starting"
    return Standing(ready and not failed, failed, _url(manifest, status), reason)


_READERS: Final = {"Deployment": _deployment, "SeldonDeployment": _seldon, "InferenceService": _kserve}


def _url(manifest: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    """Return the address from the status, else the one that was written down when the object was made."""
    notes = _mapping(_mapping(manifest.get("metadata")).get("annotations"))
    told = _mapping(status.get("address")).get("url") or status.get("url") or notes.get(URL) or ""
    try:
        parts = urlsplit(str(told))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""


def _conditions(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = status.get("conditions")
    found = [_mapping(each) for each in listed] if isinstance(listed, list) else []
    return {str(each.get("type")): each for each in found}


def _reason(told: Mapping[str, Any]) -> str:
    return printable(str(told.get("message") or told.get("reason") or ""), _REASON)


def _count(holder: Mapping[str, Any], key: str, default: int = 0) -> int:
    value = holder.get(key)
    return value if isinstance(value, int) else default


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
