"""Layers that slide a window over an image or scale it.

From ``base_conv_layer.cpp``, ``pooling_layer.cpp``, ``spp_layer.cpp`` and ``im2col_layer.cpp`` of BVLC Caffe;
``Interp`` from DeepLab and PSPNet, ``Upsample`` from YOLO and SegNet.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klever.steps.converters.caffemodel_to_netdef.layers import maxima
from klever.steps.converters.caffemodel_to_netdef.network import Argument
from klever.steps.converters.caffemodel_to_netdef.site import NeedsShapeError, Site, UncoveredError
from klever.steps.encodings.prototext import Fields
from klever.steps.errors import MalformedModelError
from klever.steps.formats.caffemodel.windows import per_axis, pooled
from klever.steps.model.shapes import UNKNOWN, count

if TYPE_CHECKING:
    from numpy.typing import NDArray

_POOLS: Final = {0: "MAX", 1: "AVE", 2: "STOCHASTIC"}
#: Caffe's own way to count windows, ``CAFFE_LEGACY_POOLING`` of ``caffe2_legacy.proto``.
_CAFFE_POOLING: Final = 3
#: C++'s ``FLT_MIN``, with which Caffe begins the sum that it divides by.
_SMALLEST: Final = 1.1754943508222875e-38
#: A dilated kernel is written out with its zeros up to this many elements.
_MAX_KERNEL: Final = 100_000_000


class _Window(NamedTuple):
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    @classmethod
    def of(cls, fields: Fields, axes: int) -> "_Window":
        return cls(
            tuple(per_axis(fields, "kernel_size", 0, axes)),
            tuple(per_axis(fields, "stride", 1, axes)),
            tuple(per_axis(fields, "pad", 0, axes)),
            tuple(per_axis(fields, "dilation", 1, axes)),
        )

    def arguments(self) -> dict[str, Argument]:
        """Return what every operator with a window takes; pads before all axes, then behind them."""
        return {"kernels": self.kernels, "strides": self.strides, "pads": self.pads * 2}


def _convolution(site: Site) -> None:
    fields = site.message("convolution_param")
    axis = site.axis(fields.integer("axis", 1))
    shape = site.shape()
    (channels,) = site.known(shape[axis : axis + 1])
    axes = len(shape) - axis - 1
    if not 1 <= axes <= 3:
        raise UncoveredError(f"{axes} spatial axes")
    window = _Window.of(fields, axes)
    if min(window.kernels + window.strides + window.dilations) < 1:
        raise MalformedModelError(f"the layer {site.layer.name!r} has a kernel, stride or dilation below 1")
    outputs, group = _outputs(site, fields, channels)
    weight = site.parameter(0, (outputs, channels // group, *window.kernels), "w")
    parameters = [weight, site.parameter(1, (outputs,), "b")] if fields.flag("bias_term", default=True) else [weight]
    for index, (bottom, top) in enumerate(zip(site.bottoms, site.tops, strict=True)):
        lead = site.shape(index)[:axis]
        source = bottom if axis == 1 else site.reshape(bottom, (-1, channels, *site.known(shape[axis + 1 :])))
        arguments: dict[str, Argument] = {**window.arguments(), "dilations": window.dilations, "group": group}
        if axis == 1:
            site.add("Conv", source, *parameters, out=top, arguments=arguments)
        else:
            result = site.add("Conv", source, *parameters, arguments=arguments)
            site.reshape(result, (*_leading(site, lead), *site.known(site.top_shape(index)[axis:])), out=top)


def _leading(site: Site, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the axes that a convolution takes for its batch, the first of them open."""
    return (-1, *site.known(sizes[1:])) if sizes else ()


def _outputs(site: Site, fields: Fields, channels: int) -> tuple[int, int]:
    """Return how many channels a convolution gives and in how many groups it takes its own."""
    outputs, group = fields.integer("num_output"), fields.integer("group", 1)
    if site.layer.type == "ConvolutionDepthwise":
        outputs, group = outputs or channels, channels
    elif site.layer.type == "DepthwiseConvolution" and "group" not in fields:
        group = channels
    if outputs < 1 or group < 1 or channels % group or outputs % group:
        raise MalformedModelError(
            f"the layer {site.layer.name!r} cannot part {channels} channels in and {outputs} out into {group} groups"
        )
    return outputs, group


