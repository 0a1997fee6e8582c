"""Functions that a model's graph calls beside its layers: ``TFOpLambda`` of tf.keras and the operations of Keras 3.

Both are looked up by one name: the last part of ``math.reduce_mean`` without its prefix, or ``ExpandDims`` in snake
case. tf.keras gives constants to the call by name; Keras 3 by position, or in the operation's configuration.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from klever.steps.kerasconfig.document import MAX_EQUATION, MAX_RANK, ConfigError, as_integer
from klever.steps.kerasconfig.layer import Call, Layer, Result, Spec, numpy_dtype, tensors
from klever.steps.kerasconfig.rules.recorded import function_name
from klever.steps.kerasconfig.rules.rule import Rule
from klever.steps.model import shapes
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, normalise_axis

#: Layers that are nodes of a graph, and all those that call functions of TensorFlow.
RECORDED: Final = "TensorFlowOpLayer"
FUNCTION_LAYERS: Final = frozenset({"TFOpLambda", "SlicingOpLambda", RECORDED})

#: Parts that one tensor is split into.
_MAX_PARTS: Final = 1024
_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def operation_name(layer: Layer) -> str:
    """Return the name under which an operation is looked up."""
    written = layer.config.get("function")
    if not isinstance(written, str):
        written = layer.class_name if layer.class_name != RECORDED else function_name(layer)
    text = _CAPITAL.sub("_", written)
    return text.rpartition(".")[2].lower().removeprefix("reduce_").removesuffix("_v2")


def rule_for_operation(layer: Layer) -> Rule | None:
    """Return the rule of an operation, None where it is not known."""
    return OPERATIONS.get(operation_name(layer))


def _parameter(layer: Layer, call: Call, position: int, *names: str) -> Any:
    value = call.argument(position, *names)
    if value is None:
        value = next((layer.config[name] for name in names if name in layer.config), None)
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        return value.get("items")
    return value


def _axes(value: object, rank: int) -> list[int] | None:
    """Return the axes of a parameter, None for all of them."""
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_RANK:
        raise ConfigError("more axes than any tensor has")
    return [normalise_axis(as_integer(axis), rank) for axis in values]


def _sizes(value: object) -> list[int] | None:
    """Return sizes from a list in which tensors stand for unknown ones; None where even the rank is unknown."""
    if isinstance(value, list) and len(value) <= MAX_RANK:
        return [UNKNOWN if isinstance(item, Spec) or item is None else as_integer(item) for item in value]
    return [value] if isinstance(value, int) else None


def _dtype_of(specs: list[Spec]) -> str | None:
    """Return the one type of all operands; floating ones win over others, as Keras 3 promotes."""
    names = {spec.dtype for spec in specs}
    if len(names) > 1:
        names = {name for name in names if name and "float" in name}
    return names.pop() if len(names) == 1 else None


def elementwise(layer: Layer, call: Call) -> Spec:
    """Broadcast all tensors among the arguments; constants are taken for scalars, which they nearly always are."""
    del layer
    specs = list(tensors([list(call.args), dict(call.kwargs)]))
    return Spec(shapes.broadcast(*(spec.shape for spec in specs)), _dtype_of(specs))


def division(layer: Layer, call: Call) -> Spec:
    """Broadcast; integers become floats."""
    result = elementwise(layer, call)
    return result if result.dtype is None or "float" in result.dtype else Spec(result.shape, None)


def comparison(layer: Layer, call: Call) -> Spec:
    """Broadcast to booleans."""
    return Spec(elementwise(layer, call).shape, "bool")


def unary(layer: Layer, call: Call) -> Spec:
    """Keep shape and type of the first tensor."""
    del layer
    return call.first


def test(layer: Layer, call: Call) -> Spec:
    """Keep the shape, for booleans."""
    del layer
    return Spec(call.first.shape, "bool")


def where(layer: Layer, call: Call) -> Spec:
    """Broadcast the condition with both choices, whose type counts."""
    choices = [value for value in (call.argument(1, "x", "x1"), call.argument(2, "y", "x2")) if isinstance(value, Spec)]
    return Spec(elementwise(layer, call).shape, _dtype_of(choices) if choices else None)


def reduction(layer: Layer, call: Call) -> Spec:
    """Reduce over ``axis``."""
    axis = _parameter(layer, call, 1, "axis", "axes")
    keep = _parameter(layer, call, 2, "keepdims", "keep_dims") is True
    shape = call.first.shape
    axes = axis if axis is None else _axes(axis, len(shape)) if shape is not None else ()
    dtype = "bool" if operation_name(layer) in ("all", "any") else call.first.dtype
    return Spec(shapes.reduce(shape, axes, keep=keep), dtype)


def arg_reduction(layer: Layer, call: Call) -> Spec:
    """Reduce to an index; TensorFlow takes the first axis and 64 bits where nothing is said, Keras all and 32."""
    tensorflow = layer.class_name in FUNCTION_LAYERS
    axis = _parameter(layer, call, 1, "axis", "dimension")
    axis = 0 if axis is None and tensorflow else axis
    axes = None if axis is None else [as_integer(axis)]
    given = numpy_dtype(call.kwargs.get("output_type"))
    keep = _parameter(layer, call, 2, "keepdims") is True
    return Spec(shapes.reduce(call.first.shape, axes, keep=keep), given or ("int64" if tensorflow else "int32"))


def reshape(layer: Layer, call: Call) -> Spec:
    """Reshape to sizes of which some may be tensors."""
    target = _sizes(_parameter(layer, call, 1, "shape", "newshape"))
    if target is None:
        return Spec(None, call.first.dtype)
    return Spec(shapes.reshape(call.first.shape, target), call.first.dtype)


def transpose(layer: Layer, call: Call) -> Spec:
    """Permute the dimensions."""
    order = _parameter(layer, call, 1, "perm", "axes")
    axes = None if order is None else _sizes(order)
    return Spec(shapes.transpose(call.first.shape, axes), call.first.dtype)


def swap(layer: Layer, call: Call) -> Spec:
    """Exchange two dimensions."""
    shape = call.first.shape
    if shape is None:
        return call.first
    a, b = (normalise_axis(as_integer(_parameter(layer, call, n, f"axis{n}")), len(shape)) for n in (1, 2))
    order = list(range(len(shape)))
    order[a], order[b] = b, a
    return Spec(shapes.transpose(shape, order), call.first.dtype)


def concatenation(layer: Layer, call: Call) -> Spec:
    """Join along ``axis``."""
    axis = _parameter(layer, call, 1, "axis")
    known = [spec.shape for spec in call.specs]
    return Spec(shapes.concatenate(known, as_integer(-1 if axis is None else axis)), _dtype_of(list(call.specs)))


def stack(layer: Layer, call: Call) -> Spec:
    """Join along a new axis."""
    shape: Shape = None
    for spec in call.specs:
        shape = shapes.merge(shape, spec.shape)
    axis = _parameter(layer, call, 1, "axis")
    return Spec(_insert(shape, as_integer(axis or 0), len(call.specs)), _dtype_of(list(call.specs)))


def _insert(shape: Shape, axis: int, size: int) -> Shape:
    if shape is None:
        return None
    at = normalise_axis(axis, len(shape) + 1)
    return (*shape[:at], size, *shape[at:])


def expansion(layer: Layer, call: Call) -> Spec:
    """Insert dimensions of 1."""
    axis = _parameter(layer, call, 1, "axis")
    shape = call.first.shape
    for item in axis[:MAX_RANK] if isinstance(axis, list) else [axis]:
        shape = _insert(shape, as_integer(item), 1)
    return Spec(shape, call.first.dtype)


def squeeze(layer: Layer, call: Call) -> Spec:
    """Drop dimensions of 1."""
    shape = call.first.shape
    axis = _parameter(layer, call, 1, "axis", "squeeze_dims")
    if shape is None or (axis in (None, []) and UNKNOWN in shape):
        return Spec(None, call.first.dtype)
    axes = [n for n, size in enumerate(shape) if size == 1] if axis in (None, []) else _axes(axis, len(shape))
    return Spec(shapes.reduce(shape, axes, keep=False), call.first.dtype)


def cast(layer: Layer, call: Call) -> Spec:
    """Change the type."""
    return Spec(call.first.shape, numpy_dtype(_parameter(layer, call, 1, "dtype")))


def matrix_product(layer: Layer, call: Call) -> Spec:
    """Multiply matrices, transposed where the call says so."""
    found = list(tensors([list(call.args), dict(call.kwargs)]))
    if len(found) < 2:
        return Spec(None, call.first.dtype)
    sides = []
    for spec, side in zip(found, "ab", strict=False):
        flipped = any(call.kwargs.get(f"{word}_{side}") is True for word in ("transpose", "adjoint"))
        shape = spec.shape
        if flipped and shape is not None and len(shape) > 1:
            shape = (*shape[:-2], shape[-1], shape[-2])
        sides.append(shape)
    del layer
    return Spec(shapes.matmul(*sides), _dtype_of(found[:2]))


def einsum(layer: Layer, call: Call) -> Spec:
    """Read the letters of an equation; one with an ellipsis stays unknown."""
    equation = layer.config.get("subscripts", call.argument(0, "equation"))
    specs = list(tensors([list(call.args), dict(call.kwargs)]))
    if not isinstance(equation, str) or len(equation) > MAX_EQUATION or "..." in equation or "->" not in equation:
        return Spec(None, _dtype_of(specs))
    left, _, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    sizes: dict[str, int] = {}
    if len(terms) == len(specs):
        for term, spec in zip(terms, specs, strict=True):
            for letter, size in zip(term, spec.shape or (), strict=False):
                sizes[letter] = max(size, sizes.get(letter, UNKNOWN))
    return Spec(tuple(sizes.get(letter, UNKNOWN) for letter in out), _dtype_of(specs))


def split(layer: Layer, call: Call) -> Result:
    """Cut along ``axis`` into equal parts, at indices (Keras) or by sizes (TensorFlow)."""
    parts = _parameter(layer, call, 1, "num_or_size_splits", "indices_or_sections")
    shape, dtype = call.first.shape, call.first.dtype
    if shape is None:
        return Spec(None, dtype)
    at = normalise_axis(as_integer(_parameter(layer, call, 2, "axis") or 0), len(shape))
    size = shape[at]
    if isinstance(parts, int) and 0 < parts <= _MAX_PARTS:
        sizes = [UNKNOWN if size == UNKNOWN else size // parts] * parts
    elif isinstance(parts, list) and len(parts) <= _MAX_PARTS:
        numbers = [as_integer(part) for part in parts]
        sizes = numbers
        if layer.class_name not in FUNCTION_LAYERS:
            edges = [0, *numbers]
            last = UNKNOWN if size == UNKNOWN else size - edges[-1]
            sizes = [b - a for a, b in zip(edges, numbers, strict=False)] + [last]
    else:
        raise ConfigError(f"{parts!r:.40} splits nothing")
    return [Spec((*shape[:at], part, *shape[at + 1 :]), dtype) for part in sizes]


def unstack(layer: Layer, call: Call) -> Result:
    """Cut an axis into its single positions."""
    shape = call.first.shape
    if shape is None:
        return Spec(None, call.first.dtype)
    at = normalise_axis(as_integer(_parameter(layer, call, 2, "axis") or 0), len(shape))
    if not 0 < shape[at] <= _MAX_PARTS:
        raise ShapeMismatchError(f"{shape[at]} positions cannot be taken apart")
    return [Spec((*shape[:at], *shape[at + 1 :]), call.first.dtype)] * shape[at]


def tile(layer: Layer, call: Call) -> Spec:
    """Repeat whole dimensions."""
    factors = _sizes(_parameter(layer, call, 1, "multiples", "repeats"))
    shape = call.first.shape
    if shape is None or factors is None:
        return Spec(None, call.first.dtype)
    rank = max(len(shape), len(factors))
    shape = (1,) * (rank - len(shape)) + shape
    factors = [1] * (rank - len(factors)) + factors
    sizes = (UNKNOWN if UNKNOWN in (n, f) else n * f for n, f in zip(shape, factors, strict=True))
    return Spec(tuple(sizes), call.first.dtype)


def repetition(layer: Layer, call: Call) -> Spec:
    """Repeat each position along ``axis``."""
    shape, axis = call.first.shape, _parameter(layer, call, 2, "axis")
    count = _parameter(layer, call, 1, "repeats")
    if shape is None or axis is None or not isinstance(count, int):
        return Spec((UNKNOWN,) if axis is None else None, call.first.dtype)
    at = normalise_axis(as_integer(axis), len(shape))
    size = UNKNOWN if shape[at] == UNKNOWN else shape[at] * count
    return Spec((*shape[:at], size, *shape[at + 1 :]), call.first.dtype)


def pad(layer: Layer, call: Call) -> Spec:
    """Add at both ends of each dimension."""
    amounts = _parameter(layer, call, 1, "paddings", "pad_width")
    shape = call.first.shape
    if shape is None or not isinstance(amounts, list) or len(amounts) != len(shape):
        return Spec(None if shape is None else (UNKNOWN,) * len(shape), call.first.dtype)
    pairs = [_sizes(pair) or [UNKNOWN] for pair in amounts]
    return Spec(tuple(shapes.add(n, *pair) for n, pair in zip(shape, pairs, strict=True)), call.first.dtype)


def resize(layer: Layer, call: Call) -> Spec:
    """Set height and width of an image."""
    shape, size = call.first.shape, _sizes(_parameter(layer, call, 1, "size"))
    dtype = call.first.dtype if layer.class_name not in FUNCTION_LAYERS else "float32"
    if shape is None or size is None or len(size) != 2 or len(shape) < 3:
        return Spec(None, dtype)
    if _parameter(layer, call, 9, "data_format") == "channels_first":
        return Spec((*shape[:-2], *size), dtype)
    return Spec((*shape[:-3], *size, shape[-1]), dtype)


def one_hot(layer: Layer, call: Call) -> Spec:
    """Append a dimension for the classes."""
    size = _parameter(layer, call, 1, "depth", "num_classes")
    axis = _parameter(layer, call, 4, "axis")
    shape = _insert(call.first.shape, -1 if axis is None else as_integer(axis), as_integer(size))
    return Spec(shape, numpy_dtype(_parameter(layer, call, 9, "dtype")) or "float32")


def gather(layer: Layer, call: Call) -> Spec:
    """Replace ``axis`` by the shape of the indices."""
    indices = _parameter(layer, call, 1, "indices")
    axis, shape = _parameter(layer, call, 2, "axis"), call.first.shape
    chosen: Shape = (len(indices),) if isinstance(indices, list) else ()
    if isinstance(indices, Spec):
        chosen = indices.shape
    if shape is None or chosen is None or call.kwargs.get("batch_dims"):
        return Spec(None, call.first.dtype)
    at = normalise_axis(as_integer(axis or 0), len(shape))
    return Spec((*shape[:at], *chosen, *shape[at + 1 :]), call.first.dtype)


def top_k(layer: Layer, call: Call) -> Result:
    """Shorten the last dimension, for values and indices."""
    shape, k = call.first.shape, as_integer(_parameter(layer, call, 1, "k") or 1)
    short = None if not shape else (*shape[:-1], k)
    return [Spec(short, call.first.dtype), Spec(short, "int32")]


def shape_of(layer: Layer, call: Call) -> Spec:
    """Return a vector of the sizes."""
    shape = call.first.shape
    kind = numpy_dtype(call.kwargs.get("out_type")) or "int32"
    del layer
    return Spec((UNKNOWN,) if shape is None else (len(shape),), kind)


def get_item(layer: Layer, call: Call) -> Spec:
    """Index as Python does: integers drop a dimension, null inserts one, slices shorten, an ellipsis skips."""
    key = _parameter(layer, call, 1, "slice_spec", "key")
    items = key if isinstance(key, list) else [key]
    if len(items) > 2 * MAX_RANK:
        raise ConfigError("more indices than any tensor takes")
    shape = call.first.shape
    if shape is None:
        return Spec(None, call.first.dtype)
    used = sum(1 for item in items if item is not None and not _is_ellipsis(item))
    result: list[int] = []
    position = 0
    for item in items:
        if item is None:
            result.append(1)
        elif _is_ellipsis(item):
            skipped = max(0, len(shape) - used)
            result += shape[position : position + skipped]
            position += skipped
        elif position >= len(shape):
            raise ShapeMismatchError(f"{shape} is indexed by more than its rank")
        else:
            if isinstance(item, Mapping):
                result.append(_slice_size(shape[position], item))
            elif isinstance(item, Spec) and item.shape != ():
                return Spec(None, call.first.dtype)
            position += 1
    return Spec((*result, *shape[position:]), call.first.dtype)


def _is_ellipsis(item: object) -> bool:
    return item == "..." or (isinstance(item, Mapping) and item.get("class_name") == "__ellipsis__")


def _slice_size(size: int, item: Mapping[str, Any]) -> int:
    inner = item.get("config", item)
    bounds = [inner.get(key) for key in ("start", "stop", "step")] if isinstance(inner, Mapping) else [0]
    if bounds == [None, None, None]:
        return size
    if any(bound is not None and not isinstance(bound, int) for bound in bounds) or bounds[-1] == 0:
        return UNKNOWN
    start, stop, step = bounds
    if size != UNKNOWN:
        return len(range(*slice(start, stop, step).indices(size)))
    # A slice that counts from the front of an unknown dimension can still come out shorter.
    return UNKNOWN


def _table(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


OPERATIONS: Final[dict[str, Rule]] = {
    **_table(
        elementwise,
        "add subtract sub multiply mul floor_divide floordiv mod floormod power pow maximum minimum "
        "squared_difference arctan2 atan2 remainder logaddexp hypot bitwise_and bitwise_or bitwise_xor add_n "
        "bias_add clip clip_by_value",
    ),
    **_table(division, "divide truediv true_divide div real_div div_no_nan divide_no_nan"),
    **_table(
        comparison,
        "equal not_equal greater greater_equal less less_equal logical_and logical_or logical_xor eq ne gt ge "
        "lt le isclose",
    ),
    **_table(
        unary,
        "abs absolute exp expm1 log log1p log2 log10 sqrt rsqrt square relu relu6 sigmoid tanh softmax "
        "log_softmax gelu silu swish elu selu celu softplus softsign leaky_relu hard_sigmoid hard_silu "
        "hard_swish hard_tanh log_sigmoid mish negative neg sign round floor ceil sin cos tan asin acos atan "
        "sinh cosh asinh acosh atanh arcsin arccos arctan l2_normalize identity stop_gradient dropout cumsum "
        "cumprod flip reverse roll erf erfinv reciprocal normalize zeros_like ones_like tril triu sort "
        "nan_to_num glu_gate squareplus sparse_plus tanh_shrink soft_shrink hard_shrink threshold copy real "
        "trunc lgamma digamma ensure_shape check_numerics lrn local_response_normalization "
        "batch_normalization fused_batch_norm rms_normalization layer_normalization",
    ),
    **_table(test, "isnan isfinite isinf is_nan is_finite is_inf logical_not"),
    **_table(
        reduction,
        "mean sum max min prod std var variance all any logsumexp norm euclidean_norm amax amin median "
        "count_nonzero average",
    ),
    **_table(arg_reduction, "argmax argmin arg_max arg_min"),
    **_table(concatenation, "concat concatenate"),
    **_table(gather, "gather take"),
    **_table(matrix_product, "matmul"),
    **_table(get_item, "getitem get_item"),
    **_table(transpose, "transpose"),
    **_table(swap, "swapaxes"),
    **_table(reshape, "reshape"),
    **_table(where, "where"),
    **_table(stack, "stack"),
    **_table(expansion, "expand_dims"),
    **_table(squeeze, "squeeze"),
    **_table(cast, "cast"),
    **_table(einsum, "einsum"),
    **_table(split, "split"),
    **_table(unstack, "unstack"),
    **_table(tile, "tile"),
    **_table(repetition, "repeat"),
    **_table(pad, "pad"),
    **_table(resize, "resize resize_images resize_bilinear resize_nearest_neighbor"),
    **_table(one_hot, "one_hot"),
    **_table(top_k, "top_k"),
    **_table(shape_of, "shape"),
}
