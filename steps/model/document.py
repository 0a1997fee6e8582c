"""YAML as plain data: what ``ormbfile.yaml`` and ``MLmodel`` are read with.

    >>> parse_yaml("{size: [-1, 3], revision: 1e4}", "an example")
    {'size': [-1, 3], 'revision': '1e4'}

The document is built from parser events with a stack of its own, so that no depth of nesting reaches an
interpreter's limit, and nothing but maps, lists and scalars can come out. What does not belong here: what a
document has to say.
"""

import re
from collections.abc import Iterator
from typing import Final

import yaml

from klever.steps.errors import MetadataError

#: A signature of ten thousand columns takes one of them.
MAX_BYTES: Final = 2 << 20
#: Nested lists and maps.
MAX_DEPTH: Final = 64
#: Scalars, lists and maps together.
MAX_NODES: Final = 200_000

#: libyaml's parser where PyYAML was built with it: ten times as fast, the same events.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG: Final = "tag:yaml.org,2002:"
_CONSTANTS: Final[dict[str, bool | None]] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
#: As many digits as a 64-bit integer may have.
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_FLOAT: Final = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)


def parse_yaml(text: str | bytes, what: str) -> object:
    """Return the one document in ``text``: dicts with text keys, lists, text, numbers, booleans and None.

    ``what`` names the document in errors. Plain scalars follow the core schema of YAML 1.2 (section
    10.3), but a number which Python would spell otherwise (``1.10``, ``007``, ``1e4``) stays text:
    ORMB's own fields are text, and a Git revision may look like any of these. Keys and timestamps stay
    as written. Raises `MetadataError` for what is not well-formed, for anchors, aliases, tags of other
    types, repeated keys and for more than `MAX_BYTES`, `MAX_DEPTH` or `MAX_NODES`.
    """
    decoded = _decode(text, what)
    try:
        return _build(yaml.parse(decoded, Loader=_LOADER), what)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable text"
        raise MetadataError(f"{what} is not YAML{where}: {problem}") from error


def _decode(text: str | bytes, what: str) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark (YAML 1.2, section 5.2)."""
    if len(text) > MAX_BYTES:
        raise MetadataError(f"{what} is larger than {MAX_BYTES >> 20} MiB")
    try:
        if isinstance(text, str):
            text.encode()
            return text.removeprefix("\ufeff")
        return text.decode("utf-16" if text[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeError:
        raise MetadataError(f"{what} is neither UTF-8 nor UTF-16 text") from None


def _build(events: Iterator[yaml.Event], what: str) -> object:
    """Build the document; an open map is a pair of the dict and its pending key."""
    stack: list[list[object] | _Map] = []
    result: object = None
    documents = nodes = 0
    for event in events:
        line = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise MetadataError(f"{what} holds more than one document")
        elif isinstance(event, yaml.CollectionEndEvent):
            done = stack.pop()
            result = _place(stack, done.entries if isinstance(done, _Map) else done, None, line, what)
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MAX_NODES or len(stack) > MAX_DEPTH:
                raise MetadataError(f"{what} is too large or nested too deep (line {line})")
            if event.anchor is not None:
                cause = f"{what} uses an anchor or alias in line {line}"
                raise MetadataError(cause, next_step="write the value out")
            if isinstance(event, yaml.ScalarEvent):
                value = _scalar(event, line, what)
                result = _place(stack, value, event.value, line, what)
            elif isinstance(event, yaml.CollectionStartEvent):
                _check_collection_tag(event, line, what)
                stack.append(_Map() if isinstance(event, yaml.MappingStartEvent) else [])
    return result


class _Map:
    """A map whose end has not come yet."""

    __slots__ = ("entries", "key")

    def __init__(self) -> None:
        self.entries: dict[str, object] = {}
        self.key: str | None = None


def _place(stack: list[list[object] | _Map], value: object, written: str | None, line: int, what: str) -> object:
    """Put a finished value where it belongs; ``written`` is a scalar's own text, None for a collection."""
    if not stack:
        return value
    parent = stack[-1]
    if isinstance(parent, list):
        parent.append(value)
    elif parent.key is not None:
        parent.entries[parent.key] = value
        parent.key = None
    elif written is None:
        raise MetadataError(f"{what} has a key in line {line} that is not text")
    elif written in parent.entries:
        raise MetadataError(f"{what} repeats the key {written[:100]!r} in line {line}")
    else:
        parent.key = written
    return None


def _scalar(event: yaml.ScalarEvent, line: int, what: str) -> object:
    plain, _quoted = event.implicit
    kind = (event.tag or "").removeprefix(_TAG)
    if plain or kind in ("int", "float", "bool", "null"):
        return _resolve(event.value)
    if kind in ("", "!", "str", "timestamp"):
        return event.value
    raise _foreign(event, line, what)


def _check_collection_tag(event: yaml.CollectionStartEvent, line: int, what: str) -> None:
    if event.tag not in (None, "!", f"{_TAG}map", f"{_TAG}seq"):
        raise _foreign(event, line, what)


def _foreign(event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int, what: str) -> MetadataError:
    return MetadataError(f"{what} asks for {str(event.tag)[:100]!r} in line {line}, which is not plain data")


def _resolve(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and repr(number := float(text)) == text:
        return number
    return text
