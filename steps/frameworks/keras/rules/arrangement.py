"""Operations that arrange elements anew: reshaping, joining, splitting, repeating, picking by index."""

from typing import Final

from klever.steps.frameworks.keras.document import MAX_RANK, ConfigError, as_integer
from klever.steps.frameworks.keras.layer import FUNCTION_LAYERS, Call, Layer, Result, Spec
from klever.steps.frameworks.keras.rules.arguments import axes_of, common_dtype, parameter, sizes_of
from klever.steps.model import shapes
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, count, divide, normalise_axis, subtract

#: Parts that one tensor is split into.
_MAX_PARTS: Final = 1024


def reshape(layer: Layer, call: Call) -> Spec:
    """Reshape to sizes of which some may be tensors."""
    target = sizes_of(parameter(layer, call, 1, "shape", "newshape"))
    if target is None:
        return Spec(None, call.first.dtype)
    return Spec(shapes.reshape(call.first.shape, target), call.first.dtype)


def transpose(layer: Layer, call: Call) -> Spec:
    """Permute the dimensions."""
    order = parameter(layer, call, 1, "perm", "axes")
    axes = None if order is None else sizes_of(order)
    return Spec(shapes.transpose(call.first.shape, axes), call.first.dtype)


def swap(layer: Layer, call: Call) -> Spec:
    """Exchange two dimensions."""
    shape = call.first.shape
    if shape is None:
        return call.first
    a, b = (normalise_axis(as_integer(parameter(layer, call, n, f"axis{n}")), len(shape)) for n in (1, 2))
    order = list(range(len(shape)))
    order[a], order[b] = b, a
    return Spec(shapes.transpose(shape, order), call.first.dtype)


def concatenation(layer: Layer, call: Call) -> Spec:
    """Join along ``axis``."""
    axis = parameter(layer, call, 1, "axis")
    known = [spec.shape for spec in call.specs]
    return Spec(shapes.concatenate(known, as_integer(-1 if axis is None else axis)), common_dtype(list(call.specs)))


def stack(layer: Layer, call: Call) -> Spec:
    """Join along a new axis."""
    shape: Shape = None
    for spec in call.specs:
        shape = shapes.merge(shape, spec.shape)
    axis = parameter(layer, call, 1, "axis")
    return Spec(insert(shape, as_integer(axis or 0), len(call.specs)), common_dtype(list(call.specs)))


def insert(shape: Shape, axis: int, size: int) -> Shape:
    """Return a shape with a dimension more, at ``axis`` of the new one."""
    if shape is None:
        return None
    at = normalise_axis(axis, len(shape) + 1)
    return (*shape[:at], size, *shape[at:])


def expansion(layer: Layer, call: Call) -> Spec:
    """Insert dimensions of 1."""
    axis = parameter(layer, call, 1, "axis")
    shape = call.first.shape
    for item in axis[:MAX_RANK] if isinstance(axis, list) else [axis]:
        shape = insert(shape, as_integer(item), 1)
    return Spec(shape, call.first.dtype)


def squeeze(layer: Layer, call: Call) -> Spec:
    """Drop dimensions of 1."""
    shape = call.first.shape
    axis = parameter(layer, call, 1, "axis", "squeeze_dims")
    if shape is None or (axis in (None, []) and UNKNOWN in shape):
        return Spec(None, call.first.dtype)
    axes = [n for n, size in enumerate(shape) if size == 1] if axis in (None, []) else axes_of(axis, len(shape))
    return Spec(shapes.reduce(shape, axes, keep=False), call.first.dtype)


