"""Operators of detectors: anchors, boxes and their suppression, matching.

The definitions are those of ``multibox_prior.cc``, ``multibox_detection.cc`` and ``bounding_box-inl.h`` in MXNet's
``src/operator/contrib``. What does not belong here: features cut out of regions.
"""

from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import (
    MAX_COMPUTED_ELEMENTS,
    Call,
    Results,
    Rule,
    ShapeNeededError,
    UncoveredError,
)
from klever.steps.converters.mxnetparams_to_onnx.rules.suppression import (
    LOWEST,
    Candidates,
    compacted,
    kept_boxes,
    rows_at,
    sorted_order,
)
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _place_anchors(call: Call) -> Results:
    """``MultiBoxPrior``: boxes of all sizes and ratios around the centre of each cell, known from the shape alone."""
    height, width = call.dims()[2:]
    if UNKNOWN in (height, width):
        raise ShapeNeededError(0)
    sizes, ratios = call.numbers("sizes") or (1.0,), call.numbers("ratios") or (1.0,)
    steps, offsets = call.numbers("steps") or (-1.0, -1.0), call.numbers("offsets") or (0.5, 0.5)
    boxes = len(sizes) + len(ratios) - 1
    if len(steps) != 2 or len(offsets) != 2 or not all(0 < number < float("inf") for number in (*sizes, *ratios)):
        raise MalformedModelError(f"node {call.name!r} places anchors of the sizes {sizes} and ratios {ratios}")
    if height * width * boxes * 4 > MAX_COMPUTED_ELEMENTS:
        raise LimitExceededError(f"node {call.name!r} places {height * width * boxes} anchors")
    clip = call.flag("clip")

    def compute() -> "NDArray[Any]":
        return _anchors(height, width, sizes, ratios, (steps[0], steps[1]), (offsets[0], offsets[1]), clip=clip)

    anchors = call.computed(compute, "float32", (1, height * width * boxes, 4), "anchors")
    return call.as_type(anchors, "float32", call.dtype())


def _anchors(
    height: int,
    width: int,
    sizes: tuple[float, ...],
    ratios: tuple[float, ...],
    steps: tuple[float, float],
    offsets: tuple[float, float],
    *,
    clip: bool,
) -> "NDArray[Any]":
    import numpy as np

    step_y, step_x = (step if step > 0 else 1 / size for step, size in zip(steps, (height, width), strict=True))
    # Every size with the first ratio, then the first size with the other ratios.
    pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    half_w = np.array([size * height / width * np.sqrt(ratio) / 2 for size, ratio in pairs], np.float32)
    half_h = np.array([size / np.sqrt(ratio) / 2 for size, ratio in pairs], np.float32)
    y = ((np.arange(height, dtype=np.float32) + offsets[0]) * step_y)[:, None, None]
    x = ((np.arange(width, dtype=np.float32) + offsets[1]) * step_x)[None, :, None]
    corners = np.broadcast_arrays(x - half_w, y - half_h, x + half_w, y + half_h)
    boxes = np.stack(corners, axis=-1).reshape(1, -1, 4)
    return np.clip(boxes, 0, 1) if clip else boxes


def _detect(call: Call) -> Results:
    """``MultiBoxDetection`` of (batch, classes, anchors), (batch, anchors * 4) and (1, anchors, 4).

    A row is a class, its score and four corners; the class of a suppressed row is -1, all of an empty one.
    """
    graph, threshold = call.graph, call.number("nms_threshold", 0.5)
    scores = graph.slice(_wide(call, 0), [1], [1 << 62], [1])
    best = graph.reduce("ReduceMax", scores, [1], keepdims=False)
    found = call.emit("ArgMax", [scores], axis=1, keepdims=0)
    least = max(call.number("threshold", 0.01), -1.0)
    # A score of exactly -1 is never taken, be the threshold below it.
    beyond = "GreaterOrEqual" if least > -1.0 else "Greater"
    valid = call.emit(beyond, [best, call.constant(least, "float32")])
    rows = graph.concat(
        [
            graph.unsqueeze(graph.cast(found, "float32"), [2]),
            graph.unsqueeze(best, [2]),
            _decoded_priors(call, clip=call.flag("clip", default=True)),
        ],
        2,
    )
    empty = call.emit("Expand", [call.constant(-1.0, "float32"), graph.shape(rows)])
    unsorted = compacted(call, rows, graph.cast(valid, "int64"), empty)
    if not 0 < threshold <= 1:
        return _narrow(call, unsorted)
    ranks, order = sorted_order(
        call, call.emit("Where", [valid, best, call.constant(LOWEST, "float32")]), graph.gather(graph.shape(best), [1])
    )
    is_valid = call.emit("Greater", [ranks, call.constant(LOWEST, "float32")])
    rows = call.emit("Where", [graph.unsqueeze(is_valid, [2]), rows_at(call, rows, order), empty])
    return _narrow(call, _suppressed(call, rows, unsorted, threshold))


