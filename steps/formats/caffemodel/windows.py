"""Shapes of the layers that slide a window or scale an image: convolution, pooling, im2col, interpolation.

Each rule is the layer's ``Reshape`` in ``src/caffe/layers`` of BVLC Caffe, or of the fork that has the layer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from klever.steps.encodings.prototext import Fields
from klever.steps.formats.caffemodel.graph import Layer
from klever.steps.model.shapes import (
    UNKNOWN,
    Shape,
    ShapeMismatchError,
    add,
    count,
    normalise_axis,
    slide,
    subtract,
    unslide,
)


def per_axis(fields: Fields, name: str, default: int, axes: int) -> list[int]:
    """Return a repeated parameter for each spatial axis: one for all, one for each, or its ``_h`` and ``_w``."""
    stem = name.removesuffix("_size")
    if f"{stem}_h" in fields or f"{stem}_w" in fields:
        if axes != 2:
            raise ShapeMismatchError(f"{stem}_h and {stem}_w need two spatial axes, not {axes}")
        fallback = fields.integer(name, default)
        return [fields.integer(f"{stem}_h", fallback), fields.integer(f"{stem}_w", fallback)]
    stated = fields.integers(name)
    if len(stated) > 1:
        if len(stated) != axes:
            raise ShapeMismatchError(f"{name} is stated {len(stated)} times for {axes} spatial axes")
        return list(stated)
    return list(stated or (default,)) * axes


def _convolved(fields: Fields, sizes: Sequence[int], *, transposed: bool = False) -> tuple[int, ...]:
    axes = len(sizes)
    kernels, strides = per_axis(fields, "kernel_size", 0, axes), per_axis(fields, "stride", 1, axes)
    pads, dilations = per_axis(fields, "pad", 0, axes), per_axis(fields, "dilation", 1, axes)
    result = []
    for size, kernel, stride, pad, dilation in zip(sizes, kernels, strides, pads, dilations, strict=True):
        if kernel < 1 or stride < 1 or dilation < 1:
            raise ShapeMismatchError(f"kernel {kernel}, stride {stride} and dilation {dilation} have to be positive")
        if not transposed:
            result.append(slide(size, kernel, stride=stride, padding=2 * pad, dilation=dilation))
        else:
            result.append(unslide(size, kernel, stride=stride, padding=2 * pad, dilation=dilation))
    if any(size < UNKNOWN for size in result):
        raise ShapeMismatchError(f"{tuple(sizes)} with pads {pads} leaves a negative size")
    return tuple(result)


def _convolution(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    return [_convolve(layer, bottom, transposed=False) for bottom in bottoms]


def _deconvolution(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    return [_convolve(layer, bottom, transposed=True) for bottom in bottoms]


def _convolve(layer: Layer, bottom: Shape, *, transposed: bool) -> Shape:
    fields = layer.fields.message("convolution_param")
    channels = fields.integer("num_output") or UNKNOWN
    if bottom is None:
        # Two-dimensional unless the file says otherwise by an axis or by repeated sizes.
        stated = len(fields.integers("kernel_size"))
        return None if "axis" in fields or stated > 2 else (UNKNOWN, channels, UNKNOWN, UNKNOWN)
    axis = normalise_axis(fields.integer("axis", 1), len(bottom))
    if channels == UNKNOWN and "Depthwise" in layer.type:
        channels = bottom[axis]
    return (*bottom[:axis], channels, *_convolved(fields, bottom[axis + 1 :], transposed=transposed))


def _im2col(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("convolution_param")
    bottom = bottoms[0] if bottoms else None
    if bottom is None:
        return []
    axis = normalise_axis(fields.integer("axis", 1), len(bottom))
    sizes = bottom[axis + 1 :]
    kernels = per_axis(fields, "kernel_size", 0, len(sizes))
    return [(*bottom[:axis], count((bottom[axis], *kernels)), *_convolved(fields, sizes))]


def _padding(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Widen an image as the padding layers of V0 did, before convolutions had a pad of their own."""
    pad = layer.fields.message("padding_param").integer("pad")
    bottom = bottoms[0] if bottoms else None
    return [] if bottom is None else [(*bottom[:2], *(add(size, 2 * pad) for size in bottom[2:]))]


