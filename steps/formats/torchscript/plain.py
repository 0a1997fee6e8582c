"""Operators on plain values, from which the code's branches and the arguments of its operators follow.

Source: ``torch/csrc/jit/runtime/register_prim_ops.cpp``. What does not belong here: tensors' shapes (`rules`).
"""

import operator
from collections.abc import Callable
from typing import Any, Final

from klever.steps.formats.torchscript.dtypes import code_of
from klever.steps.formats.torchscript.values import UNKNOWN, Arguments, Keywords, Known, Rule, ranked, tensor

#: Numbers beyond what a tensor may count are of no use, and cost.
_MAX_NUMBER: Final = 1 << 63
#: The longest list that is put together.
_MAX_LENGTH: Final = 200


def is_plain(value: object) -> bool:
    """Tell a number, text, truth value or None, or a list of those, from tensors and what is unknown."""
    if isinstance(value, list | tuple):
        return len(value) <= _MAX_LENGTH and all(map(_is_scalar, value))
    return _is_scalar(value)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _computed(function: Callable[..., Any]) -> Rule:
    def rule(values: Arguments, _: Keywords) -> Any:
        if not all(map(is_plain, values)):
            raise TypeError
        if any(isinstance(value, str) for value in values) and function not in (operator.eq, operator.ne):
            raise TypeError
        if function is operator.mul and any(isinstance(value, list) for value in values):
            raise TypeError
        result = function(*values)
        if isinstance(result, list) and len(result) > _MAX_LENGTH:
            return UNKNOWN
        return UNKNOWN if isinstance(result, int) and abs(result) >= _MAX_NUMBER else result

    return rule


def _is(values: Arguments, _: Keywords) -> bool:
    first, second = values
    if second is not None or first is UNKNOWN:
        raise TypeError
    return first is None


def _not(values: Arguments, _: Keywords) -> bool:
    if not isinstance(values[0], bool):
        raise TypeError
    return not values[0]


def _contains(values: Arguments, _: Keywords) -> bool:
    held, sought = values
    if not isinstance(held, list | dict) or not is_plain(list(held)) or not is_plain(sought):
        raise TypeError
    return sought in held


def _length(values: Arguments, _: Keywords) -> int:
    if isinstance(values[0], Known):
        first = ranked(values[0])[0]
        if first < 0:
            raise TypeError
        return first
    if not isinstance(values[0], list | dict | str) or (not isinstance(values[0], str) and UNKNOWN in values[0]):
        raise TypeError
    return len(values[0])


def _append(values: Arguments, _: Keywords) -> Any:
    held, one = values
    if isinstance(held, list):
        is_counted = len(held) < _MAX_LENGTH and UNKNOWN not in held
        held[:] = [*held, one] if is_counted else [UNKNOWN]
    return held


def _set_item(values: Arguments, _: Keywords) -> Any:
    held, name, one = values
    if (isinstance(held, dict) and isinstance(name, str | int)) or isinstance(held, list):
        held[name] = one
    return UNKNOWN


def _list(values: Arguments, _: Keywords) -> list[Any]:
    if not isinstance(values[0], list | tuple):
        raise TypeError
    return list(values[0])


def _dtype(values: Arguments, _: Keywords) -> Any:
    code = code_of(tensor(values[0]).dtype)
    return UNKNOWN if code is None else code


def _either(values: Arguments, _: Keywords) -> bool:
    if not all(isinstance(value, bool) for value in values):
        raise TypeError
    return any(values)


def _both(values: Arguments, _: Keywords) -> bool:
    if not all(isinstance(value, bool) for value in values):
        raise TypeError
    return all(values)


#: Names that tensors' operators have too: these apply where all operands are plain.
PLAIN: Final[dict[str, Rule]] = {
    **{name: _computed(getattr(operator, name)) for name in ("add", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge")},
    "floordiv": _computed(operator.floordiv),
    "div": _computed(operator.truediv),
    "remainder": _computed(operator.mod),
    "neg": _computed(operator.neg),
    "min": _computed(min),
    "max": _computed(max),
}
#: Names that only plain values have.
OTHER: Final[dict[str, Rule]] = {
    "__is__": _is,
    "__isnot__": lambda v, k: not _is(v, k),
    "__not__": _not,
    "__contains__": _contains,
    "__or__": _either,
    "__and__": _both,
    "len": _length,
    "append": _append,
    "_set_item": _set_item,
    "dtype": _dtype,
    "dim": lambda v, _: len(ranked(v[0])),
    "device": lambda *_: "device",
    "is_floating_point": lambda v, _: _is_floating(tensor(v[0]).dtype),
    "list": _list,
}


def _is_floating(dtype: str | None) -> bool:
    if dtype is None:
        raise TypeError
    return dtype.startswith(("float", "bfloat"))
