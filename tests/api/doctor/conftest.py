"""An installation in which all is well, on an API server that a test can then break, and a Harbor beside it."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from api_servers import ApiServer, api_server
from harbor.server import StandIn

from klever.api.doctor.check import Check, State
from klever.api.doctor.examine import Asked, examine
from klever.api.harbor import secrets
from klever.api.modeljob.crd import build
from klever.steps.oci.credentials import Credentials
from klever.workflows.templates.golden import load

HOME, JOBS = "klever", "models"
AUTHORIZATION = "Bearer a-text-that-nobody-guesses"


@dataclass
class Patient:
    """What is examined, and the means to."""

    api: ApiServer
    harbor: StandIn
    directory: Path
    asked: Asked = field(default_factory=Asked)
    environment: dict[str, str] = field(default_factory=dict)

    def examine(self, **changes: Any) -> dict[str, Check]:
        """Return the findings by their names, those of one name by the worst."""
        found: dict[str, Check] = {}
        worst = [State.OK, State.SKIPPED, State.WARNING, State.FAILED]
        for check in examine(replace(self.asked, **changes), environment=self.environment, seconds=60):
            known = found.get(check.name)
            if known is None or worst.index(check.state) > worst.index(known.state):
                found[check.name] = check
        return found

    def at(self, kind: str, name: str, namespace: str = HOME) -> str:
        """Return the path of an object."""
        root = {
            "deployments": "/apis/apps/v1",
            "leases": "/apis/coordination.k8s.io/v1",
            "workflowtemplates": "/apis/argoproj.io/v1alpha1",
        }.get(kind, "/api/v1")
        return f"{root}/namespaces/{namespace}/{kind}/{name}"

    def deployment(self, name: str) -> Any:
        return self.api.objects[self.at("deployments", name)]


def deployment(image: str, environment: dict[str, str] | None = None) -> dict[str, Any]:
    container = {"image": image, "env": [{"name": k, "value": v} for k, v in (environment or {}).items()]}
    return {
        "spec": {"replicas": 2, "template": {"spec": {"containers": [container]}}},
        "status": {"readyReplicas": 2},
    }


def fill(patient: Patient) -> None:
    """Put an installation into the API server in which all is well."""
    api, host = patient.api, patient.harbor.host
    told = {
        "KLEVER_NAMESPACES": JOBS,
        "KLEVER_HARBOR_URL": patient.harbor.url,
        "KLEVER_REGISTRY_HOST": host,
        "KLEVER_PLAIN_HTTP": "true",
    }
    api.objects["/version"] = {"gitVersion": "v1.31.2"}
    kinds = ("workflows", "workflowtemplates", "workflowtaskresults")
    api.objects["/apis/argoproj.io/v1alpha1"] = {"resources": [{"name": kind} for kind in kinds]}
    api.put(
        "/apis/apps/v1/namespaces/argo/deployments/workflow-controller",
        deployment("quay.io/argoproj/workflow-controller:v3.7.16"),
    )
    definition = build()
    conditions = [{"type": kind, "status": "True"} for kind in ("NamesAccepted", "Established")]
    definition["spec"]["conversion"] = {"strategy": "None"}
    api.put(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeljobs.kleveross.io",
        definition | {"status": {"conditions": conditions}},
    )
    for namespace in (HOME, JOBS):
        api.put(f"/api/v1/namespaces/{namespace}", {})
    for name in ("klever-controller", "klever-server"):
        api.put(patient.at("deployments", name), deployment("docker.io/klever/api:1.0.0", told))
        api.put(patient.at("serviceaccounts", name), {})
    lease = {"holderIdentity": "one", "renewTime": datetime.now(UTC).isoformat(), "leaseDurationSeconds": 15}
    api.put(patient.at("leases", "klever-controller"), {"spec": lease})
    policy = "projects:\n  - {match: release, namespace: models}\n"
    api.put(patient.at("configmaps", "klever-policy"), {"data": {"policy.yaml": policy}})
    for name, template in load().items():
        api.put(patient.at("workflowtemplates", name, JOBS), template)
    for name in ("klever-step", "klever-executor"):
        api.put(patient.at("serviceaccounts", name, JOBS), {})
    token = {"type": "kubernetes.io/service-account-token", "data": {"token": "dA=="}}
    api.put(patient.at("secrets", "klever-executor.service-account-token", JOBS), token)
    robot = patient.harbor.make_robot("release")
    credentials = Credentials(robot.name, robot.secret)
    for document in (
        secrets.build_harbor(HOME, credentials),
        secrets.build_hook(HOME, AUTHORIZATION),
        *(secrets.build_registry(each, host, credentials, None) for each in (HOME, JOBS)),
    ):
        metadata = document["metadata"]
        api.put(patient.at("secrets", metadata["name"], metadata["namespace"]), document)


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    """An installation in which all is well; nobody is logged in to Harbor."""
    monkeypatch.setenv("KLEVER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for variable in ("XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE", "KUBERNETES_SERVICE_HOST", "KLEVER_ENVIRONMENTS"):
        monkeypatch.delenv(variable, raising=False)
    harbor = StandIn("127.0.0.1:1")
    try:
        with api_server() as api:
            harbor.make_project("release")
            made = Patient(api, harbor, tmp_path)
            fill(made)
            path = str(api.kubeconfig(tmp_path, HOME))
            made.environment["KUBECONFIG"] = path
            # The client reads the variable when it is imported, which has to be before the variable is another.
            monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", path)
            monkeypatch.setenv("KUBECONFIG", path)
            yield made
    finally:
        harbor.close()


@pytest.fixture
def administrator() -> Callable[[str], Credentials]:
    """Who may look at webhook policies."""
    return lambda _host: Credentials("admin", "Harbor12345")


@pytest.fixture
def chart_rules() -> dict[str, list[dict[str, Any]]]:
    """What the chart allows the accounts of the controller and of the server in a namespace with jobs."""
    text = (Path(__file__).resolve().parents[3] / "charts/klever/templates/_rules.tpl").read_text("utf-8")
    rules: dict[str, list[dict[str, Any]]] = yaml.safe_load(re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL))
    return rules
