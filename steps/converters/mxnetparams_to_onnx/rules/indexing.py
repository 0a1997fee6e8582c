"""Operators that select, place or order elements by positions.

MXNet keeps positions as numbers of any type and cuts off their fraction; most operators clip what lies outside or wrap
it around, so that no position is an error (``indexing_op.h``, ``ordering_op-inl.h``). What does not belong here: what
slides or joins whole arrays.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import (
    MAX_COMPUTED_ELEMENTS,
    Call,
    Results,
    Rule,
    ShapeNeededError,
    UncoveredError,
)
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN, normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Ends of open ranges.
_FAR: Final = 1 << 62


def positions(call: Call, index: int) -> str:
    """Return an input as int64, fractions cut off."""
    return call.as_type(call.input(index), call.dtype(index), "int64")


def length(call: Call, axis: int, index: int = 0) -> str:
    """Return the name of an int64 vector of one element: the size of an input's axis."""
    shape = call.shape(index)
    if shape is not None and shape[axis] != UNKNOWN:
        return call.integers_constant([shape[axis]])
    return call.size_of(call.input(index), axis)


def bounded(call: Call, found: str, size: str, mode: str) -> str:
    """Bring positions into a range of ``size``, a vector of one element: clip, wrap, or neither."""
    if mode == "wrap":
        return call.emit("Mod", [found, size])
    if mode == "clip":
        last = call.emit("Sub", [size, call.integers_constant([1])])
        return call.emit("Max", [call.emit("Min", [found, last]), call.integers_constant([0])])
    return found


def _take(call: Call) -> Results:
    axis = call.axis("axis", 0)
    found = bounded(call, positions(call, 1), length(call, axis), call.word("mode", "clip"))
    return call.finish("Gather", [call.input(), _as_rank(call, found, 1)], axis=axis)


def _as_rank(call: Call, found: str, index: int) -> str:
    """Undo what a bound of one element did to a scalar position."""
    shape = call.shape(index)
    return call.graph.reshape(found, []) if shape == () else found


def _pick(call: Call) -> Results:
    """``pick``: one element along an axis for each place of the others."""
    data, rank = call.input(), call.rank()
    keep = call.flag("keepdims")
    if call.word("axis", "-1" if "axis" not in call.attributes else "") == "":
        data, axis, rank = call.graph.reshape(data, [-1]), 0, 1
        size = call.emit("Size", [data])
        found = bounded(call, call.graph.reshape(positions(call, 1), [-1]), size, call.word("mode", "clip"))
        return call.finish("Gather", [data, found], axis=0)
    axis = call.axis("axis", -1)
    found = positions(call, 1)
    if call.rank(1) < rank:
        found = call.graph.unsqueeze(found, [axis])
    found = bounded(call, found, length(call, axis), call.word("mode", "clip"))
    if keep:
        return call.finish("GatherElements", [data, found], axis=axis)
    picked = call.emit("GatherElements", [data, found], axis=axis)
    return call.graph.squeeze(picked, [axis], **call.last)


def _batch_take(call: Call) -> Results:
    """``batch_take``: one element of each row."""
    found = bounded(call, call.graph.reshape(positions(call, 1), [-1, 1]), length(call, 1), "clip")
    picked = call.emit("GatherElements", [call.input(), found], axis=1)
    return call.finish("Reshape", [picked, call.emit("Shape", [call.input(1)])])


def _coordinates(call: Call, index: int) -> str:
    """Return positions that stand along the first dimension, one for each axis, along the last instead."""
    rank = call.rank(index)
    return call.graph.transpose(positions(call, index), [*range(1, rank), 0])


def _gather(call: Call) -> Results:
    """``gather_nd``; of how many coordinates a position consists decides what is left of the data."""
    if call.dims(1)[0] == UNKNOWN:
        raise ShapeNeededError(1)
    return call.finish("GatherND", [call.input(), _coordinates(call, 1)])


def _scatter(call: Call) -> Results:
    shape = call.integers("shape") or ()
    if min(shape, default=0) < 1:
        raise MalformedModelError(f"node {call.name!r} scatters into the shape {shape}")
    _limit(call, prod(shape))
    zeros = call.emit("Expand", [call.constant(0), call.integers_constant(shape)])
    return call.finish("ScatterND", [zeros, _coordinates(call, 1), call.input()])


