"""Add the operators of TensorFlow that tf2onnx 1.17 lacks, and correct what it does wrongly; importing does both.

Each is made by its definition in tensorflow/core/api_def/base_api. What does not belong here: what tf2onnx does right.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from tf2onnx import tfonnx, utils
from tf2onnx.constants import ONNX_DOMAIN
from tf2onnx.graph import Node
from tf2onnx.handler import tf_op

#: What tf2onnx has and computes otherwise than TensorFlow: the area of pixels that lie partly inside, and cubic
#: weights, which TensorFlow takes from a table of 1024.
_WRONG: Final = ("ResizeArea", "ResizeBicubic")
_INT64, _INT32, _FLOAT = (utils.map_numpy_to_onnx_dtype(kind) for kind in (np.int64, np.int32, np.float32))


class Call(NamedTuple):
    """A node to replace: tf2onnx's graph and node, and the type of its first input."""

    graph: Any
    node: Any
    dtype: Any

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return a constant, by default of the first input's type."""
        array = np.array(value, self.dtype if dtype is None else dtype)
        return str(self.graph.make_const(utils.make_name("constant"), array).output[0])

    def make(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Return the result of a new node."""
        return str(self.graph.make_node(operator, list(inputs), attr=attributes).output[0])

    def attribute(self, name: str) -> Any:
        """Return an attribute of the node."""
        return self.node.get_attr_value(name)


#: Makes the node's result of its inputs.
Build = Callable[[Call, Sequence[str]], str]


def _same(_: Call, inputs: Sequence[str]) -> str:
    return inputs[0]


def _erfc(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Sub", call.constant(1), call.make("Erf", inputs[0]))


def _log1p(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Log", call.make("Add", inputs[0], call.constant(1)))


def _expm1(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Sub", call.make("Exp", inputs[0]), call.constant(1))


def _reciprocal(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Reciprocal", inputs[0])


def _l2_loss(call: Call, inputs: Sequence[str]) -> str:
    """Halve the sum of squares over all dimensions."""
    flat = call.make("Reshape", inputs[0], call.constant([-1], np.int64))
    return call.make("Mul", call.make("ReduceSumSquare", flat, keepdims=0), call.constant(0.5))


def _zero_where_first_is(build: Build) -> Build:
    def guarded(call: Call, inputs: Sequence[str]) -> str:
        zero = call.constant(0)
        return call.make("Where", call.make("Equal", inputs[0], zero), zero, build(call, inputs))

    return guarded


@_zero_where_first_is
def _xdivy(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Div", *inputs)


@_zero_where_first_is
def _xlogy(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Mul", inputs[0], call.make("Log", inputs[1]))


@_zero_where_first_is
def _xlog1py(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Mul", inputs[0], _log1p(call, inputs[1:]))


def _multiply_no_nan(call: Call, inputs: Sequence[str]) -> str:
    """Return zero where the second factor is, be the first infinite or no number."""
    zero = call.constant(0)
    return call.make("Where", call.make("Equal", inputs[1], zero), zero, call.make("Mul", *inputs))


def _truncated_remainder(call: Call, inputs: Sequence[str]) -> str:
    """Take the remainder with the sign of the dividend, as C's fmod; FloorMod is another."""
    return call.make("Mod", *inputs, fmod=1)


def _sum(call: Call, inputs: Sequence[str]) -> str:
    return call.make("Sum", *inputs)


def _sparse_product(call: Call, inputs: Sequence[str]) -> str:
    """Multiply matrices; that they are sparse is a hint."""
    turned = (call.attribute("transpose_a"), call.attribute("transpose_b"))
    given = [call.make("Transpose", x, perm=[1, 0]) if turn else x for x, turn in zip(inputs, turned, strict=True)]
    return call.make("MatMul", *given)


def _bucketize(call: Call, inputs: Sequence[str]) -> str:
    """Count the boundaries that are not above a value."""
    boundaries = call.constant(call.attribute("boundaries"), np.float32)
    column = call.make("Unsqueeze", call.make("Cast", inputs[0], to=_FLOAT), call.constant([-1], np.int64))
    reached = call.make("Cast", call.make("Not", call.make("Less", column, boundaries)), to=_INT32)
    return call.make("ReduceSum", reached, call.constant([-1], np.int64), keepdims=0)


def _euclidean_norm(call: Call, inputs: Sequence[str]) -> str:
    axes = call.make("Reshape", call.make("Cast", inputs[1], to=_INT64), call.constant([-1], np.int64))
    squares = call.make("Mul", inputs[0], inputs[0])
    return call.make("Sqrt", call.make("ReduceSum", squares, axes, keepdims=int(bool(call.attribute("keep_dims")))))


def _resized(call: Call, image: str, size: str, mode: str, nearest_mode: str = "floor") -> str:
    """Resize to exact sizes; tf2onnx's own rounds sizes that it computes from scales."""
    corners, centers = call.attribute("align_corners"), call.attribute("half_pixel_centers")
    coordinates = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    if call.graph.get_dtype(image) != call.node.output_dtypes[0]:
        image = call.make("Cast", image, to=call.node.output_dtypes[0])
    planes = call.make("Transpose", image, perm=[0, 3, 1, 2])
    ends = (call.constant([0], np.int64), call.constant([2], np.int64))
    outer = call.make("Slice", call.make("Shape", planes), *ends)
    sizes = call.make("Concat", outer, call.make("Cast", size, to=_INT64), axis=0)
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "nearest_mode": nearest_mode}
    resized = call.make("Resize", planes, "", "", sizes, **attributes)
    return call.make("Transpose", resized, perm=[0, 2, 3, 1])


