"""Evaluate the ``when`` of a task: govaluate, in which Argo takes every unquoted word for a text (``shouldExecute``).

What does not belong here: where ``when``'s variables come from; they are substituted before.
"""

import math
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from klever.steps.errors import PermanentError
from klever.workflows.local.gotext import format_value


class WhenError(PermanentError):
    """A ``when`` cannot be read, or is neither true nor false."""

    usual_step = "correct the task's when; put values that hold spaces or signs in quotes"


class _Kind(Enum):
    """Token kinds, named as govaluate's messages name them."""

    UNKNOWN = "UNKNOWN"
    PREFIX = "PREFIX"
    NUMERIC = "NUMERIC"
    BOOLEAN = "BOOLEAN"
    STRING = "STRING"
    VARIABLE = "VARIABLE"
    ACCESSOR = "ACCESSOR"
    COMPARATOR = "COMPARATOR"
    LOGICALOP = "LOGICALOP"
    MODIFIER = "MODIFIER"
    CLAUSE = "CLAUSE"
    CLAUSE_CLOSE = "CLAUSE_CLOSE"
    TERNARY = "TERNARY"
    SEPARATOR = "SEPARATOR"


@dataclass(frozen=True)
class _Token:
    kind: _Kind
    value: Any


_VALUES = {_Kind.NUMERIC, _Kind.BOOLEAN, _Kind.VARIABLE, _Kind.STRING}
_AFTER_VALUE = {
    _Kind.MODIFIER, _Kind.COMPARATOR, _Kind.LOGICALOP, _Kind.CLAUSE_CLOSE, _Kind.TERNARY, _Kind.SEPARATOR,
}  # fmt: skip
_OPERAND = {_Kind.PREFIX, *_VALUES, _Kind.ACCESSOR, _Kind.CLAUSE}
#: Which kinds may follow which (``lexerState.go``).
_FOLLOWS: Final[dict[_Kind, set[_Kind]]] = {
    _Kind.UNKNOWN: _OPERAND,
    _Kind.CLAUSE: _OPERAND | {_Kind.CLAUSE_CLOSE},
    _Kind.CLAUSE_CLOSE: {_Kind.COMPARATOR, _Kind.MODIFIER, *_VALUES, _Kind.CLAUSE, *_AFTER_VALUE},
    _Kind.NUMERIC: _AFTER_VALUE,
    _Kind.BOOLEAN: _AFTER_VALUE,
    _Kind.STRING: _AFTER_VALUE,
    _Kind.VARIABLE: _AFTER_VALUE,
    _Kind.ACCESSOR: _AFTER_VALUE | {_Kind.CLAUSE},
    _Kind.MODIFIER: _OPERAND | {_Kind.CLAUSE_CLOSE},
    _Kind.COMPARATOR: _OPERAND | {_Kind.CLAUSE_CLOSE},
    _Kind.LOGICALOP: _OPERAND | {_Kind.CLAUSE_CLOSE},
    _Kind.PREFIX: {_Kind.NUMERIC, _Kind.BOOLEAN, _Kind.VARIABLE, _Kind.ACCESSOR, _Kind.CLAUSE, _Kind.CLAUSE_CLOSE},
    _Kind.TERNARY: _OPERAND | {_Kind.SEPARATOR},
    _Kind.SEPARATOR: _OPERAND,
}
_ENDS = {*_VALUES, _Kind.CLAUSE_CLOSE, _Kind.ACCESSOR}
_PREFIXES = {"-", "!", "~"}
_MODIFIERS = {"+", "-", "*", "/", "%", "**", "&", "|", "^", ">>", "<<"}
_COMPARATORS = {"==", "!=", ">", ">=", "<", "<=", "=~", "!~", "in"}
_TERNARIES = {"?", ":", "??"}
#: From the loosest to the tightest, each binding from the left (``stagePlanner.go``).
_LEVELS: Final[tuple[tuple[_Kind, frozenset[str]], ...]] = (
    (_Kind.SEPARATOR, frozenset({","})),
    (_Kind.TERNARY, frozenset(_TERNARIES)),
    (_Kind.LOGICALOP, frozenset({"||"})),
    (_Kind.LOGICALOP, frozenset({"&&"})),
    (_Kind.COMPARATOR, frozenset(_COMPARATORS)),
    (_Kind.MODIFIER, frozenset({"^", "&", "|"})),
    (_Kind.MODIFIER, frozenset({">>", "<<"})),
    (_Kind.MODIFIER, frozenset({"+", "-"})),
    (_Kind.MODIFIER, frozenset({"*", "/", "%"})),
    (_Kind.MODIFIER, frozenset({"**"})),
)
#: Deeper nesting is an attack on the stack, not a condition.
_MAX_DEPTH: Final = 30


