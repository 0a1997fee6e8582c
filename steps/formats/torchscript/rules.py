"""Operators of PyTorch: the sizes that they demand of their operands, and the sizes of what they return.

A rule takes an operator's positional arguments as `flow` evaluated them, and its keyword arguments. What a rule
does not know it leaves `UNKNOWN`; operators without a rule return that. Source: ``native_functions.yaml`` of
PyTorch. What does not belong here: code, modules' state.
"""

from typing import Any, Final

from klever.steps.formats.torchscript.dtypes import BY_CODE, DEFAULT, is_whole, promote, requested
from klever.steps.formats.torchscript.plain import OTHER, PLAIN, is_plain
from klever.steps.formats.torchscript.values import (
    UNKNOWN,
    Arguments,
    Keywords,
    Known,
    Rule,
    argument,
    call_rule,
    ranked,
    size,
    tensor,
)
from klever.steps.model import shapes
from klever.steps.model.shapes import Shape

#: More tensors than code takes apart by name.
_MAX_PIECES: Final = 1000


def _same(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    return Known(source.dtype, source.shape, source.last, source)


def _real(values: Arguments, _: Keywords) -> Known:
    """Apply a function of real numbers, which integers are converted for."""
    source = tensor(values[0])
    dtype = DEFAULT if is_whole(source.dtype) else source.dtype
    return Known(dtype, source.shape, source.last, source, keeps_dtype=False)


def _retyped(dtype: str | None) -> Rule:
    def rule(values: Arguments, _: Keywords) -> Known:
        source = tensor(values[0])
        return Known(dtype, source.shape, source.last, source, keeps_dtype=False)

    return rule


def _to(values: Arguments, keywords: Keywords) -> Known:
    """Apply the overloads of ``to``: a type, a device and perhaps a type, or another tensor."""
    source, wanted = tensor(values[0]), values[1] if len(values) > 1 else None
    if isinstance(wanted, Known):
        dtype = wanted.dtype
    elif type(wanted) is int:
        dtype = BY_CODE.get(wanted)
    elif wanted is UNKNOWN:
        dtype = None
    else:
        dtype = requested(values, keywords, 2 if len(values) > 2 and not isinstance(values[2], bool) else None)
        dtype = dtype or source.dtype
    return Known(dtype, source.shape, source.last, source, keeps_dtype=dtype == source.dtype and dtype is not None)


def _softmax(values: Arguments, keywords: Keywords) -> Known:
    source = tensor(values[0])
    return Known(requested(values, keywords, 2) or source.dtype, source.shape, source.last, source)


def _softmax_function(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``torch.nn.functional.softmax(input, dim, _stacklevel, dtype)``."""
    return _softmax([values[0], None, *values[3:]], keywords)


def _broadcast(values: Arguments, _: Keywords) -> Known:
    first, second = values[0], values[1]
    dtype = promote(first, second)
    source = first if isinstance(first, Known) else tensor(second)
    other = second if source is first else first
    if not isinstance(other, Known | bool | int | float):
        raise TypeError
    if isinstance(other, Known):
        last = _broadcast_last(source, other)
        return Known(dtype, shapes.broadcast(source.shape, other.shape), last)
    return Known(dtype, source.shape, source.last, source, keeps_dtype=dtype == source.dtype)


def _broadcast_last(first: Known, second: Known) -> int | None:
    """Return the last size of two tensors of which at least one's rank is unknown, where both have one above 1."""
    sizes = [one.shape[-1] if one.shape else one.last for one in (first, second)]
    return max(filter(None, sizes), default=None) if all(one is not None and one > 0 for one in sizes) else None


def _divide(values: Arguments, keywords: Keywords) -> Known:
    result = _broadcast(values, keywords)
    if keywords.get("rounding_mode") is None and is_whole(result.dtype):
        result.dtype, result.keeps_dtype = DEFAULT, False
    return result


def _powered(values: Arguments, keywords: Keywords) -> Known:
    if isinstance(values[0], Known):
        return _broadcast(values, keywords)
    return _broadcast([values[1], values[0]], keywords)


def _compared(values: Arguments, keywords: Keywords) -> Known:
    return Known("bool", _broadcast(values, keywords).shape)


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


def _demand_channels(values: Arguments, keywords: Keywords, axes: int) -> Known:
    """Apply a transposed convolution of which only the weight (in, out / groups, *kernel) is known."""
    source, weight = tensor(values[0]), tensor(keywords["weight"])
    if weight.shape is None:
        raise TypeError
    source.demand((-1, weight.shape[0], *[-1] * axes), weight.dtype)
    return Known(weight.dtype, (ranked(source)[0], *[-1] * (axes + 1)))


def _linear(values: Arguments, _: Keywords) -> Known:
    source, weight = tensor(values[0]), tensor(values[1])
    if weight.shape is None or len(weight.shape) != 2:
        raise TypeError
    if source.shape is None:
        source.demand(None, weight.dtype, last=weight.shape[1])
        return Known(weight.dtype, None, weight.shape[0])
    source.demand((*[-1] * (len(source.shape) - 1), weight.shape[1]), weight.dtype)
    return Known(weight.dtype, (*source.shape[:-1], weight.shape[0]))


def _matrix_product(values: Arguments, _: Keywords) -> Known:
    """Apply ``addmm(bias, a, b)``, which takes matrices only."""
    first, second = tensor(values[1]), tensor(values[2])
    if second.shape is None or len(second.shape) != 2:
        raise TypeError
    first.demand((-1, second.shape[0]), second.dtype)
    if first.shape is None:
        raise TypeError
    return Known(second.dtype, (first.shape[0], second.shape[1]))


def _matmul(values: Arguments, _: Keywords) -> Known:
    first, second = tensor(values[0]), tensor(values[1])
    return Known(first.dtype if first.dtype == second.dtype else None, shapes.matmul(first.shape, second.shape))


def _embedding(values: Arguments, _: Keywords) -> Known:
    weight, indices = tensor(values[0]), tensor(values[1])
    indices.demand(None, "int64")
    if weight.shape is None or len(weight.shape) != 2:
        raise TypeError
    return Known(weight.dtype, None if indices.shape is None else (*indices.shape, weight.shape[1]))


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


def _flatten(values: Arguments, keywords: Keywords) -> Known:
    source = tensor(values[0])
    first, last = argument(values, keywords, 1, "start_dim", 0), argument(values, keywords, 2, "end_dim", -1)
    if source.shape is None:
        if last != -1 or not 0 <= first < 16:
            raise TypeError
        return Known(source.dtype, (shapes.UNKNOWN,) * (first + 1))
    shape = source.shape or (1,)
    start, end = shapes.normalise_axis(first, len(shape)), shapes.normalise_axis(last, len(shape))
    return Known(source.dtype, (*shape[:start], shapes.count(shape[start : end + 1]), *shape[end + 1 :]))


def _reshape(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    # A -1 that the code states and a size that is unknown are both dynamic; only the first can be worked out.
    sizes = [size(value) for value in values[1]]
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


def _reduced(shape: Shape, axes: Any, *, keep: bool) -> Shape:
    if isinstance(axes, int):
        axes = [axes]
    return shapes.reduce(shape, axes or None, keep=keep)


def _reduce(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``(input, dim, keepdim)``."""
    source = tensor(values[0])
    axes = argument(values, keywords, 1, "dim", None)
    keep = argument(values, keywords, 2, "keepdim", False) is True
    return Known(source.dtype, _reduced(source.shape, axes, keep=keep))


def _total(values: Arguments, keywords: Keywords) -> Known:
    """Apply a sum, product or mean, which may ask for a type and else counts integers as int64."""
    result = _reduce(values, keywords)
    result.dtype = requested(values, keywords) or ("int64" if is_whole(result.dtype) else result.dtype)
    return result


def _norm(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``norm(input, p, dim, keepdim)``."""
    return _reduce([values[0], *values[2:]], {key: value for key, value in keywords.items() if key != "p"})


def _spread(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``std`` or ``var``: ``(input, unbiased)``, or ``(input, dim, unbiased, keepdim)``."""
    axes = None if len(values) > 1 and isinstance(values[1], bool) else argument(values, keywords, 1, "dim", None)
    keep = argument(values, keywords, 3, "keepdim", False) is True
    source = tensor(values[0])
    return Known(source.dtype, _reduced(source.shape, axes, keep=keep))


def _indexed(values: Arguments, keywords: Keywords) -> Known:
    return Known("int64", _reduce(values, keywords).shape)


def _judged(values: Arguments, keywords: Keywords) -> Known:
    result = _reduce(values, keywords)
    result.dtype = result.dtype and ("uint8" if result.dtype == "uint8" else "bool")
    return result


def _extreme(values: Arguments, keywords: Keywords) -> Any:
    """Apply ``max`` or ``min``: of all, of two tensors, or along a dimension with the indices."""
    if len(values) == 1 and not keywords:
        return Known(tensor(values[0]).dtype, ())
    if len(values) > 1 and isinstance(values[1], Known):
        return _broadcast(values, keywords)
    result = _reduce(values, keywords)
    return result, Known("int64", result.shape)


def _sorted(values: Arguments, _: Keywords) -> Any:
    source = tensor(values[0])
    return Known(source.dtype, source.shape), Known("int64", source.shape)


def _top(values: Arguments, keywords: Keywords) -> Any:
    source, shape = tensor(values[0]), list(ranked(values[0]))
    shape[shapes.normalise_axis(argument(values, keywords, 2, "dim", -1), len(shape))] = size(values[1])
    return Known(source.dtype, tuple(shape)), Known("int64", tuple(shape))


def _select(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape))
    return Known(tensor(values[0]).dtype, shape[:axis] + shape[axis + 1 :])


def _slice(values: Arguments, _: Keywords) -> Known:
    if len(values) == 1:
        return _same(values, {})
    shape = ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape))
    start, end = (values[2] if len(values) > 2 else 0), (values[3] if len(values) > 3 else None)
    step, length = (values[4] if len(values) > 4 else 1), shape[axis]
    # 2**63 - 1 is how "to the end" was written before an end could be None.
    goes_on = end is None or (type(end) is int and end == 2**63 - 1)
    is_all = (start is None or start == 0) and goes_on and step == 1
    if not is_all:
        is_known = length >= 0 and is_plain([start, end, step])
        length = len(range(*slice(start, end, step).indices(length))) if is_known else shapes.UNKNOWN
    return Known(tensor(values[0]).dtype, (*shape[:axis], length, *shape[axis + 1 :]))


def _unsqueeze(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape) + 1)
    return Known(tensor(values[0]).dtype, (*shape[:axis], 1, *shape[axis:]))


def _transpose(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    order = list(range(len(shape)))
    first, second = (shapes.normalise_axis(axis, len(shape)) for axis in (values[1:3] or (0, -1)))
    order[first], order[second] = order[second], order[first]
    return _permute([values[0], order], {})


def _permute(values: Arguments, _: Keywords) -> Known:
    source, order = tensor(values[0]), values[1]
    source.demand((shapes.UNKNOWN,) * len(order))
    rank = len(ranked(source))
    order = tuple(shapes.normalise_axis(axis, rank) for axis in order)
    return Known(source.dtype, shapes.transpose(source.shape, order), None, source, order)


def _joined_dtype(parts: list[Known]) -> str | None:
    dtypes = {part.dtype for part in parts}
    return dtypes.pop() if len(dtypes) == 1 else None


def _concatenate(values: Arguments, keywords: Keywords) -> Known:
    parts = [tensor(part) for part in values[0]]
    axis = argument(values, keywords, 1, "dim", 0)
    return Known(_joined_dtype(parts), shapes.concatenate([part.shape for part in parts], axis) if parts else None)


def _stack(values: Arguments, keywords: Keywords) -> Known:
    parts = [tensor(part) for part in values[0]]
    shape: Shape = None
    for part in parts:
        shape = shapes.merge(shape, part.shape)
    axis = argument(values, keywords, 1, "dim", 0)
    if shape is not None:
        axis = shapes.normalise_axis(axis, len(shape) + 1)
        shape = (*shape[:axis], len(parts), *shape[axis:])
    return Known(_joined_dtype(parts), shape)


def _pieces(source: Known, axis: int, lengths: list[int]) -> list[Known]:
    shape = ranked(source)
    if len(lengths) > _MAX_PIECES:
        raise ValueError
    return [Known(source.dtype, (*shape[:axis], length, *shape[axis + 1 :])) for length in lengths]


def _chunk(values: Arguments, keywords: Keywords) -> list[Known]:
    source, shape, count = tensor(values[0]), ranked(values[0]), values[1]
    axis = shapes.normalise_axis(argument(values, keywords, 2, "dim", 0), len(shape))
    if shape[axis] < 1 or count < 1:
        raise TypeError
    return _split([source, -(-shape[axis] // count), axis], {})


def _split(values: Arguments, keywords: Keywords) -> list[Known]:
    source, shape, lengths = tensor(values[0]), ranked(values[0]), values[1]
    axis = shapes.normalise_axis(argument(values, keywords, 2, "dim", 0), len(shape))
    if isinstance(lengths, int):
        if shape[axis] < 0 or not lengths > 0 or shape[axis] > lengths * _MAX_PIECES:
            raise TypeError
        lengths = [min(lengths, shape[axis] - start) for start in range(0, shape[axis], lengths)]
    return _pieces(source, axis, [size(length) for length in lengths])


def _unbind(values: Arguments, keywords: Keywords) -> list[Known]:
    source, shape = tensor(values[0]), ranked(values[0])
    axis = shapes.normalise_axis(argument(values, keywords, 1, "dim", 0), len(shape))
    if not 0 <= shape[axis] <= _MAX_PIECES:
        raise TypeError
    return [Known(source.dtype, shape[:axis] + shape[axis + 1 :]) for _ in range(shape[axis])]


def _expand(values: Arguments, _: Keywords) -> Known:
    shape, wanted = ranked(values[0]), values[1]
    padded = (1,) * (len(wanted) - len(shape)) + shape
    # A -1 that the code states keeps the size.
    sizes = (kept if one == -1 and type(one) is int else size(one) for kept, one in zip(padded, wanted, strict=True))
    return Known(tensor(values[0]).dtype, tuple(sizes))


def _expand_as(values: Arguments, _: Keywords) -> Known:
    return Known(tensor(values[0]).dtype, tensor(values[1]).shape)


def _repeat(values: Arguments, _: Keywords) -> Known:
    shape, times = ranked(values[0]), [size(one) for one in values[1]]
    padded = (1,) * (len(times) - len(shape)) + shape
    return Known(tensor(values[0]).dtype, tuple(shapes.count(pair) for pair in zip(padded, times, strict=True)))


def _squeeze(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axes = values[1:2] if len(values) > 1 else range(len(shape))
    gone = {shapes.normalise_axis(axis, len(shape)) for axis in axes}
    if any(shape[axis] < 0 for axis in gone):
        raise TypeError
    kept = (length for axis, length in enumerate(shape) if axis not in gone or length != 1)
    return Known(tensor(values[0]).dtype, tuple(kept))


def _unflatten(values: Arguments, _: Keywords) -> Known:
    source, shape = tensor(values[0]), ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape))
    sizes = shapes.reshape((shape[axis],), [one if type(one) is int else shapes.UNKNOWN for one in values[2]])
    return Known(source.dtype, (*shape[:axis], *(sizes or ()), *shape[axis + 1 :]))


def _filled(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``zeros``, ``ones`` and their like, whose first argument is the size."""
    dtype = None if keywords.get("dtype") is UNKNOWN else requested(values, keywords) or DEFAULT
    return Known(dtype, tuple(size(one) for one in values[0]))


def _range(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``arange(end)`` or ``arange(start, end, step)``."""
    are_whole = all(type(value) is int for value in values)
    count = size(values[0]) if len(values) == 1 and are_whole else -1
    dtype = None if keywords.get("dtype") is UNKNOWN else requested(values, keywords)
    return Known(dtype or ("int64" if are_whole and "dtype" not in keywords else None), (count,))


def _einsum(values: Arguments, _: Keywords) -> Known:
    equation, parts = values[0].replace(" ", ""), [tensor(part) for part in values[1]]
    terms, _, result = equation.partition("->")
    if not result.isalpha() or not terms.replace(",", "").isalpha():
        raise TypeError
    sizes: dict[str, int] = {}
    for term, part in zip(terms.split(","), parts, strict=True):
        for letter, length in zip(term, ranked(part), strict=True):
            sizes[letter] = max(sizes.get(letter, -1), length)
    return Known(_joined_dtype(parts), tuple(sizes[letter] for letter in result))


def _index(values: Arguments, _: Keywords) -> Known:
    return Known(tensor(values[0]).dtype, None)


def _convolution_mode(values: Arguments, _: Keywords) -> Known:
    """Apply ``(input, weight, bias, stride, padding, dilation, groups)`` whose padding is a word."""
    return _conv(tensor(values[0]), tensor(values[1]), values[3:6], transposed=False, groups=values[6])


def _quantised(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    source.demand(None, "float32")
    return Known(None, source.shape)


def _packed_linear(dtype: str | None) -> Rule:
    """Apply a linear layer to a weight that is packed together with its bias."""

    def rule(values: Arguments, _: Keywords) -> Known:
        source, weight = tensor(values[0]), ranked(values[1])
        if len(weight) != 2:
            raise TypeError
        source.demand(None, dtype, last=weight[1])
        if source.shape is None:
            return Known(dtype, None, weight[0])
        return Known(dtype, (*source.shape[:-1], weight[0]))

    return rule


def _packed_conv(values: Arguments, _: Keywords) -> Known:
    """Apply a convolution whose settings are packed with its weight, of which only the shape is known."""
    source, weight = tensor(values[0]), ranked(values[1])
    source.demand((-1,) * len(weight))
    return Known(None, (ranked(source)[0], weight[0], *(-1,) * (len(weight) - 2)))


def _first_like(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    return Known(source.dtype, source.shape, source.last)


def _target_like(values: Arguments, _: Keywords) -> Known:
    return _first_like(values[1:], {})


def _full(values: Arguments, keywords: Keywords) -> Known:
    dtype = requested(values, keywords)
    if dtype is None and isinstance(values[1], bool | int | float):
        dtype = promote(Known("bool", ()), values[1])
    return Known(dtype, tuple(size(one) for one in values[0]))


def _like(values: Arguments, keywords: Keywords) -> Known:
    source = tensor(values[0])
    return Known(requested(values, keywords) or source.dtype, source.shape)


def _new(values: Arguments, keywords: Keywords) -> Known:
    dtype = requested(values, keywords) or tensor(values[0]).dtype
    return Known(dtype, tuple(size(one) for one in values[1]))


def _where(values: Arguments, keywords: Keywords) -> Known:
    result = _broadcast(values[1:3], keywords)
    return Known(result.dtype, shapes.broadcast(tensor(values[0]).shape, result.shape))


def _masked_fill(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    return Known(source.dtype, shapes.broadcast(source.shape, tensor(values[1]).shape))


def _gather(values: Arguments, _: Keywords) -> Known:
    return Known(tensor(values[0]).dtype, tensor(values[2]).shape)


def _index_select(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axis, count = shapes.normalise_axis(values[1], len(shape)), tensor(values[2]).shape
    return Known(tensor(values[0]).dtype, (*shape[:axis], count[0] if count else -1, *shape[axis + 1 :]))


def _attention(values: Arguments, _: Keywords) -> Known:
    """Apply ``scaled_dot_product_attention(query, key, value)``."""
    query, shape = tensor(values[0]), ranked(values[0])
    return Known(query.dtype, (*shape[:-1], ranked(values[2])[-1]))


def _pad(values: Arguments, _: Keywords) -> Known:
    """Apply a padding of (front, back) for each dimension from the last one."""
    shape, amounts = list(ranked(values[0])), values[1]
    for place in range(len(amounts) // 2):
        pair = amounts[2 * place : 2 * place + 2]
        axis = len(shape) - 1 - place
        is_known = shape[axis] >= 0 and all(type(one) is int for one in pair)
        shape[axis] = shape[axis] + sum(pair) if is_known else shapes.UNKNOWN
    return Known(tensor(values[0]).dtype, tuple(shape))


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


def _shuffle(values: Arguments, _: Keywords) -> Known:
    *front, channels, height, width = ranked(values[0])
    factor = values[1]
    spatial = [length * factor if length >= 0 else -1 for length in (height, width)]
    return Known(tensor(values[0]).dtype, (*front, channels // factor**2 if channels >= 0 else -1, *spatial))


def _transposed(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``conv_transpose(input, weight, bias, stride, padding, output_padding, groups, dilation)``."""
    defaults = (("stride", 1), ("padding", 0), ("output_padding", 0), ("groups", 1), ("dilation", 1))
    stride, padding, extra, groups, dilation = (
        argument(values, keywords, 3 + place, name, default) for place, (name, default) in enumerate(defaults)
    )
    settings = [stride, padding, dilation]
    source, weight = tensor(values[0]), tensor(values[1])
    return _conv(source, weight, settings, transposed=True, output_padding=extra, groups=groups)


def _batched_product(values: Arguments, keywords: Keywords) -> Known:
    return _matmul(values[-2:], keywords)


def _one_hot(values: Arguments, _: Keywords) -> Known:
    source = tensor(values[0])
    count = size(values[1]) if len(values) > 1 else -1
    return Known("int64", None if source.shape is None else (*source.shape, count))


def _embedding_bag(values: Arguments, _: Keywords) -> Any:
    """Apply ``embedding_bag(weight, indices, offsets, ...)``; the number of bags is that of the offsets."""
    weight, indices = tensor(values[0]), tensor(values[1])
    indices.demand(None, "int64")
    return Known(weight.dtype, (-1, ranked(weight)[1])), UNKNOWN, UNKNOWN, UNKNOWN


def _encoder_layer(values: Arguments, _: Keywords) -> Known:
    """Apply the fused layer of a transformer's encoder: ``(src, embed_dim, ...)``."""
    source = tensor(values[0])
    return Known(source.dtype, source.shape, source.last)


def _size_of(values: Arguments, _: Keywords) -> Any:
    shape = ranked(values[0])
    sizes = [size if size >= 0 else UNKNOWN for size in shape]
    return sizes[values[1]] if len(values) > 1 else sizes


def _recurrent(values: Arguments, states: int) -> tuple[Any, ...]:
    """Apply ``(input, hx, weights, biases, layers, dropout, train, bidirectional, batch_first)``.

    With packed input, ``(data, batch_sizes, hx, ...)``, the fourth argument is no truth value; nothing follows then.
    """
    source, biases, layers, bidirectional, batch_first = tensor(values[0]), values[3], values[4], values[7], values[8]
    if not (isinstance(biases, bool) and isinstance(bidirectional, bool) and isinstance(batch_first, bool)):
        raise TypeError
    weight, recurrent = ranked(values[2][0]), ranked(values[2][1])
    dtype, directions = tensor(values[2][0]).dtype, 2 if bidirectional else 1
    source.demand((-1, -1, weight[1]), dtype)
    shape = ranked(source)
    # A projection (LSTM's ``proj_size``) narrows what goes on; it adds a third matrix to each direction.
    width, cells = recurrent[1], recurrent[0] // 4
    batch = shape[0 if batch_first else 1]
    output = Known(dtype, (*shape[:2], width * directions))
    hidden = [Known(dtype, (size(layers * directions), batch, one)) for one in (width, cells)[:states]]
    return output, *hidden


def _lstm(values: Arguments, _: Keywords) -> tuple[Any, ...]:
    return _recurrent(values, 2)


def _gru(values: Arguments, _: Keywords) -> tuple[Any, ...]:
    return _recurrent(values, 1)


def _cell(values: Arguments, _: Keywords) -> Any:
    """Apply a recurrent cell: ``(input, hx, w_ih, w_hh, ...)``."""
    source, weight, recurrent = tensor(values[0]), tensor(values[2]), ranked(values[3])
    source.demand((-1, ranked(weight)[1]), weight.dtype)
    return Known(weight.dtype, (ranked(source)[0], recurrent[1]))


def _lstm_cell(values: Arguments, keywords: Keywords) -> Any:
    state = _cell(values, keywords)
    return state, Known(state.dtype, state.shape)


def _identity(values: Arguments, _: Keywords) -> Any:
    return values[0]


def _words(text: str) -> list[str]:
    return text.split()


_KEEPING: Final = _words("""
    relu relu6 selu celu elu leaky_relu hardswish hardtanh softplus softsign threshold prelu rrelu
    dropout feature_dropout alpha_dropout feature_alpha_dropout dropout1d dropout2d dropout3d
    clone contiguous detach alias abs neg square clamp_min clamp_max layer_norm batch_norm instance_norm group_norm
    local_response_norm normalize rms_norm floor ceil round trunc sign tril triu flip roll fill zero
    bitwise_not requires_grad pin_memory cpu cuda lift_fresh _spectral_norm masked_scatter index_fill
    native_dropout logical_and_ glu_ scatter scatter_add index_add index_copy index_put
""")
_REAL: Final = _words("""
    sigmoid tanh exp exp2 log log2 log10 log1p expm1 sqrt rsqrt sin cos tan asin acos atan sinh cosh erf erfc
    reciprocal logsigmoid log_sigmoid hardsigmoid gelu silu mish logit
""")
RULES: Final[dict[str, Rule]] = {
    **OTHER,
    **dict.fromkeys(_KEEPING, _same),
    **dict.fromkeys(_REAL, _real),
    **dict.fromkeys(("softmax", "log_softmax"), _softmax),
    "cumsum": lambda v, k: Known(_total([v[0]], k).dtype, tensor(v[0]).shape),
    "clamp": lambda v, _: Known(None if is_whole(tensor(v[0]).dtype) else tensor(v[0]).dtype, tensor(v[0]).shape),
    **dict.fromkeys(
        _words("add sub rsub mul maximum minimum remainder fmod floor_divide floordiv bitwise_and bitwise_or __and__"),
        _broadcast,
    ),
    **dict.fromkeys(("div", "true_divide", "divide"), _divide),
    "pow": _powered,
    **dict.fromkeys(_words("eq ne lt le gt ge logical_and logical_or logical_xor"), _compared),
    **dict.fromkeys(("isnan", "isinf", "isfinite", "logical_not"), _retyped("bool")),
    "_convolution": _raw_convolution,
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _transposed),
    "linear": _linear,
    "addmm": _matrix_product,
    "mm": lambda v, k: _matrix_product([None, *v], k),
    "matmul": _matmul,
    **dict.fromkeys(("bmm", "baddbmm"), _batched_product),
    "embedding": _embedding,
    "embedding_bag": _embedding_bag,
    "one_hot": _one_hot,
    "scaled_dot_product_attention": _attention,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    **dict.fromkeys(
        ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "_max_pool2d"), _pool
    ),
    **dict.fromkeys((f"adaptive_{kind}_pool{axes}d" for axes in (1, 2, 3) for kind in ("avg", "max")), _adaptive_pool),
    "flatten": _flatten,
    "unflatten": _unflatten,
    **dict.fromkeys(("view", "reshape"), _reshape),
    **dict.fromkeys(("sum", "prod"), _total),
    "mean": lambda v, k: Known(requested(v, k) or tensor(v[0]).dtype, _reduce(v, k).shape),
    **dict.fromkeys(("amax", "amin", "logsumexp"), _reduce),
    "norm": _norm,
    **dict.fromkeys(("std", "var"), _spread),
    **dict.fromkeys(("any", "all"), _judged),
    **dict.fromkeys(("argmax", "argmin"), _indexed),
    **dict.fromkeys(("max", "min"), _extreme),
    "sort": _sorted,
    "argsort": lambda v, k: _sorted(v, k)[1],
    "topk": _top,
    "select": _select,
    "slice": _slice,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(("transpose", "t", "swapaxes"), _transpose),
    "permute": _permute,
    **dict.fromkeys(("cat", "concat", "concatenate"), _concatenate),
    "stack": _stack,
    **dict.fromkeys(("chunk", "unsafe_chunk"), _chunk),
    "arange": _range,
    "einsum": _einsum,
    "index": _index,
    "_convolution_mode": _convolution_mode,
    "quantize_per_tensor": _quantised,
    "dequantize": _retyped("float32"),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), _split),
    "unbind": _unbind,
    "expand": _expand,
    "expand_as": _expand_as,
    "repeat": _repeat,
    **dict.fromkeys(("zeros", "ones", "empty", "rand", "randn"), _filled),
    "full": _full,
    **dict.fromkeys(("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like", "full_like"), _like),
    **dict.fromkeys(("new_zeros", "new_ones", "new_empty", "new_full"), _new),
    "where": _where,
    "masked_fill": _masked_fill,
    "gather": _gather,
    "index_select": _index_select,
    **dict.fromkeys(_words("pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad2d"), _pad),
    **dict.fromkeys(
        _words("upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_bicubic2d"),
        _upsample,
    ),
    "interpolate": _interpolate,
    "pixel_shuffle": _shuffle,
    "size": _size_of,
    "lstm": _lstm,
    **dict.fromkeys(("gru", "rnn_tanh", "rnn_relu"), _gru),
    "lstm_cell": _lstm_cell,
    **dict.fromkeys(("gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
    "to": _to,
    "type_as": _to,
    **{
        name: _retyped(dtype)
        for name, dtype in (("float", "float32"), ("double", "float64"), ("half", "float16"), ("long", "int64"))
    },
    **dict.fromkeys(("int", "NumToTensor"), _identity),
}


#: Operators of ``ops.quantized``; quantised types have no name in numpy.
QUANTISED: Final[dict[str, Rule]] = {
    **dict.fromkeys(("linear_dynamic", "linear_relu_dynamic", "linear_dynamic_fp16"), _packed_linear("float32")),
    **dict.fromkeys(("linear", "linear_relu"), _packed_linear(None)),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "conv1d_relu", "conv2d_relu", "conv3d_relu"), _packed_conv),
    **dict.fromkeys(("add", "mul", "add_relu"), lambda v, k: _broadcast(v[:2], k)),
    "add_scalar": _first_like,
    "mul_scalar": _first_like,
    "batch_norm2d": _first_like,
    "hardswish": _first_like,
    "leaky_relu": _first_like,
    "sigmoid": _first_like,
    "cat": _concatenate,
}


def call_operator(name: str, values: Arguments, keywords: Keywords) -> Any:
    """Apply the operator of that name to plain values or tensors."""
    owner, _, name = name.rpartition(".")
    if owner == "ops.quantized":
        return call_rule(QUANTISED, name, values, keywords)
    if name in PLAIN and values and all(map(is_plain, values)):
        return call_rule(PLAIN, name, values, keywords)
    return call_rule(RULES, name, values, keywords)


#: Functions of ``torch.nn.functional`` whose arguments are not those of the operator of the same name.
FUNCTIONS: Final[dict[str, Rule]] = {
    **{name: rule for name, rule in RULES.items() if name not in _words("dropout max_pool1d embedding_bag normalize")},
    "dropout": _same,
    "normalize": _same,
    **dict.fromkeys(("softmax", "log_softmax"), _softmax_function),
    "embedding": lambda v, k: _embedding([v[1], v[0]], k),
    "embedding_bag": lambda v, k: _embedding_bag([v[1], v[0]], k)[0],
}

#: Modules of ``torch.nn.modules`` whose code is long and whose result is shaped like one of their inputs.
BLOCKS: Final[dict[str, Rule]] = {
    **dict.fromkeys(
        ("TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder", "TransformerDecoderLayer"), _first_like
    ),
    "Transformer": _target_like,
    "MultiheadAttention": lambda v, k: (_first_like(v, k), UNKNOWN),
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
