"""Operator after operator into a graph; what cannot be carried over is gathered, not raised.

A net may write a blob several times. In the graph each writing is a value of its own: the last one bears the blob's
name, those before it the name with a number.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from klever.steps.converters.interface import Question, Uncovered
from klever.steps.converters.netdef_to_onnx.call import Bound, Call, Quantum, RefusedError, Result, ShapeNeededError
from klever.steps.converters.netdef_to_onnx.fillers import FILLERS, Filled, describe
from klever.steps.converters.netdef_to_onnx.rules import RULES
from klever.steps.converters.netdef_to_onnx.sketch import Graph
from klever.steps.converters.netdef_to_onnx.source import Nets
from klever.steps.errors import LimitExceededError
from klever.steps.files import Source
from klever.steps.formats.netdef.graph import Operator, read_body
from klever.steps.formats.netdef.shapes import infer_values
from klever.steps.formats.netdef.values import UNKNOWN_VALUE, Value
from klever.steps.model.shapes import UNKNOWN, ShapeMismatchError

#: Bodies within bodies; a decoder in a beam search is two deep.
_MAX_DEPTH: Final = 8

#: Adds the values that a filler holds to the graph under a name, and returns the name it got.
Fill = Callable[[str, Filled], str]


class Findings:
    """What stands between the nets and their graph; see `klever.steps.converters.interface.Survey`."""

    def __init__(self) -> None:
        self._uncovered: dict[tuple[str, str], list[str]] = {}
        #: What needs a shape, in words, to the blob whose shape it is.
        self._needed: dict[str, str] = {}
        self.notes: dict[str, None] = {}
        #: Value of the graph to the half-open range of elements that make sense for it.
        self.ranges: dict[str, tuple[int, int]] = {}

    def refuse(self, operator: Operator, reason: str) -> None:
        """Take note of an operator that cannot be carried over."""
        node = operator.outputs[0] if operator.outputs else operator.type
        self._uncovered.setdefault((operator.type, reason), []).append(node)

    def need(self, operator: Operator, blob: str) -> None:
        """Take note of a blob whose shape has to be known."""
        self._needed[f"{operator.type} for {operator.outputs[0] if operator.outputs else blob}"] = blob

    def uncovered(self) -> tuple[Uncovered, ...]:
        """Return what cannot be carried over."""
        return tuple(Uncovered(kind, tuple(nodes), reason) for (kind, reason), nodes in self._uncovered.items())

    def questions(self, nets: Nets) -> Iterator[Question]:
        """Ask for the shapes of the inputs that leave a needed one open, and for those without so much as a rank."""
        needing = next(iter(self._needed), "")
        wanted = set(self._needed.values())
        for operator in reversed(nets.predict.operators):
            if wanted.intersection(operator.outputs):
                wanted.update(operator.inputs)
        for name, value in nets.inputs.items():
            if value.shape is None:
                # ONNX wants the rank of every input.
                why = f", which {needing} needs," if name in wanted else ""
                yield Question(f"the shape of input {name!r}{why} is not in the files", f"--shape {name}=SIZE,SIZE,...")
            elif name in wanted and UNKNOWN in value.shape[1:]:
                sizes = ",".join(
                    "SIZE" if size == UNKNOWN and axis else str(size) for axis, size in enumerate(value.shape)
                )
                yield Question(
                    f"sizes of input {name!r}, which {needing} needs, are not in the files", f"--shape {name}={sizes}"
                )

    @property
    def needs(self) -> tuple[str, ...]:
        """The operators that need a shape which is not known."""
        return tuple(self._needed)


class Translation:
    """Draws operators in a graph."""

    def __init__(self, graph: Graph, fill: Fill, findings: Findings, depth: int = 0) -> None:
        self.graph = graph
        self.fill = fill
        self.findings = findings
        self.bound: dict[str, Bound] = {}
        #: Image with channels last to the same one with channels first, where that is how it was made.
        self.first: dict[str, str] = {}
        #: Blobs of which nothing is known because what computes them is not covered: no shape of theirs is asked for.
        self.lost: set[str] = set()
        self._depth = depth

    def run(self, operators: Sequence[Operator], source: Source | None, final: Mapping[str, int] | None = None) -> None:
        """Draw operators; ``final`` tells which of them, by position, write the reserved names of blobs."""
        for position, operator in enumerate(operators):
            targets = [
                (name, final is not None and name not in operator.outputs[:index] and final.get(name) == position)
                for index, name in enumerate(operator.outputs)
            ]
            self._draw(operator, targets, source)

    def _draw(self, operator: Operator, targets: list[tuple[str, bool]], source: Source | None) -> None:
        seen = {name: self.bound[name].value for name in operator.inputs if name in self.bound}
        blobs = infer_values([operator], seen).blobs
        expected = [blobs.get(name, UNKNOWN_VALUE) for name in operator.outputs]
        try:
            call = self._call(operator, targets, expected)
            results = _listed(self._rule(operator, source)(call))
        except (RefusedError, ShapeMismatchError) as error:
            self.findings.refuse(operator, str(error))
            self.lost.update(operator.outputs)
        except ShapeNeededError as error:
            if error.blob not in self.lost:
                self.findings.need(operator, error.blob)
            self.lost.update(operator.outputs)
        else:
            lost = any(name in self.lost for name in operator.inputs)
            (self.lost.update if lost else self.lost.difference_update)(operator.outputs)
            self.findings.notes.update(dict.fromkeys(call.notes))
            for index, name in enumerate(operator.outputs):
                result = results[index] if index < len(results) else None
                if result is None:
                    self.bound.pop(name, None)
                else:
                    self.bound[name] = Bound(result, call.known.get(index, expected[index]), call.quanta.get(index))
            return
        # The walk goes on as if the operator were drawn, so that everything is found at once.
        for name, value in zip(operator.outputs, expected, strict=True):
            quantum = Quantum(1.0, 0) if operator.type.startswith("Int8") else None
            self.bound[name] = Bound(self.graph.unique(name), value, quantum)

    def _call(self, operator: Operator, targets: list[tuple[str, bool]], expected: list[Value]) -> Call:
        missing = [name for name in operator.inputs if name not in self.bound]
        if missing:
            raise RefusedError(f"it reads {missing[0]!r}, which nothing computes")
        inputs = [self.bound[name] for name in operator.inputs]
        return Call(operator, inputs, self.graph, self, expected, targets)

    def _rule(self, operator: Operator, source: Source | None) -> Callable[[Call], Result]:
        if operator.type in FILLERS and not operator.inputs:
            return lambda call: self._filled(call, source)
        rule = RULES.get(operator.type)
        if rule is None:
            raise RefusedError("")
        return rule

    def _filled(self, call: Call, source: Source | None) -> Result:
        filled = describe(call.operator, source)
        if call.operator.type.startswith("Int8"):
            call.quanta[0] = Quantum(call.number("Y_scale", 1.0), call.integer("Y_zero_point"))
        return [self.fill(name, filled) for name in call.operator.outputs]

    def body(self, name: str) -> "Translation":
        """Start the body of a loop or branch, which sees what is bound here."""
        if self._depth >= _MAX_DEPTH:
            raise LimitExceededError(f"nets lie in one another deeper than {_MAX_DEPTH}")
        inner = Translation(self.graph.child(name), self.fill, self.findings, self._depth + 1)
        inner.bound, inner.lost = dict(self.bound), set(self.lost)
        return inner


def _listed(result: Result) -> Sequence[str | None]:
    return [result] if isinstance(result, str) else result or []


def translate(nets: Nets, graph: Graph, fill: Fill, reserve: Callable[[str], None]) -> Findings:
    """Draw both nets, declare inputs and outputs, and return what was found."""
    findings = Findings()
    translation = Translation(graph, fill, findings)
    for name, value in nets.inputs.items():
        declared = graph.input(name, value.dtype or "float32", value.shape)
        translation.bound[name] = Bound(declared, value)
    final = {name: at for at, operator in enumerate(nets.predict.operators) for name in _written(operator)}
    for name in final:
        # A blob that is fed and then overwritten cannot be both under one name: there the input keeps it.
        if name not in nets.inputs:
            reserve(name)
    for name in nets.outputs:
        # A parameter that is an output too is one under another name.
        if name in nets.filled and name not in final:
            reserve(name)
    _fill_parameters(nets, translation)
    translation.run(
        nets.predict.operators,
        nets.sources and nets.sources[0],
        {name: at for name, at in final.items() if name not in nets.inputs},
    )
    for name in nets.outputs:
        _declare(name, nets, translation, frozenset(final))
    return findings


def _fill_parameters(nets: Nets, translation: Translation) -> None:
    """Draw what the init net fills or computes, as far as the predict net reads it."""
    wanted = {name for operator in nets.predict.operators for name in read_names(operator)} | set(nets.outputs)
    live: list[Operator] = []
    for operator in reversed(nets.init.operators):
        if any(name in wanted and name not in nets.inputs for name in operator.outputs):
            live.append(operator)
            wanted.update(operator.inputs)
    translation.run(live[::-1], nets.sources and nets.sources[1])
    for name, value in nets.filled.items():
        bound = translation.bound.get(name)
        if bound is not None and name not in nets.inputs:
            translation.bound[name] = bound._replace(value=value)


def read_names(operator: Operator, depth: int = 0) -> Iterator[str]:
    """Yield the blobs that an operator reads, those that nets in its arguments read included."""
    yield from operator.inputs
    if operator.type not in ("If", "RecurrentNetwork", "While", "ONNXWhile") or depth > _MAX_DEPTH:
        return
    for key in ("step_net", "then_net", "else_net", "loop_net", "cond_net", "body"):
        net = read_body(operator.arguments.get(key))
        for inner in net.operators if net is not None else ():
            yield from read_names(inner, depth + 1)


def _written(operator: Operator) -> tuple[str, ...]:
    """Return the blobs that an operator writes, those that a loop's nets leave included."""
    if operator.type != "While":
        return operator.outputs
    nets = (read_body(operator.arguments.get(key)) for key in ("loop_net", "cond_net"))
    inner = (name for net in nets if net is not None for each in net.operators for name in each.outputs)
    return (*operator.outputs, *inner)


def _declare(name: str, nets: Nets, translation: Translation, written: frozenset[str]) -> None:
    bound = translation.bound.get(name)
    graph = translation.graph
    if bound is None:
        translation.findings.refuse(Operator("output", (), (name,)), "nothing computes it")
        return
    if bound.name != name:
        if name in nets.inputs and name in written:
            translation.findings.notes[f"the output {name!r} is named {name}_output, as the input has its name"] = None
            renamed = str(graph.add("Identity", [bound.name], outputs=[f"{name}_output"]))
            graph.output(renamed)
            return
        graph.add("Identity", [bound.name], outputs=[name], reserved=True)
    # ONNX wants the rank of every output, which its own inference does not find where sizes are computed.
    shape = bound.value.shape
    graph.output(name, bound.value.dtype, None if shape is None else (UNKNOWN,) * len(shape))
