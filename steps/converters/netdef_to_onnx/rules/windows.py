"""Operators that slide a window over an image or change its size.

Source of the windows' positions: ``ConvPoolOpBase::ComputeSizeAndPad`` and
``ConvTransposeUnpoolBase::ComputeSizeAndPad`` in ``caffe2/operators``.
"""

from operator import le
from typing import Any, Final

from klever.steps.converters.netdef_to_onnx.call import END, Call, RefusedError, Result, Rule, Rules
from klever.steps.formats.netdef.windows import pads, per_axis, split_order
from klever.steps.model.shapes import UNKNOWN

#: ``LegacyPadding``: stated pads, none, as much as keeps ceil(size / stride), and Caffe's pooling.
_STATED, _VALID, _SAME, _CAFFE = 0, 1, 2, 3


def spatial_sizes(call: Call) -> tuple[int, ...]:
    """Return the sizes of the image without batch and channels, -1 for those that are not known."""
    return split_order(call.shape(), last=call.last)[2]


def _axes(call: Call) -> int:
    """Return the number of spatial axes, by the weights where the image's rank is not known."""
    for index in (0, 1):
        if index < len(call) and (shape := call.value(index).shape) is not None and len(shape) > 2:
            return len(shape) - 2
    return call.rank() - 2


def window(call: Call, kernels: list[int], *, pooling: bool = False) -> dict[str, Any]:
    """Return the attributes of a window: strides, pads and dilations.

    Caffe's pooling rounds the number of windows up; the padding behind is what the last one reaches over the image.
    """
    operator, axes = call.operator, len(kernels)
    strides, dilations = per_axis(operator, "stride", 1, axes), per_axis(operator, "dilation", 1, axes)
    padding = pads(operator, axes)
    if axes < 1 or min(*kernels, *strides, *dilations) < 1 or any(min(pair) < 0 for pair in padding):
        raise RefusedError("its window is not positive")
    attributes: dict[str, Any] = {"kernel_shape": kernels, "strides": strides}
    if any(dilation != 1 for dilation in dilations):
        if pooling:
            raise RefusedError("pooling with dilation")
        attributes["dilations"] = dilations
    legacy = operator.integer("legacy_pad")
    if legacy not in (_STATED, _VALID, _SAME, _CAFFE):
        raise RefusedError(f"legacy_pad {legacy}")
    if legacy == _VALID:
        padding = [(0, 0)] * axes
    elif legacy == _CAFFE:
        if _rounds_up(call, padding) and all(map(le, strides, kernels)) and pooling:
            return {**attributes, "ceil_mode": 1}
        padding = [_caffe_padding(call, axis, kernels[axis], strides[axis], padding[axis][0]) for axis in range(axes)]
    elif legacy == _SAME:
        known = call.value().shape is not None and UNKNOWN not in spatial_sizes(call)
        if all(map(le, strides, kernels)) and not known:
            return {**attributes, "auto_pad": "SAME_UPPER"}
        sizes = [call.size(axis + (1 if call.last else 2)) for axis in range(axes)]
        padding = [_same_padding(*each) for each in zip(sizes, kernels, strides, strict=True)]
    attributes["pads"] = [head for head, _ in padding] + [tail for _, tail in padding]
    return attributes


def _rounds_up(call: Call, padding: list[tuple[int, int]]) -> bool:
    """Tell whether ONNX's rounding up is Caffe's: for images of unknown size, while no padding counts."""
    counted = call.flag("count_include_pad") or call.operator.type.startswith("Lp")
    return not counted and all(head == 0 for head, _ in padding) and UNKNOWN in spatial_sizes(call)


