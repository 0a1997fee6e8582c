"""Show a run while it goes on: a live tree like that of ``argo watch`` on a terminal, a line a change elsewhere.

Both runners' runs look alike. What does not belong here: what is printed at the end.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TextIO

import click

from klever.api.cli.output import visible
from klever.workflows.argo.reasons import explain, waits_for
from klever.workflows.status import Kind, Node, Phase, Run

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

#: Phase to its symbol, the same for a terminal that has no such letters, and its style.
_LOOKS: Final = MappingProxyType(
    {
        Phase.PENDING: ("◷", ".", "yellow"),
        Phase.RUNNING: ("●", "*", "cyan"),
        Phase.SUCCEEDED: ("✔", "+", "green"),
        Phase.FAILED: ("✖", "x", "red"),
        Phase.ERROR: ("⚠", "!", "red"),
        Phase.SKIPPED: ("○", "-", "dim"),
        Phase.OMITTED: ("○", "-", "dim"),
    }
)
#: Phases whose nodes are the first to be counted instead of shown where there is no room.
_QUIET: Final = frozenset({Phase.SUCCEEDED, Phase.SKIPPED, Phase.OMITTED})
_NOT_RUN: Final = frozenset({Phase.SKIPPED, Phase.OMITTED})
#: How many of many alike siblings are still shown.
_SHOWN_ALIKE: Final = 2
#: Times a second that a tree on a terminal is drawn.
_REFRESHES: Final = 4
#: The item's number in a name, ``many(12:onnx)`` or ``many(12)``.
_INDEX: Final = re.compile(r"\((\d+)(?::.*)?\)$", re.DOTALL)
#: Columns below which a message is left away, and the part of the width that names may take.
_MESSAGE_COLUMNS: Final = 12
_NAME_SHARE: Final = 0.5


class Display(Protocol):
    """What shows a run."""

    def show(self, run: Run) -> None:
        """Show what the run has become."""

    def say(self, text: str) -> None:
        """Print a line beside it."""


@dataclass(frozen=True)
class Row:
    """A line of the tree."""

    #: The lines that lead to it.
    prefix: str
    phase: Phase
    name: str
    duration: str = ""
    progress: str = ""
    message: str = ""


@dataclass
class _Branch:
    node: Node
    inner: "list[_Branch]" = field(default_factory=list)


@contextmanager
def display(*, quiet: bool = False) -> Iterator[Display]:
    """Give what shows a run on standard error; ``quiet`` shows nothing but on a terminal."""
    if not sys.stderr.isatty():
        yield _Nothing() if quiet else _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    tree = _Tree(Console(stderr=True, highlight=False, markup=False), plain=not has_symbols(sys.stderr))
    # What is said in between goes through the same console, so that the tree stays below it.
    with Live(tree, console=tree.console, refresh_per_second=_REFRESHES):
        yield tree


class _Nothing:
    def show(self, run: Run) -> None:
        """Show nothing."""

    def say(self, text: str) -> None:
        """Print a line all the same: someone asked for it."""
        click.echo(visible(text), err=True)


class _Lines:
    """A line for each change of a node's phase, or of what it waits for."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Phase, str]] = {}

    def show(self, run: Run) -> None:
        """Print what has changed since the last time."""
        if not run.nodes and run.message:
            self._changed(run.name, run.phase, run.message, "")
        for node in sorted(run.nodes.values(), key=by_time):
            if node.kind in (Kind.STEP_GROUP, Kind.TASK_GROUP):
                continue
            self._changed(
                _full_name(run, node), node.phase, _message(node), human_duration(node.started, node.finished)
            )

    def say(self, text: str) -> None:
        """Print a line."""
        click.echo(visible(text), err=True)

    def _changed(self, name: str, phase: Phase, message: str, duration: str) -> None:
        # What a running node says of itself changes too often for a line each.
        state = (phase, "" if phase is Phase.RUNNING else message)
        if self._seen.get(name) == state:
            return
        self._seen[name] = state
        time = datetime.now().astimezone().strftime("%H:%M:%S")
        took = f" in {duration}" if duration and phase.is_final and phase not in _NOT_RUN else ""
        told = f": {message}" if message else ""
        click.echo(
            f"{time} {_symbol(phase, plain=not has_symbols(sys.stderr))} {visible(name)} {phase}{took}{visible(told)}",
            err=True,
        )


