"""The queue of jobs: once at a time, due when they are due, again after a failure."""

import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest

from klever.api.controller.workqueue import Key, WorkQueue

A, B = Key("models", "a"), Key("models", "b")


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Iterator[WorkQueue]:
    queue = WorkQueue(clock)
    yield queue
    queue.close()


def taken(queue: WorkQueue) -> list[Key]:
    """Return what is due now, in order; by a thread that is let go when nothing is."""
    found: list[Key] = []
    done = threading.Event()

    def work() -> None:
        while len(queue) and (key := queue.take()) is not None:
            found.append(key)
        done.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    done.wait(0.2)
    return found


def test_many_changes_of_an_object_are_one_look(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.add(A)
    queue.add(B)
    assert taken(queue) == [A, B]


def test_nobody_looks_at_a_job_twice_at_a_time_and_a_change_meanwhile_is_not_lost(queue: WorkQueue) -> None:
    queue.add(A)
    assert queue.take() == A
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert queue.take() == A
    queue.done(A)
    assert len(queue) == 0


def test_what_is_due_later_comes_later_and_a_change_brings_it_forward(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, 10)
    queue.add(B, 5)
    clock.now += 6
    assert queue.take() == B
    queue.done(B)
    queue.add(A)
    assert queue.take() == A
    queue.done(A)
    clock.now += 10
    # The time that it was to come at first is over, and it has come.
    assert len(queue) == 0


def test_failures_in_a_row_wait_ever_longer_but_not_for_ever(queue: WorkQueue, clock: Clock) -> None:
    waits = []
    queue.add(A)
    for _ in range(12):
        assert queue.take() == A
        waits.append(queue.failed(A))
        clock.now += waits[-1]
    assert waits[0] < 0.5
    assert all(later > 1.1 * earlier for earlier, later in pairwise(waits[:8]))
    assert 40 < waits[-1] < 80
    assert queue.failing(A).times == 12
    assert queue.failing(A).since == 100.0


def test_a_success_ends_the_row(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    queue.take()
    clock.now += queue.failed(A)
    queue.take()
    queue.done(A, again_seconds=30)
    assert queue.failing(A).times == 0
    assert len(queue) == 1
    clock.now += 30
    assert queue.take() == A


def test_closing_lets_everybody_go() -> None:
    queue = WorkQueue()
    threads = [threading.Thread(target=queue.take) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)
    assert queue.take() is None
