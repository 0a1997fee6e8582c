"""One use of an MXNet operator, as the rules that write ONNX for it see it.

A rule is a function of a `Call` that adds nodes and returns the names of the operator's results, in MXNet's order::

    def _scale(call: Call) -> Results:
        factor = call.constant(call.number("scale", 1.0))       # in the type of the first input
        return call.finish("Mul", [call.input(0), factor])      # named after the node: "scale0_output"

    RULES: Final[dict[str, Rule]] = {"scale": _scale}           # by canonical name, see `formats.mxnetparams.rules`

What a rule has to know:

* **It runs twice**: first for the survey, on a `Sketch` that keeps nothing, so that coverage is found by the very code
  that converts. So a rule module imports neither numpy nor onnx at its top, a rule decides by attributes, shapes and
  types alone, and everything that needs numpy stands in a function that runs when the model is written: given to
  `Weight.map` (``call.weight(1).map(function, shape=...)``) or to `Call.computed`. Small constants are plain numbers
  and lists given to `Call.constant`.
* **What it cannot carry over** it says by ``raise UncoveredError("only for mode 'x'")``; the survey lists it. A size or
  rank that it cannot do without and that is not known it asks for by `Call.rank`, `Call.sizes` or
  ``raise ShapeNeededError(0)``, which becomes a question about the model's inputs. Attributes that contradict the
  definition: ``raise MalformedModelError`` (any ValueError, LookupError or ArithmeticError becomes one).
* **Inputs**: `Call.input` is the ONNX name of an input; a weight enters the graph only when it is asked for like this.
  `Call.replaced` puts a changed weight in its place under its own name. `Call.weight` is None for a computed value.
* **Shapes** are those that MXNet would infer, -1 for a size that is dynamic or not known, None without a rank. Prefer
  graphs that are right for every size: 0 and -1 in Reshape, `Call.dynamic_shape` where that is not enough.
* **Types**: the results have the type of the first input unless the rule says otherwise by `Call.typed`. ONNX computes
  in no mixed types, so cast (`Call.as_type`) indices, lengths and masks as needed; MXNet mostly keeps them as floats.
* **Results**: the last node of the rule is made by `Call.finish` (or ``call.graph.reshape(x, ..., **call.last)``) and
  so bears MXNet's name of the result; steps in between by `Call.emit` or `Call.graph`. A rule may return an input's
  name unchanged. Results that nothing reads (`Call.wanted`) may be left out at the end, or be ``""``.
* **Stored results**: what a rule makes of stored arrays alone (a reshaped or joined weight) it may give back as a
  stored array by ``return call.store(weight)``, so that the next rule sees a `Call.weight` again.
* **Bodies** of loops and branches: `Call.subgraphs`, `Call.translate`.

What does not belong here: the rule of any operator.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.formats.mxnetparams import attributes as text
from klever.steps.formats.mxnetparams.graph import Graph
from klever.steps.formats.mxnetparams.params import DTYPES
from klever.steps.model.shapes import UNKNOWN, Shape, normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from klever.steps.writers.onnx import GraphBuilder, Weight

#: What a rule may make of attributes alone, in elements: the anchors of a large detector are a tenth of it.
MAX_COMPUTED_ELEMENTS: Final = 1 << 24
#: Types that ONNX counts as floating-point.
FLOATS: Final = frozenset({"float16", "float32", "float64", "bfloat16"})

#: Operators that onnxruntime, the runtime of most, has for single precision and not for double.
SINGLE_ONLY: Final = frozenset({
    *("Conv", "ConvTranspose", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LRN", "InstanceNormalization"),
    *("Elu", "Erf", "Gelu", "HardSigmoid", "Mish", "Selu", "Softplus", "Softsign", "GridSample", "Resize"),
    *("Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cosh", "Sinh", "Tan"),
})  # fmt: skip

_ELEMENT_TYPES: Final = frozenset(name for name, _ in DTYPES.values())

Results = str | Sequence[str]


class UncoveredError(Exception):
    """A use of an operator that cannot be carried over; ``reason`` says which attribute or form of it."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class ShapeNeededError(Exception):
    """The rule needs sizes of an input (by its position) that are not known."""

    def __init__(self, index: int = 0) -> None:
        super().__init__(index)
        self.index = index


