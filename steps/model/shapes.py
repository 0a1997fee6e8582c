"""Arithmetic on shapes of which some dimensions, or the rank itself, are unknown.

A shape is a tuple of sizes with -1 for an unknown one, or None where not even the rank is known. Every function
answers the most that follows from what is known and never guesses. What does not belong here: the rules of one
framework, such as how it pads.
"""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import prod

UNKNOWN = -1

#: Sizes in elements, `UNKNOWN` for an unknown one; None for an unknown rank.
Shape = tuple[int, ...] | None


class ShapeMismatchError(ValueError):
    """The shapes cannot meet in this operation: the file is inconsistent, or a rule is wrong."""


def normalise_axis(axis: int, rank: int) -> int:
    """Return ``axis`` counted from the front; raises `ShapeMismatchError` where it lies outside the rank."""
    if not -rank <= axis < rank:
        raise ShapeMismatchError(f"axis {axis} lies outside rank {rank}")
    return axis % rank


def merge(a: Shape, b: Shape) -> Shape:
    """Return what is known from two statements about the same tensor; raises where they contradict."""
    if a is None or b is None:
        return b if a is None else a
    return _merge_known(a, b)


def _merge_known(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if len(a) != len(b):
        raise ShapeMismatchError(f"{a} and {b} differ in rank")
    return tuple(_merge_size(x, y) for x, y in zip(a, b, strict=True))


def _merge_size(x: int, y: int) -> int:
    if x in (UNKNOWN, y):
        return y
    if y == UNKNOWN:
        return x
    raise ShapeMismatchError(f"sizes {x} and {y} contradict each other")


def count(sizes: Iterable[int]) -> int:
    """Return the product of the sizes, `UNKNOWN` where one is unknown (a zero settles it all the same)."""
    sizes = tuple(sizes)
    if 0 in sizes:
        return 0
    return UNKNOWN if UNKNOWN in sizes else prod(sizes)


def add(*sizes: int) -> int:
    """Return the sum of sizes, `UNKNOWN` where one is; see `subtract` for terms that may be negative."""
    return UNKNOWN if UNKNOWN in sizes else sum(sizes)


def subtract(size: int, amount: int) -> int:
    """Return ``size`` less an amount that is known, be it negative; `UNKNOWN` where ``size`` is."""
    return UNKNOWN if size == UNKNOWN else size - amount


def divide(size: int, parts: int) -> int:
    """Return the size of one of several equal parts, rounded down; `UNKNOWN` where ``size`` is."""
    return UNKNOWN if size == UNKNOWN else size // parts


def broadcast(*shapes: Shape) -> Shape:
    """Broadcast by numpy's rule: aligned at the end, a size of 1 stretches."""
    result: tuple[int, ...] = ()
    for shape in shapes:
        if shape is None:
            return None
        result = _broadcast_known(result, shape)
    return result


def _broadcast_known(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    pairs = zip_longest(reversed(a), reversed(b), fillvalue=1)
    return tuple(_broadcast_size(x, y) for x, y in pairs)[::-1]


def _broadcast_size(x: int, y: int) -> int:
    if x == 1:
        return y
    if y == 1 or x == y:
        return x
    if x == UNKNOWN:
        return y
    if y == UNKNOWN:
        return x
    raise ShapeMismatchError(f"sizes {x} and {y} do not broadcast")


def concatenate(shapes: Sequence[Shape], axis: int) -> Shape:
    """Join along ``axis``; the other dimensions have to agree."""
    known = [shape for shape in shapes if shape is not None]
    if not known:
        return None
    axis = normalise_axis(axis, len(known[0]))
    if any(len(shape) != len(known[0]) for shape in known):
        raise ShapeMismatchError(f"{known} differ in rank")
    total = UNKNOWN if len(known) < len(shapes) else add(*(shape[axis] for shape in known))
    rest, *others = ((*shape[:axis], UNKNOWN, *shape[axis + 1 :]) for shape in known)
    for other in others:
        rest = _merge_known(rest, other)
    return (*rest[:axis], total, *rest[axis + 1 :])


def transpose(shape: Shape, permutation: Sequence[int] | None = None) -> Shape:
    """Permute the dimensions; without a permutation reverse them."""
    if shape is None:
        return None
    if permutation is None:
        return shape[::-1]
    if sorted(normalise_axis(axis, len(shape)) for axis in permutation) != list(range(len(shape))):
        raise ShapeMismatchError(f"{tuple(permutation)} does not permute rank {len(shape)}")
    return tuple(shape[axis] for axis in permutation)


def reduce(shape: Shape, axes: Iterable[int] | None, *, keep: bool) -> Shape:
    """Reduce over ``axes`` (None: all of them); ``keep`` leaves a size of 1 in their place."""
    if shape is None:
        return () if axes is None and not keep else None
    chosen = set(range(len(shape))) if axes is None else {normalise_axis(axis, len(shape)) for axis in axes}
    if keep:
        return tuple(1 if axis in chosen else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in chosen)


def reshape(shape: Shape, target: Sequence[int]) -> Shape:
    """Reshape to ``target``, in which one -1 is worked out from the element count where that is known."""
    total = UNKNOWN if shape is None else count(shape)
    if list(target).count(UNKNOWN) != 1:
        return tuple(target)
    rest = count(size for size in target if size != UNKNOWN)
    if total != UNKNOWN and rest > 0:
        if total % rest:
            raise ShapeMismatchError(f"{shape} cannot become {tuple(target)}")
        return tuple(total // rest if size == UNKNOWN else size for size in target)
    return tuple(target)


def matmul(a: Shape, b: Shape) -> Shape:
    """Multiply matrices by numpy's rule: batch dimensions broadcast, rank 1 is promoted and dropped again."""
    if a is None or b is None:
        return None
    if not a or not b:
        raise ShapeMismatchError("a scalar is no matrix")
    left, right = ((1, *a) if len(a) == 1 else a), ((*b, 1) if len(b) == 1 else b)
    _merge_size(left[-1], right[-2])
    batch = _broadcast_known(left[:-2], right[:-2])
    return (*batch, *(left[-2:-1] if len(a) > 1 else ()), *(right[-1:] if len(b) > 1 else ()))


def slide(size: int, window: int, *, stride: int = 1, padding: int = 0, dilation: int = 1, ceil: bool = False) -> int:
    """Count the positions of a window along one dimension.

    ``padding`` is the sum of both ends. ``ceil`` rounds a last partial window up; whether such a window may start
    in the padding is the framework's business.
    """
    if UNKNOWN in (size, window, padding):
        return UNKNOWN
    if stride < 1 or dilation < 1 or window < 1:
        raise ShapeMismatchError(f"window {window}, stride {stride} and dilation {dilation} have to be positive")
    span = size + padding - (dilation * (window - 1) + 1)
    if span < 0 and not ceil:
        raise ShapeMismatchError(f"a window of {window} does not fit {size} with padding {padding}")
    return (-(-span // stride) if ceil else span // stride) + 1


def slide_same(size: int, stride: int) -> int:
    """Count the positions of a window that is padded just so that every stride begins one: ceil(size / stride)."""
    if stride < 1:
        raise ShapeMismatchError(f"stride {stride} has to be positive")
    return UNKNOWN if size == UNKNOWN else -(-size // stride)


def unslide(size: int, window: int, *, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Return the least size over which a window slides to ``size`` positions: what a transposed convolution gives.

    ``padding`` is the sum of both ends, less what the framework adds behind (its "output padding" or "adjustment").
    """
    if UNKNOWN in (size, window):
        return UNKNOWN
    spread = (size - 1) * stride + dilation * (window - 1) + 1 - padding
    if spread < 0:
        raise ShapeMismatchError(f"a padding of {padding} leaves nothing of {size} windows of {window}")
    return spread
