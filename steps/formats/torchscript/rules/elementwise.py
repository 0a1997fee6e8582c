"""Operators that work place by place: those that keep their operand's shape, and those that broadcast.

What does not belong here: layers that keep the shape (`layers`), changes of type alone (`conversion`).
"""

from typing import Final

from klever.steps.formats.torchscript.dtypes import DEFAULT, is_whole, promote, requested
from klever.steps.formats.torchscript.rules.conversion import retyped
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, tensor
from klever.steps.model import shapes


def same(values: Arguments, _: Keywords) -> Known:
    """Apply a function that keeps shape and type; what is demanded of its result is demanded of its operand."""
    source = tensor(values[0])
    return Known(source.dtype, source.shape, source.last, source)


def first_like(values: Arguments, _: Keywords) -> Known:
    """Return a tensor like the first, of which a demand says nothing about that one."""
    source = tensor(values[0])
    return Known(source.dtype, source.shape, source.last)


def _real(values: Arguments, _: Keywords) -> Known:
    """Apply a function of real numbers, which integers are converted for."""
    source = tensor(values[0])
    dtype = DEFAULT if is_whole(source.dtype) else source.dtype
    return Known(dtype, source.shape, source.last, source, keeps_dtype=False)


def softmax(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``softmax(input, dim, dtype)``."""
    source = tensor(values[0])
    return Known(requested(values, keywords, 2) or source.dtype, source.shape, source.last, source)


def broadcast(values: Arguments, _: Keywords) -> Known:
    """Apply a function of two operands, of which one may be a number, that brings them to a common shape."""
    first, second = values[0], values[1]
    dtype = promote(first, second)
    source = first if isinstance(first, Known) else tensor(second)
    other = second if source is first else first
    if not isinstance(other, Known | bool | int | float):
        raise TypeError
    if isinstance(other, Known):
        last = _broadcast_last(source, other)
        return Known(dtype, shapes.broadcast(source.shape, other.shape), last)
    return Known(dtype, source.shape, source.last, source, keeps_dtype=dtype == source.dtype)


def _broadcast_last(first: Known, second: Known) -> int | None:
    """Return the last size of two tensors of which at least one's rank is unknown, where both have one above 1."""
    sizes = [one.shape[-1] if one.shape else one.last for one in (first, second)]
    return max(filter(None, sizes), default=None) if all(one is not None and one > 0 for one in sizes) else None


def _divide(values: Arguments, keywords: Keywords) -> Known:
    result = broadcast(values, keywords)
    if keywords.get("rounding_mode") is None and is_whole(result.dtype):
        result.dtype, result.keeps_dtype = DEFAULT, False
    return result


def _powered(values: Arguments, keywords: Keywords) -> Known:
    if isinstance(values[0], Known):
        return broadcast(values, keywords)
    return broadcast([values[1], values[0]], keywords)


def _compared(values: Arguments, keywords: Keywords) -> Known:
    return Known("bool", broadcast(values, keywords).shape)


def _where(values: Arguments, keywords: Keywords) -> Known:
    result = broadcast(values[1:3], keywords)
    return Known(result.dtype, shapes.broadcast(tensor(values[0]).shape, result.shape))


def _masked_fill(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    return Known(source.dtype, shapes.broadcast(source.shape, tensor(values[1]).shape))


_KEEPING: Final = """
    relu relu6 selu celu elu leaky_relu hardswish hardtanh softplus softsign threshold prelu rrelu
    clone contiguous detach alias abs neg square clamp_min clamp_max floor ceil round trunc sign tril triu fill zero
    bitwise_not requires_grad pin_memory cpu cuda lift_fresh logical_and_ glu_
"""
_REAL: Final = """
    sigmoid tanh exp exp2 log log2 log10 log1p expm1 sqrt rsqrt sin cos tan asin acos atan sinh cosh erf erfc
    reciprocal logsigmoid log_sigmoid hardsigmoid gelu silu mish logit
"""
_ARITHMETIC: Final = """
    add sub rsub mul maximum minimum remainder fmod floor_divide floordiv bitwise_and bitwise_or __and__
"""
_COMPARISONS: Final = ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor")
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_KEEPING.split(), same),
    **dict.fromkeys(_REAL.split(), _real),
    **dict.fromkeys(("softmax", "log_softmax"), softmax),
    "clamp": lambda v, _: Known(None if is_whole(tensor(v[0]).dtype) else tensor(v[0]).dtype, tensor(v[0]).shape),
    **dict.fromkeys(_ARITHMETIC.split(), broadcast),
    **dict.fromkeys(("div", "true_divide", "divide"), _divide),
    "pow": _powered,
    **dict.fromkeys(_COMPARISONS, _compared),
    **dict.fromkeys(("isnan", "isinf", "isfinite", "logical_not"), retyped("bool")),
    "where": _where,
    "masked_fill": _masked_fill,
}
