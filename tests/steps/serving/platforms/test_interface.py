"""A serving that no platform could keep up is refused before anything is made of it."""

from dataclasses import replace

import pytest
from servings import DIGEST, OTHER_DIGEST, predictor, serving

from klever.steps.errors import ServingError
from klever.steps.oci.reference import parse_reference
from klever.steps.serving.platforms.interface import Autoscaling, Header, Predictor


def test_a_reference_without_a_digest_is_refused() -> None:
    with pytest.raises(ServingError, match="has no digest") as failure:
        serving(predictor(digest=None))
    assert "digest" in failure.value.next_step


def test_a_model_of_this_machines_store_is_refused() -> None:
    own = predictor()
    with pytest.raises(ServingError, match="this machine's store"):
        serving(replace(own, uri=replace(own.uri, reference=parse_reference(f"resnet@{DIGEST}"))))


@pytest.mark.parametrize("missing", ["server", "name"])
def test_a_uri_that_leaves_something_to_the_initializer_is_refused(missing: str) -> None:
    own = predictor()
    with pytest.raises(ServingError, match="has to name"):
        serving(replace(own, uri=replace(own.uri, **{missing: None})))


@pytest.mark.parametrize(
    ("versions", "sentence"),
    [
        ((predictor("v1", traffic=60), predictor("v2", OTHER_DIGEST, traffic=30)), "adds up to 90 %"),
        ((predictor("v1"), predictor("v1", OTHER_DIGEST, traffic=0)), "a name each"),
        ((predictor("v1", header=Header("x-canary", "yes")),), "waits for a header"),
        ((predictor("v1", traffic=150), predictor("v2", OTHER_DIGEST, traffic=-50)), "expected 0 to 100"),
        ((predictor("v1", replicas=0),), "0 replicas"),
        ((predictor("v1", gpus=-1),), "-1 graphics cards"),
    ],
)
def test_versions_that_do_not_add_up_are_refused(versions: tuple[Predictor, ...], sentence: str) -> None:
    with pytest.raises(ServingError, match=sentence):
        serving(*versions)


@pytest.mark.parametrize("limits", [(0, 3), (4, 3)])
def test_limits_of_an_autoscaler_have_an_order(limits: tuple[int, int]) -> None:
    with pytest.raises(ServingError, match="the fewer first"):
        serving(autoscaling=Autoscaling(*limits))
