"""Operators on segments of rows, given by their lengths or by the segment of each row.

ONNX has no segments: a matrix says which row belongs to which, and multiplying by it sums them up. Source:
``segment_reduction_op``, ``lengths_reducer_ops``, ``utility_ops`` in ``caffe2/operators``.
"""

from typing import Final, NamedTuple

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rule, Rules

_INT32: Final = 6
#: Segments, or rows of one, that an argument may state: onnx's inference counts through them in memory.
_MAX_STATED: Final = 1 << 16


class _Segments(NamedTuple):
    """``member`` tells for each segment and row whether they belong together; ``lengths`` are int64, one a segment."""

    member: str
    lengths: str


def _count(call: Call, rows: str) -> str:
    """Return how many rows there are, as one number."""
    return call.reshape(call.sizes(rows, [0]), [])


def _places(call: Call, rows: str) -> str:
    return str(call.add("Range", call.constant(0), _count(call, rows), call.constant(1)))


def _edges(call: Call, lengths: str) -> tuple[str, str]:
    """Return where segments begin, and where those behind them do."""
    ends = call.add("CumSum", lengths, call.constant(0))
    return call.add("Sub", ends, lengths), ends


def _by_lengths(call: Call, rows: str, index: int) -> _Segments:
    lengths = call.int64(index)
    starts, ends = (call.unsqueeze(edge, [1]) for edge in _edges(call, lengths))
    places = call.unsqueeze(_places(call, rows), [0])
    begun = call.add("GreaterOrEqual", places, starts)
    return _Segments(call.add("And", begun, call.add("Less", places, ends)), lengths)


def _stated(call: Call, name: str) -> str:
    number = call.integer(name)
    if number > _MAX_STATED:
        raise RefusedError(f"{name} {number}")
    return call.constant(number)


def _by_ids(call: Call, index: int) -> _Segments:
    """Take the segment of each row; there are as many as the largest says, or ``num_segments``."""
    ids = call.int64(index)
    if call.integer("num_segments", -1) > 0:
        total = _stated(call, "num_segments")
    else:
        total = call.add("Add", call.reduce("ReduceMax", ids, [0], keepdims=False), call.constant(1))
    numbers = call.unsqueeze(call.add("Range", call.constant(0), total, call.constant(1)), [1])
    member = call.add("Equal", numbers, call.unsqueeze(ids, [0]))
    return _Segments(member, call.reduce("ReduceSum", call.cast(member, "int64"), [1], keepdims=False))


def _summed(call: Call, segments: _Segments, rows: str, rank: int) -> str:
    """Sum up the rows of each segment."""
    dtype = call.dtype(0)
    weights = call.cast(segments.member, dtype)
    if rank == 1:
        return str(call.add("MatMul", weights, rows))
    sizes = call.sizes(rows, list(range(1, rank)))
    width = call.reduce("ReduceProd", sizes, [0])
    matrix = call.reshape(rows, call.add("Concat", call.sizes(rows, [0]), width, axis=0))
    total = call.add("MatMul", weights, matrix)
    if rank == 2:
        return str(total)
    return call.reshape(total, call.add("Concat", call.sizes(total, [0]), sizes, axis=0))


def _spread(call: Call, numbers: str, rank: int) -> str:
    """Shape one number a row so that it spreads over rows of ``rank``."""
    return call.unsqueeze(numbers, list(range(1, rank)))


def _reduced(how: str, *, sparse: bool, weighted: bool, ids: bool) -> Rule:
    """Return the rule for a reduction: inputs are the rows, weights, indices into the rows, and the segments."""

    def rule(call: Call) -> Result:
        rank = call.rank()
        at = 1 + weighted
        rows = call.add("Gather", call.input(0), call.input(at), axis=0) if sparse else call.input(0)
        if sparse and call.shape(0):
            call.limit(at, 0, call.shape(0)[0])
        at += sparse
        if weighted:
            rows = call.add("Mul", rows, _spread(call, call.input(1), rank))
        segments = _by_ids(call, at) if ids else _by_lengths(call, rows, at)
        if how == "Max":
            return _largest(call, segments, rows, rank)
        total = _summed(call, segments, rows, rank)
        if how == "Sum":
            return call.give("Identity", total)
        # A segment without rows is zero.
        divisor = call.cast(call.add("Max", segments.lengths, call.constant(1)), call.dtype(0))
        return call.give("Div", total, _spread(call, divisor, rank))

    return rule


def _largest(call: Call, segments: _Segments, rows: str, rank: int) -> Result:
    member = call.unsqueeze(segments.member, list(range(2, rank + 1)))
    lowest = call.scalar(-3.4028234663852886e38)
    found = call.reduce("ReduceMax", call.add("Where", member, call.unsqueeze(rows, [0]), lowest), [1], keepdims=False)
    filled = call.add("Greater", segments.lengths, call.constant(0))
    return call.give("Where", _spread(call, filled, rank), found, call.scalar(0.0))


def _positional(call: Call) -> Result:
    """Weigh each row by its place within its segment, and sum up."""
    rank = call.rank()
    rows = call.add("Gather", call.input(0), call.input(2), axis=0)
    segments = _by_lengths(call, rows, 3)
    weights = call.add("Gather", call.input(1), _within(call, segments, rows), axis=0)
    rows = call.add("Mul", rows, _spread(call, weights, rank))
    return call.give("Identity", _summed(call, segments, rows, rank))


def _owner(call: Call, segments: _Segments) -> str:
    """Return the segment of each row."""
    return str(call.add("ArgMax", call.cast(segments.member, "int32"), axis=0, keepdims=0))


