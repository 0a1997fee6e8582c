"""What Triton's ``config.pbtxt`` says of models, read back by protobuf, and judged by the real server where it is."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tritonserver import ASKED, NO_BACKEND, REACHED, judge, standing_in, tritonserver  # noqa: F401

from klever.steps.errors import EnvironmentMissingError, ServingError
from klever.steps.extract import extract
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Signature, Tensor
from klever.steps.recognise import recognise
from klever.steps.serving.servers.interface import Layout, ServedModel, Tuning
from klever.steps.serving.servers.triton import SERVER, Triton, at_release
from klever.steps.serving.servers.triton.backends import BACKENDS
from klever.steps.serving.servers.triton.check import ConfigurationError, check_text
from klever.steps.serving.servers.triton.schema import load_schema, parse_text, write_text
from klever.steps.serving.servers.triton.tensors import renamed
from klever.steps.serving.v2 import build_request, example_inputs

WITH_TENSORFLOW = at_release("24.08")
WITH_CAFFE2 = at_release("20.10")
NAMES = {
    "ONNX": "model.onnx",
    "TorchScript": "model.pt",
    "TensorRT": "model.plan",
    "SavedModel": "saved_model.pb",
    "GraphDef": "model.pb",
    "NetDef": "predict_net.pb",
}
Shapes = dict[str, tuple[str | None, tuple[int, ...] | None]]
X: Shapes = {"x": ("float32", (-1, 3, 224, 224))}
Y: Shapes = {"y": ("float32", (-1, 10))}
ROW: Shapes = {"x": ("float32", (-1, 3))}


def tensors(shapes: Shapes) -> tuple[Tensor, ...]:
    return tuple(Tensor(name=name, dtype=dtype, shape=shape) for name, (dtype, shape) in shapes.items())


def model_of(signature: Signature, form: str = "ONNX", files: tuple[str, ...] = (), name: str = "m") -> ServedModel:
    names = files or ((NAMES[form], "init_net.pb") if form == "NetDef" else (NAMES[form],))
    claim = Claim(Evidence.CONTENT, names[: 2 if form == "NetDef" else 1])
    contents = MemoryFiles(dict.fromkeys(names, b""))
    return ServedModel(name, form, contents, claim, signature, Metadata(format=form, signature=signature))


def made(
    inputs: Shapes, outputs: Shapes, form: str = "ONNX", files: tuple[str, ...] = (), name: str = "m"
) -> ServedModel:
    """Make a model of its signature alone."""
    return model_of(Signature(inputs=tensors(inputs), outputs=tensors(outputs)), form, files, name)


def model_at(path: Path, name: str = "m") -> ServedModel:
    """Read a model from its files."""
    found = recognise(path)
    metadata = extract(found).metadata
    assert metadata.signature is not None
    return ServedModel(name, found.format.id, found.files, found.claim, metadata.signature, metadata)


def config_of(layout: Layout) -> Any:
    return parse_text(layout.texts["config.pbtxt"])


def config(inputs: Shapes, outputs: Shapes, tuning: Tuning | None = None, form: str = "ONNX") -> Any:
    return config_of(SERVER.layout(made(inputs, outputs, form), tuning or Tuning()))


def dims_of(message: Any) -> dict[str, list[int]]:
    return {each.name: list(each.dims) for each in (*message.input, *message.output)}


def changed(message: Any, **fields: Any) -> bytes:
    """Return the text of a configuration with fields of its first input replaced."""
    result = type(message)()
    result.CopyFrom(message)
    for key, value in fields.items():
        result.input[0].ClearField(key)
        result.input[0].MergeFrom(type(result.input[0])(**{key: value}))
    return write_text(result)


def test_a_dynamic_first_dimension_becomes_the_batch() -> None:
    message = config(X, Y)
    assert (message.name, message.backend, message.platform) == ("m", "onnxruntime", "")
    assert message.max_batch_size == 32
    assert dims_of(message) == {"x": [3, 224, 224], "y": [10]}
    assert message.HasField("dynamic_batching")
    assert message.version_policy.latest.num_versions == 1


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"x": ("float32", (1, 3))}, Y),
        ({**X, "size": ("int64", ())}, Y),
        (X, {**Y, "loss": ("float32", (1,))}),
    ],
    ids=["fixed", "scalar", "output"],
)
def test_a_tensor_whose_first_dimension_is_not_the_batch_keeps_dims_complete(inputs: Shapes, outputs: Shapes) -> None:
    message = config(inputs, outputs)
    assert message.max_batch_size == 0
    assert not message.HasField("dynamic_batching")
    assert dims_of(message) == {name: list(shape or [1]) for name, (_, shape) in {**inputs, **outputs}.items()}


def test_who_asks_for_batches_of_a_model_that_has_none_is_told_why() -> None:
    layout = SERVER.layout(made({"x": ("float32", (1, 3))}, Y), Tuning(max_batch=8))
    assert config_of(layout).max_batch_size == 0
    assert layout.notes == ("the first dimension of 'x' is fixed, so requests are not batched",)


def test_the_largest_batch_instances_delay_and_graphics_card_are_those_that_are_asked_for() -> None:
    message = config(X, Y, Tuning(max_batch=4, instances=2, queue_delay=500, gpu=True))
    assert message.max_batch_size == 4
    assert message.dynamic_batching.max_queue_delay_microseconds == 500
    [group] = message.instance_group
    assert (group.count, group.kind) == (2, load_schema().ModelInstanceGroup.KIND_GPU)


def test_no_batches_leave_the_first_dimension_in_dims() -> None:
    message = config(X, Y, Tuning(max_batch=0))
    assert (message.max_batch_size, dims_of(message)["x"]) == (0, [-1, 3, 224, 224])


def test_absurd_numbers_are_cut_to_what_the_server_takes_and_say_so() -> None:
    layout = SERVER.layout(made(X, Y), Tuning(max_batch=999_999_999, instances=10**8, queue_delay=10**9))
    message = config_of(layout)
    assert message.max_batch_size == 1 << 16
    assert message.instance_group[0].count == 1024
    assert message.dynamic_batching.max_queue_delay_microseconds == 60_000_000
    assert len(layout.notes) == 3


def test_one_value_a_row_is_reshaped_and_clients_see_a_dimension_of_one() -> None:
    layout = SERVER.layout(made(X, {"label": ("int64", (-1,))}), Tuning())
    [output] = config_of(layout).output
    assert (list(output.dims), output.HasField("reshape"), list(output.reshape.shape)) == ([1], True, [])
    assert layout.seen is not None
    assert layout.seen.outputs == tensors({"label": ("int64", (-1, 1))})


def test_a_scalar_without_batches_has_no_reshape_which_triton_refuses_there() -> None:
    layout = SERVER.layout(made({"flag": ("bool", ())}, {"y": ("float32", (3,))}), Tuning())
    [flag] = config_of(layout).input
    assert (list(flag.dims), flag.HasField("reshape")) == ([1], False)
    assert layout.seen is not None
    assert layout.seen.inputs == tensors({"flag": ("bool", (1,))})


def test_a_signature_that_clients_see_as_it_is_is_not_told_again() -> None:
    assert SERVER.layout(made(X, Y), Tuning()).seen is None


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("bool", "BOOL"),
        ("uint8", "UINT8"),
        ("uint64", "UINT64"),
        ("int64", "INT64"),
        ("float16", "FP16"),
        ("object", "STRING"),
    ],
)
def test_types_have_the_names_of_the_schema(dtype: str, expected: str) -> None:
    message = config({"x": (dtype, (-1, 2))}, Y)
    assert load_schema().DataType.Name(message.input[0].data_type) == f"TYPE_{expected}"


def test_an_engine_of_tensorrt_takes_bfloat16_and_stands_on_a_graphics_card() -> None:
    layout = SERVER.layout(made({"x": ("bfloat16", (1, 2))}, Y, "TensorRT"), Tuning())
    message = config_of(layout)
    assert message.input[0].data_type == load_schema().DataType.Value("TYPE_BF16")
    assert message.instance_group[0].kind == load_schema().ModelInstanceGroup.KIND_GPU
    assert layout.notes == ("TensorRT needs a graphics card of the kind that the engine was built on",)


def test_batches_of_an_engine_of_tensorrt_are_asked_for_as_its_profile_bounds_them() -> None:
    layout = SERVER.layout(made(X, Y, "TensorRT"), Tuning(gpu=True))
    assert config_of(layout).max_batch_size == 0
    assert layout.notes == ("the engine's profile bounds batches: tell the largest one, and requests are batched",)
    assert config(X, Y, Tuning(max_batch=4), "TensorRT").max_batch_size == 4


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"x": ("float32", None)}, "the shape of the input 'x' is unknown: tell it in ormbfile.yaml"),
        ({"x": (None, (1,))}, "the type of the input 'x' is unknown: tell it in ormbfile.yaml"),
        ({"x": ("complex64", (1,))}, "Triton's onnxruntime_onnx has no type complex64, which input 'x' is of"),
        ({"x": ("bfloat16", (1,))}, "Triton's onnxruntime_onnx has no type bfloat16, which input 'x' is of"),
        ({"x": ("float32", (0, 3))}, "the input 'x' is empty, as a dimension of it is 0, which Triton does not take"),
        ({"x": ("float32", (1 << 63,))}, "a dimension of the input 'x' is larger than any tensor"),
        ({"": ("float32", (1,))}, "an input has no name"),
        ({"\ud800": ("float32", (1,))}, "the name of the input '?' is no text"),
    ],
    ids=["shape", "type", "complex", "bfloat16", "empty", "huge", "nameless", "surrogate"],
)
def test_what_is_lacking_is_a_sentence_and_no_layout_is_made(inputs: Shapes, sentence: str) -> None:
    # A name of no text comes through no reader; it is what a program could hand in.
    signature = Signature.model_construct(
        inputs=tuple(Tensor.model_construct(name=n, dtype=d, shape=s) for n, (d, s) in inputs.items()),
        outputs=tensors(Y),
    )
    model = made(X, Y)
    model = ServedModel("m", "ONNX", model.files, model.claim, signature, model.metadata)
    assert SERVER.lacks(model) == (sentence,)
    with pytest.raises(ServingError) as caught:
        SERVER.layout(model, Tuning())
    assert caught.value.cause == f"triton cannot serve m: {sentence}"


@pytest.mark.parametrize(
    ("signature", "sentence"),
    [
        (Signature(), "the model's inputs are unknown: tell it in ormbfile.yaml"),
        (Signature(inputs=tensors(X)), "the model's outputs are unknown: tell it in ormbfile.yaml"),
        (Signature(inputs=tensors(X), outputs=()), "the model has no output, so Triton has nothing to answer"),
        (Signature(inputs=tensors(X) * 2, outputs=tensors(Y)), "the input 'x' is there twice"),
    ],
    ids=["inputs", "outputs", "no outputs", "twice"],
)
def test_a_signature_that_is_none_is_lacking(signature: Signature, sentence: str) -> None:
    assert SERVER.lacks(model_of(signature)) == (sentence,)


def test_thousands_of_unknown_tensors_are_a_few_sentences() -> None:
    lacks = SERVER.lacks(made({f"x{i}": (None, None) for i in range(5000)}, Y))
    assert len(lacks) == 21
    assert lacks[-1] == "and 9980 more of this kind"


def test_a_scalar_of_torchscript_is_lacking_dimensions() -> None:
    [sentence] = SERVER.lacks(made({"input__0": ("bool", ())}, {"output__0": ("float32", (2,))}, "TorchScript"))
    assert sentence == "the input 'input__0' has no dimensions, and Triton's pytorch_libtorch takes no such tensor"


@pytest.mark.parametrize(
    "name", ["a\"b'c", "line\nbreak", "\\", "}", "名前", "\x00", "x" * 10_000, 'x" } output { name: "evil']
)
def test_any_name_comes_back_as_it_is(name: str) -> None:
    message = config({name: ("float32", (-1, 2))}, {f"{name}.": ("float32", (-1, 2))})
    assert [each.name for each in (*message.input, *message.output)] == [name, f"{name}."]


def test_a_models_name_is_one_of_a_directory() -> None:
    with pytest.raises(ServingError, match="is not a name to serve a model under"):
        SERVER.layout(made(X, Y, name="../m"), Tuning())


def test_thousands_of_tensors_are_written_and_checked() -> None:
    assert len(config({f"x{i}": ("float32", (-1, 1)) for i in range(4000)}, Y).input) == 4000


@pytest.mark.parametrize(
    ("inputs", "warm"),
    [
        ({"x": ("float32", (-1, 3))}, [3]),
        ({"x": ("uint8", (4, 4))}, [4, 4]),
        ({"x": ("float32", (-1, -1))}, None),
        ({"x": ("int64", (-1, 3))}, None),
        ({"x": ("object", (-1, 3))}, None),
        ({"x": ("float32", (1 << 20, 1 << 10))}, None),
    ],
    ids=["batch", "picture", "dynamic", "numbers", "text", "huge"],
)
def test_a_model_is_warmed_up_where_zeros_are_surely_an_input(inputs: Shapes, warm: list[int] | None) -> None:
    warmups = config(inputs, Y).model_warmup
    assert [list(each.inputs["x"].dims) for each in warmups] == ([warm] if warm else [])
    assert all(each.batch_size == 1 and each.inputs["x"].zero_data for each in warmups)


@pytest.mark.parametrize(
    ("values", "text"),
    [(("cat", "dog", 7), b"cat\ndog\n7\n"), (("a", "b"), None), (("a\nb", "c", "d"), None)],
    ids=["one a position", "too few", "two lines"],
)
def test_labels_that_the_author_gave_an_output_are_a_file_of_lines(values: tuple[Any, ...], text: bytes | None) -> None:
    output = Tensor(name="y", dtype="float32", shape=(-1, 3), values=values)
    layout = SERVER.layout(model_of(Signature(inputs=tensors(X), outputs=(output,))), Tuning())
    assert config_of(layout).output[0].label_filename == ("labels-0.txt" if text else "")
    assert layout.texts.get("labels-0.txt") == text


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["prob", "cls"], ["output__0", "output__1"]),
        (["output__0", "output__0x"], ["output__0", "output__1"]),
        (["OUTPUT__0", "OUTPUT__1"], ["OUTPUT__0", "OUTPUT__1"]),
        (["b__1", "a__0"], ["b__1", "a__0"]),
    ],
)
def test_outputs_of_torchscript_tell_their_position(names: list[str], expected: list[str]) -> None:
    model = made({"image": ("float32", (-1, 3))}, dict.fromkeys(names, ("float32", (-1, 2))), "TorchScript")
    layout = SERVER.layout(model, Tuning())
    assert list(dims_of(config_of(layout))) == ["image", *expected]
    seen = (layout.seen or model.signature).outputs
    assert [each.name for each in seen or ()] == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("ONNX", {"model.onnx": "net.onnx", "net.onnx.data": "net.onnx.data", "w/a.bin": "w/a.bin"}),
        ("ONNX", {"model.onnx": "a/b.onnx", "w.bin": "a/w.bin"}),
        ("TorchScript", {"model.pt": "a.pth"}),
        ("TensorRT", {"model.plan": "a.engine"}),
        ("GraphDef", {"model.graphdef": "a.pb"}),
        ("NetDef", {"model.netdef": "predict_net.pb", "init_model.netdef": "init_net.pb"}),
        ("SavedModel", {"model.savedmodel/saved_model.pb": "3/other.pb", "model.savedmodel/variables/i": "3/variables/i"}),
    ],
)  # fmt: skip
def test_files_have_the_names_that_the_backend_looks_for(form: str, expected: dict[str, str]) -> None:
    model = made(
        {"input__0": ("float32", (-1, 3))}, {"output__0": ("float32", (-1, 2))}, form, tuple(expected.values())
    )
    assert WITH_CAFFE2.layout(model, Tuning()).files == {f"1/{place}": path for place, path in expected.items()}


def test_a_model_whose_external_data_have_its_usual_name_keeps_its_own() -> None:
    layout = SERVER.layout(made(X, Y, "ONNX", ("net.onnx", "model.onnx")), Tuning())
    assert layout.files == {"1/net.onnx": "net.onnx", "1/model.onnx": "model.onnx"}
    assert config_of(layout).default_model_filename == "net.onnx"


def test_formats_are_those_of_the_release() -> None:
    current = {"ONNX", "TorchScript", "TensorRT"}
    assert SERVER.formats == at_release("25.03").formats == current
    assert at_release("25.02").formats == at_release("20.11").formats == current | {"SavedModel", "GraphDef"}
    assert at_release("20.10").formats == set(BACKENDS)


def test_a_format_that_left_with_a_release_says_so_and_what_to_do() -> None:
    model = made(X, Y, "SavedModel")
    [sentence] = SERVER.lacks(model)
    assert sentence.endswith("which left with 25.03: convert the model to ONNX or use an older release")
    with pytest.raises(ServingError, match=r"left with 25\.03"):
        SERVER.layout(model, Tuning())
    with pytest.raises(ServingError, match="does not take PMML"):
        SERVER.layout(ServedModel("m", "PMML", model.files, model.claim, model.signature, model.metadata), Tuning())


@pytest.mark.parametrize("release", ["", "latest", "24.13", "24.8", "24.08-py3", "19.10", "24.08\n"])
def test_what_is_no_release_is_refused(release: str) -> None:
    with pytest.raises(ServingError):
        at_release(release)


def test_old_servers_know_platforms_and_newer_ones_backends() -> None:
    told = []
    for server, form in ((WITH_TENSORFLOW, "SavedModel"), (WITH_CAFFE2, "SavedModel"), (WITH_CAFFE2, "NetDef")):
        message = config_of(server.layout(made(X, Y, form), Tuning()))
        told.append((message.platform, message.backend))
    assert told == [("tensorflow_savedmodel", "tensorflow"), ("tensorflow_savedmodel", ""), ("caffe2_netdef", "")]


def test_the_server_serves_the_one_model_by_a_complete_configuration() -> None:
    process = SERVER.process("resnet", Tuning())
    assert process.image.startswith("nvcr.io/nvidia/tritonserver:")
    assert {"--load-model=resnet", "--disable-auto-complete-config", "--http-address={host}"} <= set(process.command)
    assert process.ports == {"http": 8000, "grpc": 8001, "metrics": 8002}
    assert (process.live, process.ready) == ("/v2/health/live", "/v2/health/ready")
    old = WITH_CAFFE2.process("resnet", Tuning()).command
    assert "--strict-model-config=true" in old
    assert "--http-address={host}" not in old


def test_a_savedmodel_without_the_usual_signature_names_the_one_that_is_served(models: Path) -> None:
    message = config_of(WITH_TENSORFLOW.layout(model_at(models / "SavedModel/no_serving_default/model"), Tuning()))
    assert message.parameters["TF_SIGNATURE_DEF"].string_value == "only_this"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "z"}, "there is no input 'z', the model has 'x'"),
        ({"data_type": 12}, "the input 'x' is TYPE_FP64, expected TYPE_FP32"),
        ({"data_type": 0}, "the input 'x' has no data_type"),
        ({"dims": [4]}, "the input 'x' has the shape [-1, 4] with the batch, expected [-1, 3]"),
        ({"dims": [3, 1]}, "the input 'x' has the shape [-1, 3, 1] with the batch, expected [-1, 3]"),
        ({"dims": []}, "the input 'x' has no dims, expected [1] with an empty reshape for no dimensions"),
        ({"dims": [0]}, "a dimension of the input 'x' is neither -1 nor at least 1"),
        ({"reshape": {"shape": [4]}}, "dims and reshape of the input 'x' differ in size"),
    ],
)
def test_a_wrong_input_is_caught_before_the_server_does(change: dict[str, Any], sentence: str) -> None:
    text = changed(config(ROW, Y), **change)
    with pytest.raises(ConfigurationError) as caught:
        check_text(text, "m", BACKENDS["ONNX"], made(ROW, Y).signature)
    assert caught.value.cause == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b'name: "other"', "config.pbtxt is for 'other', but its directory is m"),
        (b'name: "m"', "config.pbtxt names neither backend nor platform"),
        (b'backend: "pytorch"', "the backend is 'pytorch', expected onnxruntime"),
        (b'platform: "tensorrt_plan"', "the platform is 'tensorrt_plan', expected onnxruntime_onnx"),
        (b'backend: "onnxruntime" max_batch_size: -1', "max_batch_size is -1, expected 0 or more"),
        (b'backend: "onnxruntime"', "the input 'x' is lacking"),
    ],
)
def test_a_wrong_configuration_is_caught_before_the_server_does(text: bytes, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_text(text, "m", BACKENDS["ONNX"], made(X, Y).signature)
    assert caught.value.cause == sentence


@pytest.mark.parametrize("text", [b"\xff", b"nmae: 1", b"input {"])
def test_what_is_no_configuration_is_caught(text: bytes) -> None:
    with pytest.raises(ConfigurationError, match="is no configuration of Triton"):
        check_text(text, "m", BACKENDS["ONNX"], made(X, Y).signature)


def test_batches_of_a_fixed_first_dimension_are_caught() -> None:
    fixed = made({"x": ("float32", (1, 3))}, {"y": ("float32", (1, 10))}).signature
    with pytest.raises(ConfigurationError, match="dimension of the input 'x' is 1, so max_batch_size has to be 0"):
        check_text(write_text(config(ROW, Y)), "m", BACKENDS["ONNX"], fixed)


def server_of(form: str) -> Triton:
    return next(server for server in (SERVER, WITH_TENSORFLOW, WITH_CAFFE2) if form in server.formats)


def packages(folder: Path) -> list[tuple[str, Path]]:
    """Return the models of a corpus that can be read, each with a name to serve it under."""
    found = []
    for form in BACKENDS:
        for path in sorted((folder / form).iterdir() if (folder / form).is_dir() else ()):
            # A header alone is of no known version.
            if path.is_dir() and not path.name.startswith("bad_") and path.name != "header_only":
                package = path if (path / "ormbfile.yaml").is_file() else path / "model"
                found.append((f"{folder.name}-{form}-{path.name}"[:63].rstrip("_"), package))
    return found


def test_every_model_here_has_a_layout_that_passes_or_says_what_it_lacks(models: Path) -> None:
    served, lacking = [], []
    for name, path in packages(models):
        model = model_at(path, name)
        server = server_of(model.format)
        if server.lacks(model):
            lacking.append(name)
            continue
        layout = server.layout(model, Tuning())
        named = renamed(model.signature, model.format)
        check_text(layout.texts["config.pbtxt"], name, BACKENDS[model.format], named)
        assert set(layout.files.values()) <= set(model.files.sizes)
        served.append(name)
    assert len(served) >= 36, lacking
    expected = {"models-GraphDef-unknown_rank", "models-ONNX-sequence_map_optional_sparse", "models-NetDef-fake_inputs"}
    assert expected <= set(lacking)


@pytest.mark.parametrize("place", ["models", "corpus"])
def test_the_real_server_takes_every_configuration_as_far_as_the_backend(
    tritonserver: Path,  # noqa: F811
    place: str,
    models: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    folder = models if place == "models" else request.getfixturevalue("shared") / "corpus"
    texts = {}
    for name, path in packages(folder):
        model = model_at(path, name)
        server = server_of(model.format)
        if not server.lacks(model):
            texts[name] = server.layout(model, Tuning(queue_delay=100)).texts
    verdicts = judge(tritonserver, tmp_path, texts)
    # NetDef's platform is the one that the bundled server no longer knows, which it says before it looks any further.
    gone = "unexpected platform type 'caffe2_netdef'"
    assert {name: why for name, why in verdicts.items() if NO_BACKEND not in why and gone not in why} == {}


def test_the_real_server_refuses_what_our_own_check_does(tritonserver: Path, tmp_path: Path) -> None:  # noqa: F811
    broken = {}
    for name, change in (("zero", {"dims": [0]}), ("none", {"dims": []}), ("type", {"data_type": 0})):
        text = changed(config_of(SERVER.layout(made(ROW, Y, name=name), Tuning())), **change)
        with pytest.raises(ConfigurationError):
            check_text(text, name, BACKENDS["ONNX"], made(ROW, Y).signature)
        broken[name] = {"config.pbtxt": text}
    assert all(NO_BACKEND not in why for why in judge(tritonserver, tmp_path, broken).values())


def test_the_real_server_loads_warms_up_and_takes_the_requests_that_clients_are_told(
    tritonserver: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    shapes: dict[str, tuple[Shapes, Shapes]] = {
        "rows": (ROW, {"label": ("int64", (-1,))}),
        "row": ({"x": ("float32", (-1,)), "i": ("int64", (-1,))}, {"y": ("float32", (-1, 2))}),
        "scalar": ({"flag": ("bool", ()), "x": ("float32", (2, 2))}, {"y": ("float32", ())}),
        "open": ({"x": ("float32", (1, -1, -1))}, {"y": ("float32", (1, -1))}),
    }
    served = {name: made(inputs, outputs, name=name) for name, (inputs, outputs) in shapes.items()}
    layouts = {name: SERVER.layout(model, Tuning()) for name, model in served.items()}
    with standing_in(tritonserver, tmp_path, {name: layout.texts for name, layout in layouts.items()}) as address:
        for name, layout in layouts.items():
            inputs = example_inputs(layout.seen or served[name].signature, batch=2)
            body = json.dumps({**build_request(inputs), "id": ASKED}).encode()
            with pytest.raises(urllib.error.HTTPError) as caught:
                urllib.request.urlopen(f"{address}/v2/models/{name}/infer", body, timeout=30)
            with caught.value as answer:
                assert REACHED in json.load(answer)["error"], name


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_without_the_extra_the_error_names_it() -> None:
    code = (
        "import sys; sys.path[:] = [path for path in sys.path if path]\n"
        "import importlib.util as util; util.find_spec = lambda name: None\n"
        "from klever.steps.serving.servers.triton.schema import load_schema\n"
        "try: load_schema()\n"
        "except Exception as error: print(type(error).__name__, error.next_step)\n"
    )
    assert run(code) == f"{EnvironmentMissingError.__name__} pip install 'klever[serve]'\n"


def test_neither_importing_nor_writing_brings_grpc_or_numpy() -> None:
    code = (
        "import sys\n"
        "from klever.steps.serving.servers.triton import SERVER\n"
        "assert 'google.protobuf' not in sys.modules\n"
        "from klever.steps.serving.servers.triton.schema import load_schema\n"
        "load_schema()\n"
        "print([name for name in ('grpc', 'numpy', 'tritonclient') if name in sys.modules])\n"
    )
    assert run(code) == "[]\n"
