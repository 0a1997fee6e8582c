"""Normalisation: over batches, layers, groups, instances, channels, and by norms.

Source: ``batch_norm.cc``, ``layer_norm.cc``, ``group_norm.cc`` and ``lrn.cc`` in MXNet's ``src/operator/nn``,
``instance_norm-inl.h`` and ``l2_normalization-inl.h`` in ``src/operator``. What does not belong here: activation.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _normalise_batch(call: Call) -> Results:
    """Normalise by the stored statistics, which is what MXNet does unless it trains."""
    statistics = [_statistic(call, index, suffix) for index, suffix in ((3, "moving_mean"), (4, "moving_var"))]
    epsilon = call.number("eps", 1e-3)
    axis = call.integer("axis", 1)
    shape = call.shape()
    # Half-precision data comes with statistics in single precision, and is normalised in it.
    wide = call.dtype(1)
    data = call.as_type(call.input(), call.dtype(), wide)
    rank = len(shape) if shape is not None else 0
    if axis != 1:
        axis = normalise_axis(axis, call.rank())
    rectified = call.operator.endswith("ReLU")
    direct = axis == 1 and wide == call.dtype() and not rectified
    if axis != 1:
        data = call.graph.transpose(data, _swapped(rank, axis))
    inputs = [data, _gamma(call), call.input(2), *statistics]
    result = (call.finish if direct else call.emit)("BatchNormalization", inputs, epsilon=epsilon)
    if axis != 1:
        last = wide == call.dtype() and not rectified
        result = call.graph.transpose(result, _swapped(rank, axis), **(call.last if last else {}))
    if rectified:
        result = (call.finish if wide == call.dtype() else call.emit)("Relu", [result])
    result = call.as_type(result, wide, call.dtype(), last=True)
    return [result, *_batch_statistics(call, statistics, epsilon)]


def _swapped(rank: int, axis: int) -> tuple[int, ...]:
    """Return the order with the second dimension and ``axis`` exchanged."""
    order = list(range(rank))
    order[1], order[axis] = order[axis], order[1]
    return tuple(order)


def _statistic(call: Call, index: int, suffix: str) -> str:
    """Return a moving statistic; files up to 0.8 do not list it among the inputs."""
    if index < len(call):
        return call.input(index)
    operand = call.parameter(suffix)
    if operand is None:
        raise MalformedModelError(f"the params file lacks {call.name}_{suffix}")
    return call.place(operand)


def _gamma(call: Call) -> str:
    """Return the factor; ``fix_gamma`` makes it 1, whatever is stored."""
    if not call.flag("fix_gamma", default=True):
        return call.input(1)
    weight = call.weight(1)
    if weight is None:
        return call.emit("Expand", [call.constant(1.0, call.dtype(1)), call.emit("Shape", [call.input(1)])])
    return call.replaced(1, weight.map(_ones_like))


def _ones_like(array: "NDArray[Any]") -> "NDArray[Any]":
    import numpy as np

    return np.ones_like(array)


def _batch_statistics(call: Call, statistics: Sequence[str], epsilon: float) -> list[str]:
    """Return the further results: the mean, and the reciprocal of the deviation."""
    if not call.wanted - {0}:
        return []
    for index in (1, 2):
        call.typed(call.dtype(1), index)
    variance = call.emit("Add", [statistics[1], call.constant(epsilon, call.dtype(1))])
    return [statistics[0], call.emit("Reciprocal", [call.emit("Sqrt", [variance])])]


def _normalise_layer(call: Call) -> Results:
    rank = call.rank()
    axis, epsilon = call.axis("axis", -1), call.number("eps", 1e-5)
    if call.graph.opset >= 17 and axis == rank - 1 and call.wanted <= {0}:
        return call.finish(
            "LayerNormalization", [call.input(0), call.input(1), call.input(2)], axis=-1, epsilon=epsilon
        )
    shape = [-1 if at == axis else 1 for at in range(rank)]
    normal, mean, deviation = _standardised(call, call.input(), [axis], epsilon)
    scaled = call.emit("Mul", [normal, call.graph.reshape(call.input(1), shape)])
    result = call.finish("Add", [scaled, call.graph.reshape(call.input(2), shape)])
    return [result, mean, deviation]


def _standardised(call: Call, data: str, axes: Sequence[int], epsilon: float) -> tuple[str, str, str]:
    """Return data of mean 0 and variance 1 over ``axes``, its mean and its deviation."""
    mean = call.graph.reduce("ReduceMean", data, axes)
    centred = call.emit("Sub", [data, mean])
    variance = call.graph.reduce("ReduceMean", call.emit("Mul", [centred, centred]), axes)
    deviation = call.emit("Sqrt", [call.emit("Add", [variance, call.constant(epsilon)])])
    return call.emit("Div", [centred, deviation]), mean, deviation


def _normalise_instance(call: Call) -> Results:
    rank, epsilon = call.rank(), call.number("eps", 1e-3)
    inputs = [call.input(0), call.input(1), call.input(2)]
    if rank > 2:
        return call.finish("InstanceNormalization", inputs, epsilon=epsilon)
    raise MalformedModelError(f"node {call.name!r} normalises instances without spatial dimensions")


def _normalise_groups(call: Call) -> Results:
    """Normalise groups of channels; the weights have a value for each group, or since 2.0 for each channel."""
    groups, epsilon, rank = call.integer("num_groups", 1), call.number("eps", 1e-5), call.rank()
    widths, channels = call.shape(1), call.dims()[1]
    split = call.graph.reshape(call.input(), [0, groups, -1])
    normal, mean, deviation = _standardised(call, split, [2], epsilon)
    by_group = widths is not None and widths == (groups,) and (channels != groups)
    if by_group:
        factors = [call.graph.reshape(call.input(index), [groups, 1]) for index in (1, 2)]
        scaled = call.emit("Add", [call.emit("Mul", [normal, factors[0]]), factors[1]])
        result = call.finish("Reshape", [scaled, _like(call)])
    else:
        factors = [call.graph.reshape(call.input(index), [-1, *[1] * (rank - 2)]) for index in (1, 2)]
        whole = call.emit("Reshape", [normal, _like(call)])
        result = call.finish("Add", [call.emit("Mul", [whole, factors[0]]), factors[1]])
    return [result, *(call.graph.squeeze(each, [2]) for each in (mean, deviation) if call.wanted - {0})]


def _like(call: Call) -> str:
    """Return the shape of the data, as a constant where all but the batch is known."""
    shape = call.dims()
    if -1 not in shape[1:]:
        return call.integers_constant([max(shape[0], 0), *shape[1:]])
    return call.emit("Shape", [call.input()])


def _normalise_length(call: Call) -> Results:
    """``L2Normalization``: divide by the root of the sum of squares over an instance, its channels or its pixels."""
    mode, epsilon = call.word("mode", "instance"), call.number("eps", 1e-10)
    if mode == "channel":
        axes = [1]
    elif mode in ("instance", "spatial"):
        axes = list(range(1 if mode == "instance" else 2, call.rank()))
    else:
        raise MalformedModelError(f"node {call.name!r} normalises by mode {mode[:20]!r}")
    data = call.input()
    squares = call.graph.reduce("ReduceSum", call.emit("Mul", [data, data]), axes)
    length = call.emit("Sqrt", [call.emit("Add", [squares, call.constant(epsilon)])])
    return call.finish("Div", [data, length])


def _normalise_local(call: Call) -> Results:
    """``LRN`` over channels: the two definitions agree, and differ in nothing but names."""
    size = call.integer("nsize", 0)
    alpha, beta, bias = call.number("alpha", 1e-4), call.number("beta", 0.75), call.number("knorm", 2.0)
    if size < 1 or size % 2 == 0:
        raise MalformedModelError(f"node {call.name!r} has an nsize of {size}, which has to be odd")
    return call.finish("LRN", [call.input()], size=size, alpha=alpha, beta=beta, bias=bias)


RULES: Final[dict[str, Rule]] = {
    "batchnorm": _normalise_batch,
    "cudnnbatchnorm": _normalise_batch,
    "syncbatchnorm": _normalise_batch,
    "batchnormwithrelu": _normalise_batch,
    "layernorm": _normalise_layer,
    "instancenorm": _normalise_instance,
    "groupnorm": _normalise_groups,
    "l2normalization": _normalise_length,
    "lrn": _normalise_local,
}
