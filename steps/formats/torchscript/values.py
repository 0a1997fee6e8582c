"""What may be known of a value while code is followed, and how a rule is applied to such values.

What does not belong here: the rules themselves (`rules`, `plain`), the code (`flow`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from klever.steps.model import shapes
from klever.steps.model.shapes import Shape, ShapeMismatchError


class _Unknown:
    """The type of `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


#: A value of which nothing is known.
UNKNOWN: Final = _Unknown()


#: What PyTorch's tensors can have at most.
_MAX_RANK: Final = 64
_MAX_SIZE: Final = 1 << 63
#: How far back a demand is passed on; activations and rearrangements in a row are few.
_MAX_ORIGINS: Final = 20


@dataclass(slots=True, eq=False)
class Known:
    """A tensor of which something may be known; one that is an input gets to know more as operators demand it.

    What is demanded of a tensor that another one only was rearranged into is demanded of that one too.
    """

    dtype: str | None
    shape: Shape
    #: The size of the last dimension, where that is known and the rank is not.
    last: int | None = None
    #: The tensor that this one was made from, place by place.
    origin: "Known | None" = None
    #: The dimension of ``origin`` that each of this one's is; None where they are the same.
    order: tuple[int, ...] | None = None
    #: Whether the type is that of ``origin`` too.
    keeps_dtype: bool = True

    def demand(self, shape: Shape, dtype: str | None = None, *, last: int | None = None) -> None:
        """Note what an operator demands; what the file or the author said before it stays."""
        one: Known | None = self
        for _ in range(_MAX_ORIGINS):
            if one is None or not one._learn(shape, dtype, last):
                return
            if one.order is not None:
                shape, last = one._reordered(shape), None
            dtype = dtype if one.keeps_dtype else None
            one = one.origin

    def _learn(self, shape: Shape, dtype: str | None, last: int | None) -> bool:
        """Take in what is demanded; tell whether any of it is new."""
        before = self.shape, self.dtype, self.last
        try:
            self.shape = shapes.merge(self.shape, shape)
        except ShapeMismatchError:
            return False
        self.dtype = self.dtype or dtype
        self.last = None if self.shape is not None else self.last or last
        return before != (self.shape, self.dtype, self.last)

    def _reordered(self, shape: Shape) -> Shape:
        """Return a demand's sizes in the order of the origin's dimensions."""
        if self.order is None or shape is None:
            return shape
        sizes = dict(zip(self.order, shape, strict=False))
        return tuple(sizes.get(axis, shapes.UNKNOWN) for axis in range(len(self.order)))

    def apart(self) -> "Known":
        """Return a copy of which a demand says nothing about this one."""
        return Known(self.dtype, self.shape, self.last)


Arguments: TypeAlias = list[Any]
Keywords: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[Arguments, Keywords], Any]


def call_rule(rules: Mapping[str, Rule], name: str, values: Arguments, keywords: Keywords) -> Any:
    """Apply the rule of that name; `UNKNOWN` where there is none, or the arguments are not of the kinds it takes."""
    rule = rules.get(name)
    in_place = rule is None and name.endswith("_")
    rule = rules.get(name[:-1]) if in_place else rule
    if rule is None:
        return UNKNOWN
    try:
        result = rule(values, keywords)
    except (ShapeMismatchError, IndexError, TypeError, ValueError, AttributeError, OverflowError, ZeroDivisionError):
        return UNKNOWN
    if not all(_is_credible(one) for one in (result if isinstance(result, tuple | list) else (result,))):
        return UNKNOWN
    if in_place and isinstance(result, Known) and isinstance(values[0], Known):
        result.dtype = values[0].dtype
    return result


def spoil(held: Any) -> None:
    """Make a list or dictionary that may have been changed tell nothing more, under whatever name it is known."""
    if isinstance(held, list):
        held[:] = [UNKNOWN]
    elif isinstance(held, dict):
        held.clear()
        held[UNKNOWN] = UNKNOWN


def _is_credible(value: Any) -> bool:
    shape = value.shape if isinstance(value, Known) else None
    return shape is None or (len(shape) <= _MAX_RANK and all(-1 <= length < _MAX_SIZE for length in shape))


def join(a: Any, b: Any) -> Any:
    """Return what is known of a value that is either ``a`` or ``b``; lists are the caller's to take apart."""
    if a is b:
        return a
    if isinstance(a, Known) and isinstance(b, Known):
        return _joined(a, b)
    is_same = isinstance(a, bool | int | float | str) and type(a) is type(b) and a == b
    return a if is_same else UNKNOWN


def _joined(a: Known, b: Known) -> Known:
    shape: Shape = None
    if a.shape is not None and b.shape is not None and len(a.shape) == len(b.shape):
        shape = tuple(x if x == y else shapes.UNKNOWN for x, y in zip(a.shape, b.shape, strict=True))
    return Known(a.dtype if a.dtype == b.dtype else None, shape)


def tensor(value: object) -> Known:
    """Return the tensor; raises `TypeError` for anything else."""
    if not isinstance(value, Known):
        raise TypeError
    return value


def ranked(value: object) -> tuple[int, ...]:
    """Return a tensor's shape; raises `TypeError` where its rank is unknown."""
    shape = tensor(value).shape
    if shape is None:
        raise TypeError
    return shape


def size(value: object) -> int:
    """Return a size that the code states, -1 where it does not."""
    return value if isinstance(value, int) and value >= 0 else shapes.UNKNOWN


def argument(values: Arguments, keywords: Keywords, position: int, name: str, default: Any) -> Any:
    """Return an argument given by position or name."""
    return values[position] if len(values) > position else keywords.get(name, default)
