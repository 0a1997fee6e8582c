"""Features cut out of regions, and the regions that a network proposes.

Regions are rows of (image, x1, y1, x2, y2) in the pixels of the image; the definitions are those of ``roi_pooling.cc``,
``contrib/roi_align.cc``, ``contrib/psroi_pooling.cu`` and ``contrib/multi_proposal.cc``. What does not belong here:
suppression as such.
"""

from math import floor, sqrt
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.suppression import (
    Candidates,
    compacted,
    kept_boxes,
    rows_at,
    sorted_order,
)
from klever.steps.errors import MalformedModelError

_FAR: Final = 1 << 62
#: Detectors propose some thousands of regions, of some dozens of anchors in each cell.
_MAX_REGIONS: Final = 1 << 20
_MAX_ANCHORS: Final = 4096


def _pooled_size(call: Call) -> tuple[int, int]:
    sizes = call.integers("pooled_size") or ()
    if not 1 <= len(sizes) <= 2 or min(sizes) < 1:
        raise MalformedModelError(f"node {call.name!r} pools to {sizes}")
    return sizes[0], sizes[-1]


def _pool(call: Call) -> Results:
    """``ROIPooling``: the largest value of each bin; a region of image -1 is empty."""
    dtype = call.dtype()
    regions = call.as_type(call.input(1), call.dtype(1), dtype)
    present, regions = _present(call, regions, dtype)
    pooled = call.emit(
        "MaxRoiPool", [call.input(), regions], pooled_shape=list(_pooled_size(call)),
        spatial_scale=call.number("spatial_scale", 1.0),
    )  # fmt: skip
    return call.finish("Where", [present, pooled, call.constant(0.0)])


def _present(call: Call, regions: str, dtype: str) -> tuple[str, str]:
    """Return which regions have an image, for four dimensions, and the regions with image 0 for the others."""
    graph = call.graph
    images, corners = graph.slice(regions, [0], [1], [1]), graph.slice(regions, [1], [_FAR], [1])
    present = call.emit("GreaterOrEqual", [images, call.constant(0.0, dtype)])
    images = call.emit("Max", [images, call.constant(0.0, dtype)])
    return graph.unsqueeze(present, [2, 3]), graph.concat([images, corners], 1)


def _align(call: Call) -> Results:
    """``ROIAlign``: bilinear samples of each bin, averaged; a region of image -1 is empty."""
    graph, dtype = call.graph, call.dtype()
    height, width = _pooled_size(call)
    aligned = call.flag("aligned")
    if aligned and graph.opset < 16:
        raise UncoveredError("aligned=True only for operator set 16 and later")
    regions = call.as_type(call.input(1), call.dtype(1), dtype)
    present, regions = _present(call, regions, dtype)
    images = graph.cast(graph.squeeze(graph.slice(regions, [0], [1], [1]), [1]), "int64")
    mode = {"coordinate_transformation_mode": "half_pixel" if aligned else "output_half_pixel"}
    result = call.emit(
        "RoiAlign", [call.input(), graph.slice(regions, [1], [5], [1]), images],
        output_height=height, output_width=width, spatial_scale=call.number("spatial_scale", 1.0),
        sampling_ratio=max(call.integer("sample_ratio", -1), 0), **(mode if graph.opset >= 16 else {}),
    )  # fmt: skip
    if call.flag("position_sensitive"):
        result = _own_channels(call, result, height, width)
    return call.finish("Where", [present, result, call.constant(0.0)])


def _own_channels(call: Call, pooled: str, height: int, width: int) -> str:
    """Keep of (regions, channels * bins, height, width) in each bin the channels that are its own."""
    bins = height * width
    flat = call.graph.reshape(pooled, [0, -1, bins * bins])
    own = call.graph.slice(flat, [0], [_FAR], [2], [bins + 1])
    return call.graph.reshape(own, [0, -1, height, width])


