"""Attention as GluonNLP's transformers compute it, on projections whose heads stand interleaved.

The layouts are those of ``contrib/transformer.cc``: (time, batch, heads * parts * units), the parts being queries, keys
and values. What does not belong here: masks and softmax between the two products.
"""

from math import sqrt
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError, UncoveredError
from klever.steps.errors import MalformedModelError
from klever.steps.model.shapes import UNKNOWN


def _heads(call: Call, index: int, parts: int) -> tuple[int, int]:
    """Return the number of heads and of units in each."""
    heads, width = call.integer("heads", 0), call.dims(index)[-1]
    if width == UNKNOWN:
        raise ShapeNeededError(index)
    if heads < 1 or width % (heads * parts):
        raise MalformedModelError(f"node {call.name!r} has {heads} heads in a width of {width}")
    return heads, width // (heads * parts)


def _parts(call: Call, index: int, parts: int, wanted: range) -> list[str]:
    """Return parts of an input, each (time, batch * heads, units)."""
    graph = call.graph
    heads, units = _heads(call, index, parts)
    if parts == 1:
        return [graph.reshape(call.input(index), [0, -1, units])]
    split = graph.reshape(call.input(index), [0, 0, heads, parts, units])
    return [graph.reshape(graph.gather(split, call.integers_constant(part), 3), [0, -1, units]) for part in wanted]


def _score(call: Call, queries: str, keys: str, units: int) -> Results:
    """Return (batch * heads, queries, keys): scaled products."""
    scaled = call.emit("Mul", [queries, call.constant(1 / sqrt(units))])
    left, right = call.graph.transpose(scaled, [1, 0, 2]), call.graph.transpose(keys, [1, 2, 0])
    return call.finish("MatMul", [left, right])


def _apply(call: Call, values: str, heads: int, units: int) -> Results:
    """Return (queries, batch, heads * units): values weighted by the second input."""
    found = call.emit("MatMul", [call.input(1), call.graph.transpose(values, [1, 0, 2])])
    return call.graph.reshape(call.graph.transpose(found, [1, 0, 2]), [0, -1, heads * units], **call.last)


def _score_itself(call: Call) -> Results:
    _float_only(call)
    queries, keys = _parts(call, 0, 3, range(2))
    return _score(call, queries, keys, _heads(call, 0, 3)[1])


def _apply_itself(call: Call) -> Results:
    _float_only(call)
    (values,) = _parts(call, 0, 3, range(2, 3))
    return _apply(call, values, *_heads(call, 0, 3))


def _score_other(call: Call) -> Results:
    (queries,), (keys,) = _parts(call, 0, 1, range(1)), _parts(call, 1, 2, range(1))
    return _score(call, queries, keys, _heads(call, 0, 1)[1])


def _apply_other(call: Call) -> Results:
    (values,) = _parts(call, 0, 2, range(1, 2))
    return _apply(call, values, *_heads(call, 0, 2))


def _float_only(call: Call) -> None:
    if call.flag("quantized"):
        raise UncoveredError("only where it is not quantised")


RULES: Final[dict[str, Rule]] = {
    "interleavedmatmulselfattqk": _score_itself,
    "interleavedmatmulselfattvalatt": _apply_itself,
    "interleavedmatmulencdecqk": _score_other,
    "interleavedmatmulencdecvalatt": _apply_other,
    "sgmkldnnselfattqk": _score_itself,
    "sgmkldnnselfattvalatt": _apply_itself,
}
