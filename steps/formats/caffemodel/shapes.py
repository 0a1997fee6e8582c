"""Which shape every blob of a Caffe network has, from the shapes of its inputs.

    >>> from klever.steps.encodings.prototext import parse_prototext
    >>> from klever.steps.formats.caffemodel.graph import build_graph
    >>> graph = build_graph(parse_prototext('''
    ...     input: "x" input_shape { dim: 1 dim: 3 dim: 7 dim: 7 }
    ...     layer { name: "p" type: "Pooling" bottom: "x" top: "y" pooling_param { kernel_size: 2 stride: 2 } }'''))
    >>> infer_shapes(graph).blobs["y"]
    (1, 3, 4, 4)

The layers of BVLC Caffe and those of the forks that published networks need (SSD, Faster R-CNN, SegNet, DeepLab,
PSPNet, YOLO). A layer that is not known has tops of unknown shape, which is no error. Each rule is the layer's
``Reshape`` in ``src/caffe/layers``. What does not belong here: windows that slide and detection (see ``windows`` and
``detection``).
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from klever.steps.formats.caffemodel import detection, windows
from klever.steps.formats.caffemodel.graph import DATA_TYPES, MAX_SIZE, Graph, Layer, checked, source_shape
from klever.steps.model.shapes import (
    UNKNOWN,
    Shape,
    ShapeMismatchError,
    concatenate,
    count,
    divide,
    normalise_axis,
    subtract,
)

Rule = Callable[[Layer, Sequence[Shape]], Sequence[Shape]]


class Inference(NamedTuple):
    """Blob to shape, and in words which layers could not be worked out though their type is known."""

    blobs: Mapping[str, Shape]
    notes: tuple[str, ...] = ()


def infer_shapes(graph: Graph, given: Mapping[str, Shape] = MappingProxyType({})) -> Inference:
    """Work out the shape of every blob; ``given`` holds shapes of inputs that the file does not state."""
    blobs: dict[str, Shape] = {}
    for fed in graph.inputs:
        blobs[fed.name] = given.get(fed.name) if fed.shape is None else fed.shape
    inputs = set(blobs)
    notes: list[str] = []
    for layer in graph.layers:
        bottoms = [blobs.get(bottom) for bottom in layer.bottoms]
        rule = RULES.get(layer.type)
        tops: Sequence[Shape] = ()
        if rule is not None:
            try:
                tops = [_possible(top) for top in rule(layer, bottoms)]
            except ShapeMismatchError as error:
                notes.append(f"layer {layer.name!r} ({layer.type}): {error}")
        for index, top in enumerate(layer.tops):
            if top not in inputs:
                blobs[top] = tops[index] if index < len(tops) else None
    return Inference(blobs, tuple(notes))


def _possible(shape: Shape) -> Shape:
    if shape is not None and max(shape, default=0) > MAX_SIZE:
        raise ShapeMismatchError("a size is larger than any that a blob can have")
    if shape is not None and min(shape, default=0) < UNKNOWN:
        raise ShapeMismatchError("a size is negative")
    return shape


def _first(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Give every top the shape of the first bottom."""
    return [bottoms[0] if bottoms else None] * len(layer.tops)


