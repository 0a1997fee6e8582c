"""Caffe2 to ONNX: each operator against what Caffe2 of torch 1.8.1 computed, and what was known to go wrong elsewhere."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netdef_records import (
    converted,
    differences,
    filled,
    net,
    operator,
    part,
    read_records,
    recorded_model,
    run_onnx,
    source_model,
)
from wire import field

from klever.steps.converters.interface import Options
from klever.steps.converters.netdef_to_onnx import CONVERTER
from klever.steps.converters.netdef_to_onnx.fillers import FILLERS
from klever.steps.converters.netdef_to_onnx.rules import RULES
from klever.steps.converters.netdef_to_onnx.sketch import Sketch
from klever.steps.converters.netdef_to_onnx.source import Nets
from klever.steps.converters.netdef_to_onnx.translate import translate
from klever.steps.errors import (
    ConversionError,
    KleverError,
    MalformedModelError,
    UnansweredError,
    UnsupportedOperatorsError,
)
from klever.steps.formats.netdef.graph import Argument, Net, Operator
from klever.steps.formats.netdef.values import Value
from klever.steps.plan import plan
from klever.steps.recognise import recognise

pytest.importorskip("onnxruntime")

RECORDS = read_records(Path(__file__).with_name("netdef_operators.npz.xz"))
#: Networks of PyTorch that Caffe2 took from ONNX.
NETWORKS = read_records(Path(__file__).with_name("netdef_networks.npz.xz"))


@pytest.mark.parametrize("name", sorted(RECORDS))
def test_an_operator_computes_what_caffe2_does(name: str, tmp_path: Path) -> None:
    for draw, record in enumerate(RECORDS[name]):
        folder = tmp_path / str(draw)
        (folder / "model").mkdir(parents=True)
        result = converted(recorded_model(record, folder / "model"), folder)
        assert differences(run_onnx(result, part(record, "in/")), part(record, "out/")) == []


@pytest.mark.parametrize("opset", [13, 17, 21])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_network_computes_what_caffe2_does(name: str, opset: int, tmp_path: Path) -> None:
    (record,) = NETWORKS[name]
    (tmp_path / "model").mkdir()
    result = converted(recorded_model(record, tmp_path / "model"), tmp_path, Options(opset=opset))
    assert differences(run_onnx(result, part(record, "in/")), part(record, "out/")) == []


@pytest.mark.parametrize("opset", [13, 18, 21])
def test_every_operator_set_computes_the_same(opset: int, tmp_path: Path) -> None:
    for name, (record, *_) in RECORDS.items():
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True)
        result = converted(recorded_model(record, folder / "model"), folder, Options(opset=opset))
        assert onnx.load(result).opset_import[0].version == opset
        assert differences(run_onnx(result, part(record, "in/")), part(record, "out/")) == [], name


def test_an_input_of_unknown_sizes_is_carried_over_right_or_asked_for(tmp_path: Path) -> None:
    asked = []
    for name, (record, *_) in RECORDS.items():
        folder = tmp_path / name
        (folder / "model").mkdir(parents=True)
        model = recorded_model(record, folder / "model", open_sizes=True)
        try:
            result = converted(model, folder)
        except (UnansweredError, UnsupportedOperatorsError, ConversionError):
            asked.append(name)
            continue
        assert differences(run_onnx(result, part(record, "in/")), part(record, "out/")) == [], name
    assert len(asked) < len(RECORDS) / 4


# Nets written by hand

IMAGE = np.arange(2 * 3 * 6 * 7, dtype="float32").reshape(2, 3, 6, 7) / 100


def run(
    folder: Path, *operators: bytes, init: bytes = b"", outputs: tuple[str, ...] = (), **fed: Any
) -> dict[str, Any]:
    shapes = {name: array.shape for name, array in fed.items()}
    dtypes = {name: array.dtype.name for name, array in fed.items()}
    predict = net(*operators, inputs=[*fed], outputs=outputs)
    return run_onnx(converted(source_model(folder, init, predict, shapes, dtypes), folder), fed)


def test_a_mask_that_testing_does_not_write_is_no_output(tmp_path: Path) -> None:
    got = run(tmp_path, operator("Dropout", ["x"], ["y", "mask"], is_test=1), outputs=("mask", "y"), x=IMAGE)
    assert list(got) == ["y"]
    assert (got["y"] == IMAGE).all()


def test_a_mask_that_training_writes_drops_nothing_and_a_note_says_so(tmp_path: Path) -> None:
    predict = net(operator("Dropout", ["x"], ["y", "mask"]), inputs=["x"], outputs=["y", "mask"])
    model = source_model(tmp_path, b"", predict, {"x": (2, 3)})
    assert "nothing is dropped" in CONVERTER.survey(model, Options()).notes[0]
    got = run_onnx(converted(model, tmp_path), {"x": IMAGE[0, 0, :2, :3]})
    assert got["mask"].all()
    assert got["mask"].dtype == bool


def test_the_scale_of_local_response_normalisation_is_computed_where_it_is_listed(tmp_path: Path) -> None:
    lrn = operator("LRN", ["x"], ["y", "scale"], size=3, alpha=0.3, beta=0.5)
    got = run(tmp_path, lrn, outputs=("scale", "y"), x=IMAGE)
    assert np.allclose(got["y"] * np.sqrt(got["scale"]), IMAGE, atol=1e-5)
    (tmp_path / "bare").mkdir()
    assert list(run(tmp_path / "bare", lrn, x=IMAGE)) == ["y"]


@pytest.mark.parametrize("transposed", [False, True])
def test_batch_matrices_are_multiplied_pair_by_pair(transposed: bool, tmp_path: Path) -> None:
    a, b = IMAGE.reshape(6, 6, 7), IMAGE.reshape(6, 6, 7)
    arguments = {"trans_b": 1} if transposed else {"trans_a": 1}
    got = run(tmp_path, operator("BatchMatMul", ["a", "b"], ["y"], **arguments), a=a, b=b)
    wanted = a @ b.transpose(0, 2, 1) if transposed else a.transpose(0, 2, 1) @ b
    assert np.allclose(got["y"], wanted, rtol=1e-5)


def test_weights_of_nhwc_have_their_channels_last(tmp_path: Path) -> None:
    weight = np.random.RandomState(0).uniform(-1, 1, (4, 1, 1, 3)).astype("float32")
    image = IMAGE.transpose(0, 2, 3, 1)
    conv = operator("Conv", ["x", "w"], ["y"], kernel=1, order="NHWC")
    got = run(tmp_path, conv, init=net(filled("w", weight)), x=image)
    assert np.allclose(got["y"], image @ weight[:, 0, 0].T, atol=1e-5)


def test_images_are_not_moved_back_and_forth_between_layers_of_nhwc(tmp_path: Path) -> None:
    pools = [
        operator("MaxPool", [name], [to], kernel=2, order="NHWC") for name, to in (("x", "a"), ("a", "b"), ("b", "y"))
    ]
    image = IMAGE.transpose(0, 2, 3, 1)
    run(tmp_path, *pools, x=image)
    kinds = [node.op_type for node in onnx.load(tmp_path / "result" / "model.onnx").graph.node]
    assert kinds == ["Transpose", "MaxPool", "MaxPool", "MaxPool", "Transpose"]


@pytest.mark.parametrize("slopes", [1, 3])
def test_a_slope_spreads_over_its_channel(slopes: int, tmp_path: Path) -> None:
    slope = np.linspace(0.1, 0.9, slopes, dtype="float32")
    got = run(tmp_path, operator("PRelu", ["x", "w"], ["y"]), init=net(filled("w", slope)), x=IMAGE - 1)
    wanted = np.where(IMAGE < 1, (IMAGE - 1) * slope.reshape(1, -1, 1, 1), IMAGE - 1)
    assert np.allclose(got["y"], wanted, atol=1e-6)


@pytest.mark.parametrize(("pad", "sizes"), [(0, (3, 4)), (1, (3, 4))])
def test_pooling_of_caffe_rounds_up_and_drops_a_window_behind_the_image(
    pad: int, sizes: tuple[int, int], tmp_path: Path
) -> None:
    pool = operator("MaxPool", ["x"], ["y"], kernel=2, stride=2, pad=pad, legacy_pad=3)
    # Over five rows and seven columns with a padding of one, a further window would begin behind the image.
    image = IMAGE[:, :, : 6 - pad]
    assert run(tmp_path, pool, x=image)["y"].shape[2:] == sizes


def test_average_pooling_of_caffe_counts_what_lies_in_the_image(tmp_path: Path) -> None:
    pool = operator("AveragePool", ["x"], ["y"], kernel=2, stride=2, legacy_pad=3)
    got = run(tmp_path, pool, x=IMAGE)["y"]
    assert got.shape == (2, 3, 3, 4)
    assert np.allclose(got[..., -1], (IMAGE[:, :, ::2, -1] + IMAGE[:, :, 1::2, -1]) / 2, atol=1e-6)


def test_a_blob_that_is_written_in_place_ends_under_its_own_name(tmp_path: Path) -> None:
    operators = [
        operator("Sqr", ["x"], ["y"]),
        operator("Negative", ["y"], ["y"]),
        operator("Exp", ["y"], ["z"]),
        operator("Negative", ["y"], ["y"]),
    ]
    got = run(tmp_path, *operators, outputs=("z", "y"), x=IMAGE)
    assert np.allclose(got["y"], IMAGE**2)
    assert np.allclose(got["z"], np.exp(-(IMAGE**2)), atol=1e-6)


def test_an_input_that_is_written_over_keeps_its_name(tmp_path: Path) -> None:
    got = run(tmp_path, operator("Negative", ["x"], ["x"]), operator("Abs", ["x"], ["y"]), outputs=("x", "y"), x=IMAGE)
    assert (got["x_output"] == -IMAGE).all()
    assert (got["y"] == IMAGE).all()


def test_names_are_kept_and_weights_are_no_inputs(tmp_path: Path) -> None:
    init = net(filled("w", np.ones((4, 3), "float32")), filled("b", np.zeros(4, "float32")))
    run(tmp_path, operator("FC", ["x", "w", "b"], ["y"]), init=init, x=IMAGE[0, :, 0, :3].copy())
    graph = onnx.load(tmp_path / "result" / "model.onnx").graph
    assert [each.name for each in graph.input] == ["x"]
    assert {each.name for each in graph.initializer} == {"w", "b"}
    assert [each.name for each in graph.output] == ["y"]


def test_a_parameter_that_is_listed_as_an_output_is_one(tmp_path: Path) -> None:
    init = net(filled("w", np.ones((1,), "float32")))
    got = run(tmp_path, operator("Add", ["x", "w"], ["y"], broadcast=1), init=init, outputs=("y", "w"), x=IMAGE)
    assert got["w"].tolist() == [1.0]


def test_what_an_init_net_computes_moves_into_the_graph(tmp_path: Path) -> None:
    init = net(
        operator("ConstantFill", [], ["half"], shape=[3], value=0.5),
        operator("Negative", ["half"], ["w"]),
        operator("XavierFill", [], ["unused"], shape=[3]),
    )
    got = run(tmp_path, operator("Mul", ["x", "w"], ["y"], broadcast=1, axis=1), init=init, x=IMAGE)
    assert np.allclose(got["y"], IMAGE * -0.5)


def test_the_batch_may_be_made_dynamic(tmp_path: Path) -> None:
    init = net(filled("w", np.ones((4, 126), "float32")), filled("b", np.zeros(4, "float32")))
    predict = net(operator("FC", ["x", "w", "b"], ["f"]), operator("Softmax", ["f"], ["y"]), inputs=["x"])
    model = source_model(tmp_path, init, predict, {"x": (1, 3, 6, 7)})
    path = converted(model, tmp_path, Options(batch=-1))
    assert run_onnx(path, {"x": IMAGE})["y"].shape == (2, 4)


# How values are stored


@pytest.mark.parametrize("count", [7, 5000])
@pytest.mark.parametrize("packed", [False, True])
def test_floats_are_read_packed_or_one_by_one(packed: bool, count: int, tmp_path: Path) -> None:
    values = np.random.RandomState(0).uniform(-1, 1, count).astype("<f4")
    each = b"".join(b"\x2d" + value.tobytes() for value in values)
    held = field(5, values.tobytes()) if packed else each
    shape = field(5, field(1, b"shape") + field(6, count))
    init = net(field(2, b"w") + field(4, b"GivenTensorFill") + shape + field(5, field(1, b"values") + held))
    got = run(tmp_path, operator("Add", ["x", "w"], ["y"], broadcast=1), init=init, x=np.zeros((2, count), "float32"))
    assert (got["y"] == values).all()


@pytest.mark.parametrize("packed", [False, True])
def test_integers_are_read_packed_or_one_by_one(packed: bool, tmp_path: Path) -> None:
    values = np.random.RandomState(0).randint(-(2**60), 2**60, 3000)
    each = [field(6, int(value)) for value in values]
    held = field(6, b"".join(value[1:] for value in each)) if packed else b"".join(each)
    shape = field(5, field(1, b"shape") + field(6, 3000))
    init = net(field(2, b"w") + field(4, b"GivenTensorInt64Fill") + shape + field(5, field(1, b"values") + held))
    got = run(tmp_path, operator("Add", ["x", "w"], ["y"], broadcast=1), init=init, x=np.zeros((1, 3000), "int64"))
    assert (got["y"] == values).all()


def test_a_filler_with_too_few_values_is_malformed(tmp_path: Path) -> None:
    short = operator("GivenTensorFill", [], ["w"], shape=[3], values=[1.0, 2.0])
    with pytest.raises(MalformedModelError, match="2 values"):
        run(tmp_path, operator("Add", ["x", "w"], ["y"], broadcast=1), init=net(short), x=IMAGE[..., :3])


# What cannot be carried over


def test_all_that_is_not_covered_is_told_at_once_before_anything_is_written(tmp_path: Path) -> None:
    init = net(operator("GaussianFill", [], ["w"], shape=[3]))
    predict = net(
        operator("Add", ["x", "w"], ["a"], broadcast=1),
        operator("Wish", ["a"], ["b"]),
        operator("LRN", ["b"], ["c", "scale"], size=4),
        operator("Wish", ["c"], ["y"]),
        inputs=["x"],
    )
    model = source_model(tmp_path, init, predict, {"x": (1, 3, 6, 3)})
    survey = CONVERTER.survey(model, Options())
    assert {(each.operator, each.nodes, each.reason) for each in survey.uncovered} == {
        ("GaussianFill", ("w",), "its values are random"),
        ("Wish", ("b", "y"), ""),
        ("LRN", ("c",), "with size 4"),
    }
    with pytest.raises(UnsupportedOperatorsError) as caught:
        CONVERTER.convert(model, Options(), tmp_path / "result")
    assert caught.value.operators["Wish"] == ("b", "y")
    assert not (tmp_path / "result").exists()


def test_a_shape_that_decides_is_asked_for(tmp_path: Path) -> None:
    predict = net(operator("ChannelShuffle", ["x"], ["y"], group=2), inputs=["x"])
    (question,) = CONVERTER.survey(source_model(tmp_path, b"", predict), Options()).questions
    assert "'x'" in question.about
    assert question.answer.startswith("--shape x=")
    with pytest.raises(UnansweredError):
        CONVERTER.convert(source_model(tmp_path, b"", predict), Options(), tmp_path)
    answered = Options(shapes={"x": (1, 4, 2, 2)})
    assert not CONVERTER.survey(source_model(tmp_path, b"", predict), answered).questions


def test_an_input_of_unknown_rank_is_asked_for(models: Path) -> None:
    with pytest.raises(UnansweredError, match="'X' is not in the files; the shape of input 'Y'") as unanswered:
        plan(recognise(models / "NetDef" / "fake_inputs" / "model"), "ONNX").check()
    assert unanswered.value.next_step == "add --shape X=SIZE,SIZE,... --shape Y=SIZE,SIZE,..."


@pytest.mark.parametrize("shapes", [{"bogus": (1,)}, {"data": (1, 2)}, {"data": (1, 99, 28, 28)}], ids=str)
def test_a_shape_that_the_net_cannot_have_is_refused(shapes: dict[str, tuple[int, ...]], models: Path) -> None:
    with pytest.raises(ConversionError, match=r"no input 'bogus'|contradicts the weights"):
        plan(recognise(models / "NetDef" / "opmix_brew" / "model"), "ONNX", Options(shapes=shapes))


def test_a_shape_that_decides_nothing_is_not_asked_for(tmp_path: Path) -> None:
    init = net(filled("w", np.ones((4, 3, 1, 1), "float32")))
    predict = net(operator("Conv", ["x", "w"], ["y"], kernel=1), operator("Softmax", ["y"], ["z"]), inputs=["x"])
    assert not CONVERTER.survey(source_model(tmp_path, init, predict), Options()).questions


def test_what_one_branch_leaves_beside_its_outputs_is_not_taken_for_the_outer_blob(tmp_path: Path) -> None:
    body = net(operator("Negative", ["x"], ["y"]), operator("Negative", ["x"], ["x2"]))
    branch = operator("If", ["c"], ["y"])[: -0 or None] + field(5, field(1, b"then_net") + field(8, body))
    predict = net(
        operator("Copy", ["x"], ["x2"]), operator("Copy", ["x"], ["y"]), branch, operator("Abs", ["x2"], ["z"]),
        inputs=["c", "x"],
    )  # fmt: skip
    model = source_model(tmp_path, b"", predict, {"c": (1,), "x": (2, 3)}, {"c": "bool", "x": "float32"})
    (found,) = CONVERTER.survey(model, Options()).uncovered
    assert found.reason == "it reads 'x2', which nothing computes"


def test_a_survey_imports_neither_numpy_nor_onnx(tmp_path: Path) -> None:
    program = """
