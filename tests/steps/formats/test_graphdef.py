"""GraphDef: what its reader promises beyond the conformance suite."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus
from wire import field

from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.graphdef import FORMAT, is_node
from klever.steps.formats.graphdef.call import RULES
from klever.steps.formats.graphdef.inference import Graph
from klever.steps.formats.graphdef.operators import is_known
from klever.steps.formats.interface import Claim, Evidence, Reading
from klever.steps.model.shapes import Shape
from klever.steps.model.signature import Signature, Tensor

CORPUS = corpus("GraphDef")
FLOAT, INT32 = 1, 3


def shape_attribute(sizes: Shape) -> bytes:
    return field(7, field(3, 1) if sizes is None else b"".join(field(2, field(1, size)) for size in sizes))


def node(name: str, op: str, *inputs: str, function: bool = False, **attributes: bytes) -> bytes:
    content = field(1, name.encode()) + field(2, op.encode()) + b"".join(field(3, given.encode()) for given in inputs)
    for key, value in attributes.items():
        content += field(5, field(1, key.encode()) + field(2, value))
    return field(3 if function else 1, content)


def placeholder(name: str, shape: Shape) -> bytes:
    return node(name, "Placeholder", dtype=field(6, FLOAT), shape=shape_attribute(shape))


VERSION = field(4, field(1, 134))
T = field(6, FLOAT)


def claim_of(files: MemoryFiles | LocalFiles) -> Claim:
    claim = FORMAT.claim(files)
    assert claim is not None
    return claim


def read(data: bytes, author: Signature | None = None) -> Reading:
    files = MemoryFiles({"m.graphdef": data})
    return FORMAT.read(files, claim_of(files), author)


def outputs(reading: Reading) -> list[tuple[str, str | None, Shape]]:
    return [(tensor.name, tensor.dtype, tensor.shape) for tensor in reading.signature.outputs or ()]


def test_a_node_read_by_another_is_no_output_by_whatever_edge() -> None:
    data = placeholder("x", (2,)) + node("split", "Split", "x", "x", T=T, num_split=field(3, 2))
    data += node("second", "Relu", "split:1", T=T) + node("pivot", "Identity", "x", T=T)
    data += node("after", "Neg", "second", "^pivot", T=T)
    assert [name for name, _, _ in outputs(read(data + VERSION))] == ["after"]


def test_what_only_a_silent_node_groups_is_an_output() -> None:
    data = placeholder("x", (2,)) + node("y", "Relu", "x", T=T) + node("all", "NoOp", "^y") + VERSION
    assert outputs(read(data)) == [("y", "float32", (2,))]


def test_an_unknown_operator_gives_its_attributes_type_and_a_note() -> None:
    reading = read(placeholder("x", (2,)) + node("y", "MyCompanysOp", "x", T=T) + VERSION)
    assert outputs(reading) == [("y", "float32", None)]
    assert any("MyCompanysOp" in note for note in reading.notes)


def test_the_authors_shape_is_followed_where_the_file_tells_none() -> None:
    data = placeholder("x", None) + node("y", "Relu", "x", T=T) + VERSION
    reading = read(data, Signature(inputs=(Tensor(name="x:0", shape=(-1, 3)),)))
    assert outputs(reading) == [("y", "float32", (-1, 3))]
    assert reading.signature.inputs is not None
    assert reading.signature.inputs[0].shape is None


def test_the_authors_shape_is_not_followed_where_the_file_tells_one() -> None:
    data = placeholder("x", (-1, 4)) + node("y", "Relu", "x", T=T) + VERSION
    assert outputs(read(data, Signature(inputs=(Tensor(name="x", shape=(7, 3)),)))) == [("y", "float32", (-1, 4))]


def test_a_scalar_placeholder_of_an_old_producer_is_of_unknown_rank() -> None:
    data = placeholder("x", ()) + node("y", "Relu", "x", T=T)
    assert outputs(read(data + field(4, field(1, 21))))[0][2] is None
    assert outputs(read(data + field(4, field(1, 22))))[0][2] == ()


def test_shapes_that_were_written_beside_a_node_are_used() -> None:
    stated = field(1, field(7, field(2, field(1, 5))))
    data = placeholder("x", None) + node("y", "MyCompanysOp", "x", T=T, _output_shapes=stated) + VERSION
    assert outputs(read(data)) == [("y", "float32", (5,))]


def test_contradictory_inputs_leave_a_shape_unknown() -> None:
    data = placeholder("a", (2,)) + placeholder("b", (3,)) + node("y", "AddV2", "a", "b", T=T) + VERSION
    assert outputs(read(data)) == [("y", "float32", None)]


def test_cycles_end() -> None:
    data = node("a", "Relu", "b", T=T) + node("b", "Relu", "a", T=T) + node("y", "Relu", "b", T=T)
    assert outputs(read(data + VERSION)) == [("y", "float32", None)]


def test_functions_that_call_themselves_twice_end_quickly() -> None:
    body = b"".join(
        node(f"c{index}", "PartitionedCall", *(["x"] if index == 0 else [f"c{index - 1}:output:0"]), function=True,
             f=field(10, field(1, b"f")), Tout=field(1, field(6, FLOAT)))
        for index in range(20)
    )  # fmt: skip
    arguments = field(1, b"f") + field(2, field(1, b"x") + field(3, FLOAT)) + field(3, field(1, b"y"))
    function = field(1, field(1, arguments) + body + field(4, field(1, b"y") + field(2, b"c19:output:0")))
    call = node("y", "PartitionedCall", "x", f=field(10, field(1, b"f")), Tout=field(1, field(6, FLOAT)))
    start = time.perf_counter()
    assert outputs(read(placeholder("x", (2,)) + call + field(2, function) + VERSION)) == [("y", "float32", None)]
    assert time.perf_counter() - start < 2


def test_a_deep_graph_needs_no_recursion() -> None:
    data = placeholder("n0", (-1, 3))
    data += b"".join(node(f"n{index + 1}", "Relu", f"n{index}", T=T) for index in range(20_000))
    assert outputs(read(data + VERSION)) == [("n20000", "float32", (-1, 3))]


def test_shapes_of_absurd_rank_or_size_become_unknown() -> None:
    data = placeholder("x", (2,) * 200) + node("y", "Relu", "x", T=T) + VERSION
    assert outputs(read(data))[0][2] is None
    with pytest.raises(LimitExceededError):
        read(placeholder("x", (2,) * 300) + VERSION)


def test_a_node_without_an_operator_is_malformed() -> None:
    with pytest.raises(MalformedModelError):
        read(placeholder("x", (2,)) + field(1, field(1, b"y")) + VERSION)


def test_a_frozen_pb_is_recognised_and_given_the_extension() -> None:
    data = placeholder("x", (2,)) + VERSION
    claim = claim_of(MemoryFiles({"frozen.pb": data}))
    assert (claim.evidence, claim.rename) == (Evidence.CONTENT, {"frozen.pb": "frozen.graphdef"})


@pytest.mark.parametrize(
    "head",
    [
        field(1, b"resnet50") + field(2, field(4, b"Conv")),
        field(1, b"net") + field(100, field(1, b"data")),
        field(1, field(2, 0) + field(3, b"root")),
        field(1, 1) + field(2, field(1, field(4, b"serve"))),
        field(1, 8) + field(7, field(1, field(4, b"Relu"))),
    ],
    ids=["NetDef", "CaffeModel", "keras_metadata", "SavedModel", "ONNX"],
)
def test_other_protobufs_are_not_claimed(head: bytes) -> None:
    assert FORMAT.claim(MemoryFiles({"model.pb": head})) is None


def test_every_rule_is_for_an_operator_of_the_table_or_an_internal_one() -> None:
    # Optimised graphs hold operators that begin with an underscore; the others are registered by some builds only.
    optional = {"HostConst", "OptimizationBarrier", "QuantizeAndDequantizeV4Grad"}
    assert {op for op in RULES if not is_known(op) and not op.startswith("_")} <= optional


def test_an_index_that_no_output_has_is_unknown() -> None:
    data = placeholder("x", (2,)) + node("y", "Relu", "x:999999999999", T=T) + VERSION
    assert outputs(read(data))[0][2] is None
    assert Graph({}, {}).infer("nowhere:0").shape is None


@pytest.mark.corpus
@pytest.mark.parametrize("case", CORPUS, ids=lambda path: path.name)
def test_the_corpus_reads_as_tensorflow_computes(case: Path) -> None:
    meta: dict[str, Any] = json.loads((case / "oracle" / "meta.json").read_text())
    files = LocalFiles.below(case / "model")
    signature = FORMAT.read(files, claim_of(files), None).signature
    assert set(signature.layers or {}) == set(meta["ops"])
    for tensors, oracle in ((signature.inputs, meta["inputs"]), (signature.outputs, meta["outputs"])):
        assert {tensor.name for tensor in tensors or ()} == set(oracle)
        for tensor in tensors or ():
            sizes, dtype = oracle[tensor.name]
            assert tensor.dtype == dtype
            if tensor.shape is not None:
                assert all(size in (-1, told) for size, told in zip(tensor.shape, sizes, strict=True))


def test_a_node_is_told_by_its_name_and_operator() -> None:
    assert is_node(field(1, b"n") + field(2, b"Relu"))
    assert not is_node(field(1, b"n"))
    assert not is_node(b"resnet50")