def should_execute(when: str) -> bool:
    """Say whether a task with this ``when`` is to run; no ``when`` means yes. Raises `WhenError`."""
    if not when:
        return True
    try:
        tokens = _tokenise(when)
        _check_order(tokens)
    except _SyntaxError as error:
        hint = ' (hint: try wrapping the affected expression in quotes ("))' if "Invalid token" in str(error) else ""
        raise WhenError(f"Invalid 'when' expression '{when}': {error}{hint}") from error
    texts = [_Token(_Kind.STRING, token.value) if token.kind is _Kind.VARIABLE else token for token in tokens]
    try:
        _check_order(texts)
    except _SyntaxError as error:
        raise WhenError(f"Failed to parse 'when' expression '{when}': {error}") from error
    try:
        value = _Evaluation(texts).run()
    except _SyntaxError as error:
        raise WhenError(f"Failed to evaluate 'when' expresion '{when}': {error}") from error
    if not isinstance(value, bool):
        raise WhenError(f"Expected boolean evaluation for '{when}'. Got {format_value(value)}")
    return value


class _SyntaxError(Exception):
    """What govaluate would say."""


class _Reader:
    """Letters one after the other, with govaluate's way of reading runs of them (``readUntilFalse``)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def run(self, allowed: re.Pattern[str], *, spaces: bool, stop_at_space: bool) -> tuple[str, bool]:
        found: list[str] = []
        while self.at < len(self.text):
            letter = self.text[self.at]
            self.at += 1
            if letter == "\\" and self.at < len(self.text):
                found.append(self.text[self.at])
                self.at += 1
                continue
            if letter.isspace():
                if stop_at_space and found:
                    return "".join(found), True
                if not spaces:
                    continue
            if allowed.match(letter):
                found.append(letter)
            else:
                self.at -= 1
                return "".join(found), True
        return "".join(found), False


_NOT_BRACKET: Final = re.compile(r"[^\]]")
_NOT_QUOTE: Final = re.compile(r"[^'\"]")
_NUMERIC: Final = re.compile(r"[\d.]")
_WORD: Final = re.compile(r"[\w.]")
_SYMBOL: Final = re.compile(r"[^\w()\[\]'\"]|_")


def _tokenise(text: str) -> list[_Token]:
    reader = _Reader(text)
    tokens: list[_Token] = []
    state = _Kind.UNKNOWN
    while reader.at < len(text):
        letter = text[reader.at]
        if letter.isspace():
            reader.at += 1
            continue
        token = _read(reader, letter, state)
        tokens.append(token)
        state = token.kind
    clauses = [token.kind for token in tokens]
    if clauses.count(_Kind.CLAUSE) != clauses.count(_Kind.CLAUSE_CLOSE):
        raise _SyntaxError("Unbalanced parenthesis")
    return tokens


def _read(reader: _Reader, letter: str, state: _Kind) -> _Token:
    if letter.isdigit() or letter == ".":
        return _number(reader)
    if letter == ",":
        reader.at += 1
        return _Token(_Kind.SEPARATOR, ",")
    if letter == "[":
        reader.at += 1
        name, closed = reader.run(_NOT_BRACKET, spaces=True, stop_at_space=False)
        if not closed:
            raise _SyntaxError("Unclosed parameter bracket")
        reader.at += 1
        return _Token(_Kind.VARIABLE, name)
    if letter.isalpha():
        return _word(reader)
    if letter in "'\"":
        reader.at += 1
        text, closed = reader.run(_NOT_QUOTE, spaces=True, stop_at_space=False)
        if not closed:
            raise _SyntaxError("Unclosed string literal")
        reader.at += 1
        return _Token(_Kind.STRING, text)
    if letter in "()":
        reader.at += 1
        return _Token(_Kind.CLAUSE if letter == "(" else _Kind.CLAUSE_CLOSE, letter)
    symbol, _ = reader.run(_SYMBOL, spaces=False, stop_at_space=True)
    return _symbol(symbol, state)


def _number(reader: _Reader) -> _Token:
    if match := re.match(r"0x([0-9a-fA-F]*)", reader.text[reader.at :]):
        reader.at += match.end()
        if not match[1]:
            raise _SyntaxError(f"Unable to parse hex value '{match[1]}' to uint64\n")
        return _Token(_Kind.NUMERIC, float(int(match[1], 16)))
    text, _ = reader.run(_NUMERIC, spaces=False, stop_at_space=True)
    try:
        return _Token(_Kind.NUMERIC, float(text))
    except ValueError:
        raise _SyntaxError(f"Unable to parse numeric value '{text}' to float64\n") from None


def _word(reader: _Reader) -> _Token:
    text, _ = reader.run(_WORD, spaces=False, stop_at_space=True)
    if text in ("true", "false"):
        return _Token(_Kind.BOOLEAN, text == "true")
    if text in ("in", "IN"):
        return _Token(_Kind.COMPARATOR, "in")
    if "." in text[1:]:
        if text.endswith("."):
            raise _SyntaxError(f"Hanging accessor on token '{text}'")
        for part in text.split(".")[1:]:
            if part[:1].upper() != part[:1]:
                raise _SyntaxError(f"Unable to access unexported field '{part}' in token '{text}'")
        return _Token(_Kind.ACCESSOR, text)
    return _Token(_Kind.VARIABLE, text)


def _symbol(symbol: str, state: _Kind) -> _Token:
    if symbol in _PREFIXES and _Kind.PREFIX in _FOLLOWS[state]:
        return _Token(_Kind.PREFIX, symbol)
    for kind, symbols in (
        (_Kind.MODIFIER, _MODIFIERS),
        (_Kind.LOGICALOP, {"&&", "||"}),
        (_Kind.COMPARATOR, _COMPARATORS),
        (_Kind.TERNARY, _TERNARIES),
    ):
        if symbol in symbols:
            return _Token(kind, symbol)
    raise _SyntaxError(f"Invalid token: '{symbol}'")


def _check_order(tokens: list[_Token]) -> None:
    previous = _Token(_Kind.UNKNOWN, None)
    for token in tokens:
        if token.kind not in _FOLLOWS[previous.kind]:
            if previous.kind is _Kind.VARIABLE and token.kind is _Kind.CLAUSE:
                raise _SyntaxError(f"Undefined function {previous.value}")
            raise _SyntaxError(
                f"Cannot transition token types from {previous.kind.value} [{_shown(previous)}] "
                f"to {token.kind.value} [{_shown(token)}]"
            )
        previous = token
    if previous.kind not in _ENDS:
        raise _SyntaxError("Unexpected end of expression")


def _shown(token: _Token) -> str:
    # A parenthesis is a rune in Go, which prints its number.
    clause = token.kind in (_Kind.CLAUSE, _Kind.CLAUSE_CLOSE)
    return str(ord(token.value)) if clause else format_value(token.value)


class _Evaluation:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def run(self) -> Any:
        """Return the value of all tokens; nothing is nil."""
        return self._level(0)() if self._tokens else None

    def _level(self, level: int) -> Any:
        """Plan one level of precedence; planned first and run later, so that && and || can leave out a side."""
        if level == len(_LEVELS):
            return self._operand()
        kind, symbols = _LEVELS[level]
        left = self._level(level + 1)
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind is not kind or token.value not in symbols:
                break
            self._at += 1
            left = _operation(token.value, left, self._level(level + 1))
        return left

    def _operand(self) -> Any:
        if self._at == len(self._tokens):
            return lambda: None
        token = self._tokens[self._at]
        self._at += 1
        if token.kind in (_Kind.PREFIX, _Kind.CLAUSE):
            self._depth += 1
            if self._depth > _MAX_DEPTH:
                raise _SyntaxError("the condition is nested too deeply")
            if token.kind is _Kind.PREFIX:
                inner = _prefix(token.value, self._operand())
            else:
                inner = self._level(0)
                self._at += 1
            self._depth -= 1
            return inner
        if token.kind is _Kind.ACCESSOR:
            name = token.value.split(".")[0]
            raise _SyntaxError(f"No parameter '{name}' found.")
        return lambda: token.value


def _prefix(symbol: str, operand: Any) -> Any:
    def run() -> Any:
        value = operand()
        fits = isinstance(value, bool) if symbol == "!" else isinstance(value, float)
        if not fits:
            raise _SyntaxError(f"Value '{format_value(value)}' cannot be used with the prefix '{symbol}'")
        return not value if symbol == "!" else -value if symbol == "-" else float(~int(value))

    return run


def _operation(symbol: str, left: Any, right: Any) -> Any:
    def run() -> Any:
        first = left()
        if symbol in ("&&", "||"):
            return _logical(symbol, first, right)
        if symbol in ("?", ":", "??"):
            return _choice(symbol, first, right)
        return _apply(symbol, first, right())

    return run


def _logical(symbol: str, first: Any, right: Any) -> bool:
    def truth(value: Any) -> bool:
        if not isinstance(value, bool):
            raise _SyntaxError(
                f"Value '{format_value(value)}' cannot be used with the logical operator '{symbol}', it is not a bool"
            )
        return value

    if symbol == "&&":
        return truth(first) and truth(right())
    return truth(first) or truth(right())


def _choice(symbol: str, first: Any, right: Any) -> Any:
    if symbol == "?":
        if not isinstance(first, bool):
            raise _SyntaxError(
                f"Value '{format_value(first)}' cannot be used with the ternary operator '?', it is not a bool"
            )
        return right() if first else None
    return right() if first is None else first


def _apply(symbol: str, left: Any, right: Any) -> Any:
    if symbol == "==":
        return type(left) is type(right) and left == right
    if symbol == "!=":
        return not (type(left) is type(right) and left == right)
    if symbol == ",":
        return [*left, right] if isinstance(left, list) else [left, right]
    if symbol == "in":
        if not isinstance(right, list):
            raise _SyntaxError(_misfit(right, "comparator", symbol, "a number"))
        return any(type(item) is type(left) and item == left for item in right)
    if symbol in ("=~", "!~"):
        return _regex(symbol, left, right)
    texts = isinstance(left, str) and isinstance(right, str)
    numbers = isinstance(left, float) and isinstance(right, float)
    if symbol in (">", ">=", "<", "<="):
        if not (texts or numbers):
            raise _SyntaxError(_misfit(left, "comparator", symbol, "a number"))
        return {">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[symbol]
    if symbol == "+" and (isinstance(left, str) or isinstance(right, str)):
        return format_value(left) + format_value(right)
    if not numbers:
        culprit = left if symbol == "+" or not isinstance(left, float) else right
        raise _SyntaxError(_misfit(culprit, "modifier", symbol, "a number"))
    return _arithmetic(symbol, left, right)


def _misfit(value: Any, what: str, symbol: str, expected: str) -> str:
    return f"Value '{format_value(value)}' cannot be used with the {what} '{symbol}', it is not {expected}"


def _regex(symbol: str, left: Any, right: Any) -> bool:
    if not (isinstance(left, str) and isinstance(right, str)):
        raise _SyntaxError(_misfit(left, "comparator", symbol, "a string"))
    try:
        found = re.search(right, left) is not None
    except re.error as error:
        raise _SyntaxError(f"Unable to compile regexp pattern '{right}': {error}") from error
    return found == (symbol == "=~")


def _arithmetic(symbol: str, left: float, right: float) -> float:
    match symbol:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "**":
            return math.pow(left, right)
        case "/":
            return left / right if right else math.copysign(math.inf, left) if left else math.nan
        case "%":
            return math.fmod(left, right) if right else math.nan
    whole, other = int(left), int(right)
    return float({"&": whole & other, "|": whole | other, "^": whole ^ other}[symbol] if symbol in "&|^" else (
        whole << min(other, 63) if symbol == "<<" else whole >> min(other, 63)
    ))  # fmt: skip
