"""Caffe2 nets: which blobs have to be fed, which come out, and what follows for their shapes and types."""

import json
import struct
from pathlib import Path

import pytest
import yaml
from corpus import corpus
from wire import field

from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import BytesSource, LocalFiles, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.netdef import FORMAT, operator_types
from klever.steps.formats.netdef.graph import Argument, Net, Operator, find_inputs, find_outputs, read_net
from klever.steps.formats.netdef.shapes import infer_values
from klever.steps.formats.netdef.values import Value
from klever.steps.model.shapes import Shape
from klever.steps.model.signature import Signature


def operator(kind: str, inputs: str, outputs: str, *arguments: bytes) -> bytes:
    blobs = [field(1, name.encode()) for name in inputs.split()]
    blobs += [field(2, name.encode()) for name in outputs.split()]
    body = b"".join(blobs) + field(4, kind.encode()) + b"".join(field(5, one) for one in arguments)
    return field(2, body)


def integers(name: str, *values: int) -> bytes:
    return field(1, name.encode()) + b"".join(bytes((6 << 3, value)) for value in values)


def floats(name: str, count: int) -> bytes:
    """Return an argument of unpacked floats, as proto2 writes them: a tag before each."""
    return field(1, name.encode()) + struct.pack("<Bf", 5 << 3 | 5, 0.5) * count


INIT = operator("GivenTensorFill", "", "w", integers("shape", 4, 6), floats("values", 24))
PREDICT = operator("FC", "x w", "y") + operator("Relu", "y", "y")


def read(files: dict[str, bytes], author: Signature | None = None) -> Reading:
    memory = MemoryFiles(files)
    claim = FORMAT.claim(memory)
    assert claim is not None
    return FORMAT.read(memory, claim, author)


