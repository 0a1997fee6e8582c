"""Operators that arrange elements anew without computing: reshape, transpose, join, split, crop, repeat.

What does not belong here: selection by indices.
"""

from collections.abc import Sequence
from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import (
    UNKNOWN,
    Shape,
    ShapeMismatchError,
    add,
    concatenate,
    count,
    divide,
    merge,
    normalise_axis,
    reshape,
    subtract,
    transpose,
)


def _reshape(call: Call) -> None:
    data, codes = call.input(0), call.integers("shape")
    if not codes:
        # The form up to 0.8, where 0 stands for the size to work out.
        old = call.integers("target_shape")
        codes = tuple(UNKNOWN if size == 0 else size for size in old) if old else None
        if codes and call.flag("keep_highest"):
            codes = (0, *codes[1:])
    if not codes:
        return
    if data is None and call.assume and codes == (0, UNKNOWN):
        data = call.expect(0, call.output())
    backwards = call.flag("reverse")
    if backwards:
        data, codes = (None if data is None else data[::-1]), codes[::-1]
    result = decode(data, codes)
    call.give(result[::-1] if backwards and result is not None else result)


def decode(data: Shape, codes: Sequence[int]) -> Shape:
    """Return the shape that MXNet's special codes describe: 0, -1 and -2 to -4 as ``Reshape`` documents them."""
    result: list[int] = []
    source, at = 0, 0
    while at < len(codes):
        code = codes[at]
        if code == 0:
            result.append(_size(data, source))
            source += 1
        elif code == -1:
            result.append(UNKNOWN)
            source += 1
        elif code == -2:
            if data is None:
                return None
            result.extend(data[source:])
            source = len(data)
        elif code == -3:
            result.append(count((_size(data, source), _size(data, source + 1))))
            source += 2
        elif code == -4:
            result.extend(_halves(_size(data, source), codes[at + 1 : at + 3]))
            source += 1
            at += 2
        elif code > 0:
            result.append(code)
            source += 1
        else:
            raise ShapeMismatchError(f"{code} is no code of Reshape")
        at += 1
    copied = [position for position, size in enumerate(result) if size == UNKNOWN]
    if UNKNOWN in codes and len(copied) == 1:
        return reshape(data, result)
    return _quotient(data, codes, result)


def _size(data: Shape, at: int) -> int:
    if data is None:
        return UNKNOWN
    if at >= len(data):
        raise ShapeMismatchError(f"a code of Reshape reaches beyond {data}")
    return data[at]


def _halves(size: int, parts: Sequence[int]) -> tuple[int, int]:
    if len(parts) != 2:
        raise ShapeMismatchError("code -4 of Reshape lacks its two sizes")
    first, second = (part if part > 0 else UNKNOWN for part in parts)
    if size != UNKNOWN:
        if first == UNKNOWN and second != UNKNOWN:
            first = size // second
        elif second == UNKNOWN and first != UNKNOWN:
            second = size // first
    return first, second


def _quotient(data: Shape, codes: Sequence[int], result: list[int]) -> Shape:
    """Work out the -1 where a leading unknown size is copied by 0: it stands on both sides."""
    if data is None or list(codes).count(-1) != 1 or -4 in codes or -3 in codes or -2 in codes:
        return tuple(result)
    copied = {at for at, code in enumerate(codes) if code == 0}
    rest = [size for at, size in enumerate(data) if at not in copied]
    chosen = codes.index(-1)
    others = [size for at, size in enumerate(result) if at not in copied and at != chosen]
    total, known = count(rest), count(others)
    if total != UNKNOWN and known > 0 and total % known == 0:
        result[chosen] = total // known
    return tuple(result)


def _reshape_numpy(call: Call) -> None:
    target = call.integers("newshape") or call.integers("shape")
    if target:
        call.give(reshape(call.input(0), target) if min(target) >= UNKNOWN else None)


def _flatten(call: Call) -> None:
    data, output = call.input(0), call.output()
    if data is None and call.assume:
        data = call.expect(0, output)
    if data is None:
        call.give((UNKNOWN, UNKNOWN))
        return
    batch = data[0] if data else UNKNOWN
    output = call.give((batch, count(data[1:])))
    if output and data:
        width = output[1] if len(data) == 2 else UNKNOWN
        call.expect(0, (output[0], *((width,) if len(data) == 2 else (UNKNOWN,) * (len(data) - 1))))


