"""Operators that find objects: regions from anchors, boxes from regions, the best of them, and what lies in them.

Caffe2 and Detectron count a box's last pixel in unless ``legacy_plus_one`` is 0; ONNX never does, so boxes are one
pixel longer where it judges their overlap. Source: ``generate_proposals_op*``, ``bbox_transform_op``,
``box_with_nms_limit_op``, ``collect_and_distribute_fpn_rpn_proposals_op``, ``roi_align_op`` and ``roi_pool_op``.
"""

from collections.abc import Sequence
from math import log
from typing import Final

from klever.steps.converters.netdef_to_onnx.call import END, Call, RefusedError, Result, Rules

#: The most that a box may grow: ``BBOX_XFORM_CLIP_DEFAULT`` in ``generate_proposals_op_util_boxes.h``.
_MAX_GROWTH: Final = log(1000.0 / 16.0)
#: Stands for a score that is out of the question, and the least that is not.
_LOWEST, _LEAST = -3.4028234663852886e38, -3.0e38
#: As many as there are.
_ALL: Final = 2**31 - 1
_INT32: Final = 6
#: Open Images has some 20,000 labels.
_MAX_CLASSES: Final = 1 << 16


def _upright(call: Call) -> int:
    """Return the pixel that boxes count more than their corners lie apart; raises `RefusedError` for turned boxes."""
    if call.flag("rotated"):
        raise RefusedError("for turned boxes")
    return int(call.flag("legacy_plus_one", default=True))


def _columns(call: Call, x: str, axis: int, count: int = 4) -> list[str]:
    """Return every ``count``-th element from the first, the second, ... on."""
    ends, axes, steps = (call.integers_of([part]) for part in (END, axis, count))
    return [str(call.add("Slice", x, call.integers_of([at]), ends, axes, steps)) for at in range(count)]


def _moved(call: Call, corners: Sequence[str], deltas: Sequence[str], weights: Sequence[float], more: int) -> list[str]:
    """Return the corners of boxes that are shifted and scaled by deltas; see ``bbox_transform_upright``."""
    half, pixel = call.constant(0.5), call.constant(float(more))
    limit = call.constant(_MAX_GROWTH)
    heads, tails = [], []
    for axis in (0, 1):
        low, high = corners[axis], corners[axis + 2]
        size = call.add("Add", call.add("Sub", high, low), pixel)
        centre = call.add("Add", low, call.add("Mul", half, size))
        shift, growth = (
            call.add("Div", deltas[at], call.constant(weights[at])) if weights[at] != 1 else deltas[at]
            for at in (axis, axis + 2)
        )
        centre = call.add("Add", call.add("Mul", shift, size), centre)
        reach = call.add("Mul", half, call.add("Mul", call.add("Exp", call.add("Min", growth, limit)), size))
        heads.append(str(call.add("Sub", centre, reach)))
        tails.append(str(call.add("Sub", call.add("Add", centre, reach), pixel)))
    return [*heads, *tails]


def _clipped(call: Call, corners: Sequence[str], width: str, height: str, more: int) -> list[str]:
    """Keep corners within an image, whose sizes are whole numbers."""
    pixel, zero = call.constant(float(more)), call.constant(0.0)
    last = [call.add("Sub", size, pixel) for size in (width, height)]
    return [str(call.add("Max", call.add("Min", corner, last[at % 2]), zero)) for at, corner in enumerate(corners)]


def _whole(call: Call, x: str) -> str:
    return call.cast(call.cast(x, "int32"), "float32")


def _transform(call: Call) -> Result:
    """Give the boxes of every class for each region, and how many regions each image has."""
    more = _upright(call)
    argument = call.argument("weights")
    weights = argument.floats if argument is not None and argument.floats else (1.0,) * 4
    if len(weights) != 4 or 0 in weights:
        raise RefusedError(f"with weights {list(weights)}")
    rois, info = call.input(0), call.input(2)
    indexed = call.size(1) == 5
    if indexed:
        ids = call.cast(call.squeeze(call.slice(rois, 0, 1, 1), [1]), "int64")
        rois = call.slice(rois, 1, 5, 1)
    else:
        ids = call.add("Expand", call.constant([0]), call.sizes(rois, [0]))
    height, width, scale = _columns(call, call.add("Gather", info, ids, axis=0), 1, 3)
    corners = _columns(call, call.add("Div", rois, scale), 1)
    moved = _moved(call, corners, _columns(call, call.input(1), 1), weights, more)
    half = call.constant(0.5)
    width, height = (_whole(call, call.add("Add", call.add("Div", size, scale), half)) for size in (width, height))
    kept = _clipped(call, moved, width, height, more)
    if call.flag("apply_scale", default=True):
        kept = [str(call.add("Mul", corner, scale)) for corner in kept]
    joined = call.add("Concat", *(call.unsqueeze(corner, [2]) for corner in kept), axis=2)
    given = call.give_reshaped(joined, call.sizes(call.input(1)))
    if len(call.operator.outputs) == 1:
        return given
    numbers = call.add("Range", call.constant(0), call.reshape(call.sizes(info, [0]), []), call.constant(1))
    own = call.add("Equal", call.unsqueeze(numbers, [1]), call.unsqueeze(ids, [0]))
    return given, call.give_reduced("ReduceSum", call.cast(own, "float32"), [1], keepdims=False, at=1)


