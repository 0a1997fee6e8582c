"""Feature maps sampled anew: resized, warped, pooled to a size, convolved at moved places, correlated.

The definitions are those of MXNet's ``src/operator``: ``contrib/bilinear_resize*``, ``contrib/adaptive_avg_pooling*``,
``bilinear_sampler*``, ``grid_generator*``, ``contrib/nn/deformable_im2col*``, ``correlation*``. What does not belong
here: windows of a fixed stride, and images as files have them.
"""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import (
    Call,
    Results,
    Rule,
    ShapeNeededError,
)
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FAR: Final = 1 << 62
#: What one correlation may become, in shifts of one map against the other; FlowNet has 441.
_MAX_SHIFTS: Final = 4096
#: What a deformable kernel may cover, in pixels; published ones have 9.
_MAX_TAPS: Final = 4096


def _resize(call: Call) -> Results:
    """``BilinearResize2D`` to a size, by a factor, like another tensor, or to even or odd sizes."""
    aligned = call.flag("align_corners", default=True)
    height, width = (_target(call, axis) for axis in (2, 3))
    if not aligned and 1 in (height, width):
        return _resize_to_one(call, height, width)
    data = call.input()
    sizes = call.dynamic_shape([call.graph.slice(call.graph.shape(data), [0], [2], [0]), height, width])
    mode = "align_corners" if aligned else "half_pixel"
    return call.finish("Resize", [data, "", "", sizes], mode="linear", coordinate_transformation_mode=mode)


def _target(call: Call, axis: int) -> int | str:
    """Return a size after resizing: a number, or a vector of one where it depends on a size that is not known."""
    result = call.result()
    if result is not None and result[axis] != UNKNOWN:
        return result[axis]
    mode = call.word("mode", "size")
    if mode == "like":
        return call.size_of(call.input(1), axis)
    scale = call.number("scale_height" if axis == 2 else "scale_width", 1.0)
    size = call.size_of(call.input(), axis)
    odd = call.emit("Mod", [size, call.integers_constant([2])])
    if mode == "size":
        return _scaled(call, size, scale)
    if mode == "odd_scale":
        return call.emit("Add", [_scaled(call, call.emit("Sub", [size, odd]), scale), odd])
    change = odd if "even" in mode else call.emit("Sub", [call.integers_constant([1]), odd])
    if mode not in ("to_even_down", "to_even_up", "to_odd_down", "to_odd_up"):
        raise MalformedModelError(f"node {call.name!r} resizes in the mode {mode!r}")
    return call.emit("Sub" if mode.endswith("down") else "Add", [size, change])


def _scaled(call: Call, size: str, scale: float) -> str:
    grown = call.emit("Mul", [call.graph.cast(size, "float32"), call.constant(scale, "float32")])
    return call.graph.cast(grown, "int64")


def _resize_to_one(call: Call, height: int | str, width: int | str) -> Results:
    """Take the first row or column where one alone is wanted and corners are not aligned, as the original does."""
    data, graph = call.input(), call.graph
    for axis, size in ((2, height), (3, width)):
        if size == 1:
            data = graph.slice(data, [0], [1], [axis])
    sizes = call.dynamic_shape([graph.slice(graph.shape(data), [0], [2], [0]), height, width])
    return call.finish("Resize", [data, "", "", sizes], mode="linear", coordinate_transformation_mode="half_pixel")


