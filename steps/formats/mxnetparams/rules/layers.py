"""Layers with weights and windows: convolution, pooling, dense, normalisation, embedding, up-sampling.

What does not belong here: recurrent layers.
"""

from math import ceil
from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import (
    UNKNOWN,
    ShapeMismatchError,
    add,
    count,
    normalise_axis,
    slide,
    slide_same,
    unslide,
)


def _channel_axis(call: Call, rank: int) -> int:
    """Return where channels stand: the layouts are NCW, NCHW, NCDHW and NWC, NHWC, NDHWC."""
    layout = call.word("layout", "None")
    if layout in ("None", ""):
        return 1
    if len(layout) != rank or "C" not in layout:
        raise ShapeMismatchError(f"layout {layout!r} does not fit rank {rank}")
    return layout.index("C")


def _spread(call: Call, key: str, dimensions: int, default: int) -> tuple[int, ...]:
    values = call.integers(key)
    if not values:
        return (default,) * dimensions
    if len(values) == 1:
        return values * dimensions
    if len(values) != dimensions:
        raise ShapeMismatchError(f"{key} has {len(values)} values for {dimensions} dimensions")
    return values


def _weighted(axis: int, first: int, second: int, kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Return a weight's shape: ``first`` in front, ``second`` where the data has its channels."""
    return (first, *kernel[: axis - 1], second, *kernel[axis - 1 :])


def _convolve(call: Call) -> None:
    kernel = call.integers("kernel") or ()
    rank = len(kernel) + 2
    axis = _channel_axis(call, rank)
    groups = max(call.integer("num_group", 1), 1)
    filters = call.integer("num_filter", UNKNOWN)
    weight = call.expect(1, _weighted(axis, filters, UNKNOWN, kernel))
    channels = weight[axis] * groups if weight and weight[axis] != UNKNOWN else UNKNOWN
    _windowed(call, kernel, axis, channels, filters)
    data = call.input(0)
    if data is not None and data[axis] != UNKNOWN:
        call.expect(1, _weighted(axis, filters, data[axis] // groups, kernel))
    if not call.flag("no_bias"):
        call.expect(2, (filters,))


def _convolve_deformed(call: Call) -> None:
    """Deformable convolution: offsets, then a mask where it is modulated, stand before the weight."""
    kernel = call.integers("kernel") or ()
    groups = max(call.integer("num_group", 1), 1)
    filters = call.integer("num_filter", UNKNOWN)
    weights = [shape for shape in call.inputs[2:] if shape and shape[0] == filters and len(shape) == len(kernel) + 2]
    channels = weights[0][1] * groups if weights and weights[0][1] != UNKNOWN else UNKNOWN
    _windowed(call, kernel, 1, channels, filters)


def _windowed(call: Call, kernel: tuple[int, ...], axis: int, channels: int, filters: int) -> None:
    rank = len(kernel) + 2
    expected = [UNKNOWN] * rank
    expected[axis] = channels
    # Nothing in a convolution changes the number of examples.
    output = call.output()
    expected[0] = output[0] if output and len(output) == rank else UNKNOWN
    data = call.expect(0, tuple(expected))
    if data is None:
        return
    strides, pads = _spread(call, "stride", len(kernel), 1), _spread(call, "pad", len(kernel), 0)
    dilations = _spread(call, "dilate", len(kernel), 1)
    spatial = [size for at, size in enumerate(data) if at not in (0, axis)]
    result = [
        slide(size, window, stride=stride, padding=2 * pad, dilation=dilation)
        for size, window, stride, pad, dilation in zip(spatial, kernel, strides, pads, dilations, strict=True)
    ]
    result.insert(axis - 1, filters)
    call.give((data[0], *result))


def _deconvolve(call: Call) -> None:
    kernel = call.integers("kernel") or ()
    dimensions, rank = len(kernel), len(kernel) + 2
    axis = _channel_axis(call, rank)
    groups = max(call.integer("num_group", 1), 1)
    filters = call.integer("num_filter", UNKNOWN)
    weight = call.expect(1, _weighted(axis, UNKNOWN, filters // groups, kernel))
    expected = [UNKNOWN] * rank
    expected[axis] = weight[0] if weight else UNKNOWN
    data = call.expect(0, tuple(expected))
    if data is None:
        return
    target = call.integers("target_shape")
    if target and any(target):
        result = [*_spread(call, "target_shape", dimensions, 0)]
    else:
        strides, pads = _spread(call, "stride", dimensions, 1), _spread(call, "pad", dimensions, 0)
        dilations, adjusts = _spread(call, "dilate", dimensions, 1), _spread(call, "adj", dimensions, 0)
        spatial = [size for at, size in enumerate(data) if at not in (0, axis)]
        terms = zip(spatial, kernel, strides, pads, dilations, adjusts, strict=True)
        result = [
            unslide(size, window, stride=stride, padding=2 * pad - adjust, dilation=dilation)
            for size, window, stride, pad, dilation, adjust in terms
        ]
    result.insert(axis - 1, filters)
    call.give((data[0], *result))


def _pool(call: Call) -> None:
    kernel = call.integers("kernel") or ()
    whole = call.flag("global_pool")
    data = call.input(0)
    rank = len(kernel) + 2 if kernel else len(data) if data else 0
    if rank == 0:
        return
    axis = _channel_axis(call, rank)
    unknown = (UNKNOWN,) * rank
    output = call.output() or unknown
    data = call.expect(0, tuple(output[at] if at in (0, axis) else UNKNOWN for at in range(rank)))
    data = unknown if data is None else data
    spatial = [size for at, size in enumerate(data) if at not in (0, axis)]
    result = [1] * len(spatial) if whole else _pooled(call, kernel, spatial)
    result.insert(axis - 1, data[axis])
    call.give((data[0], *result))


def _pooled(call: Call, kernel: tuple[int, ...], spatial: list[int]) -> list[int]:
    strides, pads = _spread(call, "stride", len(kernel), 1), _spread(call, "pad", len(kernel), 0)
    convention = call.word("pooling_convention", "valid")
    if convention == "same":
        return [
            slide_same(add(size, 2 * pad), max(stride, 1))
            for size, stride, pad in zip(spatial, strides, pads, strict=True)
        ]
    return [
        slide(size, window, stride=stride, padding=2 * pad, ceil=convention == "full")
        for size, window, stride, pad in zip(spatial, kernel, strides, pads, strict=True)
    ]


def _connect(call: Call) -> None:
    units = call.integer("num_hidden", UNKNOWN)
    weight = call.expect(1, (units, UNKNOWN))
    if not call.flag("no_bias"):
        call.expect(2, (units,))
    width = weight[1] if weight else UNKNOWN
    if call.flag("flatten", default=True):
        _connect_flat(call, units, width)
        return
    output = call.output()
    data = call.expect(0, None if output is None else (*output[:-1], width))
    if data:
        data = call.expect(0, (*(UNKNOWN,) * (len(data) - 1), width))
    if data:
        call.expect(1, (units, data[-1]))
        call.give((*data[:-1], units))


def _connect_flat(call: Call, units: int, width: int) -> None:
    data = call.input(0)
    if data is None and call.assume:
        data = call.expect(0, (UNKNOWN, width))
    batch = (call.output() or (UNKNOWN,))[0]
    if data is not None and len(data) == 2:
        data = call.expect(0, (batch, width))
    elif data:
        data = call.expect(0, (batch, *(UNKNOWN,) * (len(data) - 1)))
    if data is None:
        call.give((UNKNOWN, units))
        return
    call.expect(1, (units, count(data[1:])))
    call.give((data[0] if data else UNKNOWN, units))


def _normalise_batch(call: Call) -> None:
    _normalise(call, call.integer("axis", 1), (1, 2, 3, 4))


def _normalise_layer(call: Call) -> None:
    _normalise(call, call.integer("axis", -1), (1, 2))


def _normalise_channels(call: Call) -> None:
    _normalise(call, 1, (1, 2))


def _normalise(call: Call, axis: int, weights: tuple[int, ...]) -> None:
    """Keep the shape; the weights have the size of one axis."""
    data = call.tie(0)
    width = next((shape[0] for at in weights if (shape := call.input(at)) and shape[0] != UNKNOWN), UNKNOWN)
    if data is not None:
        axis = normalise_axis(axis, len(data))
        call.expect(0, tuple(width if at == axis else UNKNOWN for at in range(len(data))))
        data = call.tie(0)
        width = data[axis] if data else width
    for at in weights:
        call.expect(at, (width,))
    for index in (1, 2):
        call.give((width,) if len(weights) == 4 else None, index)


def _normalise_groups(call: Call) -> None:
    call.tie(0)


def _leak(call: Call) -> None:
    data = call.tie(0)
    if call.word("act_type", "leaky") == "prelu" and data and len(data) > 1:
        slope = call.input(1)
        # One slope serves all channels, or each has its own.
        if slope is not None and len(slope) == 1 and slope[0] > 1:
            call.expect(0, (UNKNOWN, slope[0], *(UNKNOWN,) * (len(data) - 2)))
            data = call.tie(0)
    call.give(data, 1)


def _embed(call: Call) -> None:
    width = call.integer("output_dim", UNKNOWN)
    weight = call.expect(1, (call.integer("input_dim", UNKNOWN), width))
    width = weight[1] if weight else width
    output = call.output()
    indices = call.expect(0, None if not output else output[:-1])
    if indices is not None:
        call.give((*indices, width))


def _upsample(call: Call) -> None:
    scale = call.integer("scale", 1)
    first = call.expect(0, (UNKNOWN,) * 4)
    if first is None:
        return
    height, width = (count((size, scale)) for size in first[2:])
    nearest = call.word("sample_type", "nearest") == "nearest"
    images = call.inputs if nearest else call.inputs[:1]
    channels = first[1]
    if len(images) > 1 and call.word("multi_input_mode", "concat") == "concat":
        sizes = [shape[1] if shape and len(shape) == 4 else UNKNOWN for shape in images]
        channels = add(*sizes)
    output = call.give((first[0], channels, height, width))
    if output and len(images) == 1:
        call.expect(0, (output[0], output[1], UNKNOWN, UNKNOWN))


def _resize(call: Call) -> None:
    data = call.expect(0, (UNKNOWN,) * 4)
    if data is None:
        return
    mode = call.word("mode", "size")
    if mode == "like":
        like = call.input(1) or (UNKNOWN,) * 4
        height, width = like[-2:]
    elif "scale_height" in call.attributes and call.word("scale_height") != "None" and mode in ("size", "odd_scale"):
        height = _scaled(data[2], call.number("scale_height", 1), odd=mode == "odd_scale")
        width = _scaled(data[3], call.number("scale_width", 1), odd=mode == "odd_scale")
    elif mode == "size":
        height, width = call.integer("height", 1), call.integer("width", 1)
    else:
        height, width = (_rounded(size, mode) for size in data[2:])
    call.give((data[0], data[1], height, width))


def _scaled(size: int, scale: float, *, odd: bool) -> int:
    if size == UNKNOWN:
        return UNKNOWN
    if not abs(scale) < 1e6:
        raise ShapeMismatchError("an image is scaled beyond all bounds")
    if odd and size % 2:
        return int((size - 1) * scale) + 1
    return int(size * scale)


def _rounded(size: int, mode: str) -> int:
    if size == UNKNOWN:
        return UNKNOWN
    down = mode.endswith("down")
    if "even" in mode:
        return size if size % 2 == 0 else size + (-1 if down else 1)
    if "odd" in mode:
        return size if size % 2 else size + (-1 if down else 1)
    return UNKNOWN


def _pool_adaptively(call: Call) -> None:
    data = call.expect(0, (UNKNOWN,) * 4)
    if data is None:
        return
    sizes = call.integers("output_size") or (1,)
    call.give((data[0], data[1], sizes[0], sizes[-1]))


def _correlate(call: Call) -> None:
    """``Correlation`` of two feature maps, after FlowNet."""
    call.expect(0, (UNKNOWN,) * 4)
    call.expect(1, call.input(0))
    data = call.expect(0, call.input(1))
    if data is None:
        return
    kernel, reach = call.integer("kernel_size", 1), call.integer("max_displacement", 1)
    first, second = max(call.integer("stride1", 1), 1), max(call.integer("stride2", 1), 1)
    border = 2 * (reach + (kernel - 1) // 2)
    pad = 2 * call.integer("pad_size", 0)
    spatial = (UNKNOWN if size == UNKNOWN else ceil((size + pad - border) / first) for size in data[2:])
    call.give((data[0], (2 * (reach // second) + 1) ** 2, *spatial))


def _columns(call: Call) -> None:
    """``im2col``: a column for each position of the window."""
    kernel = call.integers("kernel") or ()
    data = call.expect(0, (UNKNOWN,) * (len(kernel) + 2))
    if data is None:
        return
    strides, pads = _spread(call, "stride", len(kernel), 1), _spread(call, "pad", len(kernel), 0)
    dilations = _spread(call, "dilate", len(kernel), 1)
    positions = count(
        slide(size, window, stride=stride, padding=2 * pad, dilation=dilation)
        for size, window, stride, pad, dilation in zip(data[2:], kernel, strides, pads, dilations, strict=True)
    )
    call.give((data[0], count((data[1], *kernel)), positions))


def _resize_image(call: Call) -> None:
    """``_image_resize`` and ``_image_crop`` of HWC or NHWC images."""
    data = call.input(0)
    sizes = call.integers("size") or ()
    height, width = call.optional("height"), call.optional("width")
    if sizes:
        width, height = sizes[0], sizes[-1]
    if data is not None and height is not None and width is not None:
        call.give((*data[:-3], height, width, data[-1]))


def _to_tensor(call: Call) -> None:
    """``_image_to_tensor``: HWC to CHW."""
    data, output = call.input(0), call.output()
    if data is None and output is not None and len(output) in (3, 4):
        data = call.expect(0, (*output[:-3], *output[-2:], output[-3]))
    if data is not None:
        call.give((*data[:-3], data[-1], *data[-3:-1]))


def _match_cost(call: Call) -> None:
    """``CTCLoss`` of (time, batch, classes): one loss for each example."""
    data = call.expect(0, (UNKNOWN,) * 3)
    if data:
        call.give((data[1],))


def _one(call: Call) -> None:
    call.give((1,))


RULES: Final[dict[str, Rule]] = {
    "convolution": _convolve,
    "deformableconvolution": _convolve_deformed,
    "modulateddeformableconvolution": _convolve_deformed,
    "deconvolution": _deconvolve,
    "pooling": _pool,
    "fullyconnected": _connect,
    "batchnorm": _normalise_batch,
    "batchnormwithrelu": _normalise_batch,
    "cudnnbatchnorm": _normalise_batch,
    "syncbatchnorm": _normalise_batch,
    "layernorm": _normalise_layer,
    "instancenorm": _normalise_channels,
    "groupnorm": _normalise_groups,
    "leakyrelu": _leak,
    "embedding": _embed,
    "sparseembedding": _embed,
    "upsampling": _upsample,
    "bilinearresize2d": _resize,
    "adaptiveavgpooling2d": _pool_adaptively,
    "correlation": _correlate,
    "im2col": _columns,
    "imageresize": _resize_image,
    "imagecrop": _resize_image,
    "imagetotensor": _to_tensor,
    "ctcloss": _match_cost,
    "softmaxcrossentropy": _one,
}