def _within(call: Call, segments: _Segments, rows: str) -> str:
    """Return the place of each row within its segment."""
    starts, _ = _edges(call, segments.lengths)
    begun = call.add("Gather", starts, _owner(call, segments), axis=0)
    return str(call.add("Sub", _places(call, rows), begun))


def _all_rows(call: Call, index: int = 0) -> tuple[_Segments, str]:
    """Return the segments of as many rows as the lengths sum up to, and something with that many."""
    total = call.reduce("ReduceSum", call.int64(index), [0])
    rows = call.add("Expand", call.constant([0]), total)
    return _by_lengths(call, rows, index), rows


def _range_fill(call: Call) -> Result:
    segments, rows = _all_rows(call)
    return call.give("Cast", _within(call, segments, rows), to=_INT32)


def _segment_ids(call: Call) -> Result:
    segments, _ = _all_rows(call)
    return call.give("Cast", _owner(call, segments), to=_INT32)


def _ranges(call: Call) -> Result:
    starts, _ = _edges(call, call.int64(0))
    pairs = call.add("Concat", call.unsqueeze(starts, [1]), call.unsqueeze(call.int64(0), [1]), axis=1)
    return call.give("Cast", pairs, to=_INT32)


def _offsets(call: Call) -> Result:
    starts, ends = _edges(call, call.int64(0))
    if call.flag("include_last_offset"):
        starts = call.add("Concat", call.integers_of([0]), ends, axis=0)
    return call.give("Cast", starts, to=_INT32)


def _segment_lengths(call: Call) -> Result:
    return call.give("Cast", _by_ids(call, 0).lengths, to=_INT32)


def _segment_ranges(call: Call) -> Result:
    lengths = _by_ids(call, 0).lengths
    starts, _ = _edges(call, lengths)
    pairs = call.add("Concat", call.unsqueeze(starts, [1]), call.unsqueeze(lengths, [1]), axis=1)
    return call.give("Cast", pairs, to=_INT32)


def _weights_of(call: Call) -> Result:
    """Weigh each row by a power of one over the length of its segment."""
    segments, _ = _all_rows(call)
    lengths = call.cast(call.add("Gather", segments.lengths, _owner(call, segments), axis=0), "float32")
    return call.give("Pow", lengths, call.constant(-call.number("power", 0.5)))


def _tile(call: Call) -> Result:
    """Repeat each row as often as its length says."""
    segments, _ = _all_rows(call, 1)
    return call.give("Gather", call.input(0), _owner(call, segments), axis=0)


def _longest(call: Call, lengths: str) -> str:
    if call.integer("max_length", -1) > 0:
        return _stated(call, "max_length")
    return call.reduce("ReduceMax", lengths, [0], keepdims=False)


def _grid(call: Call, lengths: str, width: str) -> tuple[str, str]:
    """Return the places within segments as a row, and for each segment which of them it fills."""
    # Not a Range: onnx's propagation of values takes its sum with another list for that of two vectors.
    places = call.add("NonZero", call.add("Expand", call.constant([1]), call.reshape(width, [1])))
    return places, str(call.add("Less", places, call.unsqueeze(lengths, [1])))


def _pack(call: Call) -> Result:
    """Put segments below one another, filled up to the longest; the second output tells what is not filling."""
    lengths, rank = call.int64(0), call.rank(1)
    starts, _ = _edges(call, lengths)
    places, present = _grid(call, lengths, _longest(call, lengths))
    rows = call.add("Add", call.unsqueeze(starts, [1]), places)
    last = call.add("Sub", _count(call, call.input(1)), call.constant(1))
    found = call.add("Gather", call.input(1), call.add("Min", rows, last), axis=0)
    filling = call.scalar(-float("inf") if call.flag("pad_minf") else 0, 1)
    given = call.give("Where", call.unsqueeze(present, list(range(2, rank + 1))), found, filling)
    if len(call.operator.outputs) == 1:
        return given
    return given, call.give("Identity", present, at=1)


def _unpack(call: Call) -> Result:
    """Put the rows of segments behind one another, without what fills them up."""
    lengths, packed = call.int64(0), call.input(1)
    _, present = _grid(call, lengths, call.reshape(call.sizes(packed, [1]), []))
    rest = call.sizes(packed, list(range(2, call.rank(1))))
    rows = call.reshape(packed, call.add("Concat", call.integers_of([-1]), rest, axis=0))
    return call.give("Compress", rows, call.reshape(present, [-1]), axis=0)


def _reductions() -> Rules:
    rules: dict[str, Rule] = {}
    for how, weighted in (("Sum", False), ("Mean", False), ("Max", False), ("Sum", True)):
        name = f"Weighted{how}" if weighted else how
        for sparse in (False, True):
            prefix = "Sparse" if sparse else ""
            rules[f"{prefix}Lengths{name}"] = _reduced(how, sparse=sparse, weighted=weighted, ids=False)
            if how != "Max":
                by_ids = _reduced(how, sparse=sparse, weighted=weighted, ids=True)
                rules |= {f"{prefix}{order}Segment{name}": by_ids for order in ("Sorted", "Unsorted")}
    return rules


RULES: Final[Rules] = {
    **_reductions(),
    "LengthsRangeFill": _range_fill,
    "LengthsTile": _tile,
    "LengthsToOffsets": _offsets,
    "LengthsToRanges": _ranges,
    "LengthsToSegmentIds": _segment_ids,
    "LengthsToWeights": _weights_of,
    "PackSegments": _pack,
    "SegmentIdsToLengths": _segment_lengths,
    "SegmentIdsToRanges": _segment_ranges,
    "SparseLengthsPositionalWeightedSum": _positional,
    "UnpackSegments": _unpack,
}