def _pool_sensitive(call: Call) -> Results:
    """``PSROIPooling`` of R-FCN: the mean of each bin in channels of its own, by sums over areas from the origin."""
    graph = call.graph
    size, outputs = call.integer("pooled_size", 0), call.integer("output_dim", 0)
    groups = call.integer("group_size", 0) or size
    if min(size, outputs, groups) < 1 or outputs * size * size > 1 << 20:
        raise MalformedModelError(f"node {call.name!r} pools to {outputs} channels of {size}")
    # Sums of large areas keep their last digits in double precision alone.
    data = call.as_type(call.input(), call.dtype(), "float64")
    sums = call.emit("CumSum", [call.emit("CumSum", [data, call.integers_constant(2)]), call.integers_constant(3)])
    sums = graph.pad(sums, [0, 0, 1, 1, 0, 0, 0, 0], dtype="float64")
    regions = call.as_type(call.input(1), call.dtype(1), "float32")
    scale = call.number("spatial_scale", 1.0)
    vertical = _bin_edges(call, regions, 1, size, scale, call.size_of(call.input(), 2))
    horizontal = _bin_edges(call, regions, 0, size, scale, call.size_of(call.input(), 3))
    images = graph.cast(graph.slice(regions, [0], [1], [1]), "int64")
    bins = [min(max(floor(place * groups / size), 0), groups - 1) for place in range(size)]
    channels = [[[(c * groups + y) * groups + x for x in bins] for y in bins] for c in range(outputs)]
    total = ""
    for (edge_y, sign_y), (edge_x, sign_x) in (
        ((y, sy), (x, sx)) for y, sy in zip(vertical, (-1, 1), strict=True)
        for x, sx in zip(horizontal, (-1, 1), strict=True)
    ):  # fmt: skip
        corner = _at_corner(call, sums, images, channels, edge_y, edge_x)
        if sign_y * sign_x < 0:
            corner = call.emit("Neg", [corner])
        total = call.emit("Add", [total, corner]) if total else corner
    area = call.emit(
        "Mul",
        [
            graph.unsqueeze(call.emit("Sub", [vertical[1], vertical[0]]), [1, 3]),
            graph.unsqueeze(call.emit("Sub", [horizontal[1], horizontal[0]]), [1, 2]),
        ],
    )
    empty = call.emit("LessOrEqual", [area, call.integers_constant(0)])
    area = graph.cast(call.emit("Where", [empty, call.integers_constant(1), area]), "float64")
    mean = call.emit("Where", [empty, call.constant(0.0, "float64"), call.emit("Div", [total, area])])
    return graph.cast(mean, call.dtype(), **call.last)


def _bin_edges(call: Call, regions: str, column: int, size: int, scale: float, limit: str) -> tuple[str, str]:
    """Return where each region's bins begin and end along one side, int64 (regions, size), within the image.

    An end is never in front of its beginning.
    """
    graph = call.graph
    ends = [graph.slice(regions, [1 + column + 2 * end], [2 + column + 2 * end], [1]) for end in (0, 1)]
    low = call.emit("Mul", [_rounded(call, ends[0]), call.constant(scale, "float32")])
    beyond = call.emit("Add", [_rounded(call, ends[1]), call.constant(1.0, "float32")])
    high = call.emit("Mul", [beyond, call.constant(scale, "float32")])
    # A region of no size is made a tenth of a pixel.
    span = call.emit("Max", [call.emit("Sub", [high, low]), call.constant(0.1, "float32")])
    step = call.emit("Div", [span, call.constant(float(size), "float32")])
    edges = []
    for shift, op in ((0, "Floor"), (1, "Ceil")):
        places = call.constant([float(place + shift) for place in range(size)], "float32")
        edge = call.emit(op, [call.emit("Add", [call.emit("Mul", [places, step]), low])])
        edge = call.emit("Max", [graph.cast(edge, "int64"), call.integers_constant(0)])
        edges.append(call.emit("Min", [edge, limit]))
    return edges[0], call.emit("Max", [edges[1], edges[0]])


def _rounded(call: Call, values: str) -> str:
    """Round halves away from zero, as C does and ONNX does not."""
    grown = call.emit("Floor", [call.emit("Add", [call.emit("Abs", [values]), call.constant(0.5, "float32")])])
    return call.emit("Mul", [call.emit("Sign", [values]), grown])


def _at_corner(call: Call, sums: str, images: str, channels: list[list[list[int]]], y: str, x: str) -> str:
    """Return (regions, outputs, size, size): the sums up to a corner of each bin."""
    graph = call.graph
    parts = [
        graph.unsqueeze(images, [2, 3]),
        graph.unsqueeze(call.integers_constant(channels), [0]),  # type: ignore[arg-type]
        graph.unsqueeze(y, [1, 3]),
        graph.unsqueeze(x, [1, 2]),
    ]
    shape = ""
    for part in parts:
        shape = call.emit("Add", [shape, part]) if shape else part
    full = graph.shape(shape)
    places = [graph.unsqueeze(call.emit("Expand", [part, full]), [4]) for part in parts]
    return call.emit("GatherND", [sums, graph.concat(places, 4)])