class Value(NamedTuple):
    """A tensor of the graph under construction: its ONNX name, numpy type and shape as far as it is known."""

    name: str
    dtype: str
    shape: Shape


@dataclass(slots=True)
class Operand:
    """What an input of an operator is: a value that exists, or a stored weight that is added when it is used."""

    value: Value
    weight: "Weight | None" = None
    #: Whether the graph holds the value already.
    placed: bool = True


#: Converts a body into a builder, given what its variables are by their names; returns its heads' values.
Translate = Callable[[Graph, "GraphBuilder", "Mapping[str, Operand]"], tuple[Value, ...]]


@dataclass(slots=True)
class Call:
    """One node of the source with what is known around it, and the builder that takes its conversion."""

    #: The node's name and its operator as the file spells it; canonical names stand in the rules' tables.
    name: str
    operator: str
    attributes: Mapping[str, str]
    graph: "GraphBuilder"
    operands: Sequence[Operand | None]
    #: What MXNet's shape inference says of the results that something reads.
    results: Mapping[int, Shape]
    #: Names for the results, as `Symbol.list_outputs` gives them.
    result_names: Callable[[int], str]
    #: Stored parameters by name, for old files that leave states out of a node's inputs.
    parameters: Mapping[str, Operand]
    translate: Translate
    #: Whether () is a scalar (numpy's rules) instead of an unknown shape.
    scalars: bool = False
    subgraphs: tuple[Graph, ...] = ()
    #: The positions of results that are outputs of the whole graph, whose names are kept for them.
    reserved: frozenset[int] = frozenset()
    result_types: dict[int, str] = field(default_factory=dict)
    result_shapes: dict[int, Shape] = field(default_factory=dict)
    result_weights: "dict[int, Weight]" = field(default_factory=dict)

    # Inputs

    def __len__(self) -> int:
        return len(self.operands)

    def has(self, index: int) -> bool:
        """Say whether there is such an input, and that it is not just a label."""
        return index < len(self.operands) and self.operands[index] is not None

    def operand(self, index: int) -> Operand:
        """Return an input; raises `MalformedModelError` where it is not there."""
        found = self.operands[index] if index < len(self.operands) else None
        if found is None:
            raise MalformedModelError(f"node {self.name!r} ({self.operator}) lacks its input {index}")
        return found

    def input(self, index: int = 0) -> str:
        """Return the ONNX name of an input."""
        return self.place(self.operand(index))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The ONNX names of all inputs."""
        return tuple(self.input(index) for index in range(len(self.operands)))

    def place(self, operand: Operand) -> str:
        """Add a stored weight to the graph unless it is there; return its name."""
        if not operand.placed and operand.weight is not None:
            operand.value = operand.value._replace(name=self.graph.weight(operand.value.name, operand.weight))
            operand.placed = True
        return operand.value.name

    def weight(self, index: int) -> "Weight | None":
        """Return the stored array behind an input; None where the input is fed or computed."""
        return self.operand(index).weight

    def stored(self, index: int) -> "Weight":
        """Return the stored array behind an input; raises `UncoveredError` where it is computed."""
        weight = self.weight(index)
        if weight is None:
            raise UncoveredError(f"only with a stored array as input {index}")
        return weight

    def replaced(self, index: int, weight: "Weight") -> str:
        """Add a changed form of a stored input under that input's name (with a number where it is taken)."""
        return self.graph.weight(self.operand(index).value.name, weight)

    def parameter(self, suffix: str) -> Operand | None:
        """Return the stored array named after the node, such as ``bn0_moving_mean``."""
        return self.parameters.get(f"{self.name}_{suffix}")

    def dtype(self, index: int = 0) -> str:
        """Return the numpy type of an input."""
        return self.operand(index).value.dtype

    def is_float(self, index: int = 0) -> bool:
        """Say whether an input is floating-point."""
        return self.dtype(index) in FLOATS

    def shape(self, index: int = 0) -> Shape:
        """Return what is known of an input's shape: -1 for a size that is not, None without a rank."""
        return self.operand(index).value.shape

    def dims(self, index: int = 0) -> tuple[int, ...]:
        """Return an input's shape with -1 for unknown sizes; raises `ShapeNeededError` where it has no known rank."""
        shape = self.shape(index)
        if shape is None:
            raise ShapeNeededError(index)
        return shape

    def rank(self, index: int = 0) -> int:
        """Return the number of an input's dimensions; raises `ShapeNeededError`."""
        return len(self.dims(index))

    def sizes(self, index: int = 0) -> tuple[int, ...]:
        """Return an input's shape without unknown sizes; raises `ShapeNeededError`."""
        shape = self.dims(index)
        if UNKNOWN in shape:
            raise ShapeNeededError(index)
        return shape

    def axis(self, key: str, default: int, index: int = 0) -> int:
        """Return an attribute that is an axis of an input, counted from the front."""
        return normalise_axis(self.integer(key, default), self.rank(index))

    def result(self, index: int = 0) -> Shape:
        """Return what MXNet's inference says of a result."""
        return self.results.get(index)

    @property
    def wanted(self) -> frozenset[int]:
        """The positions of the results that something reads."""
        return frozenset(self.results)

    # Attributes, by MXNet's own writing of them

    def integer(self, key: str, default: int) -> int:
        """Return an attribute that is one integer."""
        return text.integer(self.attributes, key, default)

    def optional(self, key: str) -> int | None:
        """Return an attribute that is one integer or ``None``."""
        return text.optional_integer(self.attributes, key)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return an attribute that is a tuple of integers; None where it is absent or ``None``."""
        return text.integers(self.attributes, key)

    def optionals(self, key: str) -> tuple[int | None, ...] | None:
        """Return an attribute that is a tuple of integers and ``None``."""
        return text.optional_integers(self.attributes, key)

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Return an attribute that is a tuple of numbers, whole or not; None where it is absent."""
        return text.numbers(self.attributes, key)

    def number(self, key: str, default: float) -> float:
        """Return a floating-point number."""
        return text.number(self.attributes, key, default)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a truth value."""
        return text.flag(self.attributes, key, default=default)

    def word(self, key: str, default: str = "") -> str:
        """Return a text; the default where it is absent or ``None``."""
        found = self.attributes.get(key, "None").strip()
        return default if found == "None" else found

    def element_type(self, default: str) -> str:
        """Return the numpy type that the attribute ``dtype`` names; bfloat16 is computed in float32."""
        found = self.word("dtype", default)
        if found == "-1":
            return default
        if found not in _ELEMENT_TYPES:
            raise MalformedModelError(f"node {self.name!r} has the element type {found[:40]!r}, which does not exist")
        return "float32" if found == "bfloat16" else found

    # Constants

    def constant(self, values: Any, dtype: str | None = None) -> str:
        """Add a small constant, a number or nested lists, by default in the type of the first input."""
        return self.graph.constant(values, dtype=dtype or self.dtype())

    def integers_constant(self, values: int | Sequence[int]) -> str:
        """Add int64 constants, as axes, shapes and indices have to be."""
        return self.graph.constant(values, dtype="int64")

    def computed(self, function: "Callable[[], NDArray[Any]]", dtype: str, shape: tuple[int, ...], hint: str) -> str:
        """Add a constant that ``function`` computes when the model is written; it may import numpy."""
        if prod(shape) > MAX_COMPUTED_ELEMENTS:
            raise LimitExceededError(f"node {self.name!r} asks for a constant of {prod(shape)} elements")
        return self.graph.computed(f"{self.name}_{hint}", function, dtype, shape)

    # Nodes

    def emit(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node with one result, a step towards the operator's own."""
        return str(self._add(op, inputs, {"name": f"{self.name}_{op.lower()}"}, attributes))

    def emit_several(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> tuple[str, ...]:
        """Add a node with ``count`` results, steps towards the operator's own."""
        names = self._add(op, inputs, {"name": f"{self.name}_{op.lower()}", "outputs": count}, attributes)
        return (names,) if isinstance(names, str) else tuple(names)

    def finish(self, op: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add the node whose only result is the operator's, named as MXNet names it."""
        return str(self._add(op, inputs, self.last, attributes))

    def finish_several(self, op: str, inputs: Sequence[str], count: int, **attributes: Any) -> tuple[str, ...]:
        """Add the node whose ``count`` results are the operator's."""
        names = self._add(op, inputs, self.last_of(range(count)), attributes)
        return (names,) if isinstance(names, str) else tuple(names)

    @property
    def last(self) -> dict[str, Any]:
        """What names a builder's node as the one whose result is the operator's: ``graph.cast(x, "int64", **last)``."""
        return self.last_of((0,))

    def last_of(self, positions: Sequence[int]) -> dict[str, Any]:
        """Name a node after this one, and its results as those at ``positions`` of the operator."""
        # Any other name gives way to one that is taken.
        chosen = [
            name if position in self.reserved else self.graph.unique(name)
            for position, name in ((position, self.result_names(position)) for position in positions)
        ]
        return {"name": self.name or None, "outputs": chosen, "reserved": True}

    def typed(self, dtype: str, index: int = 0) -> None:
        """State the type of a result, where it is not that of the first input."""
        self.result_types[index] = dtype

    def shaped(self, shape: Shape, index: int = 0) -> None:
        """State the shape of a result, where MXNet's inference cannot tell it: of a loop or branch."""
        if self.result(index) is None:
            self.result_shapes[index] = shape

    def store(self, weight: "Weight", index: int = 0) -> str:
        """State that a result is a stored array, which enters the graph when a rule asks for it by `input`."""
        self.result_weights[index] = weight
        return ""

    def as_type(self, value: str, have: str, want: str, *, last: bool = False) -> str:
        """Cast a value unless it has the type already."""
        if have == want:
            return value
        return self.graph.cast(value, want, **(self.last if last else {"name": f"{self.name}_cast"}))

    def dynamic_shape(self, parts: Sequence[int | str]) -> str:
        """Return the name of an int64 vector of sizes, each a number or the name of an int64 vector."""
        if all(isinstance(part, int) for part in parts):
            return self.integers_constant([part for part in parts if isinstance(part, int)])
        names: list[str] = []
        run: list[int] = []
        for part in (*parts, ""):
            if isinstance(part, int):
                run.append(part)
                continue
            if run:
                names.append(self.integers_constant(run))
                run = []
            if part:
                names.append(part)
        return names[0] if len(names) == 1 else self.emit("Concat", names, axis=0)

    def size_of(self, value: str, axis: int) -> str:
        """Return the name of the int64 vector of one element that holds the size of an axis, when the model runs."""
        shape = self.emit("Shape", [value])
        return self.emit("Gather", [shape, self.integers_constant([axis])], axis=0)

    def _add(self, op: str, inputs: Sequence[str], names: dict[str, Any], attributes: dict[str, Any]) -> Any:
        if op in SINGLE_ONLY and self.operands and self.operands[0] is not None and self.dtype() == "float64":
            narrow = [name and self.graph.cast(name, "float32") for name in inputs]
            return self.graph.cast(self.graph.add(op, narrow, **attributes), "float64", **names)
        return self.graph.add(op, list(inputs), **names, **attributes)


#: Writes the ONNX of one operator; see this module's docstring.
Rule = Callable[[Call], Results]