def _image(call: Call, attributes: dict[str, Any]) -> str:
    """Return the image with channels first, without what negative padding cuts off its beginning."""
    image = call.channels_first()
    heads = attributes.get("pads", ())
    for axis, head in enumerate(heads[: len(heads) // 2]):
        if head < 0:
            image = call.slice(image, -head, END, axis + 2)
            heads[axis] = 0
    return image


def _caffe_padding(call: Call, axis: int, kernel: int, stride: int, head: int) -> tuple[int, int]:
    if stride == 1:
        # Rounding up or down is the same.
        return head, head
    size = call.size(axis + (1 if call.last else 2))
    span = size + 2 * head - kernel
    if span < 0:
        raise RefusedError(f"a window of {kernel} does not fit {size}")
    windows = -(-span // stride) + 1
    if head > 0 and (windows - 1) * stride >= size + head:
        windows -= 1
    if (windows - 1) * stride >= size + head:
        raise RefusedError("its last window lies wholly behind the image")
    return head, max((windows - 1) * stride + kernel - size - head, 0)


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return the padding before and behind; negative where windows lie apart and the first begins within the image."""
    needed = (-(-size // stride) - 1) * stride + kernel - size
    head = int(needed / 2)
    return head, max(needed - head, 0)


def _weight(call: Call, index: int = 1) -> str:
    """Return weights with the channels before the window, where NHWC has them behind it."""
    if not call.last:
        return call.input(index)
    rank = _axes(call) + 2
    return call.transpose(call.input(index), (0, rank - 1, *range(1, rank - 1)))


def _kernels(call: Call) -> list[int]:
    shape, axes = call.value(1).shape, _axes(call)
    if shape is not None and len(shape) == axes + 2 and UNKNOWN not in shape:
        return list(shape[1:-1] if call.last else shape[2:])
    return per_axis(call.operator, "kernel", 0, axes)


def _optional(call: Call, index: int) -> list[str]:
    return [call.input(index)] if len(call) > index else []


def _convolution(call: Call) -> Result:
    attributes = {**window(call, _kernels(call)), "group": max(call.integer("group", 1), 1)}
    inputs = [_image(call, attributes), _weight(call), *_optional(call, 2)]
    rank = _axes(call) + 2
    if call.operator.type.endswith("Relu"):
        return call.give_image("Relu", call.add("Conv", *inputs, **attributes), rank=rank)
    return call.give_image("Conv", *inputs, rank=rank, **attributes)


def _transposed(call: Call) -> Result:
    operator, axes = call.operator, _axes(call)
    if axes != 2:
        raise RefusedError(f"for {axes} spatial axes")
    kernels, strides = _kernels(call), per_axis(operator, "stride", 1, axes)
    more = per_axis(operator, "adj", 0, axes)
    legacy = operator.integer("legacy_pad")
    if legacy == _CAFFE:
        raise RefusedError("legacy_pad 3")
    padding = pads(operator, axes) if legacy == _STATED else [(0, 0)] * axes
    if any(adjustment >= stride for adjustment, stride in zip(more, strides, strict=True) if adjustment):
        raise RefusedError("adj that reaches the stride")
    return call.give_image(
        "ConvTranspose",
        call.channels_first(),
        _weight(call),
        *_optional(call, 2),
        rank=axes + 2,
        kernel_shape=kernels,
        strides=strides,
        pads=[head for head, _ in padding] + [tail for _, tail in padding],
        output_padding=more if any(more) else None,
        group=max(call.integer("group", 1), 1),
    )


def _pooling(op: str) -> Rule:
    def rule(call: Call) -> Result:
        rank = call.rank()
        attributes: dict[str, Any] = {}
        if op == "LpPool":
            power = call.number("p", 2.0)
            if not 1 <= power < 1 << 16 or power != int(power):
                raise RefusedError(f"with p {power}")
            attributes["p"] = int(power)
        if call.flag("global_pooling"):
            return call.give_image(f"Global{op}", call.channels_first(), rank=rank, **attributes)
        attributes |= window(call, per_axis(call.operator, "kernel", 0, rank - 2), pooling=True)
        if op == "AveragePool" and call.flag("count_include_pad"):
            attributes["count_include_pad"] = 1
        return call.give_image(op, _image(call, attributes), rank=rank, **attributes)

    return rule


def _pooling_with_index(call: Call) -> Result:
    """Give maxima and where they lie within their plane, where ONNX counts through the whole tensor."""
    if call.last or call.flag("global_pooling"):
        raise RefusedError("for NHWC or the whole image")
    rank = call.rank()
    attributes = window(call, per_axis(call.operator, "kernel", 0, rank - 2), pooling=True)
    pooled, places = call.add("MaxPool", call.input(), outputs=2, **attributes)
    plane = call.reduce("ReduceProd", call.sizes(call.input(), list(range(2, rank))), [0])
    within = call.add("Mod", places, plane)
    return call.give("Identity", pooled), call.give("Cast", within, at=1, to=_INT32)


#: ``TensorProto.INT32`` of ONNX.
_INT32: Final = 6


def _pad(call: Call) -> Result:
    mode = call.operator.text("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise RefusedError(f"with mode {mode!r}")
    axes = call.rank() - 2
    if axes != 2:
        raise RefusedError(f"for {axes} spatial axes")
    padding = pads(call.operator, axes)
    heads, tails = [head for head, _ in padding], [tail for _, tail in padding]
    before, behind = ([0], [0]) if call.last else ([0, 0], [])
    amounts = call.integers_of([*before, *heads, *behind, *before, *tails, *behind])
    extra = [call.scalar(call.number("value"))] if mode == "constant" and call.number("value") else []
    return call.give("Pad", call.input(), amounts, *extra, mode=mode)


def _nearest(names: tuple[str, ...]) -> Rule:
    """Return the rule for scaling by whole pixels: the one at floor(place / scale) is taken."""

    def rule(call: Call) -> Result:
        rank = call.rank()
        if rank != len(names) + 2:
            raise RefusedError(f"for rank {rank}")
        stated = [call.number(name, 1.0) for name in names]
        if len(call) == 1 and all(scale == 0.5 or scale == int(scale) for scale in stated):
            return _resized(
                call, names, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"
            )
        image = call.channels_first()
        for at, scale in enumerate(stated):
            if len(call) > 1:
                image = _looked_up(call, image, at + 2, call.add("Gather", call.input(1), call.constant(at)))
            elif scale != 1:
                image = _looked_up(call, image, at + 2, call.constant(scale))
        return call.give_ordered(image, rank)

    return rule


def _looked_up(call: Call, image: str, axis: int, scale: str) -> str:
    """Scale one dimension by looking up its pixels, in the float32 arithmetic of ``ResizeNearestOp``.

    Runtimes take a Resize to the same size for nothing to do, whatever its scale.
    """
    size = call.reshape(call.sizes(image, [axis]), [])
    wanted = call.cast(call.add("Mul", call.cast(size, "float32"), scale), "int64")
    steps = call.cast(call.add("Range", call.constant(0), wanted, call.constant(1)), "float32")
    places = call.cast(call.add("Div", steps, scale), "int64")
    last = call.add("Sub", size, call.constant(1))
    return str(call.add("Gather", image, call.add("Min", places, last), axis=axis))


def _linear(call: Call) -> Result:
    return _resized(
        call, ("height_scale", "width_scale"), mode="linear", coordinate_transformation_mode="align_corners"
    )


def _resized(call: Call, names: tuple[str, ...], **attributes: Any) -> Result:
    rank = call.rank()
    if rank != len(names) + 2:
        raise RefusedError(f"for rank {rank}")
    if len(call) > 1:
        scales = call.add("Concat", call.constant([1.0, 1.0]), call.input(1), axis=0)
    else:
        stated = [call.number(name, 1.0) for name in names]
        if any(not 0 < scale < 1e6 for scale in stated):
            raise RefusedError(f"scales of {stated}")
        scales = call.constant([1.0, 1.0, *stated])
    return call.give_image("Resize", call.channels_first(), "", scales, rank=rank, **attributes)


def _upsampled(call: Call) -> Result:
    """Repeat each pixel of the last two dimensions ``scale`` times."""
    scale, rank = call.integer("scale", 2), call.rank()
    if rank < 3 or scale < 1:
        raise RefusedError(f"scale {scale} for rank {rank}")
    return call.give(
        "Resize",
        call.input(),
        "",
        call.constant([*[1.0] * (rank - 2), float(scale), float(scale)]),
        mode="nearest",
        nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )


_SPACES: Final = ("", "1D", "2D", "3D")

RULES: Final[Rules] = {
    **{f"{kind}{axes}": _convolution for kind in ("Conv",) for axes in _SPACES},
    **{f"{kind}Pool{axes}": _pooling(f"{kind}Pool") for kind in ("Average", "Lp", "Max") for axes in _SPACES},
    "ConvRelu": _convolution,
    "ConvTranspose": _transposed,
    "MaxPoolWithIndex": _pooling_with_index,
    "PadImage": _pad,
    "ResizeNearest": _nearest(("height_scale", "width_scale")),
    "ResizeNearest3D": _nearest(("temporal_scale", "height_scale", "width_scale")),
    "UpsampleBilinear": _linear,
    "UpsampleNearest": _upsampled,
}
