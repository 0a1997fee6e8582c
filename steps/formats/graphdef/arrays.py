"""Rules for operators that make, cut, join and rearrange tensors.

Shapes that a graph computes (``Shape``, ``StridedSlice``, ``Pack``, ...) are followed here element by element.
"""

from collections.abc import Iterable, Sequence
from math import ceil, prod
from typing import Final

from klever.steps.formats.graphdef.call import (
    MAX_OUTPUTS,
    NOTHING,
    Call,
    Known,
    Values,
    rule,
    scalar,
    shape_rule,
    vector,
)
from klever.steps.frameworks.tensorflow import MAX_ELEMENTS, Number
from klever.steps.model.shapes import (
    UNKNOWN,
    Shape,
    ShapeMismatchError,
    add,
    broadcast,
    concatenate,
    count,
    divide,
    merge,
    normalise_axis,
    reshape,
    transpose,
)

#: Operators that fill a shape with numbers of their own.
_RANDOM: Final = (
    "Empty",
    "RandomUniform",
    "RandomStandardNormal",
    "TruncatedNormal",
    "RandomUniformInt",
    "StatelessRandomUniform",
    "StatelessRandomUniformV2",
    "StatelessRandomNormal",
    "StatelessRandomNormalV2",
    "StatelessTruncatedNormal",
    "StatelessTruncatedNormalV2",
    "StatelessRandomUniformInt",
    "StatelessRandomUniformIntV2",
)


@rule("Const", "HostConst")
def _constant(call: Call) -> Sequence[Known]:
    constant = call.node.constant()
    return (NOTHING,) if constant is None else (Known(constant.shape, constant.values, constant.dtype),)


def _dimensions(shape: Shape) -> Known:
    if shape is None:
        return Known((UNKNOWN,))
    return vector(None if size == UNKNOWN else size for size in shape)


@rule("Shape", "ShapeN")
def _shape(call: Call) -> Sequence[Known]:
    return tuple(_dimensions(given.shape) for given in call.inputs)


@rule("Rank")
def _rank(call: Call) -> Sequence[Known]:
    return (scalar(call.rank(0)),)


@rule("Size")
def _size(call: Call) -> Sequence[Known]:
    shape = call.shape(0)
    total = UNKNOWN if shape is None else count(shape)
    return (scalar(None if total == UNKNOWN else total),)


@rule("Reshape", "QuantizedReshape")
def _reshape(call: Call) -> Sequence[Known]:
    """Reshape; one element of the target that is unknown follows from the count of elements."""
    given, target = call[0], call.values(1)
    if target is None:
        return (Known(call.sizes(1)),)
    sizes = tuple(UNKNOWN if value is None else max(int(value), UNKNOWN) for value in target)
    sizes = reshape(given.shape, sizes) or ()
    kept = given.values if given.values is not None and count(sizes) == len(given.values) else None
    return (Known(sizes, kept),)


@rule("Squeeze")
def _squeeze(call: Call) -> Sequence[Known]:
    given = call[0]
    if given.shape is None:
        return (NOTHING,)
    axes = call.node.integers("squeeze_dims") or call.node.integers("axis") or ()
    if axes:
        chosen = {normalise_axis(axis, len(given.shape)) for axis in axes}
        shape: Shape = tuple(size for axis, size in enumerate(given.shape) if axis not in chosen)
    elif UNKNOWN in given.shape:
        return (NOTHING,)
    else:
        shape = tuple(size for size in given.shape if size != 1)
    return (Known(shape, given.values),)


@rule("ExpandDims")
def _expand(call: Call) -> Sequence[Known]:
    given, axis = call[0], call.integer(1)
    if given.shape is None:
        return (NOTHING,)
    if axis is None:
        return (Known((UNKNOWN,) * (len(given.shape) + 1)),)
    axis = normalise_axis(axis, len(given.shape) + 1)
    return (Known((*given.shape[:axis], 1, *given.shape[axis:]), given.values),)


