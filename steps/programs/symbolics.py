"""Operators of PyTorch that torch's exporter of scripts lacks, from those of ONNX: one function an operator.

Each takes the graph and the operator's arguments in ATen's order. Source: ``native_functions.yaml`` of ATen
and https://onnx.ai/onnx/operators/. What does not belong here: what ONNX has no exact counterpart of.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.onnx import register_custom_op_symbolic, symbolic_helper

#: The lowest opset that is asked for; nothing here changed since.
_OPSET = 13

_Symbolic = Callable[..., Any]


def _unary(operator: str) -> _Symbolic:
    return lambda g, x: g.op(operator, x)


def _scaled(factor: float) -> _Symbolic:
    return lambda g, x: g.op("Mul", x, _like(g, x, factor))


def _like(g: Any, x: Any, value: float) -> Any:
    """Return a constant of the type of ``x``."""
    constant = g.op("Constant", value_t=torch.tensor(value))
    return g.op("CastLike", constant, x) if g.opset >= 15 else _cast(g, constant, x)


def _cast(g: Any, constant: Any, x: Any) -> Any:
    kind = symbolic_helper._try_get_scalar_type(x)
    return constant if kind is None else g.op("Cast", constant, to_i=kind.onnx_type())


def _trunc(g: Any, x: Any) -> Any:
    """Towards zero: what is below it rounds up."""
    return g.op("Mul", g.op("Sign", x), g.op("Floor", g.op("Abs", x)))


def _frac(g: Any, x: Any) -> Any:
    return g.op("Sub", x, _trunc(g, x))


def _erfc(g: Any, x: Any) -> Any:
    return g.op("Sub", _like(g, x, 1.0), g.op("Erf", x))


def _expm1(g: Any, x: Any) -> Any:
    return g.op("Sub", g.op("Exp", x), _like(g, x, 1.0))


def _exp2(g: Any, x: Any) -> Any:
    return g.op("Pow", _like(g, x, 2.0), x)


def _logaddexp(g: Any, x: Any, y: Any) -> Any:
    """Return ``max + log(1 + exp(-|x - y|))``, which does not overflow."""
    apart = g.op("Neg", g.op("Abs", g.op("Sub", x, y)))
    above = g.op("Log", g.op("Add", _like(g, x, 1.0), g.op("Exp", apart)))
    return g.op("Add", g.op("Max", x, y), above)


def _hypot(g: Any, x: Any, y: Any) -> Any:
    return g.op("Sqrt", g.op("Add", g.op("Mul", x, x), g.op("Mul", y, y)))


def _addcdiv(g: Any, x: Any, numerator: Any, denominator: Any, value: Any) -> Any:
    quotient = g.op("Div", numerator, denominator)
    factor = symbolic_helper._maybe_get_const(value, "f")
    if isinstance(factor, (int, float)):
        return g.op("Add", x, quotient if factor == 1 else g.op("Mul", quotient, _like(g, x, float(factor))))
    return g.op("Add", x, g.op("Mul", quotient, g.op("CastLike", value, x)))


def _flipped(axis: int) -> _Symbolic:
    def symbolic(g: Any, x: Any) -> Any:
        starts, ends, axes, steps = (
            g.op("Constant", value_t=torch.tensor([value])) for value in (-1, -(1 << 62), axis, -1)
        )
        return g.op("Slice", x, starts, ends, axes, steps)

    return symbolic


@symbolic_helper.parse_args("v", "i")  # type: ignore[untyped-decorator, unused-ignore]
def _channel_shuffle(g: Any, x: Any, groups: int) -> Any:
    """Split the channels into groups and take one of each in turn; sizes behind the channels may be any number."""
    whole = g.op("Shape", x)
    channels = g.op("Gather", whole, g.op("Constant", value_t=torch.tensor([1])), axis_i=0)
    each = g.op("Div", channels, g.op("Constant", value_t=torch.tensor([groups])))
    first = g.op("Gather", whole, g.op("Constant", value_t=torch.tensor([0])), axis_i=0)
    rest = g.op("Constant", value_t=torch.tensor([-1]))
    shape = g.op("Concat", first, g.op("Constant", value_t=torch.tensor([groups])), each, rest, axis_i=0)
    turned = g.op("Transpose", g.op("Reshape", x, shape), perm_i=[0, 2, 1, 3])
    return g.op("Reshape", turned, whole)


SYMBOLICS: dict[str, _Symbolic] = {
    **{name: _unary(name.capitalize()) for name in ("sinh", "cosh", "asinh", "acosh", "atanh")},
    "addcdiv": _addcdiv,
    "channel_shuffle": _channel_shuffle,
    "deg2rad": _scaled(math.pi / 180),
    "erfc": _erfc,
    "exp2": _exp2,
    "expm1": _expm1,
    "fliplr": _flipped(1),
    "flipud": _flipped(0),
    "frac": _frac,
    "hypot": _hypot,
    "logaddexp": _logaddexp,
    "native_channel_shuffle": _channel_shuffle,
    "positive": _unary("Identity"),
    "rad2deg": _scaled(180 / math.pi),
    "sgn": _unary("Sign"),
    "trunc": _trunc,
}


def register() -> None:
    """Make them known to the exporter of this process."""
    for name, symbolic in SYMBOLICS.items():
        register_custom_op_symbolic(f"aten::{name}", symbolic, _OPSET)
