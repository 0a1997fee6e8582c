"""Layers that find objects: the prior boxes and detections of SSD, the pooled regions of Fast R-CNN.

From ``prior_box_layer.cpp``, ``detection_output_layer.cpp`` and ``bbox_util.cpp`` of the fork that brought SSD.
"""

from collections.abc import Callable, Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klever.steps.converters.caffemodel_to_netdef.site import Site, UncoveredError
from klever.steps.encodings.prototext import Fields
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.writers.netdef import FLOAT, INT32, INT64

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from klever.steps.converters.caffemodel_to_netdef.network import Argument

_CODES: Final = {1: "CORNER", 2: "CENTER_SIZE", 3: "CORNER_SIZE"}
#: C++'s ``FLT_MAX``; its negative is the least confidence that is kept where none is stated.
_LARGEST: Final = 3.4028234663852886e38
#: Classes of all images together, each of which is searched on its own: COCO has 91.
_MAX_LISTS: Final = 100_000
#: Boxes over one cell; SSD has six.
_MAX_BOXES: Final = 10_000
#: Image, label, confidence and the four edges.
_ROW: Final = 7


def _prior_box(site: Site) -> None:
    """Lay boxes over the cells of a feature map: constants, as they follow from sizes alone."""
    fields = site.message("prior_box_param")
    height, width = site.known(site.shape()[2:])
    image = _image_size(site, fields)
    steps = _steps(fields, image, (height, width))
    boxes = _box_sizes(site, fields)
    variances = fields.numbers("variance") or (0.1,)
    if len(variances) not in (1, 4):
        raise MalformedModelError(f"the PriorBox {site.layer.name!r} has {len(variances)} variances, not 1 or 4")
    offset, clip = fields.number("offset", 0.5), fields.flag("clip")
    shape = (1, 2, height * width * len(boxes) * 4)

    def compute(_: "Sequence[NDArray[Any]]") -> "NDArray[Any]":
        import numpy as np

        single = np.float32
        # Centres are rounded to single precision, edges worked out in double, as the layer's C++ does.
        x = ((np.arange(width, dtype=single) + single(offset)) * single(steps[1])).astype(np.float64)
        y = ((np.arange(height, dtype=single) + single(offset)) * single(steps[0])).astype(np.float64)
        half = np.array(boxes, single).astype(np.float64) / 2
        edges = np.empty((height, width, len(boxes), 4), np.float64)
        edges[..., 0::2] = x[None, :, None, None] + np.array([-1, 1]) * half[None, None, :, :1]
        edges[..., 1::2] = y[:, None, None, None] + np.array([-1, 1]) * half[None, None, :, 1:]
        edges /= np.array([image[1], image[0]] * 2, np.float64)
        values = edges.astype(single).reshape(-1)
        if clip:
            values = values.clip(0, 1)
        return np.stack([values, np.resize(np.array(variances, single), values.shape)])

    filled = site.computed("priors", shape, (), compute)
    site.pass_on(filled, site.top)


def _image_size(site: Site, fields: Fields) -> tuple[int, int]:
    """Return height and width of the image that the boxes are fractions of."""
    size = fields.integer("img_size")
    height, width = fields.integer("img_h", size), fields.integer("img_w", size)
    if height and width:
        return height, width
    shape = site.known(site.shape(1)[2:])
    return shape[0], shape[1]


def _steps(fields: Fields, image: tuple[int, int], cells: tuple[int, int]) -> tuple[float, float]:
    step = fields.number("step")
    vertical, horizontal = fields.number("step_h", step), fields.number("step_w", step)
    if vertical and horizontal:
        return vertical, horizontal
    return image[0] / cells[0], image[1] / cells[1]


