"""The chart as people have it before there is a cluster: its generated parts, its values, and what it renders."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm import CHART, KUBERNETES, NAMESPACE, ROOT, Document, helm, named, of_kind, refusal, render

from klever.api.intake.policy import Policy, parse_policy

OLD_VALUES = Path(__file__).parent / "values-0.1.yaml"
HARBOR = {"harbor": {"url": "https://harbor.example"}}
#: Values that differ from the defaults in everything that changes which objects there are.
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "harbor": HARBOR,
    "namespaces": {"namespaces": ["vision", "speech"]},
    "clusterWide": {"clusterWide": True, "namespaces": ["vision"]},
    "without cluster-admin": {"crds": {"install": False}, "argo": {"cacheRights": False}},
    "everything": HARBOR
    | {
        "namespaces": ["vision", "speech"],
        "image": {"prefix": "registry.example:5000/klever/", "tag": "1.2.3", "pullSecrets": ["pull"]},
        "registry": {"host": "registry.example:5000", "plainHttp": True, "caConfigMap": "authorities"},
        "pipelines": {"allowedUrls": ["http://models.example:8081/m/"], "allowedClaims": ["nfs", "archive"]},
        "server": {
            "ingress": {"enabled": True, "host": "klever.example", "className": "nginx", "tlsSecret": "tls"},
            "service": {"annotations": {"a": "b"}},
            "podLabels": {"team": "ml"},
        },
        "controller": {
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "models", "operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "priorityClassName": "high",
            "podAnnotations": {"a": "b"},
        },
        "metrics": {"podMonitor": {"enabled": True}},
    },
}
API_VERSIONS = ["--api-versions", "monitoring.coreos.com/v1/PodMonitor"]
CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}


@pytest.fixture(scope="module", params=VALUES, ids=list(VALUES))
def documents(request: pytest.FixtureRequest) -> list[Document]:
    """What the chart renders for some values."""
    return render(VALUES[request.param], options=API_VERSIONS)


def pods(documents: list[Document]) -> Iterator[tuple[str, Document]]:
    """Yield the pods that the objects make, by name."""
    for each in documents:
        if each["kind"] == "Deployment":
            yield each["metadata"]["name"], each["spec"]["template"]
        elif each["kind"] == "Pod":
            yield each["metadata"]["name"], each


def environment(documents: list[Document], component: str) -> dict[str, Any]:
    """Return the environment of a component."""
    (container,) = named(documents, "Deployment", f"klever-{component}")["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


# ---------------------------------------------------------------- what is generated
def test_what_is_generated_is_what_the_code_says() -> None:
    command = [sys.executable, "charts/generate.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_generated_file_that_somebody_changed_is_told(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "charts", tmp_path / "charts")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "charts/klever/templates/pipelines-extract.yaml").write_text("")
    (tmp_path / "charts/klever/templates/pipelines-old.yaml").write_text("")
    command = [sys.executable, "charts/generate.py", "--check"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "templates/pipelines-extract.yaml, templates/pipelines-old.yaml" in done.stderr
    assert subprocess.run(command[:-1], cwd=tmp_path).returncode == 0
    assert subprocess.run(command, cwd=tmp_path).returncode == 0


def test_the_charts_crd_is_that_of_the_repository() -> None:
    name = "modeljobs.kleveross.io.yaml"
    assert (CHART / "files" / name).read_bytes() == (ROOT / "crds" / name).read_bytes()
    (ours,) = of_kind(render(), "CustomResourceDefinition")
    crd = yaml.safe_load((ROOT / "crds" / name).read_text())
    assert ours["spec"] == crd["spec"]
    assert ours["metadata"]["name"] == crd["metadata"]["name"]


def test_every_value_is_described_where_it_stands() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    undescribed = []

    def look(properties: Mapping[str, Any], above: str) -> None:
        for name, shape in properties.items():
            if "properties" in shape and "description" not in shape:
                look(shape["properties"], f"{above}{name}.")
            elif not shape.get("description") and name != "global":
                undescribed.append(f"{above}{name}")

    look(schema["properties"], "")
    assert undescribed == []


# ---------------------------------------------------------------- values
@pytest.mark.parametrize("values", VALUES.values(), ids=list(VALUES))
def test_helm_lint_has_nothing_to_say(values: Mapping[str, Any]) -> None:
    done = helm("lint", "--strict", CHART, "--kube-version", KUBERNETES, values=values)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"habor": {"url": "https://harbor.example"}}, "habor"),
        ({"harbor": {"ulr": "https://harbor.example"}}, "ulr"),
        ({"server": {"ingress": {"tls": "secret"}}}, "tls"),
        ({"harbor": {"url": "harbor.example"}}, "harbor/url"),
        ({"harbor": {"url": "https://user:password@harbor.example"}}, "harbor/url"),
        ({"harbor": {"relistSeconds": 0}}, "relistSeconds"),
        ({"image": {"prefix": "docker.io/klever"}}, "image/prefix"),
        ({"image": {"tag": "a b"}}, "image/tag"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"namespaces": "vision"}, "namespaces"),
        ({"namespaces": ["Vision"]}, "namespaces/0"),
        ({"namespaces": ["vision", "vision"]}, "namespaces"),
        ({"registry": {"host": "https://registry.example"}}, "registry/host"),
        ({"registry": {"plainHttp": "yes"}}, "plainHttp"),
        ({"registry": {"secret": '"}}\n'}}, "registry/secret"),
        ({"pipelines": {"remember": "an hour"}}, "remember"),
        ({"pipelines": {"retries": 0}}, "retries"),
        ({"pipelines": {"allowedUrls": ["file:///etc"]}}, "allowedUrls/0"),
        ({"pipelines": {"deadlines": {"stepSeconds": "1h"}}}, "stepSeconds"),
        ({"argo": {"version": "2"}}, "argo/version"),
        ({"server": {"service": {"port": 70000}}}, "port"),
        ({"policy": {"project": []}}, "project"),
        ({"policy": {"projects": [{"match": "a", "namespace": NAMESPACE, "pipelin": {}}]}}, "pipelin"),
        ({"policy": {"projects": [{"match": [], "namespace": NAMESPACE}]}}, "match"),
        ({"networkPolicies": {"egressBlocks": [{"cdir": "10.0.0.0/8"}]}}, "egressBlocks/0"),
    ],
    ids=str,
)
def test_a_value_that_means_nothing_is_refused_by_its_name(values: Mapping[str, Any], said: str) -> None:
    # Separators of the path differ between versions of helm.
    assert said.replace("/", ".") in refusal(values).replace("/", ".")


def test_values_of_an_older_version_render_with_defaults_for_what_it_lacked(tmp_path: Path) -> None:
    """As `helm upgrade --reuse-values` does it: the old version's values take the place of the new defaults."""
    old = tmp_path / "klever"
    shutil.copytree(CHART, old)
    shutil.copy(OLD_VALUES, old / "values.yaml")
    lacked = {"resources": {"requests": None}}
    assert render(chart=old) == render({"controller": lacked, "server": {"replicas": 1} | lacked})