@rule("Pack")
def _pack(call: Call) -> Sequence[Known]:
    shape: Shape = None
    for given in call.inputs:
        shape = merge(shape, given.shape)
    if shape is None:
        return (NOTHING,)
    axis = normalise_axis(call.attribute("axis", 0), len(shape) + 1)
    values: Values = None
    if not shape:
        values = tuple(given.values[0] if given.values else None for given in call.inputs)
    return (Known((*shape[:axis], len(call.inputs), *shape[axis:]), values),)


@rule("ParallelConcat")
def _parallel(call: Call) -> Sequence[Known]:
    return (Known(call.node.shape("shape")),)


@rule("Unpack")
def _unpack(call: Call) -> Sequence[Known]:
    given, parts = call[0], min(max(call.attribute("num", 0), 0), MAX_OUTPUTS)
    if given.shape is None:
        return (NOTHING,) * parts
    axis = normalise_axis(call.attribute("axis", 0), len(given.shape))
    shape = given.shape[:axis] + given.shape[axis + 1 :]
    if given.values is not None and not shape and len(given.values) == parts:
        return tuple(scalar(value) for value in given.values)
    return (Known(shape),) * parts


@rule("Concat", "ConcatV2")
def _concat(call: Call) -> Sequence[Known]:
    """Join; the axis is the first input of ``Concat`` and the last of ``ConcatV2``."""
    first = call.node.op == "Concat"
    axis = call.integer(0 if first else -1)
    parts = call.inputs[1:] if first else call.inputs[:-1]
    if axis is None:
        ranks = {len(part.shape) for part in parts if part.shape is not None}
        return (Known((UNKNOWN,) * ranks.pop()) if len(ranks) == 1 else NOTHING,)
    shape = concatenate([part.shape for part in parts], axis)
    values: Values = None
    if shape is not None and len(shape) == 1 and 0 <= shape[0] <= MAX_ELEMENTS:
        values = tuple(value for part in parts for value in _elements(part))
    return (Known(shape, values),)


def _elements(part: Known) -> tuple[Number, ...]:
    """Return the elements of a vector, unknown ones where it has none."""
    size = part.shape[0] if part.shape else 0
    return part.values if part.values is not None else (None,) * max(size, 0)


@rule("StridedSlice")
def _strided_slice(call: Call) -> Sequence[Known]:
    given = call[0]
    if given.shape is None:
        return (NOTHING,)
    specification = _Specification.of(call)
    if specification is None:
        return (NOTHING,)
    shape, picks = specification.apply(given.shape)
    values: Values = None
    if given.values is not None and len(given.shape) == 1 and len(picks) == 1 and picks[0] is not None:
        values = tuple(given.values[index] for index in picks[0])
    return (Known(shape, values if values is None or len(values) == count(shape) else None),)


