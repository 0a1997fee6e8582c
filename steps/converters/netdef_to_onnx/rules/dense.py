"""Operators that multiply matrices or compare rows.

Source: ``fully_connected_op.h``, ``matmul_op.h``, ``batch_matmul_op.h``, ``distance_op.cc``.
"""

from math import prod
from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rules
from klever.steps.model.shapes import UNKNOWN


def flattened(call: Call, index: int, axis: int) -> str:
    """Return an input as a matrix: the dimensions before ``axis`` make the rows, the others the columns."""
    shape = call.value(index).shape
    if axis < 0:
        axis = call.axis(axis, index)
    if shape is not None and len(shape) == 2 and axis == 1:
        return call.input(index)
    return str(call.add("Flatten", call.input(index), axis=axis))


def _full(call: Call) -> Result:
    """Multiply by weights of (N, K), or (K, N) for FCTransposed; what is before ``axis`` stays as it is."""
    transposed = call.operator.type == "FCTransposed"
    axis = call.integer("axis", 1)
    rows = flattened(call, 0, axis)
    shape = call.shape(1)
    weight, weight_axis = call.input(1), call.axis(call.integer("axis_w", 1), 1)
    if UNKNOWN in shape:
        weight = flattened(call, 1, weight_axis)
    elif len(shape) != 2 or weight_axis != 1:
        weight = call.reshape(weight, [prod(shape[:weight_axis]), prod(shape[weight_axis:])])
    operands = [rows, weight, *([call.input(2)] if len(call) > 2 else [])]
    relu = call.operator.type == "FCRelu"
    if axis == 1:
        if relu:
            return call.give("Relu", call.add("Gemm", *operands, transB=1))
        return call.give("Gemm", *operands, transB=int(not transposed))
    product = call.add("Gemm", *operands, transB=int(not transposed))
    if relu:
        product = call.add("Relu", product)
    axis = call.axis(axis)
    kept = call.sizes(call.input(), list(range(axis)))
    return call.give_reshaped(product, call.add("Concat", kept, call.integers_of([-1]), axis=0))


def _multiply(call: Call) -> Result:
    a, b = flattened(call, 0, call.integer("axis_a", 1)), flattened(call, 1, call.integer("axis_b", 1))
    left, right = call.flag("trans_a"), call.flag("trans_b")
    if len(call) > 2:
        product = call.add("Gemm", a, b, transA=int(left), transB=int(right))
        return call.give_reshaped(product, call.sizes(call.input(2)))
    if left or right:
        return call.give("Gemm", a, b, transA=int(left), transB=int(right))
    return call.give("MatMul", a, b)


def _multiply_batches(call: Call) -> Result:
    """Multiply the last two dimensions; those before them are laid over one another.

    The argument ``broadcast`` only allows sizes to differ. Two vectors give one element in rank 1.
    """
    ranks = [call.rank(0), call.rank(1)]
    operands = []
    for index, name in enumerate(("trans_a", "trans_b")):
        operand, rank = call.input(index), ranks[index]
        if call.flag(name) and rank > 1:
            operand = call.transpose(operand, (*range(rank - 2), rank - 1, rank - 2))
        operands.append(operand)
    if ranks[1] == 1 and ranks[0] > 1 and call.flag("trans_a") and call.size(-1) != call.size(-2):
        # BatchMatMulOp gives this product the sizes of what was not transposed.
        raise RefusedError("a transposed matrix times a vector, which Caffe2 shapes wrongly")
    if ranks == [1, 1]:
        return call.give_reshaped(call.add("MatMul", *operands), [1])
    return call.give("MatMul", *operands)


def _by_row(call: Call, x: str, op: str = "ReduceSum", at: int | None = None) -> str:
    """Reduce all but the first dimension."""
    axes = list(range(1, call.rank()))
    if not axes:
        return call.give("Identity", x, at=at) if at is not None else x
    return call.reduce(op, x, axes, keepdims=False) if at is None else call.give_reduced(op, x, axes, keepdims=False)


def _dot(call: Call) -> Result:
    return _by_row(call, call.add("Mul", call.input(0), call.input(1)), at=0)


def _squared_distance(call: Call) -> Result:
    apart = call.add("Sub", call.input(0), call.input(1))
    return call.give("Mul", _by_row(call, call.add("Mul", apart, apart)), call.scalar(0.5))


def _absolute_distance(call: Call) -> Result:
    return _by_row(call, call.add("Abs", call.add("Sub", call.input(0), call.input(1))), at=0)


#: The least norm by which CosineSimilarity divides: ``kEps`` in ``distance_op.h``.
_LEAST_NORM: Final = 1e-12


def _cosine(call: Call) -> Result:
    """Divide the product of rows by the roots of their squared norms, which are kept from zero."""
    roots = []
    for index in (0, 1):
        x = call.input(index)
        squared = _by_row(call, call.add("Mul", x, x))
        roots.append(call.add("Sqrt", call.add("Max", squared, call.scalar(_LEAST_NORM))))
    product = _by_row(call, call.add("Mul", call.input(0), call.input(1)))
    return call.give("Div", product, call.add("Mul", *roots))


def _scale_rows(call: Call) -> Result:
    """Multiply each row by a number of its own."""
    return call.give("Mul", call.input(0), call.unsqueeze(call.input(1), list(range(1, call.rank()))))


def _divide_by_roots(call: Call) -> Result:
    """Divide each row by the root of a number of its own, where that is above zero."""
    scale = call.unsqueeze(call.input(1), list(range(1, call.rank())))
    positive = call.add("Greater", scale, call.scalar(0.0))
    divisor = call.add("Where", positive, call.add("Sqrt", scale), call.scalar(1.0))
    return call.give("Div", call.input(0), divisor)


def _linear_by_element(call: Call) -> Result:
    """Scale and shift each column; what is before ``axis`` makes the rows."""
    axis, rank = call.axis(call.integer("axis", 1)), call.rank()
    inner = list(call.shape()[axis:])
    if rank - axis == 1:
        scale, shift = call.input(1), call.input(2)
    elif UNKNOWN in inner:
        sizes = call.sizes(call.input(), list(range(axis, rank)))
        scale, shift = call.reshape(call.input(1), sizes), call.reshape(call.input(2), sizes)
    else:
        scale, shift = call.reshape(call.input(1), inner), call.reshape(call.input(2), inner)
    return call.give("Add", call.add("Mul", call.input(), scale), shift)


def _packed(call: Call) -> Result:
    del call
    raise RefusedError("its weights are packed for one processor")


RULES: Final[Rules] = {
    "BatchMatMul": _multiply_batches,
    "CosineSimilarity": _cosine,
    "DotProduct": _dot,
    "ElementwiseLinear": _linear_by_element,
    "FC": _full,
    "FCRelu": _full,
    "FCTransposed": _full,
    "FbFCPacked": _packed,
    "L1Distance": _absolute_distance,
    "MatMul": _multiply,
    "RowMul": _scale_rows,
    "SquareRootDivide": _divide_by_roots,
    "SquaredL2Distance": _squared_distance,
}