def _propose(call: Call) -> Results:
    """``Proposal`` and ``MultiProposal``: the best regions of each image, repeated until there are enough."""
    graph = call.graph
    before, after = call.integer("rpn_pre_nms_top_n", 6000), call.integer("rpn_post_nms_top_n", 300)
    if not 1 <= after <= _MAX_REGIONS:
        raise MalformedModelError(f"node {call.name!r} proposes {after} regions")
    boxes, scores = _proposals(call)
    count = graph.gather(graph.shape(scores), [1])
    if before > 0:
        count = call.emit("Min", [count, call.integers_constant([before])])
    scores, order = sorted_order(call, scores, count)
    boxes = rows_at(call, boxes, order)
    # Sides are counted in whole pixels, both ends included.
    ends = call.emit("Add", [boxes, call.constant([0.0, 0.0, 1.0, 1.0])])
    kept = kept_boxes(call, Candidates(ends, scores), call.number("threshold", 0.7), None, after)
    rows = graph.concat([boxes, graph.unsqueeze(scores, [2])], 2)
    front = compacted(call, rows, kept, rows)
    number = graph.reduce("ReduceSum", kept, [1])
    places = call.emit("Mod", [call.integers_constant(list(range(after))), number])
    rows = rows_at(call, front, places)
    first = graph.slice(graph.shape(rows), [0], [1], [0])
    images = call.emit("Range", [call.integers_constant(0), graph.squeeze(first), call.integers_constant(1)])
    ends_of = call.emit(
        "Expand", [graph.unsqueeze(images, [1, 2]), graph.concat([first, call.integers_constant([after, 1])], 0)]
    )
    regions = graph.concat([graph.cast(ends_of, call.dtype()), graph.slice(rows, [0], [4], [2])], 2)
    results = [graph.reshape(regions, [-1, 5], **call.last)]
    if 1 in call.wanted:
        results.append(graph.reshape(graph.slice(rows, [4], [5], [2]), [-1, 1], **call.last_of([1])))
    return results


def _proposals(call: Call) -> tuple[str, str]:
    """Return boxes (batch, anchors, 4) and scores (batch, anchors), the anchors of a cell one after another."""
    graph = call.graph
    stride = call.integer("feature_stride", 16)
    scales, ratios = call.numbers("scales") or (4.0, 8.0, 16.0, 32.0), call.numbers("ratios") or (0.5, 1.0, 2.0)
    if stride < 1 or len(scales) * len(ratios) > _MAX_ANCHORS or min(*scales, *ratios) <= 0:
        raise MalformedModelError(f"node {call.name!r} has no sound anchors")
    anchors = _base_anchors(stride, scales, ratios)
    number = len(anchors)
    height, width = call.size_of(call.input(), 2), call.size_of(call.input(), 3)
    deltas = graph.reshape(graph.transpose(call.input(1), [0, 2, 3, 1]), [0, 0, 0, number, 4])
    moves = [graph.squeeze(part, [4]) for part in graph.split(deltas, [1, 1, 1, 1], 4)]
    # Cells along (height, width, anchors).
    down = call.emit("Mul", [graph.unsqueeze(_cells(call, height), [1, 2]), call.constant(float(stride))])
    right = call.emit("Mul", [graph.unsqueeze(_cells(call, width), [1]), call.constant(float(stride))])
    info = [graph.unsqueeze(graph.slice(call.input(2), [at], [at + 1], [1]), [2, 3]) for at in range(3)]
    decode = _shifted if call.flag("iou_loss") else _transformed
    sides = decode(call, anchors, moves, right, down)
    limits = [call.emit("Sub", [info[at], call.constant(1.0)]) for at in (1, 0)]
    zero = call.constant(0.0)
    sides = [call.emit("Max", [call.emit("Min", [side, limits[at % 2]]), zero]) for at, side in enumerate(sides)]
    scores = graph.transpose(graph.slice(call.input(), [number], [2 * number], [1]), [0, 2, 3, 1])
    outside = _outside(call, info, height, width, stride)
    sides, small = _enlarged(call, sides, info[2])
    gone = call.emit("Or", [outside, small])
    scores = call.emit("Where", [gone, call.constant(-1.0), scores])
    boxes = graph.concat([graph.unsqueeze(side, [4]) for side in sides], 4)
    batch = graph.slice(graph.shape(call.input()), [0], [1], [0])
    whole = call.integers_constant([-1])
    return (
        call.emit("Reshape", [boxes, graph.concat([batch, whole, call.integers_constant([4])], 0)]),
        call.emit("Reshape", [scores, graph.concat([batch, whole], 0)]),
    )


