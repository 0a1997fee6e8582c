"""Argo's ``jsonpath(text, path)``: children, indices, slices, wildcards, unions, descendants; no filters or scripts."""

import json
import re
from typing import Any, Final

from klever.workflows.local.expressions.errors import ExpressionError

_STEP: Final = re.compile(
    r"""
    \.\.(?P<deep>[^.\[\]]+|\*)
    |\.(?P<child>[^.\[\]]+)
    |\[\s*(?P<bracket>(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^\]'"])*)\]
    """,
    re.VERBOSE,
)
_SLICE: Final = re.compile(r"(-?\d*)\s*:\s*(-?\d*)(?:\s*:\s*(-?\d*))?")


def query(text: str, path: str) -> Any:
    """Return what ``path`` selects in the JSON ``text``; a path that may select many gives a list.

    Raises `ExpressionError` for what is no JSON, no path, or not there.
    """
    try:
        document = json.loads(text, parse_int=float)
    except ValueError as error:
        raise ExpressionError(f"jsonpath: the text is not JSON: {error}") from error
    if not path.startswith("$"):
        raise ExpressionError(f"jsonpath: the path {path!r} does not begin with $")
    found, many = [document], False
    position = 1
    while position < len(path):
        step = _STEP.match(path, position)
        if step is None:
            raise ExpressionError(f"jsonpath: {path[position:]!r} in the path {path!r} cannot be read")
        position = step.end()
        found, many = _apply(step, found, many)
    return found if many else found[0]


def _apply(step: re.Match[str], found: list[Any], many: bool) -> tuple[list[Any], bool]:
    if (deep := step["deep"]) is not None:
        below = [inner for item in found for inner in _descendants(item)]
        return [value for item in below for value in _children(item, deep, lenient=True)], True
    if (child := step["child"]) is not None:
        chosen = [value for item in found for value in _children(item, child, lenient=many)]
        return chosen, many or child == "*"
    inside = step["bracket"].strip()
    if inside.startswith(("?", "(")):
        raise ExpressionError(f"jsonpath: the filter or script [{inside}] is not supported on this machine")
    if match := _SLICE.fullmatch(inside):
        bounds = [int(part) if part else None for part in match.groups()]
        return [value for item in found if isinstance(item, list) for value in item[slice(*bounds)]], True
    keys = [part.strip() for part in re.findall(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|[^,]+", inside)]
    chosen = [value for item in found for key in keys for value in _bracket(item, key, lenient=many)]
    return chosen, many or len(keys) > 1 or inside == "*"


def _bracket(item: Any, key: str, *, lenient: bool) -> list[Any]:
    if key[:1] in "'\"" and key:
        return _children(item, key[1:-1].replace("\\'", "'").replace('\\"', '"'), lenient=lenient, quoted=True)
    if re.fullmatch(r"-?\d+", key):
        if isinstance(item, list) and -len(item) <= int(key) < len(item):
            return [item[int(key)]]
        if lenient:
            return []
        raise ExpressionError(f"index: invalid token '{key}' out of range")
    return _children(item, key, lenient=lenient)


def _children(item: Any, key: str, *, lenient: bool, quoted: bool = False) -> list[Any]:
    if key == "*" and not quoted:
        if isinstance(item, dict):
            return [item[name] for name in sorted(item)]
        return list(item) if isinstance(item, list) else []
    if isinstance(item, dict) and key in item:
        return [item[key]]
    if lenient:
        return []
    raise ExpressionError(f"key: invalid token key '{key}' not found")


def _descendants(item: Any) -> list[Any]:
    found = [item]
    children = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    for child in children:
        found += _descendants(child)
    return found
