"""Operators that make new tensors: constants, ranges, random numbers, one-hot codes.

What does not belong here: copies (`elementwise`).
"""

from typing import Final

from klever.steps.formats.torchscript.dtypes import DEFAULT, promote, requested
from klever.steps.formats.torchscript.values import UNKNOWN, Arguments, Keywords, Known, Rule, size, tensor


def _filled(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``zeros``, ``ones`` and their like, whose first argument is the size."""
    dtype = None if keywords.get("dtype") is UNKNOWN else requested(values, keywords) or DEFAULT
    return Known(dtype, tuple(size(one) for one in values[0]))


def _full(values: Arguments, keywords: Keywords) -> Known:
    dtype = requested(values, keywords)
    if dtype is None and isinstance(values[1], bool | int | float):
        dtype = promote(Known("bool", ()), values[1])
    return Known(dtype, tuple(size(one) for one in values[0]))


def _like(values: Arguments, keywords: Keywords) -> Known:
    source = tensor(values[0])
    return Known(requested(values, keywords) or source.dtype, source.shape)


def _new(values: Arguments, keywords: Keywords) -> Known:
    dtype = requested(values, keywords) or tensor(values[0]).dtype
    return Known(dtype, tuple(size(one) for one in values[1]))


def _range(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``arange(end)`` or ``arange(start, end, step)``."""
    are_whole = all(type(value) is int for value in values)
    count = size(values[0]) if len(values) == 1 and are_whole else -1
    dtype = None if keywords.get("dtype") is UNKNOWN else requested(values, keywords)
    return Known(dtype or ("int64" if are_whole and "dtype" not in keywords else None), (count,))


def _one_hot(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    count = size(values[1]) if len(values) > 1 else -1
    return Known("int64", None if source.shape is None else (*source.shape, count))


RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn"), _filled),
    "full": _full,
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "full_like"), _like),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full"), _new),
    "arange": _range,
    "one_hot": _one_hot,
}
