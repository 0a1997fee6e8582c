"""Modules of ``torch.nn.modules`` that are known by their class, whatever their code says.

What does not belong here: operators; when a class is asked rather than the code (`flow`).
"""

from typing import Final

from klever.steps.formats.torchscript.rules.elementwise import first_like, same
from klever.steps.formats.torchscript.rules.layers import embedding, linear
from klever.steps.formats.torchscript.rules.windows import transposed_of_weight
from klever.steps.formats.torchscript.values import UNKNOWN, Arguments, Keywords, Known, Rule


def _target_like(values: Arguments, _: Keywords) -> Known:
    return first_like(values[1:], {})


#: Modules whose code is long and whose result is shaped like one of their inputs.
BLOCKS: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        ("TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer"), first_like
    ),
    "Transformer": _target_like,
    "MultiheadAttention": lambda v, k: (first_like(v, k), UNKNOWN),
}

_KEEPING: Final = """
    ReLU ReLU6 Sigmoid Tanh GELU SiLU SELU CELU ELU LeakyReLU Hardswish Hardsigmoid Hardtanh Mish Softplus Softmax
    LogSoftmax Dropout Dropout2d Dropout3d AlphaDropout Identity BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm
    GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d LocalResponseNorm PReLU
"""
#: Modules with one input; their weight and bias come as keywords.
CLASSES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_KEEPING.split(), same),
    "ConvTranspose1d": lambda v, k: transposed_of_weight(v, k, 1),
    "ConvTranspose2d": lambda v, k: transposed_of_weight(v, k, 2),
    "ConvTranspose3d": lambda v, k: transposed_of_weight(v, k, 3),
    "Linear": lambda values, keywords: linear([values[0], keywords["weight"]], {}),
    "Embedding": lambda values, keywords: embedding([keywords["weight"], values[0]], {}),
}
