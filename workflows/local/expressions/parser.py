"""Parse an expression into its tree (expr-lang, ``parser/parser.go``)."""

from typing import Final

from klever.workflows.local.expressions.errors import ExpressionError
from klever.workflows.local.expressions.lexer import Kind, Token, tokenise
from klever.workflows.local.expressions.syntax import (
    Array,
    Binary,
    Builtin,
    Call,
    Chain,
    Conditional,
    Let,
    Literal,
    Map,
    Member,
    Name,
    Pair,
    Pointer,
    Predicate,
    Sequence,
    Slice,
    Syntax,
    Unary,
)

_UNARY: Final = {"not": 50, "!": 50, "-": 90, "+": 90}
#: Precedence, and whether equals bind from the right (``parser/operator/operator.go``).
_BINARY: Final = {
    "|": (0, False), "or": (10, False), "||": (10, False), "and": (15, False), "&&": (15, False),
    "==": (20, False), "!=": (20, False), "<": (20, False), ">": (20, False), ">=": (20, False), "<=": (20, False),
    "in": (20, False), "matches": (20, False), "contains": (20, False), "startsWith": (20, False),
    "endsWith": (20, False), "..": (25, False), "+": (30, False), "-": (30, False), "*": (60, False),
    "/": (60, False), "%": (60, False), "**": (100, True), "^": (100, True), "??": (500, False),
}  # fmt: skip
_NEGATED: Final = frozenset({"contains", "matches", "startsWith", "endsWith", "in"})
_COMPARISONS: Final = frozenset({"<", ">", ">=", "<="})

#: The functions that take a predicate: how many arguments they need and may have.
PREDICATES: Final = {
    "all": (2, 2), "none": (2, 2), "any": (2, 2), "one": (2, 2), "filter": (2, 2), "map": (2, 2),
    "count": (1, 2), "sum": (1, 2), "find": (2, 2), "findIndex": (2, 2), "findLast": (2, 2),
    "findLastIndex": (2, 2), "groupBy": (2, 2), "sortBy": (2, 3), "reduce": (2, 3),
}  # fmt: skip

#: Deeper nesting is an attack on the stack, not an expression.
MAX_DEPTH: Final = 100


