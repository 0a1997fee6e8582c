"""Operators of detection networks: anchors, boxes, regions, sampling grids.

What does not belong here: the layers around them.
"""

from typing import Final

from klever.steps.formats.mxnetparams.attributes import length
from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import UNKNOWN, count


def _place_anchors(call: Call) -> None:
    """``MultiBoxPrior``: a box for each pixel and each size and ratio, the first of these counted once."""
    data = call.expect(0, (UNKNOWN,) * 4)
    boxes = (length(call.attributes, "sizes") or 1) + (length(call.attributes, "ratios") or 1) - 1
    if data:
        call.give((1, count((data[2], data[3], boxes)), 4))


def _detect(call: Call) -> None:
    """``MultiBoxDetection``: class, score and four corners for each anchor."""
    scores, anchors = call.expect(0, (UNKNOWN,) * 3), call.expect(2, (1, UNKNOWN, 4))
    number = anchors[1] if anchors and anchors[1] != UNKNOWN else scores[2] if scores else UNKNOWN
    scores = call.expect(0, (UNKNOWN, UNKNOWN, number))
    if number != UNKNOWN:
        call.expect(1, (UNKNOWN, 4 * number))
    call.give((scores[0] if scores else UNKNOWN, number, 6))


def _match_targets(call: Call) -> None:
    anchors, labels = call.expect(0, (1, UNKNOWN, 4)), call.expect(1, (UNKNOWN,) * 3)
    scores = call.expect(2, (labels[0] if labels else UNKNOWN, UNKNOWN, anchors[1] if anchors else UNKNOWN))
    batch, _, number = scores or (UNKNOWN,) * 3
    call.expect(0, (1, number, 4))
    for index in (0, 1):
        call.give((batch, count((number, 4))), index)
    call.give((batch, number), 2)


def _overlap(call: Call) -> None:
    first, second = call.input(0), call.input(1)
    if first is not None and second is not None:
        call.give((*first[:-1], *second[:-1]))


def _decode(call: Call) -> None:
    call.tie(0)


def _encode(call: Call) -> None:
    matches = call.input(1)
    if matches is not None:
        for index in (0, 1):
            call.give((*matches, 4), index)


def _match(call: Call) -> None:
    data = call.input(0)
    if data is not None and len(data) > 1:
        call.give(data[:-1], 0)
        call.give((*data[:-2], data[-1]), 1)


def _pool_regions(call: Call) -> None:
    data, regions = call.expect(0, (UNKNOWN,) * 4), call.expect(1, (UNKNOWN, UNKNOWN))
    height, width = (call.integers("pooled_size") or (UNKNOWN, UNKNOWN))[:2]
    channels = data[1] if data else UNKNOWN
    if call.flag("position_sensitive") and channels != UNKNOWN:
        channels //= max(height * width, 1)
    call.give((regions[0] if regions else UNKNOWN, channels, height, width))


def _pool_boxes(call: Call) -> None:
    """Regions of five numbers: the image's index and four corners."""
    call.expect(1, (UNKNOWN, 5))
    _pool_regions(call)


def _pool_sensitive(call: Call) -> None:
    regions = call.expect(1, (UNKNOWN, 5))
    size = call.integer("pooled_size", UNKNOWN)
    call.give((regions[0] if regions else UNKNOWN, call.integer("output_dim", UNKNOWN), size, size))


def _propose(call: Call) -> None:
    number = call.integer("rpn_post_nms_top_n", 300)
    call.expect(2, (UNKNOWN, 3))
    call.give((number, 5), 0)
    call.give((number, 1), 1)


def _propose_many(call: Call) -> None:
    scores = call.expect(0, (UNKNOWN,) * 4)
    total = count((scores[0] if scores else UNKNOWN, call.integer("rpn_post_nms_top_n", 300)))
    call.expect(2, (UNKNOWN, 3))
    call.give((total, 5), 0)
    call.give((total, 1), 1)


def _transform(call: Call) -> None:
    data, sizes = call.expect(0, (UNKNOWN,) * 4), call.integers("target_shape") or ()
    if data and len(sizes) == 2:
        call.give((*data[:2], *(size or old for size, old in zip(sizes, data[2:], strict=True))))


def _sample(call: Call) -> None:
    data, grid = call.expect(0, (UNKNOWN,) * 4), call.expect(1, (UNKNOWN, 2, UNKNOWN, UNKNOWN))
    if data and grid:
        call.give((*data[:2], *grid[2:]))


def _generate_grid(call: Call) -> None:
    if call.word("transform_type", "affine") == "warp":
        call.tie(0)
        return
    data, sizes = call.expect(0, (UNKNOWN, 6)), call.integers("target_shape") or ()
    if len(sizes) == 2:
        call.give((data[0] if data else UNKNOWN, 2, *sizes))


RULES: Final[dict[str, Rule]] = {
    "multiboxprior": _place_anchors,
    "multiboxdetection": _detect,
    "multiboxtarget": _match_targets,
    "boxiou": _overlap,
    "boxdecode": _decode,
    "boxencode": _encode,
    "bipartitematching": _match,
    "roipooling": _pool_boxes,
    "roialign": _pool_boxes,
    "rroialign": _pool_regions,
    "psroipooling": _pool_sensitive,
    "deformablepsroipooling": _pool_sensitive,
    "proposal": _propose,
    "multiproposal": _propose_many,
    "spatialtransformer": _transform,
    "bilinearsampler": _sample,
    "gridgenerator": _generate_grid,
}