class _Specification:
    """Begin, end, strides and the five masks of a StridedSlice (tensorflow/core/util/strided_slice_op.cc)."""

    __slots__ = (
        "begin",
        "begin_mask",
        "ellipsis_mask",
        "end",
        "end_mask",
        "length",
        "new_mask",
        "shrink_mask",
        "strides",
    )

    def __init__(self, call: Call, length: int) -> None:
        unknown = (None,) * length
        self.length = length
        self.begin, self.end, self.strides = (_fitting(call.values(index), unknown) for index in (1, 2, 3))
        self.begin_mask = call.attribute("begin_mask", 0)
        self.end_mask = call.attribute("end_mask", 0)
        self.ellipsis_mask = call.attribute("ellipsis_mask", 0)
        self.new_mask = call.attribute("new_axis_mask", 0)
        self.shrink_mask = call.attribute("shrink_axis_mask", 0)

    @classmethod
    def of(cls, call: Call) -> "_Specification | None":
        """Return None where not even the number of entries is known."""
        length = max(call.size(index) for index in (1, 2, 3))
        return cls(call, length) if 0 <= length <= MAX_ELEMENTS else None

    def apply(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], list[range | None]]:
        """Return the sliced shape, and for each dimension that was cut which of its elements are kept."""
        result: list[int] = []
        picks: list[range | None] = []
        axis = 0
        for entry in range(self.length):
            bit = 1 << entry
            if self.ellipsis_mask & bit:
                after = sum(1 for later in range(entry + 1, self.length) if not self.new_mask >> later & 1)
                stop = max(len(shape) - after, axis)
                result += shape[axis:stop]
                picks += [None] * (stop - axis)
                axis = stop
            elif self.new_mask & bit:
                result.append(1)
            else:
                if axis >= len(shape):
                    raise ShapeMismatchError(f"a slice has more entries than rank {len(shape)}")
                pick = self._pick(entry, shape[axis])
                picks.append(pick)
                if not self.shrink_mask & bit:
                    result.append(self._length(entry, shape[axis]) if pick is None else len(pick))
                axis += 1
        return (*result, *shape[axis:]), picks

    def _pick(self, entry: int, size: int) -> range | None:
        """Return the indices that an entry keeps of a dimension of known size."""
        begin, end, stride = (_whole(values[entry]) for values in (self.begin, self.end, self.strides))
        if size == UNKNOWN or not stride:
            return None
        if self.shrink_mask >> entry & 1:
            if begin is None or not -size <= begin < size:
                return None
            return range(begin % size, begin % size + 1)
        start = None if self.begin_mask >> entry & 1 else begin
        stop = None if self.end_mask >> entry & 1 else end
        if (start is None and not self.begin_mask >> entry & 1) or (stop is None and not self.end_mask >> entry & 1):
            return None
        return range(*slice(start, stop, stride).indices(size))

    def _length(self, entry: int, size: int) -> int:
        """Return the length that an entry leaves of a dimension where its indices are not known."""
        begin, stride = _whole(self.begin[entry]), _whole(self.strides[entry])
        from_start = bool(self.begin_mask >> entry & 1) or begin == 0
        to_end = bool(self.end_mask >> entry & 1)
        if stride == 1 and from_start and to_end:
            return size
        return UNKNOWN


def _whole(value: Number) -> int | None:
    return None if value is None else int(value)


def _fitting(values: Values, unknown: tuple[None, ...]) -> tuple[Number, ...]:
    return values if values is not None and len(values) == len(unknown) else unknown


@rule("Slice")
def _slice(call: Call) -> Sequence[Known]:
    given, begin, sizes = call[0], call.values(1), call.values(2)
    if given.shape is None:
        rank = max(call.size(1), call.size(2))
        return (Known((UNKNOWN,) * rank) if 0 <= rank <= MAX_ELEMENTS else NOTHING,)
    rank = len(given.shape)
    begin, sizes = _fitting(begin, (None,) * rank), _fitting(sizes, (None,) * rank)
    result: list[int] = []
    for size, start, length in zip(given.shape, begin, sizes, strict=True):
        if length is None:
            result.append(UNKNOWN)
        elif length != -1:
            result.append(int(length))
        else:
            result.append(UNKNOWN if start is None or size == UNKNOWN else max(size - int(start), 0))
    values: Values = None
    if given.values is not None and rank == 1 and begin[0] is not None and result[0] != UNKNOWN:
        values = given.values[int(begin[0]) : int(begin[0]) + result[0]]
    return (Known(tuple(result), values if values is None or len(values) == result[0] else None),)


@rule("Gather", "GatherV2", "ResourceGather")
def _gather(call: Call) -> Sequence[Known]:
    given, indices = call[0], call[1]
    axis = call.integer(2) if call.node.op == "GatherV2" else 0
    batch = call.attribute("batch_dims", 0)
    if given.shape is None or indices.shape is None:
        return (NOTHING,)
    if batch < 0:
        batch += len(indices.shape)
    if axis is None:
        return (Known((UNKNOWN,) * (len(given.shape) + len(indices.shape) - 1 - batch)),)
    axis = normalise_axis(axis, len(given.shape))
    shape = (*given.shape[:axis], *indices.shape[batch:], *given.shape[axis + 1 :])
    values: Values = None
    places = call.integers(1)
    if given.values is not None and places is not None and len(given.shape) == 1:
        values = tuple(given.values[place] if 0 <= place < len(given.values) else None for place in places)
    return (Known(shape, values),)


