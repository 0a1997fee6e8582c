"""Protocol buffers in their text format, read without a schema.

    >>> net = parse_prototext('name: "lenet" layer { type: "Pooling" pooling_param { pool: MAX stride: 2 } }')
    >>> net.text("name"), net.message("layer").message("pooling_param").integer("stride")
    ('lenet', 2)

Without a schema the text alone decides what a value is: a number, a quoted string, a word (`Symbol`: an enumerator,
``true``, ``inf``) or a message. What a field ought to be is said by who asks for it (`Fields.integer`, ...). The
parser keeps no stack of Python frames and counts what it takes, so that hostile text ends in an error.

The language: https://protobuf.dev/reference/protobuf/textformat-spec/. What does not belong here: any schema.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError

#: The text of the largest published networks has some 300 kB.
MAX_TEXT_BYTES: Final = 8 << 20
#: As deep as the binary parsers of Google follow.
MAX_DEPTH: Final = 100
#: Values in one text; ResNet-152 has some 12,000.
MAX_VALUES: Final = 200_000
#: No number of a network is longer; beyond some 4,300 digits Python itself refuses.
_MAX_DIGITS: Final = 40

# Possessive quantifiers keep the matching linear on text made to defeat it.
_BLANK: Final = r"(?:[\s\ufeff]++|\#[^\n]*+)*+"
_TOKEN: Final = re.compile(
    _BLANK
    + r"""(?:(?P<word>[A-Za-z_]\w*+)
    |(?P<number>0[xX][0-9a-fA-F]++|(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?\d++)?[fF]?)
    |(?P<string>"(?:[^"\\\n]++|\\.)*+"|'(?:[^'\\\n]++|\\.)*+')
    |(?P<mark>[{}<>\[\]:,;./-]))""",
    re.VERBOSE | re.ASCII,
)
_REST: Final = re.compile(_BLANK, re.VERBOSE | re.ASCII)
_ESCAPE: Final = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_OPENERS: Final = {"{": "}", "<": ">"}
_TRUTHS: Final = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}
_SPECIAL: Final = {"inf": float("inf"), "infinity": float("inf"), "nan": float("nan")}


class Symbol(str):
    """A word without quotes: an enumerator, ``true`` or ``false``, ``inf`` or ``nan``."""

    __slots__ = ()


class Fields:
    """The fields of one message, each with all its values in the order of the text.

    The getters take the last value of a field, as protobuf does where a singular field is repeated. They raise
    `MalformedModelError` where the text holds another kind of value than is asked for.
    """

    __slots__ = ("_values",)

    def __init__(self, values: "Mapping[str, Sequence[Value]] | None" = None) -> None:
        self._values = values or {}

    def __contains__(self, name: object) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fields) and self._values == other._values

    __hash__ = None  # type: ignore[assignment] # equal by content, and the content is a mapping

    def __repr__(self) -> str:
        return f"Fields({self._values!r})"

    def values(self, name: str) -> "Sequence[Value]":
        """Return every value of a field, none where it is absent."""
        return self._values.get(name, ())

    def with_values(self, **values: "Sequence[Value]") -> "Fields":
        """Return a copy in which some fields have other values; those with no value go."""
        merged = {**self._values, **values}
        return Fields({name: chosen for name, chosen in merged.items() if chosen})

    def messages(self, name: str) -> "tuple[Fields, ...]":
        """Return the messages of a repeated field."""
        found = self.values(name)
        for value in found:
            if not isinstance(value, Fields):
                raise _wrong(name, value, "a message")
        return tuple(value for value in found if isinstance(value, Fields))

    def message(self, name: str) -> "Fields":
        """Return a message, an empty one where the field is absent."""
        found = self.messages(name)
        return found[-1] if found else Fields()

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the strings, or the words, of a repeated field."""
        return tuple(_as_text(name, value) for value in self.values(name))

    def text(self, name: str, default: str = "") -> str:
        """Return a string or a word; for a number its digits, which stand for an enumerator."""
        found = self.texts(name)
        return found[-1] if found else default

    def integers(self, name: str) -> tuple[int, ...]:
        """Return the whole numbers of a repeated field."""
        return tuple(_as_integer(name, value) for value in self.values(name))

    def integer(self, name: str, default: int = 0) -> int:
        """Return a whole number."""
        found = self.values(name)
        return _as_integer(name, found[-1]) if found else default

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return the numbers of a repeated field."""
        return tuple(_as_number(name, value) for value in self.values(name))

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number, whole or not."""
        found = self.values(name)
        return _as_number(name, found[-1]) if found else default

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value: a word, or 1 and 0."""
        found = self.values(name)
        if not found:
            return default
        value = found[-1]
        if isinstance(value, Symbol) and value in _TRUTHS:
            return _TRUTHS[value]
        if isinstance(value, int) and value in (0, 1):
            return bool(value)
        raise _wrong(name, value, "true or false")


Value = int | float | str | Fields


def _wrong(name: str, value: Value, wanted: str) -> MalformedModelError:
    got = "a message" if isinstance(value, Fields) else repr(value)[:60]
    return MalformedModelError(f"the field {name} has to be {wanted}, not {got}")


def _as_text(name: str, value: Value) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return str(value)
    raise _wrong(name, value, "text")


def _as_integer(name: str, value: Value) -> int:
    if isinstance(value, int):
        return value
    raise _wrong(name, value, "a whole number")


def _as_number(name: str, value: Value) -> float:
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Symbol) and value.lower() in _SPECIAL:
        return _SPECIAL[value.lower()]
    raise _wrong(name, value, "a number")


def decode_prototext(data: bytes) -> Fields:
    """Parse the bytes of a file, in UTF-8; see `parse_prototext` for the errors."""
    if len(data) > MAX_TEXT_BYTES:
        raise LimitExceededError(
            f"protobuf text of {len(data)} bytes is longer than the {MAX_TEXT_BYTES} that are read"
        )
    # Old files carry author names in Latin-1 in their comments, which must not keep the network from being read.
    return parse_prototext(data.decode("utf-8", "backslashreplace"))


def parse_prototext(text: str) -> Fields:
    """Parse a message in protobuf's text format.

    Raises `MalformedModelError` with the line for a breach of the grammar, `TruncatedModelError` where the text ends
    inside a message, and `LimitExceededError` for text that is longer, deeper or fuller than any network's.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise LimitExceededError(
            f"protobuf text of {len(text)} characters is longer than the {MAX_TEXT_BYTES} that are read"
        )
    return _Parser(text).parse()


