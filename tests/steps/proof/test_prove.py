"""A proof runs both models, says how far it came, and turns what it meets into a level and a note."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from klever.steps.conversions import Demands
from klever.steps.convert import convert
from klever.steps.converters.interface import SourceModel
from klever.steps.environments import environment, is_available
from klever.steps.errors import StorageError
from klever.steps.extract import extract
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.model.certificate import Level
from klever.steps.model.signature import Signature, Tensor
from klever.steps.proof import Subject, needed_environments, prove
from klever.steps.proof.runners import RUNNERS, Runner
from klever.steps.recognise import recognise
from klever.steps.stores import Stores

pytestmark = pytest.mark.skipif(
    not is_available(environment("prove-onnx")), reason="needs onnxruntime, of the extra convert"
)

Make = Callable[..., Subject]


def subject(path: Path, format_id: str | None = None) -> Subject:
    """Read a model as a conversion does."""
    model = recognise(path, format_id=format_id)
    signature = extract(model).metadata.signature or Signature()
    return Subject(model.format.id, SourceModel(model.files, model.claim, signature))


@pytest.fixture
def linear(tmp_path: Path) -> Make:
    """Make an ONNX model ``y = x * w``; models of several names lie beside each other."""

    def make(
        name: str, weight: Sequence[float], *, shape: Sequence[int | str] = ("n", 3), operator: str = "Mul"
    ) -> Subject:
        graph = helper.make_graph(
            [helper.make_node(operator, ["x", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.array(weight, np.float32), "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        (tmp_path / name).mkdir()
        onnx.save(model, tmp_path / name / "model.onnx")
        return subject(tmp_path / name)

    return make


def test_equal_models_are_compared_and_agree(linear: Make) -> None:
    told: list[float] = []
    evidence = prove(linear("a", [1, 2, 3]), linear("b", [1, 2, 3]), seed=5, report=lambda done, _: told.append(done))
    assert evidence.level is Level.COMPARED
    assert [(error.name, error.largest_absolute, error.within_tolerance) for error in evidence.outputs] == [
        ("y", 0, True)
    ]
    assert evidence.seed == 5
    assert [(made.name, made.shape) for made in evidence.inputs] == [("x", (2, 3))]
    assert evidence.source_runtime == evidence.result_runtime
    assert evidence.result_runtime is not None
    assert evidence.result_runtime.name == "onnxruntime"
    assert evidence.tolerance is not None
    assert told == sorted(told)
    assert evidence.notes == ()


def test_a_result_that_computes_something_else_is_found_out(linear: Make) -> None:
    evidence = prove(linear("a", [1, 2, 3]), linear("b", [1, 2, 3.1]))
    assert evidence.level is Level.COMPARED
    assert not evidence.outputs[0].within_tolerance


def test_half_precision_has_a_looser_tolerance(linear: Make) -> None:
    source, result = linear("a", [1, 2, 3]), linear("b", [1, 2, 3.01])
    assert not prove(source, result).outputs[0].within_tolerance
    assert prove(source, result, half=True).outputs[0].within_tolerance


def test_without_a_proof_nothing_is_run(linear: Make) -> None:
    broken = linear("a", [1, 2, 3])._replace(format="NoSuchFormat")
    evidence = prove(broken, broken, level=Level.NONE)
    assert (evidence.level, evidence.notes, evidence.inputs) == (Level.NONE, (), ())


def test_a_source_that_nothing_runs_leaves_an_execution(linear: Make) -> None:
    result = linear("a", [1, 2, 3])
    evidence = prove(result._replace(format="PMML"), result)
    assert evidence.level is Level.EXECUTED
    assert evidence.result_runtime is not None
    assert evidence.source_runtime is None
    assert evidence.outputs == ()
    assert "nothing runs PMML" in evidence.notes[0]


def test_a_source_whose_environment_is_missing_says_how_to_make_it(
    linear: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "none"))
    result = linear("a", [1, 2, 3])
    evidence = prove(result._replace(format="MXNetParams"), result)
    assert evidence.level is Level.EXECUTED
    assert "klever environments create prove-mxnet" in evidence.notes[0]


def test_a_result_that_does_not_load_is_no_execution(linear: Make) -> None:
    source, result = linear("a", [1, 2, 3]), linear("b", [1, 2, 3], operator="NoSuchOperator")
    evidence = prove(source, result)
    assert evidence.level is Level.NONE
    assert "onnxruntime does not load the model" in evidence.notes[0]
    assert evidence.result_runtime is None


def test_an_input_without_a_rank_is_asked_for(linear: Make) -> None:
    result = linear("a", [1, 2, 3])
    open_input = Signature(inputs=(Tensor(name="x", dtype="float32"),))
    result = result._replace(model=SourceModel(result.model.files, result.model.claim, open_input))
    evidence = prove(result, result)
    assert evidence.level is Level.NONE
    assert "the shape of input 'x' is not known" in evidence.notes[0]


def test_a_source_of_nothing_but_nan_compares_nothing(linear: Make) -> None:
    evidence = prove(linear("a", [np.nan] * 3), linear("b", [np.nan] * 3))
    assert evidence.level is Level.EXECUTED
    assert "nothing but NaN" in evidence.notes[0]


def test_indices_are_kept_within_the_rows_that_the_converter_knows(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Gather", ["w", "ids"], ["y"])],
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", 50])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 50])],
        [numpy_helper.from_array(np.arange(2, dtype=np.float32), "w")],
    )
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), tmp_path / "m.onnx")
    model = subject(tmp_path / "m.onnx")
    assert prove(model, model, ranges={"ids": (0, 2)}).level is Level.COMPARED
    assert prove(model, model).level is Level.NONE


def test_a_full_disk_is_no_finding_about_a_model(linear: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = linear("a", [1, 2, 3])
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(StorageError):
        prove(model, model)


@pytest.mark.parametrize("name", ["dtypes_string_fp16_bool_scalar", "cnn_dynamic_dims"])
def test_inputs_of_every_type_reach_onnxruntime(models: Path, shared: Path, name: str) -> None:
    model = subject(shared / "corpus" / "ONNX" / name)
    evidence = prove(model, model)
    assert evidence.level is Level.COMPARED, evidence.notes
    assert all(error.within_tolerance for error in evidence.outputs)


def test_a_comparison_names_the_environments_that_it_needs() -> None:
    def needed(source: str, target: str, content: bytes = b"") -> tuple[str, ...]:
        model = SourceModel(MemoryFiles({"m": content}), Claim(Evidence.CONTENT, ("m",)), Signature())
        return needed_environments(Subject(source, model), target)

    assert needed("MXNetParams", "ONNX") == ("prove-mxnet", "prove-onnx")
    assert needed("CaffeModel", "NetDef") == ("prove-caffe", "prove-onnx")
    assert needed("PMML", "ONNX") == ("prove-onnx",)
    assert needed("XGBoost", "ONNX", b' {"learner"') == ("prove-xgboost", "prove-onnx")
    assert needed("XGBoost", "ONNX", b"binf\0\0") == ("prove-xgboost-binary", "prove-onnx")


def test_every_runner_is_a_program_in_an_environment_of_the_table() -> None:
    from klever.steps.environments.process import PROGRAMS

    for runner in RUNNERS.values():
        if isinstance(runner, Runner):
            environment(runner.environment)
            assert (PROGRAMS / f"{runner.program}.py").is_file()


@pytest.mark.environment("convert-torch")
def test_an_argument_that_was_left_to_its_default_is_left_in_the_source_too(models: Path, tmp_path: Path) -> None:
    source = models / "TorchScript" / "branch_scripted_torch215" / "model"
    made = convert(source, "ONNX", tmp_path / "result", Stores(), demands=Demands(level=Level.COMPARED))
    assert made.certificate.within_tolerance
    assert [tensor.name for tensor in made.certificate.inputs] == ["input__0"]
