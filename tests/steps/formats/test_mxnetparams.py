"""MXNetParams: what the graph, the params file and the shapes between them say.

``mxnetparams_shapes.json`` holds uses of operators with the shapes that MXNet 1.9.1's own ``infer_shape`` gave.
"""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus

from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import BytesSource, LocalFiles, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.mxnetparams import FORMAT
from klever.steps.formats.mxnetparams.call import Call
from klever.steps.formats.mxnetparams.graph import MAX_NODES, parse_graph
from klever.steps.formats.mxnetparams.params import read_arrays
from klever.steps.formats.mxnetparams.rules import RULES, canonical
from klever.steps.model.signature import Signature, Tensor

SHAPES = json.loads((Path(__file__).parent / "mxnetparams_shapes.json").read_text())
EMPTY_PARAMS = struct.pack("<QQQQ", 0x112, 0, 0, 0)


def node(op: str, name: str, *inputs: list[int], **attributes: str) -> dict[str, Any]:
    return {"op": op, "name": name, "inputs": list(inputs), "attrs": attributes}


def symbol(*nodes: dict[str, Any], heads: list[list[int]] | None = None, **rest: Any) -> bytes:
    heads = heads or [[len(nodes) - 1, 0, 0]]
    return json.dumps({"nodes": nodes, "arg_nodes": [], "heads": heads, **rest}).encode()


def params(**shapes: tuple[int, ...]) -> bytes:
    """Return a params file of the V2 layout with float32 zeros."""
    arrays = b"".join(
        struct.pack(f"<Iii{len(shape)}qiii", 0xF993FAC9, 0, len(shape), *shape, 1, 0, 0)
        + bytes(4 * int.__mul__(*shape, 1) if len(shape) == 1 else 4 * shape[0] * shape[1])
        for shape in shapes.values()
    )
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in shapes)
    return struct.pack("<QQQ", 0x112, 0, len(shapes)) + arrays + struct.pack("<Q", len(shapes)) + names


def read(graph: bytes, weights: bytes = EMPTY_PARAMS, author: Signature | None = None) -> Reading:
    files = MemoryFiles({"m-symbol.json": graph, "m-0000.params": weights})
    claim = FORMAT.claim(files)
    assert claim is not None
    return FORMAT.read(files, claim, author)


def inputs_of(reading: Reading) -> dict[str, tuple[int, ...] | None]:
    return {tensor.name: tensor.shape for tensor in reading.signature.inputs or ()}


def outputs_of(reading: Reading) -> dict[str, tuple[int, ...] | None]:
    return {tensor.name: tensor.shape for tensor in reading.signature.outputs or ()}


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "outputs"), SHAPES, ids=[f"{at}-{row[0]}" for at, row in enumerate(SHAPES)]
)
def test_an_operators_shapes_are_those_of_mxnet(
    op: str, attributes: dict[str, str], inputs: list[list[int]], outputs: list[list[int]]
) -> None:
    call = Call(attributes, [tuple(shape) for shape in inputs], dict.fromkeys(range(len(outputs))))
    RULES[canonical(op)](call)
    assert [call.output(index) for index in range(len(outputs))] == [tuple(shape) for shape in outputs]


@pytest.mark.parametrize(
    ("op", "attributes", "inputs", "outputs"), SHAPES, ids=[f"{at}-{row[0]}" for at, row in enumerate(SHAPES)]
)
def test_unknown_sizes_and_ranks_never_lead_to_a_wrong_one(
    op: str, attributes: dict[str, str], inputs: list[list[int]], outputs: list[list[int]]
) -> None:
    for shape in ([tuple(-1 for _ in sizes) for sizes in inputs], [None] * len(inputs)):
        call = Call(attributes, list(shape), dict.fromkeys(range(len(outputs))))
        RULES[canonical(op)](call)
        for index, expected in enumerate(outputs):
            actual = call.output(index)
            assert actual is None or len(actual) == len(expected)
            assert all(size in (-1, truth) for size, truth in zip(actual or (), expected, strict=False))


