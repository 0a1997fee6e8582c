"""Operators along dimensions: sums, extremes and other reductions, sorting, accumulation.

What does not belong here: pooling (`windows`).
"""

from typing import Any, Final

from klever.steps.formats.torchscript.dtypes import is_whole, requested
from klever.steps.formats.torchscript.rules.elementwise import broadcast
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, argument, ranked, size, tensor
from klever.steps.model import shapes
from klever.steps.model.shapes import Shape


def _reduced(shape: Shape, axes: Any, *, keep: bool) -> Shape:
    if isinstance(axes, int):
        axes = [axes]
    return shapes.reduce(shape, axes or None, keep=keep)


def _reduce(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``(input, dim, keepdim)``."""
    source = tensor(values[0])
    axes = argument(values, keywords, 1, "dim", None)
    keep = argument(values, keywords, 2, "keepdim", False) is True
    return Known(source.dtype, _reduced(source.shape, axes, keep=keep))


def _total(values: Arguments, keywords: Keywords) -> Known:
    """Apply a sum, product or mean, which may ask for a type and else counts integers as int64."""
    result = _reduce(values, keywords)
    result.dtype = requested(values, keywords) or ("int64" if is_whole(result.dtype) else result.dtype)
    return result


def _norm(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``norm(input, p, dim, keepdim)``."""
    return _reduce([values[0], *values[2:]], {key: value for key, value in keywords.items() if key != "p"})


def _spread(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``std`` or ``var``: ``(input, unbiased)``, or ``(input, dim, unbiased, keepdim)``."""
    axes = None if len(values) > 1 and isinstance(values[1], bool) else argument(values, keywords, 1, "dim", None)
    keep = argument(values, keywords, 3, "keepdim", False) is True
    source = tensor(values[0])
    return Known(source.dtype, _reduced(source.shape, axes, keep=keep))


def _indexed(values: Arguments, keywords: Keywords) -> Known:
    return Known("int64", _reduce(values, keywords).shape)


def _judged(values: Arguments, keywords: Keywords) -> Known:
    result = _reduce(values, keywords)
    result.dtype = result.dtype and ("uint8" if result.dtype == "uint8" else "bool")
    return result


def _extreme(values: Arguments, keywords: Keywords) -> Any:
    """Apply ``max`` or ``min``: of all, of two tensors, or along a dimension with the indices."""
    if len(values) == 1 and not keywords:
        return Known(tensor(values[0]).dtype, ())
    if len(values) > 1 and isinstance(values[1], Known):
        return broadcast(values, keywords)
    result = _reduce(values, keywords)
    return result, Known("int64", result.shape)


def _sorted(values: Arguments, _: Keywords) -> Any:
    source = tensor(values[0])
    return Known(source.dtype, source.shape), Known("int64", source.shape)


def _top(values: Arguments, keywords: Keywords) -> Any:
    source, shape = tensor(values[0]), list(ranked(values[0]))
    shape[shapes.normalise_axis(argument(values, keywords, 2, "dim", -1), len(shape))] = size(values[1])
    return Known(source.dtype, tuple(shape)), Known("int64", tuple(shape))


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("sum", "prod"), _total),
    "cumsum": lambda v, k: Known(_total([v[0]], k).dtype, tensor(v[0]).shape),
    "mean": lambda v, k: Known(requested(v, k) or tensor(v[0]).dtype, _reduce(v, k).shape),
    **dict.fromkeys(("amax", "amin", "logsumexp"), _reduce),
    "norm": _norm,
    **dict.fromkeys(("std", "var"), _spread),
    **dict.fromkeys(("any", "all"), _judged),
    **dict.fromkeys(("argmax", "argmin"), _indexed),
    **dict.fromkeys(("max", "min"), _extreme),
    "sort": _sorted,
    "argsort": lambda v, k: _sorted(v, k)[1],
    "topk": _top,
}
