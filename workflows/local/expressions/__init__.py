"""Expressions as Argo writes them (``{{=...}}``, ``retryStrategy.expression``, ``depends``): the language of expr-lang.

    compiled = parse("asInt(inputs.parameters.count) > 2")
    compiled.evaluate(environment({"inputs.parameters.count": "3"}))     # True

Covered are the operators, literals, predicates and builtin functions of expr-lang 1.17, and the functions that Argo
adds. What does not belong here: where a variable's value comes from, and govaluate, the language of ``when``.
"""

from klever.workflows.local.expressions.environment import environment
from klever.workflows.local.expressions.errors import ExpressionError
from klever.workflows.local.expressions.expression import Expression, parse

__all__ = ["Expression", "ExpressionError", "environment", "parse"]
