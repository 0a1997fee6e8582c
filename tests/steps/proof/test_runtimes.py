"""The programs that run old models compute what the frameworks that wrote the corpus computed, and run no code of theirs."""

import json
from pathlib import Path

import numpy as np
import pytest
from corpus import corpus

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.table import PAIRS
from klever.steps.environments import environment, run
from klever.steps.environments.locate import directory_of
from klever.steps.errors import ConversionError, UnsafeModelError
from klever.steps.extract import extract
from klever.steps.model.certificate import Level
from klever.steps.model.signature import Signature
from klever.steps.proof import Subject, prove
from klever.steps.proof.arrays import load, save
from klever.steps.proof.requests import build_request
from klever.steps.proof.runners import runner_of
from klever.steps.recognise import recognise


def subject(path: Path, format_id: str | None = None) -> Subject:
    """Read a model as a conversion does."""
    model = recognise(path, format_id=format_id)
    signature = extract(model).metadata.signature or Signature()
    return Subject(model.format.id, SourceModel(model.files, model.claim, signature))


def runs_as_its_oracle(package: Path, scratch: Path) -> None:
    """Run a model of the corpus on its oracle's inputs and require its outputs."""
    model = subject(package)
    request = build_request(model, scratch)
    outputs = scratch / "outputs.npz"
    request |= {"inputs": str(package / "oracle" / "inputs.npz"), "outputs": str(outputs)}
    runner = runner_of(model)
    reply = run(runner.environment, runner.program, request)
    assert reply["runtime"]
    assert reply["version"]
    computed = load(outputs)
    assert set(reply["outputs"]) == set(computed)
    expected = load(package / "oracle" / "outputs.npz")
    assert expected
    for name, values in expected.items():
        np.testing.assert_allclose(computed[name], values, rtol=1e-4, atol=1e-5)


@pytest.mark.environment("prove-mxnet")
@pytest.mark.parametrize("package", corpus("MXNetParams"), ids=lambda path: path.name)
def test_mxnet_computes_what_its_oracle_does(package: Path, tmp_path: Path) -> None:
    runs_as_its_oracle(package, tmp_path)


@pytest.mark.environment("prove-caffe2")
@pytest.mark.parametrize("package", corpus("NetDef"), ids=lambda path: path.name)
def test_caffe2_computes_what_its_oracle_does(package: Path, tmp_path: Path) -> None:
    runs_as_its_oracle(package, tmp_path)


@pytest.mark.environment("prove-caffe")
@pytest.mark.parametrize("package", corpus("CaffeModel"), ids=lambda path: path.name)
def test_opencv_computes_what_caffe_does(package: Path, tmp_path: Path) -> None:
    runs_as_its_oracle(package, tmp_path)


@pytest.mark.environment("prove-onnx")
@pytest.mark.parametrize(
    "package", [path for path in corpus("ONNX") if not path.name.startswith("bad_")], ids=lambda path: path.name
)
def test_onnxruntime_computes_what_its_oracle_does(package: Path, tmp_path: Path) -> None:
    if package.name.startswith("dtypes_string"):
        pytest.skip("its oracle's arrays are pickles, which are not read; test_prove runs it")
    runs_as_its_oracle(package, tmp_path)


@pytest.mark.environment("prove-mxnet", "prove-onnx")
def test_a_converted_mxnet_model_is_proven(shared: Path, tmp_path: Path) -> None:
    proven(shared / "corpus" / "MXNetParams" / "two_inputs_embedding", "ONNX", tmp_path)


@pytest.mark.environment("prove-caffe2", "prove-onnx")
def test_a_converted_caffe2_model_is_proven(shared: Path, tmp_path: Path) -> None:
    proven(shared / "corpus" / "NetDef" / "embedding_int_input", "ONNX", tmp_path)


@pytest.mark.environment("prove-caffe", "prove-onnx")
def test_a_converted_caffe_model_is_proven_where_there_is_no_caffe2(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only = directory_of(environment("prove-caffe"))
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / only.name).symlink_to(only)
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "environments"))
    notes = proven(shared / "corpus" / "CaffeModel" / "opmix", "NetDef", tmp_path / "made")
    assert "the NetDef was run as ONNX" in notes[0]


@pytest.mark.environment("prove-caffe", "prove-caffe2")
def test_a_converted_caffe_model_is_proven_in_caffe2_where_there_is_one(shared: Path, tmp_path: Path) -> None:
    assert proven(shared / "corpus" / "CaffeModel" / "lenet", "NetDef", tmp_path) == ()


def proven(package: Path, target: str, directory: Path) -> tuple[str, ...]:
    """Convert a model, require that it compares well, and return the proof's notes."""
    source = subject(package)
    converter = next(pair.load() for pair in PAIRS if (pair.source, pair.target) == (source.format, target))
    directory.mkdir(exist_ok=True)
    conversion = converter.convert(source.model, Options(), directory)
    evidence = prove(source, subject(directory, target), ranges=conversion.ranges)
    assert evidence.level is Level.COMPARED, evidence.notes
    assert all(error.within_tolerance for error in evidence.outputs), evidence.outputs
    return evidence.notes


@pytest.mark.environment("prove-mxnet")
def test_a_network_that_names_an_operator_by_a_pointer_is_not_run(tmp_path: Path) -> None:
    symbol = tmp_path / "net-symbol.json"
    node = {"op": "_Native", "name": "x", "attrs": {"info": "0x1"}, "inputs": []}
    symbol.write_text(json.dumps({"nodes": [node], "arg_nodes": [], "heads": [[0, 0, 0]]}))
    with pytest.raises(UnsafeModelError, match="_Native"):
        run("prove-mxnet", "run_mxnet", {"files": {"net-symbol.json": str(symbol)}})


@pytest.mark.environment("prove-caffe2")
def test_a_network_that_runs_python_or_writes_files_is_not_run(tmp_path: Path) -> None:
    for operator in ("Python", "PythonDLPack", "Save", "CreateDB", "TensorProtosDBInput"):
        # caffe2.proto: NetDef.op is field 2, OperatorDef.type field 4.
        inner = b"\x22" + bytes([len(operator)]) + operator.encode()
        (tmp_path / "net.pb").write_bytes(b"\x12" + bytes([len(inner)]) + inner)
        files = {"predict_net.pb": str(tmp_path / "net.pb"), "init_net.pb": str(tmp_path / "net.pb")}
        with pytest.raises(UnsafeModelError, match=operator):
            run("prove-caffe2", "run_caffe2", {"files": files})


@pytest.mark.environment("prove-caffe")
def test_what_opencv_does_not_run_is_a_sentence(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'input: "x" input_shape { dim: 1 dim: 3 }\nlayer { name: "f" type: "NoSuchLayer" bottom: "x" top: "y" }\n'
    )
    save(tmp_path / "inputs.npz", {"x": np.zeros((1, 3), np.float32)})
    request = {"path": str(net), "weights": "", "producers": {"y": ["f", 0]}, "inputs": str(tmp_path / "inputs.npz")}
    with pytest.raises(ConversionError, match='OpenCV does not run this network: Can\'t create layer "f"'):
        run("prove-caffe", "run_opencv", request | {"outputs": str(tmp_path / "outputs.npz")})
