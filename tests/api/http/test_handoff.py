"""The process that handles pushes, as the one that answers sees it: it may die at any time, and no push is lost."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest

from klever.api.harbor.events import Push
from klever.api.http import lines
from klever.api.http.handoff import Handoff
from klever.api.http.queue import Offered, QueueFullError, Result
from klever.api.http.settings import Settings
from klever.steps.oci.descriptor import parse_digest

from .conftest import PATIENCE_SECONDS, digest

#: Plays the worker: tells of each push that it is done, unless the name of its tag says what else to do.
PLAYER = """
import json, os, sys, time
settings = json.loads(sys.stdin.readline())
print(json.dumps({"problem": "asked by " + settings["registry_host"]}), flush=True)
for line in sys.stdin:
    push = json.loads(line)
    if push["tag"] == "deadly" or push["tag"] == "once" and not os.path.exists(sys.argv[1]):
        open(sys.argv[1], "w").close()
        os._exit(1)
    if push["tag"] != "slow":
        key = [push["repository"], push["digest"], push["tag"]]
        print(json.dumps({"key": key, "result": "dropped" if push["tag"] == "bad" else "started"}), flush=True)
if settings["drain_seconds"] > 5:
    time.sleep(60)
"""


def push(number: int, tag: str = "v1") -> Push:
    return Push("release", "release/mnist", parse_digest(digest(number)), tag, "admin")


class Place:
    """A handoff with a player behind it, and what was told."""

    def __init__(self, directory: Path, *, command: Sequence[str] = (), grace: float = 5, **changed: Any) -> None:
        self.done: list[tuple[str | None, Result]] = []
        self.cluster: list[str] = []
        settings = Settings(registry_host="harbor.example", drain_seconds=1, queue_size=10)
        settings = Settings(**{**vars(settings), **changed})
        played = [sys.executable, "-c", PLAYER, str(directory / "died")]
        self.handoff = Handoff(
            settings, self._note, self.cluster.append, command=command or played, pause=0.01, grace=grace
        )

    def _note(self, told: Push, result: Result, seconds: float) -> None:
        assert seconds >= 0
        self.done.append((told.tag, result))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)


def play(work: Callable[[Place], Coroutine[Any, Any, None]], place: Place) -> int:
    """Run a test's steps between the beginning and the end; return how many pushes were lost."""

    async def run() -> int:
        await place.handoff.open()
        await work(place)
        return await place.handoff.shut(1)

    return asyncio.run(run())


def test_pushes_go_over_and_results_come_back(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        # Also what is offered before there is a process.
        assert place.handoff.offer([push(1), push(2, "bad")]) == Offered(2, 0)
        await place.until(lambda: len(place.done) == 2)
        assert place.done == [("v1", Result.STARTED), ("bad", Result.DROPPED)]
        # What was done a moment ago is known, what was dropped is not.
        assert place.handoff.offer([push(1), push(2, "bad")]) == Offered(1, 1)
        assert place.cluster == ["asked by harbor.example"]
        assert place.handoff.is_working

    assert play(work, Place(tmp_path)) == 0


def test_what_a_process_dies_with_the_next_one_does(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(place: Place) -> None:
        place.handoff.offer([push(1), push(2, "once"), push(3), push(4)])
        await place.until(lambda: len(place.done) == 4)

    place = Place(tmp_path)
    assert play(work, place) == 0
    assert {tag for tag, _ in place.done} == {"v1", "once"}
    assert "has ended with 1; another begins" in caplog.text


def test_a_push_that_processes_die_of_is_given_up_and_others_go_on(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        place.handoff.offer([push(1, "deadly")])
        await place.until(lambda: place.done)
        assert place.done == [("deadly", Result.DROPPED)]
        place.handoff.offer([push(2)])
        await place.until(lambda: len(place.done) == 2)
        assert place.handoff.is_working

    assert play(work, Place(tmp_path)) == 0


@pytest.mark.parametrize("command", [["false"], ["/there/is/no/such/program"]])
def test_processes_that_do_nothing_but_die_are_no_work(tmp_path: Path, command: list[str]) -> None:
    async def work(place: Place) -> None:
        await place.until(lambda: not place.handoff.is_working)

    play(work, Place(tmp_path, command=command))


def test_there_is_no_room_for_more_than_the_size(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        place.handoff.offer([push(number, "slow") for number in range(9)])
        with pytest.raises(QueueFullError):
            place.handoff.offer([push(9), push(10)])
        assert len(place.handoff) == 9

    # They were accepted, and no end was told of.
    assert play(work, Place(tmp_path)) == 9


def test_a_process_that_does_not_end_is_killed(tmp_path: Path) -> None:
    async def work(place: Place) -> None:
        place.handoff.offer([push(1)])
        await place.until(lambda: place.done)

    assert play(work, Place(tmp_path, grace=0.1, drain_seconds=60)) == 0


def test_lines_are_read_as_they_were_written() -> None:
    settings = Settings(secret_file=Path("/etc/secret"), registry_host="harbor.example:8443", plain_http=True)
    assert lines.read_settings(lines.write_settings(settings)) == settings
    for tag in ("v1", None):
        one = Push("p", "p/ä\n", parse_digest(digest(1)), tag, 'robot$"x"')
        line = lines.write_push(one)
        assert line.count(b"\n") == 1
        assert lines.read_push(line) == one
        done = lines.Done((one.repository, one.digest, one.tag), Result.STARTED)
        assert lines.read_told(lines.write_told(done)) == done
    assert lines.read_told(lines.write_told(lines.Cluster("a\nb"))) == lines.Cluster("a\nb")
