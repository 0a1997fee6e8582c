"""Archives are judged by their code before torch sees them, then exported with the names of the signature."""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.torchscript_to_onnx import CONVERTER
from klever.steps.converters.torchscript_to_onnx.arguments import arguments
from klever.steps.converters.torchscript_to_onnx.operators import survey_code
from klever.steps.errors import (
    ConversionError,
    ModelError,
    UnansweredError,
    UnsafeModelError,
    UnsupportedOperatorsError,
)
from klever.steps.extract import extract
from klever.steps.files import LocalFiles, MemoryFiles, ModelFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Signature, Tensor
from klever.steps.recognise import Model, recognise


def source_of(path: Path, *inputs: Tensor) -> SourceModel:
    model = recognise(path)
    if inputs:
        author = Metadata(format="TorchScript", signature=Signature(inputs=inputs))
        model = Model(model.files, model.format, model.claim, author)
    signature = extract(model).metadata.signature
    assert signature is not None
    return SourceModel(model.files, model.claim, signature)


EMPTY = b"\x80\x02c__torch__\nM\n)\x81}b."


def archive(code: str, folder: Path | None = None, pickle: bytes = EMPTY) -> SourceModel:
    """Return an archive with one module, on the disk if there is a folder for it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as written:
        written.writestr("m/data.pkl", pickle)
        written.writestr("m/code/__torch__.py", code)
        written.writestr("m/constants.pkl", b"\x80\x02).")
        written.writestr("m/version", "3\n")
    files: ModelFiles = MemoryFiles({"m.pt": stream.getvalue()})
    if folder is not None:
        (folder / "m.pt").write_bytes(stream.getvalue())
        files = LocalFiles({"m.pt": folder / "m.pt"})
    given = Tensor(name="input__0", dtype="float32", shape=(-1, 4), argumentName="x")
    return SourceModel(files, Claim(Evidence.CONTENT, ("m.pt",)), Signature(inputs=(given,), outputs=()))


CODE = """class M(Module):
  __parameters__ = []
  def forward(self: __torch__.M,
    x: Tensor) -> Tensor:
    y = torch.relu(x)
    a = torch.median(y)
    if torch.gt(1, 2):
      b = torch.fft_fft(a)
    else:
      b = a
    c = torch.cumprod(b, 1)
    d = torch.add_(c, torch.median(c))
    return ops.mine.special(d, 1)