def _pool_adaptively(call: Call) -> Results:
    """``AdaptiveAvgPooling2D``: means over windows that overlap where a size is no multiple of the output's."""
    sizes = call.integers("output_size") or (1,)
    target = (sizes[0], sizes[-1])
    if target == (1, 1):
        return call.finish("GlobalAveragePool", [call.input()])
    height, width = call.dims()[2:]
    if UNKNOWN in (height, width):
        raise ShapeNeededError(0)
    if min(target) < 1:
        raise MalformedModelError(f"node {call.name!r} pools to {target}")
    if height % target[0] == 0 and width % target[1] == 0:
        kernel = [height // target[0], width // target[1]]
        return call.finish("AveragePool", [call.input()], kernel_shape=kernel, strides=kernel)
    dtype = call.dtype()
    rows = call.computed(lambda: _means(height, target[0], dtype), dtype, (target[0], height), "rows")
    columns = call.computed(lambda: _means(width, target[1], dtype).T, dtype, (width, target[1]), "columns")
    return call.finish("MatMul", [rows, call.emit("MatMul", [call.input(), columns])])


def _means(size: int, parts: int, dtype: str) -> "NDArray[Any]":
    """Return (parts, size): the weight of each place in the mean of each part."""
    import numpy as np

    part = np.arange(parts)[:, None]
    place = np.arange(size)[None, :]
    inside = (place >= part * size // parts) & (place < -(-(part + 1) * size // parts))
    weights: NDArray[Any] = (inside / inside.sum(axis=1, keepdims=True)).astype(dtype)
    return weights


def _grid_sample(call: Call, data: str, grid: str, *, aligned: bool, border: bool) -> str:
    """Return bilinear samples of (batch, channels, height, width) at (batch, rows, columns, x and y from -1 to 1)."""
    if call.graph.opset < 16:
        return _grid_gather(call, data, grid, aligned=aligned, border=border)
    attributes = {
        "mode": "linear" if call.graph.opset >= 20 else "bilinear",
        "padding_mode": "border" if border else "zeros",
        "align_corners": int(aligned),
    }
    return call.emit("GridSample", [data, grid], **attributes)


def _grid_gather(call: Call, data: str, grid: str, *, aligned: bool, border: bool) -> str:
    """Sample by positions, for the operator sets that have no GridSample."""
    graph = call.graph
    shape = graph.shape(data)
    sizes = [graph.gather(shape, [axis]) for axis in (3, 2)]
    sides = [
        _side(call, graph.slice(grid, [at], [at + 1], [3]), size, aligned=aligned, border=border)
        for at, size in enumerate(sizes)
    ]
    flat = graph.reshape(data, [0, 0, -1])
    channels = graph.slice(shape, [1], [2], [0])
    total = ""
    for column, across in sides[0]:
        for row, down in sides[1]:
            place = call.emit("Add", [call.emit("Mul", [row, sizes[0]]), column])
            place = graph.reshape(graph.squeeze(place, [3]), [0, 1, -1])
            whole = graph.concat(
                [
                    graph.slice(graph.shape(place), [0], [1], [0]),
                    channels,
                    graph.slice(graph.shape(place), [2], [3], [0]),
                ],
                0,
            )
            found = call.emit("GatherElements", [flat, call.emit("Expand", [place, whole])], axis=2)
            weight = graph.reshape(call.emit("Mul", [across, down]), [0, 1, -1])
            part = call.emit("Mul", [found, weight])
            total = call.emit("Add", [total, part]) if total else part
    heads = [graph.slice(shape, [0], [2], [0]), graph.slice(graph.shape(grid), [1], [3], [0])]
    return call.emit("Reshape", [total, graph.concat(heads, 0)])


def _side(call: Call, grid: str, size: str, *, aligned: bool, border: bool) -> list[tuple[str, str]]:
    """Return the two pixels around each coordinate of one side, int64, and their weights: 0 outside."""
    graph, dtype = call.graph, call.dtype()
    one, half = call.constant(1.0), call.constant(0.5)
    count = graph.cast(size, dtype)
    last = call.emit("Sub", [count, one])
    moved = call.emit("Add", [grid, one])
    if aligned:
        place = call.emit("Mul", [call.emit("Mul", [moved, last]), half])
    else:
        place = call.emit("Mul", [call.emit("Sub", [call.emit("Mul", [moved, count]), one]), half])
    zero = call.constant(0.0)
    if border:
        place = call.emit("Max", [call.emit("Min", [place, last]), zero])
    low = call.emit("Floor", [place])
    rest = call.emit("Sub", [place, low])
    found = []
    for pixel, weight in ((low, call.emit("Sub", [one, rest])), (call.emit("Add", [low, one]), rest)):
        inside = call.emit("And", [call.emit("GreaterOrEqual", [pixel, zero]), call.emit("LessOrEqual", [pixel, last])])
        bounded = call.emit("Max", [call.emit("Min", [pixel, last]), zero])
        found.append((graph.cast(bounded, "int64"), call.emit("Where", [inside, weight, zero])))
    return found


def _sample(call: Call) -> Results:
    """``BilinearSampler``: a grid (batch, 2, height, width) of x and y from -1 to 1, zeros outside."""
    grid = call.graph.transpose(call.input(1), [0, 2, 3, 1])
    return call.finish("Identity", [_grid_sample(call, call.input(), grid, aligned=True, border=False)])


def _generate_grid(call: Call) -> Results:
    """``GridGenerator``: a grid from six numbers of an affine map, or from a flow in pixels."""
    if call.word("transform_type", "affine") == "affine":
        return _affine_grid(call, call.input(), _grid_size(call, None), last=True)
    graph = call.graph
    height, width = call.dims()[2:]
    if UNKNOWN in (height, width):
        raise ShapeNeededError(0)
    dtype = call.dtype()
    places = call.computed(lambda: _pixels(height, width, dtype), dtype, (1, 2, height, width), "pixels")
    moved = call.emit("Add", [call.input(), places])
    halves = graph.reshape(call.constant([(width - 1) / 2, (height - 1) / 2]), [1, 2, 1, 1])
    return call.finish("Sub", [call.emit("Div", [moved, halves]), call.constant(1.0)])


def _pixels(height: int, width: int, dtype: str) -> "NDArray[Any]":
    import numpy as np

    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y])[None].astype(dtype)