def _suppressed(call: Call, rows: str, unsorted: str, threshold: float) -> str:
    """Set the class of overlapping rows to -1, and that of those behind the first ``nms_topk``, which stay unsorted."""
    graph, most = call.graph, call.integer("nms_topk", -1)
    classes = graph.squeeze(graph.slice(rows, [0], [1], [2]), [2])
    scores = graph.squeeze(graph.slice(rows, [1], [2], [2]), [2])
    # An empty row has the class -1 and the score -1: it must neither stay nor suppress.
    taking_part = call.emit("GreaterOrEqual", [classes, call.constant(0.0, "float32")])
    if most > 0:
        places = call.emit(
            "Range",
            [
                call.integers_constant(0),
                graph.squeeze(graph.gather(graph.shape(scores), [1])),
                call.integers_constant(1),
            ],
        )
        first = call.emit("Less", [places, call.integers_constant(most)])
        rows = call.emit("Where", [graph.unsqueeze(first, [1]), rows, unsorted])
        taking_part = call.emit("And", [taking_part, first])
    ranked = call.emit("Where", [taking_part, scores, call.constant(LOWEST, "float32")])
    force = call.flag("force_suppress")
    candidates = Candidates(graph.slice(rows, [2], [6], [2]), ranked, None if force else graph.cast(classes, "int64"))
    # Here an overlap of just the threshold suppresses: the number before it is the threshold of "more than".
    kept = kept_boxes(call, candidates, _before(threshold), LOWEST)
    stays = graph.cast(kept, "bool")
    labels = call.emit("Where", [stays, classes, call.constant(-1.0, "float32")])
    return graph.concat([graph.unsqueeze(labels, [2]), graph.slice(rows, [1], [6], [2])], 2)


def _before(number: float) -> float:
    """Return the largest float32 below a positive one."""
    from struct import pack, unpack

    (bits,) = unpack("<I", pack("<f", number))
    return float(unpack("<f", pack("<I", bits - 1))[0])


def _decoded_priors(call: Call, *, clip: bool) -> str:
    """Return the corners that the anchors have once they are moved by the regression."""
    graph, variances = call.graph, call.numbers("variances") or (0.1, 0.1, 0.2, 0.2)
    if len(variances) != 4:
        raise MalformedModelError(f"node {call.name!r} has {len(variances)} variances")
    low, high = graph.split(_wide(call, 2), [2, 2], 2)
    size = call.emit("Sub", [high, low])
    centre = call.emit("Div", [call.emit("Add", [low, high]), call.constant(2.0, "float32")])
    moves, scales = graph.split(graph.reshape(_wide(call, 1), [0, -1, 4]), [2, 2], 2)
    return _moved(call, centre, size, moves, scales, variances, clip=(0.0, 1.0) if clip else None)


def _moved(
    call: Call,
    centre: str,
    size: str,
    moves: str,
    scales: str,
    deviations: tuple[float, ...],
    *,
    clip: tuple[float, float] | None = None,
    largest: float = -1.0,
    dtype: str = "float32",
) -> str:
    """Return corners: the centre moved in units of the size, the size scaled by an exponential."""
    graph = call.graph
    move = call.emit("Mul", [call.emit("Mul", [moves, call.constant(list(deviations[:2]), dtype)]), size])
    middle = call.emit("Add", [move, centre])
    exponent = call.emit("Mul", [scales, call.constant(list(deviations[2:]), dtype)])
    if largest > 0:
        exponent = call.emit("Min", [exponent, call.constant(largest, dtype)])
    half = call.emit("Mul", [call.emit("Exp", [exponent]), call.emit("Div", [size, call.constant(2.0, dtype)])])
    corners = graph.concat([call.emit("Sub", [middle, half]), call.emit("Add", [middle, half])], 2)
    return graph.clip(corners, *clip, dtype=dtype) if clip else corners


