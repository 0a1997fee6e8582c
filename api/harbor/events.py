"""What a webhook of Harbor says: its payloads in both formats, read into pushes.

    >>> parse_event(b'{"type": "PULL_ARTIFACT"}').ignored
    'PULL_ARTIFACT is not a push'

A payload is a hint from whoever knows the secret, so it is read strictly and within limits: other than a push it
starts nothing, and what is no event at all raises. What does not belong here: whether a push starts something.
Source: recordings of Harbor 2.16; its ``resource_url`` is not read, as it names a host.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NoReturn

from klever.api.harbor.errors import MalformedEventError
from klever.steps.errors import InvalidReferenceError, printable
from klever.steps.model.strict import parse_json
from klever.steps.oci.descriptor import Digest, parse_digest
from klever.steps.oci.reference import parse_repository, parse_tag

#: A payload of Harbor has less than a kilobyte for each resource; more than this is not read, in bytes.
MAX_EVENT_BYTES: Final = 1 << 20
#: Harbor names one resource in an event; nothing says that it always will.
MAX_RESOURCES: Final = 1000
_MAX_NODES: Final = 50_000
#: Longest name of whoever pushed that is kept, in characters (a robot's is below 255 + the project's).
_MAX_OPERATOR: Final = 512
#: The last second of the year 9999, the largest that a date has.
_MAX_TIME: Final = 253_402_300_799

_PUSH: Final = "PUSH_ARTIFACT"
_CLOUD_PUSH: Final = "harbor.artifact.pushed"
_CLOUD_VERSION: Final = "1.0"


@dataclass(frozen=True, slots=True)
class Push:
    """An artifact that somebody says was pushed."""

    project: str
    #: With the project: ``release/mnist``.
    repository: str
    digest: Digest
    #: None where it was pushed by its digest alone.
    tag: str | None = None
    #: Who pushed, as Harbor names them: ``admin``, ``robot$release+klever``.
    operator: str = ""
    #: When, in UTC; None where the payload does not tell.
    occurred: datetime | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a payload says: pushes, or why there are none."""

    pushes: tuple[Push, ...] = ()
    #: The reason, in words, where the event starts nothing by its kind.
    ignored: str = ""


def parse_event(data: bytes) -> Event:
    """Read the body of a webhook in either format; raises `MalformedEventError` and nothing else.

    Events of other kinds than a push (pull, delete, scan, quota, ...) come back without pushes and with the reason.
    """
    if len(data) > MAX_EVENT_BYTES:
        _refuse(f"has {len(data)} bytes, more than {MAX_EVENT_BYTES}")
    try:
        document = parse_json(data, max_nodes=_MAX_NODES)
    except ValueError as error:
        _refuse(str(error))
    if not isinstance(document, dict):
        _refuse("is not a JSON object")
    kind = _text(document, "type")
    if "specversion" in document:
        return _read_cloud_event(document, kind)
    if kind != _PUSH:
        return _ignored(kind)
    content = _object(document, "event_data")
    return _pushes(content, _operator(document), _moment(document.get("occur_at")))


def _read_cloud_event(document: Mapping[str, Any], kind: str) -> Event:
    """Read a CloudEvent in its structured JSON form (CloudEvents specification 1.0, "JSON Event Format")."""
    if document["specversion"] != _CLOUD_VERSION:
        _refuse(f"is a CloudEvent of another version than {_CLOUD_VERSION}")
    if kind != _CLOUD_PUSH:
        return _ignored(kind)
    return _pushes(_object(document, "data"), _operator(document), _moment(document.get("time")))


def _pushes(content: Mapping[str, Any], operator: str, occurred: datetime | None) -> Event:
    repository = _object(content, "repository")
    project = _text(repository, "namespace")
    full_name = _text(repository, "repo_full_name")
    if full_name.partition("/")[0] != project or "/" not in full_name:
        _refuse("names a repository outside of its project")
    resources = content.get("resources")
    if not isinstance(resources, list) or len(resources) > MAX_RESOURCES:
        _refuse(f"has no list of at most {MAX_RESOURCES} resources")
    if not resources:
        return Event(ignored="the push names no artifact")
    found: dict[tuple[str, str | None], Push] = {}
    try:
        parse_repository(full_name)
        for resource in resources:
            if not isinstance(resource, dict):
                _refuse("has a resource that is not a JSON object")
            digest = parse_digest(_text(resource, "digest"))
            tag = _tag(resource.get("tag"))
            found[digest, tag] = Push(project, full_name, digest, tag, operator, occurred)
    except InvalidReferenceError as error:
        _refuse(f"names what cannot be in a registry: {error.cause}")
    return Event(tuple(found.values()))


def _tag(value: object) -> str | None:
    """Return a resource's tag; a push by digest has the digest in its place."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        _refuse("has a tag that is not text")
    return None if ":" in value and parse_digest(value) else parse_tag(value)


def _moment(value: object) -> datetime | None:
    """Return when it happened: seconds since 1970 or RFC 3339; it is shown, never decided by."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_TIME:
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            return None
    return None


def _operator(document: Mapping[str, Any]) -> str:
    value = document.get("operator")
    return printable(value, _MAX_OPERATOR) if isinstance(value, str) else ""


def _ignored(kind: str) -> Event:
    return Event(ignored=f"{printable(kind, 60)} is not a push")


def _object(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = document.get(name)
    if not isinstance(value, dict):
        _refuse(f"has no {name}")
    return value


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        _refuse(f"has no {name}")
    return value


def _refuse(what: str) -> NoReturn:
    raise MalformedEventError(f"the payload {what}", stage="event") from None
