"""Rules for convolutions, pools and images: operators that slide a window or know height and width."""

from collections.abc import Sequence

from klever.steps.formats.graphdef.call import NOTHING, Call, Known, rule, shape_rule
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, count, merge, slide, slide_same


class _Layout:
    """Where a data format keeps batch, channels and space."""

    __slots__ = ("channel", "rank", "space")

    def __init__(self, call: Call, space: int) -> None:
        name = call.text("data_format", "N" + "DHW"[-space:] + "C")
        self.rank = space + 2
        first = name.startswith("NC")
        self.channel = 1 if first else self.rank - 1
        self.space = tuple(range(2, self.rank)) if first else tuple(range(1, self.rank - 1))

    def sizes(self, shape: Shape) -> tuple[int, ...]:
        """Return a shape of the layout's rank."""
        if shape is None:
            return (UNKNOWN,) * self.rank
        if len(shape) != self.rank:
            raise ShapeMismatchError(f"rank {len(shape)} where {self.rank} is needed")
        return shape

    def pick(self, values: Sequence[int] | None) -> tuple[int, ...]:
        """Return what an attribute of the layout's rank says about space; ones without it."""
        if values is None or len(values) != self.rank:
            return (1,) * len(self.space)
        return tuple(values[axis] for axis in self.space)

    def build(self, batch: int, channels: int, space: Sequence[int]) -> tuple[int, ...]:
        """Return a shape."""
        return (batch, channels, *space) if self.channel == 1 else (batch, *space, channels)


def _slide(call: Call, layout: _Layout, given: tuple[int, ...], windows: Sequence[int]) -> list[int]:
    """Return the positions of the windows in space, by the node's strides, dilations and padding."""
    strides = layout.pick(call.node.integers("strides"))
    dilations = layout.pick(call.node.integers("dilations"))
    padding = call.text("padding", "VALID")
    explicit = call.node.integers("explicit_paddings") or ()
    result: list[int] = []
    for axis, window, stride, dilation in zip(layout.space, windows, strides, dilations, strict=True):
        size = given[axis]
        if stride < 1 or dilation < 1:
            raise ShapeMismatchError(f"stride {stride} and dilation {dilation} have to be positive")
        if padding == "SAME":
            result.append(slide_same(size, stride))
            continue
        edges = sum(explicit[2 * axis : 2 * axis + 2]) if padding == "EXPLICIT" else 0
        result.append(slide(size, window, stride=stride, padding=edges, dilation=dilation))
    return result


@shape_rule("Conv2D", "Conv3D", "_FusedConv2D")
def _convolution(call: Call) -> Shape:
    layout = _Layout(call, 3 if call.node.op == "Conv3D" else 2)
    given, kernel = layout.sizes(call.shape(0)), layout.sizes(call.shape(1))
    return layout.build(given[0], kernel[-1], _slide(call, layout, given, kernel[:-2]))


@shape_rule("DepthwiseConv2dNative", "_FusedDepthwiseConv2dNative")
def _depthwise(call: Call) -> Shape:
    layout = _Layout(call, 2)
    given, kernel = layout.sizes(call.shape(0)), layout.sizes(call.shape(1))
    inward = kernel[2] if given[layout.channel] == UNKNOWN else given[layout.channel]
    return layout.build(given[0], count((inward, kernel[3])), _slide(call, layout, given, kernel[:2]))


@shape_rule("Conv2DBackpropInput", "Conv3DBackpropInput", "Conv3DBackpropInputV2", "DepthwiseConv2dNativeBackpropInput")
def _transposed(call: Call) -> Shape:
    """Transpose a convolution: the result's shape is given, its batch and channels follow from the rest as well."""
    layout = _Layout(call, 3 if "3D" in call.node.op else 2)
    if call.node.op == "Conv3DBackpropInput":
        return layout.sizes(call.shape(0))
    target = call.sizes(0)
    kernel, gradient = layout.sizes(call.shape(1)), layout.sizes(call.shape(2))
    if target is not None and len(target) == layout.rank - 2:
        target = layout.build(UNKNOWN, UNKNOWN, target)
    elif target is None or len(target) != layout.rank:
        target = (UNKNOWN,) * layout.rank
    channels = target[layout.channel]
    if channels == UNKNOWN:
        channels = kernel[-2]
    batch = gradient[0] if target[0] == UNKNOWN else target[0]
    return layout.build(batch, channels, [target[axis] for axis in layout.space])


def _pooled(call: Call, space: int, windows: Sequence[int] | None) -> Shape:
    layout = _Layout(call, space)
    given = layout.sizes(call.shape(0))
    return layout.build(given[0], given[layout.channel], _slide(call, layout, given, layout.pick(windows)))


@rule("MaxPool", "AvgPool", "MaxPool3D", "AvgPool3D", "MaxPoolWithArgmax", "QuantizedMaxPool", "QuantizedAvgPool")
def _pool(call: Call) -> Sequence[Known]:
    known = Known(_pooled(call, 3 if call.node.op.endswith("3D") else 2, call.node.integers("ksize")))
    if call.node.op.startswith("Quantized"):
        return (known, Known(()), Known(()))
    return (known, known) if call.node.op == "MaxPoolWithArgmax" else (known,)


@shape_rule("MaxPoolV2")
def _pool_by_inputs(call: Call) -> Shape:
    """Pool by windows and strides that are inputs."""
    layout = _Layout(call, 2)
    given, windows, strides = layout.sizes(call.shape(0)), call.integers(1), call.integers(2)
    if windows is None or strides is None:
        return layout.build(given[0], given[layout.channel], (UNKNOWN, UNKNOWN))
    same = call.text("padding", "VALID") == "SAME"
    space = []
    for axis, window, stride in zip(layout.space, layout.pick(windows), layout.pick(strides), strict=True):
        size = given[axis]
        space.append(slide_same(size, stride) if same else slide(size, window, stride=stride))
    return layout.build(given[0], given[layout.channel], space)