def _grid_size(call: Call, data: int | None) -> tuple[int, int]:
    """Return the size of a grid; sizes of 0 are those of the data."""
    sizes = call.integers("target_shape") or (0, 0)
    found = [size or (call.dims(data)[2 + axis] if data is not None else 0) for axis, size in enumerate(sizes[:2])]
    if UNKNOWN in found:
        raise ShapeNeededError(data or 0)
    if len(found) != 2 or min(found) < 1:
        raise MalformedModelError(f"node {call.name!r} makes a grid of {sizes}")
    return found[0], found[1]


def _affine_grid(call: Call, theta: str, size: tuple[int, int], *, last: bool = False) -> str:
    """Return (batch, 2, height, width)."""
    height, width = size
    dtype = call.dtype()
    base = call.computed(lambda: _unit_grid(height, width, dtype), dtype, (3, height * width), "grid")
    grid = call.emit("MatMul", [call.graph.reshape(theta, [0, 2, 3]), base])
    return call.graph.reshape(grid, [0, 2, height, width], **(call.last if last else {}))


def _unit_grid(height: int, width: int, dtype: str) -> "NDArray[Any]":
    """Return x, y and 1 of each place, from -1 to 1."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width]
    x = -1 + x * (2 / (width - 1)) if width > 1 else x - 1.0
    y = -1 + y * (2 / (height - 1)) if height > 1 else y - 1.0
    return np.stack([x, y, np.ones_like(x, np.float64)]).reshape(3, -1).astype(dtype)


def _transform(call: Call) -> Results:
    """``SpatialTransformer``: the first input sampled by the affine map of the second."""
    grid = _affine_grid(call, call.input(1), _grid_size(call, 0))
    grid = call.graph.transpose(grid, [0, 2, 3, 1])
    return call.finish("Identity", [_grid_sample(call, call.input(), grid, aligned=True, border=False)])


def _convolve_moved(call: Call) -> Results:
    """``DeformableConvolution``: nothing outside, the last row and column repeated up to the image's edge."""
    return _convolve_at(call, 1, None, 2)


def _convolve_modulated(call: Call) -> Results:
    """``ModulatedDeformableConvolution``: zeros around the image, and a factor for each sample."""
    return _convolve_at(call, 1, 2, 3)


