"""What a serving's directory says of it: what was asked for, written once, and how it stands, as its supervisor says.

Both are JSON files that are replaced whole. Whether a supervisor lives is what the kernel says of the lock that it
holds, so that a number of a process which another one has by now misleads nobody.
"""

import fcntl
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from klever.steps.errors import StorageError, storage_error

_ASKED: Final = "serving.json"
_STANDING: Final = "standing.json"
_LOCK: Final = "supervisor.lock"
_TRIES, _TRY_SECONDS = 50, 0.02
#: The server's output.
LOG: Final = "server.log"

_Kind = TypeVar("_Kind", "Asked", "Standing")


class State(StrEnum):
    """How a serving stands."""

    STARTING = "starting"
    READY = "ready"
    #: The server ended, and is about to be started again.
    CRASHED = "crashed"
    #: It ended so often that it is not started any more.
    FAILED = "failed"
    #: Nobody looks after it: it was stopped, or the machine was started anew.
    STOPPED = "stopped"


@dataclass(frozen=True)
class Asked:
    """What is served, and how its server is started."""

    name: str
    #: As it was named, and pinned to the digest that is served.
    reference: str
    pinned: str
    #: The format that is served, and the server that serves it.
    format: str
    server: str
    protocol: str
    #: Program and arguments; ``{http}``, ``{grpc}`` and so on stand for ports.
    command: tuple[str, ...]
    #: Names of the ports that the server opens, ``http`` among them.
    ports: tuple[str, ...]
    #: Path of ``GET`` at which the model answers.
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    #: What the model takes and gives, as the config of the artifact has it.
    signature: Mapping[str, Any] = field(default_factory=dict)
    created: str = ""


@dataclass(frozen=True)
class Standing:
    """How a serving stands now."""

    state: State
    ports: Mapping[str, int] = field(default_factory=dict)
    #: Of the server; 0 where none runs.
    pid: int = 0
    restarts: int = 0
    #: Why it is not ready, in one sentence.
    message: str = ""
    #: When the state was entered, in seconds since 1970.
    since: float = 0.0

    @property
    def url(self) -> str:
        """The server's address on this machine; empty where it has none."""
        return f"http://127.0.0.1:{self.ports['http']}" if "http" in self.ports else ""


class Place:
    """The directory of one serving."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def name(self) -> str:
        """What the serving is called."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """Where the server's output goes."""
        return self.directory / LOG

    def write_asked(self, asked: Asked) -> None:
        """Say what is to be served; the directory is a serving from then on."""
        _replace(self.directory / _ASKED, asked)

    def read_asked(self) -> Asked:
        """Return what is served; raises `StorageError` where this is no serving."""
        return _read(self.directory / _ASKED, Asked)

    def write_standing(self, standing: Standing) -> None:
        """Say how it stands."""
        _replace(self.directory / _STANDING, standing)

    def read_standing(self) -> Standing:
        """Return how it stands; without a supervisor it stands still, whatever was written last."""
        try:
            standing = _read(self.directory / _STANDING, Standing)
        except StorageError:
            standing = Standing(State.STARTING)
        if self.is_supervised() or standing.state is State.FAILED:
            return standing
        return Standing(State.STOPPED, message=standing.message, restarts=standing.restarts, since=standing.since)

    def lock(self) -> int | None:
        """Become the supervisor: return a descriptor that holds the lock; None where another one does."""
        held = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        # Whoever looks whether it is held holds it for a moment.
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(held, 0)
                os.pwrite(held, str(os.getpid()).encode(), 0)
                return held
            time.sleep(_TRY_SECONDS)
        os.close(held)
        return None

    def is_supervised(self) -> bool:
        """Say whether a supervisor lives."""
        return self.supervisor() is not None

    def supervisor(self) -> int | None:
        """Return the number of the supervisor's process; None where none lives."""
        try:
            held = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(os.pread(held, 20, 0) or b"0") or None
        finally:
            os.close(held)
        return None


def _replace(path: Path, value: Asked | Standing) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_bytes(TypeAdapter(type(value)).dump_json(value, indent=2))
        new.replace(path)
    except OSError as error:
        raise storage_error(f"cannot write {path}", error) from error


def _read(path: Path, kind: type[_Kind]) -> _Kind:
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise storage_error(f"cannot read {path}", error) from error
    except ValidationError as error:
        raise StorageError(f"{path} is not what a serving writes", next_step="klever serving delete NAME") from error
