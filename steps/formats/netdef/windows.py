"""Shapes of the operators that slide a window or scale an image.

The rules are those of ``ConvPoolOpBase``, ``ConvTransposeUnpoolBase`` and the resizing operators in
``caffe2/operators``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.values import UNKNOWN_VALUE, Value
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, add, count, slide, slide_same, unslide

#: ``LegacyPadding``: stated pads, none, as much as keeps ceil(size / stride), and Caffe's pooling.
_VALID, _SAME, _CAFFE_POOLING = 1, 2, 3


def channels_last(operator: Operator) -> bool:
    """Tell whether the operator works on NHWC."""
    return operator.text("order", "NCHW") == "NHWC"


def split_order(shape: tuple[int, ...], *, last: bool) -> tuple[int, int, tuple[int, ...]]:
    """Part the shape of an image batch into batch, channels and spatial sizes."""
    if len(shape) < 3:
        raise ShapeMismatchError(f"a batch of images has at least rank 3, not {len(shape)}")
    return (shape[0], shape[-1], shape[1:-1]) if last else (shape[0], shape[1], shape[2:])


def join_order(batch: int, channels: int, sizes: Sequence[int], *, last: bool) -> tuple[int, ...]:
    """Undo `split_order`."""
    return (batch, *sizes, channels) if last else (batch, channels, *sizes)


def per_axis(operator: Operator, name: str, default: int, axes: int) -> list[int]:
    """Return a window's parameter for each spatial axis: ``kernels``, ``kernel`` or ``kernel_h`` and ``kernel_w``."""
    several = operator.integers(f"{name}s")
    if several:
        if len(several) != axes:
            raise ShapeMismatchError(f"{name}s has {len(several)} values for {axes} spatial axes")
        return list(several)
    if f"{name}_h" in operator.arguments and axes == 2:
        return [operator.integer(f"{name}_h", default), operator.integer(f"{name}_w", default)]
    return [operator.integer(name, default)] * axes


def pads(operator: Operator, axes: int) -> list[tuple[int, int]]:
    """Return the padding before and behind each spatial axis."""
    several = operator.integers("pads")
    if several:
        if len(several) == axes:
            return [(pad, pad) for pad in several]
        if len(several) != 2 * axes:
            raise ShapeMismatchError(f"pads has {len(several)} values for {axes} spatial axes")
        return list(zip(several[:axes], several[axes:], strict=True))
    if "pad_t" in operator.arguments and axes == 2:
        top, left, bottom, right = (operator.integer(f"pad_{edge}") for edge in "tlbr")
        return [(top, bottom), (left, right)]
    return [(operator.integer("pad"),) * 2] * axes


def _slid(operator: Operator, sizes: Sequence[int], kernels: Sequence[int]) -> list[int]:
    axes = len(sizes)
    strides, dilations = per_axis(operator, "stride", 1, axes), per_axis(operator, "dilation", 1, axes)
    padding, legacy = pads(operator, axes), operator.integer("legacy_pad")
    result = []
    for size, kernel, stride, dilation, (head, tail) in zip(sizes, kernels, strides, dilations, padding, strict=True):
        if legacy == _SAME:
            result.append(slide_same(size, stride))
        elif legacy == _VALID:
            result.append(slide(size, kernel, stride=stride, dilation=dilation))
        elif legacy == _CAFFE_POOLING:
            windows = slide(size, kernel, stride=stride, padding=2 * head, dilation=dilation, ceil=True)
            # Caffe drops a last window that would start behind the image and its padding.
            if head > 0 and windows != UNKNOWN and (windows - 1) * stride >= size + head:
                windows -= 1
            result.append(windows)
        else:
            result.append(slide(size, kernel, stride=stride, padding=head + tail, dilation=dilation))
    if any(size < UNKNOWN or size == 0 for size in result):
        raise ShapeMismatchError(f"windows of {tuple(kernels)} do not fit {tuple(sizes)}")
    return result


