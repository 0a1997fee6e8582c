"""Convolution and pooling, and what else changes spatial dimensions: padding, cropping, upsampling."""

from functools import partial
from typing import NamedTuple, Protocol, Self

from klever.steps.frameworks.keras.document import ConfigError, as_integers
from klever.steps.frameworks.keras.layer import Call, Layer, Spec
from klever.steps.frameworks.keras.rules.rule import Rule, known
from klever.steps.model.shapes import UNKNOWN, add, count, slide, slide_same, subtract


class _Image(NamedTuple):
    """A shape by its roles, whatever the data format."""

    batch: int
    spatial: tuple[int, ...]
    channels: int
    channels_first: bool

    @classmethod
    def of(cls, layer: Layer, call: Call, rank: int) -> Self:
        shape = known(call.first.shape, rank + 2)
        if layer.channels_first:
            return cls(shape[0], shape[2:], shape[1], True)
        return cls(shape[0], shape[1:-1], shape[-1], False)

    def shape(self, spatial: tuple[int, ...], channels: int) -> tuple[int, ...]:
        return (self.batch, channels, *spatial) if self.channels_first else (self.batch, *spatial, channels)


def slide_window(size: int, window: int, stride: int, padding: str, dilation: int = 1) -> int:
    """Count the positions of a window by Keras's names for padding."""
    if size == UNKNOWN:
        return UNKNOWN
    if stride < 1:
        raise ConfigError(f"a stride of {stride} moves nowhere")
    if padding in ("same", "causal"):
        return slide_same(size, stride)
    if padding == "full":  # Keras 1 with Theano
        return slide(size, window, stride=stride, padding=2 * (window - 1) * dilation, dilation=dilation)
    return slide(size, window, stride=stride, dilation=dilation)


def slide_windows(layer: Layer, spatial: tuple[int, ...]) -> tuple[int, ...]:
    """Apply a convolution's kernel, strides, padding and dilation to each spatial dimension."""
    rank = len(spatial)
    kernel, stride = layer.integers("kernel_size", rank), layer.integers("strides", rank, 1)
    dilation, padding = layer.integers("dilation_rate", rank, 1), layer.text("padding", "valid")
    return tuple(
        slide_window(size, k, s, padding, d) for size, k, s, d in zip(spatial, kernel, stride, dilation, strict=True)
    )


def convolution(layer: Layer, call: Call, rank: int) -> Spec:
    """Slide, and put the filters in place of the channels."""
    image = _Image.of(layer, call, rank)
    return Spec(image.shape(slide_windows(layer, image.spatial), layer.integer("filters")), layer.dtype)


def depthwise(layer: Layer, call: Call, rank: int) -> Spec:
    """Slide, and multiply the channels."""
    image = _Image.of(layer, call, rank)
    channels = count((image.channels, layer.integer("depth_multiplier", 1)))
    return Spec(image.shape(slide_windows(layer, image.spatial), channels), layer.dtype)


