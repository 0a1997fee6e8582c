"""Preprocessing layers: categories, text and images."""

from functools import partial

from klever.steps.frameworks.keras.document import ConfigError, as_dimension
from klever.steps.frameworks.keras.layer import DEFAULT_DTYPE, Call, Layer, Spec, numpy_dtype
from klever.steps.frameworks.keras.rules.rule import Rule, computed, known, same
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError

_INDEX_DTYPE = "int64"


def _encoded(shape: Shape, mode: str, size: int) -> Shape:
    """Return the shape of encoded categories: one-hot adds a dimension or fills one of 1, the others sum it up."""
    if shape is None:
        return None
    if mode == "one_hot" and (not shape or shape[-1] != 1):
        return (*shape, size)
    return (*shape[:-1], size)


def _encoding_dtype(layer: Layer) -> str:
    """Return the type of one-hot and counted output: the layer's own, where that is not one for indices."""
    return layer.dtype if layer.dtype.startswith(("float", "bfloat")) else DEFAULT_DTYPE


def category_encoding(layer: Layer, call: Call) -> Spec:
    """Encode integers below ``num_tokens`` (``max_tokens`` before TensorFlow 2.6)."""
    size = as_dimension(layer.config.get("num_tokens", layer.config.get("max_tokens")))
    mode = layer.text("output_mode", "multi_hot")
    return Spec(_encoded(call.first.shape, mode, size), layer.dtype)


def vocabulary_size(layer: Layer, extra: int) -> int:
    """Return the width of encoded output: ``extra`` entries for what is out of vocabulary, then the vocabulary."""
    most = layer.config.get("max_tokens")
    if most is not None and (layer.flag("pad_to_max_tokens")):
        return as_dimension(most)
    words = layer.config.get("vocabulary")
    if isinstance(words, list):
        return len(words) + extra
    size = layer.config.get("vocabulary_size")
    return UNKNOWN if size is None else as_dimension(size)


def lookup(layer: Layer, call: Call) -> Spec:
    """Map text or integers to indices or back, or encode them."""
    mode = layer.text("output_mode", "int")
    if layer.flag("invert"):
        back = "object" if layer.class_name == "StringLookup" else _INDEX_DTYPE
        return Spec(call.first.shape, back)
    if mode == "int":
        return Spec(call.first.shape, _INDEX_DTYPE)
    size = vocabulary_size(layer, layer.integer("num_oov_indices", 1))
    return Spec(_encoded(call.first.shape, mode, size), _encoding_dtype(layer))


def vectorization(layer: Layer, call: Call) -> Spec:
    """Split text into tokens; indices are padded to ``output_sequence_length`` or to the longest text."""
    shape = call.first.shape
    batch = shape[0] if shape else UNKNOWN
    mode = layer.text("output_mode", "int")
    if mode == "int":
        return Spec((batch, as_dimension(layer.config.get("output_sequence_length"))), _INDEX_DTYPE)
    return Spec((batch, vocabulary_size(layer, 1)), _encoding_dtype(layer))


def discretization(layer: Layer, call: Call) -> Spec:
    """Put numbers into bins."""
    mode = layer.text("output_mode", "int")
    if mode == "int":
        # Keras 3 counts bins in 32 bits, tf.keras in the 64 that its configuration names.
        named = numpy_dtype(layer.config.get("dtype"))
        return Spec(call.first.shape, _INDEX_DTYPE if named in (None, _INDEX_DTYPE) else "int32")
    bounds, bins = layer.config.get("bin_boundaries"), layer.config.get("num_bins")
    size = len(bounds) + 1 if isinstance(bounds, list) else as_dimension(bins)
    return Spec(_encoded(call.first.shape, mode, size), _encoding_dtype(layer))


def hashing(layer: Layer, call: Call) -> Spec:
    """Put hashes, of one input or of the cross of several, into bins."""
    mode = layer.text("output_mode", "int")
    if mode == "int":
        dtype = numpy_dtype(layer.config.get("dtype"))
        return Spec(call.first.shape, dtype if dtype in ("int32", "int64") else _INDEX_DTYPE)
    return Spec(_encoded(call.first.shape, mode, layer.integer("num_bins")), _encoding_dtype(layer))


def resized(layer: Layer, call: Call, *, height: bool = True, width: bool = True) -> Spec:
    """Set height and width of one image or a batch of them to what the layer names, or to unknown."""
    shape = call.first.shape
    if shape is None:
        return Spec(None, layer.dtype)
    if len(shape) not in (3, 4):
        raise ShapeMismatchError(f"{shape} is no image")
    sizes = [as_dimension(layer.config.get(key)) for key in ("height", "width")]
    row = len(shape) - (2 if layer.channels_first else 3)
    changed = list(shape)
    if height:
        changed[row] = sizes[0]
    if width:
        changed[row + 1] = sizes[1]
    return Spec(tuple(changed), layer.dtype)


def stretched(layer: Layer, call: Call, *, axis: int) -> Spec:
    """Answer for a random height or width, which nobody can know."""
    shape = list(known(call.first.shape, len(call.first.shape or (0,) * 4)))
    shape[len(shape) - 3 + axis] = UNKNOWN
    return Spec(tuple(shape), layer.dtype)


def mel_spectrogram(layer: Layer, call: Call) -> Spec:
    """Turn samples into bands and frames."""
    shape = call.first.shape
    if not shape:
        return Spec(None, layer.dtype)
    stride, samples = layer.integer("sequence_stride", 512), shape[-1]
    if stride < 1:
        raise ConfigError(f"a stride of {stride} moves nowhere")
    frames = UNKNOWN if samples == UNKNOWN else (samples + stride + 1) // stride
    return Spec((*shape[:-1], layer.integer("num_mel_bins", 128), frames), layer.dtype)


_COMPUTED = (
    "AugMix", "AutoContrast", "CutMix", "Equalization", "MaxNumBoundingBoxes", "MixUp", "Normalization",
    "RandAugment",
    "RandomBrightness", "RandomColorDegeneration", "RandomColorJitter", "RandomContrast",
    "RandomElasticTransform",
    "RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness",
    "RandomShear",
    "RandomTranslation", "RandomZoom", "Rescaling", "Solarization",
)  # fmt: skip

RULES: dict[str, Rule] = {
    **dict.fromkeys(_COMPUTED, computed),
    "CategoryEncoding": category_encoding,
    "StringLookup": lookup,
    "IntegerLookup": lookup,
    "IndexLookup": lookup,
    "TextVectorization": vectorization,
    "Discretization": discretization,
    "Hashing": hashing,
    "HashedCrossing": hashing,
    "Resizing": resized,
    "CenterCrop": resized,
    "RandomCrop": resized,
    "RandomHeight": partial(stretched, axis=0),
    "RandomWidth": partial(stretched, axis=1),
    "MelSpectrogram": mel_spectrogram,
    "Pipeline": same,
}
