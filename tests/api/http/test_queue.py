"""The queue between the answer and the work: bounded, patient with what passes, and gone in time."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from klever.api.harbor.events import Push
from klever.api.http.queue import Backoff, Known, Offered, PushQueue, QueueFullError
from klever.steps.errors import NotFoundError, RegistryUnavailableError
from klever.steps.oci.descriptor import parse_digest

from .conftest import Handled, digest, until

QUICK = Backoff(tries=4, first=0.01, longest=0.02)
SLOW = Backoff(tries=4, first=60, longest=60)

Begin = Callable[..., PushQueue]


def push(number: int = 0, tag: str | None = "v1") -> Push:
    return Push("release", "release/mnist", parse_digest(digest(number)), tag)


@pytest.fixture
def handled() -> Handled:
    return Handled()


@pytest.fixture
def begin(handled: Handled) -> Iterator[Begin]:
    """Start a queue."""
    queues: list[PushQueue] = []

    def start(size: int = 100, recent_seconds: float = 60, **options: Any) -> PushQueue:
        known = Known(size, recent_seconds)
        queue = PushQueue(handled, lambda *_: None, known, **{"threads": 2, "backoff": QUICK} | options)
        queues.append(queue)
        queue.start()
        return queue

    yield start
    handled.may_go_on.set()
    for queue in queues:
        queue.close(0)


def test_a_temporary_failure_is_tried_again_until_it_passes(begin: Begin, handled: Handled) -> None:
    handled.failures = [RegistryUnavailableError("away")] * 3
    queue = begin()
    queue.offer([push()])
    until(lambda: not len(queue))
    assert len(handled.pushes) == 4
    assert not handled.failures


def test_a_failure_that_does_not_pass_is_given_up_and_may_be_sent_again(begin: Begin, handled: Handled) -> None:
    handled.failures = [RegistryUnavailableError("away")] * 5
    queue = begin()
    queue.offer([push()])
    until(lambda: not len(queue))
    assert len(handled.pushes) == 4
    assert queue.offer([push()]) == Offered(1, 0)
    until(lambda: not len(queue))
    assert len(handled.pushes) == 6


@pytest.mark.parametrize("failure", [NotFoundError("gone"), RuntimeError("a fault"), MemoryError()])
def test_what_no_waiting_changes_is_tried_once_and_ends_no_thread(
    begin: Begin, handled: Handled, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    handled.failures = [failure]
    queue = begin(threads=1)
    queue.offer([push(1), push(2)])
    until(lambda: not len(queue))
    assert len(handled.pushes) == 2
    assert queue.is_working
    assert [record.levelname for record in caplog.records if record.levelname == "ERROR"] == ["ERROR"]


def test_a_push_that_waits_for_its_next_try_does_not_hold_up_others(begin: Begin, handled: Handled) -> None:
    handled.failures = [RegistryUnavailableError("away")]
    queue = begin(threads=1, backoff=SLOW)
    queue.offer([push(1)])
    until(lambda: handled.pushes and not handled.failures)
    queue.offer([push(2)])
    until(lambda: len(handled.pushes) == 2)
    until(lambda: len(queue) == 1)
    # It still counts as known.
    assert queue.offer([push(1)]) == Offered(0, 1)


def test_what_was_done_a_moment_ago_is_known_and_later_it_is_new(begin: Begin, handled: Handled) -> None:
    queue = begin(recent_seconds=0.2)
    queue.offer([push()])
    until(lambda: not len(queue))
    assert queue.offer([push(), push(1)]) == Offered(1, 1)
    time.sleep(0.25)
    assert queue.offer([push()]) == Offered(1, 0)


def test_the_same_push_twice_in_one_event_is_one(begin: Begin, handled: Handled) -> None:
    assert begin().offer([push(), push(), push(tag=None)]) == Offered(2, 1)


def test_there_is_no_room_for_more_than_its_size_whatever_they_wait_for(begin: Begin, handled: Handled) -> None:
    handled.failures = [RegistryUnavailableError("away")] * 2
    queue = begin(size=3, backoff=SLOW)
    queue.offer([push(1), push(2)])
    until(lambda: not handled.failures)
    with pytest.raises(QueueFullError, match="2 pushes are waiting"):
        queue.offer([push(3), push(4)])
    assert len(queue) == 2
    assert queue.offer([push(3)]) == Offered(1, 0)


def test_its_end_waits_for_what_is_accepted(begin: Begin, handled: Handled) -> None:
    handled.may_go_on.clear()
    queue = begin(threads=1)
    queue.offer([push(number) for number in range(5)])
    threading.Timer(0.2, handled.may_go_on.set).start()
    assert queue.close(20) == 0
    assert len(handled.pushes) == 5
    assert not queue.is_working


def test_its_end_tries_at_once_what_would_be_tried_later(begin: Begin, handled: Handled) -> None:
    handled.failures = [RegistryUnavailableError("away")]
    queue = begin(backoff=SLOW)
    queue.offer([push()])
    until(lambda: not handled.failures)
    assert queue.close(20) == 0
    assert len(handled.pushes) == 2


def test_its_end_does_not_wait_for_ever_and_says_what_is_lost(begin: Begin, handled: Handled) -> None:
    handled.may_go_on.clear()
    queue = begin(threads=1)
    queue.offer([push(1), push(2)])
    started = time.monotonic()
    assert queue.close(0.1) == 2
    assert time.monotonic() - started < 5


def test_nothing_new_is_taken_after_its_end_has_begun(begin: Begin, handled: Handled) -> None:
    queue = begin()
    queue.close(1)
    with pytest.raises(QueueFullError, match="about to end"):
        queue.offer([push()])
    assert queue.offer([]) == Offered(0, 0)


def test_many_threads_may_offer_and_each_push_is_done_once(begin: Begin, handled: Handled) -> None:
    queue = begin(size=10_000, threads=4)
    accepted: list[int] = []

    def offer() -> None:
        accepted.extend(queue.offer([push(number)]).accepted for number in range(500))

    threads = [threading.Thread(target=offer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: not len(queue))
    assert sum(accepted) == 500
    assert len(handled.pushes) == len({each.digest for each in handled.pushes}) == 500


def test_waits_grow_to_the_longest() -> None:
    backoff = Backoff(first=1, longest=8)
    waits = [backoff.wait(tried) for tried in range(1, 8)]
    for wait, expected in zip(waits, (1, 2, 4, 8, 8, 8, 8), strict=True):
        assert 0.75 * expected <= wait <= 1.25 * expected
