"""Linear algebra beyond products of matrices: ``linalg_*`` and ``khatri_rao``.

Matrices stand in the last two dimensions, batches in front (``tensor/la_op*``). ONNX decomposes no matrices, so
factorisations and solvers have no conversion. What does not belong here: ``dot``, ``batch_dot`` and dense layers.
"""

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.indexing import below_diagonal, extracted_diagonal
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN, normalise_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The largest matrix whose triangle is addressed element by element.
_MAX_SIDE: Final = 2048


def _swap(rank: int) -> list[int]:
    return [*range(rank - 2), rank - 1, rank - 2]


def _turned(call: Call, value: str, rank: int, *, turn: bool) -> str:
    """Transpose the matrices of a value where ``turn`` says so."""
    return call.graph.transpose(value, _swap(rank)) if turn else value


def _scaled(call: Call, value: str, key: str) -> str:
    factor = call.number(key, 1.0)
    return value if factor == 1.0 else call.emit("Mul", [value, call.constant(factor)])


def _product(call: Call) -> tuple[str, list[int] | None]:
    """Return alpha * op(A) op(B), and how the axes of the result have to be put back."""
    rank = call.rank()
    row = normalise_axis(call.integer("axis", -2), rank)
    order = None
    left, right = call.input(0), call.input(1)
    if row != rank - 2:
        # Rows stand along another axis than the last but one.
        front = [axis for axis in range(rank - 1) if axis != row]
        order = [*front, row, rank - 1]
        left, right = call.graph.transpose(left, order), call.graph.transpose(right, order)
    left = _turned(call, left, rank, turn=call.flag("transpose_a"))
    right = _turned(call, right, rank, turn=call.flag("transpose_b"))
    return _scaled(call, call.emit("MatMul", [left, right]), "alpha"), order


def _multiply(call: Call) -> Results:
    """``linalg_gemm2``."""
    found, order = _product(call)
    if order is None:
        return call.finish("Identity", [found])
    return call.graph.transpose(found, _inverse(order), **call.last)


def _multiply_add(call: Call) -> Results:
    """``linalg_gemm``: a product and beta times the third input."""
    found, order = _product(call)
    if order is not None:
        found = call.graph.transpose(found, _inverse(order))
    return call.finish("Add", [found, _scaled(call, call.input(2), "beta")])


def _inverse(order: Sequence[int]) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


def _square(call: Call) -> Results:
    """``linalg_syrk``: alpha * A transposed(A), or the other way round."""
    turn, rank = call.flag("transpose"), call.rank()
    data, turned = call.input(), call.graph.transpose(call.input(), _swap(rank))
    found = call.emit("MatMul", [turned, data] if turn else [data, turned])
    return call.finish("Mul", [found, call.constant(call.number("alpha", 1.0))])


def _multiply_triangular(call: Call) -> Results:
    """``linalg_trmm``: of the first input the triangle alone counts."""
    below = below_diagonal(call, 0 if call.flag("lower", default=True) else -1)
    pair = [call.input(), call.constant(0.0)]
    triangle = call.emit("Where", [below, *(pair if call.flag("lower", default=True) else pair[::-1])])
    triangle = _turned(call, triangle, call.rank(), turn=call.flag("transpose"))
    pair = [call.input(1), triangle] if call.flag("rightside") else [triangle, call.input(1)]
    return call.finish("Mul", [call.emit("MatMul", pair), call.constant(call.number("alpha", 1.0))])


def _extract_diagonal(call: Call) -> Results:
    rank = call.rank()
    return extracted_diagonal(call, call.integer("offset", 0), rank - 2, rank - 1)


def _sum_logarithms(call: Call) -> Results:
    """``linalg_sumlogdiag``."""
    (size, *_) = reversed(call.dims())
    if size == UNKNOWN:
        raise ShapeNeededError(0)
    rank = call.rank()
    flat = call.graph.reshape(call.input(), [*[0] * (rank - 2), -1])
    diagonal = call.graph.slice(flat, [0], [size * size], [rank - 2], [size + 1])
    return call.graph.reduce("ReduceSum", call.emit("Log", [diagonal]), [-1], keepdims=rank == 2, **call.last)


def _make_diagonal(call: Call) -> Results:
    """``linalg_makediag``: vectors onto the diagonal ``offset`` of matrices of zeros."""
    size, offset, rank = call.dims()[-1], call.integer("offset", 0), call.rank()
    if size == UNKNOWN:
        raise ShapeNeededError(0)
    side = size + abs(offset)
    before, behind = (0, offset) if offset >= 0 else (-offset, 0)
    padded = call.graph.pad(call.input(), [*[0] * (rank - 1), before, *[0] * (rank - 1), behind], dtype=call.dtype())
    mask = call.computed(lambda: _on_diagonal(side, offset), "bool", (side, side), "diagonal")
    return call.finish("Where", [mask, call.graph.unsqueeze(padded, [-1]), call.constant(0.0)])