def _deconvolution(site: Site) -> None:
    """Transpose a convolution; where it is dilated its kernel is written out, for Caffe2's knows no dilation."""
    fields = site.message("convolution_param")
    shape = site.shape()
    axes = len(shape) - 2
    if site.axis(fields.integer("axis", 1)) != 1 or axes not in (1, 2):
        raise UncoveredError("only for images of one or two axes")
    window = _Window.of(fields, axes)
    (channels,) = site.known(shape[1:2])
    if min(window.kernels + window.strides + window.dilations) < 1:
        raise MalformedModelError(f"the layer {site.layer.name!r} has a kernel, stride or dilation below 1")
    outputs, group = _outputs(site, fields, channels)
    stored = (channels, outputs // group, *window.kernels)
    spread = tuple((size - 1) * by + 1 for size, by in zip(window.kernels, window.dilations, strict=True))
    if prod(spread) * channels * outputs // group > max(_MAX_KERNEL, prod(stored)):
        raise UncoveredError(f"a dilation of {window.dilations}")
    flat = axes == 1
    if flat:
        window = _Window((1, *spread), (1, *window.strides), (0, *window.pads), (1, *window.dilations))
    else:
        window = window._replace(kernels=spread)
    weight_shape = (*stored[:2], *window.kernels)
    if prod(spread) == prod(stored[2:]):
        weight = site.parameter(0, weight_shape, "w")
    else:
        blob = site.blob(0, stored)
        dilations = window.dilations[1:] if flat else window.dilations
        weight = site.computed(
            "w", weight_shape, (blob,), lambda arrays: _spread(arrays[0].reshape(stored), spread, dilations)
        )
    parameters = [weight, site.parameter(1, (outputs,), "b")] if fields.flag("bias_term", default=True) else [weight]
    for bottom, top in zip(site.bottoms, site.tops, strict=True):
        if flat:
            image = site.add("ExpandDims", bottom, dims=(2,))
            image = site.add("ConvTranspose", image, *parameters, group=group, arguments=window.arguments())
            site.add("Squeeze", image, out=top, dims=(2,))
        else:
            site.add("ConvTranspose", bottom, *parameters, out=top, group=group, arguments=window.arguments())


def _spread(kernel: "NDArray[Any]", sizes: Sequence[int], dilations: Sequence[int]) -> "NDArray[Any]":
    """Put zeros between the elements of a kernel."""
    import numpy as np

    result = np.zeros((*kernel.shape[:2], *sizes), kernel.dtype)
    places: tuple[slice, ...] = (slice(None), slice(None), *(slice(None, None, step) for step in dilations))
    result[places] = kernel
    return result


def _pooling(site: Site) -> None:
    fields = site.message("pooling_param")
    if len(site.shape()) != 4:
        raise MalformedModelError(f"the Pooling {site.layer.name!r} takes rank 4, not {len(site.shape())}")
    pool = site.choice(fields, "pool", _POOLS, "MAX")
    if len(site.tops) > 1 and (pool != "MAX" or fields.flag("global_pooling") or len(site.tops) > 2):
        raise UncoveredError("a second top that is no mask of maxima of windows")
    if fields.flag("global_pooling"):
        pool_with(site, site.bottom, pool, {"global_pooling": 1}, site.top)
        return
    window = _Window.of(fields, 2)
    ceil = fields.text("round_mode", "CEIL") not in ("FLOOR", "1") and fields.flag("ceil_mode", default=True)
    pool_windows(site, pool, window, site.top, ceil=ceil)
    if len(site.tops) == 2:
        _mask(site, window, ceil=ceil)


def _mask(site: Site, window: _Window, *, ceil: bool) -> None:
    sizes = list(zip(site.known(site.shape()[2:]), window.kernels, window.strides, window.pads, strict=True))
    windows = [pooled(*each, ceil=ceil) for each in sizes]
    image = maxima.padded(site, window.pads, _tails(sizes, windows))
    bare = window._replace(pads=(0, 0), dilations=(1, 1))
    maxima.place(site, _picked(site, image, bare), (window.kernels, window.strides, window.pads), windows, site.tops[1])


def _tails(sizes: Sequence[tuple[int, int, int, int]], windows: Sequence[int]) -> list[int]:
    """Return by how much the last windows reach over the padded image: of each axis size, kernel, stride and pad."""
    return [
        max((number - 1) * stride + kernel - size - 2 * pad, 0)
        for number, (size, kernel, stride, pad) in zip(windows, sizes, strict=True)
    ]


def pool_windows(site: Site, pool: str, window: _Window, out: str, *, ceil: bool = True) -> None:
    """Pool the layer's bottom as ``PoolingLayer`` does.

    Caffe rounds the count of windows up, then drops the last one where it would begin behind the image, and an average
    divides by what of the window lies on the image or its padding. Caffe2 rounds up alike, but divides by what lies on
    the image, so there the padding becomes part of the image first.
    """
    sizes = site.shape()[2:]
    if min(window.kernels + window.strides) < 1 or any(
        pad >= kernel for pad, kernel in zip(window.pads, window.kernels, strict=True)
    ):
        raise MalformedModelError(f"the layer {site.layer.name!r} has a window without size or padded by all of it")
    for size, kernel, stride, pad in zip(sizes, window.kernels, window.strides, window.pads, strict=True):
        if stride > kernel and ceil and size == UNKNOWN:
            raise NeedsShapeError(site.bottom)
        if ceil and size != UNKNOWN and (pooled(size, kernel, stride, pad) - 1) * stride >= size + pad:
            raise UncoveredError("its last window lies outside of the image")
    # A window that is larger than the image and its padding is cut to them.
    fitting = [
        kernel if size == UNKNOWN else min(kernel, size + 2 * pad)
        for size, kernel, pad in zip(sizes, window.kernels, window.pads, strict=True)
    ]
    window = window._replace(kernels=tuple(fitting))
    arguments = window.arguments()
    if ceil:
        arguments["legacy_pad"] = _CAFFE_POOLING
    padded = any(window.pads)
    if not padded or pool == "MAX":
        pool_with(site, site.bottom, pool, arguments, out)
        return
    if pool == "STOCHASTIC":
        raise UncoveredError("stochastic pooling with padding")
    image = site.add("PadImage", site.bottom, pads=window.pads * 2)
    known = list(zip(site.known(sizes), window.kernels, window.strides, window.pads, strict=True))
    tails = _tails(known, [pooled(*each, ceil=ceil) for each in known])
    pool_with(site, image, pool, {**window.arguments(), "pads": (0, 0, *tails)}, out)


def pool_with(site: Site, source: str, pool: str, arguments: Mapping[str, Argument], out: str) -> None:
    """Add the operator, or those that weigh each element by itself, as stochastic pooling tests."""
    if pool == "MAX":
        site.add("MaxPool", source, out=out, arguments=arguments)
    elif pool == "AVE":
        site.add("AveragePool", source, out=out, arguments=arguments)
    else:
        # The sum of squares by the sum; the counts by which both averages divide are the same.
        squares = site.add("AveragePool", site.add("Sqr", source), arguments=arguments)
        total = site.add("AveragePool", source, arguments=arguments)
        total = site.add("Add", total, site.constant(_SMALLEST, role="smallest"))
        positive = site.add("Cast", site.add("GT", total, site.constant(0.0, role="zero")), to=1)
        site.add("Mul", site.add("Div", squares, total), positive, out=out)


def _pyramid(site: Site) -> None:
    """Pool into 1, 4, 16, ... parts and put them behind each other (``SPPLayer::GetPoolingParam``)."""
    fields = site.message("spp_param")
    height = fields.integer("pyramid_height")
    pool = site.choice(fields, "pool", _POOLS, "MAX")
    sizes = site.known(site.shape()[2:])
    if not 1 <= height <= 10 or len(sizes) != 2:
        raise MalformedModelError(f"the SPP {site.layer.name!r} has {height} levels over {len(sizes)} axes")
    parts = []
    for level in range(height):
        bins = 2**level
        kernels = tuple(-(-size // bins) for size in sizes)
        pads = tuple((kernel * bins - size + 1) // 2 for kernel, size in zip(kernels, sizes, strict=True))
        window = _Window(kernels, kernels, pads, (1, 1))
        result = site.top if height == 1 else site.name(f"level_{level}")
        pool_windows(site, pool, window, result)
        if height > 1:
            parts.append(site.add("Flatten", result))
    if height > 1:
        site.add("Concat", *parts, out=(site.top, site.name("sizes")), axis=1)


def _im2col(site: Site) -> None:
    """Lay the window of each place behind each other, by a convolution whose kernels pick one element each.

    Caffe2's own Im2Col pads both axes alike, and nothing carries it on.
    """
    fields = site.message("convolution_param")
    if len(site.shape()) != 4 or site.axis(fields.integer("axis", 1)) != 1:
        raise UncoveredError("only for images of two axes")
    window = _Window.of(fields, 2)
    if min(window.kernels + window.strides + window.dilations) < 1:
        raise MalformedModelError(f"the layer {site.layer.name!r} has a kernel, stride or dilation below 1")
    _picked(site, site.bottom, window, site.top)


def _picked(site: Site, image: str, window: _Window, out: str = "") -> str:
    """Give (images, channels * places of the window, rows, columns) by kernels that pick one element each."""
    (channels,) = site.known(site.shape()[1:2])
    places = prod(window.kernels)

    def compute(_: "Sequence[NDArray[Any]]") -> "NDArray[Any]":
        import numpy as np

        return np.tile(np.eye(places, dtype=np.float32), (channels, 1))

    picks = site.computed("picks", (channels * places, 1, *window.kernels), (), compute)
    arguments: dict[str, Argument] = {**window.arguments(), "dilations": window.dilations, "group": channels}
    return site.add("Conv", image, picks, out=out, arguments=arguments)


def _padding(site: Site) -> None:
    site.add("PadImage", site.bottom, out=site.top, pads=(site.message("padding_param").integer("pad"),) * 4)


def _interpolate(site: Site) -> None:
    """Scale by bilinear interpolation that keeps the corners, as Caffe2's operator does too."""
    fields = site.message("interp_param")
    shape = site.shape()
    if len(shape) != 4:
        raise MalformedModelError(f"the Interp {site.layer.name!r} takes rank 4, not {len(shape)}")
    head, tail = fields.integer("pad_beg"), fields.integer("pad_end")
    if head > 0 or tail > 0:
        raise UncoveredError("padding that is not cropping")
    image = site.bottom
    sizes = list(site.known(shape[2:]))
    for axis, size in enumerate(sizes):
        if head or tail:
            image = site.cut(image, 4, axis + 2, -head, size + tail)
            sizes[axis] = size + head + tail
    target = site.known(site.top_shape()[2:])
    if min(*sizes, *target) < 1:
        raise MalformedModelError(f"the Interp {site.layer.name!r} leaves nothing of its image")
    # The size is the scaled one rounded down, so half a pixel more keeps it clear of rounding.
    scales = [1.0 if out == size else (out + 0.5) / size for size, out in zip(sizes, target, strict=True)]
    if scales == [1.0, 1.0]:
        site.pass_on(image, site.top)
    else:
        site.add("UpsampleBilinear", image, out=site.top, height_scale=scales[0], width_scale=scales[1])


def _upsample(site: Site) -> None:
    fields = site.message("upsample_param")
    if len(site.bottoms) == 2:
        maxima.unpool(site)
        return
    shape = site.shape()
    if len(shape) != 4:
        raise MalformedModelError(f"the Upsample {site.layer.name!r} takes rank 4, not {len(shape)}")
    scale = fields.integer("scale", fields.integer("stride", 2))
    if not 1 <= scale <= 1000:
        raise MalformedModelError(f"the Upsample {site.layer.name!r} has the scale {scale}")
    if site.top_shape()[2:] != tuple(count((size, scale)) for size in shape[2:]):
        raise UncoveredError("a stated size that is not the scaled one")
    site.add("ResizeNearest", site.bottom, out=site.top, height_scale=float(scale), width_scale=float(scale))


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {
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
