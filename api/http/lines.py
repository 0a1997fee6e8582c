"""What the process that answers and the process that works say to each other: one JSON document a line.

To the worker go the settings and then pushes; back come what became of each push and whether the cluster answers. What
does not belong here: how lines travel.
"""

import json
from typing import Final, NamedTuple

from pydantic import TypeAdapter

from klever.api.harbor.events import Push
from klever.api.http.queue import Key, Result
from klever.api.http.settings import Settings

_PUSH: Final = TypeAdapter(Push)
_SETTINGS: Final = TypeAdapter(Settings)


class Done(NamedTuple):
    """A push is done."""

    key: Key
    result: Result


class Cluster(NamedTuple):
    """The API server was asked; ``problem`` is empty where it has answered."""

    problem: str


def write_settings(settings: Settings) -> bytes:
    """Return the first line to a worker."""
    return _SETTINGS.dump_json(settings) + b"\n"


def read_settings(line: bytes) -> Settings:
    """Return the settings of the first line."""
    return _SETTINGS.validate_json(line)


def write_push(push: Push) -> bytes:
    """Return a push as a line."""
    return _PUSH.dump_json(push) + b"\n"


def read_push(line: bytes) -> Push:
    """Return the push of a line."""
    return _PUSH.validate_json(line)


def write_told(told: Done | Cluster) -> bytes:
    """Return what a worker tells as a line."""
    return json.dumps(told._asdict()).encode() + b"\n"


def read_told(line: bytes) -> Done | Cluster:
    """Return what a worker tells."""
    document = json.loads(line)
    if "problem" in document:
        return Cluster(document["problem"])
    repository, digest, tag = document["key"]
    return Done((repository, digest, tag), Result(document["result"]))
