"""Operators of TensorFlow that tf2onnx 1.17 lacks, each by its definition in tensorflow/core/api_def/base_api, and
corrections of what it does wrongly.

Importing this module registers them. What does not belong here: what tf2onnx does right.
"""

import numpy as np
from tf2onnx import tfonnx, utils
from tf2onnx.handler import tf_op


def _keep_explicit_padding(rewrite):
    """Return a rewriter of Pad before Conv2D that leaves convolutions alone which pad by numbers of their own.

    tf2onnx puts the numbers of the Pad in their place and loses them; those whose padding is SAME it leaves.
    """

    def rewrite_others(graph, operations):
        padded = [
            node
            for node in graph.get_nodes()
            if node.type == "Conv2D" and node.get_attr_value("padding") == b"EXPLICIT"
        ]
        for node in padded:
            node.set_attr("padding", "SAME")
        result = rewrite(graph, operations)
        for node in padded:
            node.set_attr("padding", "EXPLICIT")
        return result

    return rewrite_others


#: What tf2onnx has and computes otherwise than TensorFlow: the area of pixels that lie partly inside, and cubic weights,
#: which TensorFlow takes from a table of 1024.
WRONG = ("ResizeArea", "ResizeBicubic")

tfonnx.rewrite_conv2d_with_pad = _keep_explicit_padding(tfonnx.rewrite_conv2d_with_pad)


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


@tf_op("SparseMatMul")
class SparseMatMul:
    """A product of matrices; that they are sparse is a hint."""

    @classmethod
    def version_9(cls, ctx, node, **_):
        turned = [bool(node.get_attr_value(name)) for name in ("transpose_a", "transpose_b")]

        def build(inputs, dtype):
            given = [_make(ctx, "Transpose", x, perm=[1, 0]) if turn else x for x, turn in zip(inputs, turned)]
            return _make(ctx, "MatMul", *given)

        _replace(ctx, node, build)


_ONE_HOT, _ = tf_op.create_mapping(13, None)["OneHot"]


@tf_op("OneHot")
class OneHot:
    """TensorFlow has no hot place for a negative index, ONNX counts it from the end."""

    @classmethod
    def version_13(cls, ctx, node, **given):
        index, depth = node.input[0], node.input[1]
        number = ctx.get_dtype(index)
        kind = utils.map_onnx_to_numpy_type(number)
        beyond = _make(ctx, "Cast", depth, to=number)
        placed = ctx.make_node(
            "Where",
            [_make(ctx, "Less", index, _one(ctx, kind, 0)), beyond, index],
            shapes=[ctx.get_shape(index)],
            dtypes=[number],
        )
        ctx.replace_input(node, index, placed.output[0], 0)
        _ONE_HOT(ctx, node, **given)


def _resized(ctx, node, mode, nearest_mode="floor"):
    """Replace a resizing of images by one to exact sizes; tf2onnx's own rounds sizes that it computes from scales."""
    centers, corners = bool(node.get_attr_value("half_pixel_centers")), bool(node.get_attr_value("align_corners"))
    coordinates = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    result_type = node.output_dtypes[0]

    def build(inputs, dtype):
        image = inputs[0]
        if ctx.get_dtype(image) != result_type:
            image = _make(ctx, "Cast", image, to=result_type)
        planes = _make(ctx, "Transpose", image, perm=[0, 3, 1, 2])
        outer = _make(ctx, "Slice", _make(ctx, "Shape", planes), *(_one(ctx, np.int64, [at]) for at in (0, 2)))
        size = _make(ctx, "Cast", inputs[1], to=utils.map_numpy_to_onnx_dtype(np.int64))
        sizes = _make(ctx, "Concat", outer, size, axis=0)
        resized = _make(
            ctx,
            "Resize",
            planes,
            "",
            "",
            sizes,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            nearest_mode=nearest_mode,
        )
        return _make(ctx, "Transpose", resized, perm=[0, 2, 3, 1])

    _replace(ctx, node, build)


@tf_op("ResizeNearestNeighbor")
class ResizeNearestNeighbor:
    """The nearest pixel: rounded with aligned corners, else the floor (resize_nearest_neighbor_op.cc)."""

    @classmethod
    def version_13(cls, ctx, node, **_):
        exact = not (node.get_attr_value("half_pixel_centers") or node.get_attr_value("align_corners"))
        # A half pixel less than the center that TensorFlow takes the floor of is rounded up from the middle.
        _resized(ctx, node, "nearest", "floor" if exact else "round_prefer_ceil")


@tf_op("ResizeBilinear")
class ResizeBilinear:
    """Between the four pixels around."""

    @classmethod
    def version_13(cls, ctx, node, **_):
        _resized(ctx, node, "linear")


def fix_transposed_convolutions(graph):
    """Write padding that is negative, where strides are wider than kernels, as more output at the end instead.

    TensorFlow pads ``max(kernel - stride, 0)`` at the begin (tensorflow/core/framework/common_shape_fns.cc).
    """
    for node in graph.node:
        attributes = {item.name: item for item in node.attribute}
        if node.op_type != "ConvTranspose" or "pads" not in attributes:
            continue
        pads = attributes["pads"].ints
        rank = len(pads) // 2
        if min(pads, default=0) >= 0:
            continue
        if "output_padding" not in attributes:
            attributes["output_padding"] = node.attribute.add(name="output_padding", type=7)
            attributes["output_padding"].ints.extend([0] * rank)
        for axis in range(rank):
            if min(pads[axis], pads[rank + axis]) < 0:
                attributes["output_padding"].ints[axis] -= pads[axis] + pads[rank + axis]
                pads[axis] = pads[rank + axis] = 0


def remove_wrong():
    """Forget the conversions of tf2onnx that are wrong, so that what needs them is refused."""
    for opsets in tf_op.get_opsets().values():
        for mapping in opsets:
            for name in WRONG:
                mapping.pop(name, None)


remove_wrong()