def _transposed(size: int, window: int, stride: int, padding: str, extra: int | None, dilation: int) -> int:
    """Return the length that a transposed convolution makes, by the formulas of ``deconv_output_length``."""
    if size == UNKNOWN:
        return UNKNOWN
    window += (window - 1) * (dilation - 1)
    if extra is None:
        if padding == "same":
            return size * stride
        return size * stride + (max(window - stride, 0) if padding == "valid" else 2 - stride - window)
    inner = {"same": window // 2, "full": window - 1}.get(padding, 0)
    return (size - 1) * stride + window - 2 * inner + extra


def transposed(layer: Layer, call: Call, rank: int) -> Spec:
    """Spread, and put the filters in place of the channels."""
    image = _Image.of(layer, call, rank)
    kernel, stride = layer.integers("kernel_size", rank), layer.integers("strides", rank, 1)
    dilation, padding = layer.integers("dilation_rate", rank, 1), layer.text("padding", "valid")
    given = layer.config.get("output_padding")
    extra: tuple[int | None, ...] = (None,) * rank if given is None else as_integers(given, rank)
    spatial = tuple(
        _transposed(size, k, s, padding, e, d)
        for size, k, s, e, d in zip(image.spatial, kernel, stride, extra, dilation, strict=True)
    )
    return Spec(image.shape(spatial, layer.integer("filters")), layer.dtype)


def pooling(layer: Layer, call: Call, rank: int) -> Spec:
    """Slide; the stride is the window's size unless it is given."""
    image = _Image.of(layer, call, rank)
    window = layer.integers("pool_size", rank, 2)
    stride = window if layer.config.get("strides") is None else layer.integers("strides", rank)
    padding = layer.text("padding", "valid")
    spatial = tuple(slide_window(*dimension, padding) for dimension in zip(image.spatial, window, stride, strict=True))
    return Spec(image.shape(spatial, image.channels), layer.cast(call.first.dtype))


def global_pooling(layer: Layer, call: Call, rank: int) -> Spec:
    """Reduce all spatial dimensions."""
    image = _Image.of(layer, call, rank)
    kept = image.shape((1,) * rank, image.channels) if layer.flag("keepdims") else (image.batch, image.channels)
    return Spec(kept, layer.cast(call.first.dtype))


def adaptive_pooling(layer: Layer, call: Call, rank: int) -> Spec:
    """Take the spatial size that the configuration names."""
    image = _Image.of(layer, call, rank)
    return Spec(image.shape(layer.integers("output_size", rank), image.channels), layer.cast(call.first.dtype))


def upsampling(layer: Layer, call: Call, rank: int) -> Spec:
    """Repeat each position."""
    image = _Image.of(layer, call, rank)
    factors = layer.integers("size", rank, 2)
    spatial = tuple(count(pair) for pair in zip(image.spatial, factors, strict=True))
    return Spec(image.shape(spatial, image.channels), layer.cast(call.first.dtype))


def _pairs(layer: Layer, key: str, rank: int) -> list[tuple[int, ...]]:
    """Read the amounts at both ends of each dimension: one for all, one for each, or a pair for each."""
    value = layer.config.get(key, 1)
    if isinstance(value, dict):  # Keras 1 could name the sides
        value = [[value.get(f"{side}_pad", 0) for side in sides] for sides in (("top", "bottom"), ("left", "right"))]
    if rank == 1:
        return [as_integers(value[0] if isinstance(value, list) and value and isinstance(value[0], list) else value, 2)]
    if isinstance(value, list) and rank == 2 and len(value) == 4:
        value = [value[:2], value[2:]]
    values = value if isinstance(value, list) else [value] * rank
    if len(values) != rank:
        raise ConfigError(f"{key} of {layer.class_name} does not fit {rank} dimensions")
    return [as_integers(item, 2) for item in values]


def padding(layer: Layer, call: Call, rank: int) -> Spec:
    """Add at both ends."""
    image = _Image.of(layer, call, rank)
    pairs = _pairs(layer, "padding", rank)
    spatial = tuple(add(size, *pair) for size, pair in zip(image.spatial, pairs, strict=True))
    return Spec(image.shape(spatial, image.channels), layer.cast(call.first.dtype))


def cropping(layer: Layer, call: Call, rank: int) -> Spec:
    """Take off at both ends."""
    image = _Image.of(layer, call, rank)
    pairs = _pairs(layer, "cropping", rank)
    spatial = tuple(subtract(size, sum(pair)) for size, pair in zip(image.spatial, pairs, strict=True))
    return Spec(image.shape(spatial, image.channels), layer.cast(call.first.dtype))


class _SpatialRule(Protocol):
    def __call__(self, layer: Layer, call: Call, rank: int) -> Spec: ...


_FAMILIES: dict[str, _SpatialRule] = {
    "Conv{}D": convolution,
    "SeparableConv{}D": convolution,
    "LocallyConnected{}D": convolution,
    "DepthwiseConv{}D": depthwise,
    "Conv{}DTranspose": transposed,
    "MaxPooling{}D": pooling,
    "MaxPool{}D": pooling,
    "AveragePooling{}D": pooling,
    "AvgPool{}D": pooling,
    "GlobalMaxPooling{}D": global_pooling,
    "GlobalMaxPool{}D": global_pooling,
    "GlobalAveragePooling{}D": global_pooling,
    "GlobalAvgPool{}D": global_pooling,
    "AdaptiveAveragePooling{}D": adaptive_pooling,
    "AdaptiveMaxPooling{}D": adaptive_pooling,
    "UpSampling{}D": upsampling,
    "ZeroPadding{}D": padding,
    "Cropping{}D": cropping,
}

RULES: dict[str, Rule] = {
    family.format(rank): partial(rule, rank=rank) for family, rule in _FAMILIES.items() for rank in (1, 2, 3)
}
