"""Operators that rearrange, cut, join, repeat or look up elements without computing on them."""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import END, Call, RefusedError, Result, Rules
from klever.steps.formats.netdef.values import DTYPES
from klever.steps.model.shapes import UNKNOWN

_INT32: Final = 6
#: Names that ``Cast`` takes beside the numbers of ``TensorProto.DataType``.
_CAST_NAMES: Final = {
    "FLOAT": 1, "INT32": 2, "BYTE": 3, "STRING": 4, "BOOL": 5, "UINT8": 6, "INT8": 7, "UINT16": 8, "INT16": 9,
    "INT64": 10, "FLOAT16": 12, "DOUBLE": 13,
}  # fmt: skip


def _joining_axis(call: Call) -> int:
    """Return the axis of a join or split: stated, or that of the channels in the stated order."""
    return call.integer("axis", 3 if call.last else 1)


def _concat(call: Call) -> Result:
    axis = _joining_axis(call)
    parts = [call.input(index) for index in range(len(call))]
    if not parts:
        raise RefusedError("it joins nothing")
    if call.flag("add_axis"):
        at = call.canonical(axis, call.rank() + 1)
        given = call.give("Concat", *(call.unsqueeze(part, [at]) for part in parts), axis=at)
    else:
        given = call.give("Concat", *parts, axis=axis)
    if len(call.operator.outputs) == 1:
        return given
    if call.flag("add_axis"):
        return given, call.give("Identity", call.constant([1] * len(parts), dtype="int32"), at=1)
    along = call.axis(axis)
    sizes = call.add("Concat", *(call.sizes(part, [along]) for part in parts), axis=0)
    return given, call.give("Cast", sizes, at=1, to=_INT32)


def _split(call: Call) -> Result:
    axis, parts = _joining_axis(call), len(call.operator.outputs)
    if not parts:
        raise RefusedError("it has no outputs")
    if call.flag("add_axis"):
        pieces = call.add("Split", call.input(), *_even(call, parts), axis=axis, outputs=parts, **_counted(call, parts))
        pieces = [pieces] if isinstance(pieces, str) else pieces
        return [call.give("Squeeze", piece, call.integers_of([axis]), at=at) for at, piece in enumerate(pieces)]
    if len(call) > 1:
        return call.give_all("Split", call.input(), call.int64(1), axis=axis)
    sizes = call.integers("split")
    if sizes:
        if len(sizes) != parts or min(sizes) < 0:
            raise RefusedError(f"it splits into {list(sizes)} for {parts} outputs")
        return call.give_all("Split", call.input(), call.integers_of(sizes), axis=axis)
    return call.give_all("Split", call.input(), *_even(call, parts), axis=axis, **_counted(call, parts))


