"""Evaluate the tree of an expression (expr-lang, ``checker``, ``compiler`` and ``vm``).

Two kinds of mistake differ in expr-lang: those it sees before it runs (a name that is not in the environment, a text
compared with a number), and those that it meets. Both are `ExpressionError`. What does not belong here: the functions.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from klever.workflows.local.expressions.builtin import BUILTINS, PREDICATE_BUILTINS
from klever.workflows.local.expressions.errors import ExpressionError
from klever.workflows.local.expressions.jsonpath import query
from klever.workflows.local.expressions.sprig import SPRIG
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
    Pointer,
    Predicate,
    Sequence,
    Slice,
    Syntax,
    Unary,
)
from klever.workflows.local.gotext import dump_json

#: Elements and letters that one evaluation may make; expr-lang's budget is a million (``conf.DefaultMemoryBudget``).
MAX_MADE: Final = 10_000_000

_FUNCTIONS: Final[dict[str, Any]] = {
    "asInt": BUILTINS["int"],
    "asFloat": BUILTINS["float"],
    "jsonpath": query,
    "toJson": dump_json,
    "sprig": SPRIG,
}
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


class _Absent(Exception):  # noqa: N818 - leaves a chain, is no error
    """The left side of ``?.`` is nil."""


def type_name(value: Any) -> str:
    """Return the Go type that expr-lang would name in a message."""
    match value:
        case None:
            return "nil"
        case bool():
            return "bool"
        case int():
            return "int"
        case float():
            return "float64"
        case str():
            return "string"
        case list() | tuple():
            return "[]interface {}"
        case Mapping():
            return "map[string]interface {}"
    return "func"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def equal(left: Any, right: Any) -> bool:
    """Compare as expr-lang does: numbers by value, others only with their own type."""
    if _is_number(left) and _is_number(right):
        return bool(left == right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return type(left) is type(right) and bool(left == right)


class Evaluation:
    """One run of one expression."""

    def __init__(self, source: str, environment: Mapping[str, Any]) -> None:
        self._source = source
        self._environment = {**environment, **_FUNCTIONS}
        self._scopes: list[dict[str, Any]] = []
        self._made = 0

    def run(self, tree: Syntax) -> Any:
        """Check, then evaluate."""
        self._check(tree, frozenset())
        try:
            return self._value(tree)
        except ExpressionError:
            raise
        except (TypeError, ValueError, ArithmeticError, LookupError, re.error, RecursionError) as error:
            raise ExpressionError(str(error) or type(error).__name__, source=self._source) from error

    def _error(self, node: Syntax, message: str) -> ExpressionError:
        return ExpressionError(message, source=self._source, position=node.position)

    # -- what expr-lang finds out before it runs

    def _check(self, node: Syntax, local: frozenset[str]) -> None:
        match node:
            case Name(name=name):
                if name not in self._environment and name not in local and name != "$env":
                    raise self._error(node, f"unknown name {name}")
                return
            case Let(name=name, value=value, body=body):
                self._check(value, local)
                self._check(body, local | {name})
                return
            case Binary(operator=symbol, left=left, right=right):
                self._check(left, local)
                self._check(right, local)
                self._check_types(node, symbol, self._known_type(left, local), self._known_type(right, local))
                return
            case _:
                for child in _children(node):
                    self._check(child, local)

    def _check_types(self, node: Syntax, symbol: str, left: str | None, right: str | None) -> None:
        if left is None or right is None or "nil" in (left, right):
            return
        numbers = {"int", "float64"}
        alike = left == right or {left, right} <= numbers
        both_numbers = {left, right} <= numbers
        fine = {
            "==": alike, "!=": alike,
            "<": both_numbers or left == right == "string", "<=": both_numbers or left == right == "string",
            ">": both_numbers or left == right == "string", ">=": both_numbers or left == right == "string",
            "+": both_numbers or left == right == "string",
            "-": both_numbers, "*": both_numbers, "/": both_numbers, "**": both_numbers, "^": both_numbers,
            "%": left == right == "int", "..": left == right == "int",
            "&&": left == right == "bool", "and": left == right == "bool",
            "||": left == right == "bool", "or": left == right == "bool",
            "contains": left == right == "string", "matches": left == right == "string",
            "startsWith": left == right == "string", "endsWith": left == right == "string",
        }.get(symbol, True)  # fmt: skip
        if not fine:
            raise self._error(node, f"invalid operation: {symbol} (mismatched types {left} and {right})")

    def _known_type(self, node: Syntax, local: frozenset[str]) -> str | None:
        """Return the type that is known without running: literals, and variables of the first level."""
        match node:
            case Literal(value=value):
                return type_name(value)
            case Name(name=name) if name not in local:
                value = self._environment.get(name)
                return type_name(value) if isinstance(value, str | int | float) else None
            case Binary(operator=symbol):
                logical = {"==", "!=", "<", ">", "<=", ">=", "&&", "||", "and", "or", "in", "contains", "matches"}
                return "bool" if symbol in logical else None
        return None

    # -- values

    def _value(self, node: Syntax) -> Any:  # noqa: C901 - one case a kind of node
        match node:
            case Literal(value=value):
                return value
            case Name(name=name):
                return self._variable(name)
            case Pointer(name=name):
                return self._pointer(node, name)
            case Unary():
                return self._unary(node)
            case Binary():
                return self._binary(node)
            case Member():
                return self._member(node)
            case Chain(inner=inner):
                try:
                    return self._value(inner)
                except _Absent:
                    return None
            case Slice():
                return self._slice(node)
            case Call():
                return self._call(node)
            case Builtin():
                return self._builtin(node)
            case Conditional(condition=condition, then=then, otherwise=otherwise):
                return self._value(then if self._truth(condition) else otherwise)
            case Let(name=name, value=value, body=body):
                return self._within({name: self._value(value)}, body)
            case Sequence(items=items):
                return [self._value(item) for item in items][-1]
            case Array(items=items):
                return [self._value(item) for item in items]
            case Map(pairs=pairs):
                return {self._key(pair.key): self._value(pair.value) for pair in pairs}
        raise self._error(node, "unexpected node")

    def _variable(self, name: str) -> Any:
        for scope in reversed(self._scopes):
            if name in scope:
                return scope[name]
        return self._environment if name == "$env" else self._environment[name]

    def _within(self, scope: dict[str, Any], body: Syntax) -> Any:
        self._scopes.append(scope)
        try:
            return self._value(body)
        finally:
            self._scopes.pop()

    def _pointer(self, node: Syntax, name: str) -> Any:
        for scope in reversed(self._scopes):
            if f"#{name}" in scope:
                return scope[f"#{name}"]
        raise self._error(node, f"unknown pointer #{name}")

    def _truth(self, node: Syntax) -> bool:
        value = self._value(node)
        if not isinstance(value, bool):
            raise self._error(node, f"interface conversion: interface {{}} is {type_name(value)}, not bool")
        return value

    def _key(self, node: Syntax) -> str:
        value = self._value(node)
        if not isinstance(value, str):
            raise self._error(node, f"a map key must be a string, got {type_name(value)}")
        return value

    def _unary(self, node: Unary) -> Any:
        if node.operator in ("!", "not"):
            return not self._truth(node.operand)
        value = self._value(node.operand)
        if not _is_number(value):
            raise self._error(node, f"invalid operation: {node.operator} {type_name(value)}")
        return -value if node.operator == "-" else value

    def _binary(self, node: Binary) -> Any:
        symbol = node.operator
        if symbol in ("&&", "and"):
            return self._truth(node.left) and self._truth(node.right)
        if symbol in ("||", "or"):
            return self._truth(node.left) or self._truth(node.right)
        if symbol == "??":
            left = self._coalesced(node.left)
            return self._value(node.right) if left is None else left
        left, right = self._value(node.left), self._value(node.right)
        if symbol == "==":
            return equal(left, right)
        if symbol == "!=":
            return not equal(left, right)
        if symbol == "in":
            return self._contains(node, left, right)
        if symbol in ("contains", "startsWith", "endsWith", "matches"):
            return self._text_operator(node, left, right)
        return self._arithmetic(node, left, right)

    def _coalesced(self, node: Syntax) -> Any:
        try:
            return self._value(node)
        except _Absent:
            return None

    def _contains(self, node: Syntax, item: Any, container: Any) -> bool:
        if container is None:
            return False
        if isinstance(container, Mapping):
            return item in container
        if isinstance(container, list | tuple):
            return any(equal(item, other) for other in container)
        raise self._error(node, f'operator "in" not defined on {type_name(container)}')

    def _text_operator(self, node: Binary, left: Any, right: Any) -> bool:
        if left is None or right is None:
            return False
        if not (isinstance(left, str) and isinstance(right, str)):
            raise self._invalid(node, left, right)
        match node.operator:
            case "contains":
                return right in left
            case "startsWith":
                return left.startswith(right)
            case "endsWith":
                return left.endswith(right)
        return re.search(right, left) is not None

    def _invalid(self, node: Binary, left: Any, right: Any) -> ExpressionError:
        return self._error(node, f"invalid operation: {type_name(left)} {node.operator} {type_name(right)}")

    def _arithmetic(self, node: Binary, left: Any, right: Any) -> Any:
        symbol = node.operator
        texts = isinstance(left, str) and isinstance(right, str)
        if symbol in _ORDER and (texts or (_is_number(left) and _is_number(right))):
            return _ORDER[symbol](left, right)
        if symbol == "+" and texts:
            return left + right
        if not (_is_number(left) and _is_number(right)):
            raise self._invalid(node, left, right)
        match symbol:
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "/":
                return _divide(float(left), float(right))
            case "**" | "^":
                return math.pow(left, right)
        if not (isinstance(left, int) and isinstance(right, int)):
            raise self._invalid(node, left, right)
        if symbol == "%":
            if right == 0:
                raise self._error(node, "integer divide by zero")
            return int(math.fmod(left, right))
        self._account(node, right - left + 1)
        return list(range(left, right + 1))

    def _account(self, node: Syntax, count: int) -> None:
        """Count what is made in all, so that loops in loops end too."""
        self._made += max(count, 0)
        if self._made > MAX_MADE:
            raise self._error(node, "memory budget exceeded")

    def _member(self, node: Member) -> Any:
        of = self._value(node.of)
        if of is None and node.optional:
            raise _Absent
        key = self._value(node.key)
        if isinstance(of, Mapping):
            return of.get(key)
        if isinstance(of, list | tuple | str):
            index = BUILTINS["int"](key)
            position = len(of) + index if index < 0 else index
            if not 0 <= position < len(of):
                raise self._error(node, f"index out of range: {index} (array length is {len(of)})")
            return of[position]
        raise self._error(node, f"cannot fetch {key} from {'<nil>' if of is None else type_name(of)}")

    def _slice(self, node: Slice) -> Any:
        of = self._value(node.of)
        if not isinstance(of, list | tuple | str):
            raise self._error(node, f"cannot slice {type_name(of)}")
        start = 0 if node.start is None else int(self._value(node.start))
        end = len(of) if node.end is None else int(self._value(node.end))
        start = max(len(of) + start, 0) if start < 0 else start
        end = min(max(len(of) + end, 0) if end < 0 else end, len(of))
        return of[min(start, end) : end]

    def _call(self, node: Call) -> Any:
        function = self._value(node.callee)
        if not callable(function):
            name = node.callee.name if isinstance(node.callee, Name) else "it"
            raise self._error(node, f"{name} is not callable")
        arguments = [self._value(argument) for argument in node.arguments]
        return self._apply(node, function, arguments)

    def _builtin(self, node: Builtin) -> Any:
        if node.name in PREDICATE_BUILTINS:
            values = [
                self._closure(argument) if isinstance(argument, Predicate) else self._value(argument)
                for argument in node.arguments
            ]
            return self._apply(node, PREDICATE_BUILTINS[node.name], values)
        return self._apply(node, BUILTINS[node.name], [self._value(argument) for argument in node.arguments])

    def _closure(self, predicate: Predicate) -> Callable[..., Any]:
        def call(element: Any, index: int = 0, accumulator: Any = None) -> Any:
            return self._within({"#": element, "#index": index, "#acc": accumulator}, predicate.body)

        return call

    def _apply(self, node: Syntax, function: Callable[..., Any], arguments: list[Any]) -> Any:
        try:
            result = function(*arguments)
            if isinstance(result, str | list):
                self._account(node, len(result))
            return result
        except ExpressionError as error:
            if error.has_place:
                # It happened in a predicate that the function was given.
                raise
            raise self._error(node, error.message) from error
        except (TypeError, ValueError, AttributeError, ArithmeticError, LookupError, re.error) as error:
            raise self._error(node, str(error)) from error


def _divide(left: float, right: float) -> float:
    if right == 0:
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, left)
    return left / right


def _children(node: Syntax) -> list[Syntax]:
    found: list[Syntax] = []
    for value in vars(node).values():
        found += [item for item in (value if isinstance(value, tuple) else (value,)) if isinstance(item, Syntax)]
    return found
