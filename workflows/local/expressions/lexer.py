"""Cut an expression into tokens (expr-lang, ``parser/lexer/state.go``)."""

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from klever.workflows.local.expressions.errors import ExpressionError


class Kind(Enum):
    """What a token is."""

    IDENTIFIER = "Identifier"
    NUMBER = "Number"
    STRING = "String"
    OPERATOR = "Operator"
    BRACKET = "Bracket"
    END = "EOF"


@dataclass(frozen=True)
class Token:
    """A token, and where it begins."""

    kind: Kind
    value: str
    position: int

    def __str__(self) -> str:
        return self.kind.value if self.kind is Kind.END else f"{self.kind.value}({json.dumps(self.value)})"


#: An expression longer than this is not written by a person; Argo has no limit, but its evaluation costs memory.
MAX_LETTERS: Final = 100_000
_WORDS: Final = frozenset(
    {"in", "or", "and", "not", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"}
)
_PATTERN: Final = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*|/\*(?s:.*?)\*/)
    |(?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+
      |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9_]+)?)
    |(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:``|[^`])*`)
    |(?P<word>[\w$]+)
    |(?P<bracket>[()\[\]{}])
    |(?P<operator>\?\?|\?\.|\|\||::|&&|==|!=|>=|<=|\*\*|\.\.|[-+*/%^<>!?:,;|=.\#])
    """,
    re.VERBOSE,
)
_ESCAPES: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def tokenise(source: str) -> list[Token]:
    """Return the tokens of ``source``, the last of kind ``END``; raises `ExpressionError`."""
    if len(source) > MAX_LETTERS:
        raise ExpressionError(f"the expression has {len(source)} letters, more than {MAX_LETTERS}")
    tokens = []
    position = 0
    while position < len(source):
        match = _PATTERN.match(source, position)
        if match is None:
            raise ExpressionError(
                f"unrecognized character: U+{ord(source[position]):04X} {source[position]!r}",
                source=source,
                position=position,
            )
        text = match.group()
        token = _token(match.lastgroup or "", text, position, source)
        if token is not None:
            tokens.append(token)
        position = match.end()
    # expr-lang points at the last letter, not behind it.
    tokens.append(Token(Kind.END, "", max(len(source) - 1, 0)))
    return tokens


def _token(group: str, text: str, position: int, source: str) -> Token | None:
    match group:
        case "number":
            return Token(Kind.NUMBER, text.replace("_", ""), position)
        case "string":
            return Token(Kind.STRING, _unquote(text, source, position), position)
        case "word":
            if text[0].isdigit():
                raise ExpressionError(f'bad number syntax: "{text}"', source=source, position=position)
            return Token(Kind.OPERATOR if text in _WORDS else Kind.IDENTIFIER, text, position)
        case "bracket":
            return Token(Kind.BRACKET, text, position)
        case "operator":
            return Token(Kind.OPERATOR, text, position)
    return None


def _unquote(text: str, source: str, position: int) -> str:
    if text[0] == "`":
        return text[1:-1].replace("``", "`")

    def replace(match: re.Match[str]) -> str:
        escape = match.group(1)
        if escape[0] in "xuU" and len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape[0] in "01234567":
            return chr(int(escape, 8))
        if escape in _ESCAPES:
            return _ESCAPES[escape]
        if escape in "\\'\"`":
            return escape
        raise ExpressionError("unable to unescape string, invalid escape", source=source, position=position)

    return re.sub(
        r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", replace, text[1:-1], flags=re.DOTALL
    )