def test_values_of_an_older_version_are_taken_by_the_schema() -> None:
    render(yaml.safe_load(OLD_VALUES.read_text()))


@pytest.mark.parametrize(("values", "plain"), [({"insecure": True}, "true"), ({"insecure": False}, "false")])
def test_an_old_name_of_a_value_means_what_it_did(values: dict[str, bool], plain: str) -> None:
    assert environment(render({"registry": values}), "server")["KLEVER_PLAIN_HTTP"] == plain


def test_an_empty_value_is_not_taken_for_a_missing_one() -> None:
    documents = render(
        {"crds": {"install": False}, "pipelines": {"remember": ""}, "networkPolicies": {"enabled": False}}
    )
    assert not of_kind(documents, "CustomResourceDefinition", "NetworkPolicy")
    assert not any(
        "memoize" in each for one in of_kind(documents, "WorkflowTemplate") for each in one["spec"]["templates"]
    )


def test_a_part_of_a_map_can_be_taken_away() -> None:
    documents = render({"server": {"resources": {"limits": None}}})
    (container,) = named(documents, "Deployment", "klever-server")["spec"]["template"]["spec"]["containers"]
    assert set(container["resources"]) == {"requests"}


def test_the_values_of_a_chart_that_depends_on_this_one_are_taken() -> None:
    render({"global": {"anything": {"at": "all"}}})


# ---------------------------------------------------------------- what is rendered
def test_every_object_says_whose_it_is_and_where(documents: list[Document]) -> None:
    for each in documents:
        metadata = each["metadata"]
        labels = metadata["labels"]
        assert labels["app.kubernetes.io/name"] == "klever"
        assert labels["app.kubernetes.io/part-of"] == "klever"
        assert labels["app.kubernetes.io/instance"] == "klever"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert ("namespace" in metadata) is (each["kind"] not in CLUSTER_SCOPED), each["kind"]


def test_no_object_is_there_twice(documents: list[Document]) -> None:
    seen = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in documents]
    assert len(seen) == len(set(seen))