def _limit(call: Call, count: int) -> None:
    if count > MAX_COMPUTED_ELEMENTS:
        raise LimitExceededError(f"node {call.name!r} asks for {count} elements")


def _scatter_into(call: Call) -> Results:
    """``_scatter_set_nd`` of (left, right, positions)."""
    return call.finish("ScatterND", [call.input(), _coordinates(call, 2), call.input(1)])


def _one_hot(call: Call) -> Results:
    """``one_hot``: positions outside have no mark, so it is a comparison; ONNX's OneHot counts from behind."""
    dtype = call.element_type("float32")
    depth = call.integer("depth", 0)
    if depth < 1:
        raise MalformedModelError(f"node {call.name!r} has a depth of {depth}")
    call.typed(dtype)
    each = call.computed(lambda: _counted(depth), "int64", (depth,), "classes")
    hit = call.emit("Equal", [call.graph.unsqueeze(positions(call, 0), [-1]), each])
    on, off = (call.constant(call.number(key, default), dtype) for key, default in (("on_value", 1), ("off_value", 0)))
    return call.finish("Where", [hit, on, off])


def _counted(number: int) -> "NDArray[Any]":
    import numpy as np

    return np.arange(number, dtype=np.int64)


def _ordered(call: Call, k: int | None, *, ascending: bool) -> tuple[str, str, str, int]:
    """Return the values and positions of the first ``k`` elements (None: all) along an axis, the data and the axis."""
    data, dtype = call.input(), call.dtype()
    if call.word("axis", "-1" if "axis" not in call.attributes else "") == "":
        data, axis = call.graph.reshape(data, [-1]), 0
        size = call.emit("Shape", [data])
    else:
        axis = call.axis("axis", -1)
        size = length(call, axis)
    count = size if k is None else call.integers_constant([k])
    # onnxruntime orders these types only.
    wide = dtype if dtype in ("float32", "float64", "int64", "int32") else "int32" if "int" in dtype else "float32"
    values, found = call.emit_several(
        "TopK", [call.as_type(data, dtype, wide), count], 2, axis=axis, largest=int(not ascending), sorted=1
    )
    return call.as_type(values, wide, dtype), found, data, axis


def _rank_first(call: Call) -> Results:
    """``topk``; of equal elements the first comes first, in ONNX as in MXNet."""
    k, kind = call.integer("k", 1), call.word("ret_typ", "indices")
    values, found, data, axis = _ordered(call, k if k > 0 else None, ascending=call.flag("is_ascend"))
    dtype = call.element_type("float32")
    if kind == "indices":
        call.typed(dtype)
        return call.graph.cast(found, dtype, **call.last)
    if kind == "value":
        return call.finish("Identity", [values])
    if kind == "mask":
        zeros, ones = (
            call.emit("Expand", [call.constant(number), call.emit("Shape", [shaped])])
            for number, shaped in ((0, data), (1, found))
        )
        mask = call.emit("ScatterElements", [zeros, found, ones], axis=axis)
        return call.finish("Reshape", [mask, call.emit("Shape", [call.input()])])
    if kind != "both":
        raise MalformedModelError(f"node {call.name!r} asks topk for {kind!r}")
    call.typed(dtype, 1)
    return (
        call.finish("Identity", [values]),
        call.graph.cast(found, dtype, **call.last_of([1])) if 1 in call.wanted else "",
    )


def _sort(call: Call) -> Results:
    values, _, _, _ = _ordered(call, None, ascending=call.flag("is_ascend", default=True))
    return call.finish("Identity", [values])


def _sort_positions(call: Call) -> Results:
    _, found, _, _ = _ordered(call, None, ascending=call.flag("is_ascend", default=True))
    # numpy's name has int64 where the attribute is absent, as the attribute is always written there.
    dtype = call.element_type("float32")
    call.typed(dtype)
    return call.graph.cast(found, dtype, **call.last)


def _mask(call: Call) -> Results:
    """``boolean_mask``: what stands where a vector is not zero."""
    chosen = call.as_type(call.input(1), call.dtype(1), "bool")
    return call.finish("Compress", [call.input(), chosen], axis=call.axis("axis", 0))