@pytest.mark.corpus
def test_every_model_of_the_corpus_agrees_with_its_oracle(shared: Path) -> None:
    cases = corpus("MXNetParams")
    assert cases
    for case in cases:
        oracle = json.loads((case / "oracle" / "meta.json").read_text())
        author = Signature(
            inputs=tuple(Tensor(name=name, shape=tuple(shape)) for name, (shape, _) in oracle["inputs"].items())
        )
        files = LocalFiles.below(case / "model")
        claim = FORMAT.claim(files)
        assert claim is not None
        assert claim.evidence == Evidence.CONTENT
        alone, told = FORMAT.read(files, claim, None), FORMAT.read(files, claim, author)
        assert [tensor.name for tensor in alone.signature.inputs or ()] == list(oracle["inputs"]), case
        for tensor in alone.signature.inputs or ():
            shape, dtype = oracle["inputs"][tensor.name]
            assert tensor.dtype == dtype
            if tensor.shape is not None:
                assert len(tensor.shape) == len(shape)
                assert all(size in (-1, truth) for size, truth in zip(tensor.shape, shape, strict=True)), case
        assert {
            tensor.name: [list(tensor.shape or ()), tensor.dtype] for tensor in told.signature.outputs or ()
        } == oracle["outputs"], case


def test_labels_are_told_by_their_place_and_not_by_their_name() -> None:
    reading = read(
        symbol(
            node("null", "data"),
            node("null", "targets"),
            node("Reshape", "flat", [1, 0, 0], shape="(-1,)"),
            node("SoftmaxOutput", "softmax", [0, 0, 0], [2, 0, 0]),
        )
    )
    assert list(inputs_of(reading)) == ["data"]
    assert list(outputs_of(reading)) == ["softmax_output"]


def test_a_tensor_that_is_label_and_input_at_once_is_an_input() -> None:
    reading = read(
        symbol(
            node("null", "data"),
            node("sigmoid", "code", [0, 0, 0]),
            node("LinearRegressionOutput", "loss", [1, 0, 0], [0, 0, 0]),
        )
    )
    assert list(inputs_of(reading)) == ["data"]


def test_auxiliary_states_and_begin_states_are_told_apart() -> None:
    reading = read(
        symbol(
            node("null", "data"),
            *(node("null", name) for name in ("gamma", "beta", "mean", "var")),
            node("BatchNorm", "norm", *([at, 0, 0] for at in range(5))),
            node("null", "state"),
            node("elemwise_add", "sum", [5, 0, 0], [6, 0, 0]),
        ),
        params(**{"arg:gamma": (3,), "arg:beta": (3,)}),
    )
    assert list(inputs_of(reading)) == ["data", "state"]


def test_variables_that_no_head_needs_are_no_inputs() -> None:
    assert list(inputs_of(read(symbol(node("null", "a"), node("null", "b"), node("relu", "r", [0, 0, 0]))))) == ["a"]


@pytest.mark.parametrize("key", ["param", "attr", "attrs"])
def test_attributes_are_read_under_each_versions_key(key: str) -> None:
    old = {"op": "FullyConnected", "name": "fc", "inputs": [[0, 0], [1, 0], [2, 0]], key: {"num_hidden": "4"}}
    graph = symbol(*(node("null", name) for name in ("data", "w", "b")), old, heads=[[3, 0]])
    reading = read(graph, params(w=(4, 7), b=(4,)))
    assert inputs_of(reading) == {"data": (-1, 7)}
    assert outputs_of(reading) == {"fc_output": (-1, 4)}


def test_a_flattening_dense_layer_decides_nothing_where_the_author_states_another_rank() -> None:
    graph = symbol(
        *(node("null", name) for name in ("data", "w")),
        node("FullyConnected", "fc", [0, 0, 0], [1, 0, 0], num_hidden="4", no_bias="True"),
    )
    author = Signature(inputs=(Tensor(name="data", shape=(2, 1, 7)),))
    reading = read(graph, params(w=(4, 7)), author)
    assert inputs_of(reading) == {"data": None}
    assert outputs_of(reading) == {"fc_output": (2, 4)}


def test_an_author_who_contradicts_the_weights_changes_nothing() -> None:
    graph = symbol(
        *(node("null", name) for name in ("data", "w")),
        node("FullyConnected", "fc", [0, 0, 0], [1, 0, 0], num_hidden="4", no_bias="True", flatten="False"),
        node("Reshape", "r", [2, 0, 0], shape="(-1, 4)"),
    )
    author = Signature(inputs=(Tensor(name="data", shape=(2, 9)),))
    assert outputs_of(read(graph, params(w=(4, 7)), author)) == {"r_output": (-1, 4)}