import sys
from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.netdef_to_onnx import CONVERTER
from klever.steps.files import LocalFiles
from klever.steps.formats.netdef import FORMAT
from pathlib import Path
files = LocalFiles.below(Path(sys.argv[1]))
claim = FORMAT.claim(files)
model = SourceModel(files, claim, FORMAT.read(files, claim, None).signature)
assert not CONVERTER.survey(model, Options()).uncovered
assert not {"numpy", "onnx"} & set(sys.modules)
"""
    source_model(
        tmp_path, net(filled("w", np.ones(3, "float32"))), net(operator("Add", ["x", "w"], ["y"]), inputs=["x"])
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)


_ARGUMENTS = [
    "adj",
    "alias_dst",
    "alias_offset",
    "alias_src",
    "alpha",
    "axes",
    "axis",
    "axis_str",
    "axis_w",
    "beta",
    "bias",
    "block_size",
    "broadcast",
    "dilation",
    "dim",
    "dims",
    "divisor",
    "dtype",
    "ends",
    "epsilon",
    "extra_shape",
    "global_pooling",
    "group",
    "input_as_shape",
    "k",
    "keepdims",
    "kernel",
    "kernel_h",
    "kernel_w",
    "kernels",
    "legacy_pad",
    "link_external",
    "link_internal",
    "link_offset",
    "match_outer",
    "mode",
    "num_reduce_dim",
    "num_segments",
    "order",
    "p",
    "pad",
    "pads",
    "pooled_h",
    "recurrent_states",
    "roi_max_level",
    "scale",
    "shape",
    "size",
    "split",
    "starts",
    "stride",
    "strides",
    "tiles",
    "to",
    "trans_a",
    "values",
    "weights",
    "Y_scale",
    "Y_zero_point",
]
_ODD = st.sampled_from([0, 1, 2, 3, -1, -5, 7, 1 << 31, 1 << 62, -(1 << 63)])
_HELD = st.one_of(
    st.builds(lambda held: Argument(i=held), _ODD),
    st.builds(lambda held: Argument(f=held), st.floats(width=32)),
    st.builds(lambda held: Argument(s=held), st.sampled_from([b"NHWC", b"reflect", b"\xff", b"x"])),
    st.builds(lambda held: Argument(ints=held), st.lists(_ODD, max_size=5).map(tuple)),
    st.builds(lambda held: Argument(floats=held), st.lists(st.floats(width=32), max_size=4).map(tuple)),
    st.builds(
        lambda held: Argument(strings=held), st.lists(st.sampled_from([b"i0", b"o0", b"a"]), max_size=4).map(tuple)
    ),
)
_SHAPES = st.one_of(st.none(), st.lists(st.sampled_from([-1, 0, 1, 2, 3, 5]), max_size=6).map(tuple))
_DTYPES = st.sampled_from([None, "float32", "int32", "int64", "bool", "uint8", "object"])


@settings(deadline=None)
@given(
    st.sampled_from(sorted({*RULES, *FILLERS})),
    st.lists(st.tuples(_SHAPES, _DTYPES).map(lambda pair: Value(*pair)), max_size=5),
    st.integers(0, 4),
    st.dictionaries(st.sampled_from(_ARGUMENTS), _HELD, max_size=6),
)
def test_hostile_operators_end_in_an_answer(
    kind: str, values: list[Value], outputs: int, arguments: dict[str, Argument]
) -> None:
    fed = {f"i{at}": value for at, value in enumerate(values)}
    each = Operator(kind, tuple(fed), tuple(f"o{at}" for at in range(outputs)), arguments)
    nets = Nets(Net("net", (each,), tuple(fed), ()), Net("", (), (), ()), None, fed, each.outputs, {})
    try:
        findings = translate(nets, Sketch(17), lambda name, _: name, lambda _: None)
    except KleverError:
        return
    assert all(question.answer for question in findings.questions(nets))
    assert all(each.nodes for each in findings.uncovered())


def test_a_conversion_says_which_rows_a_lookup_has(tmp_path: Path) -> None:
    init = net(filled("table", np.ones((20, 4), "float32")))
    predict = net(operator("Gather", ["table", "ids"], ["y"]), inputs=["ids"])
    model = source_model(tmp_path, init, predict, {"ids": (2, 5)}, {"ids": "int64"})
    (tmp_path / "result").mkdir()
    assert CONVERTER.convert(model, Options(), tmp_path / "result").ranges == {"ids": (0, 20)}
