"""InferenceServices run our server as a custom predictor, whose model our initializer brings."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from schemas import faults
from servings import OTHER_DIGEST, SCORING, builtin_faults, canary, predictor, serving, variables

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Autoscaling, Header, Serving, Settings
from klever.steps.serving.platforms.kserve import PLATFORM, build_storage_container
from klever.steps.serving.uri import SCHEME

#: What stands beside the pod's own fields in a predictor (``ComponentExtensionSpec``).
EXTENSIONS = {"minReplicas", "maxReplicas", "canaryTrafficPercent"}
#: What Knative takes of a pod as it is installed (``PodSpecMask``); a scheduler wants a feature of it.
KNATIVE = {
    *("automountServiceAccountToken", "containers", "enableServiceLinks", "imagePullSecrets", "serviceAccountName"),
    "volumes",
}


def _predictor(asked: Serving) -> dict[str, Any]:
    (made,) = PLATFORM.build(asked)
    found: dict[str, Any] = made["spec"]["predictor"]
    return found


CASES = [
    serving(),
    serving(predictor(gpus=1), settings=Settings(image_pull_secret="pull", service_account="server")),
    serving(predictor(process=SCORING), autoscaling=Autoscaling(1, 4)),
    canary(10),
]


@pytest.mark.corpus
@pytest.mark.parametrize("asked", CASES)
def test_the_schema_takes_it(shared: Path, asked: Serving) -> None:
    resource = yaml.safe_load((shared / "reference/crds/inferenceservices.yaml").read_text())
    schema = resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    for each in PLATFORM.build(asked):
        assert list(faults(schema, each)) == []


@pytest.mark.parametrize("asked", CASES)
def test_the_pod_has_fields_that_kubernetes_has_and_knative_admits(asked: Serving) -> None:
    pod = {key: value for key, value in _predictor(asked).items() if key not in EXTENSIONS}
    assert set(pod) <= KNATIVE
    assert list(builtin_faults("V1PodSpec", pod)) == []
    (container,) = pod["containers"]
    assert not {"startupProbe", "lifecycle"} & set(container)
    assert len(container["ports"]) == 1
    port = container["ports"][0]["containerPort"]
    assert {container[probe]["httpGet"]["port"] for probe in ("livenessProbe", "readinessProbe")} == {port}


def test_the_model_is_named_where_kserve_looks_for_it() -> None:
    (container,) = _predictor(serving())["containers"]
    assert container["name"] == "kserve-container"
    told = variables(container)
    assert told["STORAGE_URI"] == str(serving().predictors[0].uri)
    assert told["PROTOCOL"] == "v2"
    assert "PROTOCOL" not in variables(_predictor(serving(predictor(process=SCORING)))["containers"][0])


def test_the_uri_is_one_that_our_storage_container_is_asked_for() -> None:
    made = build_storage_container(Settings())
    (form,) = made["spec"]["supportedUriFormats"]
    assert form == {"prefix": SCHEME}
    told = variables(_predictor(serving())["containers"][0])
    assert told["STORAGE_URI"].startswith(form["prefix"])
    # KServe takes what begins so for an image with a model inside.
    assert not told["STORAGE_URI"].startswith("oci://")


def test_the_storage_container_has_the_name_that_kserve_knows_and_no_arguments() -> None:
    made = build_storage_container(Settings(environment_secret="variables", plain_http=True, ca_config_map="cas"))
    container = made["spec"]["container"]
    assert container["name"] == "storage-initializer"
    assert "args" not in container
    assert "volumeMounts" not in container
    assert container["envFrom"] == [{"secretRef": {"name": "variables", "optional": True}}]
    assert set(variables(container)) == {"KLEVER_CA_FILE", "KLEVER_PLAIN_HTTP"}
    assert list(builtin_faults("V1Container", container)) == []
    assert "namespace" not in made["metadata"]


def test_a_canary_describes_the_new_version_and_its_share() -> None:
    (made,) = PLATFORM.build(canary(10))
    assert made["spec"]["predictor"]["canaryTrafficPercent"] == 10
    assert OTHER_DIGEST in variables(made["spec"]["predictor"]["containers"][0])["STORAGE_URI"]
    assert OTHER_DIGEST in made["metadata"]["annotations"]["kleveross.io/reference"]
    assert "canaryTrafficPercent" not in _predictor(serving())


def test_replicas_are_fixed_unless_something_scales_them() -> None:
    fixed, scaled = _predictor(serving(predictor(replicas=2))), _predictor(serving(autoscaling=Autoscaling(1, 4)))
    assert (fixed["minReplicas"], fixed["maxReplicas"]) == (2, 2)
    assert (scaled["minReplicas"], scaled["maxReplicas"]) == (1, 4)


def test_a_scheduler_is_named_where_one_is_asked_for() -> None:
    assert _predictor(serving(scheduler="volcano"))["schedulerName"] == "volcano"


def test_what_kserve_cannot_do_is_refused() -> None:
    by_header = predictor("v2", OTHER_DIGEST, header=Header("x-canary", "yes"))
    with pytest.raises(ServingError, match="by a header"):
        PLATFORM.build(serving(predictor(), by_header))
    three = (predictor("a", traffic=50), predictor("b", traffic=30), predictor("c", traffic=20))
    with pytest.raises(ServingError, match="an old and a new version, not 3"):
        PLATFORM.build(serving(*three))
