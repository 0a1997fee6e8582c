"""The record of runs on this machine: ``KLEVER_HOME/runs/NAME`` with the state as JSON and a log for each node.

What does not belong here: running.
"""

import contextlib
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from klever.steps.errors import AlreadyExistsError, NotFoundError, PermanentError, storage_error
from klever.steps.stores import home_directory
from klever.workflows.local.process import remove_tree
from klever.workflows.status import Kind, Node, Phase, Run

_NAME: Final = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?")
_STATE: Final = "run.json"
_LOCK: Final = "running.lock"


class UnknownRunError(NotFoundError):
    """There is no record of a run."""

    usual_step = "see the names with klever workflows list"


@dataclass
class Record:
    """The directory of one run; whoever runs it holds its lock."""

    directory: Path
    _lock: int | None = None

    @property
    def logs(self) -> Path:
        """Where the nodes' logs are."""
        return self.directory / "logs"

    @property
    def staging(self) -> Path:
        """Where the processes work."""
        return self.directory / "staging"

    @property
    def is_running(self) -> bool:
        """Whether a process holds the lock."""
        try:
            file = os.open(self.directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def log_of(self, node: Node) -> Path:
        """Return the log of a node, which need not be there."""
        return self.logs / f"{node.id}.log"

    def write(self, run: Run) -> None:
        """Replace the state; raises `StorageError`."""
        temporary = self.directory / f".{_STATE}.new"
        try:
            temporary.write_text(json.dumps(asdict_of(run)), encoding="utf-8")
            temporary.replace(self.directory / _STATE)
        except OSError as error:
            raise storage_error("writing the record of the run", error) from error

    def read(self) -> Run:
        """Return the last written state; raises `UnknownRunError`."""
        try:
            return run_of(json.loads((self.directory / _STATE).read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise UnknownRunError(f"there is no record of a run {self.directory.name}", stage="read") from error
        except (ValueError, KeyError, TypeError) as error:
            raise PermanentError(
                f"the record of the run {self.directory.name} cannot be read: {error}",
                stage="read",
                next_step=f"remove {self.directory}",
            ) from error

    def close(self) -> None:
        """Give up the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def runs_directory() -> Path:
    """Return where the records are."""
    return (home_directory() / "runs").absolute()


def begin_record(name: str, *, keep: int) -> Record:
    """Make the directory of a run, in place of an ended one of its name; remove all but the last ``keep`` others.

    Raises `AlreadyExistsError` for one that runs, `StorageError`.
    """
    if not _NAME.fullmatch(name):
        raise PermanentError(
            f"{name!r} is no name of a workflow",
            stage="check",
            next_step="use letters, digits, '-' and '.'",
        )
    directory = runs_directory() / name
    record = Record(directory)
    try:
        runs_directory().mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        record._lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(record._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            record.close()
            raise AlreadyExistsError(
                f"a workflow named {name} is running",
                stage="start",
                next_step="wait for it, or name this one otherwise",
            ) from error
        for left in directory.iterdir():
            if left.name != _LOCK:
                remove_tree(left) if left.is_dir() else left.unlink()
        record.logs.mkdir()
        record.staging.mkdir(mode=0o700)
    except OSError as error:
        record.close()
        raise storage_error(f"making the record of the run {name}", error) from error
    _prune(keep, record.directory)
    return record


def _prune(keep: int, own: Path) -> None:
    others = sorted(
        (path for path in runs_directory().iterdir() if path.is_dir() and path != own), key=_changed, reverse=True
    )
    for old in others[max(keep - 1, 0) :]:
        if not Record(old).is_running:
            remove_tree(old)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


def find_record(name: str) -> Record:
    """Return the record of a run by its name; raises `UnknownRunError`."""
    record = Record(runs_directory() / name)
    if not _NAME.fullmatch(name) or not (record.directory / _STATE).is_file():
        raise UnknownRunError(f"there is no record of a run {name}", stage="read")
    return record


def list_records() -> Iterator[Record]:
    """Yield the records of runs, the latest first."""
    directory = runs_directory()
    if not directory.is_dir():
        return
    for path in sorted(directory.iterdir(), key=_changed, reverse=True):
        if (path / _STATE).is_file():
            yield Record(path)


_NODE_FIELDS: Final = tuple(field.name for field in fields(Node))
_TIMES: Final = ("started", "finished")


def asdict_of(run: Run) -> dict[str, Any]:
    """Return a run as JSON values."""
    document = {field.name: getattr(run, field.name) for field in fields(Run) if field.name not in ("nodes", *_TIMES)}
    document.update({name: _iso(getattr(run, name)) for name in _TIMES})
    document["nodes"] = {
        node_id: {name: _json(getattr(node, name)) for name in _NODE_FIELDS} for node_id, node in run.nodes.items()
    }
    return document


def run_of(document: dict[str, Any]) -> Run:
    """Return the run of what `asdict_of` gave; raises `KeyError`, `TypeError`, `ValueError`."""
    nodes = {node_id: Node(**_typed(values)) for node_id, values in document["nodes"].items()}
    whole = _typed({key: value for key, value in document.items() if key != "nodes"})
    return Run(**whole, nodes=nodes)


def _json(value: Any) -> Any:
    return _iso(value) if isinstance(value, datetime) else value


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _typed(values: dict[str, Any]) -> dict[str, Any]:
    typed = dict(values)
    for name in _TIMES:
        typed[name] = datetime.fromisoformat(values[name]) if values.get(name) else None
    typed["phase"] = Phase(values["phase"])
    if "kind" in values:
        typed["kind"] = Kind(values["kind"])
    return typed


__all__ = [
    "Record",
    "UnknownRunError",
    "asdict_of",
    "begin_record",
    "find_record",
    "list_records",
    "run_of",
    "runs_directory",
]
