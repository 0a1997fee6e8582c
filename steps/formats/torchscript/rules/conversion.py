"""Operators that give a tensor another type, and those that read a size or a number off it.

What does not belong here: which type comes of operands (`dtypes`); quantised types (`quantized`).
"""

from typing import Any, Final

from klever.steps.formats.torchscript.dtypes import BY_CODE, requested
from klever.steps.formats.torchscript.values import UNKNOWN, Arguments, Keywords, Known, Rule, ranked, tensor


def retyped(dtype: str | None) -> Rule:
    """Return the rule of a function whose result has that type and its operand's shape."""

    def rule(values: Arguments, _: Keywords) -> Known:
        source = tensor(values[0])
        return Known(dtype, source.shape, source.last, source, keeps_dtype=False)

    return rule


def _to(values: Arguments, keywords: Keywords) -> Known:
    """Apply the overloads of ``to``: a type, a device and perhaps a type, or another tensor."""
    source, wanted = tensor(values[0]), values[1] if len(values) > 1 else None
    if isinstance(wanted, Known):
        dtype = wanted.dtype
    elif type(wanted) is int:
        dtype = BY_CODE.get(wanted)
    elif wanted is UNKNOWN:
        dtype = None
    else:
        dtype = requested(values, keywords, 2 if len(values) > 2 and not isinstance(values[2], bool) else None)
        dtype = dtype or source.dtype
    return Known(dtype, source.shape, source.last, source, keeps_dtype=dtype == source.dtype and dtype is not None)


def _identity(values: Arguments, _: Keywords) -> Any:
    return values[0]


def _size_of(values: Arguments, _: Keywords) -> Any:
    shape = ranked(values[0])
    sizes = [size if size >= 0 else UNKNOWN for size in shape]
    return sizes[values[1]] if len(values) > 1 else sizes


_CASTS: Final = {"float": "float32", "double": "float64", "half": "float16", "long": "int64"}
RULES: Final[dict[str, Rule]] = {
    **{name: retyped(dtype) for name, dtype in _CASTS.items()},
    **dict.fromkeys(("to", "type_as"), _to),
    **dict.fromkeys(("int", "NumToTensor"), _identity),
    "size": _size_of,
}