def _transpose(call: Call) -> None:
    axes = call.integers("axes") or None
    data, output = call.input(0), call.output()
    if axes is not None:
        rank = len(axes)
        data = call.expect(0, (UNKNOWN,) * rank) if data is None else data
    result = call.give(transpose(data, axes))
    if result is None:
        return
    inverse = None
    if axes is not None:
        places = [normalise_axis(axis, len(axes)) for axis in axes]
        inverse = [places.index(axis) for axis in range(len(axes))]
    call.expect(0, transpose(result if output is None else merge(result, output), inverse))


def _swap(call: Call) -> None:
    first, second = call.integer("dim1", 0), call.integer("dim2", 0)
    for shape, state in ((call.input(0), call.give), (call.output(), lambda found: call.expect(0, found))):
        if shape is not None:
            sizes = [*shape]
            one, other = normalise_axis(first, len(sizes)), normalise_axis(second, len(sizes))
            sizes[one], sizes[other] = sizes[other], sizes[one]
            state(tuple(sizes))


def _expand(call: Call) -> None:
    axis = call.integer("axis", 0)
    data, output = call.input(0), call.output()
    if data is not None:
        at = normalise_axis(axis, len(data) + 1)
        output = call.give((*data[:at], 1, *data[at:]))
    if output:
        at = normalise_axis(axis, len(output))
        call.expect(0, (*output[:at], *output[at + 1 :]))


def _squeeze(call: Call) -> None:
    data, axes = call.input(0), call.integers("axis")
    if data is None or (axes is None and UNKNOWN in data):
        return
    gone = {normalise_axis(axis, len(data)) for axis in axes} if axes else set()
    if axes is None:
        gone = {at for at, size in enumerate(data) if size == 1}
    kept = tuple(size for at, size in enumerate(data) if at not in gone)
    call.give(kept if kept or call.scalars else (1,))


def _concatenate(call: Call) -> None:
    axis = call.integer("dim", call.integer("axis", 1))
    call.give(concatenate(call.inputs, axis))
    known = next((shape for shape in (*call.inputs, call.output()) if shape is not None), None)
    if known is None:
        return
    axis = normalise_axis(axis, len(known))
    rest: Shape = None
    for shape in (*call.inputs, call.output()):
        if shape is not None:
            rest = merge(rest, (*shape[:axis], UNKNOWN, *shape[axis + 1 :]))
    for index in range(len(call.inputs)):
        call.expect(index, rest)


def _split(call: Call) -> None:
    """``SliceChannel``: equal parts, whose axis of size 1 may be dropped."""
    parts, axis = max(call.integer("num_outputs", 1), 1), call.integer("axis", 1)
    squeeze = call.flag("squeeze_axis")
    _backwards_split(call, parts, axis, squeeze=squeeze)
    data = call.input(0)
    if data is None:
        return
    axis = normalise_axis(axis, len(data))
    if data[axis] != UNKNOWN and data[axis] % parts:
        raise ShapeMismatchError(f"{data[axis]} does not split into {parts}")
    size = () if squeeze else (divide(data[axis], parts),)
    for index in call.outputs:
        call.give((*data[:axis], *size, *data[axis + 1 :]), index)


def _backwards_split(call: Call, parts: int, axis: int, *, squeeze: bool) -> None:
    whole: Shape = None
    for shape in call.outputs.values():
        if shape is not None:
            whole = merge(whole, shape)
    if whole is None:
        return
    if squeeze:
        at = normalise_axis(axis, len(whole) + 1)
        call.expect(0, (*whole[:at], parts, *whole[at:]))
    elif whole:
        at = normalise_axis(axis, len(whole))
        call.expect(0, (*whole[:at], count((whole[at], parts)), *whole[at + 1 :]))


def _split_at(call: Call) -> None:
    """``split_v2``: parts at given positions, or so many equal ones."""
    data, axis = call.input(0), call.integer("axis", 0)
    if data is None:
        return
    axis = normalise_axis(axis, len(data))
    size = data[axis]
    sections = call.integer("sections", 0)
    starts = call.integers("indices") or (0,)
    for index in call.outputs:
        if sections > 0:
            part = divide(size, sections)
        elif index >= len(starts):
            continue
        else:
            end = starts[index + 1] if index + 1 < len(starts) else size
            part = UNKNOWN if end == UNKNOWN else end - starts[index]
        sizes = () if call.flag("squeeze_axis") else (part,)
        call.give((*data[:axis], *sizes, *data[axis + 1 :]), index)