class Parser:
    """Reads one expression; `builtins` are the names of the language's functions."""

    def __init__(self, source: str, builtins: frozenset[str]) -> None:
        self._source = source
        self._builtins = builtins
        self._tokens = tokenise(source)
        self._at = 0
        self._predicates = 0
        self._depth = 0

    def parse(self) -> Syntax:
        """Return the tree; raises `ExpressionError`."""
        tree = self._sequence()
        if self._now.kind is not Kind.END:
            raise self._unexpected()
        return tree

    # -- tokens

    @property
    def _now(self) -> Token:
        return self._tokens[self._at]

    def _is(self, kind: Kind, *values: str) -> bool:
        return self._now.kind is kind and (not values or self._now.value in values)

    def _next(self) -> Token:
        token = self._now
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _expect(self, kind: Kind, value: str | None = None) -> Token:
        if self._now.kind is not kind or (value is not None and self._now.value != value):
            raise self._unexpected()
        return self._next()

    def _unexpected(self) -> ExpressionError:
        if self._now.kind is Kind.END:
            return self._error("unexpected token EOF")
        return self._error(f"unexpected token {self._now}")

    def _error(self, message: str, token: Token | None = None) -> ExpressionError:
        return ExpressionError(message, source=self._source, position=(token or self._now).position)

    # -- grammar

    def _sequence(self) -> Syntax:
        items = [self._expression(0)]
        while self._is(Kind.OPERATOR, ";"):
            self._next()
            if self._now.kind is Kind.END:
                break
            items.append(self._expression(0))
        return items[0] if len(items) == 1 else Sequence(items[0].position, tuple(items))

    def _expression(self, precedence: int) -> Syntax:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error("the expression is nested too deeply")
        try:
            if precedence == 0 and self._is(Kind.OPERATOR, "let"):
                return self._let()
            if precedence == 0 and self._is(Kind.OPERATOR, "if"):
                return self._if()
            return self._operators(precedence)
        finally:
            self._depth -= 1

    def _operators(self, precedence: int) -> Syntax:
        left = self._primary()
        previous = ""
        while self._now.kind is Kind.OPERATOR:
            token = self._now
            negated = token.value == "not"
            if negated:
                following = self._tokens[self._at + 1]
                if following.value not in _NEGATED:
                    self._next()
                    raise self._unexpected()
                token = following
            if token.value not in _BINARY or _BINARY[token.value][0] < precedence:
                break
            if negated:
                self._next()
            self._next()
            left = self._binary(left, token, previous)
            if negated:
                left = Unary(token.position, "not", left)
            previous = token.value
        if precedence == 0:
            left = self._conditional(left)
        return left

    def _binary(self, left: Syntax, token: Token, previous: str) -> Syntax:
        binding, from_right = _BINARY[token.value]
        if token.value == "|":
            name = self._expect(Kind.IDENTIFIER)
            return self._postfix(self._call(name, [left]))
        if previous == "??" and token.value != "??":
            raise self._error(
                f"Operator ({token.value}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses.",
                token,
            )
        if token.value in _COMPARISONS:
            return self._comparison(left, token, binding)
        right = self._expression(binding if from_right else binding + 1)
        return Binary(token.position, token.value, left, right)

    def _comparison(self, left: Syntax, token: Token, binding: int) -> Syntax:
        whole: Syntax | None = None
        while True:
            right = self._expression(binding + 1)
            part = Binary(token.position, token.value, left, right)
            whole = part if whole is None else Binary(token.position, "&&", whole, part)
            left = right
            if not (self._now.kind is Kind.OPERATOR and self._now.value in _COMPARISONS):
                return whole
            token = self._next()

    def _let(self) -> Syntax:
        self._next()
        name = self._expect(Kind.IDENTIFIER)
        self._expect(Kind.OPERATOR, "=")
        value = self._expression(0)
        self._expect(Kind.OPERATOR, ";")
        return Let(name.position, name.value, value, self._sequence())

    def _if(self) -> Syntax:
        start = self._next()
        condition = self._expression(0)
        then = self._block()
        self._expect(Kind.OPERATOR, "else")
        otherwise = self._if() if self._is(Kind.OPERATOR, "if") else self._block()
        return Conditional(start.position, condition, then, otherwise)

    def _block(self) -> Syntax:
        self._expect(Kind.BRACKET, "{")
        inner = self._sequence()
        self._expect(Kind.BRACKET, "}")
        return inner

    def _conditional(self, condition: Syntax) -> Syntax:
        while self._is(Kind.OPERATOR, "?"):
            start = self._next()
            if self._is(Kind.OPERATOR, ":"):
                self._next()
                condition = Conditional(start.position, condition, condition, self._expression(0))
                continue
            then = self._expression(0)
            self._expect(Kind.OPERATOR, ":")
            condition = Conditional(start.position, condition, then, self._expression(0))
        return condition

    def _primary(self) -> Syntax:
        token = self._now
        if token.kind is Kind.OPERATOR and token.value in _UNARY:
            self._next()
            operand = self._expression(_UNARY[token.value])
            return self._postfix(Unary(token.position, token.value, operand))
        if self._is(Kind.BRACKET, "("):
            self._next()
            inner = self._sequence()
            self._expect(Kind.BRACKET, ")")
            return self._postfix(inner)
        if self._predicates and self._is(Kind.OPERATOR, "#", "."):
            return self._postfix(self._pointer())
        if self._is(Kind.OPERATOR, "::"):
            self._next()
            return self._postfix(self._call(self._expect(Kind.IDENTIFIER), []))
        return self._secondary()

    def _pointer(self) -> Syntax:
        token = self._now
        name = ""
        if token.value == "#":
            self._next()
            if self._now.kind is Kind.IDENTIFIER and self._now.position == token.position + 1:
                name = self._next().value
        return Pointer(token.position, name)

    def _secondary(self) -> Syntax:
        token = self._now
        if token.kind is Kind.IDENTIFIER:
            self._next()
            if token.value in ("true", "false", "nil"):
                return Literal(token.position, {"true": True, "false": False, "nil": None}[token.value])
            if self._is(Kind.BRACKET, "("):
                return self._postfix(self._call(token, []))
            return self._postfix(Name(token.position, token.value))
        if token.kind is Kind.NUMBER:
            self._next()
            return Literal(token.position, self._number(token))
        if token.kind is Kind.STRING:
            self._next()
            return self._postfix(Literal(token.position, token.value))
        if self._is(Kind.BRACKET, "["):
            return self._postfix(self._array())
        if self._is(Kind.BRACKET, "{"):
            return self._postfix(self._map())
        raise self._unexpected()

    def _number(self, token: Token) -> int | float:
        text = token.value.lower()
        try:
            if text.startswith(("0x", "0b", "0o")):
                value = int(text, 0)
            elif any(letter in text for letter in ".e"):
                return float(text)
            else:
                value = int(text)
        except ValueError as error:
            raise self._error(f"invalid integer literal: {token.value}", token) from error
        if value >= 2**63:
            raise self._error("integer literal is too large", token)
        return value

    def _call(self, name: Token, arguments: list[Syntax]) -> Syntax:
        if name.value in PREDICATES:
            return self._predicate_call(name, arguments)
        taken = (*arguments, *self._arguments())
        if name.value in self._builtins:
            return Builtin(name.position, name.value, taken)
        return Call(name.position, Name(name.position, name.value), taken)

    def _predicate_call(self, name: Token, arguments: list[Syntax]) -> Syntax:
        least, most = PREDICATES[name.value]
        self._expect(Kind.BRACKET, "(")
        piped = len(arguments)
        while not self._is(Kind.BRACKET, ")") and len(arguments) < most:
            if len(arguments) > piped:
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, ")"):
                    break
            arguments.append(self._predicate() if len(arguments) == 1 else self._expression(0))
        if len(arguments) < least:
            raise self._error(f"expected at least {least} arguments")
        if self._is(Kind.OPERATOR, ","):
            self._next()
        self._expect(Kind.BRACKET, ")")
        return Builtin(name.position, name.value, tuple(arguments))

    def _predicate(self) -> Syntax:
        start = self._now
        self._predicates += 1
        try:
            body = self._block() if self._is(Kind.BRACKET, "{") else self._expression(0)
        finally:
            self._predicates -= 1
        return Predicate(start.position, body)

    def _arguments(self) -> list[Syntax]:
        self._expect(Kind.BRACKET, "(")
        arguments: list[Syntax] = []
        while not self._is(Kind.BRACKET, ")"):
            if arguments:
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, ")"):
                    break
            arguments.append(self._expression(0))
        self._next()
        return arguments

    def _array(self) -> Syntax:
        start = self._next()
        items: list[Syntax] = []
        while not self._is(Kind.BRACKET, "]"):
            if items:
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, "]"):
                    break
            items.append(self._expression(0))
        self._next()
        return Array(start.position, tuple(items))

    def _map(self) -> Syntax:
        start = self._next()
        pairs: list[Pair] = []
        while not self._is(Kind.BRACKET, "}"):
            if pairs:
                self._expect(Kind.OPERATOR, ",")
                if self._is(Kind.BRACKET, "}"):
                    break
            token = self._now
            key: Syntax
            if token.kind in (Kind.NUMBER, Kind.STRING, Kind.IDENTIFIER):
                key = Literal(token.position, self._next().value)
            elif self._is(Kind.BRACKET, "("):
                key = self._expression(0)
            else:
                raise self._error(
                    "a map key must be a quoted string, a number, a identifier, or an expression enclosed in "
                    f"parentheses (unexpected token {token})"
                )
            self._expect(Kind.OPERATOR, ":")
            pairs.append(Pair(token.position, key, self._expression(0)))
        self._next()
        return Map(start.position, tuple(pairs))

    def _postfix(self, of: Syntax) -> Syntax:
        while self._is(Kind.OPERATOR, ".", "?.") or self._is(Kind.BRACKET, "["):
            optional = self._now.value == "?."
            chained = isinstance(of, Chain)
            inner = of.inner if isinstance(of, Chain) else of
            if self._now.value == "[" or (optional and self._tokens[self._at + 1].value == "["):
                if optional:
                    self._next()
                of = self._index(inner, optional=optional)
            else:
                of = self._property(inner, optional=optional)
            if chained or optional:
                of = Chain(of.position, of)
        return of

    def _property(self, of: Syntax, *, optional: bool) -> Syntax:
        self._next()
        token = self._next()
        word = token.kind is Kind.OPERATOR and token.value.isidentifier()
        if token.kind is not Kind.IDENTIFIER and not word:
            raise self._error("expected name", token)
        member = Member(token.position, of, Literal(token.position, token.value), optional)
        if self._is(Kind.BRACKET, "("):
            return Call(token.position, member, tuple(self._arguments()))
        return member

    def _index(self, of: Syntax, *, optional: bool) -> Syntax:
        bracket = self._next()
        start: Syntax | None = None
        if not self._is(Kind.OPERATOR, ":"):
            start = self._expression(0)
            if not self._is(Kind.OPERATOR, ":"):
                self._expect(Kind.BRACKET, "]")
                return Member(bracket.position, of, start, optional)
        self._next()
        end = None if self._is(Kind.BRACKET, "]") else self._expression(0)
        self._expect(Kind.BRACKET, "]")
        return Slice(bracket.position, of, start, end)
