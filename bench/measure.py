"""Time a command as a whole process: wall seconds and peak memory, as the kernel accounts for them."""

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """Medians over several runs: wall time in seconds, peak resident memory in bytes."""

    seconds: float
    peak: int


def measure(
    command: Sequence[str],
    *,
    runs: int = 5,
    prepare: Callable[[], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Figure:
    """Run ``command`` once to warm caches, then ``runs`` times; ``prepare`` precedes each."""
    samples = [_once(command, prepare, env) for _ in range(runs + 1)][1:]
    return Figure(statistics.median(s for s, _ in samples), int(statistics.median(p for _, p in samples)))


def _once(
    command: Sequence[str], prepare: Callable[[], None] | None, env: Mapping[str, str] | None
) -> tuple[float, int]:
    if prepare:
        prepare()
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
    )
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed: {complaint.decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_maxrss * 1024
