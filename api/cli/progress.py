"""A progress bar for long work: on a terminal only, and only where it is long enough to be worth one."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from klever.steps.oci.store import Progress, no_progress

#: Work below this size is over before a bar could be read, in bytes.
_WORTH_A_BAR = 16 << 20


@contextmanager
def progress_bar(label: str, total: int | None) -> Iterator[Progress]:
    """Give a callback that advances a bar of ``total`` bytes on standard error."""
    if not sys.stderr.isatty() or (total is not None and total < _WORTH_A_BAR):
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total)
        yield lambda count: bars.advance(task, count)


@contextmanager
def progress_lines(label: str, total: int | None) -> Iterator[Progress]:
    """Give a callback that tells of each tenth of ``total`` bytes in a line of its own, as a pod's log wants it."""
    if sys.stderr.isatty() or not total:
        with progress_bar(label, total) as bar:
            yield bar
        return
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if before * 10 // total != done * 10 // total:
            sys.stderr.write(f"{label}: {done * 100 // total}% of {total / 1e6:.0f} MB\n")
            sys.stderr.flush()

    yield advance


@contextmanager
def fraction_bar() -> Iterator[Callable[[float, str], None]]:
    """Give a callback for work whose size is no number of bytes: the part that is done, and what is being done."""
    if not sys.stderr.isatty():
        yield lambda _done, _doing: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=1.0)
        yield lambda done, doing: bars.update(task, completed=done, description=doing[:40])
