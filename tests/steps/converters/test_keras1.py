"""Models of Keras 1.2.2 in the terms of tf_keras, and what they compute there."""

from pathlib import Path

import numpy as np
import pytest

from klever.steps.converters.h5_to_savedmodel import CONVERTER, open_model
from klever.steps.converters.interface import Options, SourceModel
from klever.steps.environments import run
from klever.steps.extract import extract
from klever.steps.frameworks.keras.translation import translate
from klever.steps.model.signature import Signature
from klever.steps.proof.interface import Subject
from klever.steps.proof.requests import build_request
from klever.steps.recognise import recognise

CASES = sorted((Path(__file__).parent / "keras1").glob("*.h5"))


def source(path: Path) -> SourceModel:
    model = recognise(path)
    return SourceModel(model.files, model.claim, extract(model).metadata.signature or Signature())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_every_layer_has_its_present_name(case: Path) -> None:
    model = source(case)
    assert CONVERTER.survey(model, Options()).uncovered == ()
    text = str(open_model(model).loaded)
    assert not any(old in text for old in ("nb_filter", "output_dim': 4, 'init", "border_mode", "W_regularizer"))


def test_a_card_only_layer_becomes_the_one_for_every_processor() -> None:
    layer = {"class_name": "CuDNNGRU", "config": {"name": "g", "units": 3}}
    [made] = translate({"class_name": "Sequential", "config": [layer]}, "2.2.4")["config"]
    assert made["class_name"] == "GRU"
    assert made["config"]["reset_after"] is True


def test_a_gru_that_does_not_say_it_resets_before_the_product() -> None:
    layer = {"class_name": "GRU", "config": {"name": "g", "units": 3}}
    [made] = translate({"class_name": "Sequential", "config": [layer]}, "2.0.8")["config"]
    assert made["config"]["reset_after"] is False


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ({"class_name": "Highway", "config": {"name": "h"}}, "Highway"),
        ({"class_name": "BatchNormalization", "config": {"name": "b", "mode": 1}}, "BatchNormalization of mode 1"),
        ({"class_name": "Merge", "config": {"name": "m", "mode": "cos"}}, "Merge"),
        ({"class_name": "Merge", "config": {"name": "m", "mode": "f", "mode_type": "lambda"}}, "Lambda"),
    ],
)
def test_what_keras_2_does_not_have_keeps_a_name_that_is_refused(layer: dict[str, object], name: str) -> None:
    [made] = translate({"class_name": "Sequential", "config": [layer]}, "1.2.2")["config"]
    assert made["class_name"] == name


@pytest.mark.environment("convert-tensorflow")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_it_computes_what_keras_1_computed(case: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    model = source(case)
    CONVERTER.convert(model, Options(), tmp_path / "made")
    expected = np.load(case.with_suffix(".npz"))
    names = [tensor.name for tensor in model.signature.inputs or ()]
    np.savez(tmp_path / "inputs.npz", **{name: expected[f"i{index}"] for index, name in enumerate(names)})
    request = build_request(Subject("SavedModel", source(tmp_path / "made")), tmp_path)
    paths = {"inputs": str(tmp_path / "inputs.npz"), "outputs": str(tmp_path / "outputs.npz")}
    run("convert-tensorflow", "run_tensorflow", {**request, **paths})
    results = np.load(tmp_path / "outputs.npz")
    for index, tensor in enumerate(model.signature.outputs or ()):
        np.testing.assert_allclose(results[tensor.name], expected[f"o{index}"], rtol=1e-3, atol=1e-5)
