"""One operator on its way into the graph: what its rule may ask, and how it draws nodes.

What does not belong here: any operator's meaning (see ``rules``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klever.steps.converters.netdef_to_onnx.sketch import Graph
from klever.steps.formats.netdef.graph import Argument, Operator
from klever.steps.formats.netdef.values import UNKNOWN_VALUE, Value
from klever.steps.formats.netdef.windows import channels_last
from klever.steps.model.shapes import UNKNOWN, ShapeMismatchError, normalise_axis

if TYPE_CHECKING:
    from klever.steps.converters.netdef_to_onnx.translate import Translation

#: The end of an open range.
END: Final = 2**63 - 1


class RefusedError(Exception):
    """An operator, or an attribute of it, that cannot be carried over; the text is the reason, without a full stop."""


class ShapeNeededError(Exception):
    """A rank or a size that decides how the operator is carried over is not known."""

    def __init__(self, blob: str) -> None:
        super().__init__(blob)
        self.blob = blob


class Quantum(NamedTuple):
    """How a quantised blob's integers stand for numbers: ``scale * (integer - zero)``."""

    scale: float
    zero: int


class Bound(NamedTuple):
    """What a blob is at a point of the net: the name of a value in the graph, and what is known of it."""

    name: str
    value: Value = UNKNOWN_VALUE
    quantum: Quantum | None = None


def fitting(value: float, dtype: str) -> float:
    """Return a number where elements of ``dtype`` can hold it; raises `RefusedError`."""
    if dtype.startswith(("int", "uint")):
        signed = dtype.startswith("int")
        bits = int(dtype.lstrip("uint"))
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if not low <= value <= high:
            raise RefusedError(f"{value} is no {dtype}")
    return value


#: What a rule returns: the names of the values that its outputs are, None for one that nothing can compute.
Result = str | Sequence[str | None] | None


