"""The syntax tree of an expression (expr-lang, ``ast/node.go``). Data only."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Syntax:
    """A node, and where it begins in the source."""

    position: int

    def walk(self) -> Iterator["Syntax"]:
        """Yield all nodes below this one, then this one, as expr-lang walks them."""
        for field in fields(self):
            value = getattr(self, field.name)
            for item in value if isinstance(value, tuple) else (value,):
                if isinstance(item, Syntax):
                    yield from item.walk()
        yield self


@dataclass(frozen=True)
class Literal(Syntax):
    """nil, true, 1, 1.5 or "text"."""

    value: Any


@dataclass(frozen=True)
class Name(Syntax):
    """A variable."""

    name: str


@dataclass(frozen=True)
class Pointer(Syntax):
    """``#``, or ``#name``, in a predicate."""

    name: str


@dataclass(frozen=True)
class Unary(Syntax):
    """``!x``, ``-x``, ``+x``."""

    operator: str
    operand: Syntax


@dataclass(frozen=True)
class Binary(Syntax):
    """Two operands."""

    operator: str
    left: Syntax
    right: Syntax


@dataclass(frozen=True)
class Member(Syntax):
    """``x.name``, ``x["name"]``, ``x[0]``; optional is ``x?.name``."""

    of: Syntax
    key: Syntax
    optional: bool


@dataclass(frozen=True)
class Chain(Syntax):
    """What an optional member ends: nil from inside is nil here."""

    inner: Syntax


@dataclass(frozen=True)
class Slice(Syntax):
    """``x[a:b]``."""

    of: Syntax
    start: Syntax | None
    end: Syntax | None


@dataclass(frozen=True)
class Call(Syntax):
    """A call of a function that the environment holds."""

    callee: Syntax
    arguments: tuple[Syntax, ...]


@dataclass(frozen=True)
class Builtin(Syntax):
    """A call of a function of the language."""

    name: str
    arguments: tuple[Syntax, ...]


@dataclass(frozen=True)
class Predicate(Syntax):
    """``{# > 1}``, which is evaluated for each element."""

    body: Syntax


@dataclass(frozen=True)
class Conditional(Syntax):
    """``a ? b : c`` and ``if a { b } else { c }``."""

    condition: Syntax
    then: Syntax
    otherwise: Syntax


@dataclass(frozen=True)
class Let(Syntax):
    """``let name = value; body``."""

    name: str
    value: Syntax
    body: Syntax


@dataclass(frozen=True)
class Sequence(Syntax):
    """``a; b``: the value is the last one's."""

    items: tuple[Syntax, ...]


@dataclass(frozen=True)
class Array(Syntax):
    """``[a, b]``."""

    items: tuple[Syntax, ...]


@dataclass(frozen=True)
class Pair(Syntax):
    """``key: value``."""

    key: Syntax
    value: Syntax


@dataclass(frozen=True)
class Map(Syntax):
    """``{a: 1}``."""

    pairs: tuple[Pair, ...]
