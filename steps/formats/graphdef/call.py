"""What a rule of inference sees of a node, what it answers, and the table that rules enter.

What does not belong here: any rule, and the order in which nodes are visited.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from klever.steps.frameworks.tensorflow import Node, Number
from klever.steps.model.shapes import UNKNOWN, Shape

#: A guard against attributes that claim absurd numbers of outputs.
MAX_OUTPUTS: Final = 4096

#: Elements of small tensors that are followed through the graph, as targets of a reshape.
Values = tuple[Number, ...] | None


class Known(NamedTuple):
    """What is known of one tensor: its shape, its elements where they are few numbers, and its DataType.

    A type of 0 leaves it to the operator's definition.
    """

    shape: Shape = None
    values: Values = None
    dtype: int = 0


NOTHING: Final = Known()


def scalar(value: Number) -> Known:
    """Return a scalar of a value that may be unknown."""
    return Known((), (value,))


def vector(values: Iterable[Number]) -> Known:
    """Return a vector of values, each of which may be unknown."""
    values = tuple(values)
    return Known((len(values),), values)


class Call:
    """A node with what is known of its inputs; inputs that are not there read as unknown."""

    __slots__ = ("inputs", "node")

    def __init__(self, node: Node, inputs: Sequence[Known]) -> None:
        self.node = node
        self.inputs = inputs

    def __getitem__(self, index: int) -> Known:
        return self.inputs[index] if -len(self.inputs) <= index < len(self.inputs) else NOTHING

    def shape(self, index: int) -> Shape:
        """Return an input's shape."""
        return self[index].shape

    def values(self, index: int) -> Values:
        """Return an input's elements, flat."""
        return self[index].values

    def integers(self, index: int) -> tuple[int, ...] | None:
        """Return an input's elements where all are known."""
        values = self[index].values
        if values is None:
            return None
        whole = tuple(int(value) for value in values if value is not None)
        return whole if len(whole) == len(values) else None

    def integer(self, index: int) -> int | None:
        """Return an input of one known element."""
        values = self.integers(index)
        return values[0] if values is not None and len(values) == 1 else None

    def rank(self, index: int) -> int | None:
        """Return an input's rank."""
        shape = self[index].shape
        return None if shape is None else len(shape)

    def size(self, index: int) -> int:
        """Return the length of a vector, `UNKNOWN` where it is not known."""
        shape = self[index].shape
        return shape[0] if shape else UNKNOWN

    def sizes(self, index: int) -> Shape:
        """Return an input's elements as a shape, unknown ones as `UNKNOWN`; without elements, as many as its length."""
        known = self[index]
        if known.values is not None:
            return tuple(UNKNOWN if value is None else max(int(value), UNKNOWN) for value in known.values)
        if known.shape is not None and len(known.shape) == 1 and 0 <= known.shape[0] <= _MAX_RANK:
            return (UNKNOWN,) * known.shape[0]
        return None

    def attribute(self, name: str, default: int) -> int:
        """Return an ``int`` attribute."""
        value = self.node.integer(name)
        return default if value is None else value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a ``bool`` attribute."""
        value = self.node.boolean(name)
        return default if value is None else value

    def text(self, name: str, default: str) -> str:
        """Return a ``string`` attribute."""
        return self.node.string(name) or default


_MAX_RANK: Final = 254

Rule = Callable[[Call], Sequence[Known]]
#: Operator to its rule.
RULES: Final[dict[str, Rule]] = {}


def rule(*operators: str) -> Callable[[Rule], Rule]:
    """Enter a function that answers one `Known` per output."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(operators, function))
        return function

    return enter


def shape_rule(*operators: str) -> Callable[[Callable[[Call], Shape]], Callable[[Call], Shape]]:
    """Enter a function that answers the shape of the only output."""

    def enter(function: Callable[[Call], Shape]) -> Callable[[Call], Shape]:
        RULES.update(dict.fromkeys(operators, lambda call: (Known(function(call)),)))
        return function

    return enter