def _convolution(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image, weight = inputs[0], inputs[1] if len(inputs) > 1 else UNKNOWN_VALUE
    last = channels_last(operator)
    channels = weight.shape[0] if weight.shape else UNKNOWN
    if image.shape is None:
        if weight.shape is None:
            return [Value(None, image.dtype)]
        return [Value(join_order(UNKNOWN, channels, [UNKNOWN] * (len(weight.shape) - 2), last=last), image.dtype)]
    batch, _, sizes = split_order(image.shape, last=last)
    kernels = _kernels(operator, weight.shape, len(sizes), last=last)
    result = [UNKNOWN] * len(sizes) if UNKNOWN in kernels else _slid(operator, sizes, kernels)
    return [Value(join_order(batch, channels, result, last=last), image.dtype)]


def _kernels(operator: Operator, weight: Shape, axes: int, *, last: bool) -> list[int]:
    if weight is not None and len(weight) == axes + 2:
        return list(split_order(weight, last=last)[2])
    return per_axis(operator, "kernel", UNKNOWN, axes)


def _transposed(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image, weight = inputs[0], inputs[1].shape if len(inputs) > 1 else None
    last = channels_last(operator)
    if image.shape is None:
        return [Value(None, image.dtype)]
    batch, _, sizes = split_order(image.shape, last=last)
    axes = len(sizes)
    per_group = UNKNOWN if weight is None or len(weight) != axes + 2 else split_order(weight, last=last)[1]
    channels = count((per_group, operator.integer("group", 1)))
    kernels, strides = _kernels(operator, weight, axes, last=last), per_axis(operator, "stride", 1, axes)
    adjustments = per_axis(operator, "adj", 0, axes)
    padding = [(0, 0)] * axes if operator.integer("legacy_pad") == _VALID else pads(operator, axes)
    result = [
        unslide(size, kernel, stride=stride, padding=head + tail - more)
        for size, kernel, stride, more, (head, tail) in zip(sizes, kernels, strides, adjustments, padding, strict=True)
    ]
    return [Value(join_order(batch, channels, result, last=last), image.dtype)]


def _pooling(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image = inputs[0]
    last = channels_last(operator)
    if image.shape is None:
        return [Value(None, image.dtype), Value(None, "int32")]
    batch, channels, sizes = split_order(image.shape, last=last)
    if operator.integer("global_pooling"):
        result = [1] * len(sizes)
    else:
        result = _slid(operator, sizes, per_axis(operator, "kernel", 0, len(sizes)))
    shape = join_order(batch, channels, result, last=last)
    # MaxPoolWithIndex adds the place of each maximum.
    return [Value(shape, image.dtype), Value(shape, "int32")]


def _pad_image(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image = inputs[0]
    last = channels_last(operator)
    if image.shape is None:
        return [image]
    batch, channels, sizes = split_order(image.shape, last=last)
    result = [add(size, head, tail) for size, (head, tail) in zip(sizes, pads(operator, len(sizes)), strict=True)]
    return [Value(join_order(batch, channels, result, last=last), image.dtype)]


def _resize(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image = inputs[0]
    last = channels_last(operator)
    if image.shape is None:
        return [image]
    batch, channels, sizes = split_order(image.shape, last=last)
    if len(inputs) > 1 or len(sizes) != 2:
        # The scales come as a tensor.
        return [Value(join_order(batch, channels, [UNKNOWN] * len(sizes), last=last), image.dtype)]
    scales = (operator.number("height_scale", 1.0), operator.number("width_scale", 1.0))
    result = [_scaled(size, scale) for size, scale in zip(sizes, scales, strict=True)]
    return [Value(join_order(batch, channels, result, last=last), image.dtype)]


def _scaled(size: int, scale: float) -> int:
    if size == UNKNOWN:
        return UNKNOWN
    if not 0 < scale < 1e6:
        raise ShapeMismatchError(f"an image cannot be scaled by {scale}")
    return int(size * scale)


def _upsample(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image, scale = inputs[0], operator.integer("scale", 2)
    if image.shape is None or len(image.shape) < 2 or scale < 1:
        return [Value(None, image.dtype)]
    return [Value((*image.shape[:-2], *(count((size, scale)) for size in image.shape[-2:])), image.dtype)]


def _pooled_regions(operator: Operator, inputs: Sequence[Value]) -> list[Value]:
    image, regions = inputs[0], inputs[1].shape if len(inputs) > 1 else None
    last = channels_last(operator)
    channels = split_order(image.shape, last=last)[1] if image.shape is not None else UNKNOWN
    sizes = (operator.integer("pooled_h", 1), operator.integer("pooled_w", 1))
    shape = join_order(regions[0] if regions else UNKNOWN, channels, sizes, last=last)
    return [Value(shape, image.dtype), Value(None, "int32")]


Rule = Callable[[Operator, Sequence[Value]], Sequence[Value]]

#: Operator type to the rule for its outputs; the variants for one, two and three axes are the same rule.
RULES: Final[Mapping[str, Rule]] = {
    **{f"{kind}{axes}": rule for kind, rule in (("Conv", _convolution),) for axes in ("", "1D", "2D", "3D")},
    **{f"{kind}Pool{axes}": _pooling for kind in ("Max", "Average", "Lp") for axes in ("", "1D", "2D", "3D")},
    "ConvAddRelu": _convolution,
    "ConvRelu": _convolution,
    "ConvTranspose": _transposed,
    "MaxPoolWithIndex": _pooling,
    "PadImage": _pad_image,
    "ResizeBilinear": _resize,
    "ResizeNearest": _resize,
    "RoIAlign": _pooled_regions,
    "RoIAlignRotated": _pooled_regions,
    "RoIPool": _pooled_regions,
    "RoIWarp": _pooled_regions,
    "UpsampleBilinear": _resize,
    "UpsampleNearest": _upsample,
}