@dataclass
class Call:
    """An operator, its inputs as they are bound, and the graph to draw in."""

    operator: Operator
    inputs: Sequence[Bound]
    graph: Graph
    translation: "Translation"
    #: What is known of the outputs before the rule runs.
    expected: Sequence[Value]
    #: The names that the outputs are to have, and whether they are reserved in the graph.
    targets: Sequence[tuple[str, bool]]
    notes: list[str] = field(default_factory=list)
    #: Output position to its quantum, set by rules of quantised operators.
    quanta: dict[int, Quantum] = field(default_factory=dict)
    #: Output position to what the rule knows better than `expected`.
    known: dict[int, Value] = field(default_factory=dict)

    # Arguments.

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number; writers that are not Python put whole ones as integers."""
        argument = self.operator.arguments.get(name)
        if argument is None or (argument.f is None and argument.i is None):
            return default
        return argument.f if argument.f is not None else float(argument.i or 0)

    def integer(self, name: str, default: int = 0) -> int:
        """Return an integer argument."""
        return self.operator.integer(name, default)

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value."""
        return self.operator.integer(name, int(default)) != 0

    def integers(self, name: str) -> tuple[int, ...]:
        """Return integers."""
        return self.operator.integers(name)

    def has(self, name: str) -> bool:
        """Tell whether an argument is stated."""
        return name in self.operator.arguments

    def argument(self, name: str) -> Argument | None:
        """Return an argument as it is."""
        return self.operator.arguments.get(name)

    @property
    def last(self) -> bool:
        """Whether the channels are the last dimension."""
        return channels_last(self.operator)

    # Inputs.

    def __len__(self) -> int:
        return len(self.inputs)

    def input(self, index: int = 0) -> str:
        """Return the name of an input's value."""
        self._present(index)
        return self.inputs[index].name

    def value(self, index: int = 0) -> Value:
        """Return what is known of an input."""
        self._present(index)
        return self.inputs[index].value

    def _present(self, index: int) -> None:
        if index >= len(self.inputs):
            raise RefusedError(f"it has {len(self.inputs)} inputs, and its definition wants more")

    def shape(self, index: int = 0) -> tuple[int, ...]:
        """Return the sizes of an input, -1 for those that are not known; raises `ShapeNeededError` without a rank."""
        shape = self.value(index).shape
        if shape is None:
            raise ShapeNeededError(self.operator.inputs[index])
        return shape

    def rank(self, index: int = 0) -> int:
        """Return the rank of an input."""
        return len(self.shape(index))

    def size(self, axis: int, index: int = 0) -> int:
        """Return a size that has to be known; raises `ShapeNeededError`."""
        size = self.shape(index)[self.axis(axis, index)]
        if size == UNKNOWN:
            raise ShapeNeededError(self.operator.inputs[index])
        return size

    def axis(self, axis: int, index: int = 0) -> int:
        """Return an axis of an input, counted from the front."""
        return self.canonical(axis, self.rank(index))

    def canonical(self, axis: int, rank: int) -> int:
        """Return an axis of a rank, counted from the front."""
        try:
            return normalise_axis(axis, rank)
        except ShapeMismatchError as error:
            raise RefusedError(str(error)) from error

    def dtype(self, index: int = 0, default: str = "float32") -> str:
        """Return the element type of an input, ``default`` where it is not known."""
        return self.value(index).dtype or default

    def limit(self, index: int, low: int, high: int) -> None:
        """Take note that an input makes sense from ``low`` up to ``high``, which is not of them; -1 is not known."""
        if high > low:
            ranges = self.translation.findings.ranges
            known = ranges.get(self.input(index), (low, high))
            ranges[self.input(index)] = (max(known[0], low), min(known[1], high))

    # Nodes.

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Add a node within the operator, named after the operator's first output."""
        return self.graph.add(op, inputs, outputs=[self._inner(op)] * outputs, **attributes)

    def _inner(self, op: str) -> str:
        """Return the name of a value within the operator; the graph makes it unique."""
        return f"{self.operator.outputs[0] if self.operator.outputs else self.operator.type}/{op}"

    def give(self, op: str, *inputs: str, at: int = 0, **attributes: Any) -> str:
        """Add the node that makes an output of the operator."""
        name, reserved = self._target(at)
        return str(self.graph.add(op, inputs, outputs=[name], reserved=reserved, **attributes))

    def give_all(self, op: str, *inputs: str, **attributes: Any) -> list[str]:
        """Add the node that makes all outputs of the operator."""
        names = [name if reserved else self.graph.unique(name) for name, reserved in self.targets]
        made = self.graph.add(op, inputs, outputs=names, reserved=True, **attributes)
        return [made] if isinstance(made, str) else list(made)

    def _target(self, at: int) -> tuple[str, bool]:
        # What the operator computes beside its outputs, where the net names fewer than there are, goes unnamed.
        return self.targets[at] if at < len(self.targets) else (self._inner("unused"), False)

    def constant(self, value: Any, dtype: str | None = None) -> str:
        """Add a small array; Python's integers are int64 and its floats float32."""
        for each in value if isinstance(value, list) else [value]:
            fitting(each, dtype or ("float32" if isinstance(each, float) else "int64"))
        return self.graph.constant(value, dtype=dtype)

    def integers_of(self, values: Sequence[int]) -> str:
        """Add a list of int64, which may be empty."""
        return self.graph.constant([fitting(value, "int64") for value in values], dtype="int64")

    def scalar(self, value: float, index: int = 0) -> str:
        """Add a number of the type of an input."""
        return self.graph.constant(fitting(value, self.dtype(index)), dtype=self.dtype(index))

    def cast(self, x: str, dtype: str) -> str:
        """Convert within the operator."""
        return self.graph.cast(x, dtype, outputs=[self._inner("Cast")])

    def int64(self, index: int) -> str:
        """Return an input of integers as int64."""
        return self.input(index) if self.value(index).dtype == "int64" else self.cast(self.input(index), "int64")

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, *, keepdims: bool = True) -> str:
        """Reduce within the operator."""
        return self.graph.reduce(op, x, axes, keepdims=keepdims, outputs=[self._inner(op)])

    def give_reduced(self, op: str, x: str, axes: Sequence[int] | None, *, keepdims: bool = True, at: int = 0) -> str:
        """Reduce to an output."""
        name, reserved = self._target(at)
        return self.graph.reduce(op, x, axes, keepdims=keepdims, outputs=[name], reserved=reserved)

    def reshape(self, x: str, shape: Sequence[int] | str) -> str:
        """Reshape within the operator."""
        return str(self.add("Reshape", x, shape if isinstance(shape, str) else self.integers_of(shape)))

    def give_reshaped(self, x: str, shape: Sequence[int] | str, at: int = 0) -> str:
        """Reshape to an output."""
        return self.give("Reshape", x, shape if isinstance(shape, str) else self.integers_of(shape), at=at)

    def transpose(self, x: str, perm: Sequence[int]) -> str:
        """Reorder the dimensions within the operator."""
        return str(self.add("Transpose", x, perm=list(perm)))

    def unsqueeze(self, x: str, axes: Sequence[int]) -> str:
        """Insert dimensions of size 1."""
        return str(self.add("Unsqueeze", x, self.integers_of(axes))) if axes else x

    def squeeze(self, x: str, axes: Sequence[int]) -> str:
        """Remove dimensions of size 1."""
        return str(self.add("Squeeze", x, self.integers_of(axes)))

    def slice(self, x: str, start: int, end: int, axis: int) -> str:
        """Cut out a range of one dimension."""
        parts = (self.integers_of([part]) for part in (start, end, axis))
        return str(self.add("Slice", x, *parts))

    def sizes(self, x: str, axes: Sequence[int] | None = None) -> str:
        """Return the sizes of a value as it runs, all or those of ``axes``, as a list."""
        shape = str(self.add("Shape", x))
        return shape if axes is None else str(self.add("Gather", shape, self.integers_of(axes), axis=0))

    # The order of dimensions.

    def channels_first(self, index: int = 0) -> str:
        """Return an input with the channels as its second dimension."""
        if not self.last:
            return self.input(index)
        rank = self.rank(index)
        name = self.input(index)
        # What was just made by moving the channels behind need not be moved back and forth.
        known = self.translation.first.get(name)
        return known or self.transpose(name, (0, rank - 1, *range(1, rank - 1)))

    def give_image(self, op: str, *inputs: str, rank: int, at: int = 0, **attributes: Any) -> str:
        """Add the node that makes an image with channels first, and move them where the operator's order has them."""
        if not self.last:
            return self.give(op, *inputs, at=at, **attributes)
        image = str(self.add(op, *inputs, **attributes))
        return self.give_ordered(image, rank, at)

    def give_ordered(self, image: str, rank: int, at: int = 0) -> str:
        """Give an image with channels first in the operator's order."""
        if not self.last:
            return self.give("Identity", image, at=at)
        given = self.give("Transpose", image, perm=[0, *range(2, rank), 1], at=at)
        self.translation.first[given] = image
        return given

    def vector(self, index: int) -> str:
        """Return an input that counts as a list of numbers, whatever its shape."""
        shape = self.value(index).shape
        return self.input(index) if shape is None or len(shape) == 1 else self.reshape(self.input(index), [-1])

    def along_channels(self, x: str, rank: int) -> str:
        """Return a list of one number a channel, shaped so that it spreads over an image with channels first."""
        return self.unsqueeze(x, list(range(1, rank - 1)))


Rule = Callable[[Call], Result]
Rules = Mapping[str, Rule]
