"""Joining tensors and cutting them: concatenate, stack, split, slice, crop.

Source: ``nn/concat.cc``, ``slice_channel-inl.h`` and ``crop-inl.h`` in MXNet's ``src/operator``, ``matrix_op*`` in
``src/operator/tensor``. What does not belong here: selection by the values of another tensor.
"""

from collections.abc import Sequence
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError
from klever.steps.converters.mxnetparams_to_onnx.rules.arithmetic import promoted
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN, normalise_axis

#: Beyond the end of every axis.
_END: Final = (1 << 63) - 1


def _aligned(call: Call) -> list[str]:
    """Return all inputs in the widest of their types."""
    dtype = call.dtype(0)
    for index in range(1, len(call)):
        dtype = promoted(dtype, call.dtype(index))
    call.typed(dtype)
    return [call.as_type(call.input(index), call.dtype(index), dtype) for index in range(len(call))]


def _concatenate(call: Call) -> Results:
    axis = call.integer("dim", call.integer("axis", 1))
    weights = [call.weight(index) for index in range(len(call))]
    stored = [weight for weight in weights if weight is not None]
    if axis == 0 and stored and len(stored) == len(weights) and len({weight.dtype for weight in stored}) == 1:
        return call.store(stored[0].join(stored[1:]))
    names = _aligned(call)
    return names[0] if len(names) == 1 else call.finish("Concat", names, axis=axis)


def _concatenate_numpy(call: Call) -> Results:
    """Numpy's default axis is 0, and None joins flat tensors."""
    names = _aligned(call)
    if call.attributes.get("axis", "0") == "None":
        names = [call.graph.reshape(name, [-1]) for name in names]
    return call.finish("Concat", names, axis=call.integer("axis", call.integer("dim", 0)))


def _stack(call: Call) -> Results:
    axis = call.integer("axis", 0)
    raised = [call.graph.unsqueeze(name, [axis]) for name in _aligned(call)]
    return call.finish("Concat", raised, axis=axis)


def _raised(call: Call, index: int, least: int) -> str:
    """Return an input with at least ``least`` dimensions, where numpy's ``atleast_*`` puts the new ones."""
    name, rank = call.input(index), call.rank(index)
    if rank >= least:
        return name
    places = {(1, 3): [0, 2], (2, 3): [2]}.get((rank, least), list(range(least - rank)))
    return call.graph.unsqueeze(name, places)


def _raise(least: int) -> Rule:
    """``atleast_1d`` and the like, of several tensors at once."""

    def rule(call: Call) -> Results:
        for index in range(len(call)):
            call.typed(call.dtype(index), index)
        return [_raised(call, index, least) for index in range(len(call))]

    return rule


def _stack_rows(least: int, axis: int) -> Rule:
    """``vstack``, ``hstack`` and ``dstack``: raise all to a rank and join them."""

    def rule(call: Call) -> Results:
        # Vectors lie one behind another in hstack.
        along = 0 if least == 1 and call.rank() <= 1 else axis
        return call.finish("Concat", [_raised(call, index, least) for index in range(len(call))], axis=along)

    return rule


def _stack_columns(call: Call) -> Results:
    columns = [
        call.graph.unsqueeze(call.input(index), [1]) if call.rank(index) == 1 else call.input(index)
        for index in range(len(call))
    ]
    return call.finish("Concat", columns, axis=1)


def _split(call: Call) -> Results:
    """``SliceChannel``: equal parts, whose axis of size 1 may be dropped."""
    return _equal_parts(call, call.integer("num_outputs", 1), call.integer("axis", 1))


