"""Products of matrices: dense layers, dot products, and embeddings, which are rows of a matrix.

Source: ``fully_connected-inl.h`` in MXNet's ``src/operator/nn``, ``dot-inl.h`` and ``indexing_op.h`` in
``src/operator/tensor``. What does not belong here: decompositions of matrices.
"""

from string import ascii_lowercase
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import FLOATS, Call, Results, Rule, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.arithmetic import promoted
from klever.steps.converters.mxnetparams_to_onnx.rules.layout import transposed
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN, normalise_axis


def _connect(call: Call) -> Results:
    """``FullyConnected``: the weight is (units, width); ``flatten`` makes a row of each example."""
    biased = not call.flag("no_bias")
    shape = call.shape()
    if not call.flag("flatten", default=True) and (shape is None or len(shape) != 2):
        product = [call.input(), _turned_weight(call, 1)]
        if not biased:
            return call.finish("MatMul", product)
        return call.finish("Add", [call.emit("MatMul", product), call.input(2)])
    data = call.input() if shape is not None and len(shape) == 2 else call.emit("Flatten", [call.input()], axis=1)
    inputs = [data, call.input(1)]
    if biased:
        inputs.append(call.input(2))
    return call.finish("Gemm", inputs, transB=1)


def _turned_weight(call: Call, index: int) -> str:
    """Return a matrix with its sides exchanged, when it is written if nothing else reads it."""
    weight = call.weight(index)
    if weight is not None and not call.operand(index).placed:
        return call.replaced(index, transposed(weight, (1, 0)))
    return call.graph.transpose(call.input(index), (1, 0))


def _dot(call: Call) -> Results:
    """Contract the last axis of the first with the first axis of the second; the flags exchange first and last."""
    turned, other_turned = call.flag("transpose_a"), call.flag("transpose_b")
    ranks = call.rank(0), call.rank(1)
    if ranks == (1, 1):
        product = call.emit("MatMul", [call.input(0), call.input(1)])
        return call.graph.reshape(product, [1], **call.last)
    first, second = call.input(0), call.input(1)
    if ranks[0] > 2:
        first = call.emit("Flatten", [first], axis=1 if turned else ranks[0] - 1)
    if ranks[1] > 2:
        second = call.emit("Flatten", [second], axis=ranks[1] - 1 if other_turned else 1)
    first = call.graph.transpose(first, (1, 0)) if turned and ranks[0] > 1 else first
    second = call.graph.transpose(second, (1, 0)) if other_turned and ranks[1] > 1 else second
    if max(ranks) <= 2:
        return call.finish("MatMul", [first, second])
    product = call.emit("MatMul", [first, second])
    return call.graph.reshape(product, _dot_shape(call, turned=turned, other_turned=other_turned), **call.last)


def _dot_shape(call: Call, *, turned: bool, other_turned: bool) -> list[int] | str:
    result = call.result()
    if result is not None and result.count(UNKNOWN) < 2:
        return [*result]
    shapes = []
    for index, front in ((0, turned), (1, not other_turned)):
        rank = call.rank(index)
        whole = call.emit("Shape", [call.input(index)])
        begin, end = (1, rank) if front else (0, rank - 1)
        shapes.append(call.graph.slice(whole, [begin], [end], [0]))
    return call.emit("Concat", shapes, axis=0)


def _multiply_batches(call: Call) -> Results:
    """``batch_dot``: matrices in the last two dimensions."""
    operands = []
    for index, key in enumerate(("transpose_a", "transpose_b")):
        name = call.input(index)
        if call.flag(key):
            rank = call.rank(index)
            name = call.graph.transpose(name, (*range(rank - 2), rank - 1, rank - 2))
        operands.append(name)
    return call.finish("MatMul", operands)


def _aligned(call: Call) -> list[str]:
    dtype = promoted(call.dtype(0), call.dtype(1))
    if dtype not in FLOATS and dtype not in ("int32", "int64", "uint32", "uint64"):
        raise UncoveredError(f"no product of matrices of {dtype}")
    call.typed(dtype)
    return [call.as_type(call.input(index), call.dtype(index), dtype) for index in (0, 1)]


def _multiply(call: Call) -> Results:
    return call.finish("MatMul", _aligned(call))


def _dot_numpy(call: Call) -> Results:
    """``np.dot``: a number scales; else the last axis of the first with the last but one of the second."""
    ranks = call.rank(0), call.rank(1)
    if 0 in ranks:
        return call.finish("Mul", _aligned(call))
    if ranks[1] > 2:
        if sum(ranks) > len(ascii_lowercase):
            raise UncoveredError("only for tensors of few dimensions")
        left, right = ascii_lowercase[: ranks[0]], ascii_lowercase[ranks[0] : sum(ranks)]
        right = f"{right[:-2]}{left[-1]}{right[-1]}"
        equation = f"{left},{right}->{left[:-1]}{right[:-2]}{right[-1]}"
        return call.finish("Einsum", _aligned(call), equation=equation)
    return call.finish("MatMul", _aligned(call))


def _einsum(call: Call) -> Results:
    equation = call.word("subscripts")
    return call.finish("Einsum", list(call.inputs), equation=equation)


def _contract(call: Call) -> Results:
    """``np.tensordot``: the last axes of the first with the first axes of the second, or those that are listed."""
    ranks = call.rank(0), call.rank(1)
    count = call.optional("axes")
    if count is not None:
        if not 0 <= count <= min(ranks):
            raise MalformedModelError(f"node {call.name!r} contracts {count} axes of {ranks}")
        first, second = tuple(range(ranks[0] - count, ranks[0])), tuple(range(count))
    else:
        first, second = (call.integers(f"{side}_axes_summed") or () for side in "ab")
    if sum(ranks) > len(ascii_lowercase):
        raise UncoveredError("only for tensors of few dimensions")
    left, right = list(ascii_lowercase[: ranks[0]]), list(ascii_lowercase[ranks[0] : sum(ranks)])
    for one, other in zip(first, second, strict=True):
        right[normalise_axis(other, ranks[1])] = left[normalise_axis(one, ranks[0])]
    kept = [letter for letter in (*left, *right) if not (letter in left and letter in right)]
    equation = f"{''.join(left)},{''.join(right)}->{''.join(kept)}"
    return call.finish("Einsum", _aligned(call), equation=equation)


def _embed(call: Call) -> Results:
    """Rows of the weight; an index beyond the ends takes the row at that end."""
    call.typed(call.dtype(1))
    places = call.as_type(call.input(0), call.dtype(0), "int64")
    shape = call.shape(1)
    if shape is not None and shape[0] != UNKNOWN:
        places = call.emit("Clip", [places, call.integers_constant(0), call.integers_constant(shape[0] - 1)])
    return call.finish("Gather", [call.input(1), places], axis=0)


RULES: Final[dict[str, Rule]] = {
    "fullyconnected": _connect,
    "dot": _dot,
    "batchdot": _multiply_batches,
    "matmul": _multiply,
    "numpydot": _dot_numpy,
    "einsum": _einsum,
    **dict.fromkeys(("tensordot", "tensordotintaxes"), _contract),
    **dict.fromkeys(("embedding", "sparseembedding"), _embed),
}