def _box_sizes(site: Site, fields: Fields) -> list[tuple[float, float]]:
    """Return width and height of the boxes of a cell; their stated sizes are cut to whole pixels."""
    smallest = [int(size) for size in fields.numbers("min_size")]
    largest = [int(size) for size in fields.numbers("max_size")]
    ratios = [1.0]
    for ratio in fields.numbers("aspect_ratio"):
        if ratio <= 0 or len(ratios) > 1000:
            raise MalformedModelError(f"the PriorBox {site.layer.name!r} has an aspect_ratio of {ratio}")
        if all(abs(ratio - known) >= 1e-6 for known in ratios):
            ratios.extend((ratio, 1 / ratio) if fields.flag("flip", default=True) else (ratio,))
    if len(smallest) * (len(ratios) + 1) > _MAX_BOXES:
        raise LimitExceededError(f"the PriorBox {site.layer.name!r} lays more than {_MAX_BOXES} boxes over a cell")
    if not smallest or min(smallest) < 0 or (largest and (len(largest) != len(smallest) or min(largest) < 0)):
        raise MalformedModelError(
            f"the PriorBox {site.layer.name!r} has {len(smallest)} sizes and {len(largest)} larger"
        )
    boxes: list[tuple[float, float]] = []
    for index, size in enumerate(smallest):
        boxes.append((size, size))
        if largest:
            side = sqrt(size * largest[index])
            boxes.append((side, side))
        boxes.extend((size * sqrt(ratio), size / sqrt(ratio)) for ratio in ratios if abs(ratio - 1) >= 1e-6)
    return boxes


class _Detections(NamedTuple):
    """The sizes of a DetectionOutput."""

    images: int
    priors: int
    classes: int
    #: Classes that have boxes of their own, 1 where they share them.
    located: int
    #: How many boxes of a class go into the suppression.
    best: int


def _detection_output(site: Site) -> None:
    """Decode boxes, suppress those of a class that overlap a better one, and list what is left of each image."""
    site.expect(3)
    fields = site.message("detection_output_param")
    suppression = fields.message("nms_param")
    classes, background = fields.integer("num_classes"), fields.integer("background_label_id")
    keep = fields.integer("keep_top_k", -1)
    _refuse(site, fields, suppression, keep)
    images = site.known(site.shape()[:1])[0]
    priors = site.known(site.shape(2))[2] // 4
    located = 1 if fields.flag("share_location", default=True) else classes
    top = suppression.integer("top_k", -1)
    sizes = _Detections(images, priors, classes, located, min(top, priors) if top > -1 else priors)
    if classes < 2 or sizes.best < 1 or background != 0:
        raise UncoveredError(f"{classes} classes with the background {background}")
    scores = site.reshape(site.bottoms[1], (0, priors, classes))
    scores = site.add("Transpose", scores, axes=(0, 2, 1))
    values, places = site.name("scores"), site.name("places")
    site.add("TopK", scores, out=(values, places), k=sizes.best, axis=2)
    values = site.reshape(site.add("Transpose", values, axes=(0, 2, 1)), (-1, classes))
    boxes = _chosen(site, _decoded(site, fields, sizes), places, sizes)
    splits = site.constant(float(sizes.best), (images,), "splits")
    kept = [site.name(role) for role in ("kept_scores", "kept_boxes", "kept_classes", "kept_splits")]
    threshold = fields.number("confidence_threshold", -_LARGEST)
    arguments: dict[str, Argument] = {
        "score_thresh": threshold,
        "nms": suppression.number("nms_threshold", 0.3),
        "detections_per_im": max(keep, 0),
        "legacy_plus_one": 0,
    }
    site.add("BoxWithNMSLimit", values, boxes, splits, out=kept, arguments=arguments)
    _listed(site, kept, images)


def _refuse(site: Site, fields: Fields, suppression: Fields, keep: int) -> None:
    if site.choice(fields, "code_type", _CODES, "CORNER") != "CENTER_SIZE":
        raise UncoveredError("only for code_type CENTER_SIZE")
    if suppression.number("eta", 1.0) != 1:
        raise UncoveredError("a threshold that adapts (eta)")
    if keep == 0:
        raise UncoveredError("a keep_top_k of 0")
    if "objectness_score" in fields or len(site.bottoms) != 3:
        raise UncoveredError("the two steps of RefineDet")