def _wide(call: Call, index: int) -> str:
    return call.as_type(call.input(index), call.dtype(index), "float32")


def _narrow(call: Call, rows: str) -> str:
    if call.dtype() == "float32":
        return str(call.graph.add("Identity", [rows], **call.last))
    return call.as_type(rows, "float32", call.dtype(), last=True)


def _suppress(call: Call) -> Results:
    """``box_nms`` of (..., boxes, width): what stays stands in front by falling score, -1 behind it."""
    graph, topk = call.graph, call.integer("topk", -1)
    if topk == 0:
        return call.input()
    start, score, label = call.integer("coord_start", 2), call.integer("score_index", 1), call.integer("id_index", -1)
    valid = call.number("valid_thresh", 0.0)
    rank = call.rank()
    data = _wide(call, 0)
    # Everything in front of the boxes is the batch.
    if rank != 3:
        shape = graph.shape(data)
        ends = graph.slice(shape, [rank - 2], [rank], [0])
        data = call.emit("Reshape", [data, graph.concat([call.integers_constant([-1]), ends], 0)])
    scores = _column(call, data, score)
    is_valid = call.emit("Greater", [scores, call.constant(valid, "float32")])
    if label >= 0:
        background = call.constant(call.integer("background_id", -1), "int64")
        labels = graph.cast(_column(call, data, label), "int64")
        foreground = call.emit("Not", [call.emit("Equal", [labels, background])])
        is_valid = call.emit("And", [is_valid, foreground])
    scores = call.emit("Where", [is_valid, scores, call.constant(LOWEST, "float32")])
    scores, order = sorted_order(call, scores, _candidates(call, is_valid, topk))
    rows = rows_at(call, data, order)
    corners = graph.slice(rows, [start], [start + 4], [2])
    if call.word("in_format", "corner") == "center":
        corners = _corners_of(call, corners)
    classes = None
    if label >= 0 and not call.flag("force_suppress"):
        classes = graph.cast(_column(call, rows, label), "int64")
    kept = kept_boxes(
        call, Candidates(corners, scores, classes), call.number("overlap_thresh", 0.5), max(valid, LOWEST)
    )
    empty = call.emit("Expand", [call.constant(-1.0, "float32"), graph.shape(data)])
    result = _reencoded(call, compacted(call, rows, kept, empty), start)
    if rank != 3:
        result = call.emit("Reshape", [result, graph.shape(call.input())])
    return _narrow(call, result)


def _candidates(call: Call, is_valid: str, topk: int) -> str:
    """Return how many boxes an image has at most to compare, one at least: most of a detector's are no candidates."""
    graph = call.graph
    numbers = graph.reduce("ReduceSum", graph.cast(is_valid, "int64"), [1], keepdims=False)
    most = graph.reduce("ReduceMax", numbers, [0])
    if topk > 0:
        most = call.emit("Min", [most, call.integers_constant([topk])])
    return call.emit("Max", [most, call.integers_constant([1])])


def _column(call: Call, rows: str, at: int) -> str:
    return call.graph.squeeze(call.graph.slice(rows, [at], [at + 1], [2]), [2])


def _corners_of(call: Call, boxes: str, dtype: str = "float32") -> str:
    """Return the corners of boxes given by centre and size along the last of three axes."""
    centre, size = call.graph.split(boxes, [2, 2], 2)
    half = call.emit("Div", [size, call.constant(2.0, dtype)])
    return call.graph.concat([call.emit("Sub", [centre, half]), call.emit("Add", [centre, half])], 2)


