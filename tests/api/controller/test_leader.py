"""One of several replicas leads: by a Lease, whoever is killed, slow or gone."""

import threading
from dataclasses import dataclass, field

import pytest
from memory_cluster import MemoryCluster

from klever.api.controller.leader import DURATION_SECONDS, LEASE, LEASES, Leadership
from klever.workflows.argo import errors

PATH = LEASES.path("klever", LEASE)


@dataclass
class Replicas:
    """A cluster, a clock, and replicas that go by it."""

    cluster: MemoryCluster = field(default_factory=lambda: MemoryCluster("klever"))
    now: float = 100.0

    def replica(self, identity: str) -> Leadership:
        return Leadership(self.cluster, "klever", identity, clock=lambda: self.now)


@pytest.fixture
def replicas() -> Replicas:
    return Replicas()


def test_the_first_leads_and_the_second_waits(replicas: Replicas) -> None:
    one, other = replicas.replica("one"), replicas.replica("other")
    assert one.try_to_lead()
    assert not other.try_to_lead()
    assert (one.holds, other.holds) == (True, False)


def test_whoever_renews_goes_on_leading(replicas: Replicas) -> None:
    one, other = replicas.replica("one"), replicas.replica("other")
    one.try_to_lead()
    for _ in range(20):
        replicas.now += 2
        assert one.try_to_lead()
        assert not other.try_to_lead()


def test_a_leader_that_is_silent_is_followed_by_another_and_knows_it_before(replicas: Replicas) -> None:
    one, other = replicas.replica("one"), replicas.replica("other")
    one.try_to_lead()
    assert not other.try_to_lead()
    replicas.now += DURATION_SECONDS - 1
    assert not one.holds
    assert not other.try_to_lead()
    replicas.now += 2
    assert other.try_to_lead()
    assert not one.try_to_lead()
    assert not one.try_to_lead()
    assert replicas.cluster.objects[PATH]["spec"]["leaseTransitions"] == 1


def test_who_has_just_come_waits_for_the_whole_time_whatever_the_lease_says(replicas: Replicas) -> None:
    # The clock of whoever wrote it may be hours behind.
    replicas.replica("one").try_to_lead()
    replicas.cluster.objects[PATH]["spec"]["renewTime"] = "2001-01-01T00:00:00.000000Z"
    other = replicas.replica("other")
    assert not other.try_to_lead()
    replicas.now += DURATION_SECONDS + 1
    assert other.try_to_lead()


def test_a_leader_that_ends_is_followed_at_once(replicas: Replicas) -> None:
    one, other = replicas.replica("one"), replicas.replica("other")
    one.try_to_lead()
    assert not other.try_to_lead()
    one.release()
    assert not one.holds
    assert other.try_to_lead()


def test_of_two_that_take_over_at_the_same_moment_one_leads(replicas: Replicas) -> None:
    one, second, third = (replicas.replica(name) for name in ("one", "second", "third"))
    one.try_to_lead()
    second.try_to_lead()
    third.try_to_lead()
    replicas.now += DURATION_SECONDS + 1

    def meanwhile(method: str, _path: str) -> None:
        if method == "PUT":
            replicas.cluster.fault = lambda *_: None
            assert third.try_to_lead()

    replicas.cluster.fault = meanwhile
    assert not second.try_to_lead()
    assert (second.holds, third.holds) == (False, True)


def test_a_lease_that_somebody_deletes_is_made_anew(replicas: Replicas) -> None:
    one = replicas.replica("one")
    one.try_to_lead()
    replicas.cluster.objects.clear()
    one.try_to_lead()
    assert one.try_to_lead()
    assert PATH in replicas.cluster.objects


def test_an_api_server_that_is_away_for_a_moment_costs_nothing_and_for_longer_the_lead(replicas: Replicas) -> None:
    one = replicas.replica("one")
    one.try_to_lead()

    def away(_method: str, _path: str) -> None:
        raise errors.ClusterUnreachableError("it does not answer")

    replicas.cluster.fault = away
    replicas.now += 6
    with pytest.raises(errors.ClusterUnreachableError):
        one.try_to_lead()
    assert one.holds
    replicas.now += 6
    assert not one.holds


def test_whoever_loses_the_lead_is_told_once() -> None:
    cluster = MemoryCluster("klever")
    now = [100.0]
    one = Leadership(cluster, "klever", "one", clock=lambda: now[0])
    one.try_to_lead()
    lost, stopped = threading.Event(), threading.Event()

    def away(_method: str, _path: str) -> None:
        raise errors.ClusterUnreachableError("it does not answer")

    cluster.fault = away
    threads = one.keep(stopped, lost.set)
    assert not lost.wait(0.7)
    now[0] += 20
    assert lost.wait(5)
    stopped.set()
    for thread in threads:
        thread.join(5)


def test_waiting_ends_with_the_lead_or_with_the_process(replicas: Replicas) -> None:
    stopped = threading.Event()
    one, other = replicas.replica("one"), replicas.replica("other")
    assert one.wait(stopped)
    stopped.set()
    assert not other.wait(stopped)
