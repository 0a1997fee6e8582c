"""Durations as Argo and Go write them: ``90``, ``1m30s``, ``250ms``.

What does not belong here: points in time.
"""

import re
from typing import Final

from klever.workflows.local.errors import TemplateError

_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def parse_go_duration(text: str) -> float:
    """Return the seconds of a Go duration (``time.ParseDuration``); raises `TemplateError`."""
    sign, rest = (-1.0, text[1:]) if text.startswith("-") else (1.0, text.removeprefix("+"))
    if rest == "0":
        return 0.0
    if not rest or _PART.sub("", rest):
        raise TemplateError(f'time: invalid duration "{text}"')
    return sign * sum(float(match[1]) * _UNITS[match[2]] for match in _PART.finditer(rest))


def parse_duration(text: str) -> float:
    """Return the seconds of an Argo duration, where a bare number means seconds; raises `TemplateError`."""
    if re.fullmatch(r"[+-]?\d+", text):
        return float(int(text))
    try:
        return parse_go_duration(text)
    except TemplateError as error:
        raise TemplateError(f"unable to parse {text} as a duration: {error.cause}") from error


def describe(seconds: float) -> str:
    """Return a duration as Argo's messages show it: ``2 minutes 5 seconds``."""
    if seconds < 60:
        return _unit(seconds, 1, "second")
    if seconds < 3600:
        return f"{_unit(seconds, 60, 'minute')} {int(seconds % 60)} seconds"
    if seconds < 86400:
        return f"{_unit(seconds, 3600, 'hour')} {int(seconds / 60 % 60)} minutes"
    return f"{_unit(seconds, 86400, 'day')} {int(seconds / 3600 % 24)} hours"


def _unit(seconds: float, size: int, name: str) -> str:
    count = int(seconds // size)
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
