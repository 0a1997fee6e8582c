"""Shapes and types through a graph, from its placeholders and constants to the tensors that are asked for.

Every node that a tensor depends on is visited once, dependencies first. An operator without a rule, one whose
inputs contradict each other, and whatever a loop carries are unknown in shape and known in type. What does not
belong here: the rules, which the modules beside this one enter in a table.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from klever.steps.formats.graphdef import algebra, arrays, elementwise, windows
from klever.steps.formats.graphdef.call import MAX_OUTPUTS, NOTHING, RULES, Call, Known, Values
from klever.steps.formats.graphdef.operators import outputs_of
from klever.steps.frameworks.tensorflow import MAX_ELEMENTS, Function, Node
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, merge

#: The modules enter their rules when they are imported.
_RULE_MODULES: Final = (algebra, arrays, elementwise, windows)

#: Functions that call functions deeper than this are not followed.
MAX_CALLS: Final = 24
#: Nodes visited in functions, all calls together, above which functions are not followed.
MAX_VISITS: Final = 200_000
_MAX_SIZE: Final = (1 << 63) - 1
#: Shapes of more dimensions are not followed; no kernel of TensorFlow computes with a quarter of it.
_MAX_RANK: Final = 32

_CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_BRANCHES: Final = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_LOOPS: Final = frozenset({"While", "StatelessWhile"})
_PLACEHOLDERS: Final = frozenset(
    {"Placeholder", "PlaceholderV2", "PlaceholderWithDefault", "_Arg", "VariableV2", "Variable"}
)
_BACK_EDGES: Final = frozenset({"NextIteration", "RefNextIteration"})
#: GraphDefs of producers up to this version write an unknown shape as a scalar (array_ops.cc, Placeholder).
_LEGACY_PRODUCER: Final = 21

Facts = tuple[Known, ...]
_ONE_UNKNOWN: Final[Facts] = (NOTHING,)


class Budget:
    """How much work the functions of a graph may still cause."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_VISITS