@shape_rule("GatherNd", "ResourceGatherNd")
def _gather_nd(call: Call) -> Shape:
    given, indices = call.shape(0), call.shape(1)
    if given is None or not indices or not 0 <= indices[-1] <= len(given):
        return None
    return (*indices[:-1], *given[indices[-1] :])


@shape_rule("ScatterNd")
def _scatter_nd(call: Call) -> Shape:
    return call.sizes(2)


@rule("Split", "SplitV")
def _split(call: Call) -> Sequence[Known]:
    """Cut into parts, equal ones or of given lengths."""
    equal = call.node.op == "Split"
    parts = min(max(call.attribute("num_split", 0), 0), MAX_OUTPUTS)
    given, axis = (call[1], call.integer(0)) if equal else (call[0], call.integer(2))
    if given.shape is None or parts == 0:
        return (NOTHING,) * parts
    if axis is None:
        return (Known((UNKNOWN,) * len(given.shape)),) * parts
    axis = normalise_axis(axis, len(given.shape))
    whole = given.shape[axis]
    lengths = [divide(whole, parts)] * parts if equal else _lengths(call, whole, parts)
    results = []
    offset = 0
    for length in lengths:
        cut = given.values[offset : offset + length] if given.values is not None and length != UNKNOWN else None
        single = len(given.shape) == 1 and UNKNOWN not in lengths
        results.append(Known((*given.shape[:axis], length, *given.shape[axis + 1 :]), cut if single else None))
        offset += max(length, 0)
    return results


def _lengths(call: Call, whole: int, parts: int) -> list[int]:
    """Return the lengths of SplitV's parts, of which one may be -1: the rest."""
    lengths = list(call.sizes(1) or ())
    known = call.integers(1)
    if len(lengths) != parts:
        return [UNKNOWN] * parts
    if known is not None and known.count(-1) == 1 and whole != UNKNOWN:
        rest = whole - sum(length for length in known if length != -1)
        return [rest if length == UNKNOWN else length for length in lengths]
    return lengths


@shape_rule("Transpose", "ConjugateTranspose")
def _transpose(call: Call) -> Shape:
    given, permutation = call.shape(0), call.integers(1)
    if permutation is None:
        rank = call.rank(0) if given is not None else call.size(1)
        return None if rank is None or not 0 <= rank <= MAX_ELEMENTS else (UNKNOWN,) * rank
    return transpose(given, permutation) if given is not None else (UNKNOWN,) * len(permutation)


@rule("Tile")
def _tile(call: Call) -> Sequence[Known]:
    given, multiples = call[0], call.sizes(1)
    if given.shape is None or multiples is None or len(given.shape) != len(multiples):
        rank = given.shape if given.shape is not None else multiples
        return (Known(None if rank is None else (UNKNOWN,) * len(rank)),)
    shape = tuple(count(pair) for pair in zip(given.shape, multiples, strict=True))
    values: Values = None
    if given.values is not None and len(shape) == 1 and 0 <= shape[0] <= MAX_ELEMENTS:
        values = given.values * multiples[0]
    return (Known(shape, values),)


@rule("Fill")
def _fill(call: Call) -> Sequence[Known]:
    shape = call.sizes(0)
    value = call.values(1)
    small = shape is not None and 0 <= count(shape) <= MAX_ELEMENTS
    return (Known(shape, value * count(shape or ()) if small and value is not None and len(value) == 1 else None),)


@rule("Range")
def _range(call: Call) -> Sequence[Known]:
    start, limit, delta = (values[0] if (values := call.values(index)) else None for index in range(3))
    if start is None or limit is None or not delta:
        return (Known((UNKNOWN,)),)
    try:
        length = max(ceil((limit - start) / delta), 0)
    except (OverflowError, ValueError):
        return (Known((UNKNOWN,)),)
    if length > MAX_ELEMENTS:
        return (Known((length,)),)
    return (vector(start + index * delta for index in range(length)),)


