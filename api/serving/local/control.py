"""Start, find and end servings on this machine.

What does not belong here: the server's process, which is its supervisor's.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from klever.api.serving.local.record import Asked, Place, Standing, State
from klever.steps.errors import NotFoundError, ServingError, StorageError, TemporaryError, storage_error
from klever.steps.serving.uri import check_name
from klever.steps.stores import home_directory

#: The folder of ``KLEVER_HOME`` with a directory for each serving.
FOLDER: Final = "servings"
_POLL_SECONDS: Final = 0.02
#: How long a supervisor may take to end its server and itself, in seconds.
_END_SECONDS: Final = 25.0


class NotReadyError(TemporaryError):
    """A server was not ready in time."""

    usual_step = "klever serving logs says what it is at"


def place_of(name: str, home: Path | None = None) -> Place:
    """Return where a serving of that name is or will be."""
    return Place((home or home_directory()) / FOLDER / check_name(name))


def find(name: str, home: Path | None = None) -> Place:
    """Return the serving of that name; raises `NotFoundError`."""
    place = place_of(name, home)
    try:
        place.read_asked()
    except StorageError:
        if not place.directory.is_dir():
            raise NotFoundError(f"nothing is served as {name}", next_step="see klever serving list") from None
    return place


def list_all(home: Path | None = None) -> Iterator[tuple[Place, Asked]]:
    """Yield every serving of this machine by its name."""
    folder = (home or home_directory()) / FOLDER
    for directory in sorted(folder.iterdir()) if folder.is_dir() else ():
        place = Place(directory)
        with suppress(StorageError):
            yield place, place.read_asked()


def start(place: Place) -> None:
    """Start the serving's supervisor, unless one lives."""
    if place.is_supervised():
        return
    # What an earlier supervisor wrote last is of no use while this one has written nothing.
    place.write_standing(Standing(State.STARTING, since=time.time()))
    log = place.directory / "supervisor.log"
    try:
        with log.open("ab") as output:
            done = subprocess.run(  # noqa: S603 - our own module
                [sys.executable, "-m", "klever.api.serving.local.supervise", str(place.directory.absolute())],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                check=False,
            )
    except OSError as error:
        raise storage_error(f"cannot start the supervisor of {place.name}", error) from error
    # Of two that start it at once, one does.
    if done.returncode and not place.is_supervised():
        raise ServingError(f"the supervisor of {place.name} does not start", next_step=f"see {log}")


def wait_ready(place: Place, seconds: float) -> Standing:
    """Wait until the model answers; raises `ServingError` where its server gave up.

    `NotReadyError` says that it takes longer than ``seconds``.
    """
    until = time.monotonic() + seconds
    while True:
        standing = place.read_standing()
        if standing.state is State.READY:
            return standing
        if standing.state in (State.FAILED, State.STOPPED):
            raise ServingError(
                standing.message or f"{place.name} is stopped",
                stage="start",
                next_step=f"klever serving logs {place.name} says why",
            )
        if time.monotonic() > until:
            raise NotReadyError(
                f"the server of {place.name} is not ready after {seconds:.0f} s",
                stage="start",
                next_step=f"klever serving logs {place.name}",
            )
        time.sleep(_POLL_SECONDS)


def stop(place: Place) -> None:
    """End the serving's supervisor, which ends the server; raises `NotReadyError` where it does not."""
    supervisor = place.supervisor()
    if supervisor is None:
        return
    with suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGTERM)
    until = time.monotonic() + _END_SECONDS
    while place.is_supervised():
        if time.monotonic() > until:
            raise NotReadyError(f"the supervisor of {place.name} (process {supervisor}) does not end", stage="stop")
        time.sleep(_POLL_SECONDS)


def delete(place: Place) -> None:
    """End a serving and remove all of it."""
    stop(place)
    try:
        shutil.rmtree(place.directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(f"cannot remove {place.directory}", error) from error
