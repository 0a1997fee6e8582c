"""Operators that normalise: by stored or computed statistics, by neighbours, by a sum of exponentials.

Source: ``spatial_batch_norm_op``, ``instance_norm_op``, ``group_norm_op``, ``layer_norm_op``,
``local_response_normalization_op``, ``softmax_op`` and ``normalize_op`` in ``caffe2/operators``.
"""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rules
from klever.steps.model.shapes import count


def _batch_norm(call: Call) -> Result:
    x = call.channels_first()
    epsilon = call.number("epsilon", 1e-5)
    relu = call.operator.type == "SpatialBNRelu"
    if not call.flag("is_test"):
        if relu or call.integer("num_batches", 1) != 1 or len(call) > 5:
            raise RefusedError("in training over several batches")
        call.notes.append("batch normalisation without is_test works with the statistics of each batch, as in Caffe2")
        return _batch_norm_training(call, x, epsilon)
    parameters = [call.vector(index) for index in (1, 2, 3, 4)]
    rank = call.rank() if call.last else 0
    if relu:
        normal = call.add("BatchNormalization", x, *parameters, epsilon=epsilon)
        return call.give_image("Relu", normal, rank=rank)
    return call.give_image("BatchNormalization", x, *parameters, rank=rank, epsilon=epsilon)


def _batch_norm_training(call: Call, x: str, epsilon: float) -> Result:
    """Give the normalised batch, the statistics moved on by it, its mean and the inverse of its deviation."""
    rank = call.rank()
    axes = [axis for axis in range(rank) if axis != 1]
    mean = call.reduce("ReduceMean", x, axes)
    apart = call.add("Sub", x, mean)
    variance = call.reduce("ReduceMean", call.add("Mul", apart, apart), axes)
    inverse = call.add("Reciprocal", call.add("Sqrt", call.add("Add", variance, call.scalar(epsilon))))
    scale, bias = (call.along_channels(call.vector(index), rank) for index in (1, 2))
    scaled = call.add("Mul", call.add("Mul", apart, inverse), scale)
    image = call.add("Add", scaled, bias)
    given = call.give_ordered(image, rank)
    momentum = call.number("momentum", 0.9)
    moved = []
    # The variance that is kept is that of the population, n / (n - 1) times that of the batch.
    count = call.cast(call.reduce("ReduceProd", call.sizes(x, axes), [0]), "float32")
    variance = call.add("Div", call.add("Mul", variance, count), call.add("Sub", count, call.scalar(1.0)))
    for at, (index, new) in enumerate(((3, mean), (4, variance)), start=1):
        old = call.add("Mul", call.input(index), call.scalar(momentum))
        part = call.add("Mul", call.reshape(new, [-1]), call.scalar(1 - momentum))
        moved.append(call.give("Add", old, part, at=at))
    return given, *moved, call.give_reshaped(mean, [-1], at=3), call.give_reshaped(inverse, [-1], at=4)


def _statistics(call: Call, x: str, axes: list[int], epsilon: float) -> tuple[str, str]:
    """Return mean and the inverse of the deviation over ``axes``, which are kept with size 1."""
    mean = call.reduce("ReduceMean", x, axes)
    apart = call.add("Sub", x, mean)
    variance = call.reduce("ReduceMean", call.add("Mul", apart, apart), axes)
    deviation = call.add("Sqrt", call.add("Add", variance, call.scalar(epsilon)))
    return mean, call.add("Reciprocal", deviation)


def _instance_norm(call: Call) -> Result:
    epsilon, rank = call.number("epsilon", 1e-5), call.rank()
    if rank < 3:
        raise RefusedError(f"for rank {rank}")
    x = call.channels_first()
    given = call.give_image("InstanceNormalization", x, call.vector(1), call.vector(2), rank=rank, epsilon=epsilon)
    if len(call.operator.outputs) == 1:
        return given
    mean, inverse = _statistics(call, x, list(range(2, rank)), epsilon)
    return given, call.give_reshaped(mean, [0, -1], at=1), call.give_reshaped(inverse, [0, -1], at=2)


def _group_norm(call: Call) -> Result:
    """Normalise groups of channels: each is an instance of one channel."""
    groups, epsilon, rank = call.integer("group", 32), call.number("epsilon", 1e-5), call.rank()
    if not 0 < groups < 1 << 20:
        raise RefusedError(f"{groups} groups")
    x = call.channels_first()
    parts = call.reshape(x, [0, groups, -1])
    neutral = [call.constant([value] * groups) for value in (1.0, 0.0)]
    normal = call.add("InstanceNormalization", parts, *neutral, epsilon=epsilon)
    image = call.reshape(normal, call.sizes(x))
    scale, shift = (call.along_channels(call.vector(index), rank) for index in (1, 2))
    given = call.give_image("Add", call.add("Mul", image, scale), shift, rank=rank)
    if len(call.operator.outputs) == 1:
        return given
    mean, inverse = _statistics(call, parts, [2], epsilon)
    return given, call.give_reshaped(mean, [0, -1], at=1), call.give_reshaped(inverse, [0, -1], at=2)


