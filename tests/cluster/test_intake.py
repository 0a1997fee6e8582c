"""The jobs of pushes, as a real API server takes, refuses and lists them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from clusters import temporary_namespace
from harbor.server import StandIn, running_harbor
from intake import ADMIN, Site
from registries import QUICK

from klever.api.harbor.client import Harbor
from klever.api.intake.decide import decide
from klever.api.intake.policy import Policy, parse_policy
from klever.api.intake.relist import relist
from klever.api.intake.submit import Outcome, at_registry, start
from klever.api.modeljob.model import MODEL_JOBS
from klever.steps.enrich import enrich
from klever.steps.oci.registry import RegistryStore
from klever.steps.stores import Stores
from klever.workflows.argo.client import Cluster
from klever.workflows.argo.errors import ClusterObjectMissingError

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_harbor(tmp_path_factory.mktemp("harbor")) as running:
        yield running


@pytest.fixture
def site(stand_in: StandIn) -> Iterator[Site]:
    stand_in.inventory.projects.clear()
    stand_in.make_project("release")
    with (
        RegistryStore(stand_in.host, plain_http=True, credentials=ADMIN, retry=QUICK) as registry,
        Harbor(stand_in.url, ADMIN, retry=QUICK) as harbor,
    ):
        yield Site(stand_in, registry, harbor)


@pytest.fixture
def policy(cluster: Cluster) -> Iterator[Policy]:
    """A policy whose namespace nobody watches but the API server."""
    with temporary_namespace(cluster, "klever-test-intake") as name:
        cluster.list_all(MODEL_JOBS.path(name))
        yield parse_policy(f"projects: [{{match: release, namespace: {name}}}]")


def test_events_and_relists_make_one_job_for_a_digest(
    cluster: Cluster, site: Site, policy: Policy, models: Path
) -> None:
    (namespace,) = policy.namespaces
    push = site.publish_unread(models / "PMML" / "kmeans" / "model", "release/team/mnist:v1")
    outcomes = []
    for tag in ("v1", "v1", "v2"):
        wanted = decide(replace(site.tag(push, tag)), policy, site.registry).wanted
        assert wanted is not None
        outcomes.append(start(cluster, wanted, at_registry(site.registry)).outcome)
    assert outcomes == [Outcome.CREATED, Outcome.FOUND, Outcome.FOUND]
    other = site.publish_unread(models / "PMML" / "knn" / "model", "release/knn:v1")
    done = relist(site.harbor, policy, cluster, host=site.host)
    assert (done.created, done.found, done.problems) == (1, 1, [])
    assert relist(site.harbor, policy, cluster, host=site.host).found == 2
    jobs, _version = cluster.list_all(MODEL_JOBS.path(namespace))
    assert {job["metadata"]["annotations"]["kleveross.io/digest"] for job in jobs} == {push.digest, other.digest}


def test_a_late_tag_gets_its_job_when_the_status_says_succeeded(
    cluster: Cluster, site: Site, policy: Policy, models: Path
) -> None:
    (namespace,) = policy.namespaces
    push = site.publish_unread(models / "PMML" / "kmeans" / "model", "release/mnist:v1")
    wanted = decide(push, policy, site.registry).wanted
    assert wanted is not None
    first = start(cluster, wanted, at_registry(site.registry))
    stores = Stores(plain_http=True)
    stores._open[site.host, None] = site.registry
    enrich(site.reference("release/mnist:v1"), stores)
    late = replace(wanted, tag=site.tag(push, "v2").tag)
    assert start(cluster, late, at_registry(site.registry)).outcome is Outcome.FOUND
    succeeded = {"status": {"phase": "Succeeded", "observedGeneration": 1}}
    cluster.merge(MODEL_JOBS.path(namespace, first.name, "status"), succeeded)
    assert start(cluster, late, at_registry(site.registry)).outcome is Outcome.CREATED
    assert start(cluster, wanted, at_registry(site.registry)) == first._replace(outcome=Outcome.FOUND)


def test_a_namespace_that_is_not_there_is_told(cluster: Cluster, site: Site, models: Path) -> None:
    missing = parse_policy("projects: [{match: release, namespace: klever-test-not-there}]")
    push = site.publish_unread(models / "PMML" / "kmeans" / "model", "release/mnist:v1")
    wanted = decide(push, missing, site.registry).wanted
    assert wanted is not None
    with pytest.raises(ClusterObjectMissingError, match="klever-test-not-there"):
        start(cluster, wanted, at_registry(site.registry))
    done = relist(site.harbor, missing, cluster, host=site.host)
    assert done.created == 0
    assert "klever-test-not-there" in str(done.problems[0])
