"""A model and how it is to be served, as one URI: platforms hand on a URI and nothing else.

    >>> uri = parse_model_uri("oci+model://harbor.example/vision/resnet:v1?server=triton&name=resnet")
    >>> uri.server, uri.name, str(uri.reference)
    ('triton', 'resnet', 'harbor.example/vision/resnet:v1')
    >>> str(uri)
    'oci+model://harbor.example/vision/resnet:v1?server=triton&name=resnet'

A bare reference is one too, as manifests of Klever 0.2 have it. What does not belong here: what a server makes of it.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from klever.steps.errors import ServingError
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.serving.servers.interface import Tuning

SCHEME: Final = "oci+model://"
#: As a folder, a label of Kubernetes and a segment of a URL can have it.
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_NUMBER: Final = re.compile(r"\d{1,9}", re.ASCII)
_FORM: Final = "write oci+model://HOST/NAME:TAG?server=SERVER&name=NAME"


@dataclass(frozen=True)
class ModelUri:
    """Which artifact, by which server, under which name; what is None follows from the artifact."""

    reference: Reference
    server: str | None = None
    name: str | None = None
    tuning: Tuning = field(default_factory=Tuning)

    def __str__(self) -> str:
        tuning = self.tuning
        given = {
            "server": self.server,
            "name": self.name,
            "batch": tuning.max_batch,
            "instances": tuning.instances if tuning.instances != 1 else None,
            "delay": tuning.queue_delay or None,
            "gpu": "true" if tuning.gpu else None,
        }
        query = urlencode({key: value for key, value in given.items() if value is not None})
        return f"{SCHEME}{self.reference}" + (f"?{query}" if query else "")


def parse_model_uri(text: str) -> ModelUri:
    """Parse a URI or a bare reference; raises `InvalidReferenceError` or `ServingError`."""
    reference, mark, query = text.removeprefix(SCHEME).partition("?")
    uri = ModelUri(parse_reference(reference))
    if not mark:
        return uri
    if not text.startswith(SCHEME):
        raise ServingError(f"{text[:140]!r} has a query, which a reference has not", next_step=_FORM)
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise ServingError(f"{text[:140]!r} has a query that is none", next_step=_FORM) from None
    if len(dict(given)) != len(given):
        raise ServingError(f"{text[:140]!r} says one thing twice", next_step=_FORM)
    for key, value in given:
        uri = _told(uri, key, value)
    return uri


def check_name(name: str) -> str:
    """Return a name under which a model can be served; raises `ServingError` for any other."""
    if not _NAME.fullmatch(name):
        raise ServingError(
            f"{name[:80]!r} is not a name to serve a model under",
            next_step="use up to 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends",
        )
    return name


def usual_name(reference: Reference) -> str:
    """Return the name under which an artifact is served unless told: the last part of its repository."""
    return check_name(reference.repository.rpartition("/")[2][:63].rstrip("-_.") or "model")


def _told(uri: ModelUri, key: str, value: str) -> ModelUri:
    match key:
        case "server":
            return replace(uri, server=value)
        case "name":
            return replace(uri, name=check_name(value))
        case "batch":
            return replace(uri, tuning=replace(uri.tuning, max_batch=_number(key, value)))
        case "instances":
            return replace(uri, tuning=replace(uri.tuning, instances=max(_number(key, value), 1)))
        case "delay":
            return replace(uri, tuning=replace(uri.tuning, queue_delay=_number(key, value)))
        case "gpu" if value in ("true", "false"):
            return replace(uri, tuning=replace(uri.tuning, gpu=value == "true"))
    raise ServingError(f"{key[:40]}={value[:40]} means nothing for a model", next_step=_FORM)


def _number(key: str, value: str) -> int:
    if not _NUMBER.fullmatch(value):
        raise ServingError(f"got {value[:40]!r} for {key}, expected a number from 0 on", next_step=_FORM)
    return int(value)