def _anchors(call: Call, scores: str) -> str:
    """Return the anchors at every place of the grid, in the order of rows, columns and anchors: (1, places, 4)."""
    stride = call.constant(1.0 / call.number("spatial_scale", 1.0 / 16))
    steps = []
    for axis in (3, 2):
        count = call.reshape(call.sizes(scores, [axis]), [])
        numbers = call.cast(call.add("Range", call.constant(0), count, call.constant(1)), "float32")
        steps.append(call.add("Mul", numbers, stride))
    across = call.unsqueeze(steps[0], [0, 2, 3])
    down = call.unsqueeze(steps[1], [1, 2, 3])
    grid = call.sizes(scores, [2, 3])
    wanted = call.add("Concat", grid, call.integers_of([1, 1]), axis=0)
    shifts = [call.add("Expand", step, wanted) for step in (across, down)]
    shift = call.add("Concat", *shifts, *shifts, axis=3)
    return call.reshape(call.add("Add", shift, call.unsqueeze(call.input(3), [0, 1])), [1, -1, 4])


def _proposals(call: Call) -> Result:
    """Give the best regions of each image as rows of image and box, and their scores."""
    if call.size(1, 3) != 4:
        raise RefusedError("for turned boxes")
    more = _upright(call)
    scores, deltas, info = (call.input(index) for index in (0, 1, 2))
    flat = call.reshape(call.transpose(scores, (0, 2, 3, 1)), [0, -1])
    moves = call.reshape(
        call.transpose(deltas, (0, 2, 3, 1)), call.add("Concat", call.sizes(flat), _four(call), axis=0)
    )
    wanted = call.integer("pre_nms_topN", 6000)
    count = call.sizes(flat, [1])
    if wanted > 0:
        count = call.add("Min", count, call.integers_of([wanted]))
    best, places = call.add("TopK", flat, count, outputs=2, axis=1)
    spots = call.unsqueeze(places, [2])
    boxes = call.reshape(call.add("Gather", _anchors(call, scores), places, axis=1), [0, 0, -1, 4])
    corners = _columns(call, call.squeeze(boxes, [0]), 2)
    chosen = _columns(call, call.add("GatherND", moves, spots, batch_dims=1), 2)
    height, width, scale = (call.unsqueeze(size, [1]) for size in _columns(call, info, 1, 3))
    moved = _moved(call, corners, chosen, (1.0,) * 4, more)
    kept = _clipped(call, moved, _whole(call, width), _whole(call, height), more)
    limit = call.add("Mul", call.constant(call.number("min_size", 16.0)), scale)
    large = _large(call, kept, limit, width, height, more)
    judged = call.add("Where", call.squeeze(large, [2]), best, call.constant(_LOWEST))
    judged = _one_flat(call, kept, judged, more)
    found = call.add(
        "NonMaxSuppression",
        _longer(call, kept, more),
        call.unsqueeze(judged, [1]),
        call.constant([call.integer("post_nms_topN", 300) if call.integer("post_nms_topN", 300) > 0 else _ALL]),
        call.constant([call.number("nms_thresh", 0.7)]),
        call.constant([_LEAST]),
    )
    where = call.add("Gather", found, call.constant([0, 2]), axis=1)
    images = call.cast(call.slice(found, 0, 1, 1), "float32")
    regions = call.add("GatherND", call.add("Concat", *kept, axis=2), where)
    return call.give("Concat", images, regions, axis=1), call.give("GatherND", best, where, at=1)


def _four(call: Call) -> str:
    return call.integers_of([4])


