"""Attention layers."""

from typing import Any

from klever.steps.frameworks.keras.document import as_dimension, as_shape
from klever.steps.frameworks.keras.layer import Call, Layer, Result, Spec
from klever.steps.frameworks.keras.rules.rule import Rule
from klever.steps.model.shapes import UNKNOWN


def dot_attention(layer: Layer, call: Call) -> Result:
    """Answer for query and value in one list: the query's steps with the value's features, and the scores."""
    query, value = (*call.specs, Spec(), Spec())[:2]
    if query.shape is None or value.shape is None or len(value.shape) < 2:
        return Spec(None, layer.dtype)
    output = Spec((*query.shape[:-1], value.shape[-1]), layer.dtype)
    scores = Spec((*query.shape[:-1], value.shape[-2]), layer.dtype)
    return (output, scores) if call.argument(3, "return_attention_scores") is True else output


def _tensor(value: Any, default: Spec) -> Spec:
    return value if isinstance(value, Spec) else default


def multi_head(layer: Layer, call: Call) -> Result:
    """Answer for query, value and key as arguments of their own; ``output_shape`` may replace the features."""
    query = call.first
    value = _tensor(call.argument(1, "value"), query)
    if query.shape is None or len(query.shape) < 2:
        return Spec(None, layer.dtype)
    given = layer.config.get("output_shape")
    features = (as_dimension(given),) if isinstance(given, int) else as_shape(given)
    output = Spec((*query.shape[:-1], *(features or query.shape[-1:])), layer.dtype)
    if call.argument(4, "return_attention_scores") is not True:
        return output
    heads = layer.config.get("num_heads", layer.config.get("num_query_heads"))
    # Attention runs over all dimensions between batch and features unless attention_axes says otherwise.
    steps = value.shape[1:-1] if value.shape else (UNKNOWN,)
    return output, Spec((query.shape[0], as_dimension(heads), *query.shape[1:-1], *steps), layer.dtype)


RULES: dict[str, Rule] = {
    "Attention": dot_attention,
    "AdditiveAttention": dot_attention,
    "MultiHeadAttention": multi_head,
    "GroupQueryAttention": multi_head,
    "GroupedQueryAttention": multi_head,
}
