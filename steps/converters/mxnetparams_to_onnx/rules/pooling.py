"""Pooling in all of MXNet's conventions, and that of its first version.

A window of MXNet may reach beyond the padded input (conventions ``full`` and ``same``). ONNX's ``ceil_mode`` counts
such windows by a rule that runtimes read differently, so the overhang is written as padding wherever sizes are known.
Source: ``pooling-inl.h`` and ``pool.h`` in MXNet's ``src/operator/nn``, ``pooling_v1-inl.h`` in ``src/operator``. What
does not belong here: pooling of regions or to a given size.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.convolution import spread
from klever.steps.converters.mxnetparams_to_onnx.rules.layout import (
    channels_first,
    finish_channels_last,
    is_channels_last,
)
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Window:
    """Where windows stand: ``overhang`` is how far the last one reaches beyond the padding, by dimension."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    overhang: tuple[int, ...]
    #: Of the data, where they are known.
    sizes: tuple[int, ...] = ()
    #: Left to the runtime, where sizes are not known.
    ceil: bool = False

    @property
    def ends(self) -> tuple[int, ...]:
        return tuple(pad + more for pad, more in zip(self.pads, self.overhang, strict=True))

    def attributes(self, *, padded: bool = False) -> dict[str, Any]:
        """Return ONNX's attributes; ``padded`` where the padding is part of the data already, the overhang is not."""
        begins = (0,) * len(self.pads) if padded else self.pads
        ends = self.overhang if padded else self.ends
        return {
            "kernel_shape": self.kernel,
            "strides": self.strides,
            "pads": (*begins, *ends),
            "ceil_mode": 1 if self.ceil else None,
        }


def _pool(call: Call) -> Results:
    dimensions = _dimensions(call)
    last = is_channels_last(call, dimensions)
    data = channels_first(call, call.input(), dimensions + 2) if last else call.input()
    step = _Step(call, last=last)
    if call.flag("global_pool"):
        result = _pool_everything(step, data, dimensions)
    else:
        shape = call.shape()
        spatial = (UNKNOWN,) * dimensions if shape is None else shape[1:-1] if last else shape[2:]
        result = _POOLS[_kind(call)](step, data, _window(call, spatial))
    return finish_channels_last(call, result, dimensions + 2) if last else result


@dataclass(frozen=True)
class _Step:
    """Makes the last node of a pooling, which is the operator's result unless a transpose follows."""

    call: Call
    last: bool

    def finish(self, op: str, inputs: list[str], **attributes: Any) -> str:
        make = self.call.emit if self.last else self.call.finish
        return make(op, inputs, **attributes)


def _kind(call: Call) -> str:
    kind = call.word("pool_type", "max")
    if kind not in _POOLS:
        raise MalformedModelError(f"node {call.name!r} has pool_type {kind[:20]!r}")
    return kind


def _dimensions(call: Call) -> int:
    kernel = call.integers("kernel") or ()
    return len(kernel) if kernel else call.rank() - 2