def _decoded(site: Site, fields: Fields, sizes: _Detections) -> str:
    """Move the priors by what the network found: (images * priors * located, 4) edges."""
    priors = site.reshape(site.bottoms[2], (2, sizes.priors, 1, 4))
    prior, variance = site.name("prior"), site.name("variance")
    site.add("Split", priors, out=(prior, variance), axis=0)
    low, high = site.name("prior_low"), site.name("prior_high")
    site.add("Split", prior, out=(low, high), axis=3)
    found = site.reshape(site.bottom, (-1, sizes.priors, sizes.located, 4))
    if not fields.flag("variance_encoded_in_target"):
        found = site.add("Mul", found, variance)
    moved, grown = site.name("moved"), site.name("grown")
    site.add("Split", found, out=(moved, grown), axis=3)
    half = site.constant(0.5, role="half")
    size = site.add("Sub", high, low)
    centre = site.add("Mul", site.add("Add", low, high), half)
    centre = site.add("Add", site.add("Mul", moved, size), centre)
    reach = site.add("Mul", site.add("Mul", site.add("Exp", grown), size), half)
    edges = (site.add("Sub", centre, reach), site.add("Add", centre, reach))
    return site.reshape(site.add("Concat", *edges, out=("", site.name("sizes")), axis=3), (-1, 4))


def _chosen(site: Site, boxes: str, places: str, sizes: _Detections) -> str:
    """Gather the boxes of the best scores: (images * best, classes * 4)."""
    if sizes.located > 1:
        places = site.add("Mul", places, site.integers((sizes.located,), role="located"))
    if sizes.images * sizes.classes > _MAX_LISTS:
        raise UncoveredError(f"{sizes.classes} classes of {sizes.images} images")
    offsets = [
        image * sizes.priors * sizes.located + (label if sizes.located > 1 else 0)
        for image in range(sizes.images)
        for label in range(sizes.classes)
    ]
    places = site.add("Add", places, site.integers(offsets, (sizes.images, sizes.classes, 1), "offsets"))
    gathered = site.add("Gather", boxes, places)
    return site.reshape(site.add("Transpose", gathered, axes=(0, 2, 1, 3)), (-1, sizes.classes * 4))


def _listed(site: Site, kept: Sequence[str], images: int) -> None:
    """Put together the rows of what was kept; where nothing was, one row of -1 for each image."""
    scores, boxes, classes, splits = kept
    image = site.add("LengthsToSegmentIds", site.add("Cast", splits, to=INT32))
    columns = [
        site.add("ExpandDims", column, dims=(1,)) for column in (site.add("Cast", image, to=FLOAT), classes, scores)
    ]
    rows = site.add("Concat", *columns, boxes, out=("", site.name("sizes")), axis=1)
    nothing = [float(value) for index in range(images) for value in (index, *[-1] * (_ROW - 1))]
    filled = site.add(
        "Concat", rows, site.constant(nothing, (images, _ROW), "nothing"), out=("", site.name("sizes")), axis=0
    )
    count = site.add("Shape", rows, axes=(0,))
    empty = site.add("Cast", site.add("EQ", count, site.integers((0,), role="zero")), to=INT64)
    spare = site.add("Mul", empty, site.integers((images,), role="images"))
    ends = site.add(
        "Concat",
        site.add("Add", count, spare),
        site.integers((-1,), role="all"),
        out=("", site.name("sizes")),
        axis=0,
    )
    taken = site.add("Slice", filled, site.integers((0, 0), role="starts"), ends)
    site.reshape(taken, (1, 1, -1, _ROW), out=site.top)


def _regions(site: Site) -> None:
    """Take the maximum of each part of regions whose edges are rounded to the pixels of the feature map."""
    site.expect(2)
    fields = site.message("roi_pooling_param")
    height, width = fields.integer("pooled_h"), fields.integer("pooled_w")
    if height < 1 or width < 1:
        raise MalformedModelError(f"the ROIPooling {site.layer.name!r} pools to {height} by {width}")
    scale = fields.number("spatial_scale", 1.0)
    arguments: dict[str, Argument] = {"pooled_h": height, "pooled_w": width, "spatial_scale": scale, "is_test": 1}
    site.add("RoIPool", *site.bottoms, out=site.top, arguments=arguments)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
    "DetectionOutput": _detection_output,
    "PriorBox": _prior_box,
    "ROIPooling": _regions,
}