def _layer_norm(call: Call) -> Result:
    """Normalise what is behind ``axis``; the deviation that is given too holds the epsilon."""
    axis, rank = call.axis(call.integer("axis", 1)), call.rank()
    x, axes = call.input(), list(range(axis, rank))
    mean = call.reduce("ReduceMean", x, axes)
    apart = call.add("Sub", x, mean)
    variance = call.reduce("ReduceMean", call.add("Mul", apart, apart), axes)
    deviation = call.add("Sqrt", call.add("Add", variance, call.scalar(call.number("epsilon", 1e-5))))
    if call.flag("elementwise_affine"):
        sizes = call.sizes(x, axes)
        scale, shift = (call.reshape(call.input(index), sizes) for index in (1, 2))
        given = call.give("Add", call.add("Mul", call.add("Div", apart, deviation), scale), shift)
    else:
        given = call.give("Div", apart, deviation)
    if len(call.operator.outputs) == 1:
        return given
    shape = call.add("Concat", call.sizes(x, list(range(axis))), call.integers_of([1]), axis=0)
    return given, call.give_reshaped(mean, shape, at=1), call.give_reshaped(deviation, shape, at=2)


def _root_mean_square(call: Call) -> Result:
    axis, rank = call.axis(call.integer("axis", 1)), call.rank()
    x, axes = call.input(), list(range(axis, rank))
    squared = call.reduce("ReduceMean", call.add("Mul", x, x), axes)
    root = call.add("Sqrt", call.add("Add", squared, call.scalar(call.number("eps", 0.0))))
    inverse = call.add("Reciprocal", root)
    sizes = call.sizes(x, axes)
    scale, shift = (call.reshape(call.input(index), sizes) for index in (1, 2))
    given = call.give("Add", call.add("Mul", call.add("Mul", x, inverse), scale), shift)
    return given, call.give_reshaped(inverse, call.sizes(x, list(range(axis))), at=1)


def _local_response(call: Call) -> Result:
    """Divide by a power of the neighbours' squares across channels; the second output is what is raised to it."""
    size = call.integer("size")
    if size < 1 or size % 2 == 0:
        raise RefusedError(f"with size {size}")
    rank = call.rank()
    alpha, beta, bias = call.number("alpha"), call.number("beta"), call.number("bias", 1.0)
    x = call.channels_first()
    given = call.give_image("LRN", x, rank=rank, size=size, alpha=alpha, beta=beta, bias=bias)
    if len(call.operator.outputs) == 1:
        return given
    half = size // 2
    deep = call.unsqueeze(call.add("Mul", x, x), [1])
    ones = [1] * (rank - 2)
    mean = call.add(
        "AveragePool",
        deep,
        kernel_shape=[size, *ones],
        pads=[half, *(0 for _ in ones)] * 2,
        strides=[1, *ones],
        count_include_pad=1,
    )
    spread = call.add("Mul", call.squeeze(mean, [1]), call.scalar(alpha))
    return given, call.give_ordered(call.add("Add", spread, call.scalar(bias)), rank, at=1)


def _softmax(call: Call) -> Result:
    """Normalise over all that is behind ``axis``, as one row."""
    axis = call.integer("axis", 1)
    shape = call.value().shape
    if shape is not None:
        axis = call.axis(axis)
        if all(size == 1 for size in shape[axis + 1 :]):
            return call.give("Softmax", call.input(), axis=axis)
    rows = call.add("Softmax", call.add("Flatten", call.input(), axis=axis), axis=1)
    return call.give_reshaped(rows, call.sizes(call.input()))


def _affine(call: Call) -> Result:
    rank = call.rank()
    scale, shift = call.vector(1), call.vector(2)
    if not call.last:
        scale, shift = call.along_channels(scale, rank), call.along_channels(shift, rank)
    return call.give("Add", call.add("Mul", call.input(), scale), shift)


def _parametric_relu(call: Call) -> Result:
    """Give negative elements a slope: one for all, or one a channel."""
    slope, shape = call.vector(1), call.value(1).shape
    if (shape is None or count(shape) != 1) and not call.last:
        slope = call.along_channels(slope, call.rank())
    return call.give("PRelu", call.input(), slope)


#: The least norm by which Normalize divides: ``KEPS`` in ``normalize_op.h``.
_LEAST_NORM: Final = 1e-12


def _normalise(call: Call) -> Result:
    axis = call.axis(call.integer("axis", -1))
    norm = call.reduce("ReduceL2", call.input(), [axis])
    return call.give("Div", call.input(), call.add("Max", norm, call.scalar(_LEAST_NORM)))


def _normalise_absolute(call: Call) -> Result:
    """Divide by the sum of absolute values, where there is one."""
    norm = call.reduce("ReduceL1", call.input(), [call.axis(call.integer("axis", -1))])
    none = call.add("Equal", norm, call.scalar(0.0))
    return call.give("Div", call.input(), call.add("Where", none, call.scalar(1.0), norm))


def _dropout(call: Call) -> Result:
    """Hand on; what a net that still trains would drop is random."""
    if call.flag("is_test"):
        return call.input()
    call.notes.append("dropout without is_test is taken as when it tests: nothing is dropped")
    if len(call.operator.outputs) == 1:
        return call.input()
    return call.input(), str(call.add("Dropout", call.input(), outputs=2)[1])


RULES: Final[Rules] = {
    "AffineChannel": _affine,
    "Dropout": _dropout,
    "GroupNorm": _group_norm,
    "InstanceNorm": _instance_norm,
    "LRN": _local_response,
    "LayerNorm": _layer_norm,
    "Normalize": _normalise,
    "NormalizeL1": _normalise_absolute,
    "PRelu": _parametric_relu,
    "RMSNorm": _root_mean_square,
    "Softmax": _softmax,
    "SpatialBN": _batch_norm,
    "SpatialBNRelu": _batch_norm,
}
