"""What ONNX is written for each of MXNet's operators, a module for each family, found by canonical names.

A family's module exports ``RULES``: the name that `klever.steps.formats.mxnetparams.rules.canonical` gives (no case, no
underscores, no ``_contrib_`` and the like) to a `Rule`; how to write one stands in
`klever.steps.converters.mxnetparams_to_onnx.call`. The definitions are those of MXNet 1.9's ``src/operator``, defaults
of attributes included. What does not belong here: the order in which nodes are converted.
"""

from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Rule
from klever.steps.converters.mxnetparams_to_onnx.rules import (
    activation,
    arithmetic,
    arrangement,
    attention,
    control,
    convolution,
    creation,
    dense,
    detection,
    elementwise,
    fused,
    images,
    indexing,
    joining,
    linalg,
    normalization,
    pooling,
    random,
    reduction,
    regions,
    rnn,
    sampling,
    sequences,
    softmax,
    windows,
)

RULES: Final[dict[str, Rule]] = {
    **elementwise.RULES,
    **arithmetic.RULES,
    **reduction.RULES,
    **arrangement.RULES,
    **joining.RULES,
    **creation.RULES,
    **convolution.RULES,
    **pooling.RULES,
    **normalization.RULES,
    **activation.RULES,
    **softmax.RULES,
    **dense.RULES,
    **indexing.RULES,
    **rnn.RULES,
    **sequences.RULES,
    **control.RULES,
    **detection.RULES,
    **regions.RULES,
    **sampling.RULES,
    **images.RULES,
    **attention.RULES,
    **windows.RULES,
    **fused.RULES,
    **random.RULES,
    **linalg.RULES,
}
