"""Layers that make one tensor of several."""

from klever.steps.frameworks.keras.document import ConfigError, as_integers
from klever.steps.frameworks.keras.layer import Call, Layer, Spec
from klever.steps.frameworks.keras.rules.rule import Rule
from klever.steps.model.shapes import ShapeMismatchError, broadcast, concatenate, merge, normalise_axis


def elementwise(layer: Layer, call: Call) -> Spec:
    """Broadcast all dimensions but the first, which is the batch of all inputs."""
    dtype = layer.cast(call.first.dtype)
    shapes = [spec.shape for spec in call.specs]
    known = [shape for shape in shapes if shape]
    if not known or len(known) < len(shapes):
        return Spec(None, dtype)
    batch = broadcast(*(shape[:1] for shape in known))
    rest = broadcast(*(shape[1:] for shape in known))
    return Spec(None if batch is None or rest is None else batch + rest, dtype)


def join(layer: Layer, call: Call) -> Spec:
    """Concatenate along an axis, by default the last."""
    axis = layer.integer("axis", layer.integer("concat_axis", -1))
    return Spec(concatenate([spec.shape for spec in call.specs], axis), layer.cast(call.first.dtype))


def dot(layer: Layer, call: Call) -> Spec:
    """Contract one axis of each input, sample by sample."""
    axes = layer.config.get("axes", layer.config.get("dot_axes", -1))
    first, second = as_integers(axes, 2)
    a, b = (*call.specs, Spec(), Spec())[:2]
    if a.shape is None or b.shape is None:
        return Spec(None, layer.cast(call.first.dtype))
    first, second = normalise_axis(first, len(a.shape)), normalise_axis(second, len(b.shape))
    merge((a.shape[first],), (b.shape[second],))
    if first == 0 or second == 0:
        raise ShapeMismatchError("the batch dimension cannot be contracted")
    rest = [size for axis, size in enumerate(a.shape) if axis != first]
    rest += [size for axis, size in enumerate(b.shape) if axis not in (0, second)]
    return Spec(tuple(rest) if len(rest) > 1 else (rest[0], 1), layer.cast(call.first.dtype))


def merge_by_mode(layer: Layer, call: Call) -> Spec:
    """Answer for Merge of Keras 1, which does all of these."""
    mode = layer.text("mode", "sum")
    if mode in ("sum", "mul", "ave", "max"):
        return elementwise(layer, call)
    if mode == "concat":
        return join(layer, call)
    if mode in ("dot", "cos"):
        return dot(layer, call)
    raise ConfigError(f"the mode {mode!r:.40} of Merge is a function")


RULES: dict[str, Rule] = {
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"), elementwise),
    "Concatenate": join,
    "Dot": dot,
    "Merge": merge_by_mode,
}