"""


def test_operators_that_the_exporter_lacks_are_all_listed_with_their_places() -> None:
    survey = CONVERTER.survey(archive(CODE), Options())
    assert {each.operator: each.nodes for each in survey.uncovered} == {
        "aten::cumprod": ("M/c",),
        "aten::median": ("M/a", "M/d"),
        "mine::special": ("M/forward",),
    }
    assert [note for note in survey.notes if "aten::fft_fft" in note]


def test_what_may_never_run_is_no_reason_to_refuse() -> None:
    found = survey_code([("__torch__.functional", "def f(x: Tensor) -> Tensor:\n  y = torch.median(x)\n  return y\n")])
    assert not found.uncovered
    assert "aten::median" in found.notes[0]


def test_uncovered_operators_are_raised_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorsError) as raised:
        CONVERTER.convert(archive(CODE), Options(), tmp_path)
    assert set(raised.value.operators) == {"aten::cumprod", "aten::median", "mine::special"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["torch.save(x, 'file')", "ops.aten.save(x, 'file')", "torch.from_file('f', None, 3)"])
def test_code_that_touches_files_is_refused(call: str, tmp_path: Path) -> None:
    code = f"class M(Module):\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    _0 = {call}\n    return x\n"
    with pytest.raises(UnsafeModelError, match="files"):
        CONVERTER.convert(archive(code), Options(), tmp_path)


def test_a_pickle_that_would_call_something_is_refused(tmp_path: Path) -> None:
    evil = archive(CODE, pickle=b"\x80\x02cposix\nsystem\n(X\x02\x00\x00\x00idtR.")
    with pytest.raises(UnsafeModelError, match=r"posix\.system"):
        CONVERTER.convert(evil, Options(), tmp_path)


@pytest.mark.corpus
@pytest.mark.parametrize(
    "name", ["bad_pickle_exec_torch215", "bad_pickle_state_dict_torch171", "bad_pickle_state_dict_torch215"]
)
def test_pickles_of_the_corpus_are_refused_by_the_reader_and_by_the_converter(shared: Path, name: str) -> None:
    model = recognise(shared / "corpus" / "TorchScript" / name)
    with pytest.raises(ModelError):
        extract(model)
    with pytest.raises(ModelError):
        CONVERTER.survey(SourceModel(model.files, model.claim, Signature()), Options())
    assert not Path("/tmp/PWNED_PT").exists()


def test_a_shape_that_nobody_told_is_asked_for(models: Path, tmp_path: Path) -> None:
    source = source_of(models / "TorchScript" / "lstm_dict_scripted_torch215" / "model")
    (question,) = CONVERTER.survey(source, Options()).questions
    assert question.answer.startswith("--shape input__0=")
    with pytest.raises(UnansweredError):
        CONVERTER.convert(source, Options(), tmp_path)
    assert not CONVERTER.survey(source, Options(shapes={"input__0": (2, 6, 5)})).questions


def test_arguments_that_are_no_tensors_are_left_to_their_default_or_uncovered(models: Path) -> None:
    branch = CONVERTER.survey(source_of(models / "TorchScript" / "branch_scripted_torch215" / "model"), Options())
    assert not branch.uncovered
    assert [note for note in branch.notes if "input__1" in note]
    lists = CONVERTER.survey(source_of(models / "TorchScript" / "list_scripted_torch17" / "model"), Options())
    assert [each.operator for each in lists.uncovered] == ["an argument of type List[Tensor]"]


def test_options_give_the_batch_and_shapes_of_inputs() -> None:
    signature = Signature(inputs=(
        Tensor(name="a", dtype="float32", shape=(1, 3)), Tensor(name="b", dtype="float32", shape=(1, 3)),
        Tensor(name="c", dtype="float32", argumentName="c", optional=True),
    ))  # fmt: skip
    given = arguments(signature, Options(batch=-1, shapes={"b": (2, 5)}))
    assert [(one.shape, one.is_given) for one in given] == [((-1, 3), True), ((-1, 5), True), (None, False)]


def test_a_shape_for_an_input_that_is_not_there_is_an_error() -> None:
    signature = Signature(inputs=(Tensor(name="a", dtype="float32", shape=(1, 3)),))
    with pytest.raises(ConversionError, match="no input 'z'"):
        arguments(signature, Options(shapes={"z": (1,)}))


def test_a_survey_imports_no_arrays_and_no_framework(models: Path) -> None:
    path = models / "TorchScript" / "resnet_traced_torch17" / "model"
    script = (
        "import sys; from pathlib import Path\n"
        "from klever.steps.converters.interface import Options, SourceModel\n"
        "from klever.steps.converters import sklearn_to_onnx, torchscript_to_onnx, xgboost_to_onnx\n"
        "from klever.steps.recognise import recognise; from klever.steps.extract import extract\n"
        f"m = recognise(Path({str(path)!r})); s = extract(m).metadata.signature\n"
        "torchscript_to_onnx.CONVERTER.survey(SourceModel(m.files, m.claim, s), Options())\n"
        "print(sorted({'numpy', 'onnx', 'torch', 'sklearn', 'xgboost'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


EXPORTED = [
    "branch_scripted_torch215", "dict_traced_torch215", "frozen_torch112", "lstm_traced_torch112", "mobile_torch112",
    "namedtuple_scripted_torch17", "resnet_scripted_torch112", "resnet_traced_torch17", "tabular_traced_torch215",
    "two_inputs_traced_torch215", "uint8_image_scripted_torch215",
]  # fmt: skip


@pytest.mark.environment("convert-torch")
@pytest.mark.parametrize("name", EXPORTED)
def test_the_result_has_the_names_of_the_signature(models: Path, name: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    folder = models / "TorchScript" / name
    shapes = {"input__0": (-1, -1)} if name.startswith("lstm") else {}
    source = source_of(folder / "model")
    CONVERTER.convert(source, Options(shapes=shapes, opset=21), tmp_path)
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    outputs = [each["name"] for each in json.loads((folder / "expected.json").read_text())["outputs"]]
    assert [each.name for each in model.graph.output] == outputs
    given = [each.name for each in arguments(source.signature, Options(shapes=shapes)) if each.is_given]
    assert [each.name for each in model.graph.input] == given
    assert next(each.version for each in model.opset_import if not each.domain) == 21


#: An expression of TorchScript, and what it is in NumPy.
OWN = {
    "torch.sinh(x)": "np.sinh(x)",
    "torch.cosh(x)": "np.cosh(x)",
    "torch.asinh(x)": "np.arcsinh(x)",
    "torch.acosh(torch.add(torch.abs(x), 1))": "np.arccosh(np.abs(x) + 1)",
    "torch.atanh(torch.tanh(x))": "np.arctanh(np.tanh(x))",
    "torch.deg2rad(x)": "np.deg2rad(x)",
    "torch.rad2deg(x)": "np.rad2deg(x)",
    "torch.exp2(x)": "np.exp2(x)",
    "torch.expm1(x)": "np.expm1(x)",
    "torch.trunc(x)": "np.trunc(x)",
    "torch.frac(x)": "x - np.trunc(x)",
    "torch.sgn(x)": "np.sign(x)",
    "torch.positive(x)": "x",
    "torch.hypot(x, x)": "np.hypot(x, x)",
    "torch.logaddexp(x, torch.mul(x, 2))": "np.logaddexp(x, x * 2)",
    "torch.addcdiv(x, x, torch.add(torch.abs(x), 1), value=0.5)": "x + 0.5 * x / (np.abs(x) + 1)",
    "torch.flipud(x)": "np.flipud(x)",
    "torch.fliplr(x)": "np.fliplr(x)",
    "torch.channel_shuffle(x, 2)": "x.reshape(3, 2, 2, 2, 2).swapaxes(1, 2).reshape(x.shape)",
}


@pytest.mark.environment("convert-torch")
def test_operators_that_are_added_to_the_exporter_compute_as_numpy_does(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    reference = pytest.importorskip("onnx.reference")
    lines = "".join(f"    v{position} = {text}\n" for position, text in enumerate(OWN))
    names = ", ".join(f"v{position}" for position in range(len(OWN)))
    kind = ", ".join(["Tensor"] * len(OWN))
    code = f"class M(Module):\n  __parameters__ = []\n  __buffers__ = []\n  def forward(self: __torch__.M,\n    x: Tensor) -> Tuple[{kind}]:\n"
    source = archive(f"{code}{lines}    return ({names})\n", tmp_path)
    CONVERTER.convert(source, Options(shapes={"input__0": (-1, 4, 2, 2)}), tmp_path)
    x = np.random.default_rng(0).standard_normal((3, 4, 2, 2)).astype("float32") * 2
    made = reference.ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"input__0": x})
    for text, values in zip(OWN.values(), made, strict=True):
        np.testing.assert_allclose(values, eval(text, {"np": np, "x": x}), rtol=1e-4, atol=1e-5, err_msg=text)


@pytest.mark.environment("convert-torch")
def test_operators_that_only_the_exporter_finds_are_listed_too(models: Path, tmp_path: Path) -> None:
    path = models / "TorchScript" / "dynamic_quant_scripted_torch215" / "model"
    source = source_of(path, Tensor(name="input__0", dtype="float32", shape=(-1, 10)))
    from klever.steps.converters.torchscript_to_onnx.export import export

    given = arguments(source.signature, Options())
    with pytest.raises(UnsupportedOperatorsError) as raised:
        export(source, given, Options(), tmp_path, lambda *_: None, "convert-torch")
    assert {name: len(nodes) for name, nodes in raised.value.operators.items()} == {"quantized::linear_dynamic": 2}


@pytest.mark.corpus
@pytest.mark.environment("convert-torch")
@pytest.mark.parametrize(
    "name",
    [
        "lstm_dict_scripted_torch215", "mobilenetv2_035_scripted_torch171", "mobilenetv2_035_scripted_torch215",
        "mobilenetv2_035_traced_torch171", "two_in_two_out_scripted_torch171", "two_in_two_out_traced_torch171",
        "two_in_two_out_traced_torch215",
    ],
)  # fmt: skip
@pytest.mark.parametrize("batch", [None, -1])
def test_the_corpus_computes_what_torch_did(shared: Path, name: str, batch: int | None, tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    reference = pytest.importorskip("onnx.reference")
    folder = shared / "corpus" / "TorchScript" / name
    CONVERTER.convert(source_of(folder), Options(batch=batch), tmp_path)
    with np.load(folder / "oracle" / "inputs.npz") as given, np.load(folder / "oracle" / "outputs.npz") as expected:
        session = reference.ReferenceEvaluator(str(tmp_path / "model.onnx"))
        made = dict(zip(session.output_names, session.run(None, dict(given)), strict=True))
        for output in expected.files:
            np.testing.assert_allclose(made[output], expected[output], rtol=1e-3, atol=1e-4)
