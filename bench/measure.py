"""Time a command as a whole process: wall seconds and peak memory, as the kernel accounts for them."""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

#: Starts the command from a process that is small itself: a child's peak counts its parent's pages until it execs.
_LAUNCHER = """
import json, os, sys, time
result, command = int(sys.argv[1]), sys.argv[2:]
os.set_inheritable(result, False)
started = time.perf_counter()
child = os.posix_spawnp(command[0], command, os.environ)
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - started
os.write(result, json.dumps([seconds, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]).encode())
"""


@dataclass(frozen=True)
class Figure:
    """Medians over several runs: wall time in seconds, peak resident memory in bytes."""

    seconds: float
    peak: int


def measure(
    command: Sequence[str],
    *,
    runs: int = 5,
    warm: bool = True,
    prepare: Callable[[], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Figure:
    """Run ``command`` ``runs`` times, with ``warm`` once more before to fill caches; ``prepare`` precedes each."""
    samples = [_once(command, prepare, env) for _ in range(runs + warm)][-runs:]
    return Figure(statistics.median(s for s, _ in samples), int(statistics.median(p for _, p in samples)))


def _once(
    command: Sequence[str], prepare: Callable[[], None] | None, env: Mapping[str, str] | None
) -> tuple[float, int]:
    if prepare:
        prepare()
    reader, writer = os.pipe()
    ended = subprocess.run(
        [sys.executable, "-S", "-E", "-c", _LAUNCHER, str(writer), *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        pass_fds=(writer,),
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        seconds, peak, code = json.loads(pipe.read())
    if code:
        raise SystemExit(f"{' '.join(command)} failed: {ended.stderr.decode(errors='replace')[-2000:]}")
    return seconds, peak
