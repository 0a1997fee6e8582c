"""The functions of the language (expr-lang, ``builtin``).

A function that is not here is refused by name before a workflow starts. What does not belong here: what Argo adds.
"""

import base64
import json
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from klever.workflows.local.expressions.errors import ExpressionError
from klever.workflows.local.gotext import format_value


def _int(value: Any) -> int:
    if isinstance(value, str):
        # strconv.Atoi takes a sign and decimal digits, no spaces or underscores.
        if not value.lstrip("+-").isdecimal() or len(value) - len(value.lstrip("+-")) > 1 or not value.isascii():
            raise ExpressionError(f"invalid operation: int({value})")
        return int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return int(value)
    raise ExpressionError(f"invalid operation: int({_kind(value)})")


def _float(value: Any) -> float:
    if isinstance(value, str):
        try:
            if value != value.strip() or "_" in value:
                raise ValueError
            return float(value)
        except ValueError:
            raise ExpressionError(f"invalid operation: float({value})") from None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ExpressionError(f"invalid operation: float({_kind(value)})")


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "string", list: "array", tuple: "array", dict: "map"}
    return "nil" if value is None else names.get(type(value), "func")


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"invalid argument for {name} (type {_kind(value)})")
    return value


def _numbers(name: str, values: Iterable[Any]) -> list[int | float]:
    found: list[int | float] = []
    for value in values:
        if isinstance(value, list | tuple):
            found += _numbers(name, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append(value)
        else:
            raise ExpressionError(f"invalid argument for {name} (type {_kind(value)})")
    return found


def _length(value: Any) -> int:
    if not isinstance(value, str | list | tuple | Mapping):
        raise ExpressionError(f"invalid argument for len (type {_kind(value)})")
    return len(value)


def _trim(value: str, letters: str | None = None) -> str:
    return _text("trim", value).strip(letters)


def _split(value: str, separator: str, limit: int = -1) -> list[str]:
    _text("split", value)
    if separator == "":
        return list(value)
    return value.split(separator, limit - 1 if limit > 0 else -1)


def _split_after(value: str, separator: str, limit: int = -1) -> list[str]:
    parts = _split(value, separator, limit)
    return [part + separator for part in parts[:-1]] + parts[-1:]


def _replace(value: str, old: str, new: str, limit: int = -1) -> str:
    return _text("replace", value).replace(old, new, limit)


def _join(values: list[Any], glue: str = "") -> str:
    return glue.join(_text("join", value) for value in values)


def _sort(values: list[Any], order: str = "asc") -> list[Any]:
    return sorted(values, reverse=order == "desc")


def _round(value: float) -> float:
    # Go rounds halves away from zero.
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _to_json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def _from_json(value: str) -> Any:
    # Numbers of JSON are float64 in Go.
    return json.loads(value, parse_int=float)


def _index_of(value: str, part: str) -> int:
    return _text("indexOf", value).find(part)


def _flatten(values: list[Any]) -> list[Any]:
    flat: list[Any] = []
    for value in values:
        flat += _flatten(list(value)) if isinstance(value, list | tuple) else [value]
    return flat


def _unique(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(type(value) is type(other) and value == other for other in found):
            found.append(value)
    return found


def _concat(*lists: list[Any]) -> list[Any]:
    return [item for values in lists for item in values]


def _get(of: Any, key: Any) -> Any:
    if isinstance(of, Mapping):
        return of.get(key)
    if isinstance(of, list | tuple) and isinstance(key, int) and -len(of) <= key < len(of):
        return of[key]
    return None


def _from_pairs(pairs: list[Any]) -> dict[str, Any]:
    return {pair[0]: pair[1] for pair in pairs}


def _to_pairs(of: Mapping[str, Any]) -> list[list[Any]]:
    return [[key, of[key]] for key in sorted(of)]


BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    "len": _length,
    "type": _kind,
    "abs": abs,
    "ceil": lambda value: float(math.ceil(value)),
    "floor": lambda value: float(math.floor(value)),
    "round": _round,
    "int": _int,
    "float": _float,
    "string": format_value,
    "trim": _trim,
    "trimPrefix": lambda value, prefix=" ": _text("trimPrefix", value).removeprefix(prefix),
    "trimSuffix": lambda value, suffix=" ": _text("trimSuffix", value).removesuffix(suffix),
    "upper": lambda value: _text("upper", value).upper(),
    "lower": lambda value: _text("lower", value).lower(),
    "split": _split,
    "splitAfter": _split_after,
    "replace": _replace,
    "repeat": lambda value, count: _text("repeat", value) * _repetitions(count),
    "join": _join,
    "indexOf": _index_of,
    "lastIndexOf": lambda value, part: _text("lastIndexOf", value).rfind(part),
    "hasPrefix": lambda value, prefix: _text("hasPrefix", value).startswith(prefix),
    "hasSuffix": lambda value, suffix: _text("hasSuffix", value).endswith(suffix),
    "max": lambda *values: max(_numbers("max", values), default=None),
    "min": lambda *values: min(_numbers("min", values), default=None),
    "mean": lambda *values: statistics.fmean(_numbers("mean", values) or [0]),
    "median": lambda *values: float(statistics.median(_numbers("median", values) or [0])),
    "toJSON": _to_json,
    "fromJSON": _from_json,
    "toBase64": lambda value: base64.b64encode(_text("toBase64", value).encode()).decode(),
    "fromBase64": lambda value: base64.b64decode(_text("fromBase64", value), validate=True).decode(),
    "first": lambda values: values[0] if values else None,
    "last": lambda values: values[-1] if values else None,
    "get": _get,
    "take": lambda values, count: values[: max(count, 0)],
    "keys": sorted,
    "values": lambda of: [of[key] for key in sorted(of)],
    "toPairs": _to_pairs,
    "fromPairs": _from_pairs,
    "reverse": lambda values: list(reversed(values)),
    "uniq": _unique,
    "concat": _concat,
    "flatten": _flatten,
    "sort": _sort,
}

_BITS: Final[dict[str, Callable[[int, int], int]]] = {
    "bitand": lambda left, right: left & right,
    "bitor": lambda left, right: left | right,
    "bitxor": lambda left, right: left ^ right,
    "bitnand": lambda left, right: left & ~right,
    "bitshl": lambda left, right: left << min(right, 63),
    "bitshr": lambda left, right: left >> min(right, 63),
}
BUILTINS.update(_BITS, bitnot=lambda value: ~value)

#: ``repeat`` of expr-lang stops at its memory budget, a million.
_MAX_REPETITIONS: Final = 1_000_000


def _repetitions(count: int) -> int:
    if not 0 <= count <= _MAX_REPETITIONS:
        raise ExpressionError("memory budget exceeded" if count > 0 else "invalid argument for repeat (negative count)")
    return count


def _elements(name: str, values: Any) -> list[Any]:
    if not isinstance(values, list | tuple):
        raise ExpressionError(f"builtin {name} takes only array (got {_kind(values)})")
    return list(values)


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError("predicate should return boolean")
    return value


def _matching(values: Any, test: Callable[..., Any], name: str) -> list[tuple[int, Any]]:
    return [(index, item) for index, item in enumerate(_elements(name, values)) if _truth(test(item, index))]


def _same(value: Any, _index: int = 0) -> Any:
    return value


def _group_by(values: Any, key: Callable[..., Any]) -> dict[Any, list[Any]]:
    groups: dict[Any, list[Any]] = {}
    for index, item in enumerate(_elements("groupBy", values)):
        groups.setdefault(key(item, index), []).append(item)
    return groups


def _sort_by(values: Any, key: Callable[..., Any], order: str = "asc") -> list[Any]:
    keyed = [(key(item, index), item) for index, item in enumerate(_elements("sortBy", values))]
    return [item for _, item in sorted(keyed, key=lambda pair: pair[0], reverse=order == "desc")]


_UNSET: Final = object()


def _reduce(values: Any, step: Callable[..., Any], initial: Any = _UNSET) -> Any:
    items = _elements("reduce", values)
    start = 0
    if initial is _UNSET:
        if not items:
            raise ExpressionError("reduce of empty array with no initial value")
        initial, start = items[0], 1
    for index in range(start, len(items)):
        initial = step(items[index], index, initial)
    return initial


PREDICATE_BUILTINS: Final[dict[str, Callable[..., Any]]] = {
    "all": lambda values, test: len(_matching(values, test, "all")) == len(values),
    "none": lambda values, test: not _matching(values, test, "none"),
    "any": lambda values, test: bool(_matching(values, test, "any")),
    "one": lambda values, test: len(_matching(values, test, "one")) == 1,
    "filter": lambda values, test: [item for _, item in _matching(values, test, "filter")],
    "map": lambda values, make: [make(item, index) for index, item in enumerate(_elements("map", values))],
    "count": lambda values, test=_same: len(_matching(values, test, "count")),
    "sum": lambda values, make=_same: sum(make(item, index) for index, item in enumerate(_elements("sum", values))),
    "find": lambda values, test: next((item for _, item in _matching(values, test, "find")), None),
    "findIndex": lambda values, test: next((index for index, _ in _matching(values, test, "findIndex")), None),
    "findLast": lambda values, test: next((item for _, item in reversed(_matching(values, test, "findLast"))), None),
    "findLastIndex": lambda values, test: next(
        (index for index, _ in reversed(_matching(values, test, "findLastIndex"))), None
    ),
    "groupBy": _group_by,
    "sortBy": _sort_by,
    "reduce": _reduce,
}