def _reencoded(call: Call, rows: str, start: int) -> str:
    """Turn corners into centres and sizes or back; the original leaves alone what begins with a negative number."""
    before, after = call.word("in_format", "corner"), call.word("out_format", "corner")
    if before == after:
        return rows
    graph = call.graph
    boxes = graph.slice(rows, [start], [start + 4], [2])
    if after == "corner":
        changed = _corners_of(call, boxes)
    else:
        low, high = graph.split(boxes, [2, 2], 2)
        centre = call.emit("Div", [call.emit("Add", [low, high]), call.constant(2.0, "float32")])
        changed = graph.concat([centre, call.emit("Sub", [high, low])], 2)
    negative = call.emit("Less", [graph.slice(boxes, [0], [1], [2]), call.constant(0.0, "float32")])
    boxes = call.emit("Where", [negative, boxes, changed])
    return graph.concat(
        [graph.slice(rows, [0], [start], [2]), boxes, graph.slice(rows, [start + 4], [1 << 62], [2])], 2
    )


def _overlap(call: Call) -> Results:
    """``box_iou``: intersection over union of each box of the first input with each of the second."""
    graph, dtype = call.graph, call.dtype()
    sides = []
    for index, place in ((0, 1), (1, 0)):
        boxes = graph.reshape(call.input(index), [1, -1, 4])
        if call.word("format", "corner") == "center":
            boxes = _corners_of(call, boxes, dtype)
        low, high = graph.split(graph.squeeze(boxes, [0]), [2, 2], 1)
        sides.append([graph.unsqueeze(each, [place]) for each in (low, high)])
    (left_low, left_high), (right_low, right_high) = sides
    zero = call.constant(0.0)
    low, high = call.emit("Max", [left_low, right_low]), call.emit("Min", [left_high, right_high])
    common = _area(call, low, high)
    areas = [_area(call, *side) for side in sides]
    union = call.emit("Sub", [call.emit("Add", areas), common])
    # Where nothing is common the union may be nothing either.
    apart = call.emit("LessOrEqual", [common, zero])
    safe = call.emit("Where", [apart, call.constant(1.0), union])
    overlaps = call.emit("Where", [apart, zero, call.emit("Div", [common, safe])])
    heads = [graph.slice(graph.shape(call.input(index)), [0], [-1], [0]) for index in (0, 1)]
    return call.finish("Reshape", [overlaps, graph.concat(heads, 0)])


def _area(call: Call, low: str, high: str) -> str:
    """Return the area between corners, 0 where they are the wrong way round."""
    sides = call.emit("Max", [call.emit("Sub", [high, low]), call.constant(0.0)])
    return call.graph.reduce("ReduceProd", sides, [-1], keepdims=False)


def _decode(call: Call) -> Results:
    """``box_decode``: regressions (batch, boxes, 4) of anchors (1, boxes, 4) to corners."""
    graph, dtype = call.graph, call.dtype()
    deviations = tuple(call.number(f"std{place}", 1.0) for place in range(4))
    first, second = graph.split(call.input(1), [2, 2], 2)
    if call.word("format", "center") == "corner":
        size = call.emit("Sub", [second, first])
        centre = call.emit("Add", [first, call.emit("Mul", [size, call.constant(0.5)])])
    else:
        centre, size = first, second
    moves, scales = graph.split(call.input(0), [2, 2], 2)
    boxes = _moved(call, centre, size, moves, scales, deviations, largest=call.number("clip", -1.0), dtype=dtype)
    return call.finish("Identity", [boxes])


def _encode(call: Call) -> Results:
    """``box_encode``: what a detector should say of each anchor, and 1 where an anchor is matched."""
    graph, dtype = call.graph, call.dtype(2)
    for index in (0, 1):
        call.typed(dtype, index)
    matches = call.as_type(call.input(1), call.dtype(1), "int64")
    references = rows_at(call, call.input(3), matches)
    centres, sizes = [], []
    for boxes in (references, call.input(2)):
        low, high = graph.split(boxes, [2, 2], 2)
        size = call.emit("Sub", [high, low])
        sizes.append(size)
        centres.append(call.emit("Add", [low, call.emit("Mul", [size, call.constant(0.5, dtype)])]))
    move = call.emit("Div", [call.emit("Sub", centres), sizes[1]])
    scale = call.emit("Log", [call.emit("Div", sizes)])
    target = call.emit("Sub", [graph.concat([move, scale], 2), call.input(4)])
    target = call.emit("Div", [target, call.input(5)])
    chosen = call.emit("Greater", [call.input(0), call.constant(0.5, call.dtype(0))])
    mask = graph.unsqueeze(chosen, [2])
    targets = call.emit("Where", [mask, target, call.constant(0.0, dtype)])
    masks = call.emit("Expand", [graph.cast(mask, dtype), graph.shape(target)])
    return tuple(
        str(graph.add("Identity", [value], **call.last_of([place]))) if place in call.wanted else ""
        for place, value in enumerate((targets, masks))
    )