class _Tree:
    """A run as rich draws it, as large as the terminal lets it be."""

    def __init__(self, console: "Console", *, plain: bool) -> None:
        self.console = console
        self._plain = plain
        self._run: Run | None = None

    def show(self, run: Run) -> None:
        """Take the run as it is now; the next refresh, from another thread, draws it."""
        nodes = {key: copy(node) for key, node in run.nodes.items()}
        self._run = replace(run, nodes=nodes)

    def say(self, text: str) -> None:
        """Print a line above the tree."""
        self.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Yield the lines, none longer than the terminal is wide, no more than it is high."""
        from rich.text import Text

        if self._run is None:
            return
        height = (options.height or console.height) - 1
        for text, style in draw(self._run, options.max_width, max(height, 3), plain=self._plain):
            yield Text(text, style=style, no_wrap=True, overflow="ellipsis", end="\n")


def draw(
    run: Run, width: int, height: int | None = None, *, plain: bool = False, now: datetime | None = None
) -> list[tuple[str, str]]:
    """Return the lines of a run's tree with their styles, at most ``width`` columns wide.

    With ``height`` nodes that are alike are counted rather than shown until the lines are no more than that. ``plain``
    uses letters of ASCII for symbols and lines.
    """
    trees = _branches(run)
    # The entrypoint's node is the run itself; what hangs on it and the exit handler are below one line.
    root = next((tree for tree in trees if tree.node.name == run.name), None)
    below = [*(root.inner if root else ()), *(tree for tree in trees if tree is not root)]
    title = Row("", run.phase, run.name, human_duration(run.started, run.finished, now), message=_title(run, root))
    return _laid_out([title, *_rows(below, None if height is None else height - 1, now)], width, plain=plain)


def _title(run: Run, root: "_Branch | None") -> str:
    if run.phase.is_failure and run.message:
        return explain(run.message).cause
    if root is None:
        return run.message
    return "" if root.inner else _message(root.node)


def human_duration(started: datetime | None, finished: datetime | None, now: datetime | None = None) -> str:
    """Return how long something took or has been going on: ``7s``, ``2m 5s``, ``1h 4m``."""
    if started is None:
        return ""
    seconds = max(0, int(((finished or now or datetime.now(UTC)) - started).total_seconds()))
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {seconds}s" if minutes else f"{seconds}s"


def _rows(branches: Sequence[_Branch], most: int | None, now: datetime | None) -> list[Row]:
    rows = list(_below(branches, "", 0, now))
    for folded in range(1, len(_FOLDED)):
        if most is None or len(rows) <= most:
            return rows
        rows = list(_below(branches, "", folded, now))
    if most is None or len(rows) <= most:
        return rows
    # Failures first, then what runs; the rest cannot be shown.
    ranked = sorted(rows, key=lambda row: (not row.phase.is_failure, row.phase in _QUIET))[: most - 1]
    kept = [row for row in rows if any(row is each for each in ranked)]
    return [*kept, Row("", Phase.PENDING, f"and {len(rows) - len(kept)} more lines")]


#: How much is counted and not shown: 1, leaves alike that went well; 2, all that went well; 3, also what waits;
#: 4, also what runs.
_FOLDED: Final = (
    frozenset[Phase](),
    _QUIET,
    _QUIET,
    _QUIET | {Phase.PENDING},
    _QUIET | {Phase.PENDING, Phase.RUNNING},
)


def _below(branches: Sequence[_Branch], lead: str, folded: int, now: datetime | None) -> Iterator[Row]:
    shown, counted = _folded(branches, folded)
    for position, branch in enumerate(shown):
        last = position == len(shown) - 1 and not counted
        yield _row(branch.node, lead + ("└─" if last else "├─"), now)
        if folded >= 2 and branch.node.phase in _QUIET:
            continue
        yield from _below(branch.inner, lead + ("  " if last else "│ "), folded, now)
    for position, (phase, count) in enumerate(counted.items()):
        yield Row(lead + ("└─" if position == len(counted) - 1 else "├─"), phase, f"{count} more {phase}")


def _folded(branches: Sequence[_Branch], folded: int) -> tuple[list[_Branch], dict[Phase, int]]:
    """Return the siblings that are shown, and how many of each phase are not."""
    shown: list[_Branch] = []
    counted: Counter[Phase] = Counter()
    alike: Counter[Phase] = Counter()
    for branch in branches:
        phase = branch.node.phase
        if phase in _FOLDED[folded] and (folded > 1 or not branch.inner):
            alike[phase] += 1
            if alike[phase] > _SHOWN_ALIKE:
                counted[phase] += 1
                continue
        shown.append(branch)
    return shown, dict(counted)


def _branches(run: Run) -> list[_Branch]:
    """Return the run's trees: the entrypoint's, and that of the exit handler."""
    branches = {key: _Branch(node) for key, node in run.nodes.items()}
    groups = {inner.id: node.id for node in run.nodes.values() for inner in run.within(node)}
    roots = []
    for node in sorted(run.nodes.values(), key=by_time):
        parent = groups.get(node.id) or node.boundary
        # Steps that run together are listed one below the other, without a line for their being together.
        while parent in run.nodes and run.nodes[parent].kind is Kind.STEP_GROUP:
            parent = run.nodes[parent].boundary
        if node.kind is Kind.STEP_GROUP or (node.phase is Phase.OMITTED and not node.message):
            continue
        if parent in branches and parent != node.id:
            branches[parent].inner.append(branches[node.id])
        else:
            roots.append(branches[node.id])
    for branch in branches.values():
        if branch.node.kind is Kind.RETRY and len(branch.inner) == 1:
            # A single try is the node itself.
            (only,) = branch.inner
            branch.node, branch.inner = _merged(branch.node, only.node), only.inner
    return roots


def _merged(retry: Node, only: Node) -> Node:
    return replace(retry, message=only.message or retry.message, progress=only.progress or retry.progress)


def _row(node: Node, prefix: str, now: datetime | None) -> Row:
    ran = node.phase is not Phase.PENDING and node.phase not in _NOT_RUN
    duration = human_duration(node.started, node.finished, now) if ran else ""
    name = "onExit" if node.name.endswith(".onExit") else node.display_name
    return Row(prefix, node.phase, name, duration, _progress(node), _message(node))


def _message(node: Node) -> str:
    if node.phase.is_failure:
        return explain(node.message, node.exit_code).cause if node.message or node.exit_code else ""
    if node.phase is Phase.PENDING:
        reason = waits_for(node)
        return reason.cause if reason else ""
    return "" if node.phase is Phase.OMITTED else node.message


def _progress(node: Node) -> str:
    done, _, total = node.progress.partition("/")
    # Argo counts every pod as one of one where it says nothing itself.
    if node.phase is not Phase.RUNNING or total in ("", "0", "1"):
        return ""
    return f"{done}%" if total == "100" else node.progress


def _laid_out(rows: Iterable[Row], width: int, *, plain: bool) -> list[tuple[str, str]]:
    """Return rows with their columns aligned, cut to a width."""
    table = [
        (
            row,
            f"{_lines(row.prefix, plain=plain)}{_symbol(row.phase, plain=plain)} {visible(row.name)}",
            f"{row.duration} {row.progress}".strip(),
        )
        for row in rows
    ]
    names = min(max(_columns(name) for _, name, _ in table), max(int(width * _NAME_SHARE), 10))
    times = max(len(time) for _, _, time in table)
    lines = []
    for row, name, time in table:
        text = (
            _cut(name, names, plain=plain) + "  " + time.ljust(times)
            if time or row.message
            else _cut(name, width, plain=plain).rstrip()
        )
        room = width - _columns(text) - 2
        if row.message and room >= _MESSAGE_COLUMNS:
            text += "  " + _cut(visible(row.message), room, plain=plain).rstrip()
        lines.append((_cut(text.rstrip(), width, plain=plain).rstrip(), _LOOKS[row.phase][2]))
    return lines


def _columns(text: str) -> int:
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int, *, plain: bool) -> str:
    """Return text padded to a width in columns, or cut and marked as such."""
    if _columns(text) <= width:
        return text + " " * (width - _columns(text))
    from rich.cells import set_cell_size

    return set_cell_size(text, max(width - 1, 0)) + ("~" if plain else "…")


def by_time(node: Node) -> tuple[bool, float, int, str]:
    """Return what sorts nodes by their begin, and those that began together by their items."""
    found = _INDEX.search(node.name)
    index = int(found[1]) if found else -1
    return node.started is None, node.started.timestamp() if node.started else 0.0, index, node.name


def _full_name(run: Run, node: Node) -> str:
    """Return a display name that someone chose, or else the whole path of the node within its workflow."""
    path = node.name.removeprefix(f"{run.name}.")
    return path if path.endswith(node.display_name) else node.display_name


def _symbol(phase: Phase, *, plain: bool) -> str:
    return _LOOKS[phase][1 if plain else 0]


def _lines(prefix: str, *, plain: bool) -> str:
    return prefix if not plain else prefix.translate({ord("├"): "|", ord("└"): "`", ord("─"): "-", ord("│"): "|"})


def has_symbols(stream: TextIO) -> bool:
    """Return whether a stream's encoding has the letters that a tree is drawn with."""
    try:
        "✔├…".encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True
