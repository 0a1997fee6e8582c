"""Images as files have them, (height, width, channels), on their way into a network.

Source: ``image/`` in MXNet's ``src/operator``. What does not belong here: feature maps.
"""

from collections.abc import Sequence
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError, UncoveredError
from klever.steps.model.shapes import UNKNOWN

_FAR: Final = 1 << 62


def _to_tensor(call: Call) -> Results:
    """``image.to_tensor``: (height, width, channels) from 0 to 255 to (channels, height, width) from 0 to 1."""
    rank = call.rank()
    call.typed("float32")
    data = call.as_type(call.input(), call.dtype(), "float32")
    moved = call.graph.transpose(data, [2, 0, 1] if rank == 3 else [0, 3, 1, 2])
    return call.finish("Div", [moved, call.constant(255.0, "float32")])


def _normalise_image(call: Call) -> Results:
    """``image.normalize`` of (..., channels, height, width): one mean and deviation for all channels, or for each."""
    channels = call.dims()[-3]
    mean, deviation = (
        _for_channels(call, call.numbers(key) or (default,) * 4, channels)
        for key, default in (("mean", 0.0), ("std", 1.0))
    )
    return call.finish("Div", [call.emit("Sub", [call.input(), mean]), deviation])


def _for_channels(call: Call, values: Sequence[float], channels: int) -> str:
    if len(values) == 1:
        return call.constant(values[0])
    if channels == UNKNOWN:
        raise ShapeNeededError(0)
    return call.constant([[[value]] for value in values[:channels]])


def _resize_image(call: Call) -> Results:
    """``image.resize`` of (height, width, channels), bilinear, in floating point: OpenCV rounds bytes its own way."""
    if not call.is_float() or call.integer("interp", 1) != 1:
        raise UncoveredError("only bilinear (interp=1), of floating-point images")
    sizes, rank = call.integers("size") or (), call.rank()
    if call.flag("keep_ratio") or not 1 <= len(sizes) <= 2 or min(sizes) < 1:
        raise UncoveredError("only to a stated size")
    width, height = sizes[0], sizes[-1]
    data = call.graph.transpose(call.input(), [2, 0, 1] if rank == 3 else [0, 3, 1, 2])
    if rank == 3:
        data = call.graph.unsqueeze(data, [0])
    target = call.dynamic_shape([call.graph.slice(call.graph.shape(data), [0], [2], [0]), height, width])
    resized = call.emit("Resize", [data, "", "", target], mode="linear", coordinate_transformation_mode="half_pixel")
    if rank == 3:
        resized = call.graph.squeeze(resized, [0])
    return call.graph.transpose(resized, [1, 2, 0] if rank == 3 else [0, 2, 3, 1], **call.last)


def _crop_image(call: Call) -> Results:
    rank = call.rank()
    x, y = call.integer("x", 0), call.integer("y", 0)
    ends = [y + call.integer("height", 0), x + call.integer("width", 0)]
    return call.graph.slice(call.input(), [y, x], ends, [rank - 3, rank - 2], **call.last)


def _flipped(axis: int) -> Rule:
    def flip(call: Call) -> Results:
        return call.graph.slice(call.input(), [-1], [-_FAR], [call.rank() + axis], [-1], **call.last)

    return flip


RULES: Final[dict[str, Rule]] = {
    "imagetotensor": _to_tensor,
    "imagenormalize": _normalise_image,
    "imageresize": _resize_image,
    "imagecrop": _crop_image,
    "imageflipleftright": _flipped(-2),
    "imagefliptopbottom": _flipped(-3),
}
