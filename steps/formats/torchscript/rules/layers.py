"""Layers with weights of their own or a behaviour in training: linear, embedding, attention, normalisation, dropout.

What does not belong here: convolutions (`windows`), recurrent layers (`recurrent`), activations (`elementwise`).
"""

from typing import Any, Final

from klever.steps.formats.torchscript.rules.elementwise import first_like, same
from klever.steps.formats.torchscript.values import UNKNOWN, Arguments, Keywords, Known, Rule, ranked, tensor


def linear(values: Arguments, _: Keywords) -> Known:
    """Apply ``linear(input, weight)``: weight (out, in)."""
    source, weight = tensor(values[0]), tensor(values[1])
    if weight.shape is None or len(weight.shape) != 2:
        raise TypeError
    if source.shape is None:
        source.demand(None, weight.dtype, last=weight.shape[1])
        return Known(weight.dtype, None, weight.shape[0])
    source.demand((*[-1] * (len(source.shape) - 1), weight.shape[1]), weight.dtype)
    return Known(weight.dtype, (*source.shape[:-1], weight.shape[0]))


def embedding(values: Arguments, _: Keywords) -> Known:
    """Apply ``embedding(weight, indices)``: weight (entries, width)."""
    weight, indices = tensor(values[0]), tensor(values[1])
    indices.demand(None, "int64")
    if weight.shape is None or len(weight.shape) != 2:
        raise TypeError
    return Known(weight.dtype, None if indices.shape is None else (*indices.shape, weight.shape[1]))


def embedding_bag(values: Arguments, _: Keywords) -> Any:
    """Apply ``embedding_bag(weight, indices, offsets, ...)``; the number of bags is that of the offsets."""
    weight, indices = tensor(values[0]), tensor(values[1])
    indices.demand(None, "int64")
    return Known(weight.dtype, (-1, ranked(weight)[1])), UNKNOWN, UNKNOWN, UNKNOWN


def _attention(values: Arguments, _: Keywords) -> Known:
    """Apply ``scaled_dot_product_attention(query, key, value)``."""
    query, shape = tensor(values[0]), ranked(values[0])
    return Known(query.dtype, (*shape[:-1], ranked(values[2])[-1]))


_KEEPING: Final = """
    layer_norm batch_norm instance_norm group_norm local_response_norm normalize rms_norm _spectral_norm
    dropout feature_dropout alpha_dropout feature_alpha_dropout dropout1d dropout2d dropout3d native_dropout
"""
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_KEEPING.split(), same),
    "linear": linear,
    "embedding": embedding,
    "embedding_bag": embedding_bag,
    "scaled_dot_product_attention": _attention,
    "_transformer_encoder_layer_fwd": first_like,
}
