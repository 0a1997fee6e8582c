"""ONNX models written by klever.steps.writers.onnx, judged by onnx's own checker and reference evaluator."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from klever.steps.errors import ConversionError, TruncatedModelError
from klever.steps.files import BytesSource
from klever.steps.recognise import recognise
from klever.steps.writers.onnx import GraphBuilder, Weight, write_model

OPSETS = [13, 14, 15, 16, 17, 18, 19, 20, 21]


def written(graph: GraphBuilder, directory: Path, **options: object) -> onnx.ModelProto:
    path = directory / "model.onnx"
    write_model(graph, path, **options)  # type: ignore[arg-type]
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load(path)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    return ReferenceEvaluator(model).run(None, inputs)


def network(opset: int, kernel: np.ndarray) -> GraphBuilder:
    """A convolution, a mean over the picture and a bounded linear part; one node that nobody needs."""
    graph = GraphBuilder("network", opset)
    x = graph.input("data", "float32", (-1, 3, 8, 8))
    y = graph.add("Conv", [x, graph.weight("kernel", Weight.of(kernel))], name="conv", outputs=["conv_out"])
    graph.add("Relu", [y], name="dead")
    y = graph.reduce("ReduceMean", y, [2, 3], keepdims=False)
    graph.clip(y, -0.5, 0.5, outputs=["result"])
    graph.output("result")
    return graph


def expected(kernel: np.ndarray, data: np.ndarray) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(data, (3, 3), axis=(2, 3))
    return np.clip(np.einsum("nchwij,ocij->nohw", windows, kernel).mean((2, 3)), -0.5, 0.5)


@pytest.fixture
def kernel() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(16, 3, 3, 3)).astype("float32")


@pytest.mark.parametrize("opset", OPSETS)
def test_a_graph_computes_the_same_in_every_operator_set(opset: int, kernel: np.ndarray, tmp_path: Path) -> None:
    model = written(network(opset, kernel), tmp_path)
    data = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype("float32")
    assert model.opset_import[0].version == opset
    np.testing.assert_allclose(run(model, data=data)[0], expected(kernel, data), atol=1e-5)


def test_weights_are_initializers_and_no_inputs(kernel: np.ndarray, tmp_path: Path) -> None:
    model = written(network(17, kernel), tmp_path)
    assert [each.name for each in model.graph.input] == ["data"]
    assert "kernel" in {each.name for each in model.graph.initializer}


def test_nodes_that_no_output_needs_are_left_out(kernel: np.ndarray, tmp_path: Path) -> None:
    graph = network(17, kernel)
    graph.weight("unused", Weight.of(np.zeros(4096, "float32")))
    model = written(graph, tmp_path)
    assert "dead" not in {node.name for node in model.graph.node}
    assert "unused" not in {each.name for each in model.graph.initializer}


def test_shapes_are_inferred_for_every_value(kernel: np.ndarray, tmp_path: Path) -> None:
    model = written(network(17, kernel), tmp_path)
    known = {value.name for value in model.graph.value_info}
    assert {name for node in model.graph.node for name in node.output} - {"result"} <= known
    result = model.graph.output[0].type.tensor_type
    assert [dim.dim_param or dim.dim_value for dim in result.shape.dim] == ["data_0", 16]


def test_our_own_reader_reads_what_was_written(kernel: np.ndarray, tmp_path: Path) -> None:
    written(network(17, kernel), tmp_path)
    assert recognise(tmp_path).format.id == "ONNX"


def test_weights_beyond_the_limit_lie_in_a_file_beside_the_model(kernel: np.ndarray, tmp_path: Path) -> None:
    model = written(network(17, kernel), tmp_path, external_above=1000)
    data = np.random.default_rng(2).normal(size=(1, 3, 8, 8)).astype("float32")
    assert (tmp_path / "model.onnx.data").stat().st_size == kernel.nbytes
    assert (tmp_path / "model.onnx").stat().st_size < 2000
    np.testing.assert_allclose(run(model, data=data)[0], expected(kernel, data), atol=1e-5)


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
@pytest.mark.parametrize("external_above", [1000, 1 << 30])
def test_half_precision_keeps_the_ends_and_stores_half(
    opset: int, external_above: int, kernel: np.ndarray, tmp_path: Path
) -> None:
    model = written(network(opset, kernel), tmp_path, half=True, external_above=external_above)
    data = np.random.default_rng(2).normal(size=(2, 3, 8, 8)).astype("float32")
    (result,) = run(model, data=data)
    assert result.dtype == np.float32
    kernels = [each for each in model.graph.initializer if each.name == "kernel"]
    assert kernels[0].data_type == onnx.TensorProto.FLOAT16
    np.testing.assert_allclose(result, expected(kernel, data), atol=5e-3)


def test_half_precision_goes_into_bodies_and_around_operators_without_it(tmp_path: Path) -> None:
    graph = GraphBuilder("branches", 17)
    x = graph.input("x", "float32", (4,))
    largest, where = graph.add("TopK", [x, graph.constant(np.array([2]))], outputs=["largest", "where"])
    first = graph.child("double")
    first.output(first.add("Mul", [largest, first.constant(2.0)]))
    second = graph.child("half")
    second.output(second.add("Mul", [largest, second.constant(0.5)]))
    graph.add("If", [graph.constant(np.array(True))], then_branch=first, else_branch=second, outputs=["y"])
    graph.output("y")
    graph.output(where)
    model = written(graph, tmp_path, half=True)
    values, positions = run(model, x=np.array([1, 4, 2, 3], "float32"))
    assert values.tolist() == [8, 6]
    assert positions.tolist() == [1, 3]
    bodies = [attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]
    assert {body.output[0].type.tensor_type.elem_type for body in bodies} == {onnx.TensorProto.FLOAT16}


def test_an_output_that_is_an_input_survives_half_precision(tmp_path: Path) -> None:
    graph = GraphBuilder("through", 17)
    x = graph.input("x", "float32", (2,))
    graph.output(graph.identity(x, "y"))
    (y,) = run(written(graph, tmp_path, half=True), x=np.array([1, 2], "float32"))
    assert y.tolist() == [1, 2]


@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=20))
def test_half_precision_saturates_and_keeps_what_is_not_zero(values: list[float]) -> None:
    array = np.array(values, "float32")
    half = Weight.of(array).half().numpy()
    assert half.dtype == np.float16
    assert np.array_equal(np.isinf(array), np.isinf(half))
    assert np.array_equal(array == 0, half == 0)
    inside = np.isfinite(array) & (np.abs(array) < 65504) & (np.abs(array) > 1e-4)
    np.testing.assert_allclose(half[inside], array[inside], rtol=1e-3)


@pytest.mark.parametrize("cut", [[1, 2, 3], [5], [7, 7], [16]])
def test_chunks_of_a_weight_may_end_inside_a_number(cut: list[int]) -> None:
    data = np.arange(4, dtype="<f4").tobytes()

    def chunks() -> Iterator[bytes]:
        position = 0
        for size in [*cut, 16]:
            yield data[position : position + size]
            position += size

    assert Weight("float32", (4,), chunks).half().numpy().tolist() == [0, 1, 2, 3]


def test_a_weight_is_read_from_its_place_in_a_file() -> None:
    data = b"head" + np.arange(6, dtype="<i8").tobytes() + b"tail"
    weight = Weight.of_source(BytesSource(data), 4, "int64", (2, 3))
    assert weight.numpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert weight.map(lambda array: array.T, shape=(3, 2)).numpy().tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_weight_that_the_file_does_not_hold_is_told() -> None:
    with pytest.raises(TruncatedModelError):
        Weight.of_source(BytesSource(bytes(20)), 4, "float32", (5,)).numpy()


def _wrong_type(graph: GraphBuilder, x: str) -> str:
    return graph.add("Add", [x, graph.constant(np.array(1))])


def _wrong_shape(graph: GraphBuilder, x: str) -> str:
    return graph.add("MatMul", [x, graph.constant(np.zeros((5, 5), "float32"))])


def _unknown_operator(graph: GraphBuilder, x: str) -> str:
    return graph.add("Convolve", [x])


def _missing_value(graph: GraphBuilder, x: str) -> str:
    return graph.add("Add", [x, "nowhere"])


@pytest.mark.parametrize("fault", [_wrong_type, _wrong_shape, _unknown_operator, _missing_value])
def test_a_graph_that_breaks_the_rules_is_not_written(
    fault: Callable[[GraphBuilder, str], str], tmp_path: Path
) -> None:
    graph = GraphBuilder("broken")
    graph.output(fault(graph, graph.input("x", "float32", (3, 3))))
    with pytest.raises(ConversionError):
        write_model(graph, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_inference_follows_no_flat_tensor_of_absurd_size(tmp_path: Path) -> None:
    # It would take 140 bytes an element, 300 GB here.
    graph = GraphBuilder("flat")
    flat = graph.weight("flat", Weight("float32", (1 << 31,), lambda: [b""]))
    graph.output(graph.add("Add", [flat, flat]))
    with pytest.raises(ConversionError, match="0 bytes instead of"):
        write_model(graph, tmp_path / "model.onnx")


def test_names_stay_unique_and_reserved_ones_wait() -> None:
    graph = GraphBuilder("names")
    x = graph.input("x", "float32", (1,))
    graph.reserve("blob")
    first = graph.add("Relu", [x], outputs=["blob"])
    last = graph.add("Relu", [first], outputs=["blob"], reserved=True)
    assert (first, last) == ("blob_1", "blob")
    assert graph.constant(3.0) == graph.constant(3.0)
    assert graph.child("body").constant(3.0) == graph.constant(3.0)


def test_progress_ends_at_one(kernel: np.ndarray, tmp_path: Path) -> None:
    told: list[float] = []
    write_model(network(17, kernel), tmp_path / "model.onnx", progress=told.append)
    assert told[-1] == 1.0
    assert told == sorted(told)
