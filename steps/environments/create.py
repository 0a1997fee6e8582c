"""Make an environment on request, and remove one.

One creator at a time holds a lock; a directory becomes an environment by its marker, which is written last, so a
creator that is killed leaves what the next one clears away. It is made at its last place and not renamed to it: a
virtual environment holds its own path. What does not belong here: what an environment holds.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast

from klever.steps.environments.locate import (
    MARKER,
    directory_of,
    environments_directory,
    find_interpreter,
    is_available,
    is_made,
    python_of,
)
from klever.steps.environments.process import Progress, ignore_progress, program_variables
from klever.steps.environments.pythons import find_python
from klever.steps.environments.table import Environment
from klever.steps.errors import PermanentError, TemporaryError, at_stage, printable, storage_error

#: What pip prints of a failure that another try may not meet. After a lost connection it also says that no
#: distribution matches, so these are looked for first.
_PASSING: Final = re.compile(
    r"Connection (?:aborted|broken|refused|reset)|NewConnectionError|NameResolutionError|TimeoutError|ProtocolError"
    r"|ProxyError|Temporary failure in name resolution|timed out|No space left on device"
    r"|(?:HTTP error|status code) (?:429|5\d\d)|(?:429 Client|5\d\d Server) Error"
)
#: pip's variables that say what is installed or where to, for other installations of the user's.
_OF_OTHERS: Final = frozenset(
    f"PIP_{option}" for option in ("CONSTRAINT", "NO_BINARY", "PREFIX", "REQUIREMENT", "ROOT", "TARGET", "USER")
)
#: How many of pip's last lines are kept for the error; its own summary is shorter.
_KEPT_LINES: Final = 200
#: Parts of the whole at which its phases begin; a framework's wheel takes most of the time.
_FETCHING, _INSTALLING, _CHECKING = 0.05, 0.7, 0.95


class CreationFailedError(PermanentError):
    """The environment cannot be made like this: the index lacks a distribution, or it does not run here."""

    usual_step = "check what pip is configured with; or use the environment's image"


class CreationUnavailableError(TemporaryError):
    """The index cannot be reached now, or the disk is full."""

    usual_step = "try again later; pip's own configuration names the index"


def create(wanted: Environment, progress: Progress = ignore_progress) -> Path:
    """Make an environment unless there is one, and return its interpreter.

    pip installs from where the user's own configuration says; wheels alone, so that nothing runs while it is made.
    Raises `EnvironmentMissingError` where no Python fits, `CreationFailedError`, `CreationUnavailableError`, and
    `StorageError` where the disk refuses.
    """
    if is_available(wanted):
        return find_interpreter(wanted)
    directory = directory_of(wanted)
    with at_stage("create"), _locked(directory, progress) as lock:
        # Whoever held the lock may have made it.
        if not is_made(directory):
            try:
                _make(wanted, directory, lock, progress)
            except BaseException:
                shutil.rmtree(directory, ignore_errors=True)
                raise
    progress(1.0, f"{wanted.id} is ready")
    return python_of(directory)


def delete(wanted: Environment) -> list[Path]:
    """Remove an environment in all its versions, and return the directories that it was in."""
    # The digits of `Environment.digest`.
    versions = environments_directory().glob(f"{wanted.id}-" + "[0-9a-f]" * 12)
    removed = []
    with at_stage("delete"):
        for directory in sorted(versions):
            with _locked(directory, ignore_progress):
                try:
                    (directory / MARKER).unlink(missing_ok=True)
                    shutil.rmtree(directory)
                except OSError as error:
                    raise storage_error(f"cannot remove {directory}", error) from error
                removed.append(directory)
    return removed


@contextmanager
def _locked(directory: Path, progress: Progress) -> Iterator[int]:
    """Hold the lock on what becomes ``directory``; yields its descriptor."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory.with_name(f".{directory.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise storage_error(f"cannot write to {directory.parent}", error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(0.0, "waiting for another process that makes the same")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _make(wanted: Environment, directory: Path, lock: int, progress: Progress) -> None:
    progress(0.0, f"looking for a Python for {wanted.id}")
    base = find_python(wanted)
    try:
        if directory.exists():
            shutil.rmtree(directory)
        progress(0.01, f"making a virtual environment with {base}")
        _venv(wanted, base, directory, lock)
        if wanted.requirements:
            _install(wanted, directory, lock, progress)
        progress(_CHECKING, f"importing {', '.join(wanted.modules) or 'nothing'}")
        python = _check(wanted, directory)
        marker = {"id": wanted.id, "python": python, "requirements": wanted.requirements}
        (directory / f"{MARKER}.part").write_text(json.dumps(marker, indent=2) + "\n", encoding="utf-8")
        (directory / f"{MARKER}.part").rename(directory / MARKER)
    except OSError as error:
        raise storage_error(f"cannot make an environment in {directory}", error) from error


def _venv(wanted: Environment, base: Path, directory: Path, lock: int) -> None:
    # pip takes most of the time, and nothing else needs it.
    options = [] if wanted.requirements else ["--without-pip"]
    code, lines = _call([str(base), "-I", "-m", "venv", *options, str(directory)], lock)
    if code:
        raise _failure(f"{base} cannot make a virtual environment for {wanted.id}", lines)


def _install(wanted: Environment, directory: Path, lock: int, progress: Progress) -> None:
    """Install the requirements with pip as the user configured it: variables, files, proxies and certificates."""
    (directory / "requirements.txt").write_text("\n".join(wanted.requirements) + "\n", encoding="utf-8")
    # -I keeps the caller's PYTHONPATH out; pip reads its own PIP_* all the same.
    pip = [str(python_of(directory)), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    fetched = 0

    def watch(line: str) -> None:
        nonlocal fetched
        # The second is what it says of a wheel that lies on the disk.
        if line.startswith(("Collecting ", "Processing ")):
            part = fetched / len(wanted.requirements)
            fetched += 1
            progress(
                _FETCHING + (_INSTALLING - _FETCHING) * min(part, 1.0), f"fetching {line.split()[1].rpartition('/')[2]}"
            )
        elif line.startswith("Installing collected packages"):
            progress(_INSTALLING, "installing")

    options = ["--no-deps", "--only-binary", ":all:", "--no-user", "--progress-bar", "off"]
    variables = {name: value for name, value in os.environ.items() if name not in _OF_OTHERS}
    command = [*pip, *options, "--requirement", str(directory / "requirements.txt")]
    code, lines = _call(command, lock, watch, variables=variables)
    if code:
        raise _failure(f"pip cannot install {wanted.id}", lines)


def _check(wanted: Environment, directory: Path) -> str:
    """Import the environment's modules as a program will; returns the version of its Python."""
    names = "".join(f"import {module}\n" for module in wanted.modules)
    script = f"import sys\n{names}print('%d.%d.%d' % sys.version_info[:3])"
    code, lines = _call(
        [str(python_of(directory)), "-E", "-s", "-c", script], None, variables=program_variables(directory)
    )
    if code or not lines:
        raise _failure(f"the environment {wanted.id} was made, but does not run on this machine", lines)
    return lines[-1]


def _call(
    command: list[str],
    lock: int | None,
    watch: Callable[[str], None] = lambda _: None,
    *,
    variables: Mapping[str, str] | None = None,
) -> tuple[int, list[str]]:
    """Run a command; returns its exit code and the last lines that it printed.

    It holds the ``lock`` too: what goes on after this process was killed still keeps others away.
    """
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(  # noqa: S603 - Python and pip
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=() if lock is None else (lock,),
        env=variables,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in cast(IO[str], process.stdout):
                kept.append(line.rstrip())
                watch(line.strip())
        except BaseException:
            process.kill()
            raise
    return process.returncode, list(kept)


def _failure(doing: str, lines: list[str]) -> CreationFailedError | CreationUnavailableError:
    """Return the error for what a command printed; its summary is what it marks as an error, else its last line."""
    marked = [line for line in lines if line.startswith("ERROR: ")] or [line for line in lines if line.strip()][-1:]
    cause = f"{doing}: {printable(' '.join(marked) or 'it printed nothing', 500)}"
    passing = next((line for line in lines if _PASSING.search(line)), None)
    if passing is None:
        return CreationFailedError(cause)
    return CreationUnavailableError(cause if passing in marked else f"{cause} ({printable(passing.strip(), 300)})")
