"""Every Keras and TensorFlow model of the corpus, converted and run, against what its own framework computed."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpus import corpus

from klever.steps.converters import tensorflow_operators
from klever.steps.converters.graphdef_to_onnx import CONVERTER as GRAPHDEF
from klever.steps.converters.h5_to_onnx import CONVERTER as H5_ONNX
from klever.steps.converters.h5_to_savedmodel import CONVERTER as H5
from klever.steps.converters.interface import Converter, Options, SourceModel
from klever.steps.converters.savedmodel_to_onnx import CONVERTER as SAVEDMODEL
from klever.steps.environments import environment, find_interpreter, run
from klever.steps.extract import extract
from klever.steps.model.signature import Signature
from klever.steps.proof.interface import Subject
from klever.steps.proof.requests import build_request
from klever.steps.recognise import recognise

pytestmark = [pytest.mark.corpus, pytest.mark.environment("convert-tensorflow")]

KERAS = [case for case in corpus("H5") if not case.name.startswith("bad_")]
#: What ONNX has no operator for: records of tf.Example.
SAVED = [case for case in corpus("SavedModel") if case.name != "tf1_string_no_serving_default"]
RECURRENT = ("bilstm", "lstm", "gru")


def source(directory: Path) -> SourceModel:
    model = recognise(directory)
    return SourceModel(model.files, model.claim, extract(model).metadata.signature or Signature())


def load(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=True) as arrays:
        return dict(arrays)


def by_names(arrays: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """Name arrays as the model does: Keras 3 numbers tensors of a session that have no name of their own."""
    return dict(arrays) if set(arrays) == set(names) else dict(zip(names, arrays.values(), strict=True))


def check(case: Path, results: Mapping[str, Any]) -> None:
    tolerance = 1e-3 if case.name.startswith(RECURRENT) else 1e-4
    for name, expected in by_names(load(case / "oracle" / "outputs.npz"), list(results)).items():
        np.testing.assert_allclose(results[name], expected, rtol=1e-3, atol=tolerance, err_msg=name)


def run_tensorflow(case: Path, directory: Path, tmp_path: Path) -> dict[str, Any]:
    model = source(directory)
    names = [tensor.name for tensor in model.signature.inputs or ()]
    np.savez(tmp_path / "inputs.npz", **by_names(load(case / "oracle" / "inputs.npz"), names))
    request = {
        **build_request(Subject("SavedModel", model), tmp_path),
        "inputs": str(tmp_path / "inputs.npz"),
        "outputs": str(tmp_path / "outputs.npz"),
    }
    reply = run("convert-tensorflow", "run_tensorflow", request)
    assert reply["runtime"] == "tensorflow"
    return load(tmp_path / "outputs.npz")


def run_onnx(case: Path, directory: Path) -> dict[str, Any]:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(directory / "model.onnx"), providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    inputs = session.get_inputs()
    given = by_names(load(case / "oracle" / "inputs.npz"), [each.name for each in inputs])
    names = [each.name for each in session.get_outputs()]
    fed = {each.name: given[each.name].astype(types[each.type]) for each in inputs}
    return dict(zip(names, session.run(names, fed), strict=True))


@pytest.mark.parametrize("case", KERAS, ids=lambda case: case.name)
def test_a_keras_model_becomes_a_savedmodel_with_the_layers_names(case: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    H5.convert(source(case / "model"), Options(), tmp_path / "made")
    check(case, run_tensorflow(case, tmp_path / "made", tmp_path))
    read, made = source(case / "model").signature, source(tmp_path / "made").signature
    for kind in ("inputs", "outputs"):
        wanted, found = ({t.name: (t.dtype, t.shape) for t in getattr(each, kind)} for each in (read, made))
        assert found.keys() == wanted.keys()
        assert kind == "outputs" or found == wanted


@pytest.mark.parametrize(
    ("case", "converter"),
    [(case, H5_ONNX) for case in KERAS]
    + [(case, SAVEDMODEL) for case in SAVED]
    + [(case, GRAPHDEF) for case in corpus("GraphDef")],
    ids=lambda value: value.name if isinstance(value, Path) else type(value).__name__,
)
def test_a_model_becomes_onnx(case: Path, converter: Converter, tmp_path: Path) -> None:
    converter.convert(source(case / "model"), Options(), tmp_path)
    check(case, run_onnx(case, tmp_path))


@pytest.mark.parametrize("opset", [13, 18, 19, 20, 21])
def test_every_opset_computes_the_same(shared: Path, opset: int, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    case = shared / "corpus" / "H5" / "bilstm_gru_text_keras3"
    H5_ONNX.convert(source(case / "model"), Options(opset=opset), tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    assert {entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")} == {opset}
    assert not {tensor.name for tensor in model.graph.initializer} & {value.name for value in model.graph.input}
    check(case, run_onnx(case, tmp_path))


def test_a_batch_size_and_half_precision_are_kept(shared: Path, tmp_path: Path) -> None:
    case = shared / "corpus" / "SavedModel" / "keras_cnn_k3"
    SAVEDMODEL.convert(source(case / "model"), Options(batch=2, dtype="float16"), tmp_path)
    results = run_onnx(case, tmp_path)
    for name, expected in load(case / "oracle" / "outputs.npz").items():
        assert results[name].dtype == np.float32
        np.testing.assert_allclose(results[name], expected, atol=2e-2)
    [made] = source(tmp_path).signature.inputs or ()
    assert made.shape == (2, 8, 8, 3)


def test_the_table_of_operators_is_what_the_library_has(tmp_path: Path) -> None:
    """The committed table is generated; this says whether tf2onnx or our additions changed since."""
    script = Path(__file__).parents[2] / "oracles" / "tensorflow_operators.py"
    interpreter = find_interpreter(environment("convert-tensorflow"))
    subprocess.run([interpreter, script, tmp_path / "made.py"], check=True, capture_output=True)
    assert (tmp_path / "made.py").read_text() == Path(tensorflow_operators.__file__).read_text()