@shape_rule("LinSpace")
def _linear(call: Call) -> Shape:
    number = call.integer(2)
    return (UNKNOWN if number is None else number,)


@shape_rule("BroadcastTo")
def _broadcast_to(call: Call) -> Shape:
    return call.sizes(1)


@rule("BroadcastArgs")
def _broadcast_args(call: Call) -> Sequence[Known]:
    a, b = call.integers(0), call.integers(1)
    if a is None or b is None:
        lengths = (call.size(0), call.size(1))
        return (Known((UNKNOWN if UNKNOWN in lengths else max(lengths),)),)
    return (vector(broadcast(a, b) or ()),)


@shape_rule("OneHot")
def _one_hot(call: Call) -> Shape:
    indices, depth = call.shape(0), call.integer(1)
    if indices is None:
        return None
    axis = call.attribute("axis", -1)
    axis = len(indices) if axis == -1 else normalise_axis(axis, len(indices) + 1)
    return (*indices[:axis], UNKNOWN if depth is None else depth, *indices[axis:])


@shape_rule("Pad", "PadV2", "MirrorPad")
def _pad(call: Call) -> Shape:
    given, paddings = call.shape(0), call.values(1)
    if given is None:
        rows = call.size(1)
        return (UNKNOWN,) * rows if 0 <= rows <= MAX_ELEMENTS else None
    if paddings is None or len(paddings) != 2 * len(given):
        return (UNKNOWN,) * len(given)
    return tuple(
        add(size, _known(paddings[2 * axis]), _known(paddings[2 * axis + 1])) for axis, size in enumerate(given)
    )


def _known(value: Number) -> int:
    return UNKNOWN if value is None else int(value)


@rule("Where")
def _where(call: Call) -> Sequence[Known]:
    rank = call.rank(0)
    return (Known((UNKNOWN, UNKNOWN if rank is None else rank)),)


@shape_rule("Diag", "MatrixDiag", "BatchMatrixDiag")
def _diagonal(call: Call) -> Shape:
    given = call.shape(0)
    if given is None:
        return None
    if call.node.op == "Diag":
        return given * 2
    return (*given, *given[-1:])