def split(layer: Layer, call: Call) -> Result:
    """Cut along ``axis`` into equal parts, at indices (Keras) or by sizes (TensorFlow)."""
    parts = parameter(layer, call, 1, "num_or_size_splits", "indices_or_sections")
    shape, dtype = call.first.shape, call.first.dtype
    if shape is None:
        return Spec(None, dtype)
    at = normalise_axis(as_integer(parameter(layer, call, 2, "axis") or 0), len(shape))
    size = shape[at]
    if isinstance(parts, int) and 0 < parts <= _MAX_PARTS:
        sizes = [divide(size, parts)] * parts
    elif isinstance(parts, list) and len(parts) <= _MAX_PARTS:
        numbers = [as_integer(part) for part in parts]
        sizes = numbers
        if layer.class_name not in FUNCTION_LAYERS:
            edges = [0, *numbers]
            last = subtract(size, edges[-1])
            sizes = [b - a for a, b in zip(edges, numbers, strict=False)] + [last]
    else:
        raise ConfigError(f"{parts!r:.40} splits nothing")
    return [Spec((*shape[:at], part, *shape[at + 1 :]), dtype) for part in sizes]


def unstack(layer: Layer, call: Call) -> Result:
    """Cut an axis into its single positions."""
    shape = call.first.shape
    if shape is None:
        return Spec(None, call.first.dtype)
    at = normalise_axis(as_integer(parameter(layer, call, 2, "axis") or 0), len(shape))
    if not 0 < shape[at] <= _MAX_PARTS:
        raise ShapeMismatchError(f"{shape[at]} positions cannot be taken apart")
    return [Spec((*shape[:at], *shape[at + 1 :]), call.first.dtype)] * shape[at]


def tile(layer: Layer, call: Call) -> Spec:
    """Repeat whole dimensions."""
    factors = sizes_of(parameter(layer, call, 1, "multiples", "repeats"))
    shape = call.first.shape
    if shape is None or factors is None:
        return Spec(None, call.first.dtype)
    rank = max(len(shape), len(factors))
    shape = (1,) * (rank - len(shape)) + shape
    factors = [1] * (rank - len(factors)) + factors
    sizes = (count(pair) for pair in zip(shape, factors, strict=True))
    return Spec(tuple(sizes), call.first.dtype)


def repetition(layer: Layer, call: Call) -> Spec:
    """Repeat each position along ``axis``."""
    shape, axis = call.first.shape, parameter(layer, call, 2, "axis")
    times = parameter(layer, call, 1, "repeats")
    if shape is None or axis is None or not isinstance(times, int):
        return Spec((UNKNOWN,) if axis is None else None, call.first.dtype)
    at = normalise_axis(as_integer(axis), len(shape))
    return Spec((*shape[:at], count((shape[at], times)), *shape[at + 1 :]), call.first.dtype)


def pad(layer: Layer, call: Call) -> Spec:
    """Add at both ends of each dimension."""
    amounts = parameter(layer, call, 1, "paddings", "pad_width")
    shape = call.first.shape
    if shape is None or not isinstance(amounts, list) or len(amounts) != len(shape):
        return Spec(None if shape is None else (UNKNOWN,) * len(shape), call.first.dtype)
    pairs = [sizes_of(pair) or [UNKNOWN] for pair in amounts]
    return Spec(tuple(shapes.add(n, *pair) for n, pair in zip(shape, pairs, strict=True)), call.first.dtype)


def resize(layer: Layer, call: Call) -> Spec:
    """Set height and width of an image."""
    shape, size = call.first.shape, sizes_of(parameter(layer, call, 1, "size"))
    dtype = call.first.dtype if layer.class_name not in FUNCTION_LAYERS else "float32"
    if shape is None or size is None or len(size) != 2 or len(shape) < 3:
        return Spec(None, dtype)
    if parameter(layer, call, 9, "data_format") == "channels_first":
        return Spec((*shape[:-2], *size), dtype)
    return Spec((*shape[:-3], *size, shape[-1]), dtype)


def gather(layer: Layer, call: Call) -> Spec:
    """Replace ``axis`` by the shape of the indices."""
    indices = parameter(layer, call, 1, "indices")
    axis, shape = parameter(layer, call, 2, "axis"), call.first.shape
    chosen: Shape = (len(indices),) if isinstance(indices, list) else ()
    if isinstance(indices, Spec):
        chosen = indices.shape
    if shape is None or chosen is None or call.kwargs.get("batch_dims"):
        return Spec(None, call.first.dtype)
    at = normalise_axis(as_integer(axis or 0), len(shape))
    return Spec((*shape[:at], *chosen, *shape[at + 1 :]), call.first.dtype)
