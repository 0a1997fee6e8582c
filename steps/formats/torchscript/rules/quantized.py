"""Operators to and from quantised tensors, and those of ``ops.quantized`` on them.

Quantised types have no name in numpy: a tensor of one has no known type. What does not belong here: the operators of
the same names on other tensors.
"""

from typing import Final

from klever.steps.formats.torchscript.rules.arrangement import concatenate
from klever.steps.formats.torchscript.rules.conversion import retyped
from klever.steps.formats.torchscript.rules.elementwise import broadcast, first_like
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, ranked, tensor


def _quantised(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    source.demand(None, "float32")
    return Known(None, source.shape)


def _packed_linear(dtype: str | None) -> Rule:
    """Apply a linear layer to a weight that is packed together with its bias."""

    def rule(values: Arguments, _: Keywords) -> Known:
        source, weight = tensor(values[0]), ranked(values[1])
        if len(weight) != 2:
            raise TypeError
        source.demand(None, dtype, last=weight[1])
        if source.shape is None:
            return Known(dtype, None, weight[0])
        return Known(dtype, (*source.shape[:-1], weight[0]))

    return rule


def _packed_conv(values: Arguments, _: Keywords) -> Known:
    """Apply a convolution whose settings are packed with its weight, of which only the shape is known."""
    source, weight = tensor(values[0]), ranked(values[1])
    source.demand((-1,) * len(weight))
    return Known(None, (ranked(source)[0], weight[0], *(-1,) * (len(weight) - 2)))


RULES: Final[dict[str, Rule]] = {
    "quantize_per_tensor": _quantised,
    "dequantize": retyped("float32"),
}

#: Operators of ``ops.quantized``.
QUANTISED: Final[dict[str, Rule]] = {
    **dict.fromkeys(("linear_dynamic", "linear_relu_dynamic", "linear_dynamic_fp16"), _packed_linear("float32")),
    **dict.fromkeys(("linear", "linear_relu"), _packed_linear(None)),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv1d_relu", "conv2d_relu", "conv3d_relu"), _packed_conv),
    **dict.fromkeys(("add", "mul", "add_relu"), lambda v, k: broadcast(v[:2], k)),
    **dict.fromkeys(("add_scalar", "mul_scalar", "batch_norm2d", "hardswish", "leaky_relu", "sigmoid"), first_like),
    "cat": concatenate,
}