def test_pods_are_restricted(documents: list[Document]) -> None:
    """By the Pod Security Standard `restricted`, and a root that cannot be written to."""
    found = dict(pods(documents))
    assert set(found) == {"klever-controller", "klever-server", "klever-test"}
    for pod in found.values():
        spec = pod["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 65532
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert all(set(volume) - {"name"} <= {"emptyDir", "configMap", "secret"} for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "privileged": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"]["memory"]
            assert container["resources"]["limits"]["memory"]


def test_only_pods_that_speak_to_the_api_server_have_a_token(documents: list[Document]) -> None:
    tokens = {name: pod["spec"]["automountServiceAccountToken"] for name, pod in pods(documents)}
    assert tokens == {"klever-controller": True, "klever-server": True, "klever-test": False}
    assert all(each["automountServiceAccountToken"] is False for each in of_kind(documents, "ServiceAccount"))


def test_deployments_are_probed_and_select_their_own_pods(documents: list[Document]) -> None:
    for deployment in of_kind(documents, "Deployment"):
        template = deployment["spec"]["template"]
        assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        for constraint in template["spec"]["topologySpreadConstraints"]:
            assert constraint["labelSelector"] == deployment["spec"]["selector"]
        for container in template["spec"]["containers"]:
            ports = {each["name"] for each in container["ports"]}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] in ports
            mounts = {each["name"] for each in container["volumeMounts"]}
            assert mounts == {each["name"] for each in template["spec"]["volumes"]}
            files = [each["value"] for each in container["env"] if each["name"].endswith(("_FILE", "CONFIG"))]
            paths = [each["mountPath"] for each in container["volumeMounts"]]
            assert all(any(file.startswith(path) for path in paths) for file in files)
    (service,) = of_kind(documents, "Service")
    server = named(documents, "Deployment", "klever-server")["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= server.items()


def test_rights_have_no_wildcard_and_reach_no_secret_and_no_pod(documents: list[Document]) -> None:
    roles = of_kind(documents, "Role", "ClusterRole")
    assert roles
    for role in roles:
        for rule in role["rules"]:
            for part in ("apiGroups", "resources", "verbs"):
                assert "*" not in rule[part]
            assert "nonResourceURLs" not in rule
            reached = {each.partition("/")[0] for each in rule["resources"]}
            assert not reached & {"secrets", "pods", "roles", "rolebindings", "serviceaccounts", "namespaces"}
            assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])


def test_rights_are_given_by_roles_of_the_namespaces_alone() -> None:
    documents = render(VALUES["namespaces"])
    assert not of_kind(documents, "ClusterRole", "ClusterRoleBinding")
    places = {
        (each["metadata"]["name"], each["metadata"]["namespace"], subject["namespace"])
        for each in of_kind(documents, "RoleBinding")
        for subject in each["subjects"]
    }
    assert places == {
        ("klever-controller", "vision", NAMESPACE),
        ("klever-controller", "speech", NAMESPACE),
        ("klever-controller-lease", NAMESPACE, NAMESPACE),
        ("klever-server", "vision", NAMESPACE),
        ("klever-server", "speech", NAMESPACE),
        ("klever-executor", "vision", "vision"),
        ("klever-executor", "speech", "speech"),
        (f"klever-cache-{NAMESPACE}", "argo", "argo"),
    }
    assert environment(documents, "controller")["KLEVER_NAMESPACES"] == "vision,speech"


def test_rights_of_the_whole_cluster_are_given_where_they_are_asked_for() -> None:
    documents = render(VALUES["clusterWide"])
    names = {each["metadata"]["name"] for each in of_kind(documents, "ClusterRoleBinding")}
    assert names == {f"klever-controller-{NAMESPACE}", f"klever-server-{NAMESPACE}"}
    for component in ("controller", "server"):
        role = named(documents, "ClusterRole", f"klever-{component}-{NAMESPACE}")
        assert role["rules"] == named(render(), "Role", f"klever-{component}")["rules"]
        assert environment(documents, component)["KLEVER_NAMESPACES"] == ""


def test_without_cluster_admin_nothing_is_outside_of_the_namespaces() -> None:
    documents = render(VALUES["without cluster-admin"])
    assert not of_kind(documents, *CLUSTER_SCOPED)
    assert {each["metadata"]["namespace"] for each in documents} == {NAMESPACE}


def test_the_definition_of_modeljobs_stays_when_the_release_goes() -> None:
    (crd,) = of_kind(render(), "CustomResourceDefinition")
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_the_processes_are_told_of_harbor_and_the_registry() -> None:
    documents = render(VALUES["everything"], options=API_VERSIONS)
    controller, server = environment(documents, "controller"), environment(documents, "server")
    for told in (controller, server):
        assert told["KLEVER_HARBOR_URL"] == "https://harbor.example"
        assert told["KLEVER_REGISTRY_HOST"] == "registry.example:5000"
        assert told["KLEVER_PLAIN_HTTP"] == "true"
        assert told["KLEVER_CA_FILE"] == "/klever-certificates/ca.crt"
        assert told["KLEVER_POLICY_FILE"] == "/etc/klever/policy.yaml"
        assert told["KLEVER_NAMESPACE"] == {"fieldRef": {"fieldPath": "metadata.namespace"}}
    assert server["KLEVER_HOOK_SECRET_FILE"] == "/etc/klever-hook/authorization"
    assert controller["KLEVER_RELIST_SECONDS"] == "600"


