"""Types of elements: their numbers in the code, and what comes of two that meet in an operator.

Sources: ``c10/core/ScalarType.h``; "Type Promotion" in PyTorch's documentation of tensor attributes. What does
not belong here: shapes.
"""

from typing import Any, Final

from klever.steps.formats.torchscript.values import Arguments, Keywords, Known

#: By the number with which the code names them; PyTorch's quantised and 8-bit floating types have no name here.
BY_CODE: Final[dict[int, str]] = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    9: "complex64",
    10: "complex128",
    11: "bool",
    15: "bfloat16",
}
_CODES: Final = {name: code for code, name in BY_CODE.items()}
_BOOL, _INTEGER, _FLOATING, _COMPLEX = range(4)
#: What a Python float becomes beside integers, and the result of functions of real numbers on them.
DEFAULT: Final = "float32"


def code_of(dtype: str | None) -> int | None:
    """Return the number of a type."""
    return _CODES.get(dtype or "")


def is_whole(dtype: str | None) -> bool:
    """Tell integers and truth values from the rest."""
    return dtype is not None and _category(dtype) <= _INTEGER


def _category(dtype: str) -> int:
    if dtype == "bool":
        return _BOOL
    if dtype.startswith(("int", "uint")):
        return _INTEGER
    return _COMPLEX if dtype.startswith("complex") else _FLOATING


def promote(first: Any, second: Any) -> str | None:
    """Return the type of an operator's result, None where it does not follow; numbers and tensors may meet."""
    if not isinstance(first, Known):
        first, second = second, first
    if not isinstance(first, Known) or first.dtype is None:
        return None
    if isinstance(second, Known):
        return _promote_tensors(first, second)
    if not isinstance(second, bool | int | float):
        return None
    category = _BOOL if isinstance(second, bool) else _INTEGER if isinstance(second, int) else _FLOATING
    if _category(first.dtype) >= category:
        return first.dtype
    return {_INTEGER: "int64", _FLOATING: DEFAULT}[category]


def _promote_tensors(first: Known, second: Known) -> str | None:
    if first.dtype == second.dtype or first.dtype is None or second.dtype is None:
        return first.dtype if first.dtype == second.dtype else None
    if first.shape is None or second.shape is None:
        return None
    if (first.shape == ()) != (second.shape == ()):
        # A tensor without dimensions counts by its category only, as a number does.
        whole, point = (second, first) if first.shape == () else (first, second)
        assert whole.dtype is not None and point.dtype is not None  # noqa: S101, PT018 - returned above
        if _category(whole.dtype) >= _category(point.dtype):
            return whole.dtype
        # Tracing turns Python's numbers into such tensors, which then still count as numbers.
        return point.dtype if point.dtype != "float64" else None
    return _promote_names(first.dtype, second.dtype)


def _promote_names(first: str, second: str) -> str | None:
    low, high = sorted((first, second), key=_category)
    if _category(low) != _category(high):
        return None if high == "complex64" and low == "float64" else high
    if {low, high} == {"float16", "bfloat16"}:
        return "float32"
    if "uint8" in (low, high):
        other = high if low == "uint8" else low
        return "int16" if other == "int8" else other
    return max(low, high, key=lambda name: int("".join(filter(str.isdigit, name))))


def joined(parts: list[Known]) -> str | None:
    """Return the type that tensors have in common, None where they differ."""
    dtypes = {part.dtype for part in parts}
    return dtypes.pop() if len(dtypes) == 1 else None


def requested(values: Arguments, keywords: Keywords, position: int | None = None) -> str | None:
    """Return the type that a ``dtype`` argument asks for, None where it is absent or None."""
    value = keywords.get("dtype")
    if value is None and position is not None and len(values) > position:
        value = values[position]
    if value is None:
        return None
    if type(value) is not int:
        raise TypeError
    return BY_CODE.get(value)
