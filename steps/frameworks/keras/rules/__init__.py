"""How each layer of Keras changes shape and type: families of rules, each imported when a layer may be of it.

Operations have theirs in `operations`.
"""

from importlib import import_module
from typing import Final

from klever.steps.frameworks.keras.rules.rule import Rule

#: The modules whose ``RULES`` are searched, those of the most frequent layers first; no class is in two of them.
FAMILIES: Final = ("core", "convolution", "reshaping", "merging", "recurrent", "attention", "preprocessing")


def rule_for_layer(class_name: str) -> Rule | None:
    """Return the rule of a layer's class, None where it is not known."""
    for family in FAMILIES:
        rules: dict[str, Rule] = import_module(f"{__name__}.{family}").RULES
        if rule := rules.get(class_name):
            return rule
    return None
