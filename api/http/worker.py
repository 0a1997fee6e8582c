"""The process that handles pushes, beside the one that answers requests: ``python -m klever.api.http.worker``.

Of its own, so that no answer waits for the interpreter while pushes are worked on. It reads lines from its standard
input and writes what became of each push to its standard output; it ends when its input does. What does not belong
here: who started it (`klever.api.http.handoff`).
"""

import os
import signal
import sys
import threading
from typing import BinaryIO, Final

from klever.api.harbor.events import Push
from klever.api.http import lines
from klever.api.http.pushes import Intake
from klever.api.http.queue import Known, PushQueue, Result, key_of
from klever.api.http.reach import watch
from klever.api.logs import configure

#: Requests are to be answered before pushes are worked on.
_NICENESS: Final = 5


class Teller:
    """Writes what is to be told, one line at a time, for as long as somebody reads."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._lock = threading.Lock()

    def done(self, push: Push, result: Result, _seconds: float) -> None:
        """Tell what became of a push."""
        self._write(lines.Done(key_of(push), result))

    def cluster(self, problem: str) -> None:
        """Tell why the API server does not answer; nothing where it does."""
        self._write(lines.Cluster(problem))

    def _write(self, told: lines.Done | lines.Cluster) -> None:
        with self._lock:
            try:
                self._output.write(lines.write_told(told))
                self._output.flush()
            except (OSError, ValueError):
                # Whoever read was killed; what is accepted is done all the same.
                return


def main() -> None:
    """Work until the input ends, and for some seconds more."""
    # They come to a whole group of processes; this one is ended by whoever started it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICENESS)
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # Nothing else may write between the lines.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    source = sys.stdin.buffer
    settings = lines.read_settings(source.readline())
    configure(settings.log_level)
    teller, intake = Teller(output), Intake(settings)
    # Who hands over knows what was done a moment ago.
    known = Known(settings.queue_size, recent_seconds=0)
    queue = PushQueue(intake.handle, teller.done, known, threads=settings.queue_threads)
    queue.start()
    threading.Thread(target=watch, args=(intake.reach_cluster, teller.cluster), daemon=True).start()
    for line in source:
        queue.offer([lines.read_push(line)])
    queue.close(settings.drain_seconds)
    # Threads that wait for an answer are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
