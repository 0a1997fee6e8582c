"""Windows laid out as columns, columns added up to windows, and running sums.

Source: ``nn/im2col*`` and ``numpy/np_cumsum*`` in MXNet's ``src/operator``. What does not belong here: convolution and
pooling.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN, normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _attributes(call: Call) -> dict[str, list[int]]:
    """Return kernel, strides, dilations and pads as ONNX's convolutions have them."""
    kernel = call.integers("kernel") or ()
    count = len(kernel)
    if not 1 <= count <= 3 or min(kernel) < 1:
        raise MalformedModelError(f"node {call.name!r} has the kernel {kernel}")
    strides, dilations = (list(call.integers(key) or (1,) * count) for key in ("stride", "dilate"))
    pads = list(call.integers("pad") or (0,) * count)
    if {len(strides), len(dilations), len(pads)} != {count} or min(*strides, *dilations) < 1 or min(pads) < 0:
        raise MalformedModelError(f"node {call.name!r} slides by {strides} with the pads {pads}")
    return {"kernel_shape": list(kernel), "strides": strides, "dilations": dilations, "pads": pads * 2}


def _taps(call: Call, channels: int, kernel: Sequence[int]) -> str:
    """Return a filter for each place in a channel's window, 1 there and 0 elsewhere."""
    size, dtype = prod(kernel), call.dtype()

    def filters() -> "NDArray[Any]":
        import numpy as np

        return np.tile(np.eye(size, dtype=dtype).reshape(size, 1, *kernel), (channels, *[1] * (len(kernel) + 1)))

    return call.computed(filters, dtype, (channels * size, 1, *kernel), "taps")


def _lay_out(call: Call) -> Results:
    """``im2col``: (batch, channels * window, positions)."""
    attributes, channels = _attributes(call), call.dims()[1]
    if channels == UNKNOWN:
        raise ShapeNeededError(0)
    taps = _taps(call, channels, attributes["kernel_shape"])
    columns = call.emit("Conv", [call.input(), taps], group=channels, **attributes)
    return call.graph.reshape(columns, [0, channels * prod(attributes["kernel_shape"]), -1], **call.last)


def _add_up(call: Call) -> Results:
    """``col2im``: the sum of what stands in all columns for a place."""
    attributes, sizes = _attributes(call), call.integers("output_size") or ()
    kernel, strides, dilations = (attributes[key] for key in ("kernel_shape", "strides", "dilations"))
    pads, rows = attributes["pads"], call.dims()[1]
    if rows == UNKNOWN:
        raise ShapeNeededError(0)
    if len(sizes) != len(kernel) or rows % prod(kernel):
        raise MalformedModelError(f"node {call.name!r} makes {sizes} of columns of {rows}")
    spans = [
        size + 2 * pad - dilation * (window - 1) - 1
        for size, pad, dilation, window in zip(sizes, pads, dilations, kernel, strict=False)
    ]
    places = [span // stride + 1 for span, stride in zip(spans, strides, strict=True)]
    rest = [span % stride for span, stride in zip(spans, strides, strict=True)]
    channels = rows // prod(kernel)
    columns = call.graph.reshape(call.input(), [0, rows, *places])
    taps = _taps(call, channels, kernel)
    return call.finish("ConvTranspose", [columns, taps], group=channels, output_padding=rest, **attributes)


def _add_along(call: Call) -> Results:
    """``cumsum``: along an axis, or over everything in one row."""
    data, have = call.input(), call.dtype()
    want = call.element_type(have)
    call.typed(want)
    axis = call.optional("axis")
    if axis is None:
        data = call.graph.reshape(data, [-1])
        call.shaped((UNKNOWN,))
    place = 0 if axis is None else normalise_axis(axis, call.rank())
    # onnxruntime adds up these types alone.
    wide = want if want in ("float32", "float64", "int32", "int64") else "float32" if "float" in want else "int32"
    total = call.emit("CumSum", [call.as_type(data, have, wide), call.integers_constant(place)])
    return call.as_type(total, wide, want, last=True) if wide != want else call.finish("Identity", [total])


RULES: Final[dict[str, Rule]] = {
    "im2col": _lay_out,
    "col2im": _add_up,
    "cumsum": _add_along,
}
