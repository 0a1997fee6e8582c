"""The parts that the engine is made of, each by itself."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.workflows.local.depends import Graph, Outcome
from klever.workflows.local.durations import describe, parse_duration, parse_go_duration
from klever.workflows.local.errors import TemplateError
from klever.workflows.local.gotext import dump_json, format_value
from klever.workflows.local.items import ItemsError, expand
from klever.workflows.local.locks import FileLocks
from klever.workflows.local.nodes import LocalNode, Outputs, hash_name, is_progress
from klever.workflows.local.operation import task_name
from klever.workflows.local.retries import Next, decide
from klever.workflows.local.staging import Staging
from klever.workflows.status import Kind, Phase

# -- depends


def test_dependencies_are_short_for_success_or_being_skipped() -> None:
    graph = Graph({"a": {}, "b": {"continueOn": {"failed": True}}, "c": {"dependencies": ["a", "b"]}})
    assert graph.logic("c") == (
        "(a.Succeeded || a.Skipped || a.Daemoned) && (b.Succeeded || b.Skipped || b.Daemoned || b.Failed)"
    )


@pytest.mark.parametrize(
    ("depends", "runs"),
    [
        ("my-a", True),
        ("my-a.Failed", False),
        ("my-a.Failed || b.Failed", True),
        ("my-a && !b", True),
        ("(my-a.Succeeded && b.Failed) && !c.Omitted", False),
        ("c.AnySucceeded", True),
        ("c.AllFailed", False),
    ],
)
def test_depends_asks_for_results(depends: str, runs: bool) -> None:
    ends = {
        "my-a": Outcome(Phase.SUCCEEDED),
        "b": Outcome(Phase.FAILED),
        "c": Outcome(Phase.OMITTED, (Phase.FAILED, Phase.SUCCEEDED)),
    }
    graph = Graph({**{name: {} for name in ends}, "x": {"depends": depends}})
    assert graph.should_run("x", lambda name: ends[name]) is runs


def test_ancestors_come_in_the_order_of_their_ends() -> None:
    ends = {
        "a": datetime(2024, 1, 3, tzinfo=UTC),
        "b": datetime(2024, 1, 1, tzinfo=UTC),
        "c": datetime(2024, 1, 2, tzinfo=UTC),
    }
    graph = Graph({"a": {}, "b": {}, "c": {"depends": "a && b"}, "d": {"depends": "c"}})
    assert graph.ancestry("d", ends.get) == ["b", "c", "a"]
    assert graph.leaves == ["d"]


# -- loops


def test_items_are_named_and_put_into_the_task() -> None:
    tasks = expand({"name": "t", "withItems": [1, "a (b)", {"k": "v", "j": 2}, [1, "x"], True], "x": "{{item}}"}, {})
    assert [(task["name"], task["x"]) for task in tasks] == [
        ("t(0:1)", "1"),
        ("t(1:a b)", "a (b)"),
        ("t(2:j:2,k:v)", '{"j":2,"k":"v"}'),
        ("t(3:[1 x])", '[1,"x"]'),
        ("t(4:true)", "true"),
    ]


@pytest.mark.parametrize(
    ("sequence", "items"),
    [
        ({"count": 3}, ["0", "1", "2"]),
        ({"count": "0"}, []),
        ({"start": "2", "end": "4"}, ["2", "3", "4"]),
        ({"start": 3, "end": 1}, ["3", "2", "1"]),
        ({"start": 9, "count": 2, "format": "x%02d"}, ["x09", "x10"]),
    ],
)
def test_sequences(sequence: dict[str, object], items: list[str]) -> None:
    assert [task["x"] for task in expand({"name": "t", "withSequence": sequence, "x": "{{item}}"}, {})] == items


@pytest.mark.parametrize(
    "loop", [{"withSequence": {"count": 10**9}}, {"withSequence": {}}, {"withParam": "{}"}, {"withParam": "x"}]
)
def test_loops_that_cannot_be_made(loop: dict[str, object]) -> None:
    with pytest.raises(ItemsError):
        expand({"name": "t", **loop}, {})


# -- retries


def tried(*phases: Phase, code: int = 1, ago: float = 0.0) -> list[LocalNode]:
    now = datetime.now(UTC) - timedelta(seconds=ago)
    return [
        LocalNode(
            id=str(number),
            name=str(number),
            display_name="",
            kind=Kind.POD,
            phase=phase,
            message="why",
            started=now,
            finished=now,
            given=Outputs(exit_code=code),
            retried=True,
        )
        for number, phase in enumerate(phases)
    ]


FAILED, ERROR = Phase.FAILED, Phase.ERROR


@pytest.mark.parametrize(
    ("strategy", "tries", "following", "message"),
    [
        ({"limit": 1}, partial(tried, FAILED), Next.TRY, None),
        ({"limit": "1"}, partial(tried, FAILED, FAILED), Next.ENDED, "No more retries left"),
        ({}, partial(tried, FAILED, FAILED, FAILED), Next.TRY, None),
        ({"limit": 1}, partial(tried, ERROR), Next.ENDED, "why"),
        ({"limit": 1, "retryPolicy": "Always"}, partial(tried, ERROR), Next.TRY, None),
        ({"limit": 1, "retryPolicy": "OnError"}, partial(tried, FAILED), Next.ENDED, "why"),
        ({"limit": 1, "retryPolicy": "OnTransientError"}, partial(tried, FAILED), Next.ENDED, "why"),
        ({"limit": 1, "expression": "asInt(lastRetry.exitCode) == 75"}, partial(tried, FAILED, code=75), Next.TRY, None),
        (
            {"limit": 1, "expression": "asInt(lastRetry.exitCode) == 75"},
            partial(tried, FAILED),
            Next.ENDED,
            "retryStrategy.expression evaluated to false",
        ),
        ({"limit": 2, "backoff": {"duration": "1m", "factor": 2}}, partial(tried, FAILED, FAILED), Next.WAIT, "Backoff for 2 minutes 0 seconds"),
        ({"limit": 2, "backoff": {"duration": "1"}}, partial(tried, FAILED, ago=2), Next.TRY, ""),
        ({"limit": 9, "backoff": {"duration": "9", "cap": "5"}}, partial(tried, FAILED), Next.WAIT, "Backoff for 5 seconds"),
        (
            {"limit": 2, "backoff": {"duration": "1m", "maxDuration": "10s"}},
            partial(tried, FAILED),
            Next.ENDED,
            "Backoff would exceed max duration limit",
        ),
        (
            {"limit": 2, "backoff": {"duration": "1", "maxDuration": "10s"}},
            partial(tried, FAILED, ago=20),
            Next.ENDED,
            "Max duration limit exceeded",
        ),
    ],
)  # fmt: skip
def test_what_follows_a_failed_try(
    strategy: dict[str, object], tries: Callable[[], list[LocalNode]], following: Next, message: str | None
) -> None:
    verdict = decide(strategy, tries(), now=datetime.now(UTC), stopped="")
    assert (verdict.next, verdict.message) == (following, message)


def test_after_a_stop_nothing_is_tried_again() -> None:
    verdict = decide({"limit": 5}, tried(FAILED), now=datetime.now(UTC), stopped="Stopped with strategy 'Stop'")
    assert (verdict.next, verdict.phase, verdict.message) == (Next.ENDED, FAILED, "Stopped with strategy 'Stop'")


@pytest.mark.parametrize(
    "strategy", [{"limit": "x"}, {"backoff": {}, "retryPolicy": "Sometimes"}, {"backoff": {"factor": 2}}]
)
def test_strategies_without_sense(strategy: dict[str, object]) -> None:
    with pytest.raises(TemplateError):
        decide(strategy, tried(FAILED), now=datetime.now(UTC), stopped="")


# -- names, texts, times


def test_ids_are_made_as_argo_makes_them() -> None:
    # FNV-1a of 32 bits, from its authors' test vectors.
    assert (hash_name(""), hash_name("a"), hash_name("foobar")) == (0x811C9DC5, 0xE40C292C, 0xBF9CF968)


@pytest.mark.parametrize(
    ("node", "task"),
    [
        ("wf.fan(0:1)(0)", "fan"),
        ("wf.a", "a"),
        ("wf[0].b", "b"),
        ("wf[0].c(0:x.y)[1].d(2)", "d"),
        ("wf", "wf"),
        ("wf.a(0:1)[0]", "a"),
    ],
)
def test_a_node_tells_its_task(node: str, task: str) -> None:
    assert task_name(node) == task


@pytest.mark.parametrize(
    ("text", "good"), [("1/2", True), ("2/1", False), ("0/0", False), ("a/b", False), ("", False), ("1/2/3", False)]
)
def test_progress(text: str, good: bool) -> None:
    assert is_progress(text) is good


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("0", 0), ("-5s", -5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "5", "1m x", "5d", "s", "-"])
def test_durations_that_are_none(text: str) -> None:
    with pytest.raises(TemplateError):
        parse_go_duration(text)


def test_durations_are_told_in_two_units() -> None:
    assert [describe(seconds) for seconds in (0, 1, 59, 60, 125, 3600, 90000)] == [
        "0 seconds", "1 second", "59 seconds", "1 minute 0 seconds", "2 minutes 5 seconds", "1 hour 0 minutes",
        "1 day 1 hours",
    ]  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_written_so_that_they_can_be_read_again(number: float) -> None:
    assert float(format_value(number)) == number
    assert float(dump_json(number)) == number


# -- staging


def staging(tmp_path: Path, template: dict[str, object]) -> Staging:
    return Staging.make(tmp_path / "staging", template, [{"name": "v", "emptyDir": {}}])


def test_paths_are_replaced_at_their_boundaries_only(tmp_path: Path) -> None:
    made = staging(tmp_path, {"container": {"volumeMounts": [{"name": "v", "mountPath": "/work"}]}})
    root = f"{tmp_path}/staging/root"
    assert made.localise("/work /work/a 'x=/work' a:/work:b --o=/work/deep") == (
        f"{root}/work {root}/work/a 'x={root}/work' a:{root}/work:b --o={root}/work/deep"
    )
    for other in ("/workshop", "/my/work", "http://work", "/work-2", "x/work", "../work", "/work.old"):
        assert made.localise(other) == other


@pytest.mark.parametrize("path", ["relative", "/a/../b", "/", "", "/a\0b"])
def test_paths_that_leave_the_staging_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(TemplateError):
        staging(tmp_path, {"outputs": {"parameters": [{"name": "o", "valueFrom": {"path": path or "x"}}]}})


# -- locks


def test_a_mutex_has_one_holder_and_a_queue(tmp_path: Path) -> None:
    async def work() -> None:
        freed = asyncio.Event()
        locks = FileLocks(tmp_path, freed.set)
        assert locks.try_acquire("a", ["m"]) is None
        assert locks.try_acquire("a", ["m"]) is None
        assert locks.try_acquire("b", ["m"]) == "m"
        assert locks.try_acquire("c", ["m"]) == "m"
        locks.release("a")
        assert freed.is_set()
        assert locks.try_acquire("c", ["m"]) == "m"
        assert locks.try_acquire("b", ["m"]) is None
        locks.close()

    asyncio.run(work())


def test_all_mutexes_are_taken_or_none(tmp_path: Path) -> None:
    async def work() -> None:
        locks = FileLocks(tmp_path, lambda: None)
        assert locks.try_acquire("a", ["m"]) is None
        assert locks.try_acquire("b", ["m", "n"]) == "m"
        assert FileLocks(tmp_path, lambda: None).try_acquire("other", ["n"]) is None
        locks.close()

    asyncio.run(work())


def test_another_run_waits_without_asking_again_and_again(tmp_path: Path) -> None:
    async def work() -> None:
        freed = asyncio.Event()
        one, two = FileLocks(tmp_path, lambda: None), FileLocks(tmp_path, freed.set)
        assert one.try_acquire("a", ["m"]) is None
        assert two.try_acquire("b", ["m"]) == "m"
        assert two.is_waiting
        one.release("a")
        await asyncio.wait_for(freed.wait(), 5)
        assert two.try_acquire("b", ["m"]) is None
        one.close()
        two.close()

    asyncio.run(work())
