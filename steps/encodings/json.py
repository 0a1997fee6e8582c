"""JSON from files that nobody vouches for: any fault is a typed error that names the document.

    >>> parse_json(b'{"nodes": []}', "the symbol file")
    {'nodes': []}

What does not belong here: limits on size, which each document has its own of and checks before it is parsed.
"""

import json
from typing import Any, Final

from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.strict import check_extent, refuse_constant, refuse_repeats

#: Nested lists and objects; a model in a model in a model has about thirty.
MAX_DEPTH: Final = 200


def parse_json(data: str | bytes, what: str, *, strict: bool = False) -> Any:
    """Return the value that ``data`` holds, as `json.loads` does.

    ``what`` names the document in errors. ``strict`` refuses what RFC 8259 does not have or leaves open but Python
    lets pass: names that an object repeats (section 4), NaN and infinities (section 6), encodings other than UTF-8
    (section 8.1). Raises `MalformedModelError`, and `LimitExceededError` where the nesting is deeper than `MAX_DEPTH`.
    """
    value = _parse(data, what, strict=strict)
    try:
        check_extent(value, MAX_DEPTH)
    except ValueError as error:
        raise LimitExceededError(f"{what} {error}") from None
    return value


def _parse(data: str | bytes, what: str, *, strict: bool) -> Any:
    try:
        if strict:
            data = data if isinstance(data, str) else data.decode()
            return json.loads(data, object_pairs_hook=refuse_repeats, parse_constant=refuse_constant)
        return json.loads(data)
    except RecursionError:
        raise LimitExceededError(f"{what} nests its JSON too deep") from None
    except UnicodeDecodeError:
        raise MalformedModelError(f"{what} is not UTF-8 text") from None
    except ValueError as error:
        raise MalformedModelError(f"{what} is not proper JSON: {error}") from None