def _copy_rows(call: Call) -> Results:
    """``index_copy``: rows of the third input take the place of some of the first's."""
    rows = call.graph.unsqueeze(positions(call, 1), [-1])
    return call.finish("ScatterND", [call.input(), rows, call.input(2)])


def _index(call: Call) -> Results:
    """``index_array``: the coordinates of each element."""
    rank = call.rank()
    axes = call.integers("axes")
    chosen = range(rank) if axes is None else [normalise_axis(axis, rank) for axis in axes]
    shape = call.emit("Shape", [call.input()])
    call.typed("int64")
    parts = []
    for axis in chosen:
        steps = counted(call, length(call, axis))
        spread = call.graph.unsqueeze(steps, [each for each in range(rank) if each != axis])
        parts.append(call.graph.unsqueeze(call.emit("Expand", [spread, shape]), [-1]))
    return call.finish("Concat", parts, axis=-1)


def counted(call: Call, size: str) -> str:
    """Return 0, 1, ... below a size, which is a vector of one element."""
    bound = call.graph.squeeze(size, [0])
    return call.emit("Range", [call.integers_constant(0), bound, call.integers_constant(1)])


def ranges(call: Call) -> tuple[list[int], list[int], list[int], list[int]]:
    """Return starts, ends, axes and steps of ``begin``, ``end`` and ``step``, as ONNX's Slice has them."""
    begins, ends = call.optionals("begin"), call.optionals("end")
    steps = call.optionals("step") or ()
    if begins is None or ends is None or len(begins) != len(ends):
        raise MalformedModelError(f"node {call.name!r} slices from {begins} to {ends}")
    result: tuple[list[int], list[int], list[int], list[int]] = ([], [], [], [])
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        step = steps[axis] if axis < len(steps) else None
        step = 1 if step is None else step
        if step == 0:
            raise MalformedModelError(f"node {call.name!r} slices in steps of 0")
        if (begin, end, step) == (None, None, 1):
            continue
        start = (0 if step > 0 else _FAR) if begin is None else begin
        stop = (_FAR if step > 0 else -_FAR) if end is None else end
        for collected, value in zip(result, (start, stop, axis, step), strict=True):
            collected.append(value)
    return result


def _assign(call: Call) -> Results:
    """``_slice_assign``: the second input takes the place of a slice of the first."""
    places = _flat_places(call)
    return _replaced(call, places, call.graph.reshape(call.input(1), [-1]))


def _assign_number(call: Call) -> Results:
    places = _flat_places(call)
    number = call.emit("Expand", [call.constant(call.number("scalar", 0.0)), call.emit("Shape", [places])])
    return _replaced(call, places, number)


def _flat_places(call: Call) -> str:
    """Return where the elements of a slice stand, counted in C order."""
    starts, ends, axes, steps = ranges(call)
    data = call.input()
    everything = counted(call, call.graph.reshape(call.emit("Size", [data]), [1]))
    everything = call.emit("Reshape", [everything, call.emit("Shape", [data])])
    if axes:
        everything = call.graph.slice(everything, starts, ends, axes, steps)
    return call.graph.reshape(everything, [-1])


def _replaced(call: Call, places: str, values: str) -> Results:
    flat = call.emit("ScatterElements", [call.graph.reshape(call.input(), [-1]), places, values], axis=0)
    return call.finish("Reshape", [flat, call.emit("Shape", [call.input()])])


def _where_left(call: Call) -> Results:
    """``where(condition, number, array)``."""
    call.typed(call.dtype(1))
    condition = call.as_type(call.input(0), call.dtype(0), "bool")
    return call.finish("Where", [condition, call.constant(call.number("scalar", 0.0), call.dtype(1)), call.input(1)])


def _where_right(call: Call) -> Results:
    """``where(condition, array, number)``."""
    call.typed(call.dtype(1))
    condition = call.as_type(call.input(0), call.dtype(0), "bool")
    return call.finish("Where", [condition, call.input(1), call.constant(call.number("scalar", 0.0), call.dtype(1))])