def _large(call: Call, corners: Sequence[str], limit: str, width: str, height: str, more: int) -> str:
    """Tell which boxes have sides of at least ``limit`` and their centres within the image."""
    pixel, half = call.constant(float(more)), call.constant(0.5)
    checks = []
    for axis, size in enumerate((width, height)):
        side = call.add("Add", call.add("Sub", corners[axis + 2], corners[axis]), pixel)
        centre = call.add("Add", corners[axis], call.add("Mul", side, half))
        checks += [call.add("GreaterOrEqual", side, limit), call.add("Less", centre, size)]
    return str(call.add("And", call.add("And", *checks[:2]), call.add("And", *checks[2:])))


def _longer(call: Call, corners: Sequence[str], more: int) -> str:
    """Join the corners of boxes, longer by the pixel that they count."""
    pixel = call.constant(float(more))
    tails = [call.add("Add", corner, pixel) for corner in corners[2:]] if more else corners[2:]
    return str(call.add("Concat", *corners[:2], *tails, axis=2))


def _one_flat(call: Call, corners: Sequence[str], scores: str, more: int) -> str:
    """Leave one box without area in the judgement, the best: in Caffe2 it puts out all others.

    The overlap of two such boxes is 0 / 0, which is not at most any threshold.
    """
    if more:
        return scores
    sides = [call.add("Sub", corners[axis + 2], corners[axis]) for axis in (0, 1)]
    flat = call.add("Equal", call.squeeze(call.add("Mul", *sides), [2]), call.constant(0.0))
    lowest = call.constant(_LOWEST)
    best = call.reduce("ReduceMax", call.add("Where", flat, scores, lowest), [-1])
    return str(call.add("Where", call.add("And", flat, call.add("Less", scores, best)), lowest, scores))


def _limit(call: Call) -> Result:
    """Give the best boxes of each class of each image, and of those the best of the image.

    Every class of every image is judged on its own, as one item of a batch; rows of other images are out of question.
    """
    more = _upright(call)
    if call.flag("soft_nms_enabled"):
        raise RefusedError("with soft_nms_enabled")
    classes = call.size(1, 0)
    if not 2 <= classes <= _MAX_CLASSES:
        raise RefusedError(f"for {classes} classes, of which one is the background")
    # Where boxes leave the background out, scores have it behind the other classes and not before them.
    first = int(call.flag("input_boxes_include_bg_cls", default=True))
    scores = call.reshape(call.input(0), [0, classes])
    splits, owner = _images(call, scores)
    # Scores by image, class and row; those of the background are left out.
    by_class = call.unsqueeze(call.transpose(call.slice(scores, first, first + classes - 1, 1), (1, 0)), [0])
    judged = call.add("Where", call.unsqueeze(owner, [1]), by_class, call.constant(_LOWEST))
    corners = _of_classes(call, classes, first)
    sides = _columns(call, corners, 2)
    judged = _one_flat(call, sides, judged, more)
    longer = _longer(call, sides, more)
    count = call.sizes(owner, [0])
    one = call.integers_of([1])
    every = call.add("Tile", longer, call.add("Concat", count, one, one, axis=0))
    limit = call.integer("detections_per_im", 100)
    found = call.add(
        "NonMaxSuppression",
        every,
        call.unsqueeze(call.reshape(judged, call.add("Concat", *_flat(call, judged), axis=0)), [1]),
        call.constant([limit if limit > 0 else _ALL]),
        call.constant([call.number("nms", 0.3)]),
        call.constant([max(call.number("score_thresh", 0.05), _LEAST)]),
    )
    item, row = (call.reshape(call.slice(found, at, at + 1, 1), [-1]) for at in (0, 2))
    per_image = call.constant(classes - 1)
    image, kind = call.add("Div", item, per_image), call.add("Mod", item, per_image)
    value = call.add("GatherND", by_class, _joined(call, call.add("Mul", item, call.constant(0)), kind, row))
    if limit > 0:
        chosen = _best_of_images(call, image, value, count, limit)
        image, kind, row, value = (str(call.add("Gather", each, chosen, axis=0)) for each in (image, kind, row, value))
    results = [
        call.give("Identity", value),
        call.give("GatherND", corners, _joined(call, kind, row), at=1),
        call.give("Add", call.cast(kind, "float32"), call.constant(_labels_from(call)), at=2),
    ]
    if len(call.operator.outputs) > 3:
        results += _counts(call, image, kind, row, count, splits, classes)
    return results


