"""Operators of PyTorch: the sizes that they demand of their operands, and the sizes of what they return.

A rule takes an operator's positional arguments as `flow` evaluated them, and its keyword arguments. What a rule
does not know it leaves `UNKNOWN`; operators without a rule return that. A family's module exports ``RULES``, name to
rule. Source: ``native_functions.yaml`` of PyTorch. What does not belong here: code, modules' state.
"""

from typing import Any, Final

from klever.steps.formats.torchscript.plain import OTHER, PLAIN, is_plain
from klever.steps.formats.torchscript.rules import (
    algebra,
    arrangement,
    conversion,
    creation,
    elementwise,
    functional,
    indexing,
    layers,
    quantized,
    recurrent,
    reduction,
    resizing,
    windows,
)
from klever.steps.formats.torchscript.values import Arguments, Keywords, Rule, call_rule

_RULES: Final[dict[str, Rule]] = {
    **OTHER,
    **elementwise.RULES,
    **conversion.RULES,
    **layers.RULES,
    **windows.RULES,
    **recurrent.RULES,
    **algebra.RULES,
    **arrangement.RULES,
    **reduction.RULES,
    **indexing.RULES,
    **creation.RULES,
    **resizing.RULES,
    **quantized.RULES,
}

#: Functions of ``torch.nn.functional``; where one has no rule its own code is followed.
FUNCTIONS: Final[dict[str, Rule]] = {
    **{name: rule for name, rule in _RULES.items() if name != "max_pool1d"},
    **functional.RULES,
}


def call_operator(name: str, values: Arguments, keywords: Keywords) -> Any:
    """Apply the operator of that name to plain values or tensors."""
    owner, _, name = name.rpartition(".")
    if owner == "ops.quantized":
        return call_rule(quantized.QUANTISED, name, values, keywords)
    if name in PLAIN and values and all(map(is_plain, values)):
        return call_rule(PLAIN, name, values, keywords)
    return call_rule(_RULES, name, values, keywords)
