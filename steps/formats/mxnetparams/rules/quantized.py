"""Quantised operators: those of `layers` and others, with the ranges of their operands behind them.

What does not belong here: quantised types, see `dtypes`.
"""

from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.formats.mxnetparams.rules import arrangement, elementwise, layers


def _ranged(rule: Rule) -> Rule:
    """Apply a rule to the first output, and give the two limits of its range."""

    def apply(call: Call) -> None:
        for index in (1, 2):
            call.give((1,), index)
        rule(call)

    return apply


def _data_only(rule: Rule, operands: int) -> Rule:
    """Apply a rule to the operands without the limits that follow them."""

    def apply(call: Call) -> None:
        inner = Call(call.attributes, call.inputs[:operands], dict(call.outputs), call.scalars, call.assume)
        rule(inner)
        for index, shape in enumerate(inner.inputs):
            call.expect(index, shape)
        call.give(inner.output())

    return apply


def _concatenate(call: Call) -> None:
    _data_only(arrangement.RULES["concat"], max(call.integer("num_args", 1), 1))(call)


_SAME: Final = elementwise.RULES["copy"]

RULES: Final[dict[str, Rule]] = {
    "quantize": _ranged(_SAME),
    "quantizev2": _ranged(_SAME),
    "requantize": _ranged(_SAME),
    "dequantize": _SAME,
    "quantizedact": _ranged(_SAME),
    "quantizedbatchnorm": _ranged(_SAME),
    "quantizedflatten": _ranged(_data_only(arrangement.RULES["flatten"], 1)),
    "quantizedpooling": _ranged(_data_only(layers.RULES["pooling"], 1)),
    "quantizedconv": _ranged(_data_only(layers.RULES["convolution"], 3)),
    "quantizedfullyconnected": _ranged(_data_only(layers.RULES["fullyconnected"], 3)),
    "quantizedembedding": _ranged(_data_only(layers.RULES["embedding"], 2)),
    "quantizedelemwiseadd": _ranged(_data_only(elementwise.RULES["elemwiseadd"], 2)),
    "quantizedelemwisemul": _ranged(_data_only(elementwise.RULES["elemwisemul"], 2)),
    "quantizedconcat": _ranged(_concatenate),
}