def test_a_declared_shape_is_taken() -> None:
    graph = symbol(node("null", "data", __shape__="(1, 3, 0)", __dtype__="6"), node("relu", "r", [0, 0, 0]))
    reading = read(graph)
    assert outputs_of(reading) == {"r_output": (1, 3, -1)}
    assert [tensor.dtype for tensor in reading.signature.outputs or ()] == ["int64"]


def test_unknown_operators_have_unknown_shapes_and_types() -> None:
    reading = read(symbol(node("null", "data"), node("Custom", "mine", [0, 0, 0], op_type="my_layer")))
    (output,) = reading.signature.outputs or ()
    assert (output.name, output.shape, output.dtype) == ("mine_output", None, None)
    assert "my_layer" in reading.notes[0]


@pytest.mark.parametrize(
    ("op", "attributes", "head", "name"),
    [
        ("SliceChannel", {"num_outputs": "1"}, 0, "x_output0"),
        ("SliceChannel", {"num_outputs": "3"}, 2, "x_output2"),
        ("BatchNorm", {}, 2, "x_var"),
        ("LayerNorm", {}, 1, "x_mean"),
        ("RNN", {"mode": "lstm", "state_outputs": "True"}, 1, "x_state_output"),
        ("RNN", {"mode": "lstm", "state_outputs": "True"}, 2, "x_statecell_output"),
        ("topk", {}, 0, "x_output"),
        ("topk", {"ret_typ": "value"}, 0, "x_output0"),
        ("CTCLoss", {}, 0, "x_output0"),
        ("_contrib_box_nms", {}, 0, "x_output0"),
        ("_contrib_Proposal", {"output_score": "True"}, 1, "x_score"),
        ("Pooling", {"kernel": "(2, 2)"}, 0, "x_output"),
        ("null", {}, 0, "x"),
    ],
)
def test_outputs_have_the_names_of_list_outputs(op: str, attributes: dict[str, str], head: int, name: str) -> None:
    graph = symbol(node("null", "data"), node(op, "x", *([] if op == "null" else [[0, 0, 0]]), **attributes))
    document = json.loads(graph) | {"heads": [[1, head, 0]]}
    assert list(outputs_of(read(json.dumps(document).encode()))) == [name]


@pytest.mark.parametrize(
    ("defect", "graph", "error"),
    [
        ("cycle", symbol(node("relu", "a", [0, 0, 0])), MalformedModelError),
        ("forward reference", symbol(node("relu", "a", [1, 0, 0]), node("null", "b")), MalformedModelError),
        ("no heads", json.dumps({"nodes": [], "heads": []}).encode(), MalformedModelError),
        ("head beyond the nodes", symbol(node("null", "a"), heads=[[1, 0, 0]]), MalformedModelError),
        ("negative entry", symbol(node("null", "a"), heads=[[-1, 0, 0]]), MalformedModelError),
        ("a million nodes", b'{"nodes":[' + b'{"op":"null"},' * (MAX_NODES + 1), LimitExceededError),
        ("deep nesting", b'{"nodes":' + b"[" * 100_000, LimitExceededError),
        ("repeated key", b'{"nodes":[],"nodes":[]}', MalformedModelError),
        ("NaN", b'{"nodes":NaN}', MalformedModelError),
        ("half a surrogate pair", symbol(node("null", "\ud800")), MalformedModelError),
        ("number of 5000 digits", b'{"nodes":[],"heads":[' + b"9" * 5000 + b"]}", MalformedModelError),
        ("not a list of inputs", b'{"nodes":[{"op":"a","name":"b","inputs":{}}]}', MalformedModelError),
    ],
)
def test_a_broken_graph_is_refused(defect: str, graph: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error):
        parse_graph(graph)


