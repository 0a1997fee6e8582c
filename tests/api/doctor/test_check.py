"""Checks are made at the same time, each for a limited time, and none is in the way of another."""

import threading
from collections.abc import Iterator

from klever.api.doctor.check import Check, State, failed, ok, run
from klever.steps.errors import PermanentError
from klever.workflows.argo.errors import ForbiddenError


def test_findings_come_in_the_order_of_the_probes() -> None:
    both = threading.Barrier(2, timeout=20)

    def slow() -> Iterator[Check]:
        # Neither gets on without the other: they run at the same time.
        both.wait()
        yield ok("slow", "one")
        yield ok("slow", "two")

    def quick() -> Iterator[Check]:
        both.wait()
        yield ok("quick", "three")

    assert [check.detail for check in run({"slow": slow, "quick": quick})] == ["one", "two", "three"]


def test_one_that_never_answers_is_a_failure_and_the_others_are_made() -> None:
    forever = threading.Event()

    def stuck() -> Iterator[Check]:
        forever.wait()
        yield ok("stuck", "never")

    try:
        found = run({"stuck": stuck, "well": lambda: [ok("well", "fine")]}, seconds=0.5)
    finally:
        forever.set()
    assert [(check.name, check.state) for check in found] == [("stuck", State.FAILED), ("well", State.OK)]
    assert "no answer within 0.5 s" in found[0].detail
    assert found[0].next_step


def test_what_a_probe_raises_is_its_finding() -> None:
    def refuse() -> Iterator[Check]:
        raise ForbiddenError("ada may not get leases", next_step="ask for it")

    def lack() -> Iterator[Check]:
        raise PermanentError("there is no such thing", next_step="make one")

    def wrong() -> Iterator[Check]:
        yield ok("wrong", "so far")
        raise ZeroDivisionError("by\x1b[31m zero")

    refused, lacking, mistaken = run({"a": refuse, "b": lack, "c": wrong})
    assert (refused.state, refused.detail, refused.next_step) == (State.SKIPPED, "ada may not get leases", "ask for it")
    assert lacking == failed("b", "there is no such thing", "make one")
    assert (mistaken.state, mistaken.detail) == (State.FAILED, "ZeroDivisionError: by?[31m zero")
    assert "report this" in mistaken.next_step
