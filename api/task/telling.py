"""What a task tells while it runs and when it fails: lines of its log, progress, and the message of a failure.

What does not belong here: the outputs of a success (see ``outputs``).
"""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from klever.api.text import visible
from klever.steps.errors import KleverError

#: Where the message of a failure is put; Kubernetes takes it into the pod's status, Argo into the node's message.
MESSAGE_VARIABLE: Final = "KLEVER_MESSAGE_FILE"
#: A container's ``terminationMessagePath``, unless its specification names another.
_MESSAGE_FILE: Final = "/dev/termination-log"
#: What Argo's controller and web page show whole; Kubernetes keeps 4096 bytes.
_MAX_MESSAGE_BYTES: Final = 1500
#: Set by Argo: the file whose last line is ``N/M`` (its documentation, "Self reporting progress").
PROGRESS_VARIABLE: Final = "ARGO_PROGRESS_FILE"
#: The least time between two writes of progress, in seconds.
_PROGRESS_SECONDS: Final = 1.0


def say(line: str) -> None:
    """Write one line to the log."""
    sys.stdout.write(visible(line) + "\n")
    sys.stdout.flush()


def message_of(error: KleverError, verb: str) -> str:
    """Return ``STAGE: CAUSE; next: NEXT STEP`` on one line of at most 1,500 bytes of UTF-8."""
    cause = visible(f"{error.stage or verb}: {error.cause}")
    next_step = visible(f"; next: {error.next_step}") if error.next_step else ""
    room = _MAX_MESSAGE_BYTES - min(len(next_step.encode()), _MAX_MESSAGE_BYTES // 2)
    return _cut(cause, room) + _cut(next_step, _MAX_MESSAGE_BYTES // 2)


def tell_failure(message: str, environment: Mapping[str, str] = os.environ) -> None:
    """Write the message to standard error and to the file for it, if that can be written."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"klever-task: {message}\n")
        sys.stderr.flush()
    path = environment.get(MESSAGE_VARIABLE) or _MESSAGE_FILE
    # Made by the kubelet in a container; on a laptop there is none, and none is made in /dev.
    flags = os.O_WRONLY | os.O_TRUNC | (os.O_CREAT if environment.get(MESSAGE_VARIABLE) else 0)
    with suppress(OSError):
        file = os.open(path, flags, 0o644)
        try:
            os.write(file, message.encode())
        finally:
            os.close(file)


class Progress:
    """The part of the work that is done, for Argo; never goes back, at most one write a second."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._path = environment.get(PROGRESS_VARIABLE, "")
        self._percent = -1
        self._written = -_PROGRESS_SECONDS

    def report(self, done: float, _doing: str = "") -> None:
        """Take the part that is done, from 0 to 1."""
        percent = max(0, min(100, int(done * 100)))
        now = time.monotonic()
        if not self._path or percent <= self._percent or (now - self._written < _PROGRESS_SECONDS and percent < 100):
            return
        self._percent, self._written = percent, now
        # Progress is a courtesy: without a place for it the work goes on.
        with suppress(OSError):
            file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            try:
                os.write(file, f"{percent}/100\n".encode())
            finally:
                os.close(file)


def _cut(text: str, room: int) -> str:
    data = text.encode()
    return text if len(data) <= room else data[: room - 3].decode(errors="ignore") + "..."