class Graph:
    """A graph, or a function's body with what is known of its arguments."""

    def __init__(
        self,
        nodes: Mapping[str, Node],
        functions: Mapping[str, Function],
        *,
        producer: int = 0,
        given: Mapping[str, Known] | None = None,
        depth: int = 0,
        budget: Budget | None = None,
        called: dict[tuple[str, Facts], Facts] | None = None,
    ) -> None:
        self.nodes = nodes
        self._functions = functions
        self._producer = producer
        #: What is known beforehand: arguments of a function, placeholders whose shape their author told.
        self._given = given or {}
        self._depth = depth
        self._budget = budget or Budget()
        self._called: dict[tuple[str, Facts], Facts] = {} if called is None else called
        self._known: dict[str, Facts] = {}

    def infer(self, tensor: str) -> Known:
        """Return what is known of a tensor: ``node``, ``node:1``, and in functions ``node:output:0``."""
        name = _node_of(tensor)
        pending = [name]
        open_nodes: set[str] = set()
        while pending:
            name = pending[-1]
            node = self.nodes.get(name)
            if node is None or name in self._known:
                pending.pop()
                continue
            if name in open_nodes:
                pending.pop()
                self._known[name] = self._visit(node)
                continue
            open_nodes.add(name)
            # What is open already is reached through a loop; its back edge stays unknown.
            pending += [
                other
                for given in node.inputs
                if not given.startswith("^")
                and (other := _node_of(given)) not in open_nodes
                and other not in self._known
            ]
        return self._typed(tensor)

    def _typed(self, tensor: str) -> Known:
        """Return what is known of a visited tensor together with its type, which most rules don't ask for."""
        known = self._look_up(tensor)
        name, _, rest = tensor.partition(":")
        node = self.nodes.get(name)
        if known.dtype or node is None or node.op in self._functions:
            return known
        outputs = outputs_of(node)
        if outputs is None:
            # An operator that nobody here knows: its type is that of its attribute T or dtype, if it has one.
            return known._replace(dtype=node.dtype("T") or node.dtype("dtype") or 0)
        index = self._index(name, rest)
        return known._replace(dtype=outputs[index][1]) if 0 <= index < len(outputs) else known

    def _look_up(self, tensor: str) -> Known:
        name, _, rest = tensor.partition(":")
        known = self._known.get(name)
        if known is None:
            return NOTHING if name in self.nodes else self._given.get(name, NOTHING)
        index = self._index(name, rest)
        return known[index] if 0 <= index < len(known) else NOTHING

    def _index(self, name: str, rest: str) -> int:
        """Return which output is meant by ``1``, or in functions by ``output:1``."""
        if not rest:
            return 0
        argument, separator, digits = rest.rpartition(":")
        index = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else -1
        if not separator or index < 0:
            return index
        node = self.nodes[name]
        if node.op in self._functions:
            names: Sequence[str] = self._functions[node.op].results
        else:
            names = [output for output, _ in outputs_of(node) or ()]
        # A result that is a list of tensors occurs under one name several times.
        return names.index(argument) + index if argument in names else index

    def _visit(self, node: Node) -> Facts:
        inputs = [self._look_up(name) for name in node.inputs if not name.startswith("^")]
        try:
            results = self._apply(node, inputs)[:MAX_OUTPUTS]
        except ShapeMismatchError:
            results = ()
        if len(results) == 1 and results[0] == NOTHING and not node.mentions(b"_output_shapes"):
            return _ONE_UNKNOWN
        facts = [Known(_tamed(known.shape), _kept(known.values), known.dtype) for known in results]
        if node.mentions(b"_output_shapes"):
            stated = node.shapes("_output_shapes") or ()
            facts += [NOTHING] * (min(len(stated), MAX_OUTPUTS) - len(facts))
            facts = [
                known._replace(shape=_agreed(known.shape, stated[index])) if index < len(stated) else known
                for index, known in enumerate(facts)
            ]
        return tuple(facts)

    def _apply(self, node: Node, inputs: list[Known]) -> Sequence[Known]:
        if node.op in RULES:
            return RULES[node.op](Call(node, inputs))
        if node.op in _PLACEHOLDERS:
            return (self._placeholder(node, inputs),)
        if node.op in ("Switch", "RefSwitch", "_SwitchN"):
            return (inputs[0],) * max(node.integer("num_outs") or 2, 2) if inputs else ()
        if node.op in ("Merge", "RefMerge"):
            return self._merge(node, inputs)
        if node.op in self._functions or node.op in _CALLS:
            typed = [self._typed(name) for name in node.inputs if not name.startswith("^")]
            return self._call(node.op if node.op in self._functions else node.function("f") or "", typed)
        if node.op in _BRANCHES:
            return self._branch(node, inputs)
        if node.op in _LOOPS:
            stated = node.shapes("output_shapes")
            # Without a statement the shapes that enter a loop are its invariants.
            return [Known(shape) for shape in stated] if stated else [Known(known.shape) for known in inputs]
        return ()

    def _placeholder(self, node: Node, inputs: list[Known]) -> Known:
        shape = node.shape("shape")
        if self._producer <= _LEGACY_PRODUCER and shape == () and node.op == "Placeholder":
            shape = None
        if node.op == "PlaceholderWithDefault" and not node.has_shape("shape"):
            shape = inputs[0].shape if inputs else None
        if node.name in self._given:
            shape = _agreed(shape, self._given[node.name].shape)
        return Known(shape)

    def _merge(self, node: Node, inputs: list[Known]) -> Sequence[Known]:
        sources = [self.nodes.get(_node_of(name)) for name in node.inputs if not name.startswith("^")]
        looped = any(source is not None and source.op in _BACK_EDGES for source in sources)
        shape = None if looped else _common([known.shape for known in inputs])
        return (Known(shape), Known((), None))

    def _branch(self, node: Node, inputs: list[Known]) -> Sequence[Known]:
        stated = node.shapes("output_shapes")
        if stated:
            return [Known(shape) for shape in stated]
        results = [self._call(name, inputs[1:]) for name in dict.fromkeys(node.functions())]
        columns = zip(*results, strict=False)
        return [Known(_common([known.shape for known in column])) for column in columns]

    def _call(self, name: str, inputs: list[Known]) -> Facts:
        """Infer through a function's body."""
        function = self._functions.get(name)
        if function is None:
            return ()
        key = (name, tuple(inputs))
        if key in self._called:
            return self._called[key]
        self._budget.left -= len(function.nodes) + 1
        if self._depth >= MAX_CALLS or self._budget.left < 0:
            return (NOTHING,) * len(function.results)
        # A function that calls itself with the same arguments finds nothing known.
        self._called[key] = (NOTHING,) * len(function.results)
        body = Graph(
            {node.name: node for node in function.nodes},
            self._functions,
            producer=self._producer,
            given=dict(zip(function.arguments, inputs, strict=False)),
            depth=self._depth + 1,
            budget=self._budget,
            called=self._called,
        )
        results = tuple(body.infer(function.returns.get(result, "")) for result in function.results)
        self._called[key] = results
        return results


def _node_of(tensor: str) -> str:
    return tensor.partition(":")[0]


def _tamed(shape: Shape) -> Shape:
    """Return a shape that TensorFlow could have: no absurd rank, no absurd sizes."""
    if shape is None or len(shape) > _MAX_RANK:
        return None
    if all(UNKNOWN <= size <= _MAX_SIZE for size in shape):
        return shape
    return tuple(size if UNKNOWN <= size <= _MAX_SIZE else UNKNOWN for size in shape)


def _kept(values: Values) -> Values:
    """Return elements while they are few and fit their types."""
    if values is None or len(values) > MAX_ELEMENTS:
        return None
    return tuple(value if value is not None and abs(value) <= _MAX_SIZE else None for value in values)


def _agreed(shape: Shape, other: Shape) -> Shape:
    """Add what another statement knows; where they contradict, keep the first."""
    try:
        return merge(shape, other)
    except ShapeMismatchError:
        return shape


def _common(shapes: Sequence[Shape]) -> Shape:
    """Return what holds for each of several alternatives."""
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return None
    return tuple(sizes[0] if len(set(sizes)) == 1 else UNKNOWN for sizes in zip(*known, strict=True))