def _where_numbers(call: Call) -> Results:
    call.typed("float32")
    condition = call.as_type(call.input(0), call.dtype(0), "bool")
    numbers = [call.constant(call.number(key, 0.0), "float32") for key in "xy"]
    return call.finish("Where", [condition, *numbers])


def _strides(call: Call) -> tuple[tuple[int, ...], list[int]]:
    shape = call.integers("shape")
    if not shape or min(shape[1:], default=1) < 1:
        raise MalformedModelError(f"node {call.name!r} counts in the shape {shape}")
    strides = [1]
    for size in reversed(shape[1:]):
        strides.append(strides[-1] * size)
    return shape, strides[::-1]


def _ravel(call: Call) -> Results:
    """``ravel_multi_index``: coordinates along the first dimension to one number each."""
    shape, strides = _strides(call)
    weights = call.integers_constant(strides)
    weights = call.graph.reshape(weights, [len(shape), *[1] * (call.rank() - 1)])
    products = call.emit("Mul", [positions(call, 0), weights])
    flat = call.graph.reduce("ReduceSum", products, [0], keepdims=False)
    return call.as_type(flat, "int64", call.dtype(), last=True)


def _unravel(call: Call) -> Results:
    """``unravel_index``: numbers to coordinates along a new first dimension; C's division, as in the original."""
    if call.rank() != 1:
        raise UncoveredError("only for a vector of numbers: MXNet loses some of any other")
    shape, strides = _strides(call)
    found, parts = positions(call, 0), []
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        part = call.emit("Div", [found, call.integers_constant(stride)]) if stride > 1 else found
        if axis > 0:
            part = call.emit("Mod", [part, call.integers_constant(size)], fmod=1)
        parts.append(call.graph.unsqueeze(part, [0]))
    return call.as_type(call.emit("Concat", parts, axis=0), "int64", call.dtype(), last=True)


def _diagonal(call: Call) -> Results:
    """``diag``: a vector onto a diagonal, or the diagonal of two axes, which becomes the last."""
    k, rank = call.integer("k", 0), call.rank()
    if rank == 1:
        return _matrix(call, k)
    return extracted_diagonal(call, k, call.axis("axis1", 0), call.axis("axis2", 1))


def _offset_diagonal(call: Call) -> Results:
    return extracted_diagonal(call, call.integer("offset", 0), call.axis("axis1", 0), call.axis("axis2", 1))


def extracted_diagonal(call: Call, k: int, first: int, second: int, *, last: bool = True) -> str:
    """Return the k-th diagonal of two axes of the first input along a new last axis."""
    dims = call.dims()
    if first == second:
        raise MalformedModelError(f"node {call.name!r} takes the diagonal of one axis")
    rows, columns = dims[first], dims[second]
    if UNKNOWN in (rows, columns):
        raise ShapeNeededError(0)
    start = (0, k) if k >= 0 else (-k, 0)
    count = min(rows - start[0], columns - start[1])
    if count < 1:
        raise MalformedModelError(f"node {call.name!r} takes the diagonal {k} of {rows} rows and {columns} columns")
    others = [axis for axis in range(len(dims)) if axis not in (first, second)]
    data = call.graph.transpose(call.input(), [*others, first, second])
    # The two axes come last and become one, in which the diagonal has a constant step.
    flat = call.graph.reshape(data, [*[0] * len(others), -1])
    begin, step = start[0] * columns + start[1], columns + 1
    end = begin + (count - 1) * step + 1
    names = call.last if last else {}
    return call.graph.slice(flat, [begin], [end], [len(others)], [step], **names)


def _matrix(call: Call, k: int) -> str:
    """Return a square matrix of zeros with the first input on its k-th diagonal."""
    (number,) = call.sizes()
    size = number + abs(k)
    _limit(call, size * size)
    begin = k if k > 0 else -k * size
    zeros = call.emit("Expand", [call.constant(0), call.integers_constant([size * size])])
    places = call.computed(lambda: _counted(number) * (size + 1) + begin, "int64", (number,), "places")
    flat = call.emit("ScatterElements", [zeros, places, call.input()], axis=0)
    return call.graph.reshape(flat, [size, size], **call.last)


