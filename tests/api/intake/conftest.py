"""A Harbor with nothing in it, and a cluster whose jobs are kept in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import fake
from harbor.server import StandIn, running_harbor
from intake import ADMIN, Jobs, Site
from kubernetes.client import ApiClient, Configuration
from registries import QUICK

from klever.api.harbor.client import Harbor
from klever.steps.oci.registry import RegistryStore
from klever.workflows.argo.client import Cluster


@pytest.fixture(scope="session")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIn]:
    with running_harbor(tmp_path_factory.mktemp("intake")) as stand_in:
        yield stand_in


@pytest.fixture
def site(running_site: StandIn) -> Iterator[Site]:
    """The Harbor with nothing in it but two empty projects."""
    inventory = running_site.inventory
    with inventory.lock:
        inventory.projects.clear()
    running_site.make_project("release")
    running_site.make_project("vision-a")
    with (
        RegistryStore(running_site.host, plain_http=True, credentials=ADMIN, retry=QUICK) as registry,
        Harbor(running_site.url, ADMIN, retry=QUICK) as harbor,
    ):
        yield Site(running_site, registry, harbor)


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


@pytest.fixture
def cluster(jobs: Jobs) -> Iterator[Cluster]:
    with fake(jobs.answer) as server:
        configuration = Configuration(host=f"http://{server.host}")
        configuration.connection_pool_maxsize = 8
        with Cluster(ApiClient(configuration), "models", tries=1) as connected:
            yield connected


@pytest.fixture
def package(models: Path) -> Path:
    """A small model."""
    return models / "PMML" / "logistic_binary" / "model"
