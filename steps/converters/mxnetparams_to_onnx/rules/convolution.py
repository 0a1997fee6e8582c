"""Convolution, transposed convolution, and up-sampling, which MXNet builds from it.

Source: ``convolution-inl.h``, ``deconvolution-inl.h`` and ``upsampling-inl.h`` in MXNet's ``src/operator/nn``. What
does not belong here: convolution at offsets that the network computes.
"""

from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.layout import (
    channels_first,
    finish_channels_last,
    is_channels_last,
    weight_channels_first,
)
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN


def spread(call: Call, key: str, dimensions: int, default: int) -> tuple[int, ...]:
    """Return an attribute with a value for each spatial dimension."""
    values = call.integers(key)
    if not values:
        return (default,) * dimensions
    if len(values) != dimensions:
        if len(values) == 1:
            return values * dimensions
        raise MalformedModelError(f"node {call.name!r} has {len(values)} values of {key} for {dimensions} dimensions")
    return values


def _kernel(call: Call) -> tuple[int, ...]:
    kernel = call.integers("kernel") or ()
    if not 1 <= len(kernel) <= 3:
        raise MalformedModelError(f"node {call.name!r} has a kernel of {len(kernel)} dimensions")
    return kernel


def _operands(call: Call, dimensions: int, *, last: bool, no_bias: bool) -> list[str]:
    """Return data, weight and bias with the channels in front."""
    if last:
        inputs = [channels_first(call, call.input(0), dimensions + 2), weight_channels_first(call, 1)]
    else:
        inputs = [call.input(0), call.input(1)]
    if not no_bias:
        inputs.append(call.input(2))
    return inputs


def _convolve(call: Call) -> Results:
    kernel = _kernel(call)
    dimensions = len(kernel)
    pads = spread(call, "pad", dimensions, 0)
    last = is_channels_last(call, dimensions)
    inputs = _operands(call, dimensions, last=last, no_bias=call.flag("no_bias"))
    attributes = {
        "kernel_shape": kernel,
        "strides": spread(call, "stride", dimensions, 1),
        "pads": (*pads, *pads),
        "dilations": spread(call, "dilate", dimensions, 1),
        "group": call.integer("num_group", 1),
    }
    if last:
        return finish_channels_last(call, call.emit("Conv", inputs, **attributes), dimensions + 2)
    return call.finish("Conv", inputs, **attributes)


def _deconvolve(call: Call) -> Results:
    kernel = _kernel(call)
    dimensions = len(kernel)
    last = is_channels_last(call, dimensions)
    inputs = _operands(call, dimensions, last=last, no_bias=call.flag("no_bias", default=True))
    attributes = {
        "kernel_shape": kernel,
        "strides": spread(call, "stride", dimensions, 1),
        "dilations": spread(call, "dilate", dimensions, 1),
        "group": call.integer("num_group", 1),
        **_margins(call, kernel, last=last),
    }
    if last:
        return finish_channels_last(call, call.emit("ConvTranspose", inputs, **attributes), dimensions + 2)
    return call.finish("ConvTranspose", inputs, **attributes)


def _margins(call: Call, kernel: tuple[int, ...], *, last: bool) -> dict[str, tuple[int, ...]]:
    """Return what is cut off: ``pad`` of both ends less ``adj`` of the end, or what a target shape leaves over."""
    dimensions = len(kernel)
    target = spread(call, "target_shape", dimensions, 0)
    if any(target):
        return _margins_to(call, kernel, target, last=last)
    begins, adjusts = spread(call, "pad", dimensions, 0), spread(call, "adj", dimensions, 0)
    ends = [pad - min(pad, adjust) for pad, adjust in zip(begins, adjusts, strict=True)]
    # ONNX has no negative padding: what the end lacks is added behind.
    added = [adjust - min(pad, adjust) for pad, adjust in zip(begins, adjusts, strict=True)]
    return {"pads": (*begins, *ends), **({"output_padding": tuple(added)} if any(added) else {})}


def _margins_to(
    call: Call, kernel: tuple[int, ...], target: tuple[int, ...], *, last: bool
) -> dict[str, tuple[int, ...]]:
    """Cut the result to ``target``; the begin loses the larger half (``DeconvolutionParam::InferPad``)."""
    shape = call.shape()
    sizes = (UNKNOWN,) if shape is None else shape[1:-1] if last else shape[2:]
    if UNKNOWN in sizes:
        # ONNX cuts in the same way where it is left to it.
        return {"output_shape": target}
    strides, dilations = spread(call, "stride", len(kernel), 1), spread(call, "dilate", len(kernel), 1)
    begins, ends = [], []
    for size, window, stride, dilation, wanted in zip(sizes, kernel, strides, dilations, target, strict=True):
        surplus = stride * (size - 1) + dilation * (window - 1) + 1 - wanted
        if surplus < 0:
            raise MalformedModelError(f"node {call.name!r} has a target shape {target} larger than what it makes")
        begins.append(surplus - surplus // 2)
        ends.append(surplus // 2)
    return {"pads": (*begins, *ends)}


def _upsample(call: Call) -> Results:
    scale = call.integer("scale", 1)
    if call.word("sample_type") == "bilinear":
        return _upsample_bilinear(call, scale)
    if len(call) == 1:
        return call.finish("Resize", [call.input(), "", call.constant([1.0, 1.0, scale, scale], "float32")], **_NEAREST)
    parts = []
    for index in range(len(call)):
        factors = _factors(call, index, scale)
        parts.append(call.emit("Resize", [call.input(index), "", call.constant(factors, "float32")], **_NEAREST))
    if call.word("multi_input_mode", "concat") == "sum":
        return call.finish("Sum", parts)
    return call.finish("Concat", parts, axis=1)


#: Each pixel is repeated.
_NEAREST: Final = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


def _factors(call: Call, index: int, scale: int) -> list[float]:
    """Return by how much an input grows: all become as large as the first does."""
    if index == 0:
        return [1.0, 1.0, float(scale), float(scale)]
    first, own = call.sizes(0)[2:], call.sizes(index)[2:]
    factors = [scale * wanted / size for wanted, size in zip(first, own, strict=True)]
    if any(factor != int(factor) for factor in factors):
        raise UncoveredError("only for inputs whose sizes divide that of the result")
    return [1.0, 1.0, *factors]


def _upsample_bilinear(call: Call, scale: int) -> Results:
    """Make a transposed convolution of each channel, with the weight that the file holds."""
    width, pad = 2 * scale - scale % 2, -(-(scale - 1) // 2)
    # Not the shape of the data, which may be unknown: MXNet groups by this attribute.
    channels = call.integer("num_filter", 0)
    return call.finish(
        "ConvTranspose",
        [call.input(0), call.input(1)],
        kernel_shape=(width, width),
        strides=(scale, scale),
        pads=(pad,) * 4,
        group=channels,
    )


RULES: Final[dict[str, Rule]] = {
    "convolution": _convolve,
    "deconvolution": _deconvolve,
    "upsampling": _upsample,
}
