"""Operators that arrange the elements of one tensor anew: reshape, transpose, tile, repeat, flip, pad, broadcast.

Source: ``matrix_op*`` in MXNet's ``src/operator/tensor`` and ``np_matrix_op*`` in ``src/operator/numpy``, ``pad.cc``
and ``swapaxis-inl.h`` in ``src/operator``. What does not belong here: joining and cutting.
"""

from collections.abc import Sequence
from math import prod
from typing import Any, Final, NamedTuple

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.layout import transposed
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN, Shape, normalise_axis


class Extent(NamedTuple):
    """A size of a result: the product of some sizes of the data, divided by a number."""

    axes: tuple[int, ...]
    divisor: int = 1


#: More than any derivative that is taken of a signal.
MAX_DIFFERENCES: Final = 16

#: What is left when all other sizes are known.
REST: Final = Extent(())

#: A size of a result, known or in terms of the data's.
Part = int | Extent


def reshape_to(call: Call, data: str, parts: Sequence[Part], shape: Shape, **names: Any) -> str:
    """Reshape ``data`` of ``shape``; sizes are read when the model runs only where 0 and -1 do not say it all."""
    entries = [_settled(part, shape) for part in parts]
    kept = [at for at, part in enumerate(entries) if part == Extent((at,))]
    open_places = [at for at, part in enumerate(entries) if isinstance(part, Extent) and at not in kept]
    rest = [at for at in open_places if entries[at] == REST] or open_places[:1]
    target: list[int | str] = []
    for at, part in enumerate(entries):
        if isinstance(part, int):
            target.append(part)
        elif at in kept:
            target.append(0)
        elif at in rest:
            target.append(-1)
        else:
            target.append(_measured(call, data, part))
    empty = any(part == 0 for part in entries)
    return call.graph.reshape(data, _vector(call, target), allowzero=empty and not kept, **names)


def _vector(call: Call, target: Sequence[int | str]) -> Sequence[int] | str:
    numbers = [part for part in target if isinstance(part, int)]
    return numbers if len(numbers) == len(target) else call.dynamic_shape(target)


def _settled(part: Part, shape: Shape) -> Part:
    """Work out a size of which everything is known."""
    if isinstance(part, int) or part == REST or shape is None or any(shape[axis] == UNKNOWN for axis in part.axes):
        return part
    return prod(shape[axis] for axis in part.axes) // part.divisor


def _measured(call: Call, data: str, part: Extent) -> str:
    """Return an int64 vector of one size, computed when the model runs."""
    sizes = call.emit("Gather", [call.emit("Shape", [data]), call.integers_constant(list(part.axes))], axis=0)
    if len(part.axes) > 1:
        sizes = call.emit("ReduceProd", [sizes], keepdims=1)
    return sizes if part.divisor == 1 else call.emit("Div", [sizes, call.integers_constant([part.divisor])])


def _reshape(call: Call) -> Results:
    codes = call.integers("shape")
    if not codes:
        codes = _old_codes(call)
    if call.flag("reverse"):
        rank = call.rank()
        parts = _decoded(codes[::-1], (call.dims())[::-1])[::-1]
        parts = [
            part if isinstance(part, int) else part._replace(axes=tuple(rank - 1 - axis for axis in part.axes))
            for part in parts
        ]
    else:
        parts = _decoded(codes, call.shape())
    return _reshaped(call, parts)


def _old_codes(call: Call) -> tuple[int, ...]:
    """Return the codes for ``target_shape`` of 0.8 and before, in which 0 is the size to work out."""
    old = call.integers("target_shape")
    if not old:
        raise MalformedModelError(f"node {call.name!r} reshapes without a shape")
    codes = tuple(-1 if size == 0 else size for size in old)
    return (0, *codes[1:]) if call.flag("keep_highest") else codes


def _reshaped(call: Call, parts: Sequence[Part]) -> Results:
    """Make the result; of a stored array another stored array."""
    weight = call.weight(0)
    if weight is not None and (shape := _fixed(parts, weight.shape)) is not None:
        return call.store(weight.reshape(shape))
    return reshape_to(call, call.input(), _informed(parts, call.result()), call.shape(), **call.last)


def _informed(parts: Sequence[Part], result: Shape) -> Sequence[Part]:
    """Fill in sizes that follow from what is done with the result, but for those that 0 and -1 say as well."""
    if result is None or len(result) != len(parts):
        return parts
    unclear = [at for at, part in enumerate(parts) if isinstance(part, Extent) and part != Extent((at,))]
    if len(unclear) < 2:
        return parts
    return [result[at] if at in unclear and result[at] > 0 else part for at, part in enumerate(parts)]


