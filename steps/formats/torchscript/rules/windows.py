"""Operators that slide a window over the last dimensions: convolutions and pooling.

What does not belong here: convolutions of quantised tensors (`quantized`), resampling (`resizing`).
"""

from typing import Final

from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, argument, ranked, size, tensor


def _numbers(value: object, count: int) -> list[int]:
    """Return a per-axis setting, of which one number stands for all axes."""
    numbers = [value] * count if isinstance(value, int) else list(value)  # type: ignore[call-overload]
    numbers = numbers * count if len(numbers) == 1 else numbers
    if len(numbers) != count or not all(type(number) is int for number in numbers):
        raise TypeError
    return numbers


def _conv(
    source: Known, weight: Known, settings: Arguments, *, transposed: bool, output_padding: object = 0, groups: object
) -> Known:
    """Apply a convolution: weight (out, in / groups, *kernel), or (in, out / groups, *kernel) if transposed."""
    if weight.shape is None or len(weight.shape) < 3 or not isinstance(groups, int):
        raise TypeError
    kernel = weight.shape[2:]
    inward = weight.shape[0] if transposed else weight.shape[1] * groups
    outward = weight.shape[1] * groups if transposed else weight.shape[0]
    source.demand((-1, inward, *[-1] * len(kernel)), weight.dtype)
    if source.shape is None or len(source.shape) != len(weight.shape):
        raise TypeError
    stride, dilation = (_numbers(settings[place], len(kernel)) for place in (0, 2))
    if isinstance(settings[1], str):
        spatial = [-1 if settings[1] != "same" else length for length in source.shape[2:]]
        return Known(weight.dtype, (source.shape[0], outward, *spatial))
    padding, extra = _numbers(settings[1], len(kernel)), _numbers(output_padding, len(kernel))
    spatial = []
    for length, k, s, p, d, e in zip(source.shape[2:], kernel, stride, padding, dilation, extra, strict=True):
        if length < 0:
            spatial.append(-1)
        elif transposed:
            spatial.append((length - 1) * s - 2 * p + d * (k - 1) + e + 1)
        else:
            spatial.append((length + 2 * p - d * (k - 1) - 1) // s + 1)
    if any(length < -1 for length in spatial):
        raise TypeError
    return Known(weight.dtype, (source.shape[0], outward, *spatial))


def _raw_convolution(values: Arguments, _: Keywords) -> Known:
    source, weight = tensor(values[0]), tensor(values[1])
    return _conv(source, weight, values[3:6], transposed=values[6] is True, output_padding=values[7], groups=values[8])


def _convolution(values: Arguments, keywords: Keywords) -> Known:
    settings = [
        argument(values, keywords, 3, "stride", 1),
        argument(values, keywords, 4, "padding", 0),
        argument(values, keywords, 5, "dilation", 1),
    ]
    groups = argument(values, keywords, 6, "groups", 1)
    return _conv(tensor(values[0]), tensor(values[1]), settings, transposed=False, groups=groups)


def _convolution_mode(values: Arguments, _: Keywords) -> Known:
    """Apply ``(input, weight, bias, stride, padding, dilation, groups)`` whose padding is a word."""
    return _conv(tensor(values[0]), tensor(values[1]), values[3:6], transposed=False, groups=values[6])


def _transposed(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)``."""
    defaults = (("stride", 1), ("padding", 0), ("output_padding", 0), ("groups", 1), ("dilation", 1))
    stride, padding, extra, groups, dilation = (
        argument(values, keywords, 3 + place, name, default) for place, (name, default) in enumerate(defaults)
    )
    settings = [stride, padding, dilation]
    source, weight = tensor(values[0]), tensor(values[1])
    return _conv(source, weight, settings, transposed=True, output_padding=extra, groups=groups)


def transposed_of_weight(values: Arguments, keywords: Keywords, axes: int) -> Known:
    """Apply a transposed convolution of which only the weight (in, out / groups, *kernel) is known."""
    source, weight = tensor(values[0]), tensor(keywords["weight"])
    if weight.shape is None:
        raise TypeError
    source.demand((-1, weight.shape[0], *[-1] * axes), weight.dtype)
    return Known(weight.dtype, (ranked(source)[0], *[-1] * (axes + 1)))


def _pool(values: Arguments, keywords: Keywords) -> Known:
    """Apply max or average pooling: (input, kernel, stride, padding, ...), of which the rest differ."""
    source, shape = tensor(values[0]), ranked(values[0])
    axes = len(values[1]) if isinstance(values[1], list) else len(shape) - 2
    kernel = _numbers(values[1], axes)
    stride = argument(values, keywords, 2, "stride", None) or kernel
    stride, padding = _numbers(stride, axes), _numbers(argument(values, keywords, 3, "padding", 0), axes)
    rest = values[4:]
    dilation = _numbers(rest.pop(0), axes) if rest and not isinstance(rest[0], bool) else [1] * axes
    ceil = any(one is True for one in rest[:1])
    spatial = []
    for length, k, s, p, d in zip(shape[-axes:], kernel, stride, padding, dilation, strict=True):
        room = length + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)
        count = room // s + 1
        # With ceil the last window has to start inside the input or its left padding.
        spatial.append(-1 if length < 0 else count - (1 if ceil and (count - 1) * s >= length + p else 0))
    return Known(source.dtype, (*shape[:-axes], *spatial))


def _adaptive_pool(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    wanted = [values[1]] if isinstance(values[1], int) else values[1]
    axes = len(wanted)
    spatial = [shape[place - axes] if one is None else size(one) for place, one in enumerate(wanted)]
    return Known(tensor(values[0]).dtype, (*shape[:-axes], *spatial))


_AXES: Final = (1, 2, 3)
RULES: Final[dict[str, Rule]] = {
    "_convolution": _raw_convolution,
    "_convolution_mode": _convolution_mode,
    **dict.fromkeys((f"conv{axes}d" for axes in _AXES), _convolution),
    **dict.fromkeys((f"conv_transpose{axes}d" for axes in _AXES), _transposed),
    **dict.fromkeys((f"{kind}_pool{axes}d" for axes in _AXES for kind in ("avg", "max")), _pool),
    "_max_pool2d": _pool,
    **dict.fromkeys((f"adaptive_{kind}_pool{axes}d" for axes in _AXES for kind in ("avg", "max")), _adaptive_pool),
}
