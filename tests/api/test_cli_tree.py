"""A run as a tree on terminals of any size, and as lines where there is none."""

import fcntl
import json
import os
import pty
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO, cast

import pytest

from klever.api.cli.tree import display, draw, has_symbols, human_duration
from klever.workflows.argo.status import parse_run
from klever.workflows.status import Kind, Node, Phase, Run

RECORDINGS = Path(__file__).resolve().parents[1] / "workflows" / "argo" / "recordings"
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW = BEGIN + timedelta(minutes=2, seconds=5)


def recorded(name: str) -> Run:
    return parse_run(json.loads((RECORDINGS / f"{name}.json").read_text("utf-8")))


def text(run: Run, width: int = 100, height: int | None = None) -> list[str]:
    return [line for line, _style in draw(run, width, height, now=NOW)]


def many(count: int, phase: Phase = Phase.SUCCEEDED, **rest: str) -> Run:
    """Return a run of a DAG with so many pods."""
    root = Node("w", "w", "w", Kind.DAG, Phase.RUNNING, started=BEGIN)
    nodes = {"w": root}
    for index in range(count):
        name = f"w.pod({index}:x)"
        nodes[name] = Node(
            name, name, f"pod({index}:x)", Kind.POD, phase, boundary="w", started=BEGIN, finished=NOW, **rest
        )
    return Run("w", phase=Phase.RUNNING, nodes=nodes, started=BEGIN)


def test_a_tree_shows_what_each_node_is_and_why_it_failed() -> None:
    lines = text(recorded("mixed"))
    stripped = [" ".join(line.split()) for line in lines]
    assert stripped[0].startswith("✖ mixed")
    assert any(line.startswith("├─✔ first") for line in stripped)
    assert any("✖ broken(1)" in line and "convert: the model is malformed" in line for line in stripped)
    assert any("○ skipped" in line and "when '1 == 2' evaluated false" in line for line in stripped)
    # Steps that run together are one below the other, tries below what is retried.
    position = {name: next(i for i, line in enumerate(lines) if f" {name} " in f"{line} ") for name in ("steps", "left", "right", "last", "flaky", "flaky(0)", "flaky(1)", "onExit")}  # fmt: skip
    assert position["steps"] < position["left"] < position["last"]
    assert position["flaky"] < position["flaky(0)"] < position["flaky(1)"]
    assert position["onExit"] == len(lines) - 1


def test_a_single_pod_is_one_line_with_its_reason() -> None:
    assert [" ".join(line.split()[:2]) for line in text(recorded("out-of-memory"))] == ["✖ out-of-memory"]
    assert "needed more memory" in text(recorded("out-of-memory"))[0]
    assert "cannot be pulled" in text(recorded("no-image"))[0]


@pytest.mark.parametrize("width", [1, 5, 20, 40, 80, 300])
@pytest.mark.parametrize("name", ["mixed", "no-command", "over-quota", "greeted"])
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    assert all(len(line) <= width for line in text(recorded(name), width))


def test_wide_letters_take_two_columns() -> None:
    run = many(1)
    run.nodes["w.pod(0:x)"].display_name = "模型" * 20
    from rich.cells import cell_len

    assert all(cell_len(line) <= 30 for line in text(run, 30))


@pytest.mark.parametrize("height", [3, 5, 10, 24, 60])
@pytest.mark.parametrize("phase", list(Phase))
def test_two_hundred_children_are_counted_where_they_do_not_fit(phase: Phase, height: int) -> None:
    lines = text(many(200, phase), 80, height)
    assert len(lines) <= height
    # What was omitted without a word is not shown at all; what failed is not counted away.
    if phase not in (Phase.FAILED, Phase.ERROR, Phase.OMITTED) and height > 5:
        assert any(f"198 more {phase}" in line for line in lines)


def test_failures_stay_where_there_is_no_room_for_all() -> None:
    run = many(200, Phase.RUNNING)
    run.nodes["w.pod(150:x)"].phase = Phase.FAILED
    assert any("pod(150:x)" in line for line in text(run, 80, 6))


def test_all_are_shown_where_nothing_bounds_the_height() -> None:
    assert len(text(many(200))) == 201


def test_items_are_in_the_order_of_their_numbers() -> None:
    names = [line.split()[1] for line in text(many(12))[1:]]
    assert names == [f"pod({index}:x)" for index in range(12)]