def _resize_nearest(call: Call, inputs: Sequence[str]) -> str:
    """Take the nearest pixel: rounded with aligned corners, else the floor (resize_nearest_neighbor_op.cc)."""
    exact = not (call.attribute("half_pixel_centers") or call.attribute("align_corners"))
    # A half pixel less than the center that TensorFlow takes the floor of is rounded up from the middle.
    return _resized(call, inputs[0], inputs[1], "nearest", "floor" if exact else "round_prefer_ceil")


def _resize_bilinear(call: Call, inputs: Sequence[str]) -> str:
    return _resized(call, inputs[0], inputs[1], "linear")


#: Operator to the first opset that has what it is made of, and how it is made.
_OPERATORS: Final[dict[str, tuple[int, Build]]] = {
    "AccumulateNV2": (8, _sum),
    "Bucketize": (13, _bucketize),
    "CheckNumericsV2": (7, _same),
    "Erfc": (9, _erfc),
    "EuclideanNorm": (13, _euclidean_norm),
    "Expm1": (7, _expm1),
    "GuaranteeConst": (7, _same),
    "Inv": (7, _reciprocal),
    "L2Loss": (9, _l2_loss),
    "Log1p": (7, _log1p),
    "Mod": (10, _truncated_remainder),
    "MulNoNan": (11, _multiply_no_nan),
    "PreventGradient": (7, _same),
    "ResizeBilinear": (13, _resize_bilinear),
    "ResizeNearestNeighbor": (13, _resize_nearest),
    "Snapshot": (7, _same),
    "SparseMatMul": (9, _sparse_product),
    "TruncateMod": (10, _truncated_remainder),
    "Xdivy": (11, _xdivy),
    "Xlog1py": (11, _xlog1py),
    "Xlogy": (11, _xlogy),
}


def _replacing(build: Build) -> Callable[..., None]:
    """Return a conversion that puts what ``build`` makes in the place of a node."""

    def convert(graph: Any, node: Any, **_: Any) -> None:
        inputs, outputs, name = list(node.input), list(node.output), node.name
        kinds = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
        result = build(Call(graph, node, utils.map_onnx_to_numpy_type(graph.get_dtype(inputs[0]))), inputs)
        graph.remove_node(name)
        graph.make_node("Identity", [result], outputs=outputs, name=name, **kinds)

    return convert


def _hot_only_inside(convert: Callable[..., None]) -> Callable[..., None]:
    """Move negative indices of OneHot beyond the end: TensorFlow has no place for them, ONNX counts from the end."""

    def moved(graph: Any, node: Any, **given: Any) -> None:
        index, depth = node.input[0], node.input[1]
        number = graph.get_dtype(index)
        call = Call(graph, node, utils.map_onnx_to_numpy_type(number))
        is_negative, beyond = call.make("Less", index, call.constant(0)), call.make("Cast", depth, to=number)
        kinds = {"shapes": [graph.get_shape(index)], "dtypes": [number]}
        placed = graph.make_node("Where", [is_negative, beyond, index], **kinds)
        graph.replace_input(node, index, placed.output[0], 0)
        convert(graph, node, **given)

    return moved


def _keep_explicit_padding(rewrite: Callable[..., Any]) -> Callable[..., Any]:
    """Return a rewriter of Pad before Conv2D that leaves convolutions alone which pad by numbers of their own.

    tf2onnx puts the numbers of the Pad in their place and loses them; those whose padding is SAME it leaves.
    """

    def rewrite_others(graph: Any, operations: Any) -> Any:
        convolutions = [node for node in graph.get_nodes() if node.type == "Conv2D"]
        padded = [node for node in convolutions if node.get_attr_value("padding") == b"EXPLICIT"]
        for node in padded:
            node.set_attr("padding", "SAME")
        result = rewrite(graph, operations)
        for node in padded:
            node.set_attr("padding", "EXPLICIT")
        return result

    return rewrite_others


def fix_transposed_convolutions(graph: Any) -> None:
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


def _correct() -> None:
    known = tf_op.create_mapping(13, None)
    tf_op.register_handler(_hot_only_inside(known["OneHot"][0]), 13, ["OneHot"], ONNX_DOMAIN, {})
    for name, (opset, build) in _OPERATORS.items():
        tf_op.register_handler(_replacing(build), opset, [name], ONNX_DOMAIN, {})
    tfonnx.rewrite_conv2d_with_pad = _keep_explicit_padding(tfonnx.rewrite_conv2d_with_pad)
    for opsets in tf_op.get_opsets().values():
        for mapping in opsets:
            for name in _WRONG:
                mapping.pop(name, None)
    _number_nodes()


def _number_nodes() -> None:
    """Let nodes hash by the order in which they were made, not by their addresses in memory.

    tf2onnx's optimizers go through sets of nodes: one graph would be written as other bytes each time.
    """
    numbers, begin = itertools.count(), Node.__init__

    def numbered(self: Any, *arguments: Any, **options: Any) -> None:
        self.klever_number = next(numbers)
        begin(self, *arguments, **options)

    Node.__init__ = numbered
    Node.__hash__ = lambda self: int(self.klever_number)


_correct()
