"""An expression that has been read: what it names, and its value in an environment.

What does not belong here: how it is read, and the functions.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from klever.workflows.local.expressions.builtin import BUILTINS
from klever.workflows.local.expressions.errors import ExpressionError
from klever.workflows.local.expressions.evaluate import Evaluation
from klever.workflows.local.expressions.parser import PREDICATES, Parser
from klever.workflows.local.expressions.sprig import SPRIG
from klever.workflows.local.expressions.syntax import (
    Binary,
    Builtin,
    Call,
    Chain,
    Let,
    Literal,
    Member,
    Name,
    Syntax,
)

#: What Argo adds to the environment (``util/expr/env``), beside ``sprig``.
ARGO_FUNCTIONS = frozenset({"asInt", "asFloat", "jsonpath", "toJson"})


class Expression:
    """An expression and its tree."""

    def __init__(self, source: str, tree: Syntax) -> None:
        self.source = source
        self.tree = tree

    def evaluate(self, environment: Mapping[str, Any]) -> Any:
        """Return the value; raises `ExpressionError`. ``environment`` is nested, without Argo's functions."""
        return Evaluation(self.source, environment).run(self.tree)

    def evaluate_bool(self, environment: Mapping[str, Any]) -> bool:
        """Return the value, which has to be true or false (Argo's ``argoexpr.EvalBool``)."""
        value = self.evaluate(environment)
        if not isinstance(value, bool):
            raise ExpressionError(f"unable to cast expression result '{value}' to bool")
        return value

    def identifiers(self) -> list[str]:
        """Return the names and dotted members that it cannot do without (Argo's ``getIdentifiers``)."""
        guarded = _guarded(self.tree)
        found: dict[str, None] = {}
        for node in self.tree.walk():
            if id(node) in guarded:
                continue
            if isinstance(node, Name):
                found[node.name] = None
            elif isinstance(node, Member) and (path := _path(node)):
                found[path] = None
        return list(found)

    def unknown_functions(self) -> Iterator[str]:
        """Yield the names of called functions that are not ours."""
        local = {node.name for node in self.tree.walk() if isinstance(node, Let)}
        for node in self.tree.walk():
            if isinstance(node, Builtin) and node.name not in BUILTINS and node.name not in PREDICATES:
                yield node.name
            elif isinstance(node, Call):
                name = _callee(node.callee)
                known = name in ARGO_FUNCTIONS or name in local or name.removeprefix("sprig.") in SPRIG
                if name and (not known or (name in SPRIG and name not in ARGO_FUNCTIONS)):
                    yield name


@lru_cache(maxsize=1024)
def parse(source: str) -> Expression:
    """Read an expression; raises `ExpressionError`."""
    return Expression(source, Parser(source, frozenset(BUILTINS)).parse())


def _callee(node: Syntax) -> str:
    if isinstance(node, Name):
        return node.name
    return (_path(node) or "a method") if isinstance(node, Member) else ""


def _path(node: Member) -> str:
    parts: list[str] = []
    current: Syntax = node
    while isinstance(current, Member):
        if current.optional or not (isinstance(current.key, Literal) and isinstance(current.key.value, str)):
            return ""
        parts.append(current.key.value)
        current = current.of
    return ".".join([current.name, *reversed(parts)]) if isinstance(current, Name) else ""


def _guarded(tree: Syntax) -> set[int]:
    """Return the members whose absence ``??`` or ``?.`` answers."""
    guarded: set[int] = set()
    for node in tree.walk():
        if isinstance(node, Binary) and node.operator == "??":
            guarded.update(id(inner) for inner in node.left.walk() if isinstance(inner, Member))
        elif isinstance(node, Member) and node.optional:
            inner = node.of.inner if isinstance(node.of, Chain) else node.of
            if isinstance(inner, Member):
                guarded.add(id(inner))
    return guarded