def _equal_parts(call: Call, count: int, axis: int) -> Results:
    _check_count(call, count)
    shape = call.shape()
    size = UNKNOWN if shape is None else shape[normalise_axis(axis, len(shape))]
    if size == UNKNOWN:
        attributes = {"num_outputs": count} if call.graph.opset >= 18 else {}
        return _parts(call, count, axis, [call.input()], attributes)
    if size % count:
        raise MalformedModelError(f"node {call.name!r} splits {size} into {count} equal parts")
    return _parts(call, count, axis, [call.input(), call.integers_constant([size // count] * count)], {})


def _check_count(call: Call, count: int) -> None:
    # As many as a node may have inputs; each costs a name.
    if not 1 <= count <= 20_000:
        raise MalformedModelError(f"node {call.name!r} splits into {count} parts")


def _parts(call: Call, count: int, axis: int, inputs: list[str], attributes: dict[str, int]) -> Results:
    squeeze = call.flag("squeeze_axis")
    for index in range(count):
        call.typed(call.dtype(), index)
    if count == 1 and not squeeze:
        return call.input()
    if not squeeze:
        return call.finish_several("Split", inputs, count, axis=axis, **attributes)
    pieces = [call.input()] if count == 1 else call.emit_several("Split", inputs, count, axis=axis, **attributes)
    names = call.last_of(range(count))["outputs"]
    return [
        call.graph.squeeze(piece, [axis], name=f"{call.name}_squeeze", outputs=[name], reserved=True)
        for piece, name in zip(pieces, names, strict=True)
    ]


def _split_at(call: Call) -> Results:
    """``split_v2``: parts at given positions, or so many equal ones."""
    return _split_axis_at(call, call.integer("axis", 0))


def _split_columns(call: Call) -> Results:
    return _split_axis_at(call, 0 if call.rank() == 1 else 1)


def _split_depths(call: Call) -> Results:
    return _split_axis_at(call, 2)


def _split_axis_at(call: Call, axis: int) -> Results:
    sections = call.integer("sections", 0)
    if sections > 0:
        return _equal_parts(call, sections, axis)
    size = call.dims()[normalise_axis(axis, call.rank())]
    if size == UNKNOWN:
        raise ShapeNeededError(0)
    starts = list(call.integers("indices") or (0,))
    starts = [start + size if start < 0 else min(start, size) for start in starts]
    # numpy's list leaves out the start of the first part, MXNet's own has it.
    starts = starts if starts[0] == 0 else [0, *starts]
    _check_count(call, len(starts))
    sizes = [end - start for start, end in zip(starts, [*starts[1:], size], strict=True)]
    if min(sizes) < 0:
        raise MalformedModelError(f"node {call.name!r} splits {size} at {starts}")
    return _parts(call, len(sizes), axis, [call.input(), call.integers_constant(sizes)], {})


def _slice(call: Call) -> Results:
    begins, ends = call.optionals("begin") or (), call.optionals("end") or ()
    steps = call.optionals("step") or ()
    chosen = []
    for axis in range(max(len(begins), len(ends))):
        begin, end, step = (values[axis] if axis < len(values) else None for values in (begins, ends, steps))
        step = 1 if step is None else step
        if (begin, end, step) != (None, None, 1):
            backwards = step < 0
            chosen.append((
                axis,
                (_END if backwards else 0) if begin is None else begin,
                (-_END if backwards else _END) if end is None else end,
                step,
            ))  # fmt: skip
    return _sliced(call, chosen)


def _sliced(call: Call, chosen: Sequence[tuple[int, int, int, int]]) -> Results:
    """Cut out (axis, start, end, step)."""
    if not chosen:
        return call.input()
    axes, starts, ends, steps = zip(*chosen, strict=True)
    if 0 in steps:
        raise MalformedModelError(f"node {call.name!r} slices in steps of 0")
    return call.graph.slice(call.input(), starts, ends, axes, None if set(steps) == {1} else steps, **call.last)


def _slice_axis(call: Call) -> Results:
    begin, end = call.optional("begin") or 0, call.optional("end")
    return _sliced(call, [(call.integer("axis", 0), begin, _END if end is None else end, 1)])


def _slice_like(call: Call) -> Results:
    """Cut the leading part that is as large as another tensor, of all axes or of some."""
    axes = call.integers("axes")
    shape, like = call.shape(0), call.shape(1)
    if not axes:
        known = like if shape is None else shape
        if known is None:
            raise ShapeNeededError(1)
        axes = tuple(range(len(known)))
    if like is not None:
        axes = tuple(normalise_axis(axis, len(like)) for axis in axes)
        if all(like[axis] != UNKNOWN for axis in axes):
            return _sliced(call, [(axis, 0, like[axis], 1) for axis in axes])
    rank = call.rank(0)
    axes = tuple(normalise_axis(axis, rank) for axis in axes)
    ends = call.graph.gather(call.emit("Shape", [call.input(1)]), list(axes))
    return call.finish(
        "Slice", [call.input(), call.integers_constant([0] * len(axes)), ends, call.integers_constant(axes)]
    )


def _crop(call: Call) -> Results:
    """``Crop`` cuts height and width to those of a second input or to ``h_w``, from an offset or the middle."""
    offset, middle = call.integers("offset") or (0, 0), call.flag("center_crop")
    wanted = _crop_sizes(call)
    data = call.dims()[2:]
    if middle and UNKNOWN not in (*data, *wanted):
        offset = tuple((size - cut) // 2 for size, cut in zip(data, wanted, strict=True))
    elif middle:
        return _crop_middle(call)
    if UNKNOWN not in wanted:
        return _sliced(
            call, [(axis, begin, begin + size, 1) for axis, begin, size in zip((2, 3), offset, wanted, strict=True)]
        )
    sizes = call.graph.gather(call.emit("Shape", [call.input(1)]), [2, 3])
    begins = call.integers_constant(offset)
    ends = call.emit("Add", [begins, sizes])
    return call.finish("Slice", [call.input(), begins, ends, call.integers_constant([2, 3])])


def _crop_sizes(call: Call) -> tuple[int, ...]:
    if len(call) > 1:
        return call.dims(1)[2:]
    sizes = call.integers("h_w") or ()
    if len(sizes) != 2:
        raise MalformedModelError(f"node {call.name!r} crops to {sizes}")
    return sizes


def _crop_middle(call: Call) -> Results:
    if len(call) < 2:
        raise ShapeNeededError(0)
    sizes = [call.graph.gather(call.emit("Shape", [call.input(index)]), [2, 3]) for index in (0, 1)]
    begins = call.emit("Div", [call.emit("Sub", sizes), call.integers_constant([2])])
    ends = call.emit("Add", [begins, sizes[1]])
    return call.finish("Slice", [call.input(), begins, ends, call.integers_constant([2, 3])])


RULES: Final[dict[str, Rule]] = {
    "concat": _concatenate,
    "rnnparamconcat": _concatenate,
    "concatenate": _concatenate_numpy,
    "stack": _stack,
    **dict.fromkeys(("slicechannel", "split"), _split),
    **dict.fromkeys(("splitv2", "arraysplit"), _split_at),
    "hsplit": _split_columns,
    "dsplit": _split_depths,
    **{f"atleast{rank}d": _raise(rank) for rank in (1, 2, 3)},
    "vstack": _stack_rows(2, 0),
    "hstack": _stack_rows(1, 1),
    "dstack": _stack_rows(3, 2),
    "columnstack": _stack_columns,
    "slice": _slice,
    "sliceaxis": _slice_axis,
    "slicelike": _slice_like,
    "cropto": _crop,
}
