"""What both converters of TensorFlow graphs share: which operators stand in the way, and the export by a program.

TensorFlow is not needed to know: our own readers give the graph, functions included. What does not belong here: how a
SavedModel or a frozen graph is read.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from klever.steps.converters.asked import as_lists, asked_shapes
from klever.steps.converters.interface import Conversion, Options, Progress, Survey, Uncovered
from klever.steps.converters.tensorflow_operators import COVERED, COVERED_FROM
from klever.steps.environments import run
from klever.steps.errors import ConversionError, MalformedModelError, UnsafeModelError, UnsupportedOperatorsError
from klever.steps.formats.savedmodel.hazards import Hazard, find_hazards
from klever.steps.frameworks.tensorflow import Function, Node
from klever.steps.model.signature import NamedSignature, Tensor

#: The environment with TensorFlow and tf2onnx.
ENVIRONMENT = "convert-tensorflow"

#: Calls of functions, whose bodies take their places.
_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_VARIABLES: Final = frozenset(
    {"VarHandleOp", "Variable", "VariableV2", "ReadVariableOp", "ResourceGather", "ResourceGatherNd"}
)
_ASSIGNMENTS: Final = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
#: What freezing, inlining and folding take away.
_VANISHING: Final = (
    _CALLS
    | _VARIABLES
    | _ASSIGNMENTS
    | frozenset(
        {"Assert", "DisableCopyOnRead", "HashTable", "HashTableV2", "LookupTableFind", "NoOp", "VarIsInitializedOp"}
    )
)
#: The control flow of TensorFlow 1, which tf2onnx rewrites as a whole.
_CONTROL_FLOW: Final = frozenset({
    "Enter", "Exit", "LoopCond", "Merge", "NextIteration", "RefEnter", "RefExit", "RefSwitch", "Switch",
    "TensorArrayGatherV3", "TensorArrayReadV3", "TensorArrayScatterV3", "TensorArraySizeV3", "TensorArrayV3",
    "TensorArrayWriteV3",
})  # fmt: skip
#: They are computed when the graph is optimised wherever their input's shape is known, and have no handler else.
_FOLDED: Final = frozenset({"BroadcastGradientArgs", "Rank", "ShapeN", "VariableShape"})
#: Operators whose value is another every time, so constant inputs make no constant of them.
_RANDOM: Final = ("Random", "Multinomial", "Stateful", "Timestamp", "Uniform")
_NO_STATE: Final = (
    "the model keeps state between calls, which ONNX does not: each call computes what the first one does"
)


@dataclass(frozen=True)
class TensorFlowGraph:
    """A graph with its functions, and what of it is served."""

    nodes: Sequence[Node]
    functions: Mapping[str, Function]
    #: With the tensors' names in the graph.
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def hazards(self) -> list[Hazard]:
        """Operators that reach out of the graph."""
        return list(
            find_hazards(self.nodes, self.functions, [NamedSignature(inputs=self.inputs, outputs=self.outputs)])
        )


def survey_graph(graph: TensorFlowGraph, options: Options) -> Survey:
    """List what reaches out of the graph, and the operators that the outputs need and that nothing converts."""
    asked_shapes(graph.inputs, options)
    hazards = tuple(Uncovered(each.operator, (each.place,), each.deed) for each in graph.hazards)
    places = list(_served(graph))
    notes = (_NO_STATE,) if any(node.op in _ASSIGNMENTS for _, node, _ in places) else ()
    found: dict[str, dict[str, None]] = {}
    reasons: dict[str, str] = {}
    for place, node, is_constant in places:
        reason = _reason(node.op, options.opset, graph.functions)
        if reason is not None and not is_constant:
            found.setdefault(node.op, {})[f"{place}/{node.name}" if place else node.name] = None
            reasons[node.op] = reason
    uncovered = tuple(Uncovered(op, tuple(names), reasons[op]) for op, names in sorted(found.items()))
    return Survey(uncovered=(*hazards, *_unusable(graph), *uncovered), notes=notes)


def _reason(operator: str, opset: int, functions: Mapping[str, Function]) -> str | None:
    """Return why an operator is not converted; None where it is."""
    known = operator in COVERED or operator in _VANISHING or operator in _CONTROL_FLOW or operator in _FOLDED
    if known or operator in functions:
        return None
    first = COVERED_FROM.get(operator)
    if first is None:
        return ""
    return None if opset >= first else f"only from opset {first} on"


def _unusable(graph: TensorFlowGraph) -> Iterator[Uncovered]:
    """Yield the inputs and outputs that are no tensors: handles of resources."""
    for kind, tensors in (("an input", graph.inputs), ("an output", graph.outputs)):
        names = tuple(tensor.name for tensor in tensors if tensor.dtype is None)
        if names:
            yield Uncovered(f"{kind} of no numeric type", names, "inputs and outputs of ONNX are tensors")


def _served(graph: TensorFlowGraph) -> Iterator[tuple[str, Node, bool]]:
    """Yield the nodes that compute the outputs, with the function they are in and whether they are constant."""
    outputs = [tensor.tensor_name or tensor.name for tensor in graph.outputs]
    fed = frozenset(_node_name(tensor.tensor_name or tensor.name) for tensor in graph.inputs)
    yield from (("", node, constant) for node, constant in _needed(graph.nodes, outputs, fed))
    entered: set[str] = set()
    called = [name for node, _ in _needed(graph.nodes, outputs, fed) for name in _callees(node, graph.functions)]
    while called:
        name = called.pop()
        function = graph.functions.get(name)
        if name in entered or function is None:
            continue
        entered.add(name)
        needed = list(_needed(function.nodes, function.returns.values(), frozenset(function.arguments)))
        yield from ((name, node, constant) for node, constant in needed)
        # What only control dependencies reach may still write variables.
        yield from ((name, node, False) for node in function.nodes if node.op in _ASSIGNMENTS)
        called += [other for node in function.nodes for other in _callees(node, graph.functions)]


def _callees(node: Node, functions: Mapping[str, Function]) -> Iterator[str]:
    if node.op in functions:
        yield node.op
    yield from node.functions()


def _needed(nodes: Sequence[Node], outputs: Iterable[str], fed: frozenset[str]) -> Iterator[tuple[Node, bool]]:
    """Yield the nodes that outputs are computed from, and whether each follows from constants and weights alone."""
    by_name = {node.name: node for node in nodes}
    order: list[Node] = []
    seen: set[str] = set(fed)
    # A node is left, in order, when all that it reads is; loops of TensorFlow 1 end at what was seen.
    pending = [(_node_name(name), False) for name in outputs]
    while pending:
        name, left = pending.pop()
        node = by_name.get(name)
        if node is None:
            continue
        if left:
            order.append(node)
        elif name not in seen:
            seen.add(name)
            pending.append((name, True))
            pending += [(_node_name(given), False) for given in node.inputs if not given.startswith("^")]
    constant: set[str] = set()
    for node in order:
        given = [_node_name(name) for name in node.inputs if not name.startswith("^")]
        is_source = node.op == "Const" or node.op in _VARIABLES - {"ResourceGather", "ResourceGatherNd"}
        foldable = bool(given) and not node.op.startswith(_RANDOM) and node.op not in _CONTROL_FLOW
        if is_source or (foldable and all(name in constant for name in given)):
            constant.add(node.name)
        yield node, node.name in constant


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]


def check_graph(graph: TensorFlowGraph, options: Options) -> Survey:
    """Return the survey; raises `UnsafeModelError` for hazards, `UnsupportedOperatorsError` with all operators."""
    if not graph.outputs:
        raise MalformedModelError("the model declares no outputs", next_step="save it with a signature")
    if hazards := graph.hazards:
        raise UnsafeModelError(f"the model is not loaded: {'; '.join(map(str, hazards))}")
    survey = survey_graph(graph, options)
    if survey.uncovered:
        raise UnsupportedOperatorsError(
            f"no conversion to ONNX exists for {', '.join(each.operator for each in survey.uncovered)}",
            operators={each.operator: each.nodes for each in survey.uncovered},
        )
    return survey


def export(
    graph: TensorFlowGraph, source: Mapping[str, Any], options: Options, directory: Path, progress: Progress
) -> Conversion:
    """Write ``model.onnx`` into ``directory``, in a process of its own; ``source`` tells it where the graph is.

    Raises as `check_graph` before anything is started.
    """
    survey = check_graph(graph, options)
    shapes = as_lists(asked_shapes(graph.inputs, options))
    request = {
        **source,
        "inputs": {
            tensor.name: {"tensor": tensor.tensor_name or f"{tensor.name}:0", "shape": shapes.get(tensor.name)}
            for tensor in graph.inputs
        },
        "outputs": {tensor.name: {"tensor": tensor.tensor_name or tensor.name} for tensor in graph.outputs},
    }
    return run_export(request, options, directory, progress, survey.notes)


def run_export(
    request: Mapping[str, Any], options: Options, directory: Path, progress: Progress, notes: tuple[str, ...] = ()
) -> Conversion:
    """Start the program, and halve what it wrote where that is asked for."""
    if options.dtype not in (None, "float16"):
        raise ConversionError(f"{options.dtype} is no precision that a conversion knows; float16 is")
    target = (directory / "model.onnx").absolute()
    reply = run(
        ENVIRONMENT, "export_tensorflow_onnx", {**request, "opset": options.opset, "output": str(target)}, progress
    )
    if options.dtype == "float16":
        from klever.steps.writers.onnx.rewrite import halve_file

        progress(0.9, "halving the precision")
        halve_file(target)
    ranges = {str(name): (int(low), int(high)) for name, (low, high) in reply.get("ranges", {}).items()}
    return Conversion(tuple(dict.fromkeys((*notes, *map(str, reply.get("notes", ()))))), ranges)
