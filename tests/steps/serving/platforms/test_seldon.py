"""SeldonDeployments are such as the operator's schema takes, and bring the model in one of two ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import faults
from servings import OTHER_DIGEST, SCORING, canary, predictor, serving, variables

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Autoscaling, Header, Serving, Settings
from klever.steps.serving.platforms.seldon import PLATFORM

OWN = Settings(registry_secret="registry", ca_config_map="authorities", plain_http=True, image_pull_secret="pull")


@pytest.fixture(scope="module")
def schema(shared: Path) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    resource = yaml.load((shared / "reference/crds/seldondeployments.yaml").read_text(), loader)
    (version,) = [each for each in resource["spec"]["versions"] if each["name"] == "v1"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    # The API server knows these by itself.
    found["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return found


def _first(asked: Serving) -> dict[str, Any]:
    predictor: dict[str, Any] = PLATFORM.build(asked)[0]["spec"]["predictors"][0]
    return predictor


@pytest.mark.corpus
@pytest.mark.parametrize(
    "asked",
    [
        serving(),
        serving(settings=Settings(environment_secret="variables", service_account="server")),
        serving(predictor(gpus=2, replicas=3), settings=OWN, scheduler="volcano"),
        serving(predictor(process=SCORING), autoscaling=Autoscaling(2, 5)),
        canary(30, settings=OWN),
        serving(predictor(), predictor("v2", OTHER_DIGEST, header=Header("x-canary", "yes"))),
    ],
)
def test_the_operators_schema_takes_every_field(schema: dict[str, Any], asked: Serving) -> None:
    for each in PLATFORM.build(asked):
        assert list(faults(schema, each)) == []


@pytest.mark.corpus
def test_the_operators_schema_refuses_a_field_that_it_does_not_have(schema: dict[str, Any]) -> None:
    (made,) = PLATFORM.build(serving())
    made["spec"]["predictors"][0]["graph"]["modelURI"] = "x"
    assert list(faults(schema, made)) == [".spec.predictors[0].graph.modelURI: unknown"]


@pytest.mark.corpus
def test_what_the_operator_adds_to_such_a_deployment_meets_nothing_of_ours(shared: Path) -> None:
    recorded = json.loads((shared / "reference/seldon-recordings/deployment.json").read_text())
    pod = recorded["spec"]["template"]["spec"]
    (container,), (initializer,) = pod["containers"], pod["initContainers"]
    made = _first(serving(predictor("onnx")))
    ours = made["componentSpecs"][0]["spec"]
    server = ours["containers"][0]
    assert server["name"] == container["name"] == made["graph"]["name"] == made["name"]
    added = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert added["onnx-provision-location"] == "/mnt/models"
    assert not set(added) & {volume["name"] for volume in ours["volumes"]}
    assert not set(added.values()) & {mount["mountPath"] for mount in server["volumeMounts"]}
    # What it gives its init container is what ours takes: REFERENCE DIRECTORY.
    assert len(initializer["args"]) == 2
    assert initializer["args"][1] == "/mnt/models"
    assert "command" not in initializer
    # Ports of these names are kept, and the operator's port for metrics is not added where there is one.
    kept = {port["name"]: port["containerPort"] for port in container["ports"]}
    named = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert set(kept) <= set(named)


def test_the_operator_brings_the_model_unless_it_cannot() -> None:
    made = _first(serving(settings=Settings(environment_secret="variables")))
    pod = made["componentSpecs"][0]["spec"]
    assert made["graph"] == {
        "name": "v1",
        "type": "MODEL",
        "endpoint": {"type": "REST"},
        "modelUri": str(serving().predictors[0].uri),
        "storageInitializerImage": "docker.io/klever/initializer:1.0.0",
        "envSecretRefName": "variables",
        "serviceAccountName": "default",
    }
    assert "initContainers" not in pod
    assert "/mnt/models" not in [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]]


@pytest.mark.parametrize(
    "settings",
    [Settings(registry_secret="registry"), Settings(plain_http=True), Settings(ca_config_map="authorities"), OWN],
)
def test_our_own_init_container_comes_without_a_model_for_the_operator(settings: Settings) -> None:
    made = _first(serving(settings=settings))
    pod = made["componentSpecs"][0]["spec"]
    assert not {"modelUri", "storageInitializerImage", "envSecretRefName"} & set(made["graph"])
    (initializer,) = pod["initContainers"]
    assert not initializer["name"].endswith("-model-initializer")
    assert "models" in {volume["name"] for volume in pod["volumes"]}


def test_a_secret_that_only_the_operator_can_use_is_refused_where_it_cannot() -> None:
    with pytest.raises(ServingError, match="as variables and nothing else"):
        PLATFORM.build(serving(settings=Settings(environment_secret="variables", plain_http=True)))


def test_it_carries_what_a_seldon_deployment_of_klever_has() -> None:
    asked = serving(predictor(replicas=2), scheduler="volcano")
    (whole,) = PLATFORM.build(asked)
    assert whole["apiVersion"] == "machinelearning.seldon.io/v1"
    assert whole["spec"]["protocol"] == "v2"
    made = whole["spec"]["predictors"][0]
    assert made["annotations"] == {"seldon.io/no-engine": "true"}
    assert made["replicas"] == 2
    assert made["traffic"] == 100
    pod = made["componentSpecs"][0]["spec"]
    assert pod["schedulerName"] == "volcano"
    container = pod["containers"][0]
    told = variables(container)
    assert told["MODEL_STORE"] == "/mnt"
    assert told["SERVING_NAME"] == "resnet"
    assert told["NVIDIA_VISIBLE_DEVICES"] == ""
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == predictor().process.ports
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/models/resnet/ready"


def test_weights_are_those_of_predictors_of_one_deployment() -> None:
    (made,) = PLATFORM.build(canary(30))
    assert [(each["name"], each["traffic"]) for each in made["spec"]["predictors"]] == [("v1", 70), ("v2", 30)]


def test_a_header_leads_to_a_deployment_of_its_own_behind_the_same_address() -> None:
    asked = serving(predictor(), predictor("v2", OTHER_DIGEST, header=Header("x-canary", "yes"), traffic=0))
    shared, own = PLATFORM.build(asked)
    assert [each["name"] for each in shared["spec"]["predictors"]] == ["v1"]
    assert own["metadata"]["name"] == "resnet-v2"
    assert own["spec"]["annotations"] == {
        "seldon.io/ambassador-header": "x-canary: yes",
        "seldon.io/ambassador-service-name": "resnet",
    }
    # The operator refuses any other sum.
    assert own["spec"]["predictors"][0]["traffic"] == 100


@pytest.mark.parametrize(("name", "value"), [("", "yes"), ("x-canary", " "), ("x:y", "z"), ("x", "a:b")])
def test_a_header_that_the_operator_would_cut_is_refused(name: str, value: str) -> None:
    odd = predictor("v2", OTHER_DIGEST, header=Header(name, value))
    with pytest.raises(ServingError, match="no header that Seldon can match"):
        PLATFORM.build(serving(predictor(), odd))


def test_only_a_server_of_the_protocol_is_said_to_speak_it() -> None:
    (made,) = PLATFORM.build(serving(predictor(process=SCORING)))
    assert "protocol" not in made["spec"]
