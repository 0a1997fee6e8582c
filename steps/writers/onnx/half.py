"""Half precision: every float32 of a checked model becomes float16, but at its inputs and outputs.

Operators that runtimes compute in float32 only stand between casts. What does not belong here: other precisions.
"""

from collections.abc import Mapping
from typing import Final

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from klever.steps.writers.onnx.skeleton import infer
from klever.steps.writers.onnx.weight import Weight

#: Those that the standard defines without float16, and those whose kernels onnxruntime has for float32 alone (CPU).
_WIDE_OPERATORS: Final = frozenset({
    "CumSum", "GRU", "GridSample", "LSTM", "Max", "MaxRoiPool", "Min", "NonMaxSuppression", "OneHot", "RNN", "Range",
    "Resize", "RoiAlign", "ScatterND", "TopK",
})  # fmt: skip
#: Attributes that name an element type.
_TYPE_ATTRIBUTES: Final = frozenset({"to", "dtype"})


def halve(model: ModelProto, weights: Mapping[str, Weight]) -> tuple[ModelProto, dict[str, Weight]]:
    """Return the model and its weights in float16, inputs and outputs in the types that they had.

    ``model`` is a skeleton with every type inferred, ``weights`` are those that it has as inputs. Raises
    `ConversionError` where the result breaks a rule.
    """
    halved = {name: weight.half() if weight.dtype == "float32" else weight for name, weight in weights.items()}
    graph = model.graph
    wide = _wide_values(graph) | {name for name, weight in weights.items() if weight.dtype == "float32"}
    ends = _Ends(graph, frozenset(weights))
    _halve_graph(graph, wide, ends.renamed)
    ends.attach(graph)
    for initializer in graph.initializer:
        if initializer.data_type == TensorProto.FLOAT:
            initializer.CopyFrom(_halved_tensor(initializer))
    del graph.value_info[:]
    return infer(model), halved


class _Ends:
    """The casts at the graph's inputs and outputs, which keep their names and types."""

    def __init__(self, graph: GraphProto, weights: frozenset[str]) -> None:
        inputs = [each for each in graph.input if each.name not in weights]
        self._inputs = [each.name for each in inputs if _is_float(each.type)]
        self._outputs = [each.name for each in graph.output if _is_float(each.type)]
        self._types = {each.name: each.type.SerializeToString() for each in (*inputs, *graph.output)}
        self.renamed = {name: f"{name}_float16" for name in (*self._inputs, *self._outputs)}

    def attach(self, graph: GraphProto) -> None:
        """Add the casts and give the ends their types back."""
        first = [_cast(name, self.renamed[name], TensorProto.FLOAT16) for name in self._inputs]
        last = [
            _cast(self.renamed[name], name, TensorProto.FLOAT) for name in self._outputs if name not in self._inputs
        ]
        nodes = [*first, *(NodeProto.FromString(node.SerializeToString()) for node in graph.node), *last]
        del graph.node[:]
        graph.node.extend(nodes)
        for each in (*graph.input, *graph.output):
            if each.name in self._types:
                each.type.CopyFrom(TypeProto.FromString(self._types[each.name]))


def _wide_values(graph: GraphProto) -> set[str]:
    """Return the names of all float32 values, those in bodies included."""
    found = {each.name for each in (*graph.value_info, *graph.input, *graph.output) if _is_float(each.type)}
    found |= {each.name for each in graph.initializer if each.data_type == TensorProto.FLOAT}
    for node in graph.node:
        for attribute in node.attribute:
            for body in _bodies(attribute):
                found |= _wide_values(body)
    return found


def _halve_graph(graph: GraphProto, wide: set[str], renamed: Mapping[str, str]) -> None:
    """Change a graph and the bodies in it, in place."""
    for each in (*graph.input, *graph.output, *graph.value_info):
        if _is_float(each.type):
            each.type.tensor_type.elem_type = TensorProto.FLOAT16
    nodes: list[NodeProto] = []
    for original in graph.node:
        node = NodeProto.FromString(original.SerializeToString())
        _rename(node, renamed)
        if node.op_type in _WIDE_OPERATORS and not node.domain:
            nodes.extend(_between_casts(node, original, wide))
            continue
        for attribute in node.attribute:
            _halve_attribute(attribute)
            for body in _bodies(attribute):
                _halve_graph(body, wide, renamed)
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _rename(node: NodeProto, renamed: Mapping[str, str]) -> None:
    for names in (node.input, node.output):
        for position, name in enumerate(names):
            if name in renamed:
                names[position] = renamed[name]


def _between_casts(node: NodeProto, original: NodeProto, wide: set[str]) -> list[NodeProto]:
    """Return the node in float32, with casts before and behind; ``original`` has the names that ``wide`` knows."""
    before, behind = [], []
    for position, name in enumerate(original.input):
        if name in wide:
            widened = f"{node.name}_float32_{position}"
            before.append(_cast(node.input[position], widened, TensorProto.FLOAT))
            node.input[position] = widened
    for position, name in enumerate(original.output):
        if name in wide:
            computed = f"{node.name}_float32_result_{position}"
            behind.append(_cast(computed, node.output[position], TensorProto.FLOAT16))
            node.output[position] = computed
    return [*before, node, *behind]


def _halve_attribute(attribute: AttributeProto) -> None:
    if attribute.HasField("t") and attribute.t.data_type == TensorProto.FLOAT:
        attribute.t.CopyFrom(_halved_tensor(attribute.t))
    elif attribute.name in _TYPE_ATTRIBUTES and attribute.i == TensorProto.FLOAT:
        attribute.i = TensorProto.FLOAT16


def _halved_tensor(tensor: TensorProto) -> TensorProto:
    return numpy_helper.from_array(Weight.of(numpy_helper.to_array(tensor)).half().numpy(), tensor.name)


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to)


def _is_float(kind: TypeProto) -> bool:
    return kind.tensor_type.elem_type == TensorProto.FLOAT


def _bodies(attribute: AttributeProto) -> list[GraphProto]:
    return [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
