"""Planning the conversion of an artifact, whose layer is closed again when the plan is made."""

from pathlib import Path

import foreign
import pytest

from klever.steps.errors import MetadataError, NoPathError, UnrecognisedFormatError
from klever.steps.oci.reference import parse_reference
from klever.steps.plan import OtherFormatError, plan_artifact
from klever.steps.publish import publish
from klever.steps.stores import Stores

REFERENCE = parse_reference("vision/net:v1")


@pytest.mark.parametrize(
    ("model", "target", "environments", "proving"),
    [
        ("MXNetParams/mlp", "ONNX", ("",), ("prove-mxnet", "prove-onnx")),
        ("H5/sequential_keras3", "SavedModel", ("convert-tensorflow",), ("convert-tensorflow",)),
        ("H5/sequential_keras3", "ONNX", ("convert-tensorflow",), ("convert-tensorflow", "prove-onnx")),
    ],
)
def test_a_plan_knows_what_runs_the_conversion_and_its_proof(
    models: Path, tmp_path: Path, model: str, target: str, environments: tuple[str, ...], proving: tuple[str, ...]
) -> None:
    stores = Stores(home=tmp_path / "home")
    publish(models / model / "model", REFERENCE, stores)
    planned = plan_artifact(REFERENCE, stores, target)
    assert (planned.environments, planned.proving) == (environments, proving)


def test_what_proves_an_estimator_is_chosen_by_its_bytes_while_they_can_be_read(models: Path, tmp_path: Path) -> None:
    stores = Stores(home=tmp_path / "home")
    for case in sorted((models / "SKLearn").glob("*/model")):
        if case.parent.name.startswith("bad"):
            continue
        publish(case, REFERENCE, stores)
        planned = plan_artifact(REFERENCE, stores, "ONNX")
        assert planned.proving == (planned.environments[0], "prove-onnx")


def test_a_model_of_another_format_than_was_said_is_refused(models: Path, tmp_path: Path) -> None:
    stores = Stores(home=tmp_path / "home")
    publish(models / "MXNetParams" / "mlp" / "model", REFERENCE, stores)
    assert plan_artifact(REFERENCE, stores, "ONNX", source="mxnetparams").source == "MXNetParams"
    with pytest.raises(OtherFormatError, match="vision/net:v1 is MXNetParams, and H5 was to be converted") as raised:
        plan_artifact(REFERENCE, stores, "ONNX", source="h5")
    assert (raised.value.stage, raised.value.next_step) == (
        "plan",
        "convert from MXNetParams, or correct the reference",
    )
    with pytest.raises(MetadataError, match="there is no format 'None'"):
        plan_artifact(REFERENCE, stores, "ONNX", source="None")


@pytest.mark.parametrize("config", [{"author": "Ada"}, {"format": "Others"}])
def test_what_was_said_settles_a_format_that_the_artifact_does_not_say(
    models: Path, tmp_path: Path, config: dict[str, str]
) -> None:
    stores = Stores(home=tmp_path / "home")
    foreign.put(REFERENCE, stores, models / "MXNetParams" / "mlp" / "model", config=config)
    assert plan_artifact(REFERENCE, stores, "ONNX", source="MXNetParams").source == "MXNetParams"
    with pytest.raises((MetadataError, NoPathError)):
        plan_artifact(REFERENCE, stores, "ONNX")
    with pytest.raises(UnrecognisedFormatError, match="cannot be H5"):
        plan_artifact(REFERENCE, stores, "ONNX", source="H5")