def _pooling(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    fields = layer.fields.message("pooling_param")
    bottom = bottoms[0] if bottoms else None
    everything = fields.flag("global_pooling")
    if bottom is None:
        edge = 1 if everything else UNKNOWN
        return [(UNKNOWN, UNKNOWN, edge, edge)] * len(layer.tops)
    if len(bottom) != 4:
        raise ShapeMismatchError(f"a Pooling takes rank 4, not {len(bottom)}")
    if everything:
        return [(*bottom[:2], 1, 1)] * len(layer.tops)
    kernels, strides = per_axis(fields, "kernel_size", 0, 2), per_axis(fields, "stride", 1, 2)
    pads = per_axis(fields, "pad", 0, 2)
    ceil = fields.text("round_mode", "CEIL") not in ("FLOOR", "1") and fields.flag("ceil_mode", default=True)
    sizes = tuple(
        pooled(size, kernel, stride, pad, ceil=ceil)
        for size, kernel, stride, pad in zip(bottom[2:], kernels, strides, pads, strict=True)
    )
    # The second top of max pooling is the mask.
    return [(*bottom[:2], *sizes)] * len(layer.tops)


def pooled(size: int, kernel: int, stride: int, pad: int, *, ceil: bool = True) -> int:
    """Count the windows along one axis as ``PoolingLayer::Reshape`` does.

    The last window is rounded up and then dropped again where it would start in the padding behind the image.
    """
    windows = slide(size, kernel, stride=stride, padding=2 * pad, ceil=ceil)
    if pad and windows != UNKNOWN and (windows - 1) * stride >= size + pad:
        windows -= 1
    if windows < UNKNOWN or windows == 0:
        raise ShapeMismatchError(f"a window of {kernel} does not fit {size} with padding {pad}")
    return windows


def _pyramid(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    height = layer.fields.message("spp_param").integer("pyramid_height")
    bottom = bottoms[0] if bottoms else None
    if bottom is None or len(bottom) != 4 or not 0 < height < 16:
        return []
    if height == 1:
        return [(*bottom[:2], 1, 1)]
    return [(bottom[0], count((bottom[1], sum(4**level for level in range(height)))))]


def _upsample(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Undo a pooling as SegNet does, by a scale or to a stated size; YOLO's layer has a scale alone."""
    fields = layer.fields.message("upsample_param")
    bottom = bottoms[0] if bottoms else None
    if bottom is None or len(bottom) != 4:
        return []
    scale = fields.integer("scale", fields.integer("stride", 2))
    result = []
    for size, edge in zip(bottom[2:], ("h", "w"), strict=True):
        stated = fields.integer(f"upsample_{edge}")
        factor = fields.integer(f"scale_{edge}", scale)
        padded = 1 if fields.flag(f"pad_out_{edge}") else 0
        result.append(stated or subtract(count((size, factor)), padded))
    return [(*bottom[:2], *result)]


def _interpolate(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    """Scale as DeepLab and PSPNet do; factors count intervals between pixels, so that corners stay."""
    fields = layer.fields.message("interp_param")
    bottom = bottoms[0] if bottoms else None
    if bottom is None or len(bottom) != 4:
        return []
    if len(bottoms) > 1:
        like = bottoms[1]
        return [(*bottom[:2], *(like[2:] if like is not None and len(like) == 4 else (UNKNOWN, UNKNOWN)))]
    shrink, zoom = fields.integer("shrink_factor"), fields.integer("zoom_factor")
    border = fields.integer("pad_beg") + fields.integer("pad_end")
    result = []
    for size, edge in zip(bottom[2:], ("height", "width"), strict=True):
        if fields.integer(edge):
            result.append(fields.integer(edge))
        elif size == UNKNOWN:
            result.append(UNKNOWN)
        else:
            size += border
            if shrink > 0:
                size = (size - 1) // shrink + 1
            result.append(size + (size - 1) * (zoom - 1) if zoom > 0 else size)
    if any(size < UNKNOWN for size in result):
        raise ShapeMismatchError("an Interp pads by more than the image has")
    return [(*bottom[:2], *result)]


#: Layer type to the rule for the shapes of its tops.
RULES: Final[Mapping[str, Callable[[Layer, Sequence[Shape]], Sequence[Shape]]]] = {
    "Convolution": _convolution,
    "ConvolutionDepthwise": _convolution,
    "CuDNNConvolution": _convolution,
    "Deconvolution": _deconvolution,
    "DepthwiseConvolution": _convolution,
    "Im2col": _im2col,
    "Interp": _interpolate,
    "Padding": _padding,
    "Pooling": _pooling,
    "SPP": _pyramid,
    "Upsample": _upsample,
}
