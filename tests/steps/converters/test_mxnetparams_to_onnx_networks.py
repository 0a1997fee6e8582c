"""MXNet to ONNX: sequences, detectors, regions, loops, positions and small networks, against MXNet 1.9.1's results."""

import base64
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mxnet_records import differences, read_records, run_onnx, source_model

from klever.steps.converters.interface import Options
from klever.steps.converters.mxnetparams_to_onnx import CONVERTER
from klever.steps.errors import KleverError, UnsupportedOperatorsError

pytest.importorskip("onnxruntime")

RECORDS = {record["name"]: record for record in read_records(Path(__file__).with_name("mxnetparams_networks.json.xz"))}
OPERATORS = sorted({name.rpartition("/")[0] for name in RECORDS})
#: What recurrent networks are compared by; the steps of other operators add up to less.
ABSOLUTE, RELATIVE = 1e-4, 1e-3


def array(packed: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed["data"]), packed["dtype"]).reshape(packed["shape"])


def arrays(packed: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: array(each) for name, each in packed.items()}


def convert(record: Mapping[str, Any], folder: Path, options: Options | None = None, *, shaped: bool = True) -> Path:
    """Convert a record, with the shapes of its inputs known or not."""
    folder.mkdir(parents=True)
    inputs = arrays(record["inputs"])
    model = source_model(folder, record["symbol"], arrays(record["params"]), inputs if shaped else None)
    (folder / "result").mkdir()
    CONVERTER.convert(model, options or Options(), folder / "result")
    return folder / "result" / "model.onnx"


def mistakes(
    record: Mapping[str, Any], path: Path, absolute: float = ABSOLUTE, relative: float = RELATIVE
) -> list[str]:
    got = run_onnx(path, arrays(record["inputs"]))
    expected = dict(zip(got, (array(each) for each in record["outputs"]), strict=True))
    return differences(got, expected, absolute, relative)


@pytest.mark.parametrize("operator", OPERATORS)
def test_it_computes_what_mxnet_does(operator: str, tmp_path: Path) -> None:
    for at, (name, record) in enumerate(RECORDS.items()):
        if name.rpartition("/")[0] == operator:
            assert mistakes(record, convert(record, tmp_path / str(at))) == [], name


@pytest.mark.parametrize("opset", [13, 16, 21])
def test_another_operator_set_computes_the_same(opset: int, tmp_path: Path) -> None:
    for operator in OPERATORS:
        record = next(each for name, each in RECORDS.items() if name.rpartition("/")[0] == operator)
        path = convert(record, tmp_path / operator.replace("/", "_"), Options(opset=opset))
        assert mistakes(record, path) == [], record["name"]


def test_what_an_old_operator_set_lacks_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorsError, match="aligned=True only for operator set 16"):
        convert(RECORDS["region/ROIAlign/aligned"], tmp_path / "model", Options(opset=15))


def test_bidirectional_fused_gru(tmp_path: Path) -> None:
    record = RECORDS["recurrent/fused gru/2"]
    path = convert(record, tmp_path / "model")
    assert [node.op_type for node in onnx.load(path).graph.node].count("GRU") == 2
    assert mistakes(record, path, 1e-6, 1e-5) == []


def test_weights_that_gluon_joins_are_laid_out_when_the_file_is_written(tmp_path: Path) -> None:
    graph = onnx.load(convert(RECORDS["recurrent/gluon lstm/2"], tmp_path / "model")).graph
    (first, _) = (node for node in graph.node if node.op_type == "LSTM")
    stored = {each.name for each in graph.initializer}
    assert set(first.input[1:4]) <= stored
    assert not any(each.name.endswith("i2h_weight") and each.dims == [12, 2] for each in graph.initializer)


@pytest.mark.parametrize("name", ["recurrent/gluon lstm/2", "recurrent/fused gru/1", "network/BERT/"])
def test_a_batch_that_is_not_known_stays_open(name: str, tmp_path: Path) -> None:
    record = RECORDS[name]
    path = convert(record, tmp_path / "model", shaped=False)
    assert mistakes(record, path) == []


@pytest.mark.parametrize("family", ["recurrent", "attention", "network", "detection/box_nms", "region/ROIAlign"])
def test_half_precision_comes_close(family: str, tmp_path: Path) -> None:
    # Positions and order of boxes hang on single bits, so of those the first record alone.
    for name, record in itertools.islice(((n, r) for n, r in RECORDS.items() if n.startswith(family)), 12):
        if "double" not in name:
            path = convert(record, tmp_path / name.replace("/", "_"), Options(dtype="float16"))
            assert mistakes(record, path, 2e-2, 2e-2) == [], name


