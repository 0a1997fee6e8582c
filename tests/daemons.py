"""Klever's two processes of a cluster, started on this machine so that a test can kill them and begin them again.

    with daemon("klever-controller", variables, log_file) as controller:
        controller.kill()
        controller.start()

What does not belong here: what they work on.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

#: Longer than either takes at its own end.
_ENDED_SECONDS = 60.0


@dataclass
class Daemon:
    """A process that runs until it is killed, with one log over all its lives."""

    command: str
    variables: Mapping[str, str]
    log_file: Path
    lives: int = 0
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self, **changed: str) -> None:
        """Begin, with some variables other than before."""
        assert not self.is_running
        self.variables = {**self.variables, **changed}
        kept = {name: value for name, value in os.environ.items() if not name.startswith("KLEVER_")}
        program = str(Path(sys.executable).with_name(self.command))
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [program], env={**kept, **self.variables}, stdout=log, stderr=log, start_new_session=True
            )
        self.lives += 1

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ensure(self) -> None:
        """Begin it again where it has ended by itself, as a Deployment does."""
        if not self.is_running:
            self.start()

    def kill(self) -> None:
        """End it and all that it has started at once, as a container that is killed."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(_ENDED_SECONDS)

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(_ENDED_SECONDS)

    @property
    def log(self) -> str:
        """All that it has said."""
        return self.log_file.read_text(errors="replace")


@contextmanager
def daemon(command: str, variables: Mapping[str, str], log_file: Path) -> Iterator[Daemon]:
    """Run a program of ours until the block ends."""
    running = Daemon(command, variables, log_file)
    running.start()
    try:
        yield running
    finally:
        if running.is_running:
            running.kill()
