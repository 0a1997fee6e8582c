"""Shapes of the operators of Detectron that find objects; how many there are is known by the values alone."""

from collections.abc import Mapping, Sequence
from typing import Final

from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.values import Value
from klever.steps.formats.netdef.windows import Rule
from klever.steps.model.shapes import UNKNOWN

_SCORES: Final = Value((UNKNOWN,), "float32")
_LEVELS: Final = 16


def _proposals(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Give regions as rows of image and box; a rotated box has an angle too (five deltas for each anchor)."""
    del operator
    anchors = inputs[3].shape if len(inputs) > 3 else None
    width = anchors[1] if anchors is not None and len(anchors) == 2 else 4
    return [Value((UNKNOWN, UNKNOWN if width == UNKNOWN else width + 1), "float32"), _SCORES]


def _transform(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    regions, deltas = inputs[0].shape, inputs[1].shape if len(inputs) > 1 else None
    rows = regions[0] if regions else UNKNOWN
    columns = deltas[1] if deltas is not None and len(deltas) > 1 else UNKNOWN
    return [Value((rows, columns), "float32"), _SCORES]


def _limit(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Give scores, boxes, classes, how many each image has, which were kept and how many of each class."""
    del inputs
    width = 5 if operator.integer("rotated") else 4
    kept = Value((UNKNOWN,), "int32")
    return [_SCORES, Value((UNKNOWN, width), "float32"), _SCORES, _SCORES, kept, Value((UNKNOWN, UNKNOWN), "int32")]


def _regions(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    """Give all regions, those of each level and how to restore their order."""
    del inputs
    levels = min(len(operator.outputs), _LEVELS)
    rows = Value((UNKNOWN, 5), "float32")
    if operator.type == "CollectRpnProposals":
        return [rows]
    return [*[rows] * (levels - 1), Value((UNKNOWN,), "int32")]


def _keypoints(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    maps = inputs[0].shape
    if maps is None or len(maps) != 4:
        return [Value(None, "float32")]
    return [Value((maps[0], 4, maps[1]), "float32")]


def _permuted(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    del operator
    return [inputs[0]]


#: Operator type to the rule for its outputs.
RULES: Final[Mapping[str, Rule]] = {
    "BBoxTransform": _transform,
    "BatchPermutation": _permuted,
    "BoxWithNMSLimit": _limit,
    "CollectAndDistributeFpnRpnProposals": _regions,
    "CollectRpnProposals": _regions,
    "DistributeFpnProposals": _regions,
    "GenerateProposals": _proposals,
    "GenerateProposalsCPP": _proposals,
    "HeatmapMaxKeypoint": _keypoints,
}
