"""One use of an operator, as the shape rules see it: what is known of its inputs and outputs, and its attributes.

What does not belong here: the rule of any operator.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from klever.steps.formats.mxnetparams import attributes as text
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, merge

#: More dimensions than MXNet's operators take.
_MAX_RANK: Final = 32
_MAX_SIZE: Final = (1 << 63) - 1


@dataclass(slots=True)
class Call:
    """The known shapes around one operator; a rule adds to them by `expect` and `give`.

    ``outputs`` holds those outputs alone that something reads. ``scalars`` tells whether a reduction over everything
    leaves () instead of (1,). ``assume`` is set in a last round, in which a rule may take the plainest of the shapes
    that an input of the whole graph can have.
    """

    attributes: Mapping[str, str]
    inputs: list[Shape]
    outputs: dict[int, Shape]
    scalars: bool = False
    assume: bool = False

    def input(self, index: int) -> Shape:
        """Return what is known of an input; nothing of one that is not there."""
        return self.inputs[index] if index < len(self.inputs) else None

    def output(self, index: int = 0) -> Shape:
        """Return what is known of an output."""
        return self.outputs.get(index)

    def expect(self, index: int, shape: Shape) -> Shape:
        """State the shape that an input must have; returns all that is known of it then."""
        if index >= len(self.inputs):
            return shape
        self.inputs[index] = _sound(merge(self.inputs[index], shape))
        return self.inputs[index]

    def give(self, shape: Shape, index: int = 0) -> Shape:
        """State the shape of an output; returns all that is known of it then."""
        if index not in self.outputs:
            return shape
        self.outputs[index] = _sound(merge(self.outputs[index], shape))
        return self.outputs[index]

    def tie(self, *inputs: int) -> Shape:
        """State that these inputs and the first output have one shape."""
        shape = self.output()
        for index in inputs:
            shape = merge(shape, self.input(index))
        for index in inputs:
            self.expect(index, shape)
        return self.give(shape)

    def integer(self, key: str, default: int) -> int:
        """Return an attribute that is one integer."""
        return text.integer(self.attributes, key, default)

    def optional(self, key: str) -> int | None:
        """Return an attribute that is one integer or ``None``."""
        return text.optional_integer(self.attributes, key)

    def integers(self, key: str) -> tuple[int, ...] | None:
        """Return an attribute that is a tuple of integers."""
        return text.integers(self.attributes, key)

    def optionals(self, key: str) -> tuple[int | None, ...] | None:
        """Return an attribute that is a tuple of integers and ``None``."""
        return text.optional_integers(self.attributes, key)

    def sizes(self, key: str) -> Shape:
        """Return a shape; 0 is an unknown size unless the graph keeps to numpy's rules."""
        sizes = text.integers(self.attributes, key)
        if sizes is None or (not sizes and not self.scalars):
            return None
        return tuple(UNKNOWN if size < 0 or (size == 0 and not self.scalars) else size for size in sizes)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a truth value."""
        return text.flag(self.attributes, key, default=default)

    def number(self, key: str, default: float) -> float:
        """Return a floating-point number."""
        return text.number(self.attributes, key, default)

    def word(self, key: str, default: str = "") -> str:
        """Return a text."""
        return self.attributes.get(key, default)


#: Adds to a call what follows from the operator's definition; raises `ShapeMismatchError` where nothing can.
Rule = Callable[[Call], None]


def _sound(shape: Shape) -> Shape:
    if shape is not None and (len(shape) > _MAX_RANK or any(not UNKNOWN <= size <= _MAX_SIZE for size in shape)):
        raise ShapeMismatchError("a shape is larger than any tensor")
    return shape