def _even(call: Call, parts: int) -> list[str]:
    """Return the sizes of equal parts where the whole is known, which every runtime takes."""
    shape = call.value().shape
    if shape is None:
        return []
    size = shape[call.axis(_joining_axis(call))]
    if size == UNKNOWN:
        return []
    if size % parts:
        raise RefusedError(f"{size} does not part into {parts}")
    return [call.integers_of([size // parts] * parts)]


def _counted(call: Call, parts: int) -> dict[str, int]:
    """Return the attribute that operator set 18 wants where no sizes are given."""
    return {"num_outputs": parts} if call.graph.opset >= 18 and not _even(call, parts) else {}


def _reshape(call: Call) -> Result:
    if len(call) > 1:
        given = call.give_reshaped(call.input(), call.int64(1))
    else:
        shape = call.integers("shape")
        if not call.has("shape") or any(size < -1 for size in shape):
            raise RefusedError("it states no shape")
        given = call.give_reshaped(call.input(), shape)
    if len(call.operator.outputs) == 1:
        return given
    if len(call) > 1 and call.value(1).dtype == "int32":
        # The old shape is of the type of the new one.
        return given, call.give("Cast", call.sizes(call.input()), at=1, to=_INT32)
    return given, call.give("Shape", call.input(), at=1)


def _flatten(call: Call) -> Result:
    return call.give("Flatten", call.input(), axis=call.integer("axis", 1))


def _vector(call: Call) -> Result:
    return call.give_reshaped(call.input(), [-1])


def _squeeze(call: Call) -> Result:
    dims = sorted(set(call.integers("dims")))
    return call.give("Squeeze", call.input(), call.integers_of(dims)) if dims else call.input()


def _expand_dims(call: Call) -> Result:
    """Insert dimensions; each place counts those inserted before it, as in ONNX."""
    dims = sorted(set(call.integers("dims")))
    return call.give("Unsqueeze", call.input(), call.integers_of(dims)) if dims else call.input()


def _transpose(call: Call) -> Result:
    axes = call.integers("axes")
    return call.give("Transpose", call.input(), perm=list(axes) or None)


def _to_last(call: Call) -> Result:
    rank = call.rank()
    given = call.give("Transpose", call.input(), perm=[0, *range(2, rank), 1])
    call.translation.first[given] = call.input()
    return given


def _to_first(call: Call) -> Result:
    rank = call.rank()
    known = call.translation.first.get(call.input())
    return known or call.give("Transpose", call.input(), perm=[0, rank - 1, *range(1, rank - 1)])


def _slice(call: Call) -> Result:
    """Cut out ranges from the first dimension on; a negative place counts from behind the last element."""
    if len(call) >= 3:
        count = call.size(0, 1)
        if count > call.rank():
            raise RefusedError(f"{count} ranges for rank {call.rank()}")
        bounds = [_bound_of(call, index) for index in (1, 2)]
    else:
        starts, ends = call.integers("starts"), call.integers("ends")
        if len(starts) != len(ends):
            raise RefusedError("it has other starts than ends")
        count = len(starts)
        bounds = [call.integers_of([_place(place) for place in places]) for places in (starts, ends)]
    if count == 0:
        return call.input()
    return call.give("Slice", call.input(), *bounds, call.integers_of(range(count)))


def _place(place: int) -> int:
    return END if place == -1 else place + 1 if place < 0 else place


def _bound_of(call: Call, index: int) -> str:
    """Return places that come as a tensor as ONNX counts them."""
    content = call.value(index).content
    if content is not None:
        return call.integers_of([_place(place) for place in content])
    places = call.int64(index)
    negative = call.add("Less", places, call.constant(0))
    last = call.add("Equal", places, call.constant(-1))
    counted = call.add("Where", last, call.constant(END), call.add("Add", places, call.constant(1)))
    return str(call.add("Where", negative, counted, places))


def _tile(call: Call) -> Result:
    rank = call.rank()
    axis = call.integer("axis")
    if len(call) > 1 and call.value(1).dtype == "int64":
        # What TileOp does with tiles of 64 bits, be it by mistake: it takes the first axis.
        axis = 0
    if len(call) > 2:
        content = call.value(2).content
        if content is None:
            raise RefusedError("with an axis that is computed")
        axis = content[0]
    axis = call.canonical(axis, rank)
    if len(call) == 1:
        repeats = [call.integer("tiles", 1) if at == axis else 1 for at in range(rank)]
        if min(repeats) < 0:
            raise RefusedError("it repeats less than nothing")
        return call.give("Tile", call.input(), call.integers_of(repeats))
    parts = [[1] * axis, None, [1] * (rank - axis - 1)]
    named = [call.reshape(call.int64(1), [1]) if part is None else call.integers_of(part) for part in parts]
    return call.give("Tile", call.input(), call.add("Concat", *named, axis=0))


def _tile_all(call: Call) -> Result:
    return call.give("Tile", call.input(), call.int64(1))


def _expand(call: Call) -> Result:
    """Spread to a shape, in which sizes that are not positive stay as they are."""
    content = call.value(1).content
    if content is not None:
        wanted = call.integers_of([max(size, 1) for size in content])
    else:
        wanted = call.add("Max", call.int64(1), call.integers_of([1]))
    return call.give("Expand", call.input(), wanted)


def _prepend_dim(call: Call) -> Result:
    size = call.integer("dim_size")
    if size < 1:
        raise RefusedError("it states no size")
    rest = call.sizes(call.input(), list(range(1, call.rank())))
    return call.give_reshaped(call.input(), call.add("Concat", call.integers_of([size, -1]), rest, axis=0))


def _merge_dim(call: Call) -> Result:
    rest = call.sizes(call.input(), list(range(2, call.rank())))
    return call.give_reshaped(call.input(), call.add("Concat", call.integers_of([-1]), rest, axis=0))


def _resize_like(call: Call) -> Result:
    return call.give_reshaped(call.input(), call.sizes(call.input(1)))


def _shape(call: Call) -> Result:
    axes = call.integers("axes")
    if not axes:
        return call.give("Shape", call.input())
    return call.give("Gather", call.sizes(call.input()), call.integers_of(axes), axis=0)


def _size(call: Call) -> Result:
    return call.give("Size", call.input())


#: Numbers of ONNX for the types that Caffe2 casts to.
_ELEMENTS: Final = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11,
}  # fmt: skip


def _cast(call: Call) -> Result:
    target = call.integer("to") or _CAST_NAMES.get(call.operator.text("to").upper(), 0)
    element = _ELEMENTS.get(DTYPES.get(target, ""))
    if element is None or call.value().dtype == "object":
        raise RefusedError(f"from or to text, or to type {target}")
    return call.give("Cast", call.input(), to=element)


def _to_half(call: Call) -> Result:
    x = call.add("Clip", call.input(), call.scalar(-65504.0), call.scalar(65504.0)) if call.flag("clip") else None
    return call.give("Cast", x or call.input(), to=_ELEMENTS["float16"])


def _to_float(call: Call) -> Result:
    return call.give("Cast", call.input(), to=_ELEMENTS["float32"])


def _gather(call: Call) -> Result:
    axis = call.integer("axis") if call.operator.type == "Gather" else 1
    shape = call.value(0).shape
    if shape is not None:
        call.limit(1, 0, shape[call.axis(axis)])
    if not call.flag("match_outer"):
        return call.give("Gather", call.input(0), call.input(1), axis=axis)
    axis = call.axis(axis)
    places = call.unsqueeze(call.int64(1), [call.rank(1)])
    return call.give("GatherND", call.input(0), places, batch_dims=axis)


def _permuted_rows(call: Call) -> Result:
    return call.give("Gather", call.input(0), call.input(1), axis=0)


def _masked_rows(call: Call) -> Result:
    """Give the rows for which the mask is true, and their places."""
    mask = call.reshape(call.input(1), [-1])
    given = call.give("Compress", call.input(0), mask, axis=0)
    if len(call.operator.outputs) == 1:
        return given
    return given, call.give_reshaped(call.add("NonZero", mask), [-1], at=1)


def _shuffle(call: Call) -> Result:
    """Take the channels of the groups in turn."""
    groups, rank = call.integer("group", 1), call.rank()
    channels = call.size(-1 if call.last else 1)
    if groups < 1 or channels % groups:
        raise RefusedError(f"{channels} channels in {groups} groups")
    x = call.input()
    if call.last:
        parted = call.reshape(x, [*[0] * (rank - 1), groups, channels // groups])
        turned = call.transpose(parted, (*range(rank - 1), rank, rank - 1))
        return call.give_reshaped(turned, [*[0] * (rank - 1), channels])
    parted = call.reshape(x, [0, groups, channels // groups, -1])
    return call.give_reshaped(call.transpose(parted, (0, 2, 1, 3)), call.sizes(x))


def _one_hot(call: Call) -> Result:
    size = call.reshape(call.int64(1), [1])
    if content := call.value(1).content:
        call.limit(0, 0, content[0])
    return call.give("OneHot", call.input(0), size, call.constant([0.0, 1.0]), axis=-1)


def _blocks(call: Call) -> tuple[int, int, int, int, int]:
    """Return block size and the padding above, left, below and right.

    Only the padding above has an argument of its own: ``space_batch_op.h`` reads ``pad`` for the others.
    """
    block, pad = call.integer("block_size", 2), call.integer("pad")
    if block < 1 or call.last:
        raise RefusedError("for NHWC" if call.last else f"with block_size {block}")
    return block, call.integer("pad_t", pad), pad, pad, pad


def _space_to_batch(call: Call) -> Result:
    block, top, left, bottom, right = _blocks(call)
    channels, height, width = (call.size(axis) for axis in (1, 2, 3))
    height, width = height + top + bottom, width + left + right
    if height % block or width % block:
        raise RefusedError(f"{height} by {width} does not part into blocks of {block}")
    padded = call.add("Pad", call.input(), call.integers_of([0, 0, top, left, 0, 0, bottom, right]))
    shape = [-1, channels, height // block, block, width // block, block]
    turned = call.transpose(call.reshape(padded, shape), (3, 5, 0, 1, 2, 4))
    return call.give_reshaped(turned, [-1, channels, height // block, width // block])


def _batch_to_space(call: Call) -> Result:
    block, top, left, bottom, right = _blocks(call)
    channels, height, width = (call.size(axis) for axis in (1, 2, 3))
    turned = call.transpose(call.reshape(call.input(), [block, block, -1, channels, height, width]), (2, 3, 4, 0, 5, 1))
    whole = call.reshape(turned, [-1, channels, height * block, width * block])
    starts, ends = [top, left], [height * block - bottom, width * block - right]
    return call.give("Slice", whole, *(call.integers_of(places) for places in (starts, ends, [2, 3])))


def _assigned(call: Call) -> Result:
    """Put rows in the places of others."""
    places = call.unsqueeze(call.int64(1), [1])
    return call.give("ScatterND", call.input(0), places, call.input(2))


def _range(call: Call) -> Result:
    """Count from 0 or a start to an end, in steps of 1 or stated ones."""
    stated = [call.reshape(call.input(index), []) for index in range(max(len(call), 1))]
    if len(stated) == 1:
        start, limit, step = call.scalar(0), stated[0], call.scalar(1)
    else:
        start, limit = stated[0], stated[1]
        step = stated[2] if len(stated) > 2 else call.scalar(1)
    return call.give("Range", start, limit, step)


RULES: Final[Rules] = {
    "BatchGather": _gather,
    "BatchPermutation": _permuted_rows,
    "BatchToSpace": _batch_to_space,
    "BooleanMask": _masked_rows,
    "Cast": _cast,
    "ChannelShuffle": _shuffle,
    "Concat": _concat,
    "DepthConcat": _concat,
    "DepthSplit": _split,
    "Expand": _expand,
    "ExpandDims": _expand_dims,
    "Flatten": _flatten,
    "FlattenToVec": _vector,
    "FloatToHalf": _to_half,
    "Gather": _gather,
    "HalfToFloat": _to_float,
    "MergeDim": _merge_dim,
    "NCHW2NHWC": _to_last,
    "NHWC2NCHW": _to_first,
    "NumpyTile": _tile_all,
    "OneHot": _one_hot,
    "PrependDim": _prepend_dim,
    "Range": _range,
    "Reshape": _reshape,
    "ResizeLike": _resize_like,
    "ScatterAssign": _assigned,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToBatch": _space_to_batch,
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
}
