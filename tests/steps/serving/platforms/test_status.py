"""Each platform's own words come down to ready, failed, or neither yet."""

from typing import Any

import pytest
from servings import serving

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.kubernetes import PLATFORM
from klever.steps.serving.platforms.status import Standing, read_standing


def _deployment(replicas: int = 2, **status: Any) -> dict[str, Any]:
    made = next(each for each in PLATFORM.build(serving()) if each["kind"] == "Deployment")
    made["spec"]["replicas"] = replicas
    made["metadata"]["generation"] = 3
    return {**made, "status": {"observedGeneration": 3, **status}}


def _seldon(**status: Any) -> Standing:
    return read_standing({"kind": "SeldonDeployment", "metadata": {}, "status": status})


def _kserve(*conditions: dict[str, str], **status: Any) -> Standing:
    return read_standing({"kind": "InferenceService", "status": {"conditions": list(conditions), **status}})


def test_a_deployment_is_ready_when_every_pod_is_new_and_answers() -> None:
    standing = read_standing({**_deployment(), "status": _counts(2, 2, 2)})
    assert standing == Standing(ready=True, failed=False, url="http://resnet.models.svc:8000")


def _counts(total: int, updated: int, available: int) -> dict[str, int]:
    return {
        "observedGeneration": 3,
        "replicas": total,
        "updatedReplicas": updated,
        "availableReplicas": available,
    }


@pytest.mark.parametrize(("counts", "reason"), [((3, 1, 2), "1 of 2"), ((2, 2, 1), "1 of 2"), ((3, 2, 2), "2 of 2")])
def test_a_deployment_in_the_middle_of_a_rollout_is_neither(counts: tuple[int, int, int], reason: str) -> None:
    standing = read_standing({**_deployment(), "status": _counts(*counts)})
    assert not standing.ready
    assert not standing.failed
    assert standing.reason.startswith(reason)


def test_a_deployment_past_its_deadline_has_failed_though_old_pods_serve() -> None:
    late = {
        "type": "Progressing",
        "status": "False",
        "reason": "ProgressDeadlineExceeded",
        "message": 'ReplicaSet "resnet-v1-7" has timed out progressing.',
    }
    standing = read_standing({**_deployment(), "status": {**_counts(3, 1, 2), "conditions": [late]}})
    assert (standing.ready, standing.failed) == (False, True)
    assert "timed out" in standing.reason


def test_a_deployment_that_may_have_no_pods_says_why() -> None:
    quota = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: gpus"}
    standing = read_standing({**_deployment(), "status": {**_counts(0, 0, 0), "conditions": [quota]}})
    assert not standing.failed
    assert standing.reason == "exceeded quota: gpus"


def test_what_is_said_of_an_earlier_wish_does_not_count() -> None:
    made = _deployment()
    made["metadata"]["generation"] = 4
    standing = read_standing({**made, "status": _counts(2, 2, 2)})
    assert not standing.ready
    assert "not seen yet" in standing.reason


@pytest.mark.parametrize("kind", ["Deployment", "SeldonDeployment", "InferenceService"])
def test_an_object_without_a_status_is_neither(kind: str) -> None:
    standing = read_standing({"kind": kind, "metadata": {"name": "resnet"}})
    assert not standing.ready
    assert not standing.failed


@pytest.mark.parametrize("kind", ["Deployment", "SeldonDeployment", "InferenceService"])
@pytest.mark.parametrize(
    "status", [[], "Ready", {"conditions": {"Ready": True}}, {"address": 3, "conditions": [None, 4]}]
)
def test_a_status_of_another_shape_is_neither_and_raises_nothing(kind: str, status: Any) -> None:
    standing = read_standing({"kind": kind, "metadata": None, "status": status})
    assert not standing.ready
    assert not standing.failed


def test_seldons_states_are_read_with_the_address_without_a_path() -> None:
    address = {"url": "http://a-onnx.default.svc.cluster.local:8000/v2/models/onnx/infer"}
    assert _seldon(state="Available", address=address, description="") == Standing(
        ready=True, failed=False, url="http://a-onnx.default.svc.cluster.local:8000"
    )
    creating = _seldon(state="Creating")
    assert (creating.ready, creating.failed) == (False, False)
    failed = _seldon(state="Failed", description="Service conflict\nwith another")
    assert (failed.ready, failed.failed, failed.reason) == (False, True, "Service conflict?with another")


def test_an_inference_service_is_ready_by_its_condition() -> None:
    standing = _kserve(
        {"type": "Ready", "status": "True"},
        url="http://resnet.models.example.com",
        address={"url": "http://resnet-predictor.models.svc.cluster.local/v2/models/x"},
    )
    assert standing == Standing(ready=True, failed=False, url="http://resnet-predictor.models.svc.cluster.local")
    assert _kserve({"type": "Ready", "status": "True"}, url="http://x.example").url == "http://x.example"


def test_an_inference_service_tells_which_part_is_late() -> None:
    standing = _kserve(
        {"type": "PredictorReady", "status": "Unknown"},
        {"type": "Ready", "status": "False", "reason": "PredictorNotReady", "message": "waiting for a pod"},
    )
    assert (standing.ready, standing.failed, standing.reason) == (False, False, "waiting for a pod")


def test_an_inference_service_whose_revision_cannot_start_has_failed() -> None:
    standing = _kserve(
        {"type": "PredictorReady", "status": "False", "reason": "RevisionFailed", "message": "image not found"},
        {"type": "Ready", "status": "False"},
    )
    assert (standing.ready, standing.failed, standing.reason) == (False, True, "image not found")


def test_an_inference_service_whose_new_model_does_not_load_has_failed_though_the_old_one_serves() -> None:
    standing = _kserve(
        {"type": "Ready", "status": "True"},
        modelStatus={"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"message": "no such artifact"}},
    )
    assert (standing.ready, standing.failed, standing.reason) == (False, True, "no such artifact")


def test_an_address_that_is_none_is_left_out() -> None:
    assert _seldon(state="Available", address={"url": "http://[x"}).url == ""
    assert _seldon(state="Available", address={"url": "file:///etc/passwd"}).url == ""


def test_other_objects_do_not_stand_for_a_serving() -> None:
    with pytest.raises(ServingError, match="a Pod does not say"):
        read_standing({"kind": "Pod"})
