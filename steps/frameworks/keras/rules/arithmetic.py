"""Operations that compute: elementwise, reductions, products, and those that answer about a tensor."""

from klever.steps.frameworks.keras.document import MAX_EQUATION, as_integer
from klever.steps.frameworks.keras.layer import FUNCTION_LAYERS, Call, Layer, Result, Spec, numpy_dtype, tensors
from klever.steps.frameworks.keras.rules.arguments import axes_of, common_dtype, operation_name, parameter
from klever.steps.frameworks.keras.rules.arrangement import insert
from klever.steps.model import shapes
from klever.steps.model.shapes import UNKNOWN


def elementwise(layer: Layer, call: Call) -> Spec:
    """Broadcast all tensors among the arguments; constants are taken for scalars, which they nearly always are."""
    del layer
    specs = list(tensors([list(call.args), dict(call.kwargs)]))
    return Spec(shapes.broadcast(*(spec.shape for spec in specs)), common_dtype(specs))


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


def predicate(layer: Layer, call: Call) -> Spec:
    """Keep the shape, for booleans."""
    del layer
    return Spec(call.first.shape, "bool")


def where(layer: Layer, call: Call) -> Spec:
    """Broadcast the condition with both choices, whose type counts."""
    choices = [value for value in (call.argument(1, "x", "x1"), call.argument(2, "y", "x2")) if isinstance(value, Spec)]
    return Spec(elementwise(layer, call).shape, common_dtype(choices) if choices else None)


def reduction(layer: Layer, call: Call) -> Spec:
    """Reduce over ``axis``."""
    axis = parameter(layer, call, 1, "axis", "axes")
    keep = parameter(layer, call, 2, "keepdims", "keep_dims") is True
    shape = call.first.shape
    axes = axis if axis is None else axes_of(axis, len(shape)) if shape is not None else ()
    dtype = "bool" if operation_name(layer) in ("all", "any") else call.first.dtype
    return Spec(shapes.reduce(shape, axes, keep=keep), dtype)


def arg_reduction(layer: Layer, call: Call) -> Spec:
    """Reduce to an index; TensorFlow takes the first axis and 64 bits where nothing is said, Keras all and 32."""
    tensorflow = layer.class_name in FUNCTION_LAYERS
    axis = parameter(layer, call, 1, "axis", "dimension")
    axis = 0 if axis is None and tensorflow else axis
    axes = None if axis is None else [as_integer(axis)]
    given = numpy_dtype(call.kwargs.get("output_type"))
    keep = parameter(layer, call, 2, "keepdims") is True
    return Spec(shapes.reduce(call.first.shape, axes, keep=keep), given or ("int64" if tensorflow else "int32"))


def cast(layer: Layer, call: Call) -> Spec:
    """Change the type."""
    return Spec(call.first.shape, numpy_dtype(parameter(layer, call, 1, "dtype")))


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
    return Spec(shapes.matmul(*sides), common_dtype(found[:2]))


def einsum(layer: Layer, call: Call) -> Spec:
    """Read the letters of an equation; one with an ellipsis stays unknown."""
    equation = layer.config.get("subscripts", call.argument(0, "equation"))
    specs = list(tensors([list(call.args), dict(call.kwargs)]))
    if not isinstance(equation, str) or len(equation) > MAX_EQUATION or "..." in equation or "->" not in equation:
        return Spec(None, common_dtype(specs))
    left, _, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    sizes: dict[str, int] = {}
    if len(terms) == len(specs):
        for term, spec in zip(terms, specs, strict=True):
            for letter, size in zip(term, spec.shape or (), strict=False):
                sizes[letter] = max(size, sizes.get(letter, UNKNOWN))
    return Spec(tuple(sizes.get(letter, UNKNOWN) for letter in out), common_dtype(specs))


def one_hot(layer: Layer, call: Call) -> Spec:
    """Append a dimension for the classes."""
    size = parameter(layer, call, 1, "depth", "num_classes")
    axis = parameter(layer, call, 4, "axis")
    shape = insert(call.first.shape, -1 if axis is None else as_integer(axis), as_integer(size))
    return Spec(shape, numpy_dtype(parameter(layer, call, 9, "dtype")) or "float32")


def top_k(layer: Layer, call: Call) -> Result:
    """Shorten the last dimension, for values and indices."""
    shape, k = call.first.shape, as_integer(parameter(layer, call, 1, "k") or 1)
    short = None if not shape else (*shape[:-1], k)
    return [Spec(short, call.first.dtype), Spec(short, "int32")]


def shape_of(layer: Layer, call: Call) -> Spec:
    """Return a vector of the sizes."""
    shape = call.first.shape
    kind = numpy_dtype(call.kwargs.get("out_type")) or "int32"
    del layer
    return Spec((UNKNOWN,) if shape is None else (len(shape),), kind)