class _Frame:
    """A message that is being read: its fields, its closing mark, and whether it stands in a list."""

    __slots__ = ("closer", "listed", "name", "values")

    def __init__(self, name: str, closer: str, *, listed: bool) -> None:
        self.name = name
        self.closer = closer
        self.listed = listed
        self.values: dict[str, list[Value]] = {}


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._left = MAX_VALUES
        self._frames = [_Frame("", "", listed=False)]
        self._kind = self._token = ""
        self._advance()

    def parse(self) -> Fields:
        """Read fields until the text ends."""
        while self._kind:
            if self._kind == "mark" and self._token in (",", ";"):
                self._advance()
            elif self._kind == "mark" and self._token == self._frames[-1].closer:
                self._advance()
                self._close()
            else:
                self._field()
        if len(self._frames) > 1:
            raise TruncatedModelError(f"the text ends inside the message {self._frames[-1].name}")
        return Fields(self._frames[0].values)

    def _field(self) -> None:
        name = self._name()
        colon = self._takes(":")
        if self._takes("["):
            if not self._takes("]"):
                self._element(name, listed=True)
            return
        if not colon and not (self._kind == "mark" and self._token in _OPENERS):
            raise self._fault(f"expected ':' or '{{' after the field {name}")
        self._element(name, listed=False)

    def _name(self) -> str:
        if self._kind == "word":
            name = self._token
            self._advance()
            return name
        if self._takes("["):  # an extension or the type of an Any
            parts = []
            while not self._takes("]"):
                if self._kind not in ("word", "number", "mark"):
                    raise self._fault("expected ']' after the name of an extension")
                parts.append(self._token)
                self._advance()
            return f"[{''.join(parts)}]"
        raise self._fault("expected the name of a field")

    def _element(self, name: str, *, listed: bool) -> None:
        """Read one value; a message becomes the innermost frame, and `_close` goes on with its list."""
        while True:
            if self._kind == "mark" and self._token in _OPENERS:
                if len(self._frames) > MAX_DEPTH:
                    raise LimitExceededError(f"protobuf text is nested deeper than {MAX_DEPTH}")
                self._count()
                self._frames.append(_Frame(name, _OPENERS[self._token], listed=listed))
                self._advance()
                return
            self._frames[-1].values.setdefault(name, []).append(self._scalar())
            if not listed or not self._goes_on():
                return

    def _close(self) -> None:
        frame = self._frames.pop()
        self._frames[-1].values.setdefault(frame.name, []).append(Fields(frame.values))
        if frame.listed and self._goes_on():
            self._element(frame.name, listed=True)

    def _goes_on(self) -> bool:
        """Tell whether the list has another element, past the mark that says so."""
        if self._takes(","):
            return True
        if self._takes("]"):
            return False
        raise self._fault("expected ',' or ']' in a list")

    def _scalar(self) -> Value:
        self._count()
        negative = self._takes("-")
        kind, token = self._kind, self._token
        if kind == "string" and not negative:
            parts = []
            while self._kind == "string":
                parts.append(_unescape(self._token[1:-1]))
                self._advance()
            return "".join(parts)
        if kind == "word" and (not negative or token.lower() in _SPECIAL):
            self._advance()
            return -_SPECIAL[token.lower()] if negative else Symbol(token)
        if kind == "number":
            value = self._number(token)
            self._advance()
            return -value if negative else value
        raise self._fault("expected a value")

    def _number(self, token: str) -> int | float:
        if len(token) > _MAX_DIGITS:
            raise self._fault("a number is longer than any that a field can hold")
        if token[:2] in ("0x", "0X"):
            return int(token, 16)
        if token.isdigit():
            try:
                return int(token, 8 if token[0] == "0" else 10)
            except ValueError:
                raise self._fault(f"{token} is no octal number") from None
        return float(token.rstrip("fF"))

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise LimitExceededError(f"protobuf text holds more than {MAX_VALUES} values")

    def _takes(self, mark: str) -> bool:
        if self._kind == "mark" and self._token == mark:
            self._advance()
            return True
        return False

    def _advance(self) -> None:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            rest = _REST.match(self._text, self._position)
            self._position = rest.end() if rest else self._position
            if self._position < len(self._text):
                if self._text[self._position] in "\"'" and "\n" not in self._text[self._position :]:
                    raise TruncatedModelError("the text ends inside a string")
                raise self._fault(f"{self._text[self._position]!r} cannot stand")
            self._kind = self._token = ""
            return
        self._kind = match.lastgroup or ""
        self._token = match[self._kind]
        self._position = match.end()

    def _fault(self, what: str) -> MalformedModelError:
        line = self._text.count("\n", 0, self._position) + 1
        if not self._kind and self._position == len(self._text):
            return TruncatedModelError(f"the text ends where a field should go on: {what}")
        return MalformedModelError(f"line {line}: {what} here" if what.endswith("stand") else f"line {line}: {what}")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    # Escapes name bytes, and several of them may make up one character of UTF-8.
    return _ESCAPE.sub(_escaped, text.encode("utf-8", "backslashreplace")).decode("utf-8", "backslashreplace")


def _escaped(match: re.Match[bytes]) -> bytes:
    octal, byte, code, other = match.groups()
    if octal:
        return bytes((int(octal, 8) & 0xFF,))
    if byte:
        return bytes((int(byte, 16),))
    if code:
        return chr(int(code, 16)).encode("utf-8", "replace")
    return _ESCAPED.get(other, other)
