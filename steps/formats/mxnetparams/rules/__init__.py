"""Shape rules of MXNet's operators, a module for each family, found by `canonical` operator names.

The rules are those of the ``InferShape`` functions in MXNet 1.9's ``src/operator``, made to work with ranks and sizes
that are not known. A family's module exports ``RULES``, canonical name to rule. What does not belong here: the order in
which rules are applied.
"""

from functools import lru_cache
from typing import Final

from klever.steps.formats.mxnetparams.call import Rule
from klever.steps.formats.mxnetparams.rules import (
    arrangement,
    creation,
    detection,
    elementwise,
    indexing,
    layers,
    quantized,
    recurrent,
    reduction,
)

#: Names that differ from another operator's in nothing but case or prefix.
_DISTINCT: Final = {
    "Softmax": "softmaxoutput",
    "Crop": "cropto",
    "crop": "slice",
    "_npi_split": "arraysplit",
    "_npi_stack": "stack",
    "_np_reshape": "numpyreshape",
    "_npi_reshape": "numpyreshape",
    "_npx_reshape": "extendedreshape",
    "_np_dot": "numpydot",
    "_np_repeat": "repeat",
    "_npi_where": "numpywhere",
    "_np_squeeze": "squeeze",
    "_npx_dropout": "dropout",
    "_np_max": "max",
    "_np_min": "min",
}
_PREFIXES: Final = ("_sparse_", "_npi_", "_npx_", "_np_", "_contrib_")


@lru_cache(maxsize=1024)
def canonical(operator: str) -> str:
    """Return the name without case, underscores and namespace: writers since 0.7 have spelled many in several ways."""
    if operator in _DISTINCT:
        return _DISTINCT[operator]
    for prefix in _PREFIXES:
        operator = operator.removeprefix(prefix)
    name = operator.replace("_", "").lower()
    return name.removesuffix("v1")


RULES: Final[dict[str, Rule]] = {
    **elementwise.RULES,
    **layers.RULES,
    **arrangement.RULES,
    **reduction.RULES,
    **indexing.RULES,
    **creation.RULES,
    **recurrent.RULES,
    **detection.RULES,
    **quantized.RULES,
}