def _of_classes(call: Call, classes: int, first: int) -> str:
    """Return the boxes of each class but the background: (classes - 1, rows, 4)."""
    if call.flag("cls_agnostic_bbox_reg"):
        boxes = call.unsqueeze(call.reshape(call.input(1), [0, 4]), [0])
        return str(call.add("Expand", boxes, call.integers_of([classes - 1, 1, 1])))
    boxes = call.reshape(call.input(1), [0, classes - 1 + first, 4])
    return call.transpose(call.slice(boxes, first, END, 1), (1, 0, 2))


def _labels_from(call: Call) -> float:
    """Return the number of the first class that is not the background."""
    return float(call.flag("output_classes_include_bg_cls", default=True))


def _flat(call: Call, judged: str) -> tuple[str, str]:
    """Return the sizes that make one item of each class of each image."""
    return call.integers_of([-1]), call.sizes(judged, [2])


def _joined(call: Call, *columns: str) -> str:
    return str(call.add("Concat", *(call.unsqueeze(column, [1]) for column in columns), axis=1))


def _images(call: Call, scores: str) -> tuple[str, str]:
    """Return at which row each image begins, and which rows are its own: (images, rows)."""
    rows = call.sizes(scores, [0])
    splits = call.int64(2) if len(call) > 2 else rows
    ends = call.add("CumSum", splits, call.constant(0))
    starts = call.add("Sub", ends, splits)
    places = call.unsqueeze(call.add("Range", call.constant(0), call.reshape(rows, []), call.constant(1)), [0])
    begun = call.add("GreaterOrEqual", places, call.unsqueeze(starts, [1]))
    return starts, str(call.add("And", begun, call.add("Less", places, call.unsqueeze(ends, [1]))))


def _best_of_images(call: Call, image: str, value: str, count: str, limit: int) -> str:
    """Return the places of the ``limit`` best of each image, in their order."""
    numbers = call.add("Range", call.constant(0), call.reshape(count, []), call.constant(1))
    own = call.add("Equal", call.unsqueeze(numbers, [1]), call.unsqueeze(image, [0]))
    masked = call.add("Where", own, call.unsqueeze(value, [0]), call.constant(_LOWEST))
    wanted = call.add("Min", call.sizes(value, [0]), call.integers_of([limit]))
    best, places = call.add("TopK", masked, wanted, outputs=2, axis=1)
    real = call.reshape(call.add("Greater", best, call.constant(_LEAST)), [-1])
    kept = call.add("Compress", call.reshape(places, [-1]), real, axis=0)
    _, order = call.add("TopK", kept, call.sizes(kept), outputs=2, axis=0, largest=0)
    return str(call.add("Gather", kept, order, axis=0))


def _counts(call: Call, image: str, kind: str, row: str, count: str, starts: str, classes: int) -> list[str]:
    """Give how many boxes each image has, which rows of it were kept, and how many of each class."""
    numbers = call.add("Range", call.constant(0), call.reshape(count, []), call.constant(1))
    own = call.add("Equal", call.unsqueeze(numbers, [1]), call.unsqueeze(image, [0]))
    given = [call.give_reduced("ReduceSum", call.cast(own, "float32"), [1], keepdims=False, at=3)]
    if len(call.operator.outputs) > 4:
        within = call.add("Sub", row, call.add("Gather", starts, image, axis=0))
        given.append(call.give("Cast", within, at=4, to=_INT32))
        labels = call.unsqueeze(call.integers_of(range(-1, classes - 1)), [1])
        same = call.add("Equal", labels, call.unsqueeze(kind, [0]))
        both = call.add("And", call.unsqueeze(own, [1]), call.unsqueeze(same, [0]))
        given.append(call.give_reduced("ReduceSum", call.cast(both, "int32"), [2], keepdims=False, at=5))
    return given


def _collected(call: Call, levels: int) -> str:
    """Return the best of the regions of all levels, in the order of their scores."""
    if levels < 1 or len(call) != 2 * levels:
        raise RefusedError(f"with {len(call)} inputs for {levels} levels")
    rois = call.add("Concat", *(call.input(index) for index in range(levels)), axis=0)
    scores = [call.reshape(call.input(index), [-1]) for index in range(levels, 2 * levels)]
    joined = call.add("Concat", *scores, axis=0)
    count, limit = call.sizes(joined, [0]), call.integer("rpn_post_nms_topN", 2000)
    if limit > 0:
        count = call.add("Min", count, call.integers_of([limit]))
    _, places = call.add("TopK", joined, count, outputs=2, axis=0)
    return str(call.add("Gather", rois, places, axis=0))