def _convolve_at(call: Call, offsets: int, mask: int | None, weights: int) -> Results:
    """Sample each tap of the kernel at its moved places, then convolve over the taps alone."""
    graph = call.graph
    kernel = call.integers("kernel") or ()
    if len(kernel) != 2 or min(kernel) < 1 or prod(kernel) > _MAX_TAPS:
        raise MalformedModelError(f"node {call.name!r} has the kernel {kernel}")
    groups, taps = max(call.integer("num_deformable_group", 1), 1), prod(kernel)
    channels, height, width = _known(call.dims()[1:])
    rows, columns = _known(call.dims(offsets)[2:], offsets)
    moves = graph.reshape(call.input(offsets), [0, groups, taps, 2, rows, columns])
    base = _taps(call, kernel, rows, columns)
    y, x = (call.emit("Add", [graph.gather(moves, call.integers_constant(axis), 3), base[axis]]) for axis in (0, 1))
    data = graph.reshape(call.input(), [-1, channels // groups, height, width])
    pairs = [_normalised(call, x, width), _normalised(call, y, height)]
    # Taps and rows become one dimension, images and groups the batch.
    grid = graph.concat([graph.unsqueeze(pair, [5]) for pair in pairs], 5)
    grid = graph.reshape(grid, [-1, taps * rows, columns, 2])
    sampled = _grid_sample(call, data, grid, aligned=False, border=mask is None)
    factor = _inside(call, y, x, height, width) if mask is None else call.input(mask)
    sampled = call.emit("Mul", [sampled, graph.reshape(factor, [-1, 1, taps * rows, columns])])
    flat = graph.reshape(sampled, [-1, channels, taps, rows * columns])
    convolved = call.emit("Conv", _taps_first(call, flat, weights, taps), group=max(call.integer("num_group", 1), 1))
    return graph.reshape(convolved, [0, 0, rows, columns], **call.last)


def _known(sizes: Sequence[int], index: int = 0) -> Sequence[int]:
    if UNKNOWN in sizes:
        raise ShapeNeededError(index)
    return sizes


def _taps(call: Call, kernel: Sequence[int], rows: int, columns: int) -> list[str]:
    """Return y and x of each tap where nothing is moved, (taps, rows, columns) after broadcasting."""
    strides, pads = call.integers("stride") or (1, 1), call.integers("pad") or (0, 0)
    dilations, dtype = call.integers("dilate") or (1, 1), call.dtype()
    found = []
    for axis, count in ((0, rows), (1, columns)):
        taps = [place // kernel[1] if axis == 0 else place % kernel[1] for place in range(prod(kernel))]

        def places(taps: list[int] = taps, axis: int = axis, count: int = count) -> "NDArray[Any]":
            import numpy as np

            along = np.arange(count) * strides[axis] - pads[axis]
            result = np.array(taps)[:, None] * dilations[axis] + along[None, :]
            return np.expand_dims(result, 2 - axis).astype(dtype)

        shape = (len(taps), count, 1) if axis == 0 else (len(taps), 1, count)
        found.append(call.computed(places, dtype, shape, "yx"[axis]))
    return found


def _normalised(call: Call, places: str, size: int) -> str:
    """Turn pixels into the coordinates of GridSample without aligned corners: (2 x + 1) / size - 1."""
    scaled = call.emit("Mul", [places, call.constant(2 / size)])
    return call.emit("Add", [scaled, call.constant(1 / size - 1)])


def _inside(call: Call, y: str, x: str, height: int, width: int) -> str:
    """Return 1 for the places from the first pixel on, up to one behind the last."""
    zero = call.constant(0.0)
    tests = []
    for places, size in ((y, height), (x, width)):
        tests.append(call.emit("GreaterOrEqual", [places, zero]))
        tests.append(call.emit("Less", [places, call.constant(float(size))]))
    found = tests[0]
    for test in tests[1:]:
        found = call.emit("And", [found, test])
    return call.graph.cast(found, call.dtype())


def _taps_first(call: Call, flat: str, weights: int, taps: int) -> list[str]:
    """Return the operands of a convolution over (batch, channels, taps, places)."""
    filters, *_ = call.dims(weights)
    inputs = [flat, call.graph.reshape(call.input(weights), [filters, -1, taps, 1])]
    if not call.flag("no_bias") and call.has(weights + 1):
        inputs.append(call.input(weights + 1))
    return inputs


def _correlate(call: Call) -> Results:
    """``Correlation`` of two feature maps: means of products, or of differences, for each shift of the second."""
    graph = call.graph
    kernel, reach = call.integer("kernel_size", 1), call.integer("max_displacement", 1)
    stride, step, pad = call.integer("stride1", 1), call.integer("stride2", 1), call.integer("pad_size", 0)
    _, _, height, width = call.dims()
    if UNKNOWN in (height, width):
        raise ShapeNeededError(0)
    if min(kernel, stride, step) < 1 or min(reach, pad) < 0 or kernel % 2 == 0:
        raise MalformedModelError(f"node {call.name!r} correlates with a kernel of {kernel}")
    border = reach + kernel // 2
    rows, columns = (-(-(size + 2 * pad - 2 * border) // stride) for size in (height, width))
    radius = reach // step
    if min(rows, columns) < 1:
        raise MalformedModelError(f"node {call.name!r} leaves nothing of {height} x {width}")
    if (2 * radius + 1) ** 2 > _MAX_SHIFTS:
        raise LimitExceededError(f"node {call.name!r} correlates {(2 * radius + 1) ** 2} shifts")
    maps = [graph.pad(call.input(at), [0, 0, pad, pad, 0, 0, pad, pad], dtype=call.dtype()) for at in (0, 1)]
    # The windows of all results together.
    spans = [(count - 1) * stride + kernel for count in (rows, columns)]
    first = _window(call, maps[0], (reach, reach), spans)
    found = []
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            second = _window(call, maps[1], (reach + dy * step, reach + dx * step), spans)
            if call.flag("is_multiply", default=True):
                terms = call.emit("Mul", [first, second])
            else:
                terms = call.emit("Abs", [call.emit("Sub", [first, second])])
            found.append(graph.reduce("ReduceMean", terms, [1]))
    joined = graph.concat(found, 1)
    return call.finish("AveragePool", [joined], kernel_shape=[kernel, kernel], strides=[stride, stride])


def _window(call: Call, data: str, starts: tuple[int, int], spans: Sequence[int]) -> str:
    return call.graph.slice(data, starts, [start + span for start, span in zip(starts, spans, strict=True)], [2, 3])


RULES: Final[dict[str, Rule]] = {
    "bilinearresize2d": _resize,
    "adaptiveavgpooling2d": _pool_adaptively,
    "bilinearsampler": _sample,
    "gridgenerator": _generate_grid,
    "spatialtransformer": _transform,
    "deformableconvolution": _convolve_moved,
    "modulateddeformableconvolution": _convolve_modulated,
    "correlation": _correlate,
}
