"""JSON as plain data, read strictly: what manifests, indexes and config blobs are read with.

    >>> parse_json(b'{"size": [-1, 3]}')
    {'size': [-1, 3]}

Two readers must not see two documents in the same bytes, and whatever is read can be written again, as JSON and as
YAML. So keys are not repeated, numbers are finite, text has a UTF-8 form and nesting is bounded. Source: RFC 8259,
sections 4, 6, 8 and 9. What does not belong here: what a document has to say.
"""

import json
import math
import re
from typing import Any, Final

#: Nested lists and objects; those of manifests and configs are below ten.
MAX_DEPTH: Final = 64

_DEEP: Final = f"is nested deeper than {MAX_DEPTH}"
#: An escape that may be half of a surrogate pair.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(data: bytes, *, max_nodes: int | None = None) -> Any:
    """Return the document in ``data``, of at most ``max_nodes`` values; raises `ValueError` that says what is wrong."""
    try:
        text = data.decode()
        document = json.loads(
            text,
            object_pairs_hook=refuse_repeats,
            parse_constant=refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False).encode()
    except UnicodeError:
        raise ValueError("holds text that is not UTF-8") from None
    except json.JSONDecodeError:
        raise ValueError("is not JSON") from None
    except RecursionError:
        raise ValueError(_DEEP) from None
    check_extent(document, MAX_DEPTH, max_nodes)
    return document


def check_extent(document: object, max_depth: int, max_nodes: int | None = None) -> None:
    """Raise `ValueError` where a parsed document is deeper or has more values than given.

    It is walked level by level: how deep a document the parser itself takes depends on the interpreter's version and
    stack, and may be more than a reader that calls itself can follow.
    """
    level, nodes = [document], 1
    for _ in range(max_depth + 1):
        level = [child for value in level for child in _children(value)]
        nodes += len(level)
        if max_nodes is not None and nodes > max_nodes:
            raise ValueError(f"holds more than {max_nodes} values")
        level = [value for value in level if value.__class__ in (dict, list)]
        if not level:
            return
    raise ValueError(f"is nested deeper than {max_depth}")


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object, as the hook of that name of `json.loads`; raises `ValueError` where it repeats a key."""
    document = dict(pairs)
    if len(document) != len(pairs):
        last = {key: place for place, (key, _) in enumerate(pairs)}
        repeated = next(key for place, (key, _) in enumerate(pairs) if last[key] != place)
        raise ValueError(f"repeats the key {repeated[:100]!r}")
    return document


def refuse_constant(text: str) -> object:
    """Raise `ValueError` for NaN and infinities, which Python's parser lets pass."""
    raise ValueError(f"holds {text}, which is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"holds the number {text[:40]}, which is too large")
    return number


def _integer(text: str) -> int:
    # Beyond 4300 digits Python refuses to convert, later also to print.
    if len(text) > 1000:
        raise ValueError(f"holds a number of {len(text)} digits")
    return int(text)
