"""``klever harbor setup`` and ``klever doctor`` on a real cluster: an installation that is well, and what may be wrong.

The controller and the server are deployments of something that only runs: what they do is not what is examined here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from clusters import REGISTRY_IMAGE, install, temporary_namespace, until
from harbor.server import StandIn

from klever.api.doctor.check import Check, State
from klever.api.doctor.examine import Asked, examine
from klever.api.doctor.rights import AT_HOME, IN_NAMESPACES, Right
from klever.api.harbor import secrets
from klever.api.harbor.client import Harbor
from klever.api.harbor.keeping import SECRETS, InCluster
from klever.api.harbor.setup import Wanted, set_up
from klever.api.modeljob.crd import build
from klever.steps.oci.credentials import Credentials
from klever.workflows.argo.client import WORKFLOW_TEMPLATES, Cluster, Resource, connect
from klever.workflows.argo.errors import ClusterObjectMissingError

pytestmark = pytest.mark.cluster

HOOK = "http://klever.example/hooks/harbor"
ADMIN = Credentials("admin", "Harbor12345")
DEPLOYMENTS = Resource("apps", "deployments", "v1")
LEASES = Resource("coordination.k8s.io", "leases", "v1")
ROLES = Resource("rbac.authorization.k8s.io", "roles", "v1")
BINDINGS = Resource("rbac.authorization.k8s.io", "rolebindings", "v1")
ACCOUNTS = Resource("", "serviceaccounts", "v1")
CONFIG_MAPS = Resource("", "configmaps", "v1")
OURS = {"fieldManager": "klever-test", "force": "true"}


@dataclass
class Site:
    """Two namespaces with an installation in them, and a Harbor beside them."""

    cluster: Cluster
    harbor: StandIn
    home: str
    jobs: str
    asked: Asked = field(default_factory=Asked)

    def open(self, credentials: Credentials = ADMIN) -> Harbor:
        return Harbor(self.harbor.url, credentials)

    def set_up(self, **changes: Any) -> dict[str, str]:
        wanted = replace(Wanted(("release",), HOOK, self.harbor.host, self.home, (self.jobs,)), **changes)
        with self.open() as harbor:
            return {done.subject: done.result for done in set_up(harbor, InCluster(self.cluster), wanted, self.open)}

    def examine(self, **changes: Any) -> dict[str, Check]:
        asked = Asked(namespace=self.home, administrator=lambda _host: ADMIN)
        return {check.name: check for check in examine(replace(asked, **changes), seconds=30)}

    def apply(self, resource: Resource, namespace: str, document: dict[str, Any]) -> None:
        self.cluster.apply(resource.path(namespace, document["metadata"]["name"]), document, OURS)

    @contextmanager
    def without(self, resource: Resource, namespace: str, name: str) -> Iterator[None]:
        """Delete an object for the time of the block."""
        path = resource.path(namespace, name)
        kept = self.cluster.get(path)
        kept["metadata"] = {key: kept["metadata"][key] for key in ("name", "labels") if key in kept["metadata"]}
        kept.pop("status", None)
        self.cluster.delete(path)
        try:
            yield
        finally:
            until(lambda: self.is_gone(path), f"the end of {name}")
            self.cluster.create(resource.path(namespace), kept)

    def is_gone(self, path: str) -> bool:
        try:
            self.cluster.get(path)
        except ClusterObjectMissingError:
            return True
        return False


@pytest.fixture(scope="module")
def site(cluster: Cluster) -> Iterator[Site]:
    harbor = StandIn("127.0.0.1:1")
    try:
        harbor.make_project("release")
        with temporary_namespace(cluster, "klever-test") as home, temporary_namespace(cluster, "klever-test") as jobs:
            made = Site(cluster, harbor, home, jobs)
            fill(made)
            yield made
    finally:
        harbor.close()


def fill(site: Site) -> None:
    """Install what the chart installs, with something else in the place of its images."""
    definition = build()
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
    site.cluster.apply(path, definition, OURS)
    install(site.jobs)
    told = {
        "KLEVER_NAMESPACES": site.jobs,
        "KLEVER_HARBOR_URL": site.harbor.url,
        "KLEVER_REGISTRY_HOST": site.harbor.host,
        "KLEVER_PLAIN_HTTP": "true",
    }
    policy = {"projects": [{"match": "release", "namespace": site.jobs}]}
    site.apply(CONFIG_MAPS, site.home, config_map("klever-policy", {"policy.yaml": yaml.safe_dump(policy)}))
    for component in ("controller", "server"):
        name = f"klever-{component}"
        site.apply(ACCOUNTS, site.home, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
        for document in allowed(name, site.home, IN_NAMESPACES[name]):
            site.apply(ROLES if document["kind"] == "Role" else BINDINGS, site.jobs, document)
        site.apply(DEPLOYMENTS, site.home, deployment(name, component, told))
    for document in allowed("klever-controller", site.home, AT_HOME["klever-controller"]):
        site.apply(ROLES if document["kind"] == "Role" else BINDINGS, site.home, document)
    site.apply(LEASES, site.home, lease("one", datetime.now(UTC) + timedelta(hours=1)))
    for name in ("klever-controller", "klever-server"):
        status = DEPLOYMENTS.path(site.home, name)
        until(lambda at=status: site.cluster.get(at)["status"].get("readyReplicas"), f"the start of {name}")


def config_map(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def lease(holder: str, renewed: datetime) -> dict[str, Any]:
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 15,
        "renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    metadata = {"name": "klever-controller"}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def allowed(account: str, home: str, rights: tuple[Right, ...]) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": [right.group], "resources": [right.resource], "verbs": list(right.verbs)}
        | ({"resourceNames": [right.name]} if right.name else {})
        for right in rights
    ]
    reference = {"apiGroup": group, "kind": "Role", "name": account}
    subjects = [{"kind": "ServiceAccount", "name": account, "namespace": home}]
    about = {"apiVersion": f"{group}/v1", "metadata": {"name": account}}
    return [
        {**about, "kind": "Role", "rules": rules},
        {**about, "kind": "RoleBinding", "roleRef": reference, "subjects": subjects},
    ]


def deployment(name: str, component: str, told: dict[str, str]) -> dict[str, Any]:
    labels = {"app": name, "app.kubernetes.io/component": component}
    container = {
        "name": component,
        "image": REGISTRY_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in told.items()],
    }
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": pod},
    }


@pytest.fixture
def ready(site: Site) -> Site:
    """The installation, set up with Harbor."""
    site.set_up()
    return site


def failures(found: dict[str, Check]) -> dict[str, str]:
    return {check.name: check.detail for check in found.values() if check.state is State.FAILED}


def test_secrets_are_made_once_and_found_by_the_next_run(site: Site) -> None:
    site.set_up()
    before = {
        name: site.cluster.get(SECRETS.path(namespace, name))["metadata"]["resourceVersion"]
        for name, namespace in (
            ("klever-harbor", site.home),
            ("klever-hook", site.home),
            ("klever-registry", site.jobs),
        )
    }
    assert set(site.set_up().values()) == {"unchanged"}
    after = {
        name: site.cluster.get(SECRETS.path(namespace, name))["metadata"]["resourceVersion"]
        for name, namespace in (
            ("klever-harbor", site.home),
            ("klever-hook", site.home),
            ("klever-registry", site.jobs),
        )
    }
    assert after == before
    kept = secrets.read_harbor(site.cluster.get(SECRETS.path(site.home, "klever-harbor")))
    with site.open(kept) as harbor:
        assert harbor.accepts_credentials()


def test_a_new_secret_reaches_every_place_and_its_mark_is_gone(ready: Site) -> None:
    before = secrets.read_harbor(ready.cluster.get(SECRETS.path(ready.home, "klever-harbor")))
    ready.set_up(rotate=True)
    document = ready.cluster.get(SECRETS.path(ready.home, "klever-harbor"))
    assert not secrets.is_pending(document)
    kept = secrets.read_harbor(document)
    assert kept.password != before.password
    for namespace in (ready.home, ready.jobs):
        found = secrets.read_registry(ready.cluster.get(SECRETS.path(namespace, "klever-registry")), ready.harbor.host)
        assert found == kept


def test_a_namespace_that_is_not_there_is_known_before_harbor_is_changed(ready: Site) -> None:
    before = len(ready.harbor.inventory.policies), len(ready.harbor.inventory.robots)
    with pytest.raises(ClusterObjectMissingError) as caught:
        ready.set_up(namespaces=("no-such-namespace",), robot="other", rotate=True)
    assert "kubectl create namespace no-such-namespace" in caught.value.next_step
    assert (len(ready.harbor.inventory.policies), len(ready.harbor.inventory.robots)) == before


def test_an_installation_in_which_all_is_well_has_no_failure(ready: Site) -> None:
    found = ready.examine()
    assert failures(found) == {}
    for name in (
        "modeljobs",
        f"templates {ready.jobs}",
        f"rights {ready.jobs}, jobs",
        f"rights {ready.jobs}, pods",
        f"rights {ready.home}, leading",
        f"lease {ready.home}/klever-controller",
        f"secret {ready.jobs}/klever-registry",
        f"workflow {ready.jobs}",
        f"modeljob {ready.jobs}",
        "registry",
        "robot",
        "webhook policy release",
    ):
        assert found[name].state is State.OK, found[name]


def test_a_missing_secret_is_the_only_failure(ready: Site) -> None:
    with ready.without(SECRETS, ready.jobs, "klever-registry"):
        assert failures(ready.examine()) == {f"secret {ready.jobs}/klever-registry": "there is none"}


def test_a_stale_template_is_the_only_failure(ready: Site) -> None:
    path = WORKFLOW_TEMPLATES.path(ready.jobs, "klever-extract")
    template = ready.cluster.get(path)
    parameters = template["spec"]["arguments"]["parameters"]
    ready.cluster.merge(path, {"spec": {"arguments": {"parameters": parameters[:-1]}}})
    try:
        found = failures(ready.examine())
    finally:
        ready.cluster.merge(path, {"spec": {"arguments": {"parameters": parameters}}})
    assert list(found) == [f"templates {ready.jobs}"]
    assert "klever-extract of another version" in found[f"templates {ready.jobs}"]


def test_rights_that_were_taken_away_are_named(ready: Site) -> None:
    with ready.without(BINDINGS, ready.jobs, "klever-server"):
        found = ready.examine()
    assert failures(found) == {f"rights {ready.jobs}, jobs": "klever-server may not create, get modeljobs.kleveross.io"}


def test_a_leader_that_is_gone_is_named(ready: Site) -> None:
    ready.apply(LEASES, ready.home, lease("gone", datetime.now(UTC) - timedelta(minutes=5)))
    try:
        found = failures(ready.examine())
    finally:
        ready.apply(LEASES, ready.home, lease("one", datetime.now(UTC) + timedelta(hours=1)))
    assert list(found) == [f"lease {ready.home}/klever-controller"]
    assert found[f"lease {ready.home}/klever-controller"].startswith("gone led")


def test_who_may_see_nothing_gets_reasons_and_no_failures(
    ready: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(as_account(ready, "klever-server")))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    found = ready.examine(job_namespaces=(ready.jobs,))
    assert failures(found) == {}
    assert found["kubernetes"].state is State.OK
    for name in ("modeljobs", f"templates {ready.jobs}", f"secret {ready.home}/klever-hook", f"workflow {ready.jobs}"):
        assert found[name].state is State.SKIPPED, found[name]
        assert "may not" in found[name].detail
    assert found[f"rights {ready.jobs}, yours"].state is State.WARNING


def as_account(site: Site, account: str) -> dict[str, Any]:
    """Return the kubeconfig of a service account."""
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {}}
    token = site.cluster.create(ACCOUNTS.path(site.home, account, "token"), request)["status"]["token"]
    with connect() as here:
        settings = here._api.configuration
        known = {"server": here.address} | (
            {"certificate-authority": settings.ssl_ca_cert} if settings.ssl_ca_cert else {}
        )
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": known}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": site.home}}],
    }