@shape_rule("Dilation2D")
def _dilation(call: Call) -> Shape:
    given, kernel = call.shape(0), call.shape(1)
    strides, rates = call.node.integers("strides"), call.node.integers("rates")
    if given is None or kernel is None or len(given) != 4 or len(kernel) != 3:
        return (UNKNOWN,) * 4
    strides, rates = strides or (1,) * 4, rates or (1,) * 4
    return (given[0], *_patches(call, given, kernel[:2], strides, rates), given[3])


def _patches(
    call: Call, given: Sequence[int], windows: Sequence[int], strides: Sequence[int], rates: Sequence[int]
) -> list[int]:
    """Slide a window over the two inner dimensions of NHWC."""
    if len(strides) != 4 or len(rates) != 4 or min((*strides, *rates)) < 1:
        raise ShapeMismatchError("strides and rates are of rank 4 and positive")
    if call.text("padding", "VALID") == "SAME":
        return [slide_same(size, step) for size, step in zip(given[1:3], strides[1:3], strict=True)]
    return [
        slide(size, window, stride=step, dilation=rate)
        for size, window, step, rate in zip(given[1:3], windows, strides[1:3], rates[1:3], strict=True)
    ]


@shape_rule("ExtractImagePatches")
def _extract(call: Call) -> Shape:
    given, windows = call.shape(0), call.node.integers("ksizes")
    strides, rates = call.node.integers("strides"), call.node.integers("rates")
    if given is None or len(given) != 4 or windows is None or len(windows) != 4:
        return (UNKNOWN,) * 4
    depth = count((given[3], windows[1], windows[2]))
    return (given[0], *_patches(call, given, windows[1:3], strides or (1,) * 4, rates or (1,) * 4), depth)


@rule("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3", "_FusedBatchNormEx")
def _batch_norm(call: Call) -> Sequence[Known]:
    given, scale = call.shape(0), call.shape(1)
    # Only the first output is of use in inference; the statistics have the channels' shape.
    return (Known(given), Known(scale), Known(scale), Known(scale), Known(scale), Known())


@shape_rule("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic", "ResizeArea", "ScaleAndTranslate")
def _resize(call: Call) -> Shape:
    given, size = call.shape(0), call.sizes(1) or (UNKNOWN, UNKNOWN)
    if given is not None and len(given) != 4:
        raise ShapeMismatchError(f"images of rank {len(given)}")
    batch, channels = (UNKNOWN, UNKNOWN) if given is None else (given[0], given[3])
    return (batch, *size[:2], channels)


@shape_rule("CropAndResize")
def _crop(call: Call) -> Shape:
    images, boxes, places = call.shape(0), call.shape(1), call.shape(2)
    size = call.sizes(3) or (UNKNOWN, UNKNOWN)
    number = merge(boxes[:1] if boxes else (UNKNOWN,), places[:1] if places else (UNKNOWN,)) or (UNKNOWN,)
    return (*number, *size[:2], images[3] if images and len(images) == 4 else UNKNOWN)


@shape_rule("DecodeJpeg", "DecodePng", "DecodeBmp", "DecodeAndCropJpeg", "DecodeWebP")
def _decode(call: Call) -> Shape:
    channels = call.attribute("channels", 0)
    return (UNKNOWN, UNKNOWN, channels or UNKNOWN)


@rule("DecodeImage", "DecodeRaw", "DecodePaddedRaw", "ExtractJpegShape", "DecodeWav")
def _decode_other(call: Call) -> Sequence[Known]:
    """Decode what only its bytes tell: an image may be an animation of one more rank."""
    given = call.shape(0)
    if call.node.op == "ExtractJpegShape":
        return (Known((3,)),)
    if call.node.op == "DecodeWav":
        channels = call.attribute("desired_channels", -1)
        samples = call.attribute("desired_samples", -1)
        return (Known((max(samples, UNKNOWN), max(channels, UNKNOWN))), Known(()))
    if call.node.op == "DecodeImage" or given is None:
        return (NOTHING,)
    return (Known((*given, UNKNOWN)),)


@shape_rule("DecodeGif")
def _decode_gif(call: Call) -> Shape:
    del call
    return (UNKNOWN, UNKNOWN, UNKNOWN, 3)


@rule("NonMaxSuppression", "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5",
      "NonMaxSuppressionWithOverlaps")  # fmt: skip
def _suppress(call: Call) -> Sequence[Known]:
    version = call.node.op[-2:]
    padded = call.flag("pad_to_max_output_size")
    limit = call.integer(2)
    kept = Known((limit if padded and limit is not None else UNKNOWN,))
    if version == "V5":
        return (kept, kept, Known(()))
    return (kept, Known(())) if version == "V4" else (kept,)


@rule("CombinedNonMaxSuppression")
def _suppress_all(call: Call) -> Sequence[Known]:
    boxes, scores = call.shape(0), call.shape(1)
    batch = boxes[0] if boxes else UNKNOWN
    per_class, total = call.integer(2), call.integer(3)
    limit = UNKNOWN if total is None else total
    if call.flag("pad_per_class"):
        classes = scores[2] if scores and len(scores) == 3 else UNKNOWN
        known = UNKNOWN not in (limit, classes) and per_class is not None
        limit = min(limit, (per_class or 0) * classes) if known else UNKNOWN
    return (Known((batch, limit, 4)), Known((batch, limit)), Known((batch, limit)), Known((batch,)))
