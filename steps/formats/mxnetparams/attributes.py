"""Operator attributes from the text that MXNet writes: ``"(3, 3)"``, ``"3"``, ``"True"``, ``"None"``.

What does not belong here: the names and defaults of one operator's attributes.
"""

import re
from collections.abc import Mapping
from typing import Final

from klever.steps.model.shapes import ShapeMismatchError

#: Python 2 wrote ``2L``; no attribute needs more digits than an int64 has.
_NUMBER: Final = re.compile(r"None|-?\d{1,19}(?![\d.eE])")
#: More items than any list in an operator has; split points are the longest.
_MAX_ITEMS: Final = 4096


class AttributeTextError(ShapeMismatchError):
    """An attribute's text is not of the kind that its operator defines."""


def optional_integers(attributes: Mapping[str, str], key: str) -> tuple[int | None, ...] | None:
    """Return a tuple whose items may be ``None``; None where the attribute is absent or ``None`` itself."""
    text = attributes.get(key)
    if text is None or text.strip() in ("", "None"):
        return None
    items = _NUMBER.findall(text)
    if len(items) > _MAX_ITEMS or (not items and text.strip() not in ("()", "[]")):
        raise AttributeTextError(f"{key}={text[:80]!r} is not a tuple of integers")
    return tuple(None if item == "None" else int(item) for item in items)


def integers(attributes: Mapping[str, str], key: str) -> tuple[int, ...] | None:
    """Return a tuple of integers; None where the attribute is absent."""
    items = optional_integers(attributes, key)
    if items is None:
        return None
    return tuple(_present(item, key) for item in items)


def _present(item: int | None, key: str) -> int:
    if item is None:
        raise AttributeTextError(f"{key} holds None among its integers")
    return item


def optional_integer(attributes: Mapping[str, str], key: str) -> int | None:
    """Return an integer; None where the attribute is absent or ``None``."""
    items = integers(attributes, key)
    if items is None:
        return None
    if len(items) != 1:
        raise AttributeTextError(f"{key} is not one integer")
    return items[0]


def integer(attributes: Mapping[str, str], key: str, default: int) -> int:
    """Return an integer."""
    value = optional_integer(attributes, key)
    return default if value is None else value


def number(attributes: Mapping[str, str], key: str, default: float) -> float:
    """Return a floating-point number."""
    text = attributes.get(key, "None").strip()
    if text == "None":
        return default
    try:
        return float(text)
    except ValueError:
        raise AttributeTextError(f"{key}={text[:80]!r} is not a number") from None


def numbers(attributes: Mapping[str, str], key: str) -> tuple[float, ...] | None:
    """Return a tuple of numbers, whole or not; None where the attribute is absent or ``None``."""
    text = attributes.get(key)
    if text is None or text.strip() in ("", "None"):
        return None
    items = [item for item in text.strip().strip("()[]").split(",") if item.strip()]
    if len(items) > _MAX_ITEMS:
        raise AttributeTextError(f"{key} has more than {_MAX_ITEMS} items")
    try:
        return tuple(float(item) for item in items)
    except ValueError:
        raise AttributeTextError(f"{key}={text[:80]!r} is not a tuple of numbers") from None


def flag(attributes: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    """Return a truth value, which MXNet writes as ``True`` or ``1``."""
    text = attributes.get(key)
    return default if text is None else text.strip().lower() in ("true", "1")


def length(attributes: Mapping[str, str], key: str) -> int:
    """Count the items of a tuple of numbers, whole or not (``(0.2, 0.27)``)."""
    text = attributes.get(key, "").strip().strip("()[]")
    return sum(1 for item in text.split(",") if item.strip())