def _trace(call: Call) -> Results:
    axes = call.axis("axis1", 0), call.axis("axis2", 1)
    diagonal = extracted_diagonal(call, call.integer("offset", 0), *axes, last=False)
    return call.graph.reduce("ReduceSum", diagonal, [-1], keepdims=False, **call.last)


def _lower(call: Call) -> Results:
    """``tril``: what lies on the k-th diagonal and below it."""
    below = below_diagonal(call, call.integer("k", 0))
    return call.finish("Where", [below, call.input(), call.constant(0)])


def below_diagonal(call: Call, k: int) -> str:
    """Return (rows, columns) of the last two dimensions, true on the k-th diagonal and below it."""
    rank = call.rank()
    if rank < 2:
        raise UncoveredError("only of matrices")
    rows, columns = (counted(call, length(call, axis)) for axis in (rank - 2, rank - 1))
    ends = call.emit("Add", [call.graph.unsqueeze(rows, [1]), call.integers_constant(k)])
    return call.emit("LessOrEqual", [columns, ends])


def _nonzero(call: Call) -> Results:
    call.typed("int64")
    found = call.emit("NonZero", [call.input()])
    return call.graph.transpose(found, [1, 0], **call.last)


def _assign_masked(call: Call) -> Results:
    """Put a number where a mask over the dimensions from ``start_axis`` on is set."""
    mask = _spread_mask(call)
    return call.finish("Where", [mask, call.constant(call.number("value", 0.0)), call.input()])


def _assign_masked_values(call: Call) -> Results:
    """Put values where a mask is set: one for all of them, or one after another."""
    values = call.shape(2)
    if values is not None and all(size == 1 for size in values):
        return call.finish("Where", [_spread_mask(call), call.input(2), call.input()])
    if call.integer("start_axis", 0) != 0:
        raise UncoveredError("several values only with start_axis=0")
    mask = call.as_type(call.input(1), call.dtype(1), "bool")
    places = call.graph.transpose(call.emit("NonZero", [mask]), [1, 0])
    return call.finish("ScatterND", [call.input(), places, call.input(2)])


def _spread_mask(call: Call) -> str:
    mask = call.as_type(call.input(1), call.dtype(1), "bool")
    behind = call.rank() - call.integer("start_axis", 0) - call.rank(1)
    if behind < 0:
        raise MalformedModelError(f"node {call.name!r} has a mask of more dimensions than its data")
    return call.graph.unsqueeze(mask, _last_axes(call.rank(1), behind)) if behind else mask


def _last_axes(rank: int, added: int) -> Sequence[int]:
    return range(rank, rank + added)


def _unique(call: Call) -> Results:
    """Return the elements once each, in order, and further results as ``numpy.unique`` does."""
    outputs = ["values", "return_index", "return_inverse", "return_counts"]
    axis = call.optional("axis")
    found = call.emit_several("Unique", [call.input()], 4, axis=axis, sorted=1)
    results = [call.finish("Identity", [found[0]])]
    for value, key in zip(found[1:], outputs[1:], strict=True):
        if call.flag(key):
            call.typed("int64", len(results))
            results.append(value)
    return results


RULES: Final[dict[str, Rule]] = {
    "take": _take,
    "pick": _pick,
    "chooseelement0index": _pick,
    "batchtake": _batch_take,
    "gathernd": _gather,
    "scatternd": _scatter,
    "scattersetnd": _scatter_into,
    "onehot": _one_hot,
    "topk": _rank_first,
    "sort": _sort,
    "argsort": _sort_positions,
    "booleanmask": _mask,
    "booleanmaskassignscalar": _assign_masked,
    "booleanmaskassigntensor": _assign_masked_values,
    "indexcopy": _copy_rows,
    "indexarray": _index,
    "sliceassign": _assign,
    "cropassign": _assign,
    "sliceassignscalar": _assign_number,
    "cropassignscalar": _assign_number,
    "wherelscalar": _where_left,
    "whererscalar": _where_right,
    "wherescalar2": _where_numbers,
    "ravelmultiindex": _ravel,
    "unravelindex": _unravel,
    "diag": _diagonal,
    "diagonal": _offset_diagonal,
    "trace": _trace,
    "tril": _lower,
    "nonzero": _nonzero,
    "unique": _unique,
}