def _span(size: int, begin: int | None, end: int | None, step: int | None) -> int:
    """Count what a slice of one axis holds, by Python's rules."""
    step = step or 1
    if size == UNKNOWN:
        plain = step > 0 and begin is not None and end is not None and 0 <= begin <= end
        # An axis that is too short would be refused, so the bounds are taken at their word.
        return -(-(end - begin) // step) if plain and begin is not None and end is not None else UNKNOWN
    return len(range(*slice(begin, end, step).indices(size)))


def _slice(call: Call) -> None:
    data = call.input(0)
    if data is None:
        return
    begins, ends = call.optionals("begin") or (), call.optionals("end") or ()
    steps = call.optionals("step") or ()
    if not max(len(begins), len(ends)) <= len(data):
        raise ShapeMismatchError(f"more bounds than {data} has axes")
    result = [*data]
    for axis, (begin, end) in enumerate(zip(begins, ends, strict=False)):
        step = steps[axis] if axis < len(steps) else None
        if begin is not None or end is not None or step is not None:
            result[axis] = _span(data[axis], begin, end, step)
    call.give(tuple(result))


def _slice_axis(call: Call) -> None:
    data, output, axis = call.input(0), call.output(), call.integer("axis", 0)
    known = data if data is not None else output
    if known is None:
        return
    at = normalise_axis(axis, len(known))
    if output is not None:
        data = call.expect(0, (*output[:at], UNKNOWN, *output[at + 1 :]))
    if data is not None:
        begin, end = call.optional("begin") or 0, call.optional("end")
        size = data[at] if begin == 0 and end is None else _span(data[at], begin, end, None)
        call.give((*data[:at], size, *data[at + 1 :]))


def _slice_like(call: Call) -> None:
    data, like = call.input(0), call.input(1)
    if data is None:
        return
    axes = call.integers("axes")
    chosen = {normalise_axis(axis, len(data)) for axis in axes} if axes else set(range(len(data)))
    if like is None:
        call.give(tuple(UNKNOWN if at in chosen else size for at, size in enumerate(data)))
        return
    call.give(tuple(like[at] if at in chosen and at < len(like) else size for at, size in enumerate(data)))


def _crop(call: Call) -> None:
    """``Crop``: the height and width of a second input, or of an attribute."""
    data = call.expect(0, (UNKNOWN,) * 4)
    if data is None:
        return
    if len(call.inputs) > 1:
        like = call.expect(1, (UNKNOWN,) * 4) or (UNKNOWN,) * 4
        call.give((*data[:2], *like[2:]))
        return
    sizes = call.integers("h_w")
    if sizes and len(sizes) == 2 and any(sizes):
        call.give((*data[:2], *sizes))


def _stack(call: Call) -> None:
    rest: Shape = None
    axis = call.integer("axis", 0)
    for shape in call.inputs:
        rest = merge(rest, shape)
    output = call.output()
    if output:
        at = normalise_axis(axis, len(output))
        rest = merge(rest, (*output[:at], *output[at + 1 :]))
    if rest is None:
        return
    for index in range(len(call.inputs)):
        call.expect(index, rest)
    at = normalise_axis(axis, len(rest) + 1)
    call.give((*rest[:at], len(call.inputs), *rest[at:]))


def _tile(call: Call) -> None:
    data, times = call.input(0), call.integers("reps") or ()
    if data is None:
        return
    rank = max(len(data), len(times))
    sizes, times = (1,) * (rank - len(data)) + data, (1,) * (rank - len(times)) + times
    call.give(tuple(count((size, factor)) for size, factor in zip(sizes, times, strict=True)))


def _repeat(call: Call) -> None:
    data, times, axis = call.input(0), call.integer("repeats", 1), call.optional("axis")
    if data is None:
        return
    if axis is None:
        call.give((count((*data, times)),))
        return
    at = normalise_axis(axis, len(data))
    call.give((*data[:at], count((data[at], times)), *data[at + 1 :]))


def _pad(call: Call) -> None:
    widths = call.integers("pad_width") or ()
    added = [sum(widths[at : at + 2]) for at in range(0, len(widths), 2)]
    data, output = call.expect(0, (UNKNOWN,) * len(added)), call.output()
    if output is not None:
        sizes = zip(output, added, strict=True)
        data = call.expect(0, tuple(subtract(size, width) for size, width in sizes))
    call.give(tuple(add(size, width) for size, width in zip(data or (), added, strict=True)))


def _broadcast_to(call: Call) -> None:
    target, data = call.integers("shape") or (), call.input(0)
    if data is not None and len(data) == len(target):
        call.give(tuple(size or data[at] for at, size in enumerate(target)))
    elif target:
        call.give(tuple(size or UNKNOWN for size in target))


def _broadcast_axis(call: Call) -> None:
    data = call.input(0)
    axes, sizes = call.integers("axis") or (), call.integers("size") or ()
    if data is None:
        return
    result = [*data]
    for axis, size in zip(axes, sizes, strict=True):
        result[normalise_axis(axis, len(data))] = size
    call.give(tuple(result))


def _broadcast_like(call: Call) -> None:
    data, like = call.input(0), call.input(1)
    left, right = call.integers("lhs_axes"), call.integers("rhs_axes")
    if left is None or right is None:
        call.give(like)
    elif data is not None and like is not None:
        result = [*data]
        for axis, other in zip(left, right, strict=True):
            result[normalise_axis(axis, len(data))] = like[normalise_axis(other, len(like))]
        call.give(tuple(result))


def _reshape_like(call: Call) -> None:
    data, like = call.input(0), call.input(1)
    keys = ("lhs_begin", "lhs_end", "rhs_begin", "rhs_end")
    if all(call.optional(key) is None for key in keys):
        call.give(like)
    elif data is not None and like is not None:
        left, left_end, right, right_end = (call.optional(key) for key in keys)
        kept = slice(left, left_end).indices(len(data))
        call.give((*data[: kept[0]], *like[slice(right, right_end)], *data[kept[1] :]))


def _depth_to_space(call: Call) -> None:
    data, block = call.expect(0, (UNKNOWN,) * 4), max(call.integer("block_size", 1), 1)
    if data:
        channels = divide(data[1], block**2)
        call.give((data[0], channels, count((data[2], block)), count((data[3], block))))


def _space_to_depth(call: Call) -> None:
    data, block = call.expect(0, (UNKNOWN,) * 4), max(call.integer("block_size", 1), 1)
    if data:
        spatial = (divide(size, block) for size in data[2:])
        call.give((data[0], count((data[1], block**2)), *spatial))


def _diagonal(call: Call) -> None:
    data, offset = call.input(0), call.integer("k", 0)
    if data is not None and len(data) == 1:
        size = add(data[0], abs(offset))
        call.give((size, size))


def _shape_array(call: Call) -> None:
    data = call.input(0)
    call.give((UNKNOWN if data is None else len(data),))


def _size_array(call: Call) -> None:
    call.give((1,))


def _move_axis(call: Call) -> None:
    data = call.input(0)
    sources, targets = call.integers("source") or (), call.integers("destination") or ()
    if data is None:
        return
    sources = tuple(normalise_axis(axis, len(data)) for axis in sources)
    targets = tuple(normalise_axis(axis, len(data)) for axis in targets)
    order = [axis for axis in range(len(data)) if axis not in sources]
    for target, source in sorted(zip(targets, sources, strict=True)):
        order.insert(target, source)
    call.give(transpose(data, order))


RULES: Final[dict[str, Rule]] = {
    "reshape": _reshape,
    "numpyreshape": _reshape_numpy,
    "flatten": _flatten,
    "batchflatten": _flatten,
    "transpose": _transpose,
    "swapaxis": _swap,
    "swapaxes": _swap,
    "moveaxis": _move_axis,
    "expanddims": _expand,
    "squeeze": _squeeze,
    "concat": _concatenate,
    "concatenate": _concatenate,
    "rnnparamconcat": _concatenate,
    "slicechannel": _split,
    "split": _split,
    "splitv2": _split_at,
    "arraysplit": _split_at,
    "slice": _slice,
    "sliceaxis": _slice_axis,
    "slicelike": _slice_like,
    "cropto": _crop,
    "stack": _stack,
    "tile": _tile,
    "repeat": _repeat,
    "pad": _pad,
    "broadcastto": _broadcast_to,
    "broadcastaxis": _broadcast_axis,
    "broadcastaxes": _broadcast_axis,
    "broadcastlike": _broadcast_like,
    "reshapelike": _reshape_like,
    "depthtospace": _depth_to_space,
    "spacetodepth": _space_to_depth,
    "diag": _diagonal,
    "shapearray": _shape_array,
    "sizearray": _size_array,
}