def _cells(call: Call, size: str) -> str:
    bound = call.graph.squeeze(size, [0])
    found = call.emit("Range", [call.integers_constant(0), bound, call.integers_constant(1)])
    return call.graph.cast(found, call.dtype())


def _base_anchors(stride: int, scales: tuple[float, ...], ratios: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Return the corners of the anchors of the first cell (``GenerateAnchors`` of ``proposal-inl.h``)."""
    found: list[tuple[float, ...]] = []
    centre = 0.5 * (stride - 1)
    for ratio in ratios:
        width = floor(sqrt(floor(stride * stride / ratio)) + 0.5)
        height = floor(width * ratio + 0.5)
        for scale in scales:
            half_w, half_h = 0.5 * (width * scale - 1), 0.5 * (height * scale - 1)
            found.append((centre - half_w, centre - half_h, centre + half_w, centre + half_h))
    return found


def _transformed(call: Call, anchors: list[tuple[float, ...]], moves: list[str], right: str, down: str) -> list[str]:
    """Move the anchors' centres in units of their sizes, and scale these; whole pixels, so a size is one more."""
    found: list[tuple[str, str]] = []
    one, half = call.constant(1.0), call.constant(0.5)
    for axis, shift in ((0, right), (1, down)):
        sizes = [anchor[axis + 2] - anchor[axis] + 1 for anchor in anchors]
        centres = [anchor[axis] + 0.5 * (size - 1) for anchor, size in zip(anchors, sizes, strict=True)]
        centre = call.emit("Add", [call.constant(centres), shift])
        size = call.constant(sizes)
        middle = call.emit("Add", [call.emit("Mul", [moves[axis], size]), centre])
        grown = call.emit("Mul", [call.emit("Exp", [moves[axis + 2]]), size])
        reach = call.emit("Mul", [call.emit("Sub", [grown, one]), half])
        found.append((call.emit("Sub", [middle, reach]), call.emit("Add", [middle, reach])))
    (left, right_side), (top, bottom) = found
    return [left, top, right_side, bottom]


def _shifted(call: Call, anchors: list[tuple[float, ...]], moves: list[str], right: str, down: str) -> list[str]:
    """Move the anchors' corners by so many pixels (``iou_loss``)."""
    return [
        call.emit(
            "Add",
            [
                call.emit("Add", [call.constant([anchor[place] for anchor in anchors]), down if place % 2 else right]),
                moves[place],
            ],
        )
        for place in range(4)
    ]


def _outside(call: Call, info: list[str], height: str, width: str, stride: int) -> str:
    """Tell the cells that lie in the padding of an image, along (batch, height, width, 1)."""
    graph = call.graph
    over = []
    for at, size, axes in ((0, height, [1, 2]), (1, width, [1])):
        real = call.emit("Floor", [call.emit("Div", [info[at], call.constant(float(stride))])])
        over.append(call.emit("GreaterOrEqual", [graph.unsqueeze(_cells(call, size), axes), real]))
    return call.emit("Or", over)


def _enlarged(call: Call, sides: list[str], scale: str) -> tuple[list[str], str]:
    """Widen boxes below the least size, and tell which those are."""
    least = call.emit("Mul", [scale, call.constant(float(call.integer("rpn_min_size", 16)))])
    one = call.constant(1.0)
    short = [
        call.emit("Less", [call.emit("Add", [call.emit("Sub", [sides[at + 2], sides[at]]), one]), least])
        for at in (0, 1)
    ]
    small = call.emit("Or", short)
    reach = call.emit("Where", [small, call.emit("Div", [least, call.constant(2.0)]), call.constant(0.0)])
    return [call.emit("Add" if at > 1 else "Sub", [side, reach]) for at, side in enumerate(sides)], small


def _no_rotation(_call: Call) -> Results:
    raise UncoveredError("ONNX cuts out no rotated regions")


RULES: Final[dict[str, Rule]] = {
    "roipooling": _pool,
    "roialign": _align,
    "rroialign": _no_rotation,
    "psroipooling": _pool_sensitive,
    "proposal": _propose,
    "multiproposal": _propose,
}