def _data(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    del bottoms
    return [source_shape(layer, index) for index in range(len(layer.tops))]


def _parameter(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    del bottoms
    stated = layer.fields.message("parameter_param").messages("shape")
    return [checked(stated[-1].integers("dim"), f"the layer {layer.name!r}")] if stated else []


def _inner_product(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("inner_product_param")
    axis, width = fields.integer("axis", 1), fields.integer("num_output") or UNKNOWN
    bottom = bottoms[0] if bottoms else None
    if bottom is None:
        # The axes before ``axis`` are all that comes before the outputs, whatever the rank of the bottom.
        return [(UNKNOWN,) * axis + (width,) if 0 <= axis <= 32 else None]
    return [(*bottom[: normalise_axis(axis, len(bottom))], width)]


def _embed(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    width = layer.fields.message("embed_param").integer("num_output") or UNKNOWN
    bottom = bottoms[0] if bottoms else None
    return [None if bottom is None else (*bottom, width)]


def _loss(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    # SoftmaxWithLoss gives its probabilities as a second top, shaped as the scores.
    return [(), *_first(layer, bottoms)]


def _accuracy(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    axis = layer.fields.message("accuracy_param").integer("axis", 1)
    bottom = bottoms[0] if bottoms else None
    return [(), None if bottom is None else (bottom[normalise_axis(axis, len(bottom))],)]


def _concat(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("concat_param")
    return [concatenate(bottoms, fields.integer("axis", fields.integer("concat_dim", 1)))]


def _slice(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("slice_param")
    bottom = bottoms[0] if bottoms else None
    parts = len(layer.tops)
    if bottom is None or not parts:
        return []
    axis = normalise_axis(fields.integer("axis", fields.integer("slice_dim", 1)), len(bottom))
    points, size = fields.integers("slice_point"), bottom[axis]
    if points:
        if len(points) != parts - 1 or any(a >= b for a, b in zip((0, *points), points, strict=False)):
            raise ShapeMismatchError(f"slice points {points} do not part a blob into {parts}")
        last = subtract(size, points[-1]) if size == UNKNOWN or size > points[-1] else 0
        if last == 0:
            raise ShapeMismatchError(f"slice point {points[-1]} lies outside a size of {size}")
        sizes = [b - a for a, b in zip((0, *points), points, strict=False)] + [last]
    elif size == UNKNOWN:
        sizes = [UNKNOWN] * parts
    elif size % parts:
        raise ShapeMismatchError(f"a size of {size} does not part into {parts}")
    else:
        sizes = [size // parts] * parts
    return [(*bottom[:axis], part, *bottom[axis + 1 :]) for part in sizes]


def _flatten(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("flatten_param")
    bottom = bottoms[0] if bottoms else None
    axis, end = fields.integer("axis", 1), fields.integer("end_axis", -1)
    if bottom is None:
        return [(UNKNOWN, UNKNOWN) if (axis, end) == (1, -1) else None]
    start, stop = normalise_axis(axis, len(bottom)), normalise_axis(end, len(bottom)) + 1
    return [(*bottom[:start], count(bottom[start:stop]), *bottom[stop:])]


def _reshape(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("reshape_param")
    target = checked(fields.message("shape").integers("dim"), f"the layer {layer.name!r}")
    axis, span = fields.integer("axis"), fields.integer("num_axes", -1)
    bottom = bottoms[0] if bottoms else None
    if bottom is None:
        known = axis == 0 and span == -1
        return [tuple(size or UNKNOWN for size in target) if known else None]
    # A negative axis counts from behind the last: -1 inserts after it.
    start = axis if axis >= 0 else len(bottom) + axis + 1
    stop = len(bottom) if span == -1 else start + span
    if not 0 <= start <= stop <= len(bottom):
        raise ShapeMismatchError(f"axis {axis} and num_axes {span} lie outside rank {len(bottom)}")
    return [(*bottom[:start], *_fit(bottom[start:stop], target), *bottom[stop:])]


def _fit(sizes: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...]:
    """Fill the zeros (copy) and the one -1 (the rest) of a Reshape's target."""
    if any(size == 0 and at >= len(sizes) for at, size in enumerate(target)):
        raise ShapeMismatchError(f"{target} copies a dimension that {sizes} does not have")
    if target.count(UNKNOWN) > 1:
        raise ShapeMismatchError(f"{target} leaves more than one dimension open")
    left, explicit = list(sizes), 1
    for at, size in enumerate(target):
        if size == 0:
            left[at] = 1
        elif size != UNKNOWN:
            explicit *= size
    filled = [sizes[at] if size == 0 else size for at, size in enumerate(target)]
    if UNKNOWN not in target:
        return tuple(filled)
    total = count(left)
    if total != UNKNOWN:
        if total % explicit:
            raise ShapeMismatchError(f"{sizes} cannot become {target}")
        total //= explicit
    filled[target.index(UNKNOWN)] = total
    return tuple(filled)


def _permute(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    order = layer.fields.message("permute_param").integers("order")
    bottom = bottoms[0] if bottoms else None
    if bottom is None:
        return []
    if len(set(order)) < len(order) or any(not 0 <= axis < len(bottom) for axis in order):
        raise ShapeMismatchError(f"the order {order} does not permute rank {len(bottom)}")
    # Dimensions that are not named keep their order behind those that are.
    full = (*order, *(axis for axis in range(len(bottom)) if axis not in order))
    return [tuple(bottom[axis] for axis in full)]


def _crop(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    if len(bottoms) != 2:
        raise ShapeMismatchError(f"a Crop has two bottoms, not {len(bottoms)}")
    bottom, like = bottoms
    axis = layer.fields.message("crop_param").integer("axis", 2)
    if bottom is None:
        return []
    start = normalise_axis(axis, len(bottom))
    if like is None:
        return [(*bottom[:start], *(UNKNOWN for _ in bottom[start:]))]
    if len(like) != len(bottom):
        raise ShapeMismatchError(f"{bottom} cannot be cropped to {like}")
    return [(*bottom[:start], *like[start:])]


def _arg_max(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("argmax_param")
    bottom = bottoms[0] if bottoms else None
    best = fields.integer("top_k", 1)
    if bottom is None:
        return []
    if "axis" in fields:
        axis = normalise_axis(fields.integer("axis"), len(bottom))
        return [(*bottom[:axis], best, *bottom[axis + 1 :])]
    pair = 2 if fields.flag("out_max_val") else 1
    return [(bottom[0] if bottom else 1, pair, best, *(1 for _ in bottom[3:]))]


def _reduction(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    axis = layer.fields.message("reduction_param").integer("axis")
    bottom = bottoms[0] if bottoms else None
    if axis == 0:
        return [()]
    return [None if bottom is None else bottom[: normalise_axis(axis, len(bottom))]]


def _tile(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("tile_param")
    bottom = bottoms[0] if bottoms else None
    if bottom is None:
        return []
    axis = normalise_axis(fields.integer("axis", 1), len(bottom))
    return [(*bottom[:axis], count((bottom[axis], fields.integer("tiles", 1))), *bottom[axis + 1 :])]


def _batch_reindex(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    del layer
    if len(bottoms) != 2 or bottoms[0] is None:
        return []
    return [(bottoms[1][0] if bottoms[1] else UNKNOWN, *bottoms[0][1:])]


def _filter(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    del layer
    # How many items pass is known by the values alone.
    return [None if bottom is None else (UNKNOWN, *bottom[1:]) for bottom in bottoms[:-1]]


def _recurrent(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("recurrent_param")
    width = fields.integer("num_output") or UNKNOWN
    steps = bottoms[0] if bottoms else None
    time, batch = (steps[0], steps[1]) if steps is not None and len(steps) >= 2 else (UNKNOWN, UNKNOWN)
    # `expose_hidden` adds the final state: h of an RNN, h and c of an LSTM.
    return [(time, batch, width), *[(1, batch, width)] * (len(layer.tops) - 1)]


def _axpy(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    del layer
    return [bottoms[1] if len(bottoms) > 1 else None]


def _reorg(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("reorg_param")
    stride = fields.integer("stride", 1)
    bottom = bottoms[0] if bottoms else None
    if bottom is None or len(bottom) != 4 or stride < 1:
        return []
    batch, channels, height, width = bottom
    if fields.flag("reverse"):
        return [(batch, divide(channels, stride * stride), count((height, stride)), count((width, stride)))]
    return [(batch, count((channels, stride * stride)), divide(height, stride), divide(width, stride))]


def _python(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    # Code decides, and code is not run; only the proposal layer of Faster R-CNN is known by its name.
    name: str = layer.fields.message("python_param").text("layer")
    return detection.proposal(layer, bottoms) if name == "ProposalLayer" else []


#: Element by element, or normalising: the shape stays.
_SAME: Final = (
    "AbsVal",
    "Affine",
    "BN",
    "BNLL",
    "BatchNorm",
    "Bias",
    "Clip",
    "CuDNNBatchNorm",
    "CuDNNReLU",
    "Dropout",
    "ELU",
    "Eltwise",
    "Exp",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "Hardsigmoid",
    "Hardswish",
    "InstanceNorm",
    "L2Norm",
    "LRN",
    "LeakyReLU",
    "Log",
    "MVN",
    "Mish",
    "Noise",
    "Normalize",
    "Normalize2",
    "PReLU",
    "Power",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SELU",
    "Scale",
    "Scaling",
    "ShuffleChannel",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Split",
    "Swish",
    "TanH",
    "Threshold",
)
_LOSSES: Final = (
    "ContrastiveLoss",
    "EuclideanLoss",
    "FocalLoss",
    "HingeLoss",
    "InfogainLoss",
    "MultiBoxLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    "SmoothL1Loss",
    "SoftmaxWithLoss",
    "TripletLoss",
)

#: Layer type to the rule for the shapes of its tops.
RULES: Final[Mapping[str, Rule]] = {
    **dict.fromkeys(_SAME, _first),
    **dict.fromkeys(_LOSSES, _loss),
    **dict.fromkeys(DATA_TYPES, _data),
    **windows.RULES,
    **detection.RULES,
    "Accuracy": _accuracy,
    "ArgMax": _arg_max,
    "Axpy": _axpy,
    "BatchReindex": _batch_reindex,
    "Concat": _concat,
    "Crop": _crop,
    "Embed": _embed,
    "Filter": _filter,
    "Flatten": _flatten,
    "InnerProduct": _inner_product,
    "LSTM": _recurrent,
    "Parameter": _parameter,
    "Permute": _permute,
    "Python": _python,
    "RNN": _recurrent,
    "Reduction": _reduction,
    "Reorg": _reorg,
    "Reshape": _reshape,
    "Slice": _slice,
    "Tile": _tile,
}