def test_control_characters_do_not_reach_the_terminal() -> None:
    run = many(1, Phase.FAILED, message="\x1b[2J\x07")
    run.name = run.nodes["w"].name = "w\x1b]0;x\x07"
    run.nodes["w.pod(0:x)"].display_name = "\x1b[31mred\r\n\u202e"
    assert all(line.isprintable() for line in text(run))


def test_a_terminal_without_the_letters_gets_plain_ones() -> None:
    run = recorded("mixed")
    lines = [line for line, _style in draw(run, 30, plain=True)]
    assert all(line.isascii() for line in lines)
    assert lines[0].startswith("x mixed")


@pytest.mark.parametrize(
    ("encoding", "has"), [("utf-8", True), ("ascii", False), ("latin-1", False), (None, False), ("no-such", False)]
)
def test_what_a_stream_can_say_is_known_by_its_encoding(encoding: str | None, has: bool) -> None:
    assert has_symbols(cast("TextIO", SimpleNamespace(encoding=encoding))) is has


@pytest.mark.parametrize(("progress", "shown"), [("45/100", "45%"), ("3/7", "3/7"), ("0/1", ""), ("", "")])
def test_progress_is_shown_while_it_runs(progress: str, shown: str) -> None:
    (_, line) = text(many(1, Phase.RUNNING, progress=progress))
    assert line.split()[2:] == ["2m", "5s", *([shown] if shown else [])]


def test_nodes_that_do_not_hang_together_are_shown_all_the_same() -> None:
    lost = Node("x", "x", "x", Kind.POD, Phase.RUNNING, boundary="nowhere", children=["gone"])
    assert any("● x" in line for line in text(Run("w", phase=Phase.RUNNING, nodes={"x": lost})))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59.9, "59s"), (125, "2m 5s"), (3840, "1h 4m"), (-5, "0s"), (400_000, "111h 6m")]
)
def test_durations_are_short(seconds: float, shown: str) -> None:
    assert human_duration(BEGIN, BEGIN + timedelta(seconds=seconds)) == shown
    assert human_duration(None, None) == ""


def test_without_a_terminal_each_change_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = many(1, Phase.PENDING)
    with display() as shown:
        shown.show(run)
        shown.show(run)
        run.nodes["w.pod(0:x)"].phase = Phase.RUNNING
        run.nodes["w.pod(0:x)"].message = "45%"
        shown.show(run)
        run.nodes["w.pod(0:x)"].message = "46%"
        shown.show(run)
        run.nodes["w.pod(0:x)"].phase = Phase.SUCCEEDED
        shown.show(run)
        shown.say("a\x1bb")
    *changes, said = capsys.readouterr().err.splitlines()
    lines = [line.split(maxsplit=1)[1] for line in changes]
    assert lines == [
        "● w Running", "◷ pod(0:x) Pending", "● pod(0:x) Running: 45%", "✔ pod(0:x) Succeeded in 2m 5s: 46%"
    ]  # fmt: skip
    assert said == "a\\x1bb"


def test_a_program_that_reads_json_is_not_disturbed(capsys: pytest.CaptureFixture[str]) -> None:
    with display(quiet=True) as shown:
        shown.show(many(1))
    assert capsys.readouterr().err == ""


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Make standard error a real terminal of 60 columns and 12 lines; give its other end."""
    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 60, 0, 0))
    monkeypatch.setenv("TERM", "xterm-256color")
    for variable in ("COLUMNS", "LINES", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    with os.fdopen(far, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", stream)
        yield near
        stream.flush()
    os.close(near)


def drained(near: int) -> str:
    """Return all that was written to a terminal: one read gives what the kernel keeps together, 4 kB."""
    os.set_blocking(near, False)
    chunks = []
    with suppress(BlockingIOError):
        while chunk := os.read(near, 1 << 16):
            chunks.append(chunk)
    return b"".join(chunks).decode()


def test_on_a_terminal_the_tree_is_drawn_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    run = many(200)
    with terminal(monkeypatch) as near:
        with display() as shown:
            shown.show(run)
            shown.say("a line beside it")
            run.nodes["w.pod(7:x)"].phase = Phase.FAILED
            run.phase = Phase.FAILED
            shown.show(run)
        drawn = drained(near)
    assert "a line beside it" in drawn
    assert "\x1b[" in drawn
    assert "more Succeeded" in drawn
    assert "✖ pod(7:x)" in drawn
