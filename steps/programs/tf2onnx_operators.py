"""Operators of TensorFlow that tf2onnx 1.17 lacks: each by the definition in tensorflow/core/api_def/base_api.

Importing this module registers them. What does not belong here: operators that tf2onnx has.
"""

import numpy as np
from tf2onnx import utils
from tf2onnx.handler import tf_op


def _replace(ctx, node, build):
    """Replace a node by what ``build(inputs, shape, dtype)`` makes of its inputs."""
    shapes, dtypes = node.output_shapes, node.output_dtypes
    inputs, outputs, name = list(node.input), list(node.output), node.name
    dtype = ctx.get_dtype(inputs[0])
    result = build(inputs, utils.map_onnx_to_numpy_type(dtype))
    ctx.remove_node(name)
    ctx.make_node("Identity", [result], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)


def _one(ctx, dtype, value=1):
    return ctx.make_const(utils.make_name("constant"), np.array(value, dtype)).output[0]


def _make(ctx, operator, *inputs, **attributes):
    return ctx.make_node(operator, list(inputs), attr=attributes).output[0]


@tf_op("Erfc")
class Erfc:
    """The complement of the error function."""

    @classmethod
    def version_9(cls, ctx, node, **_):
        def build(inputs, dtype):
            return _make(ctx, "Sub", _one(ctx, dtype), _make(ctx, "Erf", inputs[0]))

        _replace(ctx, node, build)


@tf_op("Log1p")
class Log1p:
    """The logarithm of x + 1."""

    @classmethod
    def version_7(cls, ctx, node, **_):
        def build(inputs, dtype):
            return _make(ctx, "Log", _make(ctx, "Add", inputs[0], _one(ctx, dtype)))

        _replace(ctx, node, build)


@tf_op("Expm1")
class Expm1:
    """The exponential less 1."""

    @classmethod
    def version_7(cls, ctx, node, **_):
        def build(inputs, dtype):
            return _make(ctx, "Sub", _make(ctx, "Exp", inputs[0]), _one(ctx, dtype))

        _replace(ctx, node, build)


@tf_op("Inv")
class Inv:
    """The old name of Reciprocal."""

    @classmethod
    def version_7(cls, ctx, node, **_):
        _replace(ctx, node, lambda inputs, dtype: _make(ctx, "Reciprocal", inputs[0]))


@tf_op("L2Loss")
class L2Loss:
    """Half the sum of squares over all dimensions."""

    @classmethod
    def version_9(cls, ctx, node, **_):
        def build(inputs, dtype):
            flat = _make(ctx, "Reshape", inputs[0], _one(ctx, np.int64, [-1]))
            total = _make(ctx, "ReduceSumSquare", flat, keepdims=0)
            return _make(ctx, "Mul", total, _one(ctx, dtype, 0.5))

        _replace(ctx, node, build)


def _zero_where_first_is(ctx, build):
    """Return what ``build`` makes of two inputs, and zero wherever the first is zero."""

    def guarded(inputs, dtype):
        zero = _one(ctx, dtype, 0)
        is_zero = _make(ctx, "Equal", inputs[0], zero)
        return _make(ctx, "Where", is_zero, zero, build(inputs, dtype))

    return guarded


@tf_op("Xdivy")
class Xdivy:
    """x / y, and 0 where x is 0."""

    @classmethod
    def version_11(cls, ctx, node, **_):
        _replace(ctx, node, _zero_where_first_is(ctx, lambda inputs, dtype: _make(ctx, "Div", *inputs)))


@tf_op("Xlogy")
class Xlogy:
    """x log(y), and 0 where x is 0."""

    @classmethod
    def version_11(cls, ctx, node, **_):
        def build(inputs, dtype):
            return _make(ctx, "Mul", inputs[0], _make(ctx, "Log", inputs[1]))

        _replace(ctx, node, _zero_where_first_is(ctx, build))


@tf_op("Xlog1py")
class Xlog1py:
    """x log(1 + y), and 0 where x is 0."""

    @classmethod
    def version_11(cls, ctx, node, **_):
        def build(inputs, dtype):
            return _make(ctx, "Mul", inputs[0], _make(ctx, "Log", _make(ctx, "Add", inputs[1], _one(ctx, dtype))))

        _replace(ctx, node, _zero_where_first_is(ctx, build))


@tf_op("MulNoNan")
class MulNoNan:
    """x y, and 0 where y is 0, be x infinite or no number."""

    @classmethod
    def version_11(cls, ctx, node, **_):
        def build(inputs, dtype):
            zero = _one(ctx, dtype, 0)
            return _make(ctx, "Where", _make(ctx, "Equal", inputs[1], zero), zero, _make(ctx, "Mul", *inputs))

        _replace(ctx, node, build)


@tf_op(["Mod", "TruncateMod"])
class Mod:
    """The remainder with the sign of the dividend, as C's fmod; FloorMod is another."""

    @classmethod
    def version_10(cls, ctx, node, **_):
        _replace(ctx, node, lambda inputs, dtype: _make(ctx, "Mod", *inputs, fmod=1))


@tf_op("AccumulateNV2")
class AccumulateNV2:
    """The sum of tensors of equal shapes."""

    @classmethod
    def version_8(cls, ctx, node, **_):
        _replace(ctx, node, lambda inputs, dtype: _make(ctx, "Sum", *inputs))


@tf_op(["Snapshot", "PreventGradient", "GuaranteeConst", "CheckNumericsV2"])
class Same:
    """Operators that hand on their input."""

    @classmethod
    def version_7(cls, ctx, node, **_):
        _replace(ctx, node, lambda inputs, dtype: inputs[0])


@tf_op("Bucketize")
class Bucketize:
    """The number of boundaries that are not above a value."""

    @classmethod
    def version_13(cls, ctx, node, **_):
        boundaries = np.array(node.get_attr_value("boundaries"), np.float32)

        def build(inputs, dtype):
            value = _make(ctx, "Cast", inputs[0], to=utils.map_numpy_to_onnx_dtype(np.float32))
            column = _make(ctx, "Unsqueeze", value, _one(ctx, np.int64, [-1]))
            reached = _make(ctx, "Not", _make(ctx, "Less", column, _one(ctx, np.float32, boundaries)))
            number = _make(ctx, "Cast", reached, to=utils.map_numpy_to_onnx_dtype(np.int32))
            return _make(ctx, "ReduceSum", number, _one(ctx, np.int64, [-1]), keepdims=0)

        _replace(ctx, node, build)


@tf_op("EuclideanNorm")
class EuclideanNorm:
    """The square root of the sum of squares over axes."""

    @classmethod
    def version_13(cls, ctx, node, **_):
        keep = int(bool(node.get_attr_value("keep_dims")))

        def build(inputs, dtype):
            axes = _make(ctx, "Cast", inputs[1], to=utils.map_numpy_to_onnx_dtype(np.int64))
            axes = _make(ctx, "Reshape", axes, _one(ctx, np.int64, [-1]))
            total = _make(ctx, "ReduceSum", _make(ctx, "Mul", inputs[0], inputs[0]), axes, keepdims=keep)
            return _make(ctx, "Sqrt", total)

        _replace(ctx, node, build)
