"""Operators that resample an image or a signal to another size.

What does not belong here: pooling (`windows`), padding and pixel shuffles (`arrangement`).
"""

from typing import Final

from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, ranked, size, tensor


def _upsample(values: Arguments, _: Keywords) -> Known:
    """Apply ``upsample_*``, of which only that it keeps batch and channels is followed where sizes are not given."""
    shape, wanted = ranked(values[0]), values[1]
    spatial = [size(one) for one in wanted] if isinstance(wanted, list) else [-1] * (len(shape) - 2)
    return Known(tensor(values[0]).dtype, (*shape[:2], *spatial))


def _interpolate(values: Arguments, _: Keywords) -> Known:
    """Apply ``torch.nn.functional.interpolate(input, size, scale_factor, ...)``."""
    source, shape, wanted, scale = tensor(values[0]), ranked(values[0]), values[1], values[2]
    axes = len(shape) - 2
    if wanted is not None:
        spatial = [size(one) for one in (wanted if isinstance(wanted, list) else [wanted] * axes)]
    else:
        factors = scale if isinstance(scale, list) else [scale] * axes
        pairs = zip(shape[2:], factors, strict=True)
        spatial = [int(length * factor) if length >= 0 and factor >= 0 else -1 for length, factor in pairs]
    return Known(source.dtype, (*shape[:2], *spatial))


_UPSAMPLING: Final = ("nearest1d", "nearest2d", "nearest3d", "bilinear2d", "bicubic2d")
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys((f"upsample_{mode}" for mode in _UPSAMPLING), _upsample),
    "interpolate": _interpolate,
}