def test_lengths_end_a_recurrent_layer_where_an_example_ends(tmp_path: Path) -> None:
    """MXNet on a CPU ignores the lengths, so what is expected follows from each example alone."""
    record = RECORDS["recurrent/states/1"]
    inputs, lengths = arrays(record["inputs"]), np.array([3, 2], "float32")
    symbol = {**record["symbol"], "nodes": [dict(node) for node in record["symbol"]["nodes"]]}
    nodes = symbol["nodes"]
    layer = next(node for node in nodes if node["op"] == "RNN")
    for padded in (False, True):
        # A bound that is never reached takes the way over the steps instead of ONNX's own layer.
        bounds = {"lstm_state_clip_min": "-1e6", "lstm_state_clip_max": "1e6"} if padded else {}
        layer["attrs"] = {**layer["attrs"], "use_sequence_length": "True", **bounds}
        variable = {"op": "null", "name": "length", "inputs": []}
        changed = [variable, *({**node, "inputs": shifted(node)} for node in nodes)]
        next(node for node in changed if node["op"] == "RNN")["inputs"].append([0, 0, 0])
        heads = [[head[0] + 1, *head[1:]] for head in symbol["heads"]]
        network = {"nodes": changed, "heads": heads, "attrs": symbol["attrs"]}
        folder = tmp_path / str(padded)
        folder.mkdir()
        model = source_model(folder, network, arrays(record["params"]), {**inputs, "length": lengths})
        (folder / "result").mkdir()
        done = CONVERTER.convert(model, Options(), folder / "result")
        assert done.ranges == {"length": (3, 4)}
        assert any("lengths of sequences" in note and layer["name"] in note for note in done.notes)
        got = list(run_onnx(folder / "result" / "model.onnx", {**inputs, "length": lengths}).values())
        alone = convert(record, folder / "short")
        short = list(run_onnx(alone, {**inputs, "data": np.pad(inputs["data"][:2], ((0, 1), (0, 0), (0, 0)))}).values())
        full = [array(each) for each in record["outputs"]]
        np.testing.assert_allclose(got[0][:, 0], full[0][:, 0], atol=1e-5)
        np.testing.assert_allclose(got[0][:2, 1], short[0][:2, 1], atol=1e-5)
        assert (got[0][2, 1] == 0).all()
        np.testing.assert_allclose(got[1][-1, 1], short[0][1, 1], atol=1e-5)


def shifted(node: Mapping[str, Any]) -> list[list[int]]:
    return [[place[0] + 1, *place[1:]] for place in node["inputs"]]


def test_a_bound_of_the_cell_holds_at_every_step(tmp_path: Path) -> None:
    """cuDNN bounds the cell before the output is made of it; MXNet on a CPU ignores the bound."""
    record = RECORDS["recurrent/states/1"]
    symbol = {**record["symbol"], "nodes": [dict(node) for node in record["symbol"]["nodes"]]}
    layer = next(node for node in symbol["nodes"] if node["op"] == "RNN")
    layer["attrs"] = {**layer["attrs"], "lstm_state_clip_min": "-0.125", "lstm_state_clip_max": "0.125"}
    path = convert({**record, "symbol": symbol}, tmp_path / "model")
    outputs = list(run_onnx(path, arrays(record["inputs"])).values())
    assert np.abs(outputs[2]).max() <= 0.125
    assert np.abs(array(record["outputs"][2])).max() > 0.125


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("position/take/clip 1", {"i": (0, 4)}),
        ("position/gather_nd/", {"i": (0, 3)}),
        ("position/one_hot/int32", {"i": (0, 4)}),
        ("sequence/SequenceLast/1", {"length": (1, 5)}),
        ("region/ROIPooling/0", {"r": (0, 1)}),
        ("network/BERT/", {"data0": (0, 9), "data1": (0, 2), "data2": (1, 6)}),
    ],
)
def test_values_that_make_sense_are_told_of_inputs_that_choose_or_count(
    name: str, expected: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    record = RECORDS[name]
    model = source_model(tmp_path, record["symbol"], arrays(record["params"]), arrays(record["inputs"]))
    (tmp_path / "result").mkdir()
    assert CONVERTER.convert(model, Options(), tmp_path / "result").ranges == expected


@pytest.mark.parametrize("operator", ["_random_uniform", "_sample_normal", "_contrib_MultiBoxTarget", "_linalg_potrf"])
def test_what_cannot_be_carried_over_is_named_with_the_reason(operator: str, tmp_path: Path) -> None:
    network = {
        "nodes": [
            {"op": "null", "name": "data", "inputs": []},
            {"op": operator, "name": "odd", "inputs": [[0, 0, 0]]},
        ],
        "heads": [[1, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901]},
    }
    model = source_model(tmp_path, network, {}, {"data": np.zeros((1, 5, 4), "float32")})
    (found,) = CONVERTER.survey(model, Options()).uncovered
    assert (found.operator, found.nodes) == (operator, ("odd",))
    assert found.reason


@pytest.mark.parametrize(
    ("family", "key", "value"),
    [
        ("recurrent/fused gru/2", "mode", "quantum"),
        ("recurrent/fused gru/2", "num_layers", "1000000000"),
        ("recurrent/fused gru/2", "state_size", "-3"),
        ("detection/MultiBoxPrior/", "sizes", "(" + "1," * 100_000 + ")"),
        ("sampling/Correlation/0", "max_displacement", "1000000"),
        ("sampling/Correlation/0", "stride1", "0"),
        ("position/slice/5", "step", "(0, 1)"),
        ("region/PSROIPooling/groups", "pooled_size", "100000"),
        ("algebra/linalg_extractdiag/0", "offset", "100"),
        ("control/foreach/cell", "in_data_locs", "(0, 0, 0)"),
        ("control/cond/1", "then_input_locs", "(77,)"),
        ("attention/selfatt_qk/", "heads", "0"),
        ("position/one_hot/float32", "depth", "99999999999"),
    ],
)
def test_hostile_attributes_end_in_errors_of_klever(family: str, key: str, value: str, tmp_path: Path) -> None:
    record = RECORDS[family]
    nodes = [{**node, "attrs": dict(node.get("attrs", {}))} for node in record["symbol"]["nodes"]]
    for node in nodes:
        if key in node["attrs"] or node["op"] not in ("null", "Reshape"):
            node["attrs"][key] = value
    with pytest.raises(KleverError):
        convert({**record, "symbol": {**record["symbol"], "nodes": nodes}}, tmp_path / "model")