@pytest.mark.corpus
@pytest.mark.parametrize("folder", corpus("NetDef"), ids=lambda folder: folder.name)
@pytest.mark.parametrize("authored", [True, False])
def test_the_corpus_is_read_as_caffe2_computed_it(folder: Path, authored: bool) -> None:
    files = LocalFiles.below(folder / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    stated = Signature.model_validate(yaml.safe_load((folder / "ormbfile.yaml").read_text())["signature"])
    signature = FORMAT.read(files, claim, stated if authored else None).signature
    oracle = json.loads((folder / "oracle" / "meta.json").read_text())
    for tensors, expected in ((signature.inputs, oracle["inputs"]), (signature.outputs, oracle["outputs"])):
        assert {tensor.name for tensor in tensors or ()} == set(expected)
        for tensor in tensors or ():
            shape, dtype = expected[tensor.name]
            assert tensor.dtype in (dtype, None)
            if authored:
                assert list(tensor.shape or ()) == shape
            elif tensor.shape is not None:
                assert all(ours in (-1, theirs) for ours, theirs in zip(tensor.shape, shape, strict=True))
    assert set(signature.layers or ()) == set(oracle["ops"])


def test_a_fill_that_only_makes_an_input_exist_does_not_hide_it() -> None:
    fake = operator("GivenTensorFill", "", "x", integers("shape", 1, 1), field(1, b"values") + b"\x2d\0\0\0\0")
    signature = read({"init_net.pb": INIT + fake, "predict_net.pb": PREDICT}).signature
    assert [tensor.name for tensor in signature.inputs or ()] == ["x"]


def test_a_parameter_that_looks_like_a_fake_input_stays_a_parameter() -> None:
    bias = operator("ConstantFill", "", "b", integers("shape", 1))
    net = operator("FC", "x w b", "y")
    signature = read({"init_net.pb": INIT + bias, "predict_net.pb": net}).signature
    assert [tensor.name for tensor in signature.inputs or ()] == ["x"]


def test_external_blobs_are_worked_out_where_none_are_listed() -> None:
    net = Net("", (Operator("LRN", ("x",), ("y", "scale")), Operator("Relu", ("y",), ("z",))), (), ())
    assert find_inputs(net, frozenset()) == ("x",)
    assert find_outputs(net, frozenset()) == ("z",)


def test_the_mask_of_a_dropout_that_tests_is_no_output_though_listed() -> None:
    tested = Operator("Dropout", ("x",), ("y", "mask"), arguments={"is_test": Argument(i=1)})
    trained = Operator("Dropout", ("x",), ("y", "mask"))
    assert find_outputs(Net("", (tested,), ("x",), ("mask", "y")), frozenset()) == ("y",)
    assert find_outputs(Net("", (trained,), ("x",), ("mask", "y")), frozenset()) == ("mask", "y")


def test_nets_under_other_names_are_told_apart_and_renamed() -> None:
    claim = FORMAT.claim(MemoryFiles({"a.pb": PREDICT, "b.pb": INIT}))
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    assert claim.files == ("a.pb", "b.pb")
    assert claim.rename == {"a.pb": "predict_net.pb", "b.pb": "init_net.pb"}


def test_a_missing_net_is_named() -> None:
    claim = FORMAT.claim(MemoryFiles({"init_net.pb": INIT}))
    assert claim is not None
    assert claim.missing == ("predict_net.pb",)


def test_a_predict_net_may_be_text() -> None:
    text = b'op { input: "x" input: "w" output: "y" type: "FC" } external_input: "x" external_output: "y"'
    signature = read({"init_net.pb": INIT, "predict_net.pbtxt": text}).signature
    assert [(tensor.name, tensor.shape) for tensor in signature.outputs or ()] == [("y", (-1, 4))]


def test_value_info_beside_the_nets_states_inputs() -> None:
    files = {"init_net.pb": INIT, "predict_net.pb": PREDICT, "value_info.json": b'{"x": [1, [5, 2, 3]]}'}
    signature = read(files).signature
    assert [(tensor.dtype, tensor.shape) for tensor in signature.inputs or ()] == [("float32", (5, 2, 3))]
    assert [(tensor.dtype, tensor.shape) for tensor in signature.outputs or ()] == [("float32", (5, 4))]


@pytest.mark.parametrize("info", [b"{", b"[]", b'{"x": 1}', b'{"x": [1, "a"]}', b"[" * 100_000])
def test_value_info_that_is_none_is_passed_over(info: bytes) -> None:
    signature = read({"init_net.pb": INIT, "predict_net.pb": PREDICT, "value_info.json": info}).signature
    assert [tensor.name for tensor in signature.inputs or ()] == ["x"]


def test_weights_are_passed_over_by_position() -> None:
    class Counting(BytesSource):
        read = 0

        def read_at(self, offset: int, length: int) -> bytes:
            data = super().read_at(offset, length)
            self.read += len(data)
            return data

    weights = operator("GivenTensorFill", "", "w", integers("shape", 100, 100), floats("values", 1_000_000))
    source = Counting(weights * 3)
    net = read_net(source)
    assert [one.integers("shape") for one in net.operators] == [(100, 100)] * 3
    assert source.read < 300_000


def op(kind: str, **arguments: Argument) -> Operator:
    return Operator(kind, ("x", "w"), ("y",), arguments=arguments)


NHWC = Argument(s=b"NHWC")
TWO, THREE = Argument(i=2), Argument(i=3)


@pytest.mark.parametrize(
    ("operator", "x", "w", "expected"),
    [
        (op("Conv", kernel=THREE, legacy_pad=TWO, stride=TWO), (1, 3, 8, 9), (4, 3, 3, 3), (1, 4, 4, 5)),
        (op("Conv", order=NHWC, kernel=Argument(i=3)), (1, 8, 9, 3), (4, 3, 3, 3), (1, 6, 7, 4)),
        (op("Conv", kernel=Argument(i=3)), None, (4, 3, 3, 3), (-1, 4, -1, -1)),
        (op("MaxPool", kernel=THREE, stride=TWO, legacy_pad=THREE), (1, 3, 8, 8), (), (1, 3, 4, 4)),
        (op("MaxPool", kernel=THREE, stride=TWO), (1, 3, 8, 8), (), (1, 3, 3, 3)),
        (op("FC"), (2, 3, 2), (4, 6), (2, 4)),
        (op("FCTransposed"), (2, 6), (6, 4), (2, 4)),
        (op("Gather"), (20, 8), (2, 5), (2, 5, 8)),
        (op("Int8Relu"), (2, 8), (), (2, 8)),
        (op("Add"), (2, 1, 8), (3, 1), (2, 3, 8)),
        (op("OperatorOfAFork"), (2, 8), (), None),
    ],
)  # fmt: skip
def test_an_operator_shapes_its_output(operator: Operator, x: Shape, w: Shape, expected: Shape) -> None:
    values = infer_values([operator], {"x": Value(x, "float32"), "w": Value(w, "float32")}).blobs
    assert values["y"].shape == expected


def test_a_net_without_its_end_is_refused() -> None:
    with pytest.raises(TruncatedModelError):
        read({"init_net.pb": INIT[:-9], "predict_net.pb": PREDICT})


def test_a_number_where_a_name_has_to_be_is_refused() -> None:
    with pytest.raises(MalformedModelError):
        read_net(BytesSource(b"\x12\x02\x08\x01"))


def test_a_net_of_more_operators_than_any_has_is_refused() -> None:
    with pytest.raises(LimitExceededError):
        read_net(BytesSource(operator("Relu", "", "y") * 50_001))


@pytest.mark.parametrize("data", [b"", b"\x08\x07\x12\x01x", b"\x0a\x04\x0a\x02ab", b"\x12\x05\x22\x01c\x28\x04"])
def test_other_protobufs_are_no_nets(data: bytes) -> None:
    assert operator_types(data) == ()