def _fixed(parts: Sequence[Part], shape: tuple[int, ...]) -> tuple[int, ...] | None:
    entries = [_settled(part, shape) for part in parts]
    known = prod(part for part in entries if isinstance(part, int))
    if entries.count(REST) > 1 or known == 0:
        return None
    return tuple(part if isinstance(part, int) else prod(shape) // known for part in entries)


def _decoded(codes: Sequence[int], shape: Shape) -> list[Part]:
    """Return the sizes that MXNet's codes 0 and -1 to -4 stand for, as the documentation of ``Reshape`` has them."""
    parts: list[Part] = []
    source, at = 0, 0
    while at < len(codes):
        code = codes[at]
        if code > 0:
            parts.append(code)
        elif code == 0:
            parts.append(Extent((source,)))
        elif code == -1:
            parts.append(REST)
        elif code == -2:
            if shape is None:
                raise ShapeNeededError(0)
            parts += [Extent((axis,)) for axis in range(source, len(shape))]
            source = len(shape)
        elif code == -3:
            parts.append(Extent((source, source + 1)))
            source += 1
        elif code == -4:
            parts += _halves(codes[at + 1 : at + 3], source)
            at += 2
        else:
            raise MalformedModelError(f"{code} is no code of Reshape")
        source += code != -2
        at += 1
    return parts


def _halves(sizes: Sequence[int], source: int) -> list[Part]:
    """Split a size in two, one of which may be -1."""
    if len(sizes) != 2:
        raise MalformedModelError("code -4 of Reshape lacks its two sizes")
    first, second = sizes
    if first > 0 and second > 0:
        return [first, second]
    if first > 0:
        return [first, Extent((source,), first)]
    return [Extent((source,), second), second]


def _reshape_numpy(call: Call) -> Results:
    codes = call.integers("newshape")
    codes = call.integers("shape") if codes is None else codes
    if codes is None or min(codes, default=0) < -1:
        raise UncoveredError("only for a shape of sizes and one -1")
    return _reshaped(call, [REST if code == -1 else code for code in codes])


def _reshape_extended(call: Call) -> Results:
    """``npx.reshape``: -1 infers, -2 copies, -3 drops a 1, -4 copies the rest, -5 joins two, -6 splits one."""
    codes, rank = call.integers("newshape") or (), call.rank()
    if call.flag("reverse"):
        raise UncoveredError("only for reverse=False")
    parts: list[Part] = []
    source, at = 0, 0
    while at < len(codes):
        code = codes[at]
        if code == -4:
            parts += [Extent((axis,)) for axis in range(source, rank)]
            source = rank
        elif code == -5:
            parts.append(Extent((source, source + 1)))
            source += 2
        elif code == -6:
            parts += _halves(codes[at + 1 : at + 3], source)
            source += 1
            at += 2
        else:
            parts += _plain_code(code, source)
            source += 1
        at += 1
    return _reshaped(call, parts)


def _plain_code(code: int, source: int) -> list[Part]:
    if code >= 0:
        return [code]
    if code == -3:
        return []
    return [REST if code == -1 else Extent((source,))]


def _flatten(call: Call) -> Results:
    if call.shape() is not None and call.rank() == 2:
        return call.input()
    return call.finish("Flatten", [call.input()], axis=1)


def _reshape_like(call: Call) -> Results:
    keys = ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")
    bounds = [call.optional(key) for key in keys]
    like = call.shape(1)
    if all(bound is None for bound in bounds):
        if like is not None and like.count(UNKNOWN) == 0:
            return call.graph.reshape(call.input(), like, **call.last)
        return call.finish("Reshape", [call.input(), call.emit("Shape", [call.input(1)])])
    rank, other = call.rank(0), call.rank(1)
    left = slice(bounds[0], bounds[1]).indices(rank)
    right = slice(bounds[2], bounds[3]).indices(other)
    shapes = [call.emit("Shape", [call.input(index)]) for index in (0, 1)]
    parts = [
        call.graph.slice(shapes[0], [0], [left[0]], [0]),
        call.graph.slice(shapes[1], [right[0]], [right[1]], [0]),
        call.graph.slice(shapes[0], [left[1]], [rank], [0]),
    ]
    return call.finish("Reshape", [call.input(), call.emit("Concat", parts, axis=0)])


def _transpose(call: Call) -> Results:
    axes = call.integers("axes")
    if not axes:
        axes = tuple(reversed(range(call.rank())))
    axes = tuple(normalise_axis(axis, len(axes)) for axis in axes)
    return _permuted(call, axes)


def _permuted(call: Call, order: tuple[int, ...]) -> Results:
    weight = call.weight(0)
    if weight is not None:
        return call.store(transposed(weight, order))
    return call.graph.transpose(call.input(), order, **call.last)


def _swap(call: Call) -> Results:
    order = list(range(call.rank()))
    first, second = call.axis("dim1", 0), call.axis("dim2", 0)
    order[first], order[second] = order[second], order[first]
    return _permuted(call, tuple(order))


def _move(call: Call) -> Results:
    rank = call.rank()
    sources = [normalise_axis(axis, rank) for axis in call.integers("source") or ()]
    targets = [normalise_axis(axis, rank) for axis in call.integers("destination") or ()]
    order = [axis for axis in range(rank) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    return _permuted(call, tuple(order))


def _roll_axis(call: Call) -> Results:
    """``rollaxis``: move an axis before that at ``start``."""
    rank = call.rank()
    axis, start = call.axis("axis", 0), call.integer("start", 0)
    start = start + rank if start < 0 else start
    order = [each for each in range(rank) if each != axis]
    order.insert(start - (axis < start), axis)
    return _permuted(call, tuple(order))


def _expand(call: Call) -> Results:
    axis = call.integer("axis", 0)
    weight = call.weight(0)
    if weight is not None:
        at = normalise_axis(axis, len(weight.shape) + 1)
        return call.store(weight.reshape((*weight.shape[:at], 1, *weight.shape[at:])))
    return call.graph.unsqueeze(call.input(), [axis], **call.last)


def _squeeze(call: Call) -> Results:
    axes = call.integers("axis")
    if axes is None:
        if call.shape() is None or UNKNOWN in call.dims():
            # A size of 1 that is not known to be one would stay by MXNet's rules as well as go.
            raise ShapeNeededError(0)
        axes = tuple(at for at, size in enumerate(call.dims()) if size == 1)
    if call.shape() is not None and len(set(axes)) == call.rank() and not call.scalars:
        return call.graph.reshape(call.input(), [1], **call.last)
    if not axes:
        return call.input()
    return call.graph.squeeze(call.input(), axes, **call.last)


def _tile(call: Call) -> Results:
    times, rank = call.integers("reps") or (), call.rank()
    data = call.input()
    if len(times) > rank:
        data = call.graph.unsqueeze(data, list(range(len(times) - rank)))
    counts = [*[1] * (rank - len(times)), *times]
    return call.finish("Tile", [data, call.integers_constant(counts)])


def _repeat(call: Call) -> Results:
    """Each element several times in a row."""
    times, axis = call.integer("repeats", 1), call.optional("axis")
    data = call.input()
    if axis is None:
        tall = call.emit("Tile", [call.graph.reshape(data, [-1, 1]), call.integers_constant([1, times])])
        return call.graph.reshape(tall, [-1], **call.last)
    rank = call.rank()
    axis = normalise_axis(axis, rank)
    factors = [times if at == axis else 1 for at in range(rank)]
    counts = [*factors[:axis], 1, times, *factors[axis + 1 :]]
    spread = call.emit("Tile", [call.graph.unsqueeze(data, [axis + 1]), call.integers_constant(counts)])
    shape = call.dims()
    if shape[axis] != UNKNOWN and shape.count(UNKNOWN) < 2:
        sizes = [size * factor if size != UNKNOWN else -1 for size, factor in zip(shape, factors, strict=True)]
        return call.graph.reshape(spread, sizes, **call.last)
    wanted = call.emit("Mul", [call.emit("Shape", [data]), call.integers_constant(factors)])
    return call.graph.reshape(spread, wanted, **call.last)


def _flip(call: Call) -> Results:
    axes = call.integers("axis")
    if axes is None:
        axes = tuple(range(call.rank()))
    count = len(axes)
    return call.graph.slice(call.input(), [-1] * count, [-(1 << 62)] * count, axes, [-1] * count, **call.last)


def _roll(call: Call) -> Results:
    """``np.roll``: what leaves an axis at its end comes back at its front."""
    shifts, axes, data = call.integers("shift") or (0,), call.integers("axis"), call.input()
    if axes is None:
        size = prod(call.sizes())
        flat = _rolled(call, call.graph.reshape(data, [-1]), sum(shifts), 0, size)
        return call.graph.reshape(flat, call.sizes(), **call.last)
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    sizes = call.sizes()
    for shift, axis in zip(shifts, axes, strict=True):
        at = normalise_axis(axis, len(sizes))
        data = _rolled(call, data, shift, at, sizes[at])
    return data


def _rolled(call: Call, data: str, shift: int, axis: int, size: int) -> str:
    shift = shift % size if size else 0
    if shift == 0:
        return data
    head, tail = call.graph.split(data, [size - shift, shift], axis)
    return call.graph.concat([tail, head], axis)


def _turn(call: Call) -> Results:
    """``np.rot90``: quarter turns in the plane of two axes."""
    turns, rank = call.integer("k", 1) % 4, call.rank()
    first, second = (normalise_axis(axis, rank) for axis in call.integers("axes") or (0, 1))
    data = call.input()
    if turns in (1, 2):
        data = _mirrored(call, data, second)
    if turns == 2:
        data = _mirrored(call, data, first)
    if turns in (0, 2):
        return data
    order = list(range(rank))
    order[first], order[second] = second, first
    data = call.graph.transpose(data, order)
    return _mirrored(call, data, second) if turns == 3 else data


def _mirrored(call: Call, data: str, axis: int) -> str:
    return call.graph.slice(data, [-1], [-(1 << 62)], [axis], [-1])


def _difference(call: Call) -> Results:
    """``np.diff``: each element less the one before, some times over."""
    times, axis, data = call.integer("n", 1), call.axis("axis", -1), call.input()
    if not 0 <= times <= MAX_DIFFERENCES:
        raise UncoveredError(f"only up to {MAX_DIFFERENCES} differences")
    for _ in range(times):
        later = call.graph.slice(data, [1], [1 << 62], [axis])
        data = call.emit("Sub", [later, call.graph.slice(data, [0], [-1], [axis])])
    return data


def _pad(call: Call) -> Results:
    """``pad_width`` has pairs of begin and end; edge and reflection are ONNX's own."""
    widths, mode = call.integers("pad_width") or (), call.word("mode", "constant")
    if mode not in ("constant", "edge", "reflect") or len(widths) % 2:
        raise MalformedModelError(f"node {call.name!r} pads {widths} by mode {mode[:20]!r}")
    inputs = [call.input(), call.integers_constant([*widths[::2], *widths[1::2]])]
    if mode == "constant":
        inputs.append(call.constant(call.number("constant_value", 0.0)))
    return call.finish("Pad", inputs, mode=mode)


def _broadcast_to(call: Call) -> Results:
    """Stretch to a shape, in which a size of 0 keeps the data's."""
    sizes = call.integers("shape") or ()
    if call.operator.startswith("_np"):
        return call.finish("Expand", [call.input(), call.integers_constant(sizes)])
    # ONNX's Expand keeps a size where 1 is asked for.
    return call.finish("Expand", [call.input(), call.integers_constant([size or 1 for size in sizes])])


def _broadcast_axis(call: Call) -> Results:
    rank = call.rank()
    sizes = [1] * rank
    for axis, size in zip(call.integers("axis") or (), call.integers("size") or (), strict=True):
        sizes[normalise_axis(axis, rank)] = size
    return call.finish("Expand", [call.input(), call.integers_constant(sizes)])


def _broadcast_like(call: Call) -> Results:
    left, right = call.integers("lhs_axes"), call.integers("rhs_axes")
    shape = call.emit("Shape", [call.input(1)])
    if left is not None and right is not None:
        rank, other = call.rank(0), call.rank(1)
        parts: list[int | str] = [1] * rank
        for axis, source in zip(left, right, strict=True):
            wanted = call.integers_constant([normalise_axis(source, other)])
            parts[normalise_axis(axis, rank)] = call.emit("Gather", [shape, wanted], axis=0)
        shape = call.dynamic_shape(parts)
    return call.finish("Expand", [call.input(), shape])


def _depth_to_space(call: Call) -> Results:
    return call.finish("DepthToSpace", [call.input()], blocksize=call.integer("block_size", 1), mode="DCR")


def _space_to_depth(call: Call) -> Results:
    return call.finish("SpaceToDepth", [call.input()], blocksize=call.integer("block_size", 1))


def _shape_array(call: Call) -> Results:
    call.typed("int64")
    return call.finish("Shape", [call.input()])


def _size_array(call: Call) -> Results:
    call.typed("int64")
    return call.graph.reshape(call.emit("Size", [call.input()]), [1], **call.last)


RULES: Final[dict[str, Rule]] = {
    "reshape": _reshape,
    "numpyreshape": _reshape_numpy,
    "extendedreshape": _reshape_extended,
    "reshapelike": _reshape_like,
    **dict.fromkeys(("flatten", "batchflatten"), _flatten),
    "transpose": _transpose,
    **dict.fromkeys(("swapaxis", "swapaxes"), _swap),
    "moveaxis": _move,
    "rollaxis": _roll_axis,
    "expanddims": _expand,
    "squeeze": _squeeze,
    "tile": _tile,
    "repeat": _repeat,
    **dict.fromkeys(("flip", "reverse"), _flip),
    "roll": _roll,
    "rot90": _turn,
    "diff": _difference,
    "pad": _pad,
    "broadcastto": _broadcast_to,
    **dict.fromkeys(("broadcastaxis", "broadcastaxes"), _broadcast_axis),
    "broadcastlike": _broadcast_like,
    "depthtospace": _depth_to_space,
    "spacetodepth": _space_to_depth,
    "shapearray": _shape_array,
    "sizearray": _size_array,
}
