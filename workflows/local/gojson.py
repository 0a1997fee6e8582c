"""Read JSON as Go's ``encoding/json`` does: numbers keep their letters, and what is wrong is told in Go's words.

Argo's messages carry those words, and the names of a loop's items those letters. Writing JSON is `gotext`'s.
"""

import json
import re
from typing import Any, Final, NoReturn

from klever.workflows.local.gotext import WrittenNumber, escape_html

_SPACE: Final = b" \t\r\n"
_DIGITS: Final = b"0123456789"
_HEXADECIMAL: Final = b"0123456789abcdefABCDEF"
#: After a backslash, without ``u``.
_ESCAPED: Final = b'bfnrt\\/"'
_LITERALS: Final = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}


def read_json(text: str) -> Any:
    """Return the value of a JSON text; raises ValueError with the message that Go gives."""
    try:
        return json.loads(text, parse_float=WrittenNumber, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("exceeded max depth") from None
    except ValueError as error:
        raise ValueError(_Scanner(text).fault() or str(error)) from None


def compact_json(text: str) -> str:
    """Return a JSON text as Go writes one it has not taken apart: spaces gone, ``<``, ``>``, ``&`` escaped.

    Keys keep their order, texts and numbers their letters. Raises ValueError as `read_json` does.
    """
    read_json(text)
    return escape_html(_TEXT_OR_SPACE.sub(lambda found: found[1] or "", text))


def split_json(text: str) -> list[str] | dict[str, str] | None:
    """Return the elements of a JSON list or the members of a mapping as the texts they are; None for all else.

    ``text`` is compact JSON.
    """
    close = {"[": "]", "{": "}"}.get(text[:1])
    if close is None:
        return None
    elements: list[str] = []
    members: dict[str, str] = {}
    at = 1
    while text[at] != close:
        key = ""
        if close == "}":
            key, at = _DECODER.raw_decode(text, at)
            at += 1
        _, end = _DECODER.raw_decode(text, at)
        elements.append(text[at:end])
        members[key] = text[at:end]
        at = end + (text[end] == ",")
    return elements if close == "]" else members


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


#: Python limits the digits of a whole number; nobody asks for the number here.
_DECODER: Final = json.JSONDecoder(parse_int=str)
#: A text, kept; or space between.
_TEXT_OR_SPACE: Final = re.compile(r'("(?:[^"\\]|\\.)*")|[ \t\r\n]+')


class _WrongError(Exception):
    """Where a text stops being JSON."""


class _Scanner:
    """Go's scanner (``encoding/json/scanner.go``), for its complaints alone: one byte at a time, no recursion."""

    def __init__(self, text: str) -> None:
        # Go gives a space more, to see whether what it reads may end.
        self._text = text.encode("utf-8", errors="replace") + b" "
        self._at = 0

    def fault(self) -> str:
        """Return what is wrong; empty where nothing is."""
        try:
            self._scan()
        except _WrongError as error:
            return str(error)
        return ""

    def _scan(self) -> None:
        open_: list[bytes] = []
        while self._begin_value(open_) or self._end_values(open_):
            pass
        if self._skip_space() is not None:
            self._wrong("after top-level value")

    def _begin_value(self, open_: list[bytes]) -> bool:
        """Read a value, or the beginning of one that holds others; return whether one of those comes next."""
        letter = self._next_but_space()
        if letter == ord("["):
            open_.append(b"]")
            return self._skip_space() != ord("]")
        if letter == ord("{"):
            open_.append(b"}")
            if self._skip_space() == ord("}"):
                return False
            self._key()
            return True
        self._scalar(letter)
        return False

    def _end_values(self, open_: list[bytes]) -> bool:
        """Read what comes after a value; return whether another has to begin, as long as one is open."""
        while open_:
            letter = self._next_but_space()
            if letter == ord(open_[-1]):
                open_.pop()
            elif letter == ord(","):
                if open_[-1] == b"}":
                    self._key()
                return True
            else:
                self._wrong("after array element" if open_[-1] == b"]" else "after object key:value pair", back=True)
        return False

    def _key(self) -> None:
        if self._next_but_space() != ord('"'):
            self._wrong("looking for beginning of object key string", back=True)
        self._string()
        if self._next_but_space() != ord(":"):
            self._wrong("after object key", back=True)

    def _scalar(self, letter: int) -> None:
        if letter == ord('"'):
            self._string()
        elif letter in _LITERALS:
            self._literal(_LITERALS[letter].decode())
        elif letter == ord("-") or letter in _DIGITS:
            self._number(letter)
        else:
            self._wrong("looking for beginning of value", back=True)

    def _literal(self, word: str) -> None:
        for expected in word[1:]:
            if self._next() != ord(expected):
                self._wrong(f"in literal {word} (expecting '{expected}')", back=True)

    def _string(self) -> None:
        while (letter := self._next()) != ord('"'):
            if letter < 0x20:
                self._wrong("in string literal", back=True)
            if letter == ord("\\"):
                self._escape()

    def _escape(self) -> None:
        letter = self._next()
        if letter == ord("u"):
            for _ in range(4):
                if self._next() not in _HEXADECIMAL:
                    self._wrong("in \\u hexadecimal character escape", back=True)
        elif letter not in _ESCAPED:
            self._wrong("in string escape code", back=True)

    def _number(self, letter: int) -> None:
        if letter == ord("-"):
            letter = self._next()
            if letter not in _DIGITS:
                self._wrong("in numeric literal", back=True)
        if letter != ord("0"):
            self._digits()
        if self._peek() == ord("."):
            self._at += 1
            self._digit("after decimal point in numeric literal")
            self._digits()
        if self._peek() in (ord("e"), ord("E")):
            self._at += 1
            if self._peek() in (ord("+"), ord("-")):
                self._at += 1
            self._digit("in exponent of numeric literal")
            self._digits()

    def _digit(self, context: str) -> None:
        if self._next() not in _DIGITS:
            self._wrong(context, back=True)

    def _digits(self) -> None:
        while (letter := self._peek()) is not None and letter in _DIGITS:
            self._at += 1

    def _peek(self) -> int | None:
        return self._text[self._at] if self._at < len(self._text) else None

    def _skip_space(self) -> int | None:
        while (letter := self._peek()) is not None and letter in _SPACE:
            self._at += 1
        return letter

    def _next(self) -> int:
        letter = self._peek()
        if letter is None:
            raise _WrongError("unexpected end of JSON input")
        self._at += 1
        return letter

    def _next_but_space(self) -> int:
        self._skip_space()
        return self._next()

    def _wrong(self, context: str, *, back: bool = False) -> NoReturn:
        # Go looks at bytes, and shows one as the letter of that number.
        letter = chr(self._text[self._at - back])
        shown = {"'": "\\'", "\\": "\\\\"}.get(letter) or (letter if letter.isprintable() else _escaped(letter))
        raise _WrongError(f"invalid character '{shown}' {context}")


def _escaped(letter: str) -> str:
    """Return a letter that does not print as ``strconv.Quote`` shows it."""
    named = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
    if letter in named:
        return named[letter]
    return f"\\x{ord(letter):02x}" if ord(letter) < 0x80 else f"\\u{ord(letter):04x}"
