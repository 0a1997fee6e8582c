"""Keras models in HDF5 and archives: what is refused before any Keras sees it. None is started here."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from klever.steps.converters.h5_to_onnx import CONVERTER as H5_ONNX
from klever.steps.converters.h5_to_savedmodel import CONVERTER as H5
from klever.steps.converters.interface import Converter, Options, SourceModel
from klever.steps.converters.keras_models import KerasModel, ranges_of, request_of
from klever.steps.converters.keras_to_onnx import CONVERTER as KERAS_ONNX
from klever.steps.converters.keras_to_savedmodel import CONVERTER as KERAS
from klever.steps.errors import (
    ConversionError,
    KleverError,
    LimitExceededError,
    MalformedModelError,
    UnsafeModelError,
    UnsupportedOperatorsError,
)
from klever.steps.model.signature import Signature
from klever.steps.recognise import recognise

TRACE = Path("/tmp/PWNED_H5")
LAMBDA = {"class_name": "Lambda", "config": {"name": "scale", "function": ["4wAAAA==", None, None]}}
CUSTOM = {"class_name": "Mine", "config": {"name": "mine"}}


def config(*layers: dict[str, Any], sizes: tuple[int | None, ...] = (None, 4)) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": list(sizes), "dtype": "float32"}}
    dense = {"class_name": "Dense", "config": {"name": "dense", "units": 3}}
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [first, *layers, dense]}}


def source(directory: Path) -> SourceModel:
    model = recognise(directory)
    return SourceModel(model.files, model.claim, Signature())


def h5(directory: Path, document: dict[str, Any], fill: Callable[[h5py.Group], object] = lambda _: None) -> SourceModel:
    directory.mkdir()
    with h5py.File(directory / "model.h5", "w") as file:
        file.attrs["keras_version"] = "2.11.0"
        file.attrs["model_config"] = json.dumps(document)
        fill(file.create_group("model_weights"))
    return source(directory)


def archive(directory: Path, document: dict[str, Any], weights: bytes | None = None) -> SourceModel:
    directory.mkdir()
    if weights is None:
        with h5py.File(directory / "weights", "w") as file:
            file.create_group("layers")
        weights = (directory / "weights").read_bytes()
        (directory / "weights").unlink()
    with zipfile.ZipFile(directory / "model.keras", "w") as file:
        file.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        file.writestr("config.json", json.dumps(document))
        file.writestr("model.weights.h5", weights)
    return source(directory)


@pytest.mark.parametrize(
    ("converter", "write"),
    [(H5, h5), (H5_ONNX, h5), (KERAS, archive), (KERAS_ONNX, archive)],
    ids=["h5-savedmodel", "h5-onnx", "keras-savedmodel", "keras-onnx"],
)
class TestRefusal:
    def test_code_is_refused_by_layer_name(self, converter: Converter, write: Any, tmp_path: Path) -> None:
        model = write(tmp_path / "model", config(LAMBDA, CUSTOM))
        found = {each.operator: each.nodes for each in converter.survey(model, Options()).uncovered}
        assert found == {"Lambda": ("scale",), "Mine": ("mine",)}
        with pytest.raises(UnsafeModelError, match="scale"):
            converter.convert(model, Options(), tmp_path / "out")
        assert not TRACE.exists()

    def test_custom_layers_are_all_listed(self, converter: Converter, write: Any, tmp_path: Path) -> None:
        more = [{"class_name": "Mine", "config": {"name": f"mine_{index}"}} for index in range(3)]
        with pytest.raises(UnsupportedOperatorsError) as caught:
            converter.convert(write(tmp_path / "model", config(*more)), Options(), tmp_path / "out")
        assert caught.value.operators == {"Mine": ("mine_0", "mine_1", "mine_2")}

    def test_a_shape_that_contradicts_the_model_is_refused(
        self, converter: Converter, write: Any, tmp_path: Path
    ) -> None:
        model = write(tmp_path / "model", config())
        assert converter.survey(model, Options(batch=3)).uncovered == ()
        with pytest.raises(ConversionError, match=r"\[-1, 4\]"):
            converter.survey(model, Options(shapes={"x": (-1, 5)}))


def test_links_in_weights_are_refused(tmp_path: Path) -> None:
    model = h5(tmp_path / "model", config(), lambda group: group.__setitem__("a", h5py.ExternalLink("/x.h5", "/a")))
    with pytest.raises(UnsafeModelError, match="link"):
        H5.convert(model, Options(), tmp_path / "out")


def test_links_in_an_archives_weights_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("/x.h5", "/a")
    model = archive(tmp_path / "model", config(), (tmp_path / "weights.h5").read_bytes())
    with pytest.raises(UnsafeModelError, match="link"):
        KERAS.convert(model, Options(), tmp_path / "out")


def test_absurd_weights_are_refused(tmp_path: Path) -> None:
    def fill(group: h5py.Group) -> None:
        group.create_dataset("kernel", (1 << 20, 1 << 20), "f4", chunks=(8, 8))

    with pytest.raises(LimitExceededError):
        H5.convert(h5(tmp_path / "model", config(), fill), Options(), tmp_path / "out")


def test_weights_without_a_model_are_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with h5py.File(tmp_path / "model" / "model.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"dense"])
        file.create_group("dense")
    with pytest.raises(MalformedModelError, match="without the model itself"):
        H5.survey(source(tmp_path / "model"), Options())


def test_a_subclassed_model_is_refused(tmp_path: Path) -> None:
    model = h5(tmp_path / "model", {"class_name": "MyModel", "config": {"units": 3}})
    with pytest.raises(UnsupportedOperatorsError, match="MyModel"):
        H5.convert(model, Options(), tmp_path / "out")


def test_names_and_shapes_are_requested_from_what_was_read() -> None:
    model = KerasModel(Path("/m.h5"), "h5", config(), {"keras_version": "2.1.6", "backend": "theano"})
    request = request_of(model, Options(batch=2))
    assert (request["inputs"], request["outputs"]) == (["x"], ["dense"])
    assert request["shapes"] == {"x": [2, 4]}
    assert request["mirror_kernels"]
    assert request["framework"] == "tf_keras"


def test_an_input_that_is_embedded_has_the_tables_range() -> None:
    embedding = {"class_name": "Embedding", "config": {"name": "e", "input_dim": 50, "output_dim": 4}}
    model = KerasModel(Path("/m.h5"), "h5", config(embedding), {})
    assert ranges_of(model) == {"x": (0, 50)}


@pytest.mark.corpus
def test_what_is_bad_in_the_corpus_is_refused_without_a_trace(shared: Path, tmp_path: Path) -> None:
    cases = sorted((shared / "corpus" / "H5").glob("bad_*"))
    assert cases
    for case in cases:
        with pytest.raises(KleverError):
            H5.convert(source(case / "model"), Options(), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not TRACE.exists()