def _levels(call: Call, name: str, least: int, most: int) -> tuple[int, int]:
    low, high = call.integer(f"{name}_min_level", least), call.integer(f"{name}_max_level", most)
    if not 0 <= high - low < 32:
        raise RefusedError(f"with levels {low} to {high}")
    return low, high


def _distributed(call: Call, rois: str, at: int) -> list[str]:
    """Give the regions of each level by their size, and how to put them back in order."""
    low, high = _levels(call, "roi", 2, 5)
    if len(call.operator.outputs) != at + high - low + 2:
        raise RefusedError(f"with {len(call.operator.outputs)} outputs for levels {low} to {high}")
    pixel = call.constant(float(_upright(call)))
    x1, y1, x2, y2 = (call.slice(rois, place, place + 1, 1) for place in range(1, 5))
    sides = [call.add("Add", call.add("Sub", *pair), pixel) for pair in ((x2, x1), (y2, y1))]
    size = call.add("Sqrt", call.add("Mul", *sides))
    ratio = call.add("Div", size, call.constant(float(call.integer("roi_canonical_scale", 224))))
    power = call.add("Div", call.add("Log", call.add("Add", ratio, call.constant(1e-6))), call.constant(log(2.0)))
    level = call.add("Floor", call.add("Add", call.constant(float(call.integer("roi_canonical_level", 4))), power))
    level = call.add("Clip", level, call.constant(float(low)), call.constant(float(high)))
    level = call.reshape(level, [-1])
    places = call.add("Range", call.constant(0), call.reshape(call.sizes(rois, [0]), []), call.constant(1))
    given, order = [], []
    for position, number in enumerate(range(low, high + 1)):
        own = call.add("Equal", level, call.constant(float(number)))
        given.append(call.give("Compress", rois, own, at=at + position, axis=0))
        order.append(call.add("Compress", places, own, axis=0))
    order_ = call.add("Concat", *order, axis=0)
    _, restored = call.add("TopK", order_, call.sizes(order_), outputs=2, axis=0, largest=0)
    return [*given, call.give("Cast", restored, at=at + len(given), to=_INT32)]


def _collect_and_distribute(call: Call) -> Result:
    low, high = _levels(call, "rpn", 2, 6)
    rois = call.give("Identity", _collected(call, high - low + 1))
    return [rois, *_distributed(call, rois, 1)]


def _collect(call: Call) -> Result:
    low, high = _levels(call, "rpn", 2, 6)
    return call.give("Identity", _collected(call, high - low + 1))


def _distribute(call: Call) -> Result:
    return _distributed(call, call.input(), 0)


def _aligned(call: Call) -> Result:
    """Average what lies in each region, by samples between the pixels."""
    aligned = call.flag("aligned")
    if aligned and call.graph.opset < 16:
        raise RefusedError("aligned only from operator set 16 on")
    rois = call.input(1)
    if call.size(1, 1) == 5:
        images = call.cast(call.squeeze(call.slice(rois, 0, 1, 1), [1]), "int64")
        rois = call.slice(rois, 1, 5, 1)
    else:
        images = call.add("Expand", call.constant([0]), call.sizes(rois, [0]))
    mode = "half_pixel" if aligned else "output_half_pixel"
    return call.give_image(
        "RoiAlign",
        call.channels_first(),
        rois,
        images,
        rank=4,
        output_height=call.integer("pooled_h", 1),
        output_width=call.integer("pooled_w", 1),
        sampling_ratio=max(call.integer("sampling_ratio", -1), 0),
        spatial_scale=call.number("spatial_scale", 1.0),
        coordinate_transformation_mode=mode if call.graph.opset >= 16 else None,
    )


def _pooled(call: Call) -> Result:
    """Give the maxima of each region; where they were found serves gradients alone."""
    if call.last:
        raise RefusedError("for NHWC")
    sizes = [call.integer("pooled_h", 1), call.integer("pooled_w", 1)]
    scale = call.number("spatial_scale", 1.0)
    return call.give("MaxRoiPool", call.input(0), call.input(1), pooled_shape=sizes, spatial_scale=scale)


RULES: Final[Rules] = {
    "BBoxTransform": _transform,
    "BoxWithNMSLimit": _limit,
    "CollectAndDistributeFpnRpnProposals": _collect_and_distribute,
    "CollectRpnProposals": _collect,
    "DistributeFpnProposals": _distribute,
    "GenerateProposals": _proposals,
    "GenerateProposalsCPP": _proposals,
    "RoIAlign": _aligned,
    "RoIPool": _pooled,
}
