"""Shapes of the operators on rows and segments, and of rarer arrangement.

Each rule is the operator's ``RunOnDevice`` in ``caffe2/operators``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.values import Value
from klever.steps.formats.netdef.windows import Rule, channels_last
from klever.steps.model.shapes import UNKNOWN, Shape, broadcast, count, normalise_axis, reduce

_MAX_RANK: Final = 32


def _shaped(make: Callable[[tuple[int, ...]], Shape], *, place: int = 0, dtype: str | None = None) -> Rule:
    """Return the rule for outputs whose shape follows from that of one input; of its type where none is stated."""

    def rule(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
        del operator
        if len(inputs) <= place:
            return []
        value = inputs[place]
        return [Value(None if not value.shape else make(value.shape), dtype or value.dtype)]

    return rule


def _item(shape: tuple[int, ...], at: int) -> int:
    return shape[at] if at < len(shape) else UNKNOWN


def _halved(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data = inputs[0]
    if not data.shape:
        return [Value(None, data.dtype)]
    axis = normalise_axis(operator.integer("dim", -1), len(data.shape))
    size = data.shape[axis]
    half = UNKNOWN if size == UNKNOWN else size // 2
    return [Value((*data.shape[:axis], half, *data.shape[axis + 1 :]), data.dtype)]


def _prepended(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    data, size = inputs[0], operator.integer("dim_size")
    if not data.shape or not 0 < size < 2**62:
        return [Value(None, data.dtype)]
    first = UNKNOWN if data.shape[0] == UNKNOWN else data.shape[0] // size
    return [Value((size, first, *data.shape[1:]), data.dtype)]


def _moments(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    keep = operator.integer("keepdims", 1) != 0
    return [Value(reduce(inputs[0].shape, operator.integers("axes") or None, keep=keep), inputs[0].dtype)] * 2


def _batch_moments(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    shape = inputs[0].shape
    channels = _item(shape, len(shape) - 1 if channels_last(operator) else 1) if shape else UNKNOWN
    return [Value((channels,), inputs[0].dtype)] * 2


def _expanded(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    data, wanted = inputs[0], inputs[1] if len(inputs) > 1 else Value()
    if wanted.content is not None:
        return [Value(broadcast(data.shape, tuple(max(size, 1) for size in wanted.content)), data.dtype)]
    rank = wanted.shape[0] if wanted.shape else UNKNOWN
    if data.shape is None or not 0 <= rank <= _MAX_RANK:
        return [Value(None, data.dtype)]
    return [Value((UNKNOWN,) * max(rank, len(data.shape)), data.dtype)]


def _masked(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    data = inputs[0]
    return [Value((UNKNOWN, *data.shape[1:]) if data.shape else None, data.dtype), Value((UNKNOWN,), "int64")]


def _pooled_pieces(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    shape = inputs[0].shape
    return [Value((UNKNOWN, shape[1], UNKNOWN, UNKNOWN) if shape and len(shape) == 4 else None, inputs[0].dtype)]


def _offsets(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    size = inputs[0].shape[0] if inputs[0].shape else UNKNOWN
    more = operator.integer("include_last_offset")
    return [Value((UNKNOWN if size == UNKNOWN else size + more,), "int32")]


def _packed(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Give segments below one another, and which of their places are filled."""
    lengths, data = inputs[0].shape, inputs[1] if len(inputs) > 1 else Value()
    outer = (lengths[0] if lengths else UNKNOWN, max(operator.integer("max_length", -1), UNKNOWN))
    return [Value((*outer, *data.shape[1:]) if data.shape else None, data.dtype), Value(outer, "bool")]


def _rules(rule: Rule, *kinds: str) -> dict[str, Rule]:
    return dict.fromkeys(kinds, rule)


#: Operator type to the rule for its outputs.
RULES: Final[Mapping[str, Rule]] = {
    **_rules(_shaped(lambda shape: shape[:1]), "CosineSimilarity", "DotProduct", "L1Distance", "ReduceTailSum"),
    **_rules(_shaped(lambda shape: shape[:1]), "SquaredL2Distance"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "LengthsTile", "SortedSegmentMean", "SortedSegmentSum"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "SortedSegmentWeightedSum", "UnsortedSegmentMean"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "SparseSortedSegmentMean", "SparseSortedSegmentSum"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "SparseSortedSegmentWeightedSum", "UnsortedSegmentSum"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "SparseUnsortedSegmentMean", "SparseUnsortedSegmentSum"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "SparseUnsortedSegmentWeightedSum"),
    **_rules(_shaped(lambda shape: (UNKNOWN, *shape[1:])), "UnsortedSegmentWeightedSum"),
    **_rules(_shaped(lambda _: (UNKNOWN,), dtype="int32"), "LengthsRangeFill", "LengthsToSegmentIds"),
    **_rules(_shaped(lambda _: (UNKNOWN,), dtype="int32"), "SegmentIdsToLengths"),
    **_rules(_shaped(lambda _: (UNKNOWN, 2), dtype="int32"), "SegmentIdsToRanges"),
    **_rules(_shaped(lambda shape: (shape[0], 2), dtype="int32"), "LengthsToRanges"),
    **_rules(_shaped(lambda _: (UNKNOWN,), dtype="float32"), "LengthsToWeights"),
    **_rules(_shaped(lambda shape: shape, place=1), "Conditional", "Where"),
    **_rules(_shaped(lambda shape: shape[:1]), "CrossEntropy", "LabelCrossEntropy"),
    "Accuracy": lambda *_: [Value((), "float32")],
    "BatchMoments": _batch_moments,
    "BatchToSpace": _pooled_pieces,
    "BooleanMask": _masked,
    "ColwiseMax": _shaped(lambda shape: (shape[0], _item(shape, 2))),
    "Expand": _expanded,
    "Glu": _halved,
    "LengthsToOffsets": _offsets,
    "LpNorm": _shaped(lambda _: (1,)),
    "MakeTwoClass": _shaped(lambda shape: (*shape, 2)),
    "MergeDim": _shaped(lambda shape: (count(shape[:2]), *shape[2:])),
    "Moments": _moments,
    "NumpyTile": _shaped(lambda shape: (UNKNOWN,) * len(shape)),
    "PackSegments": _packed,
    "PrependDim": _prepended,
    "Range": lambda _, inputs: [Value((UNKNOWN,), inputs[0].dtype)],
    "RowwiseMax": _shaped(lambda shape: shape[:2]),
    "Size": lambda *_: [Value((), "int64")],
    "SoftmaxWithLoss": lambda _, inputs: [inputs[0], Value((), inputs[0].dtype)],
    "SpaceToBatch": _pooled_pieces,
    "UnpackSegments": _shaped(lambda shape: (UNKNOWN, *shape[2:]), place=1),
}
