"""MXNet to ONNX: each operator against what MXNet 1.9.1 computed, and what was known to go wrong elsewhere."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mxnet_records import (
    Arrays,
    converted,
    differences,
    drawn,
    outputs,
    read_records,
    run_onnx,
    source_model,
    tolerance,
)
from onnx.reference import ReferenceEvaluator

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.mxnetparams_to_onnx import CONVERTER
from klever.steps.errors import (
    ConversionError,
    MalformedModelError,
    MissingFilesError,
    UnansweredError,
    UnsupportedOperatorsError,
)

pytest.importorskip("onnxruntime")

RECORDS = read_records(Path(__file__).with_name("mxnetparams_operators.json.xz"))
OPERATORS = sorted({record["operator"] for record in RECORDS})


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_computes_what_mxnet_does(operator: str, tmp_path: Path) -> None:
    for record in (each for each in RECORDS if each["operator"] == operator):
        folder = tmp_path / str(record["seed"])
        folder.mkdir()
        got = run_onnx(converted(record, folder), drawn(record["inputs"], record["seed"]))
        assert differences(got, outputs(record), *tolerance(record)) == [], (
            record["symbol"]["nodes"],
            record["inputs"],
        )


def test_the_reference_evaluator_of_onnx_agrees(tmp_path: Path) -> None:
    # Its LRN of size 1 sums nothing.
    records = [each for each in RECORDS if each["seed"] == 0 and each["operator"] != "lrn"]
    for at, record in enumerate(records):
        folder = tmp_path / str(at)
        folder.mkdir()
        evaluator = ReferenceEvaluator(onnx.load(converted(record, folder)))
        inputs = drawn(record["inputs"], record["seed"])
        with np.errstate(all="ignore"):
            values = evaluator.run(None, {name: inputs[name] for name in evaluator.input_names})
        got = dict(zip(evaluator.output_names, values, strict=True))
        assert differences(got, outputs(record), *tolerance(record)) == [], record["symbol"]["nodes"]


#: Operators that ask for sizes in some of their uses, for no ONNX says the same for every size.
ASKING = {
    "diag",
    "np_arrangement",
    "np_stacking",
    "pooling_lp",
    "pooling_v1",
    "split_v2",
    "squeeze",
    "squeeze_everything",
}


def test_sizes_that_are_open_change_nothing_or_are_asked_for(tmp_path: Path) -> None:
    for at, record in enumerate(each for each in RECORDS if each["seed"] < 2):
        folder = tmp_path / str(at)
        folder.mkdir()
        try:
            path = converted(record, folder, open_sizes=True)
        except UnansweredError:
            assert record["operator"] in ASKING | {"upsampling_nearest"}, record["symbol"]["nodes"]
            continue
        got = run_onnx(path, drawn(record["inputs"], record["seed"]))
        assert differences(got, outputs(record), *tolerance(record)) == [], record["symbol"]["nodes"]


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_every_operator_set_computes_the_same(opset: int, tmp_path: Path) -> None:
    firsts = {record["operator"]: record for record in reversed(RECORDS)}
    for at, record in enumerate(firsts.values()):
        folder = tmp_path / str(at)
        folder.mkdir()
        path = converted(record, folder, Options(opset=opset))
        assert onnx.load(path).opset_import[0].version == opset
        got = run_onnx(path, drawn(record["inputs"], record["seed"]))
        assert differences(got, outputs(record), *tolerance(record)) == [], record["operator"]


# Networks written by hand


def variable(name: str, **attributes: str) -> dict[str, Any]:
    return {"op": "null", "name": name, **({"attrs": attributes} if attributes else {})}


def node(op: str, name: str, *inputs: int, **attributes: Any) -> dict[str, Any]:
    return {
        "op": op,
        "name": name,
        "attrs": {key: str(value) for key, value in attributes.items()},
        "inputs": [[at, 0, 0] for at in inputs],
    }


def symbol(*nodes: Mapping[str, Any], heads: tuple[int, ...] = (-1,)) -> dict[str, Any]:
    places = [[len(nodes) + head if head < 0 else head, 0, 0] for head in heads]
    return {"nodes": [dict(each) for each in nodes], "heads": places, "attrs": {"mxnet_version": ["int", 10901]}}


def convert(model: SourceModel, folder: Path, options: Options | None = None) -> onnx.ModelProto:
    (folder / "result").mkdir()
    CONVERTER.convert(model, options or Options(), folder / "result")
    return onnx.load(folder / "result" / "model.onnx")


def compute(
    network: Mapping[str, Any], params: Arrays, inputs: Arrays, folder: Path, options: Options | None = None
) -> dict[str, np.ndarray]:
    convert(source_model(folder, network, params, inputs), folder, options)
    return run_onnx(folder / "result" / "model.onnx", inputs)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


BATCH_NORM = [variable(name) for name in ("data", "bn_gamma", "bn_beta", "bn_moving_mean", "bn_moving_var")]
STATISTICS = {
    "bn_gamma": np.array([3, -2], "float32"),
    "bn_beta": np.array([0.5, 1], "float32"),
    "bn_moving_mean": np.array([1, -1], "float32"),
    "bn_moving_var": np.array([4, 0.25], "float32"),
}


def test_fix_gamma_makes_the_factor_one_whatever_is_stored(tmp_path: Path) -> None:
    data = random(2, 2, 3)
    model = source_model(
        tmp_path, symbol(*BATCH_NORM, node("BatchNorm", "bn", 0, 1, 2, 3, 4)), STATISTICS, {"data": data}
    )
    result = convert(model, tmp_path)
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in result.graph.initializer}
    assert stored["bn_gamma"].tolist() == [1, 1]
    mean, variance = (STATISTICS[f"bn_moving_{kind}"].reshape(2, 1) for kind in ("mean", "var"))
    expected = (data - mean) / np.sqrt(variance + 1e-3) + STATISTICS["bn_beta"].reshape(2, 1)
    np.testing.assert_allclose(
        run_onnx(tmp_path / "result/model.onnx", {"data": data})["bn_output"], expected, rtol=1e-5
    )


def test_batch_normalisation_of_old_files_finds_statistics_that_are_no_inputs(tmp_path: Path) -> None:
    network = symbol(*BATCH_NORM[:3], node("BatchNorm", "bn", 0, 1, 2, fix_gamma=False))
    data = random(2, 2, 3)
    mean, variance, gamma, beta = (
        STATISTICS[f"bn_{kind}"].reshape(2, 1) for kind in ("moving_mean", "moving_var", "gamma", "beta")
    )
    expected = (data - mean) / np.sqrt(variance + 1e-3) * gamma + beta
    got = compute(network, STATISTICS, {"data": data}, tmp_path)
    np.testing.assert_allclose(got["bn_output"], expected, rtol=1e-5)


@pytest.mark.parametrize("mode", ["instance", "channel", "spatial"])
def test_l2_normalization_in_all_modes(mode: str, tmp_path: Path) -> None:
    data = random(2, 3, 4, 5)
    axes = {"instance": (1, 2, 3), "channel": (1,), "spatial": (2, 3)}[mode]
    got = compute(symbol(variable("data"), node("L2Normalization", "norm", 0, mode=mode)), {}, {"data": data}, tmp_path)
    expected = data / np.sqrt((data**2).sum(axes, keepdims=True) + 1e-10)
    np.testing.assert_allclose(got["norm_output"], expected, rtol=1e-5)


def test_labels_of_softmax_output_are_no_inputs(tmp_path: Path) -> None:
    network = symbol(variable("data"), variable("softmax_label"), node("SoftmaxOutput", "softmax", 0, 1))
    result = convert(source_model(tmp_path, network, {}, {"data": random(2, 3)}), tmp_path)
    assert [each.name for each in result.graph.input] == ["data"]
    assert [each.name for each in result.graph.output] == ["softmax_output"]


def test_numbers_of_old_files_may_stand_in_front(tmp_path: Path) -> None:
    network = symbol(variable("data"), node("_MinusScalar", "less", 0, scalar=3, scalar_on_left=True))
    data = random(4)
    np.testing.assert_allclose(compute(network, {}, {"data": data}, tmp_path)["less_output"], 3 - data)


def test_elu_takes_its_slope(tmp_path: Path) -> None:
    data = random(5)
    network = symbol(variable("data"), node("LeakyReLU", "elu", 0, act_type="elu", slope=0.7))
    expected = np.where(data > 0, data, 0.7 * np.expm1(data))
    np.testing.assert_allclose(compute(network, {}, {"data": data}, tmp_path)["elu_output"], expected, rtol=1e-5)


@pytest.mark.parametrize("slopes", [1, 3])
def test_prelu_gives_its_slopes_to_the_channels(slopes: int, tmp_path: Path) -> None:
    data, gamma = random(2, 3, 4, 5), random(slopes, seed=1)
    network = symbol(variable("data"), variable("gamma"), node("LeakyReLU", "prelu", 0, 1, act_type="prelu"))
    expected = np.where(data > 0, data, data * gamma.reshape(1, -1, 1, 1))
    np.testing.assert_allclose(
        compute(network, {"gamma": gamma}, {"data": data}, tmp_path)["prelu_output"], expected, rtol=1e-6
    )


def test_channels_last_convolves_as_channels_first_does(tmp_path: Path) -> None:
    data, weight, bias = random(2, 4, 7, 6), random(6, 2, 3, 2, seed=1), random(6, seed=2)
    results = {}
    for layout, order in (("NCHW", (0, 1, 2, 3)), ("NHWC", (0, 2, 3, 1))):
        folder = tmp_path / layout
        folder.mkdir()
        options = {"num_filter": 6, "num_group": 2, "stride": (2, 1), "pad": (1, 0), "layout": layout}
        network = symbol(
            *(variable(name) for name in ("data", "w", "b")),
            node("Convolution", "conv", 0, 1, 2, kernel=(3, 2), **options),
            node(
                "Pooling",
                "pool",
                3,
                kernel=(2, 2),
                stride=(2, 2),
                pooling_convention="full",
                pool_type="avg",
                layout=layout,
            ),
            node("Pooling", "mean", 4, kernel=(2, 2), global_pool=True, pool_type="max", layout=layout),
            heads=(3, 4, 5),
        )
        results[layout] = compute(
            network, {"w": weight.transpose(order), "b": bias}, {"data": data.transpose(order)}, folder
        )
    for name, first in results["NCHW"].items():
        np.testing.assert_allclose(results["NHWC"][name].transpose(0, 3, 1, 2), first, rtol=1e-4, atol=1e-6)


def test_channels_last_deconvolves_as_channels_first_does(tmp_path: Path) -> None:
    data, weight = random(2, 4, 3, 5), random(4, 3, 3, 2, seed=1)
    results = []
    for layout, order in (("NCHW", (0, 1, 2, 3)), ("NHWC", (0, 2, 3, 1))):
        folder = tmp_path / layout
        folder.mkdir()
        network = symbol(
            variable("data"),
            variable("w"),
            node("Deconvolution", "up", 0, 1, kernel=(3, 2), num_filter=3, stride=(2, 2), adj=(1, 0), layout=layout),
        )
        got = compute(network, {"w": weight.transpose(order)}, {"data": data.transpose(order)}, folder)["up_output"]
        results.append(got if layout == "NCHW" else got.transpose(0, 3, 1, 2))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-4, atol=1e-6)


def dense_network(**attributes: str) -> dict[str, Any]:
    return symbol(
        variable("data", **attributes),
        variable("fc_weight"),
        variable("fc_bias"),
        node("FullyConnected", "fc", 0, 1, 2, num_hidden=2),
    )


DENSE = {"fc_weight": random(2, 12), "fc_bias": random(2, seed=1)}


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [each.dim_param or each.dim_value for each in value.type.tensor_type.shape.dim]


def test_the_first_size_is_that_of_the_signature_or_of_the_options(tmp_path: Path) -> None:
    for name, options, expected in (
        ("open", Options(), ["data_0", 12]),
        ("fixed", Options(batch=5), [5, 12]),
        ("shaped", Options(shapes={"data": (3, 4, 3)}), [3, 4, 3]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        result = convert(source_model(folder, dense_network(), DENSE), folder, options)
        assert shape_of(result.graph.input[0]) == expected, name


def test_a_shape_that_contradicts_the_weights_is_refused(tmp_path: Path) -> None:
    network = symbol(
        variable("data"), variable("w"), node("Convolution", "conv", 0, 1, kernel=(3, 3), num_filter=4, no_bias=True)
    )
    model = source_model(tmp_path, network, {"w": random(4, 3, 3, 3)})
    with pytest.raises(ConversionError, match="contradicts the weights"):
        convert(model, tmp_path, Options(shapes={"data": (1, 5, 8, 8)}))


def test_a_shape_of_an_input_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="no input 'dat'"):
        convert(source_model(tmp_path, dense_network(), DENSE), tmp_path, Options(shapes={"dat": (3, 12)}))


def test_all_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFilesError) as caught:
        convert(source_model(tmp_path, dense_network(), {"other": random(1)}), tmp_path)
    assert caught.value.missing == ("fc_bias", "fc_weight")


def test_arrays_that_nothing_uses_are_left_out(tmp_path: Path) -> None:
    result = convert(source_model(tmp_path, dense_network(), {**DENSE, "spare": random(3)}), tmp_path)
    assert {each.name for each in result.graph.initializer} == {"fc_weight", "fc_bias"}


def test_all_that_is_not_covered_is_found_at_once_and_nothing_is_written(tmp_path: Path) -> None:
    network = symbol(
        variable("data"),
        node("Custom", "mine", 0, op_type="mine"),
        node("Invented", "strange", 1),
        node("Dropout", "noise", 2, mode="always", p=0.5),
        node("Invented", "stranger", 3),
    )
    model = source_model(tmp_path, network, {}, {"data": random(2, 3)})
    survey = CONVERTER.survey(model, Options())
    assert {each.operator: each.reason for each in survey.uncovered}["Custom"] == "written in Python as 'mine'"
    assert {each.operator: each.nodes for each in survey.uncovered} == {
        "Custom": ("mine",),
        "Invented": ("strange", "stranger"),
        "Dropout": ("noise",),
    }
    with pytest.raises(UnsupportedOperatorsError) as caught:
        convert(model, tmp_path)
    assert caught.value.operators["Invented"] == ("strange", "stranger")
    assert list((tmp_path / "result").iterdir()) == []


def test_a_size_that_a_rule_needs_is_asked_for(tmp_path: Path) -> None:
    network = symbol(
        variable("data"),
        node("Pooling", "pool", 0, kernel=(3, 3), stride=(2, 2), pooling_convention="full", pool_type="sum"),
    )
    model = source_model(tmp_path, network, {"unused": random(1)})
    (question,) = CONVERTER.survey(model, Options()).questions
    assert "data" in question.about
    assert question.answer == "--shape data=1,C,H,W"
    with pytest.raises(UnansweredError, match="data"):
        convert(model, tmp_path)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel": "(3, 3)", "pool_type": "median"},
        {"kernel": "(3, 3)", "stride": "(1, 1, 1)"},
        {"kernel": "(0, 0)"},
        {"kernel": "()"},
        {"kernel": "(3, 3)", "layout": "HCNW"},
    ],
)
def test_attributes_that_contradict_the_definition_are_refused_by_name(
    attributes: dict[str, str], tmp_path: Path
) -> None:
    network = symbol(variable("data"), node("Pooling", "pool", 0, **attributes))
    with pytest.raises(MalformedModelError, match="pool"):
        convert(source_model(tmp_path, network, {}, {"data": random(1, 2, 5, 5)}), tmp_path)


def test_a_batch_that_is_open_works_at_every_size(tmp_path: Path) -> None:
    network = symbol(
        variable("data"),
        variable("w"),
        node("Convolution", "conv", 0, 1, kernel=(3, 3), num_filter=4, no_bias=True),
        node("Reshape", "groups", 2, shape="(0, -4, 2, -1, -2)"),
        node("SwapAxis", "swapped", 3, dim1=1, dim2=2),
        node("Reshape", "joined", 4, shape="(0, -3, -2)"),
        node("Pooling", "mean", 5, kernel=(1, 1), global_pool=True, pool_type="avg"),
        node("Flatten", "flat", 6),
        node("SliceChannel", "parts", 7, num_outputs=2),
        node("L2Normalization", "norm", 8),
        heads=(-1,),
    )
    model = source_model(tmp_path, network, {"w": random(4, 3, 3, 3)})
    convert(model, tmp_path, Options(batch=-1, shapes={"data": (-1, 3, 6, 6)}))
    both = random(5, 3, 6, 6)
    whole = run_onnx(tmp_path / "result/model.onnx", {"data": both})["norm_output"]
    parts = [run_onnx(tmp_path / "result/model.onnx", {"data": both[at : at + 1]})["norm_output"] for at in range(5)]
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-5)


def test_half_precision_keeps_the_types_of_inputs_and_outputs(tmp_path: Path) -> None:
    data = random(2, 12)
    result = convert(source_model(tmp_path, dense_network(), DENSE, {"data": data}), tmp_path, Options(dtype="float16"))
    assert {each.data_type for each in result.graph.initializer} == {onnx.TensorProto.FLOAT16}
    got = run_onnx(tmp_path / "result/model.onnx", {"data": data})["fc_output"]
    np.testing.assert_allclose(got, data @ DENSE["fc_weight"].T + DENSE["fc_bias"], atol=2e-2)


def test_weights_in_bfloat16_are_widened(tmp_path: Path) -> None:
    data = random(2, 12)
    weight, bias = (DENSE[name].view("uint32") >> 16 for name in ("fc_weight", "fc_bias"))
    model = source_model(tmp_path, dense_network(), DENSE, {"data": data})
    body = b"".join(
        struct.pack("<IiI", 0xF993FAC9, 0, each.ndim)
        + struct.pack(f"<{each.ndim}q", *each.shape)
        + struct.pack("<iii", 1, 0, 12)
        + each.astype("uint16").tobytes()
        for each in (weight, bias)
    )
    names = b"".join(struct.pack("<Q", len(name)) + name for name in (b"arg:fc_weight", b"arg:fc_bias"))
    (tmp_path / "net-0000.params").write_bytes(struct.pack("<QQQ", 0x112, 0, 2) + body + struct.pack("<Q", 2) + names)
    assert CONVERTER.survey(model, Options()).notes == ("weights in bfloat16 are stored and computed in float32",)
    convert(model, tmp_path)
    got = run_onnx(tmp_path / "result/model.onnx", {"data": data})["fc_output"]
    wide, added = ((each.astype("uint32") << 16).view("float32") for each in (weight, bias))
    np.testing.assert_allclose(got, data @ wide.T + added, rtol=1e-5, atol=1e-6)


def test_rows_that_a_sparse_weight_leaves_out_are_zero(tmp_path: Path) -> None:
    network = symbol(variable("data"), variable("w"), node("Embedding", "e", 0, 1, input_dim=4, output_dim=2))
    model = source_model(tmp_path, network, {"w": random(4, 2)}, {"data": np.arange(4, dtype="float32")})
    rows = np.array([[1, 2], [3, 4]], "float32")
    sparse = struct.pack("<Ii", 0xF993FAC9, 1) + struct.pack("<iqqiqq", 2, 2, 2, 2, 4, 2)
    sparse += struct.pack("<iiiiiq", 1, 0, 0, 6, 1, 2) + rows.tobytes() + np.array([1, 3], "int64").tobytes()
    (tmp_path / "net-0000.params").write_bytes(
        struct.pack("<QQQ", 0x112, 0, 1) + sparse + struct.pack("<QQ", 1, 5) + b"arg:w"
    )
    convert(model, tmp_path)
    got = run_onnx(tmp_path / "result/model.onnx", {"data": np.arange(4, dtype="float32")})["e_output"]
    assert got.tolist() == [[0, 0], [1, 2], [0, 0], [3, 4]]


def test_inputs_of_an_embedding_have_the_range_of_its_rows(tmp_path: Path) -> None:
    network = symbol(variable("data"), variable("w"), node("Embedding", "e", 0, 1, input_dim=7, output_dim=2))
    model = source_model(tmp_path, network, {"w": random(7, 2)}, {"data": np.zeros((2, 3), "float32")})
    (tmp_path / "result").mkdir()
    assert CONVERTER.convert(model, Options(), tmp_path / "result").ranges == {"data": (0, 7)}


def test_a_network_of_one_variable_and_several_heads_keeps_all_names(tmp_path: Path) -> None:
    network = symbol(variable("data"), node("Dropout", "drop", 0), node("relu", "act", 1), heads=(1, 2, 2))
    got = compute(network, {}, {"data": random(2)}, tmp_path)
    assert list(got) == ["drop_output", "act_output", "act_output_1"]


def test_variables_may_be_outputs_themselves(tmp_path: Path) -> None:
    network = symbol(variable("data"), variable("w"), node("broadcast_add", "sum", 0, 1), heads=(0, 1, 2))
    weight, data = random(2), random(2, seed=1)
    got = compute(network, {"w": weight}, {"data": data}, tmp_path)
    for name, expected in (("data", data), ("w", weight), ("sum_output", data + weight)):
        np.testing.assert_allclose(got[name], expected)


def test_the_survey_needs_no_numpy(tmp_path: Path) -> None:
    import subprocess
    import sys

    source_model(tmp_path, dense_network(), DENSE)
    program = f"""
import sys, pathlib
from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.mxnetparams_to_onnx import CONVERTER
from klever.steps.files import LocalFiles
from klever.steps.formats.mxnetparams import FORMAT
files = LocalFiles.below(pathlib.Path({str(tmp_path)!r}))
claim = FORMAT.claim(files)
CONVERTER.survey(SourceModel(files, claim, FORMAT.read(files, claim, None).signature), Options())
sys.exit(sorted({{"numpy", "onnx"}} & set(sys.modules)) != [])
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
