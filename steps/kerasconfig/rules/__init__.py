"""How each layer of Keras changes shape and type: one table for all. Operations have theirs in `operations`."""

from klever.steps.kerasconfig.rules import (
    attention,
    convolution,
    core,
    merging,
    preprocessing,
    recurrent,
    reshaping,
)
from klever.steps.kerasconfig.rules.rule import Rule

LAYERS: dict[str, Rule] = {
    **core.RULES,
    **convolution.RULES,
    **reshaping.RULES,
    **recurrent.RULES,
    **attention.RULES,
    **merging.RULES,
    **preprocessing.RULES,
}

__all__ = ["LAYERS", "Rule"]
