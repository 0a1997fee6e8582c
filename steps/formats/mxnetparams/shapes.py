"""Which shapes follow from those that are known, through a whole graph and in both directions.

    inferred = InferredShapes(graph)
    inferred.state("data", (1, 3, 224, 224))
    inferred.propagate()
    inferred[graph.heads[0]]

A weight tells the channels of what it is applied to, so most of an input's shape follows from the params file; the
rest of the graph follows from the input. An operator without a rule, or whose rule meets a contradiction, adds nothing.

What does not belong here: the rule of any operator, see `rules`.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from klever.steps.formats.mxnetparams.call import Call
from klever.steps.formats.mxnetparams.graph import Entry, Graph, Node
from klever.steps.formats.mxnetparams.rules import RULES, canonical
from klever.steps.formats.mxnetparams.rules.elementwise import KEEPING
from klever.steps.model.shapes import Shape, ShapeMismatchError, merge

#: How often a node is looked at on average at most; published networks need two to four looks.
_LOOKS: Final = 8
#: A few seconds; an unrolled LSTM of a thousand steps needs a tenth of it.
_MAX_WORK: Final = 1_000_000
#: Bodies within bodies that are still looked into.
_MAX_DEPTH: Final = 3


#: Operators that move elements without hiding the rank of what they read.
_MOVING: Final = frozenset({"transpose", "swapaxis", "slicechannel"})


class _Budget:
    """How much work is left: a look at a node costs one, and one for each of its inputs."""

    __slots__ = ("left",)

    def __init__(self, graph: Graph) -> None:
        size = sum(1 + len(node.inputs) for node in graph.nodes)
        self.left = min(_LOOKS * size + 1000, _MAX_WORK)


class InferredShapes:
    """What is known of each entry's shape. Statements are merged, contradictions refused."""

    def __init__(self, graph: Graph, *, depth: int = 0, budget: _Budget | None = None) -> None:
        self._graph = graph
        self._depth = depth
        self._budget = budget or _Budget(graph)
        self._known: dict[Entry, Shape] = {}
        self._readers: list[list[int]] = [[] for _ in graph.nodes]
        self._outputs: list[set[int]] = [set() for _ in graph.nodes]
        self._stale = bytearray(b"\1" * len(graph.nodes))
        self._operators = [None if node.is_variable else canonical(node.op) for node in graph.nodes]
        self._variables = {node.name: at for at, node in enumerate(graph.nodes) if node.is_variable}
        for at, node in enumerate(graph.nodes):
            for entry in node.inputs:
                self._readers[entry.node].append(at)
                self._outputs[entry.node].add(entry.output)
        for head in graph.heads:
            self._outputs[head.node].add(head.output)

    def __getitem__(self, entry: Entry) -> Shape:
        return self._known.get(entry)

    def of(self, variable: str) -> Shape:
        """Return what is known of a variable."""
        return self._known.get(Entry(self._variables[variable], 0))

    def state(self, variable: str, shape: Shape) -> None:
        """Add what is known of a variable; raises `ShapeMismatchError` where it contradicts what follows already."""
        at = self._variables[variable]
        self._learn(Entry(at, 0), merge(self[Entry(at, 0)], shape))

    def try_to_state(self, variable: str, shape: Shape) -> bool:
        """Add what is known of a variable; return whether it fits, and learn nothing where it does not."""
        try:
            self.state(variable, shape)
        except ShapeMismatchError:
            return False
        return True

    def propagate(self, *, assume: bool = False) -> None:
        """Apply the operators' rules until nothing new follows.

        ``assume`` lets rules take the plainest shape for an input that several fit: a dense layer that flattens its
        input gets one that is flat already.
        """
        plain: frozenset[int] = frozenset()
        if assume:
            plain = self._plain()
            for at in self._undecided(plain):
                self._stale[at] = 1
        order = range(len(self._graph.nodes))
        while any(self._stale) and self._budget.left > 0:
            for at in order:
                if self._stale[at]:
                    self._stale[at] = 0
                    if self._operators[at] is not None:
                        self._apply(at, plain)
            order = order[::-1]

    def _plain(self) -> frozenset[int]:
        """Return the variables and what has the rank of one: only there does an assumption decide nothing else."""
        plain: set[int] = set()
        for at, node in enumerate(self._graph.nodes):
            operator = self._operators[at]
            if operator is None or (
                (operator in KEEPING or operator in _MOVING) and all(entry.node in plain for entry in node.inputs)
            ):
                plain.add(at)
        return frozenset(plain)

    def _undecided(self, plain: frozenset[int]) -> list[int]:
        """Return the operators directly behind variables, one of whose inputs has no known rank."""
        return [
            at
            for at, node in enumerate(self._graph.nodes)
            if self._operators[at] is not None
            and any(self._known.get(entry) is None for entry in node.inputs)
            and all(entry.node in plain for entry in node.inputs)
        ]

    def _apply(self, at: int, plain: frozenset[int]) -> None:
        self._budget.left -= 1 + len(self._graph.nodes[at].inputs)
        if self._budget.left < 0:
            return
        node, operator = self._graph.nodes[at], self._operators[at]
        rule = RULES.get(operator or "")
        if rule is None and not node.subgraphs:
            return
        call = Call(
            attributes=node.attributes,
            inputs=[self._known.get(entry) for entry in node.inputs],
            outputs={index: self._known.get(Entry(at, index)) for index in self._outputs[at]},
            scalars=self._graph.scalars or node.op.startswith("_np"),
            assume=bool(plain) and all(entry.node in plain for entry in node.inputs),
        )
        try:
            if rule is not None:
                rule(call)
            elif self._depth < _MAX_DEPTH:
                self._enter(node, call)
            learnt = [
                (entry, merge(self._known.get(entry), shape))
                for entry, shape in zip(node.inputs, call.inputs, strict=True)
            ]
        except (ValueError, ArithmeticError, LookupError):
            # Sizes that contradict each other surface in many ways; whichever it is, nothing follows from them.
            return
        for entry, shape in learnt:
            self._learn(entry, shape, at)
        for index, shape in call.outputs.items():
            self._learn(Entry(at, index), shape, at)

    def _learn(self, entry: Entry, shape: Shape, source: int = -1) -> None:
        """Note a shape, and have those look again that did not find it themselves."""
        if shape == self._known.get(entry):
            return
        self._known[entry] = shape
        for at in (entry.node, *self._readers[entry.node]):
            if at != source:
                self._stale[at] = 1

    def _enter(self, node: Node, call: Call) -> None:
        """Infer through the body of a loop or of a fused operator."""
        if node.op == "_foreach":
            self._enter_loop(node, call)
        elif node.op.startswith("_sg_"):
            self._enter_fused(node, call)

    def _inner(self, graph: Graph, shapes: dict[int, Shape]) -> "InferredShapes":
        inner = InferredShapes(graph, depth=self._depth + 1, budget=self._budget)
        variables = [node.name for node in graph.nodes if node.is_variable]
        for at, shape in shapes.items():
            if at < len(variables):
                inner.state(variables[at], shape)
        inner.propagate()
        return inner

    def _enter_loop(self, node: Node, call: Call) -> None:
        """``_foreach``: the body sees one step of the data; its first outputs are stacked over the steps."""
        body, outer = node.subgraphs[0], deque(call.inputs)
        shapes: dict[int, Shape] = {}
        steps = -1
        for place in call.integers("in_data_locs") or ():
            data = outer.popleft()
            if data:
                steps = data[0] if steps == -1 else steps
                shapes[place] = data[1:]
        for key in ("in_state_locs", "remain_locs"):
            for place in call.integers(key) or ():
                shapes[place] = outer.popleft()
        inner = self._inner(body, shapes)
        # A state that begins with zeros for a batch that is not known learns it from the body.
        variables = [node.name for node in body.nodes if node.is_variable]
        first = len(call.integers("in_data_locs") or ())
        for index, place in enumerate(call.integers("in_state_locs") or (), start=first):
            call.expect(index, inner.of(variables[place]))
        stacked = call.integer("num_out_data", 0)
        for index in call.outputs:
            shape = inner[body.heads[index]]
            if shape is not None:
                call.give((steps, *shape) if index < stacked else shape, index)

    def _enter_fused(self, node: Node, call: Call) -> None:
        """Take the first output's shape of an operator fused by a backend from what it replaced."""
        body = node.subgraphs[0]
        inner = self._inner(body, dict(enumerate(call.inputs)))
        call.give(inner[body.heads[0]])
        variables = [each.name for each in body.nodes if each.is_variable]
        for index, name in enumerate(variables[: len(call.inputs)]):
            call.expect(index, inner.of(name))


def declared_shape(attributes: Mapping[str, str]) -> Shape:
    """Return what a variable's own ``__shape__`` declares; 0 and -1 are unknown sizes."""
    call = Call(attributes, [], {})
    try:
        return call.sizes("__shape__")
    except ShapeMismatchError:
        return None
