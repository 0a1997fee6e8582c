"""The functions of Sprig that Argo puts under ``sprig.`` (Masterminds/sprig 3.3), those that work on values.

Left out on purpose, and so refused by name: clocks and chance (a run must be repeatable), certificates and keys, the
network, and ``env``, which Argo takes away as well. What does not belong here: functions of the language itself.
"""

import base64
import hashlib
import json
import math
import posixpath
import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final

from klever.workflows.local.expressions.errors import ExpressionError
from klever.workflows.local.gotext import dump_json, format_value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ExpressionError(f"reflect: Call using {type(value).__name__} as type string")
    return value


def _whole(value: Any) -> int:
    """Return ``cast.ToInt64``: what is no number is 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int | float):
        return int(value)
    try:
        return int(str(value), 0) if not str(value).lstrip("+-").isdecimal() else int(value)
    except (TypeError, ValueError):
        return 0


def _real(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def _is_empty(value: Any = None) -> bool:
    return (
        value is None or value is False or value == 0 or (isinstance(value, str | list | tuple | Mapping) and not value)
    )


def _default(fallback: Any, value: Any = None) -> Any:
    return fallback if _is_empty(value) else value


def _text_of(value: Any) -> str:
    return format_value(value)


def _trunc(length: int, text: str) -> str:
    _string(text)
    if length < 0 and len(text) + length > 0:
        return text[len(text) + length :]
    return text[:length] if 0 <= length < len(text) else text


def _substr(start: int, end: int, text: str) -> str:
    if start < 0:
        return text[: max(end, 0)]
    return text[start:] if end < 0 or end > len(text) else text[start:end]


def _expand(template: str) -> str:
    """Return Go's replacement (``$1``, ``${1}``, ``$name``) as Python's."""

    def group(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return rf"\g<{match['braced'] or match['plain']}>"

    return re.sub(r"\$\$|\$\{(?P<braced>\w+)\}|\$(?P<plain>\w+)", group, template.replace("\\", "\\\\"))


def _regex_replace(pattern: str, text: str, replacement: str) -> str:
    return re.sub(pattern, _expand(replacement), text)


def _regex_replace_literal(pattern: str, text: str, replacement: str) -> str:
    return re.sub(pattern, lambda _: replacement, text)


def _regex_find(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match.group() if match else ""


def _regex_find_all(pattern: str, text: str, limit: int) -> list[str]:
    found = [match.group() for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _regex_split(pattern: str, text: str, limit: int) -> list[str]:
    if limit == 0:
        return []
    return re.split(pattern, text, maxsplit=limit - 1 if limit > 0 else 0)


def _split_map(separator: str, text: str, limit: int = 0) -> dict[str, str]:
    parts = text.split(separator, limit - 1 if limit > 0 else -1)
    return {f"_{index}": part for index, part in enumerate(parts)}


def _words(text: str) -> list[str]:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    spaced = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1 \2", spaced)
    return [word for word in re.split(r"[\s_\-]+", spaced) if word]


def _dict(*values: Any) -> dict[str, Any]:
    return {
        format_value(values[index]): values[index + 1] if index + 1 < len(values) else ""
        for index in range(0, len(values), 2)
    }


def _merge(*mappings: Mapping[str, Any], later_wins: bool) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for mapping in mappings if later_wins else reversed(mappings):
        for key, value in mapping.items():
            both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
            merged[key] = _merge(merged[key], value, later_wins=True) if both else value
    return merged


def _from_json(text: str) -> Any:
    try:
        return json.loads(text, parse_int=float)
    except ValueError:
        return None


def _seq(*bounds: int) -> str:
    match bounds:
        case ():
            return ""
        case (end,):
            start, step = 1, -1 if end < 1 else 1
        case (start, end):
            step = -1 if end < start else 1
        case (start, step, end):
            pass
        case _:
            return ""
    return " ".join(str(number) for number in _until_step(start, end + (1 if step > 0 else -1), step))


def _until_step(start: int, end: int, step: int) -> list[int]:
    if step == 0 or abs(end - start) > 1_000_000:
        return []
    return list(range(start, end, step))


def _round(value: Any, digits: int, half: float = 0.5) -> float:
    scale = 10.0**digits
    scaled = _real(value) * scale
    whole = math.floor(scaled)
    return (whole + 1 if scaled - whole >= half else whole) / scale


def _strings(value: Any) -> list[str]:
    if isinstance(value, list | tuple):
        return [_text_of(item) for item in value if item is not None]
    return [] if value is None else [_text_of(value)]


def _fail(message: str) -> str:
    raise ExpressionError(message)


def _unique(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _digest(name: str) -> Callable[[str], str]:
    return lambda text: hashlib.new(name, _string(text).encode(), usedforsecurity=False).hexdigest()


def _remainder(left: Any, right: Any) -> int:
    return int(math.fmod(_whole(left), _divisor(right)))


def _quotient(left: Any, right: Any) -> int:
    return int(_whole(left) / _divisor(right))


def _divisor(value: Any) -> int:
    if not (number := _whole(value)):
        raise ExpressionError("integer divide by zero")
    return number


def _product(*values: Any) -> int:
    return math.prod(_whole(value) for value in values)


def _decode(text: str, decode: Callable[[str], bytes]) -> str:
    try:
        return decode(text).decode()
    except ValueError as error:
        return str(error)


def _indent(spaces: int, text: str) -> str:
    pad = " " * spaces
    return pad + text.replace("\n", f"\n{pad}")


def _wrap(length: int, text: str) -> str:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > length:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


SPRIG: Final[dict[str, Callable[..., Any]]] = {
    # texts
    "abbrev": lambda width, text: text if width < 4 or len(text) <= width else text[: width - 3] + "...",
    "trunc": _trunc,
    "trim": lambda text: _string(text).strip(),
    "upper": lambda text: _string(text).upper(),
    "lower": lambda text: _string(text).lower(),
    "title": lambda text: re.sub(r"(^|[^\w'])(\w)", lambda match: match[1] + match[2].upper(), _string(text)),
    "untitle": lambda text: re.sub(r"(^|\s)(\w)", lambda match: match[1] + match[2].lower(), _string(text)),
    "substr": _substr,
    "repeat": lambda count, text: _string(text) * min(max(count, 0), 1_000_000),
    "trimAll": lambda letters, text: _string(text).strip(letters),
    "trimall": lambda letters, text: _string(text).strip(letters),
    "trimSuffix": lambda suffix, text: _string(text).removesuffix(suffix),
    "trimPrefix": lambda prefix, text: _string(text).removeprefix(prefix),
    "nospace": lambda text: re.sub(r"\s", "", _string(text)),
    "initials": lambda text: "".join(word[0] for word in _string(text).split()),
    "swapcase": lambda text: _string(text).swapcase(),
    "snakecase": lambda text: "_".join(word.lower() for word in _words(text)),
    "kebabcase": lambda text: "-".join(word.lower() for word in _words(text)),
    "camelcase": lambda text: "".join(word[:1].upper() + word[1:].lower() for word in _words(text)),
    "wrap": _wrap,
    "contains": lambda part, text: part in _string(text),
    "hasPrefix": lambda prefix, text: _string(text).startswith(prefix),
    "hasSuffix": lambda suffix, text: _string(text).endswith(suffix),
    "quote": lambda *values: " ".join(
        json.dumps(_text_of(value), ensure_ascii=False) for value in values if value is not None
    ),
    "squote": lambda *values: " ".join(f"'{_text_of(value)}'" for value in values if value is not None),
    "cat": lambda *values: " ".join(_text_of(value) for value in values if value is not None),
    "indent": _indent,
    "nindent": lambda spaces, text: "\n" + _indent(spaces, text),
    "replace": lambda old, new, text: _string(text).replace(old, new),
    "plural": lambda one, many, count: one if count == 1 else many,
    "sha1sum": _digest("sha1"),
    "sha256sum": _digest("sha256"),
    "sha512sum": _digest("sha512"),
    "adler32sum": lambda text: str(zlib.adler32(_string(text).encode())),
    "toString": _text_of,
    "toStrings": _strings,
    # numbers
    "atoi": lambda text: int(text) if re.fullmatch(r"[+-]?[0-9]+", _string(text)) else 0,
    "int64": _whole,
    "int": _whole,
    "float64": _real,
    "toDecimal": lambda value: int(str(value), 8) if re.fullmatch(r"[0-7]+", str(value)) else 0,
    "seq": _seq,
    "until": lambda count: _until_step(0, count, -1 if count < 0 else 1),
    "untilStep": _until_step,
    "add1": lambda value: _whole(value) + 1,
    "add": lambda *values: sum(_whole(value) for value in values),
    "sub": lambda left, right: _whole(left) - _whole(right),
    "div": _quotient,
    "mod": _remainder,
    "mul": _product,
    "addf": lambda *values: math.fsum(_real(value) for value in values),
    "subf": lambda first, *rest: _real(first) - math.fsum(_real(value) for value in rest),
    "mulf": lambda *values: math.prod(_real(value) for value in values),
    "divf": lambda first, *rest: _real(first) / math.prod(_real(value) for value in rest),
    "max": lambda first, *rest: max(_whole(value) for value in (first, *rest)),
    "biggest": lambda first, *rest: max(_whole(value) for value in (first, *rest)),
    "min": lambda first, *rest: min(_whole(value) for value in (first, *rest)),
    "maxf": lambda first, *rest: max(_real(value) for value in (first, *rest)),
    "minf": lambda first, *rest: min(_real(value) for value in (first, *rest)),
    "ceil": lambda value: float(math.ceil(_real(value))),
    "floor": lambda value: float(math.floor(_real(value))),
    "round": _round,
    # lists
    "split": _split_map,
    "splitn": lambda separator, limit, text: _split_map(separator, text, limit),
    "splitList": lambda separator, text: _string(text).split(separator) if separator else list(text),
    "join": lambda separator, values: separator.join(_strings(values)),
    "sortAlpha": lambda values: sorted(_strings(values)),
    "list": lambda *values: list(values),
    "tuple": lambda *values: list(values),
    "append": lambda values, value: [*values, value],
    "push": lambda values, value: [*values, value],
    "prepend": lambda values, value: [value, *values],
    "first": lambda values: values[0] if values else None,
    "rest": lambda values: list(values[1:]),
    "last": lambda values: values[-1] if values else None,
    "initial": lambda values: list(values[:-1]),
    "reverse": lambda values: list(reversed(values)),
    "uniq": _unique,
    "without": lambda values, *unwanted: [value for value in values if value not in unwanted],
    "has": lambda value, values: value in (values or ()),
    "slice": lambda values, *bounds: list(values[slice(*(bounds or (None,)))]),
    "concat": lambda *lists: [value for values in lists for value in values],
    "compact": lambda values: [value for value in values if not _is_empty(value)],
    "chunk": lambda size, values: [list(values[at : at + size]) for at in range(0, len(values), size)],
    # mappings
    "dict": _dict,
    "get": lambda of, key: of.get(key, ""),
    "set": lambda of, key, value: {**of, key: value},
    "unset": lambda of, key: {name: value for name, value in of.items() if name != key},
    "hasKey": lambda of, key: key in of,
    "pluck": lambda key, *mappings: [of[key] for of in mappings if key in of],
    "keys": lambda *mappings: [key for of in mappings for key in sorted(of)],
    "values": lambda of: [of[key] for key in sorted(of)],
    "pick": lambda of, *keys: {key: of[key] for key in keys if key in of},
    "omit": lambda of, *keys: {key: value for key, value in of.items() if key not in keys},
    "merge": lambda *mappings: _merge(*mappings, later_wins=False),
    "mergeOverwrite": lambda *mappings: _merge(*mappings, later_wins=True),
    # choices
    "default": _default,
    "empty": _is_empty,
    "coalesce": lambda *values: next((value for value in values if not _is_empty(value)), None),
    "all": lambda *values: not any(_is_empty(value) for value in values),
    "any": lambda *values: any(not _is_empty(value) for value in values),
    "ternary": lambda yes, no, condition: yes if condition else no,
    "fail": _fail,
    # JSON and encodings
    "fromJson": _from_json,
    "toJson": dump_json,
    "toRawJson": lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True),
    "toPrettyJson": lambda value: json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True),
    "b64enc": lambda text: base64.b64encode(_string(text).encode()).decode(),
    "b64dec": lambda text: _decode(text, lambda given: base64.b64decode(given, validate=True)),
    "b32enc": lambda text: base64.b32encode(_string(text).encode()).decode(),
    "b32dec": lambda text: _decode(text, base64.b32decode),
    # paths
    "base": lambda path: posixpath.basename(path.rstrip("/")) or ("/" if path.startswith("/") else "."),
    "dir": lambda path: posixpath.normpath(posixpath.dirname(path) or "."),
    "clean": lambda path: posixpath.normpath(path or "."),
    "ext": lambda path: posixpath.splitext(path)[1],
    "isAbs": posixpath.isabs,
    # regular expressions
    "regexMatch": lambda pattern, text: re.search(pattern, text) is not None,
    "regexFind": _regex_find,
    "regexFindAll": _regex_find_all,
    "regexReplaceAll": _regex_replace,
    "regexReplaceAllLiteral": _regex_replace_literal,
    "regexSplit": _regex_split,
    "regexQuoteMeta": lambda text: re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text),
}