def _match(call: Call) -> Results:
    """``bipartite_matching``: the best pair of a row and a column that are both free, again and again."""
    graph, dtype = call.graph, call.dtype()
    rank, threshold, topk = call.rank(), call.number("threshold", 0.0), call.integer("topk", -1)
    shape = graph.shape(call.input())
    ends = graph.slice(shape, [rank - 2], [rank], [0])
    scores = call.emit("Reshape", [call.input(), graph.concat([call.integers_constant([-1]), ends], 0)])
    if call.flag("is_ascend"):
        scores, threshold = call.emit("Neg", [scores]), -threshold
    rows, columns = graph.gather(ends, [0]), graph.gather(ends, [1])
    rounds = call.emit("Min", [rows, columns])
    if topk > 0:
        # The original counts a match before it compares, so there is one more.
        rounds = call.emit("Min", [rounds, call.integers_constant([topk + 1])])
    batch = graph.slice(graph.shape(scores), [0], [1], [0])
    none = call.constant(-1.0)
    marks = [call.emit("Expand", [none, graph.concat([batch, size], 0)]) for size in (rows, columns)]
    flat = graph.reshape(scores, [0, -1])
    body = _matching_round(call, rows, columns, threshold)
    _, row_marks, column_marks = call.emit_several("Loop", [graph.squeeze(rounds), "", flat, *marks], 3, body=body)
    heads = graph.slice(shape, [0], [rank - 2], [0])
    results = []
    for place, (value, size) in enumerate(((row_marks, rows), (column_marks, columns))):
        target = graph.concat([heads, size], 0)
        wanted = place in call.wanted
        results.append(str(graph.add("Reshape", [value, target], **call.last_of([place]))) if wanted else "")
        call.typed(dtype, place)
    return results


def _matching_round(call: Call, rows: str, columns: str, threshold: float) -> Any:
    """Return the body of a loop over (scores, marks of the rows, marks of the columns)."""
    graph, dtype = call.graph, call.dtype()
    body = graph.child(f"{call.name}_round")
    body.input(f"{call.name}_count", "int64", ())
    going_on = body.input(f"{call.name}_going_on", "bool", ())
    scores, *marks = (body.input(f"{call.name}_{name}", dtype, (-1, -1)) for name in ("scores", "rows", "columns"))
    best = body.reduce("ReduceMax", scores, [1])
    place = body.add("ArgMax", [scores], axis=1, keepdims=1)
    taken = body.add("Greater", [best, call.constant(threshold)])
    row, column = body.add("Div", [place, columns]), body.add("Mod", [place, columns])
    each = [
        body.add("Range", [call.integers_constant(0), body.squeeze(size), call.integers_constant(1)])
        for size in (rows, columns)
    ]
    hits = [body.add("Equal", [own, numbers]) for own, numbers in zip((row, column), each, strict=True)]
    after = [
        body.add("Where", [body.add("And", [hit, taken]), body.cast(other, dtype), mark])
        for hit, other, mark in zip(hits, (column, row), marks, strict=True)
    ]
    used = body.add("Or", [body.unsqueeze(hits[0], [2]), body.unsqueeze(hits[1], [1])])
    rest = body.add("Where", [body.reshape(used, [0, -1]), call.constant(LOWEST), scores])
    body.output(body.identity(going_on, f"{call.name}_goes_on"), "bool", ())
    for value in (rest, *after):
        body.output(value, dtype, (-1, -1))
    return body


def _train_only(call: Call) -> Results:
    raise UncoveredError(f"{call.operator} makes targets for training from labels")


RULES: Final[dict[str, Rule]] = {
    "multiboxprior": _place_anchors,
    "multiboxdetection": _detect,
    "multiboxtarget": _train_only,
    "boxnms": _suppress,
    "boxnonmaximumsuppression": _suppress,
    "boxiou": _overlap,
    "boxdecode": _decode,
    "boxencode": _encode,
    "bipartitematching": _match,
}
