"""JSON from files that nobody vouches for: any fault is a typed error that names the document.

    >>> parse_json(b'{"nodes": []}', "the symbol file")
    {'nodes': []}

What does not belong here: limits on size, which each document has its own of and checks before it is parsed.
"""

import json
from typing import Any, NoReturn

from klever.steps.errors import LimitExceededError, MalformedModelError


def parse_json(data: str | bytes, what: str, *, strict: bool = False) -> Any:
    """Return the value that ``data`` holds, as `json.loads` does.

    ``what`` names the document in errors. ``strict`` refuses what RFC 8259 does not have or leaves open but Python
    lets pass: NaN and infinities (section 6), names that an object repeats (section 4). Raises
    `MalformedModelError`, and `LimitExceededError` where the nesting is deeper than the interpreter can follow.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            raise MalformedModelError(f"{what} repeats a name within one JSON object")
        return result

    def refuse(constant: str) -> NoReturn:
        raise MalformedModelError(f"{what} holds {constant}, which is not JSON")

    try:
        if strict:
            return json.loads(data, object_pairs_hook=unique, parse_constant=refuse)
        return json.loads(data)
    except RecursionError:
        raise LimitExceededError(f"{what} nests its JSON too deep") from None
    except UnicodeDecodeError:
        raise MalformedModelError(f"{what} is not UTF-8 text") from None
    except ValueError as error:
        raise MalformedModelError(f"{what} is not JSON: {error}") from None