def test_each_generation_of_arrays_is_read_by_position() -> None:
    legacy = struct.pack("<I2Iiii", 2, 2, 3, 1, 0, 2) + bytes(12)
    first = struct.pack("<Ii1qiii", 0xF993FAC8, 1, 4, 1, 0, 1) + bytes(32)
    second = struct.pack("<Iii1qiii", 0xF993FAC9, 0, 1, 5, 1, 0, 3) + bytes(5)
    scalar = struct.pack("<Iiiiii", 0xF993FACA, 0, 0, 1, 0, 6) + bytes(8)
    unfilled = struct.pack("<Iii", 0xF993FAC9, 0, 0)
    sparse = (
        struct.pack("<Iii2qi2qiii", 0xF993FAC9, 1, 2, 2, 4, 2, 9, 4, 1, 0, 0)
        + struct.pack("<ii1q", 6, 1, 2)
        + bytes(2 * 4 * 4 + 2 * 8)
    )
    arrays = (legacy, first, second, scalar, unfilled, sparse)
    names = (b"arg:a", b"aux:b", b"c", b"d", b"e", b"f")
    data = struct.pack("<QQQ", 0x112, 0, len(arrays)) + b"".join(arrays) + struct.pack("<Q", len(names))
    data += b"".join(struct.pack("<Q", len(name)) + name for name in names)
    found = read_arrays(BytesSource(data))
    assert [(each.name, each.kind, each.dtype, each.shape) for each in found] == [
        ("a", "arg", "float16", (2, 3)),
        ("b", "aux", "float64", (4,)),
        ("c", "", "uint8", (5,)),
        ("d", "", "int64", ()),
        ("e", "", None, None),
        ("f", "", "float32", (9, 4)),
    ]
    assert found[5].storage == "row_sparse"
    assert [each.length for each in found] == [12, 32, 5, 8, 0, 32]


class CountingSource(BytesSource):
    """A source that reports a huge size and counts what is read."""

    def __init__(self, data: bytes, gap: tuple[int, int]) -> None:
        super().__init__(data)
        self.gap = gap
        self.size = len(data) + gap[1]
        self.taken = 0

    def read_at(self, offset: int, length: int) -> bytes:
        at, width = self.gap
        self.taken += length
        return super().read_at(offset if offset < at else max(offset - width, at), length)


def test_the_values_of_arrays_are_passed_over() -> None:
    width = 1 << 30
    head = struct.pack("<QQQ", 0x112, 0, 1) + struct.pack("<Iii1qiii", 0xF993FAC9, 0, 1, width // 4, 1, 0, 0)
    source = CountingSource(head + struct.pack("<QQ", 1, 1) + b"w", (len(head), width))
    assert read_arrays(source)[0].shape == (width // 4,)
    assert source.taken < 200_000


@pytest.mark.parametrize(
    ("defect", "data", "error"),
    [
        ("empty", b"", TruncatedModelError),
        ("other magic", bytes(24), MalformedModelError),
        ("absurd count", struct.pack("<QQQ", 0x112, 0, 1 << 60), LimitExceededError),
        ("claims more than there is", struct.pack("<QQQ", 0x112, 0, 5), TruncatedModelError),
        ("absurd rank", struct.pack("<QQQIii", 0x112, 0, 1, 0xF993FAC9, 0, 1 << 30), MalformedModelError),
        (
            "unknown type",
            params(w=(2,)).replace(struct.pack("<iii", 1, 0, 0), struct.pack("<iii", 1, 0, 99)),
            ModelError,
        ),
        ("names cut off", params(weight=(2,))[:-1], TruncatedModelError),
    ],
)
def test_a_broken_params_file_is_refused(defect: str, data: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error):
        read_arrays(BytesSource(data))


def test_several_epochs_compete_and_a_lone_file_misses_its_other_half() -> None:
    graph = symbol(node("null", "data"))
    several = FORMAT.claim(
        MemoryFiles({"m-symbol.json": graph, "m-0001.params": EMPTY_PARAMS, "m-0002.params": EMPTY_PARAMS})
    )
    assert several is not None
    assert several.competing == ("m-0001.params", "m-0002.params")
    alone = FORMAT.claim(MemoryFiles({"m-0001.params": EMPTY_PARAMS}))
    assert alone is not None
    assert alone.missing == ("one *symbol.json",)
    assert FORMAT.claim(MemoryFiles({"m-symbol.json": b"<html>", "m.params": b"PK\x03\x04aaaaaaaaaaaaaaaa"})) is None


def test_arrays_of_mxnet_2_are_refused_in_words_of_their_own() -> None:
    with pytest.raises(MalformedModelError, match="MXNet 2"):
        read(symbol(node("null", "data")), b"PK\3\4" + bytes(60))


def test_companions_are_the_files_of_the_same_prefix() -> None:
    siblings = frozenset({"net-symbol.json", "net-0000.params", "net-0010.params", "other-0000.params"})
    assert FORMAT.companions("net-symbol.json", siblings) == ("net-0000.params", "net-0010.params")
    assert FORMAT.companions("net-0000.params", siblings) == ("net-symbol.json",)


def test_params_of_another_symbol_are_told() -> None:
    assert "another symbol" in read(symbol(node("null", "data")), params(stranger=(1,))).notes[0]
