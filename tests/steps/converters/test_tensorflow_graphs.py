"""What stands between a graph of TensorFlow and ONNX, told without TensorFlow."""

from pathlib import Path

import pytest
from wire import field

from klever.steps.converters.graphdef_to_onnx import CONVERTER as GRAPHDEF
from klever.steps.converters.interface import Converter, Options, SourceModel
from klever.steps.converters.savedmodel_to_onnx import CONVERTER as SAVEDMODEL
from klever.steps.converters.tensorflow_graphs import TensorFlowGraph, check_graph, survey_graph
from klever.steps.errors import ConversionError, KleverError, UnsafeModelError, UnsupportedOperatorsError
from klever.steps.extract import extract
from klever.steps.frameworks.tensorflow import Function, Node
from klever.steps.model.signature import Signature, Tensor
from klever.steps.recognise import recognise


def source(directory: Path) -> SourceModel:
    model = recognise(directory)
    return SourceModel(model.files, model.claim, extract(model).metadata.signature or Signature())


def node(name: str, op: str, *inputs: str, function: str = "") -> Node:
    encoded = field(1, name.encode()) + field(2, op.encode())
    encoded += b"".join(field(3, given.encode()) for given in inputs)
    if function:
        encoded += field(5, field(1, b"f") + field(2, field(10, field(1, function.encode()))))
    return Node.read(encoded)


def graph(*nodes: Node, functions: tuple[Function, ...] = ()) -> TensorFlowGraph:
    return TensorFlowGraph(
        nodes,
        {function.name: function for function in functions},
        (Tensor(name="x", dtype="float32", shape=(-1, 3), tensor_name="x:0"),),
        (Tensor(name="y", dtype="float32", shape=(-1, 3), tensor_name="y:0"),),
    )


PLACEHOLDER = node("x", "Placeholder")


def test_operators_without_a_conversion_are_all_listed_with_their_nodes() -> None:
    found = survey_graph(
        graph(PLACEHOLDER, node("a", "Betainc", "x", "x", "x"), node("b", "Zeta", "a"), node("y", "Betainc", "b")),
        Options(),
    )
    assert {each.operator: each.nodes for each in found.uncovered} == {"Betainc": ("a", "y"), "Zeta": ("b",)}


def test_operators_in_functions_are_listed_with_the_function() -> None:
    inner = Function("inner", ("p",), ("r",), (node("z", "Zeta", "p"),), {"r": "z:z:0"})
    outer = Function(
        "outer", ("p",), ("r",), (node("c", "PartitionedCall", "p", function="inner"),), {"r": "c:output:0"}
    )
    found = survey_graph(
        graph(PLACEHOLDER, node("y", "StatefulPartitionedCall", "x", function="outer"), functions=(inner, outer)),
        Options(),
    )
    assert [(each.operator, each.nodes) for each in found.uncovered] == [("Zeta", ("inner/z",))]


def test_what_no_output_needs_is_not_listed() -> None:
    found = survey_graph(graph(PLACEHOLDER, node("loss", "Zeta", "x"), node("y", "Relu", "x", "^loss")), Options())
    assert found.uncovered == ()


def test_what_follows_from_constants_alone_is_not_listed() -> None:
    nodes = (PLACEHOLDER, node("c", "Const"), node("z", "Zeta", "c", "c"), node("y", "Mul", "x", "z"))
    assert survey_graph(graph(*nodes), Options()).uncovered == ()


def test_an_operator_of_a_later_opset_says_which() -> None:
    nodes = graph(PLACEHOLDER, node("y", "BitwiseAnd", "x", "x"))
    [found] = survey_graph(nodes, Options(opset=17)).uncovered
    assert found.reason == "only from opset 18 on"
    assert survey_graph(nodes, Options(opset=18)).uncovered == ()


def test_a_loop_of_operators_ends() -> None:
    nodes = (PLACEHOLDER, node("m", "Merge", "x", "n"), node("n", "NextIteration", "m"), node("y", "Exit", "m"))
    assert survey_graph(graph(*nodes), Options()).uncovered == ()


def test_state_is_noted() -> None:
    writing = Function(
        "f",
        ("p", "v"),
        ("r",),
        (node("w", "AssignVariableOp", "v", "p"), node("i", "Identity", "p")),
        {"r": "i:output:0"},
    )
    nodes = (PLACEHOLDER, node("v", "VarHandleOp"), node("y", "StatefulPartitionedCall", "x", "v", function="f"))
    found = survey_graph(graph(*nodes, functions=(writing,)), Options())
    assert found.uncovered == ()
    assert "keeps state" in found.notes[0]


def test_a_shape_that_contradicts_the_graph_is_refused() -> None:
    nodes = graph(PLACEHOLDER, node("y", "Relu", "x"))
    assert survey_graph(nodes, Options(batch=4)).uncovered == ()
    for options in (Options(shapes={"x": (-1, 5)}), Options(shapes={"z": (1,)}), Options(shapes={"x": (1, 3, 1)})):
        with pytest.raises(ConversionError):
            survey_graph(nodes, options)


@pytest.mark.parametrize("case", ["writes_a_file_in_a_function"])
def test_a_model_that_writes_files_is_refused_before_it_is_loaded(models: Path, tmp_path: Path, case: str) -> None:
    model = source(models / "SavedModel" / case / "model")
    assert any(each.operator == "WriteFile" for each in SAVEDMODEL.survey(model, Options()).uncovered)
    with pytest.raises(UnsafeModelError, match="WriteFile"):
        SAVEDMODEL.convert(model, Options(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_whole_list_is_raised_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedOperatorsError) as caught:
        check_graph(graph(PLACEHOLDER, node("z", "Zeta", "x"), node("y", "Betainc", "z")), Options())
    assert caught.value.operators == {"Zeta": ("z",), "Betainc": ("y",)}


@pytest.mark.parametrize(("converter", "form"), [(SAVEDMODEL, "SavedModel"), (GRAPHDEF, "GraphDef")])
def test_every_model_of_the_repository_is_surveyed_or_refused(models: Path, converter: Converter, form: str) -> None:
    surveyed = 0
    for directory in sorted((models / form).iterdir()):
        try:
            converter.survey(source(directory / "model"), Options())
        except KleverError:
            continue
        surveyed += 1
    assert surveyed >= 5


@pytest.mark.corpus
def test_what_cannot_become_onnx_is_told_by_name(shared: Path) -> None:
    model = source(shared / "corpus" / "SavedModel" / "tf1_string_no_serving_default" / "model")
    [found] = SAVEDMODEL.survey(model, Options()).uncovered
    assert (found.operator, found.nodes) == ("ParseExample", ("ParseExample/ParseExample",))
