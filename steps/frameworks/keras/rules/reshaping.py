"""Layers that arrange the elements of each sample anew."""

from klever.steps.frameworks.keras.document import MAX_RANK, ConfigError, as_integer, as_shape
from klever.steps.frameworks.keras.layer import Call, Layer, Spec
from klever.steps.frameworks.keras.rules.rule import Rule, batch_and_rest, known
from klever.steps.model.shapes import UNKNOWN, count, reshape, transpose


def flatten(layer: Layer, call: Call) -> Spec:
    """Join all dimensions but the first; a vector of scalars gets a dimension of 1."""
    dtype = layer.cast(call.first.dtype)
    if call.first.shape is None:
        return Spec((UNKNOWN, UNKNOWN), dtype)
    batch, rest = batch_and_rest(call.first.shape)
    return Spec((batch, count(rest)), dtype)


def reshape_samples(layer: Layer, call: Call) -> Spec:
    """Reshape all dimensions but the first."""
    target = as_shape(layer.config.get("target_shape"))
    if target is None:
        raise ConfigError("Reshape has no target_shape")
    batch, rest = (UNKNOWN, None) if call.first.shape is None else batch_and_rest(call.first.shape)
    shape = reshape(rest, target)
    return Spec((batch, *(shape or ())), layer.cast(call.first.dtype))


def permute(layer: Layer, call: Call) -> Spec:
    """Permute the dimensions, which are counted from 1 and leave out the first."""
    dims = layer.config.get("dims")
    if not isinstance(dims, list) or len(dims) > MAX_RANK:
        raise ConfigError("Permute has no dims")
    axes = [0, *(as_integer(axis) for axis in dims)]
    return Spec(transpose(known(call.first.shape, len(axes)), axes), layer.cast(call.first.dtype))


def repeat(layer: Layer, call: Call) -> Spec:
    """Repeat a vector along a new dimension."""
    batch, features = known(call.first.shape, 2)
    return Spec((batch, layer.integer("n"), features), layer.cast(call.first.dtype))


RULES: dict[str, Rule] = {
    "Flatten": flatten,
    "Reshape": reshape_samples,
    "Permute": permute,
    "RepeatVector": repeat,
}
