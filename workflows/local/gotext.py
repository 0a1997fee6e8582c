"""Write values as Go writes them: Argo's results are texts, and their letters come from Go's formatting.

What does not belong here: what a value means.
"""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self

from klever.steps.errors import PermanentError


class UnprintableError(PermanentError):
    """A value has letters that Argo's substitution cannot carry: control characters other than those of JSON."""

    usual_step = "remove the control characters from the value"


class WrittenNumber(float):
    """A number that was read from a JSON text, which keeps its letters as Go's ``json.RawMessage`` does."""

    def __new__(cls, letters: str) -> Self:
        """Read it."""
        number = super().__new__(cls, letters)
        number.letters = letters
        return number

    letters: str


#: Go's ``encoding/json`` escapes these for the sake of HTML, and two line separators for that of JavaScript.
_HTML = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026", 0x2028: "\\u2028", 0x2029: "\\u2029"}


def dump_json(value: Any) -> str:
    """Return compact JSON as Go's ``json.Marshal`` gives it: mappings sorted by key, ``<``, ``>``, ``&`` escaped."""
    return escape_html(_dump(value))


def escape_html(text: str) -> str:
    """Return a JSON text with what HTML and JavaScript take amiss escaped."""
    return text.translate(_HTML)


def _dump(value: Any) -> str:
    if isinstance(value, WrittenNumber):
        return value.letters
    if isinstance(value, float):
        return _json_number(value)
    if isinstance(value, Mapping):
        pairs = sorted((str(key), item) for key, item in value.items())
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{_dump(item)}" for key, item in pairs) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_dump(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _json_number(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        msg = f"json: unsupported value: {format_value(value)}"
        raise ValueError(msg)
    if value != 0 and (abs(value) < 1e-6 or abs(value) >= 1e21):
        mantissa, exponent = repr_exponent(value)
        # encoding/json writes e-9 for e-09.
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent)}"
    return plain_decimal(value)


def repr_exponent(value: float) -> tuple[str, int]:
    """Return the shortest mantissa and the exponent of ``value`` in scientific notation."""
    digits = repr(value) if "e" in repr(value) else f"{value!r}e0"
    mantissa, _, exponent = digits.partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = (whole + fraction).lstrip("0")
    shift = int(exponent) + len(whole) - 1
    if not whole.strip("0"):
        shift = int(exponent) - (len(fraction) - len(fraction.lstrip("0"))) - 1
    digits = digits.rstrip("0") or "0"
    return sign + (digits[0] + ("." + digits[1:] if len(digits) > 1 else "")), shift


def plain_decimal(value: float) -> str:
    """Return ``value`` without an exponent, by as few digits as tell it from its neighbours (``%v`` of ``'f', -1``)."""
    text = repr(value)
    if "e" in text:
        mantissa, exponent = repr_exponent(value)
        sign = "-" if mantissa.startswith("-") else ""
        digits = mantissa.lstrip("-").replace(".", "")
        if exponent >= 0:
            return sign + digits.ljust(exponent + 1, "0")
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return text.removesuffix(".0")


def format_value(value: Any) -> str:
    """Return ``value`` as ``fmt.Sprintf("%v")`` gives it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _format_float(value)
    if isinstance(value, Mapping):
        inner = " ".join(f"{key}:{format_value(value[key])}" for key in sorted(value, key=str))
        return f"map[{inner}]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(format_value(item) for item in value) + "]"
    return str(value)


def _format_float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0" if math.copysign(1, value) > 0 else "-0"
    mantissa, exponent = repr_exponent(value)
    # %g with as many digits as needed has an exponent from the seventh digit on (strconv/ftoa.go).
    if exponent < -4 or exponent >= 6:
        return f"{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return plain_decimal(value)


def as_text(value: Any) -> str:
    """Return a document's value as the text that Argo's ``AnyString`` makes of it (anystring.go)."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return plain_decimal(float(value)) if isinstance(value, float) or abs(value) > 2**53 else str(value)
    # UnmarshalJSON of AnyString leaves lists and mappings out.
    return ""


def check_substitutable(text: str) -> str:
    """Return ``text`` if it survives Argo's quoting by ``strconv.Quote`` and reading back as JSON; else raise.

    Raises `UnprintableError`.
    """
    for letter in text:
        code = ord(letter)
        if (code < 0x20 and letter not in "\b\f\n\r\t") or code == 0x7F or (code > 0xFFFF and not letter.isprintable()):
            raise UnprintableError("cannot finish template replacement because the result was invalid JSON")
    return text


@lru_cache(maxsize=65536)
def timestamp(moment: datetime | None) -> str:
    """Return a time as RFC 3339 with whole seconds, as Kubernetes stores it."""
    if moment is None:
        return ""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
