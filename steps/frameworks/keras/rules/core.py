"""Dense and embedding layers, activations, normalisation, regularisation, and layers whose code is not Keras's."""

from klever.steps.frameworks.keras.document import MAX_EQUATION, ConfigError, as_dimension, as_shape
from klever.steps.frameworks.keras.layer import Call, Layer, Result, Spec
from klever.steps.frameworks.keras.rules.rule import Rule, batch_and_rest, same
from klever.steps.model.shapes import UNKNOWN


def dense(layer: Layer, call: Call) -> Spec:
    """Replace the last dimension."""
    shape = call.first.shape
    return Spec(None if shape is None else (*shape[:-1], layer.integer("units")), layer.dtype)


def embedding(layer: Layer, call: Call) -> Spec:
    """Append the dimension of the embedding."""
    shape = call.first.shape
    return Spec(None if shape is None else (*shape, layer.integer("output_dim")), layer.dtype)


def einsum_dense(layer: Layer, call: Call) -> Spec:
    """Read the sizes from ``output_shape`` and the others from the input by the letters of the equation."""
    equation = layer.text("equation").replace(" ", "")
    left, arrow, out = equation.partition("->")
    source = left.partition(",")[0]
    given = layer.config.get("output_shape")
    sizes = [as_dimension(given)] if isinstance(given, int) else list(as_shape(given) or ())
    if not arrow or len(equation) > MAX_EQUATION:
        raise ConfigError(f"{equation!r:.40} is no equation")
    shape = call.first.shape
    if shape is None:
        return Spec(None, layer.dtype)
    letters = source.replace("...", "")
    start = source.find("...")
    spare = len(shape) - len(letters) if start >= 0 else 0
    if spare < 0 or (start < 0 and len(shape) != len(letters)):
        raise ConfigError(f"{equation!r:.40} does not fit an input of rank {len(shape)}")
    covered = shape[start : start + spare] if start >= 0 else ()
    rest = shape if start < 0 else (*shape[:start], *shape[start + spare :])
    known = dict(zip(letters, rest, strict=True))
    before, dots, after = out.partition("...")
    result = (
        *(known.get(c, UNKNOWN) for c in before),
        *(covered if dots else ()),
        *(known.get(c, UNKNOWN) for c in after),
    )
    tail = result[len(result) - len(sizes) :] if len(sizes) < len(result) else result
    filled = tuple(b if a == UNKNOWN else a for a, b in zip(sizes, tail, strict=False))
    return Spec((*result[: len(result) - len(filled)], *filled), layer.dtype)


def function(layer: Layer, call: Call) -> Spec:
    """Answer for a Lambda: only its declared output shape is known, for its code is not read."""
    given = as_shape(layer.config.get("output_shape"))
    if given is None or layer.text("output_shape_type", "raw") != "raw":
        return Spec()
    batch = call.first.shape[0] if call.first.shape else UNKNOWN
    return Spec((batch, *given), None)


def bypass(layer: Layer, call: Call) -> Spec:
    """Answer for a layer that hands its input on."""
    del layer
    return call.first


def wrapped(layer: Layer, call: Call) -> Result:
    """Answer for a wrapper that changes the weights of a layer, not its output."""
    return call.infer(layer.part("layer"), call)


def dense_maxout(layer: Layer, call: Call) -> Spec:
    """Answer for MaxoutDense of Keras 1."""
    batch, _ = batch_and_rest(call.first.shape)
    return Spec((batch, layer.integer("units")), layer.dtype)


_KEEPING_SHAPE = (
    "Activation", "ActivityRegularization", "AlphaDropout", "Dropout", "ELU", "GaussianDropout",
    "GaussianNoise",
    "Identity", "LeakyReLU", "Masking", "PReLU", "ParametricSoftplus", "RMSNormalization", "RandomApply",
    "ReLU", "SReLU",
    "Softmax", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "ThresholdedReLU",
    "UnitNormalization", "Linear",
    "Highway", "BatchNormalization", "SyncBatchNormalization", "LayerNormalization", "GroupNormalization",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(_KEEPING_SHAPE, same),
    "Dense": dense,
    "TimeDistributedDense": dense,
    "MaxoutDense": dense_maxout,
    "Embedding": embedding,
    "ReversibleEmbedding": embedding,
    "EinsumDense": einsum_dense,
    "Lambda": function,
    "InputLayer": bypass,
    "SpectralNormalization": wrapped,
    "AddLoss": bypass,
    "AddMetric": bypass,
}
