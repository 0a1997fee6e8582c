"""What each account of an installation may do, as the cluster itself answers; a right more fails these tests.

The chart is installed without a running pod: rights are there without them. What does not belong here: what the chart
renders (`tests/charts`).
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from clusters import apply_crd, lack, temporary_namespace
from helm import CHART, helm

from klever.workflows.argo.client import Cluster, Resource

pytestmark = pytest.mark.cluster

#: Everything that the accounts of an installation may do beyond what every account may, by account and by namespace.
#: ``home`` is the release's, ``first`` and ``second`` are for jobs. Whoever adds a right adds it here, too, and says in
#: the chart what it is for.
JOBS_OF_THE_CONTROLLER = {
    "modeljobs.kleveross.io": "create delete get list watch",
    "modeljobs/status.kleveross.io": "patch",
    "workflows.argoproj.io": "create delete get list patch watch",
    "workflowtemplates.argoproj.io": "get list",
    "events": "create",
}
JOBS_OF_THE_SERVER = {"modeljobs.kleveross.io": "create get"}
RESULTS_OF_STEPS = {"workflowtaskresults.argoproj.io": "create patch"}
RIGHTS: dict[str, dict[str, dict[str, str]]] = {
    "home/klever-controller": {
        "home": {
            "leases.coordination.k8s.io": "create",
            "leases.coordination.k8s.io klever-controller": "get update",
        },
        "first": JOBS_OF_THE_CONTROLLER,
        "second": JOBS_OF_THE_CONTROLLER,
    },
    "home/klever-server": {"first": JOBS_OF_THE_SERVER, "second": JOBS_OF_THE_SERVER},
    "first/klever-step": {},
    "first/klever-executor": {"first": RESULTS_OF_STEPS},
    "second/klever-step": {},
    "second/klever-executor": {"second": RESULTS_OF_STEPS},
}
#: What Argo's controller gets in its namespace.
CACHE = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "update"]}]
#: What nobody of an installation may touch anywhere.
SENSITIVE = [
    ("", "secrets"),
    ("", "serviceaccounts"),
    ("", "pods"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("argoproj.io", "clusterworkflowtemplates"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
]
ROLES = Resource("rbac.authorization.k8s.io", "roles", "v1")
REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
RULES_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"


@dataclass(frozen=True)
class Release:
    """A release without running pods."""

    cluster: Cluster
    #: What the namespaces are called in this run, by what they are called here.
    namespaces: dict[str, str]

    def user(self, account: str) -> str:
        """Return the user that an account, NAMESPACE/NAME, is to the API server."""
        place, _, name = account.partition("/")
        return f"system:serviceaccount:{self.namespaces[place]}:{name}"

    def groups(self, account: str) -> list[str]:
        """Return the groups of an account."""
        place = self.namespaces[account.partition("/")[0]]
        return ["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"]

    def rights(self, account: str, place: str) -> dict[str, set[str]]:
        """Return what an account may do in a namespace, beyond what one may that was given nothing."""
        return _without(self._rules(account, place), self._rules(f"{place}/stranger", place))

    def _rules(self, account: str, place: str) -> dict[str, set[str]]:
        groups = (f"--as-group={each}" for each in self.groups(account))
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": self.namespaces[place]},
        }
        command = ["kubectl", "create", "--raw", RULES_REVIEWS, "--filename=-", f"--as={self.user(account)}", *groups]
        done = subprocess.run(command, input=json.dumps(review), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        status = json.loads(done.stdout)["status"]
        assert not status.get("evaluationError")
        found: dict[str, set[str]] = {}
        for rule in status["resourceRules"]:
            for group, resource in product(rule["apiGroups"], rule["resources"]):
                for name in rule.get("resourceNames") or [""]:
                    key = f"{resource}.{group}".rstrip(".") + (f" {name}" if name else "")
                    found.setdefault(key, set()).update(rule["verbs"])
        return found

    def may(self, account: str, verb: str, group: str, resource: str, place: str = "") -> bool:
        """Return whether an account may do something, in a namespace or in all of them."""
        attributes = {"verb": verb, "group": group, "resource": resource}
        if place:
            attributes["namespace"] = self.namespaces[place]
        spec = {"user": self.user(account), "groups": self.groups(account), "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return bool(self.cluster.create(REVIEWS, review)["status"]["allowed"])


def _without(rights: dict[str, set[str]], others: dict[str, set[str]]) -> dict[str, set[str]]:
    left = {key: verbs - others.get(key, set()) for key, verbs in rights.items()}
    return {key: verbs for key, verbs in left.items() if verbs}


@pytest.fixture(scope="module")
def release(cluster: Cluster) -> Iterator[Release]:
    """The chart, installed for two namespaces by somebody whom the CRD is given."""
    for program in ("kubectl", "helm"):
        if shutil.which(program) is None:
            lack(f"{program} on the PATH")
    apply_crd()
    with (
        temporary_namespace(cluster, "klever-test-home") as home,
        temporary_namespace(cluster, "klever-test-first") as first,
        temporary_namespace(cluster, "klever-test-second") as second,
        temporary_namespace(cluster, "klever-test-other") as other,
    ):
        values: dict[str, Any] = {
            "namespaces": [first, second],
            "crds": {"install": False},
            "controller": {"replicas": 0},
            "server": {"replicas": 0},
        }
        done = helm("install", "klever", CHART, "--namespace", home, values=values)
        assert done.returncode == 0, done.stderr
        try:
            yield Release(
                cluster,
                {
                    "home": home,
                    "first": first,
                    "second": second,
                    "other": other,
                    "argo": "argo",
                    "kube-system": "kube-system",
                },
            )
        finally:
            done = helm("uninstall", "klever", "--namespace", home)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("account", RIGHTS)
def test_an_account_may_do_what_stands_here_and_nothing_else(release: Release, account: str) -> None:
    found = {place: release.rights(account, place) for place in release.namespaces}
    expected = {
        place: {resource: set(verbs.split()) for resource, verbs in rights.items()}
        for place, rights in RIGHTS[account].items()
    }
    assert {place: rights for place, rights in found.items() if rights} == expected


def test_every_account_of_the_release_stands_here(release: Release) -> None:
    accounts = {
        f"{place}/{each['metadata']['name']}"
        for place in ("home", "first", "second")
        for each in release.cluster.get(f"/api/v1/namespaces/{release.namespaces[place]}/serviceaccounts")["items"]
    }
    assert accounts - {f"{place}/default" for place in ("home", "first", "second")} == set(RIGHTS)


@pytest.mark.parametrize("account", RIGHTS)
def test_no_account_reaches_a_secret_a_pod_or_a_right(release: Release, account: str) -> None:
    for (group, resource), verb in product(SENSITIVE, ("get", "list", "create", "patch", "delete")):
        for place in ("", "home", "first", "second", "argo"):
            assert not release.may(account, verb, group, resource, place), f"{verb} {resource} in {place or 'all'}"
    assert release.may("home/klever-server", "create", "kleveross.io", "modeljobs", "first"), "reviews answer at all"


@pytest.mark.parametrize(("mine", "anothers"), [("first", "second"), ("second", "first")])
def test_the_pods_of_a_job_reach_no_other_namespace(release: Release, mine: str, anothers: str) -> None:
    for name in ("klever-step", "klever-executor"):
        for resource, verb in product(
            ("workflows", "workflowtaskresults", "workflowtemplates"), ("get", "list", "create", "patch", "delete")
        ):
            assert not release.may(f"{mine}/{name}", verb, "argoproj.io", resource, anothers)
        for verb in ("get", "list", "create", "patch", "delete"):
            assert not release.may(f"{mine}/{name}", verb, "kleveross.io", "modeljobs", anothers)
            assert not release.may(f"{mine}/{name}", verb, "kleveross.io", "modeljobs", mine)


def test_argo_may_remember_results_and_nothing_else_is_given_to_it(release: Release) -> None:
    role = release.cluster.get(ROLES.path("argo", f"klever-cache-{release.namespaces['home']}"))
    assert role["rules"] == CACHE


def test_pods_of_pipelines_are_given_the_registrys_credentials_of_their_own_namespace_alone(release: Release) -> None:
    """A pod's volumes are its namespace's; what it mounts is therefore all that it can be given of secrets."""
    for place in ("first", "second"):
        templates = release.cluster.get(Resource("argoproj.io", "workflowtemplates").path(release.namespaces[place]))[
            "items"
        ]
        assert templates
        for template in (each for one in templates for each in one["spec"]["templates"] if "container" in each):
            secrets = {each["secret"]["secretName"] for each in template.get("volumes", ()) if "secret" in each}
            assert secrets == {"klever-registry"}
            assert template["automountServiceAccountToken"] is False
            assert template["serviceAccountName"] == "klever-step"
            assert not any("valueFrom" in each for each in template["container"].get("env", ()))
            assert "envFrom" not in template["container"]


def test_the_chart_can_be_installed_by_an_administrator_of_its_namespaces_alone(cluster: Cluster) -> None:
    """Who is given `admin` in a namespace, the rights of the chart's roles, and nothing of the whole cluster."""
    with temporary_namespace(cluster, "klever-test-own") as namespace:
        give_admin(cluster, namespace)
        values = {
            "crds": {"install": False},
            "argo": {"cacheRights": False},
            "controller": {"replicas": 0},
            "server": {"replicas": 0},
        }
        done = helm("install", "klever", CHART, "--namespace", namespace, "--kube-as-user", "ada", values=values)
        assert done.returncode == 0, done.stderr
        done = helm("uninstall", "klever", "--namespace", namespace, "--kube-as-user", "ada")
        assert done.returncode == 0, done.stderr
        refused = helm("install", "klever", CHART, "--namespace", namespace, "--kube-as-user", "ada", values={})
        assert refused.returncode != 0
        assert "customresourcedefinitions" in refused.stderr


def give_admin(cluster: Cluster, namespace: str) -> None:
    """Make the user ada an administrator of a namespace, who may also give away what concerns ModelJobs and Workflows."""
    metadata = {"name": "ada", "namespace": namespace}
    rules = [
        {"apiGroups": ["kleveross.io"], "resources": ["modeljobs", "modeljobs/status"], "verbs": ["*"]},
        {
            "apiGroups": ["argoproj.io"],
            "resources": ["workflows", "workflowtemplates", "workflowtaskresults"],
            "verbs": ["*"],
        },
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["*"]},
    ]
    cluster.create(ROLES.path(namespace), {"kind": "Role", "metadata": metadata, "rules": rules})
    for name, kind, role in (("ada", "Role", "ada"), ("ada-admin", "ClusterRole", "admin")):
        cluster.create(
            Resource("rbac.authorization.k8s.io", "rolebindings", "v1").path(namespace),
            {
                "kind": "RoleBinding",
                "metadata": {"name": name, "namespace": namespace},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ada"}],
            },
        )