def _on_diagonal(side: int, offset: int) -> "NDArray[Any]":
    import numpy as np

    return np.eye(side, k=offset, dtype=bool)


def _triangle(side: int, offset: int, *, lower: bool) -> list[int]:
    """Return where a triangle's elements stand in a matrix in C order: above for a positive offset, else below.

    A lower triangle is read row by row, an upper one column by column.
    """
    if offset < 0 or (offset == 0 and lower):
        return [row * side + column for row in range(side) for column in range(row + offset + 1)]
    return [row * side + column for column in range(side) for row in range(column - offset + 1)]


def _extract_triangle(call: Call) -> Results:
    """``linalg_extracttrian``: the elements of a triangle in one row."""
    side, rank = call.dims()[-1], call.rank()
    if side == UNKNOWN:
        raise ShapeNeededError(0)
    if side > _MAX_SIDE:
        raise LimitExceededError(f"node {call.name!r} reads a triangle of {side} rows")
    places = _triangle(side, call.integer("offset", 0), lower=call.flag("lower", default=True))
    flat = call.graph.reshape(call.input(), [*[0] * (rank - 2), -1])
    return call.finish("Gather", [flat, call.integers_constant(places)], axis=rank - 2)


def _make_triangle(call: Call) -> Results:
    """``linalg_maketrian``: a row of elements into a triangle, zeros beside it."""
    count, rank, offset = call.dims()[-1], call.rank(), call.integer("offset", 0)
    if count == UNKNOWN:
        raise ShapeNeededError(0)
    side = (isqrt(8 * count + 1) - 1) // 2 + abs(offset)
    if side > _MAX_SIDE:
        raise LimitExceededError(f"node {call.name!r} makes a triangle of {side} rows")
    places = _triangle(side, offset, lower=call.flag("lower", default=True))
    if len(places) != count:
        raise MalformedModelError(f"node {call.name!r} makes a triangle of {count} elements")
    # What is not of the triangle reads a zero behind the elements.
    sources = [count] * (side * side)
    for source, place in enumerate(places):
        sources[place] = source
    padded = call.graph.pad(call.input(), [*[0] * (2 * rank - 1), 1], dtype=call.dtype())
    found = call.graph.gather(padded, call.integers_constant(sources), rank - 1)
    return call.graph.reshape(found, [*[0] * (rank - 1), side, side], **call.last)


def _determine(call: Call) -> Results:
    found = call.emit("Det", [call.input()])
    # Of one matrix it is a number in one row.
    return call.graph.reshape(
        found, [1] if call.rank() == 2 and not call.scalars else [0] * (call.rank() - 2), **call.last
    )


def _multiply_columns(call: Call) -> Results:
    """``khatri_rao``: Kronecker products of the inputs' columns."""
    found = call.input(0)
    for index in range(1, len(call)):
        pair = [call.graph.unsqueeze(found, [1]), call.graph.unsqueeze(call.input(index), [0])]
        product = call.emit("Mul", pair)
        columns = call.size_of(call.input(index), 1)
        found = call.emit("Reshape", [product, call.dynamic_shape([-1, columns])])
    call.shaped((UNKNOWN, UNKNOWN))
    return call.finish("Identity", [found])


def _no_decomposition(_call: Call) -> Results:
    raise UncoveredError("ONNX has no operator that decomposes or inverts matrices")


RULES: Final[dict[str, Rule]] = {
    "linalggemm": _multiply_add,
    "linalggemm2": _multiply,
    "linalgsyrk": _square,
    "linalgtrmm": _multiply_triangular,
    "linalgextractdiag": _extract_diagonal,
    "linalgmakediag": _make_diagonal,
    "linalgextracttrian": _extract_triangle,
    "linalgmaketrian": _make_triangle,
    "linalgsumlogdiag": _sum_logarithms,
    "linalgdet": _determine,
    "det": _determine,
    **dict.fromkeys(
        (
            *("linalgpotrf", "linalgpotri", "linalgtrsm", "linalggelqf", "linalgsyevd", "linalginverse"),
            *("linalgslogdet", "slogdet", "inv", "cholesky", "solve", "svd", "pinv", "pinvscalarrcond", "eig", "eigh"),
            *("eigvals", "eigvalsh", "tensorinv", "tensorsolve"),
        ),
        _no_decomposition,
    ),
    "khatrirao": _multiply_columns,
}