@shape_rule("DiagPart", "MatrixDiagPart", "BatchMatrixDiagPart")
def _diagonal_part(call: Call) -> Shape:
    given = call.shape(0)
    if given is None or len(given) < 2:
        return None
    if call.node.op == "DiagPart":
        return merge(given[: len(given) // 2], given[len(given) // 2 :])
    return (*given[:-2], UNKNOWN if UNKNOWN in given[-2:] else min(given[-2:]))


@rule("TopK", "TopKV2", "ApproxTopK")
def _top_k(call: Call) -> Sequence[Known]:
    given = call.shape(0)
    k = call.integer(1) if call.node.op == "TopKV2" else call.node.integer("k")
    shape = None if given is None else (*given[:-1], UNKNOWN if k is None else k)
    return (Known(shape), Known(shape))


@rule("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2")
def _unique(call: Call) -> Sequence[Known]:
    given = call.shape(0)
    several = call.node.op.endswith("V2") and len(given or (0,)) != 1
    found = Known(None if several else (UNKNOWN,))
    return (found, Known((UNKNOWN,) if several or given is None else given), Known((UNKNOWN,)))


@rule("ListDiff")
def _difference(call: Call) -> Sequence[Known]:
    del call
    return (Known((UNKNOWN,)), Known((UNKNOWN,)))


@rule("DynamicPartition")
def _dynamic_partition(call: Call) -> Sequence[Known]:
    data, places = call.shape(0), call.shape(1)
    parts = min(max(call.attribute("num_partitions", 0), 0), MAX_OUTPUTS)
    if data is None or places is None:
        return (NOTHING,) * parts
    return (Known((UNKNOWN, *data[len(places) :])),) * parts


@shape_rule("DynamicStitch", "ParallelDynamicStitch")
def _dynamic_stitch(call: Call) -> Shape:
    half = len(call.inputs) // 2
    rest: Shape = None
    total = 0
    for index in range(half):
        places, data = call.shape(index), call.shape(half + index)
        if places is not None and data is not None:
            rest = merge(rest, data[len(places) :])
        known = call.integers(index)
        total = UNKNOWN if known is None or total == UNKNOWN else max((total, *(place + 1 for place in known)))
    return None if rest is None else (total, *rest)


@shape_rule("SpaceToBatchND", "BatchToSpaceND")
def _blocks(call: Call) -> Shape:
    given, block, edges = call.shape(0), call.integers(1), call.integers(2)
    if given is None:
        return None
    if block is None:
        return (UNKNOWN,) * len(given)
    forth = call.node.op == "SpaceToBatchND"
    return _to_blocks(given, block, edges, forth=forth)


def _to_blocks(given: tuple[int, ...], block: Sequence[int], edges: Sequence[int] | None, *, forth: bool) -> Shape:
    """Move blocks of space into the batch, or back; ``edges`` pads before or crops after."""
    if len(given) < len(block) + 1 or any(size < 1 for size in block):
        raise ShapeMismatchError(f"blocks {tuple(block)} do not fit rank {len(given)}")
    space: list[int] = []
    for axis, step in enumerate(block):
        size = given[axis + 1]
        edge = UNKNOWN if edges is None or len(edges) != 2 * len(block) else edges[2 * axis] + edges[2 * axis + 1]
        if UNKNOWN in (size, edge):
            space.append(UNKNOWN)
        else:
            space.append((size + edge) // step if forth else size * step - edge)
    total = prod(block)
    batch = count((given[0], total)) if forth else divide(given[0], total)
    return (batch, *space, *given[len(block) + 1 :])


@shape_rule("SpaceToBatch", "BatchToSpace")
def _square_blocks(call: Call) -> Shape:
    given, step = call.shape(0), call.attribute("block_size", 1)
    if given is None:
        return (UNKNOWN,) * 4
    return _to_blocks(given, (step, step), call.integers(1), forth=call.node.op == "SpaceToBatch")


@shape_rule("SpaceToDepth", "DepthToSpace")
def _depth(call: Call) -> Shape:
    given, step = call.shape(0), call.attribute("block_size", 1)
    if given is None or len(given) != 4 or step < 1:
        return (UNKNOWN,) * 4
    first = call.text("data_format", "NHWC") == "NCHW"
    batch, *space, depth = (given[0], *given[2:], given[1]) if first else given
    forth = call.node.op == "SpaceToDepth"
    space = [divide(size, step) if forth else count((size, step)) for size in space]
    depth = count((depth, step, step)) if forth else divide(depth, step * step)
    return (batch, depth, *space) if first else (batch, *space, depth)


@shape_rule("EnsureShape")
def _ensure(call: Call) -> Shape:
    return merge(call.shape(0), call.node.shape("shape"))


@shape_rule(*_RANDOM)
def _filled(call: Call) -> Shape:
    return call.sizes(0)


@shape_rule("Multinomial", "StatelessMultinomial")
def _multinomial(call: Call) -> Shape:
    given, samples = call.shape(0), call.integer(1)
    return (given[0] if given else UNKNOWN, UNKNOWN if samples is None else samples)


@rule("Bitcast")
def _bitcast(call: Call) -> Sequence[Known]:
    """Reinterpret: a wider or narrower type drops or adds the last dimension."""
    widths = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 8: 8, 9: 8, 14: 2, 17: 2, 18: 16, 19: 2, 22: 4, 23: 8}
    source, target = (widths.get(call.node.dtype(name) or 0) for name in ("T", "type"))
    shape = call.shape(0)
    if shape is None or source is None or target is None:
        return (NOTHING,)
    if source > target:
        return (Known((*shape, source // target)),)
    return (Known(shape if source == target else shape[:-1]),)


@shape_rule("StringJoin")
def _join(call: Call) -> Shape:
    shapes: Iterable[Shape] = (given.shape for given in call.inputs if given.shape != ())
    result: Shape = ()
    for shape in shapes:
        result = merge(result or None, shape)
    return result
