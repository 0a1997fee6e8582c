"""Operators that reduce or contract axes: sums, extrema, norms, products of matrices.

What does not belong here: pooling, which keeps a grid.
"""

from collections.abc import Iterable
from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, count, divide, matmul, normalise_axis, reduce


def _settle(call: Call, shape: Shape, index: int = 0) -> None:
    """Give a reduced shape, which outside of numpy's rules has at least one axis."""
    call.give((1,) if shape == () and not call.scalars else shape, index)


def _axes(call: Call, data: Shape) -> Iterable[int] | None:
    axes = call.integers("axis") or None
    if axes is not None and call.flag("exclude"):
        if data is None:
            return axes  # of no consequence: without a rank nothing follows
        chosen = {normalise_axis(axis, len(data)) for axis in axes}
        return [axis for axis in range(len(data)) if axis not in chosen]
    return axes


def _reduce(call: Call) -> None:
    data = call.input(0)
    _settle(call, reduce(data, _axes(call, data), keep=call.flag("keepdims")))


def _moments(call: Call) -> None:
    shape = reduce(call.input(0), call.integers("axes"), keep=call.flag("keepdims"))
    for index in (0, 1):
        _settle(call, shape, index)


def _find(call: Call) -> None:
    """``argmax`` and ``argmin``: over one axis, or over all."""
    axis = call.optional("axis")
    _settle(call, reduce(call.input(0), None if axis is None else (axis,), keep=call.flag("keepdims")))


def _find_channel(call: Call) -> None:
    _settle(call, reduce(call.input(0), (1,), keep=False))


def _pick(call: Call) -> None:
    axis = call.integer("axis", -1)
    _settle(call, reduce(call.input(0), (axis,), keep=call.flag("keepdims")))


def _rank(call: Call) -> None:
    """``topk``: values, indices or both of the k largest; a mask keeps the shape."""
    data, axis, k = call.input(0), call.optional("axis") if "axis" in call.attributes else -1, call.integer("k", 1)
    if call.word("ret_typ", "indices") == "mask":
        call.give(data)
        return
    if data is None:
        return
    if axis is None:
        shape: Shape = (k if k > 0 else count(data),)
    else:
        at = normalise_axis(axis, len(data))
        shape = (*data[:at], k if k > 0 else data[at], *data[at + 1 :])
    for index in (0, 1):
        call.give(shape, index)


def _sort(call: Call) -> None:
    """``sort`` and ``argsort``: along one axis, or everything in one row."""
    data = call.input(0)
    flat = "axis" in call.attributes and call.optional("axis") is None
    call.give(None if data is None else (count(data),) if flat else data)


def _add_along(call: Call) -> None:
    """``cumsum``: along one axis, or everything in one row."""
    data = call.input(0)
    call.give((count(data),) if data is not None and call.optional("axis") is None else data)


def _dot(call: Call) -> None:
    """Contract the last axis of the first with the first axis of the second."""
    first, second = call.input(0), call.input(1)
    if first is None or second is None:
        return
    first = (*first[1:], first[0]) if call.flag("transpose_a") else first
    second = (second[-1], *second[:-1]) if call.flag("transpose_b") else second
    if not first or not second or (UNKNOWN not in (first[-1], second[0]) and first[-1] != second[0]):
        raise ShapeMismatchError(f"{first} and {second} do not multiply")
    _settle(call, (*first[:-1], *second[1:]))


def _numpy_dot(call: Call) -> None:
    first, second = call.input(0), call.input(1)
    if first is not None and second is not None and first and second:
        inner = -2 if len(second) > 1 else -1
        call.give((*first[:-1], *(size for at, size in enumerate(second) if at != len(second) + inner)))


def _turned(shape: Shape, *, turn: bool) -> Shape:
    if shape is None or not turn:
        return shape
    return (*shape[:-2], shape[-1], shape[-2])


def _multiply(call: Call) -> None:
    first = _turned(call.input(0), turn=call.flag("transpose_a"))
    second = _turned(call.input(1), turn=call.flag("transpose_b"))
    call.give(matmul(first, second))


def _batch_multiply(call: Call) -> None:
    call.expect(0, (UNKNOWN,) * 3)
    call.expect(1, (UNKNOWN,) * 3)
    _multiply(call)


def _attend_self(call: Call) -> None:
    """Scores from interleaved (time, batch, 3 x embedding): one square for each example and head."""
    data, heads = call.expect(0, (UNKNOWN,) * 3), call.integer("heads", 1)
    if data:
        call.give((count((data[1], heads)), data[0], data[0]))


def _weigh_self(call: Call) -> None:
    _weigh(call, 3)


def _weigh(call: Call, parts: int) -> None:
    """Values weighted by scores: (query time, batch, embedding)."""
    data, scores = call.expect(0, (UNKNOWN,) * 3), call.expect(1, (UNKNOWN,) * 3)
    if data:
        width = divide(data[2], parts)
        call.give((scores[1] if scores else UNKNOWN, data[1], width))


def _attend_other(call: Call) -> None:
    query, keys = call.expect(0, (UNKNOWN,) * 3), call.expect(1, (UNKNOWN,) * 3)
    if query:
        call.give((count((query[1], call.integer("heads", 1))), query[0], keys[0] if keys else UNKNOWN))


def _weigh_other(call: Call) -> None:
    _weigh(call, 2)


def _gram(call: Call) -> None:
    """``linalg_syrk``: a matrix times its own transpose."""
    data = call.input(0)
    if data is not None and len(data) > 1:
        size = data[-1] if call.flag("transpose") else data[-2]
        call.give((*data[:-2], size, size))


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        (
            "sum",
            "sumaxis",
            "mean",
            "max",
            "maxaxis",
            "min",
            "minaxis",
            "prod",
            "nansum",
            "nanprod",
            "norm",
            "squaresum",
        ),
        _reduce,
    ),
    **dict.fromkeys(("std", "var", "average", "any", "all", "amax", "amin"), _reduce),
    "moments": _moments,
    "argmax": _find,
    "argmin": _find,
    "argmaxchannel": _find_channel,
    "pick": _pick,
    "chooseelement0index": _pick,
    "topk": _rank,
    "cumsum": _add_along,
    "sort": _sort,
    "argsort": _sort,
    "dot": _dot,
    "numpydot": _numpy_dot,
    "matmul": _multiply,
    "batchdot": _batch_multiply,
    "linalggemm": _multiply,
    "linalggemm2": _multiply,
    "linalgsyrk": _gram,
    "interleavedmatmulselfattqk": _attend_self,
    "interleavedmatmulselfattvalatt": _weigh_self,
    "interleavedmatmulencdecqk": _attend_other,
    "interleavedmatmulencdecvalatt": _weigh_other,
}
