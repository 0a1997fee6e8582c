"""Operators of PyTorch: the sizes that they demand of their operands, and the sizes of what they return.

A rule takes an operator's positional arguments as `flow` evaluated them, and its keyword arguments. What a rule
does not know it leaves `UNKNOWN`; operators without a rule return that. Source: ``native_functions.yaml`` of
PyTorch. What does not belong here: code, modules' state.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from klever.steps.model import shapes
from klever.steps.model.shapes import Shape, ShapeMismatchError


class _Unknown:
    """The type of `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


#: A value of which nothing is known.
UNKNOWN: Final = _Unknown()


@dataclass(slots=True, eq=False)
class Known:
    """A tensor of which something may be known; one that is an input gets to know more as operators demand it."""

    dtype: str | None
    shape: Shape
    #: The size of the last dimension, where that is known and the rank is not.
    last: int | None = None

    def demand(self, shape: Shape, dtype: str | None = None) -> None:
        """Note what an operator demands; what the file or the author said before it stays."""
        try:
            self.shape = shapes.merge(self.shape, shape)
        except ShapeMismatchError:
            return
        self.dtype = self.dtype or dtype


Arguments: TypeAlias = list[Any]
Keywords: TypeAlias = Mapping[str, Any]
Rule: TypeAlias = Callable[[Arguments, Keywords], Any]


def call_rule(rules: Mapping[str, Rule], name: str, values: Arguments, keywords: Keywords) -> Any:
    """Apply the rule of that name; `UNKNOWN` where there is none, or the arguments are not of the kinds it takes."""
    rule = rules.get(name) or rules.get(name.removesuffix("_"))
    if rule is None:
        return UNKNOWN
    try:
        return rule(values, keywords)
    except (ShapeMismatchError, IndexError, TypeError, ValueError, AttributeError, OverflowError):
        return UNKNOWN


def _tensor(value: object) -> Known:
    if not isinstance(value, Known):
        raise TypeError
    return value


def _size(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else shapes.UNKNOWN


def _argument(values: Arguments, keywords: Keywords, position: int, name: str, default: Any) -> Any:
    return values[position] if len(values) > position else keywords.get(name, default)


def _same(values: Arguments, _: Keywords) -> Known:
    source = _tensor(values[0])
    return Known(source.dtype, source.shape)


def _retyped(dtype: str | None) -> Rule:
    return lambda values, _: Known(dtype, _tensor(values[0]).shape)


def _broadcast(values: Arguments, _: Keywords) -> Known:
    first, second = _tensor(values[0]), values[1]
    if isinstance(second, int | float):
        return Known(first.dtype, first.shape)
    second = _tensor(second)
    dtype = first.dtype if first.dtype == second.dtype else None
    return Known(dtype, shapes.broadcast(first.shape, second.shape))


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
        spatial = [-1 if settings[1] != "same" else size for size in source.shape[2:]]
        return Known(weight.dtype, (source.shape[0], outward, *spatial))
    padding, extra = _numbers(settings[1], len(kernel)), _numbers(output_padding, len(kernel))
    spatial = []
    for size, k, s, p, d, e in zip(source.shape[2:], kernel, stride, padding, dilation, extra, strict=True):
        if size < 0:
            spatial.append(-1)
        elif transposed:
            spatial.append((size - 1) * s - 2 * p + d * (k - 1) + e + 1)
        else:
            spatial.append((size + 2 * p - d * (k - 1) - 1) // s + 1)
    if any(size < -1 for size in spatial):
        raise TypeError
    return Known(weight.dtype, (source.shape[0], outward, *spatial))


def _raw_convolution(values: Arguments, _: Keywords) -> Known:
    source, weight = _tensor(values[0]), _tensor(values[1])
    return _conv(source, weight, values[3:6], transposed=values[6] is True, output_padding=values[7], groups=values[8])


def _convolution(values: Arguments, keywords: Keywords) -> Known:
    settings = [
        _argument(values, keywords, 3, "stride", 1),
        _argument(values, keywords, 4, "padding", 0),
        _argument(values, keywords, 5, "dilation", 1),
    ]
    groups = _argument(values, keywords, 6, "groups", 1)
    return _conv(_tensor(values[0]), _tensor(values[1]), settings, transposed=False, groups=groups)


def _demand_channels(values: Arguments, keywords: Keywords, axes: int) -> Known:
    """Apply a transposed convolution of which only the weight (in, out / groups, *kernel) is known."""
    source, weight = _tensor(values[0]), _tensor(keywords["weight"])
    if weight.shape is None:
        raise TypeError
    source.demand((-1, weight.shape[0], *[-1] * axes), weight.dtype)
    return Known(weight.dtype, (_ranked(source)[0], *[-1] * (axes + 1)))


def _linear(values: Arguments, _: Keywords) -> Known:
    source, weight = _tensor(values[0]), _tensor(values[1])
    if weight.shape is None or len(weight.shape) != 2:
        raise TypeError
    if source.shape is None:
        source.demand(None, weight.dtype)
        source.last = weight.shape[1]
        return Known(weight.dtype, None, weight.shape[0])
    source.demand((*[-1] * (len(source.shape) - 1), weight.shape[1]), weight.dtype)
    return Known(weight.dtype, (*source.shape[:-1], weight.shape[0]))


def _matrix_product(values: Arguments, _: Keywords) -> Known:
    """Apply ``addmm(bias, a, b)``, which takes matrices only."""
    first, second = _tensor(values[1]), _tensor(values[2])
    if second.shape is None or len(second.shape) != 2:
        raise TypeError
    first.demand((-1, second.shape[0]), second.dtype)
    if first.shape is None:
        raise TypeError
    return Known(second.dtype, (first.shape[0], second.shape[1]))


def _matmul(values: Arguments, _: Keywords) -> Known:
    first, second = _tensor(values[0]), _tensor(values[1])
    if first.shape is None or second.shape is None or len(second.shape) != 2 or not first.shape:
        raise TypeError
    return Known(second.dtype, (*first.shape[:-1], second.shape[1]))


def _embedding(values: Arguments, _: Keywords) -> Known:
    weight, indices = _tensor(values[0]), _tensor(values[1])
    indices.demand(None, "int64")
    if weight.shape is None or len(weight.shape) != 2:
        raise TypeError
    return Known(weight.dtype, None if indices.shape is None else (*indices.shape, weight.shape[1]))


def _pool(values: Arguments, keywords: Keywords) -> Known:
    """Apply max or average pooling: (input, kernel, stride, padding, ...), of which the rest differ."""
    source, shape = _tensor(values[0]), _ranked(values[0])
    axes = len(values[1]) if isinstance(values[1], list) else len(shape) - 2
    kernel = _numbers(values[1], axes)
    stride = _argument(values, keywords, 2, "stride", None) or kernel
    stride, padding = _numbers(stride, axes), _numbers(_argument(values, keywords, 3, "padding", 0), axes)
    rest = values[4:]
    dilation = _numbers(rest.pop(0), axes) if rest and not isinstance(rest[0], bool) else [1] * axes
    ceil = any(one is True for one in rest[:1])
    spatial = []
    for size, k, s, p, d in zip(shape[-axes:], kernel, stride, padding, dilation, strict=True):
        room = size + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil else 0)
        length = room // s + 1
        # With ceil the last window has to start inside the input or its left padding.
        spatial.append(-1 if size < 0 else length - (1 if ceil and (length - 1) * s >= size + p else 0))
    return Known(source.dtype, (*shape[:-axes], *spatial))


def _adaptive_pool(values: Arguments, _: Keywords) -> Known:
    shape = _ranked(values[0])
    wanted = [values[1]] if isinstance(values[1], int) else values[1]
    axes = len(wanted)
    spatial = [shape[place - axes] if one is None else _size(one) for place, one in enumerate(wanted)]
    return Known(_tensor(values[0]).dtype, (*shape[:-axes], *spatial))


def _ranked(value: object) -> tuple[int, ...]:
    shape = _tensor(value).shape
    if shape is None:
        raise TypeError
    return shape


def _flatten(values: Arguments, keywords: Keywords) -> Known:
    shape = _ranked(values[0])
    start = shapes.normalise_axis(_argument(values, keywords, 1, "start_dim", 0), len(shape))
    end = shapes.normalise_axis(_argument(values, keywords, 2, "end_dim", -1), len(shape))
    return Known(_tensor(values[0]).dtype, (*shape[:start], shapes.count(shape[start : end + 1]), *shape[end + 1 :]))


def _reshape(values: Arguments, _: Keywords) -> Known:
    source = _tensor(values[0])
    # A -1 that the code states and a size that is unknown are both dynamic; only the first can be worked out.
    sizes = [_size(value) for value in values[1]]
    stated = [place for place, value in enumerate(values[1]) if type(value) is int and value == -1]
    if len(stated) == 1 and source.shape is not None:
        total, rest = shapes.count(source.shape), shapes.count(size for size in sizes if size >= 0)
        if sizes.count(-1) == 1 and total > 0 and rest > 0:
            sizes[stated[0]] = total // rest
        elif sizes.count(-1) == 2 and source.shape[:1] == (-1,) and sizes[0] == -1 and stated != [0]:
            sizes[stated[0]] = _rest_of_batch(source.shape, sizes)
    return Known(source.dtype, tuple(sizes))


def _rest_of_batch(shape: tuple[int, ...], sizes: list[int]) -> int:
    """Work out ``view(x.size(0), -1)`` where only the batch is unknown."""
    total, rest = shapes.count(shape[1:]), shapes.count(size for size in sizes[1:] if size >= 0)
    return total // rest if total > 0 and rest > 0 else shapes.UNKNOWN


def _reduce(values: Arguments, keywords: Keywords) -> Known:
    source, shape = _tensor(values[0]), _ranked(values[0])
    axes = _argument(values, keywords, 1, "dim", None)
    keep = _argument(values, keywords, 2, "keepdim", False) is True
    if axes is None:
        return Known(source.dtype, ())
    gone = {shapes.normalise_axis(axis, len(shape)) for axis in ([axes] if isinstance(axes, int) else axes)}
    sizes = ((1 if place in gone else size) for place, size in enumerate(shape) if keep or place not in gone)
    return Known(source.dtype, tuple(sizes))


def _select(values: Arguments, _: Keywords) -> Known:
    shape = _ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape))
    return Known(_tensor(values[0]).dtype, shape[:axis] + shape[axis + 1 :])


def _slice(values: Arguments, _: Keywords) -> Known:
    shape = _ranked(values[0])
    axis = shapes.normalise_axis(values[1] if len(values) > 1 else 0, len(shape))
    start, end = (values[2] if len(values) > 2 else 0), (values[3] if len(values) > 3 else None)
    step, size = (values[4] if len(values) > 4 else 1), shape[axis]
    # 2**63 - 1 is how "to the end" was written before an end could be None.
    is_whole = start in (0, None) and (end is None or end == 2**63 - 1) and step == 1
    if not is_whole:
        size = len(range(*slice(start, end, step).indices(size))) if size >= 0 else shapes.UNKNOWN
    return Known(_tensor(values[0]).dtype, (*shape[:axis], size, *shape[axis + 1 :]))


def _unsqueeze(values: Arguments, _: Keywords) -> Known:
    shape = _ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape) + 1)
    return Known(_tensor(values[0]).dtype, (*shape[:axis], 1, *shape[axis:]))


def _transpose(values: Arguments, _: Keywords) -> Known:
    shape = list(_ranked(values[0]))
    first, second = (shapes.normalise_axis(axis, len(shape)) for axis in (values[1:3] or (0, -1)))
    shape[first], shape[second] = shape[second], shape[first]
    return Known(_tensor(values[0]).dtype, tuple(shape))


def _permute(values: Arguments, _: Keywords) -> Known:
    shape = _ranked(values[0])
    return Known(_tensor(values[0]).dtype, tuple(shape[axis] for axis in values[1]))


def _concatenate(values: Arguments, keywords: Keywords) -> Known:
    parts = [_tensor(part) for part in values[0]]
    axis = _argument(values, keywords, 1, "dim", 0)
    dtypes = {part.dtype for part in parts}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    return Known(dtype, shapes.concatenate([part.shape for part in parts], axis))


def _size_of(values: Arguments, _: Keywords) -> Any:
    shape = _ranked(values[0])
    sizes = [size if size >= 0 else UNKNOWN for size in shape]
    return sizes[values[1]] if len(values) > 1 else sizes


def _lstm(values: Arguments, _: Keywords) -> tuple[Any, Any, Any]:
    """Apply ``lstm(input, hx, weights, bias, layers, dropout, train, bidirectional, batch_first)``."""
    weight, directions = _tensor(values[2][0]), 2 if values[7] is True else 1
    recurrent = _tensor(values[2][1])
    if weight.shape is None or recurrent.shape is None:
        raise TypeError
    source = _tensor(values[0])
    source.demand((-1, -1, weight.shape[1]), weight.dtype)
    output = Known(weight.dtype, (*_ranked(source)[:2], recurrent.shape[1] * directions))
    return output, UNKNOWN, UNKNOWN


def _identity(values: Arguments, _: Keywords) -> Any:
    return values[0]


def _words(text: str) -> list[str]:
    return text.split()


_UNARY: Final = _words("""
    relu relu6 sigmoid tanh gelu silu selu celu elu leaky_relu hardswish hardsigmoid hardtanh mish softplus softsign
    softmax log_softmax logsigmoid dropout feature_dropout alpha_dropout clone contiguous detach exp log sqrt rsqrt
    abs neg clamp pow square layer_norm batch_norm instance_norm group_norm prelu threshold lrn_norm normalize
    log1p expm1 sin cos floor ceil round erf cumsum
""")
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_UNARY, _same),
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum"), _broadcast),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), lambda v, k: Known("bool", _broadcast(v, k).shape)),
    "_convolution": _raw_convolution,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    "linear": _linear,
    "addmm": _matrix_product,
    "matmul": _matmul,
    "embedding": _embedding,
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_max_pool2d"), _pool
    ),
    **dict.fromkeys((f"adaptive_{kind}_pool{axes}d" for axes in (1, 2, 3) for kind in ("avg", "max")), _adaptive_pool),
    "flatten": _flatten,
    **dict.fromkeys(("view", "reshape"), _reshape),
    **dict.fromkeys(("mean", "sum", "amax", "amin", "logsumexp", "norm"), _reduce),
    "argmax": lambda v, k: Known("int64", _reduce(v, k).shape),
    "argmin": lambda v, k: Known("int64", _reduce(v, k).shape),
    "select": _select,
    "slice": _slice,
    "unsqueeze": _unsqueeze,
    **dict.fromkeys(("transpose", "t"), _transpose),
    "permute": _permute,
    **dict.fromkeys(("cat", "concat"), _concatenate),
    "size": _size_of,
    "lstm": _lstm,
    "float": lambda v, k: _retyped("float32")(v, k) if isinstance(v[0], Known) else UNKNOWN,
    **dict.fromkeys(("int", "NumToTensor"), _identity),
}

#: Modules of ``torch.nn.modules`` with one input, by class; their weight and bias come as keywords.
CLASSES: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        _words("""
        ReLU ReLU6 Sigmoid Tanh GELU SiLU SELU CELU ELU LeakyReLU Hardswish Hardsigmoid Hardtanh Mish Softplus Softmax
        LogSoftmax Dropout Dropout2d Dropout3d AlphaDropout Identity BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm
        GroupNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d LocalResponseNorm PReLU
        """),
        _same,
    ),
    "ConvTranspose1d": lambda v, k: _demand_channels(v, k, 1),
    "ConvTranspose2d": lambda v, k: _demand_channels(v, k, 2),
    "ConvTranspose3d": lambda v, k: _demand_channels(v, k, 3),
    "Linear": lambda values, keywords: _linear([values[0], keywords["weight"]], {}),
    "Embedding": lambda values, keywords: _embedding([keywords["weight"], values[0]], {}),
}