def _window(call: Call, spatial: tuple[int, ...]) -> _Window:
    kernel = call.integers("kernel") or ()
    count = len(kernel)
    strides, pads = spread(call, "stride", count, 1), spread(call, "pad", count, 0)
    if min((*kernel, *strides), default=0) < 1 or min(pads) < 0 or len(spatial) != count:
        raise MalformedModelError(f"node {call.name!r} has windows of {kernel} every {strides}")
    convention = call.word("pooling_convention", "valid")
    if convention == "valid":
        return _Window(kernel, strides, pads, (0,) * count, spatial)
    if any(size == UNKNOWN and stride > 1 for size, stride in zip(spatial, strides, strict=True)):
        # No window starts behind the data then, and all readings of ceil_mode agree, once the padding is in the data.
        if convention == "full" and all(s <= k for s, k in zip(strides, kernel, strict=True)):
            return _Window(kernel, strides, pads, (0,) * count, spatial, ceil=True)
        raise ShapeNeededError(0)
    overhang = []
    for size, window, stride, pad in zip(spatial, kernel, strides, pads, strict=True):
        if convention == "full" and stride == 1:
            overhang.append(0)
            continue
        padded = size + 2 * pad
        number = -(-padded // stride) if convention == "same" else -(-(padded - window) // stride) + 1
        overhang.append(max((number - 1) * stride + window - padded, 0))
    return _Window(kernel, strides, pads, tuple(overhang), spatial)


def _fits(window: _Window, ends: tuple[int, ...]) -> bool:
    """Say whether every window touches the data: runtimes take no padding as wide as a window."""
    return all(max(begin, end) < size for begin, end, size in zip(window.pads, ends, window.kernel, strict=True))


def _pool_maxima(step: _Step, data: str, window: _Window) -> str:
    if _is_first_version(step.call) and any(window.pads):
        # The first version compares with its padding, which is zero.
        data = _apart(step.call, _padded(step.call, data, window.pads, window.pads))
        if _fits(window, window.overhang):
            return step.finish("MaxPool", [data], **window.attributes(padded=True))
        window = replace(window, pads=(0,) * len(window.pads))
    if _fits(window, window.ends) and not (window.ceil and any(window.pads)):
        return step.finish("MaxPool", [data], **window.attributes())
    wide = _padded(step.call, data, window.pads, window.ends, _LOWEST)
    return step.finish("MaxPool", [_apart(step.call, wide)], **_bare(window))


def _is_first_version(call: Call) -> bool:
    return call.operator == "Pooling_v1"


#: What the maximum over no element is: the least number of float32.
_LOWEST: Final = -3.4028234663852886e38


def _apart(call: Call, data: str) -> str:
    """Keep runtimes from making padding one of the pooling that follows, where they refuse so much of it."""
    return call.emit("Max", [data, call.constant(_LOWEST if call.dtype() != "float16" else -65504.0)])


def _bare(window: _Window) -> dict[str, Any]:
    """Return attributes for data that holds all of the padding."""
    return {"kernel_shape": window.kernel, "strides": window.strides, "ceil_mode": 1 if window.ceil else None}


def _padded(call: Call, data: str, begins: tuple[int, ...], ends: tuple[int, ...], value: float = 0.0) -> str:
    if not any((*begins, *ends)):
        return data
    if call.dtype() == "float16":
        value = max(value, -65504.0)
    return call.emit(
        "Pad", [data, call.integers_constant([0, 0, *begins, 0, 0, *ends]), call.constant(value)], mode="constant"
    )


def _pool_means(step: _Step, data: str, window: _Window) -> str:
    """Divide by the part of the window that lies in the input, or in the padded input, never in the overhang."""
    call = step.call
    if _is_first_version(call):
        # The first version divides by the whole window, wherever it lies.
        return _mean_of_everything(step, data, window)
    including = call.flag("count_include_pad", default=True)
    if window.ceil and any(window.pads) and not including:
        # Divided by the same pooling of ones, which tells what part of each window is no padding.
        ones = call.emit("Expand", [call.constant(1.0), call.emit("Shape", [data])])
        means = [
            call.emit("AveragePool", [_apart(call, _padded(call, each, window.pads, window.pads))], **_bare(window))
            for each in (data, ones)
        ]
        # Where a window holds nothing but padding, its mean is zero and not undefined.
        share = call.emit("Max", [means[1], call.constant(0.5 / prod(window.kernel))])
        return step.finish("Div", [means[0], share])
    if not _fits(window, window.ends):
        total = _total(call, data, window)
        return step.finish("Div", [total, _counts(call, window, including=including)])
    if including and (any(window.overhang) or window.ceil):
        if any(window.pads):
            data = _apart(call, _padded(call, data, window.pads, window.pads))
        return step.finish("AveragePool", [data], count_include_pad=0, **window.attributes(padded=True))
    return step.finish("AveragePool", [data], count_include_pad=int(including), **window.attributes())


def _mean_of_everything(step: _Step, data: str, window: _Window) -> str:
    """Average over whole windows, padding and overhang being zeros."""
    if window.ceil:
        raise ShapeNeededError(0)
    if _fits(window, window.ends):
        return step.finish("AveragePool", [data], count_include_pad=1, **window.attributes())
    return step.finish("Div", [_total(step.call, data, window), step.call.constant(float(prod(window.kernel)))])


def _total(call: Call, data: str, window: _Window) -> str:
    """Sum over whole windows, padding and overhang being zeros."""
    if window.ceil:
        raise ShapeNeededError(0)
    size = call.constant(float(prod(window.kernel)))
    if _fits(window, window.ends):
        return call.emit("Mul", [call.emit("AveragePool", [data], count_include_pad=1, **window.attributes()), size])
    mean = call.emit("AveragePool", [_apart(call, _padded(call, data, window.pads, window.ends))], **_bare(window))
    return call.emit("Mul", [mean, size])


def _counts(call: Call, window: _Window, *, including: bool) -> str:
    """Return what MXNet divides by, place by place: nonsense where a window lies outside, but never zero."""
    sizes = window.sizes
    if UNKNOWN in sizes:
        raise ShapeNeededError(0)
    shape = tuple(
        (size + pad + end - kernel) // stride + 1
        for size, pad, end, kernel, stride in zip(
            sizes, window.pads, window.ends, window.kernel, window.strides, strict=True
        )
    )

    def counted() -> "NDArray[Any]":
        import numpy as np

        counts: Any = np.ones((), call.dtype())
        for size, pad, kernel, stride, number in zip(
            sizes, window.pads, window.kernel, window.strides, shape, strict=True
        ):
            begins = np.arange(number) * stride - pad
            ends = np.minimum(begins + kernel, size + pad)
            lengths = ends - begins if including else np.minimum(ends, size) - np.maximum(begins, 0)
            counts = counts[..., None] * lengths.astype(call.dtype())
        return np.where(counts == 0, 1, counts).astype(call.dtype())

    return call.computed(counted, call.dtype(), shape, "counts")


def _pool_norms(step: _Step, data: str, window: _Window) -> str:
    """``lp``: the root of a sum of powers, the powers without the absolute value."""
    power = step.call.integer("p_value", 2)
    if power == 1:
        return _total(step.call, data, window)
    powers = step.call.emit("Mul", [data, data])
    if power == 3:
        powers = step.call.emit("Mul", [powers, data])
    return _root(step, _total(step.call, powers, window), power)


def _root(step: _Step, total: str, power: int) -> str:
    if power == 2:
        return step.finish("Sqrt", [total])
    if power != 3:
        raise UncoveredError("only for a p_value of 1, 2 or 3")
    third = step.call.emit("Pow", [step.call.emit("Abs", [total]), step.call.constant(1 / 3)])
    return step.finish("Mul", [step.call.emit("Sign", [total]), third])


_POOLS: Final = {
    "max": _pool_maxima,
    "avg": _pool_means,
    "sum": lambda step, data, window: _total(step.call, data, window),
    "lp": _pool_norms,
}


def _pool_everything(step: _Step, data: str, dimensions: int) -> str:
    """``global_pool``: padding, strides and conventions play no part."""
    call, kind = step.call, _kind(step.call)
    if kind == "max":
        return step.finish("GlobalMaxPool", [data])
    if kind == "avg":
        return step.finish("GlobalAveragePool", [data])
    axes = call.integers_constant(list(range(2, dimensions + 2)))
    power = call.integer("p_value", 2) if kind == "lp" else 1
    if power == 1:
        return step.finish("ReduceSum", [data, axes], keepdims=1)
    powers = call.emit("Mul", [data, data])
    if power == 3:
        powers = call.emit("Mul", [powers, data])
    return _root(step, call.emit("ReduceSum", [powers, axes], keepdims=1), power)


RULES: Final[dict[str, Rule]] = {"pooling": _pool}
