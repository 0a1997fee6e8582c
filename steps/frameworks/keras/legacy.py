"""Keras 1 in the terms of Keras 2: layers and fields that were renamed (the release notes of Keras 2.0.0)."""

from collections.abc import Mapping
from typing import Any, Final

_CLASSES: Final = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "DepthwiseConvolution2D": "DepthwiseConv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
}

_FIELDS: Final = {
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "subsample": "strides",
    "subsample_length": "strides",
    "border_mode": "padding",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "stride": "strides",
    "length": "size",
    "bias": "use_bias",
}

#: Those whose ``output_dim`` is still called so.
_KEEP_OUTPUT_DIM: Final = frozenset({"Embedding"})
#: Those whose ``length`` is a size of their own and no factor.
_KEEP_LENGTH: Final = frozenset({"Resizing"})
#: More fields than any layer has.
_MAX_FIELDS: Final = 256


def modernise(class_name: str, config: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return class and configuration as Keras 2 would have written them; newer ones come back as they are."""
    name = _CLASSES.get(class_name, class_name)
    ordering = config.get("dim_ordering")
    old = ordering is not None or any(key in config for key in _FIELDS) or "nb_row" in config or "output_dim" in config
    if not old or class_name == "Merge" or len(config) > _MAX_FIELDS:
        return name, config
    changed = dict(config)
    for before, after in _FIELDS.items():
        if before in changed and after not in changed and class_name not in _KEEP_LENGTH:
            changed[after] = changed[before]
    if "nb_row" in changed:
        changed["kernel_size"] = [changed["nb_row"], changed.get("nb_col")]
    if "kernel_dim1" in changed:
        changed["kernel_size"] = [changed.get(f"kernel_dim{axis}") for axis in (1, 2, 3)]
    if "output_dim" in changed and class_name not in _KEEP_OUTPUT_DIM:
        changed.setdefault("units", changed["output_dim"])
    if ordering is not None:
        changed["data_format"] = "channels_first" if ordering == "th" else "channels_last"
    return name, changed
