"""The walk over a graph: node after node in topological order, each by the rule of its operator.

    walk = Walk(builder)
    operands = {"data": Operand(Value("data", "float32", (1, 3))), "fc_weight": Operand(..., weight, placed=False)}
    values = walk.run(network.graph, network.shapes, operands, network.used, names)

What a rule cannot convert is noted in `Walk.uncovered` and `Walk.lacking`, and the walk goes on with made-up names, so
that everything is found at once. What does not belong here: any operator, and what the survey says of the findings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from klever.steps.converters.mxnetparams_to_onnx.call import (
    Call,
    Operand,
    Results,
    ShapeNeededError,
    UncoveredError,
    Value,
)
from klever.steps.converters.mxnetparams_to_onnx.rules import RULES
from klever.steps.converters.mxnetparams_to_onnx.stored import stored_result
from klever.steps.errors import KleverError, MalformedModelError, printable
from klever.steps.formats.mxnetparams.graph import Entry, Graph, Node
from klever.steps.formats.mxnetparams.outputs import output_name
from klever.steps.formats.mxnetparams.roles import find_used
from klever.steps.formats.mxnetparams.rules import canonical
from klever.steps.formats.mxnetparams.shapes import InferredShapes
from klever.steps.model.shapes import ShapeMismatchError

if TYPE_CHECKING:
    from klever.steps.writers.onnx import GraphBuilder

#: What MXNet takes where nothing tells.
_DEFAULT_TYPE: Final = "float32"


@dataclass(frozen=True, slots=True)
class Finding:
    """A node that a rule could not convert, and why."""

    operator: str
    node: str
    reason: str = ""


@dataclass
class Walk:
    """Converts graphs into builders; what is found on the way is kept for all of them."""

    parameters: Mapping[str, Operand] = field(default_factory=dict)
    uncovered: list[Finding] = field(default_factory=list)
    #: Nodes that need sizes that are not known.
    lacking: list[Finding] = field(default_factory=list)

    def run(
        self,
        graph: Graph,
        shapes: InferredShapes,
        operands: Mapping[str, Operand],
        builder: "GraphBuilder",
        heads: Mapping[Entry, str],
    ) -> tuple[Value, ...]:
        """Convert ``graph`` and return the values of its heads; ``operands`` are those of its variables that exist.

        ``heads`` gives names that were reserved for the results of some entries.
        """
        return _Passage(self, graph, shapes, operands, builder, heads).run()

    def translate(self, graph: Graph, builder: "GraphBuilder", operands: Mapping[str, Operand]) -> tuple[Value, ...]:
        """Convert the body of a loop or branch."""
        shapes = InferredShapes(graph)
        for node in graph.nodes:
            if node.is_variable and node.name in operands:
                try:
                    shapes.state(node.name, operands[node.name].value.shape)
                except ShapeMismatchError:
                    continue
        shapes.propagate()
        return self.run(graph, shapes, operands, builder, {})


class _Passage:
    """One graph on its way into one builder."""

    def __init__(
        self,
        walk: Walk,
        graph: Graph,
        shapes: InferredShapes,
        operands: Mapping[str, Operand],
        builder: "GraphBuilder",
        heads: Mapping[Entry, str],
    ) -> None:
        self._walk = walk
        self._graph = graph
        self._shapes = shapes
        self._builder = builder
        self._heads = heads
        self._known: dict[Entry, Operand] = {}
        self._used = find_used(graph)
        self._wanted: dict[int, set[int]] = {at: set() for at in self._used}
        for at, node in enumerate(graph.nodes):
            if node.is_variable and node.name in operands:
                self._known[Entry(at, 0)] = operands[node.name]
            if at in self._used:
                for entry in node.inputs:
                    self._wanted.setdefault(entry.node, set()).add(entry.output)
        for head in graph.heads:
            self._wanted[head.node].add(head.output)

    def run(self) -> tuple[Value, ...]:
        """Convert every node that counts."""
        for at, node in enumerate(self._graph.nodes):
            if at in self._used and not node.is_variable:
                self._convert(at, node)
        return tuple(self._head(head) for head in self._graph.heads)

    def _convert(self, at: int, node: Node) -> None:
        call = self._call(at, node)
        try:
            results = self._apply(call)
        except UncoveredError as error:
            self._walk.uncovered.append(Finding(node.op, node.name, error.reason))
            results = ["unknown"] * (max(call.wanted, default=0) + 1)
        except ShapeNeededError:
            self._walk.lacking.append(Finding(node.op, node.name))
            results = ["unknown"] * (max(call.wanted, default=0) + 1)
        names = [results] if isinstance(results, str) else results
        usual = call.operands[0].value.dtype if call.operands and call.operands[0] is not None else _DEFAULT_TYPE
        for index in call.wanted:
            if weight := call.result_weights.get(index):
                value = Value(call.result_names(index), weight.dtype, weight.shape)
                self._known[Entry(at, index)] = Operand(value, weight, placed=False)
            elif index < len(names) and names[index]:
                dtype = call.result_types.get(index, usual)
                weight = stored_result(call) if index == 0 else None
                shape = call.result_shapes.get(index, call.result(index))
                self._known[Entry(at, index)] = Operand(Value(names[index], dtype, shape), weight)

    def _apply(self, call: Call) -> Results:
        rule = RULES.get(canonical(call.operator))
        if rule is None:
            kind = call.attributes.get("op_type", "") if call.operator == "Custom" else ""
            raise UncoveredError(f"written in Python as {printable(kind)!r}" if kind else "")
        try:
            return rule(call)
        except (KleverError, UncoveredError, ShapeNeededError):
            raise
        except (ValueError, LookupError, ArithmeticError, TypeError) as error:
            # Attributes and shapes that contradict each other surface in many ways.
            raise MalformedModelError(
                f"node {call.name!r} ({printable(call.operator)}) contradicts its operator's definition: "
                f"{printable(str(error))}"
            ) from error

    def _call(self, at: int, node: Node) -> Call:
        several = max(self._wanted[at], default=0) > 0
        return Call(
            name=node.name,
            operator=node.op,
            attributes=node.attributes,
            graph=self._builder,
            operands=[self._known.get(entry) for entry in node.inputs],
            results={index: self._shapes[Entry(at, index)] for index in sorted(self._wanted[at])},
            result_names=lambda index: self._heads.get(Entry(at, index)) or output_name(node, index, several=several),
            parameters=self._walk.parameters,
            translate=self._walk.translate,
            scalars=self._graph.scalars or node.op.startswith("_np"),
            subgraphs=node.subgraphs,
            reserved=frozenset(index for index in self._wanted[at] if Entry(at, index) in self._heads),
        )

    def _head(self, head: Entry) -> Value:
        operand = self._known.get(head)
        if operand is None:
            node = self._graph.nodes[head.node]
            raise MalformedModelError(f"node {node.name!r} ({printable(node.op)}) has no output {head.output}")
        if not operand.placed and operand.weight is not None:
            operand.value = operand.value._replace(name=self._builder.weight(operand.value.name, operand.weight))
            operand.placed = True
        return operand.value


def reserve_heads(graph: Graph, names: Sequence[str], builder: "GraphBuilder") -> dict[Entry, str]:
    """Keep the outputs' names for the first entry that bears each, so that no step on the way takes it."""
    heads: dict[Entry, str] = {}
    for entry, name in zip(graph.heads, names, strict=True):
        if entry not in heads and not graph.nodes[entry.node].is_variable:
            heads[entry] = builder.unique(name)
    return heads