@pytest.mark.parametrize(
    ("values", "host"),
    [
        (HARBOR, "harbor.example"),
        ({"harbor": {"url": "http://harbor.example:8080/"}}, "harbor.example:8080"),
        (HARBOR | {"registry": {"host": "models.example"}}, "models.example"),
        ({"registry": {"host": "models.example:5000"}}, "models.example:5000"),
        ({}, ""),
    ],
    ids=str,
)
def test_references_begin_with_the_host_of_harbor_unless_another_is_named(values: dict[str, Any], host: str) -> None:
    assert environment(render(values), "server")["KLEVER_REGISTRY_HOST"] == host


def test_large_numbers_are_written_in_digits() -> None:
    documents = render({"jobs": {"ttlSeconds": 31_536_000}, "pipelines": {"keepFailedSeconds": 31_536_000}})
    assert environment(documents, "controller")["KLEVER_JOB_TTL_SECONDS"] == "31536000"
    template = named(documents, "WorkflowTemplate", "klever-extract")
    assert template["spec"]["ttlStrategy"]["secondsAfterFailure"] == 31_536_000


POLICY: dict[str, Any] = {
    "projects": [
        {"match": "vision-*", "namespace": NAMESPACE},
        {
            "match": ["release", "speech"],
            "namespace": NAMESPACE,
            "tags": "v*",
            "pipeline": {"template": "klever-release", "arguments": {"formats": "ONNX", "retries": 3, "strict": True}},
        },
    ],
    "robots": "robot$ci",
}


def test_the_policy_is_a_file_and_another_policy_starts_new_pods() -> None:
    before, after = render(), render({"policy": POLICY})
    text = named(after, "ConfigMap", "klever-policy")["data"]["policy.yaml"]
    assert parse_policy(text) == Policy.model_validate(POLICY)
    assert parse_policy(named(before, "ConfigMap", "klever-policy")["data"]["policy.yaml"]) == Policy()
    checksums = [
        named(each, "Deployment", "klever-server")["spec"]["template"]["metadata"]["annotations"]["checksum/policy"]
        for each in (before, after)
    ]
    assert checksums[0] != checksums[1]


def test_a_policy_leads_to_namespaces_that_are_handled_alone() -> None:
    values = {"policy": {"projects": [{"match": "vision", "namespace": "vision"}]}, "namespaces": ["speech"]}
    assert "policy.projects[0]: namespace vision is none of those that are handled (speech)" in refusal(values)
    render(values | {"clusterWide": True})


def test_a_budget_stands_where_there_is_a_second_pod() -> None:
    budgets = of_kind(render({"server": {"replicas": 1}}), "PodDisruptionBudget")
    assert [each["metadata"]["name"] for each in budgets] == ["klever-controller"]


def test_pods_reach_the_ports_of_what_is_configured_and_of_nothing_else() -> None:
    documents = render(VALUES["everything"] | {"harbor": {"url": "http://harbor.example:8443"}}, options=API_VERSIONS)
    policies = of_kind(documents, "NetworkPolicy")
    assert {(each["metadata"]["name"], each["metadata"]["namespace"]) for each in policies} == {
        ("klever-controller", NAMESPACE),
        ("klever-server", NAMESPACE),
        ("klever-steps", "vision"),
        ("klever-steps", "speech"),
    }
    for policy in policies:
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        names, others = policy["spec"]["egress"]
        assert {each["port"] for each in names["ports"]} == {53}
        assert {each["port"] for each in others["ports"]} == {80, 443, 5000, 6443, 8081, 8443}
        blocks = [each["ipBlock"] for each in others["to"] if "ipBlock" in each]
        assert {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]} in blocks
    assert all(each["spec"]["ingress"] == [] for each in policies if each["metadata"]["name"] == "klever-steps")


def test_a_pod_monitor_is_made_where_the_cluster_has_them() -> None:
    values = {"metrics": {"podMonitor": {"enabled": True, "interval": "10s", "labels": {"release": "prometheus"}}}}
    (monitor,) = of_kind(render(values, options=API_VERSIONS), "PodMonitor")
    assert {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]} == {"metrics", "http"}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert not of_kind(render(values), "PodMonitor")
    assert not of_kind(render(options=API_VERSIONS), "PodMonitor")


def test_an_ingress_leads_to_the_hooks_alone() -> None:
    assert not of_kind(render(), "Ingress")
    (ingress,) = of_kind(render({"server": {"ingress": {"enabled": True, "host": "klever.example"}}}), "Ingress")
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] == "klever.example"
    assert [each["path"] for each in rule["http"]["paths"]] == ["/hooks"]
