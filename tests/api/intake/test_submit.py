"""A job is created once, whoever asks and however often."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from intake import Jobs, Site

from klever.api.harbor.events import Push
from klever.api.intake.decide import decide
from klever.api.intake.policy import Policy, parse_policy
from klever.api.intake.submit import MAX_REPEATS, Outcome, Started, at_registry, ensure_job, start
from klever.steps.enrich import enrich
from klever.steps.stores import Stores
from klever.workflows.argo.client import Cluster
from klever.workflows.argo.errors import ClusterUnreachableError, ForbiddenError

pytestmark = pytest.mark.registry

EXTRACTION = parse_policy("projects: [{match: release, namespace: models}]")
PIPELINE = parse_policy("projects: [{match: release, namespace: models, pipeline: {template: own}}]")


def take(site: Site, cluster: Cluster, push: Push, policy: Policy = EXTRACTION) -> Started:
    """Do with a push what the server does."""
    wanted = decide(push, policy, site.registry).wanted
    assert wanted is not None
    return start(cluster, wanted, at_registry(site.registry))


def extract(site: Site, push: Push) -> None:
    """Do what the job's Workflow does for one tag."""
    stores = Stores(plain_http=True)
    stores._open[site.host, None] = site.registry
    enrich(site.reference(f"{push.repository}:{push.tag}"), stores)


def test_the_same_job_twice_is_one(cluster: Cluster, jobs: Jobs) -> None:
    job = {"metadata": {"name": "mnist-abc", "namespace": "models"}, "spec": {}}
    assert [ensure_job(cluster, job) for _ in range(3)] == [Outcome.CREATED, Outcome.FOUND, Outcome.FOUND]
    assert jobs.names == ["mnist-abc"]


def test_deliveries_of_the_same_digest_at_once_make_one_job(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    pushes = [site.tag(push, tag) for tag in ("v1", "v2", "latest")] * 4
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda each: take(site, cluster, each), pushes))
    assert [each.outcome for each in started].count(Outcome.CREATED) == 1
    assert {(each.namespace, each.name) for each in started} == {("models", jobs.names[0])}
    assert len(jobs.names) == 1


@pytest.mark.parametrize("phase", ["", "Pending", "Running", "Failed", "Deleting"])
def test_a_job_that_has_not_succeeded_is_left_to_itself(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path, phase: str
) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    take(site, cluster, push)
    jobs.finish(phase)
    assert take(site, cluster, site.tag(push, "v2")).outcome is Outcome.FOUND
    assert len(jobs.names) == 1


def test_a_late_delivery_of_what_is_done_makes_nothing(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    take(site, cluster, push)
    extract(site, push)
    jobs.finish()
    assert take(site, cluster, push).outcome is Outcome.FOUND
    assert len(jobs.names) == 1


def test_a_tag_that_comes_when_the_job_is_done_gets_a_job_of_its_own(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    first = take(site, cluster, push)
    extract(site, push)
    jobs.finish()
    late = site.tag(push, "v2")
    second = take(site, cluster, late)
    assert second.outcome is Outcome.CREATED
    assert second.name != first.name
    assert jobs.documents[1]["spec"]["model"] == f"{site.host}/release/mnist:v2@{push.digest}"
    # The same delivery again, while the job for the tag waits and when it is done.
    assert take(site, cluster, late) == Started(Outcome.FOUND, "models", second.name)
    extract(site, late)
    jobs.finish()
    assert take(site, cluster, late).outcome is Outcome.FOUND
    assert len(jobs.names) == 2


def test_a_tag_that_is_put_back_again_and_again_is_worked_on_each_time(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    """As by a nightly build whose result is the same to the byte."""
    push = site.publish_unread(package, "release/mnist:nightly")
    for night in range(3):
        site.tag(push, "nightly")
        assert take(site, cluster, push).outcome is Outcome.CREATED, night
        extract(site, push)
        jobs.finish()
    assert len(jobs.names) == 3


def test_jobs_that_end_well_and_leave_the_tag_are_not_made_for_ever(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    for _ in range(MAX_REPEATS + 3):
        take(site, cluster, push)
        jobs.finish()
    assert len(jobs.names) == MAX_REPEATS + 1


def test_a_pipeline_runs_once_for_a_digest(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish(package, "release/mnist:v1")
    for each in (push, push, site.tag(push, "v2")):
        take(site, cluster, each, PIPELINE)
        jobs.finish()
    assert len(jobs.names) == 1


def test_a_push_by_digest_of_what_is_done_makes_nothing(
    site: Site, cluster: Cluster, jobs: Jobs, package: Path
) -> None:
    push = replace(site.publish_unread(package, "release/mnist:v1"), tag=None)
    take(site, cluster, push)
    jobs.finish()
    assert take(site, cluster, push).outcome is Outcome.FOUND
    assert len(jobs.names) == 1


def test_a_cluster_that_is_away_is_worth_another_try(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    jobs.away.add("POST")
    with pytest.raises(ClusterUnreachableError):
        take(site, cluster, push)
    jobs.away.clear()
    assert take(site, cluster, push).outcome is Outcome.CREATED


def test_a_namespace_without_rights_is_told(site: Site, cluster: Cluster, jobs: Jobs, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    jobs.forbidden.add("models")
    with pytest.raises(ForbiddenError):
        take(site, cluster, push)
