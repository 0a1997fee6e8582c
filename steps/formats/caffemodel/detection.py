"""Shapes of the layers that find objects: prior boxes, regions of interest, detections.

How many objects there are is known by the values alone, so that count stays open. The rules are those of the forks
that brought the layers: SSD (``caffe-ssd``), Faster R-CNN and R-FCN.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from klever.steps.encodings.prototext import Fields
from klever.steps.formats.caffemodel.graph import Layer
from klever.steps.model.shapes import UNKNOWN, Shape, count


def priors_per_cell(fields: Fields) -> int:
    """Count the boxes that a ``PriorBoxParameter`` lays over each cell.

    Every smallest size with each ratio, 1 and the flipped ones among them, and one box more for each largest size.
    """
    ratios = [1.0]
    for ratio in fields.numbers("aspect_ratio"):
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios.append(ratio)
            if fields.flag("flip", default=True) and ratio:
                ratios.append(1 / ratio)
        if len(ratios) > 1000:
            break
    return len(ratios) * len(fields.values("min_size")) + len(fields.values("max_size"))


def _prior_box(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    bottom = bottoms[0] if bottoms else None
    boxes = priors_per_cell(layer.fields.message("prior_box_param"))
    cells = count(bottom[2:]) if bottom is not None and len(bottom) == 4 else UNKNOWN
    # One set of priors serves the whole batch; the second channel holds the variances.
    return [(1, 2, count((cells, boxes, 4)))]


def _detections(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Give a row for each object: image, label, confidence and the four edges of its box."""
    del layer, bottoms
    return [(1, 1, UNKNOWN, 7)]


def proposal(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Give regions as rows of image and box, and their scores where the layer has a second top."""
    del layer, bottoms
    return [(UNKNOWN, 5), (UNKNOWN, 1)]


def _pooled_regions(name: str) -> Callable[[Layer, Sequence[Shape]], list[Shape]]:
    def rule(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
        fields = layer.fields.message(name)
        channels = bottoms[0][1] if bottoms and bottoms[0] is not None and len(bottoms[0]) == 4 else UNKNOWN
        regions = bottoms[1][0] if len(bottoms) > 1 and bottoms[1] else UNKNOWN
        return [(regions, channels, fields.integer("pooled_h") or UNKNOWN, fields.integer("pooled_w") or UNKNOWN)]

    return rule


def _sensitive_regions(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("psroi_pooling_param")
    group = fields.integer("group_size") or UNKNOWN
    regions = bottoms[1][0] if len(bottoms) > 1 and bottoms[1] else UNKNOWN
    return [(regions, fields.integer("output_dim") or UNKNOWN, group, group)]


#: Layer type to the rule for the shapes of its tops.
RULES: Final[Mapping[str, Callable[[Layer, Sequence[Shape]], Sequence[Shape]]]] = {
    "DetectionOutput": _detections,
    "PSROIPooling": _sensitive_regions,
    "PriorBox": _prior_box,
    "Proposal": proposal,
    "ROIAlign": _pooled_regions("roi_align_param"),
    "ROIPooling": _pooled_regions("roi_pooling_param"),
    "YoloDetectionOutput": _detections,
    "Yolov3DetectionOutput": _detections,
}
