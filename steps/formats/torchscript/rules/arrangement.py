"""Operators that arrange elements anew without computing: reshape, permute, join, split, repeat, pad.

What does not belong here: selection by position (`indexing`), resampling (`resizing`).
"""

from typing import Final

from klever.steps.formats.torchscript.dtypes import joined
from klever.steps.formats.torchscript.rules.elementwise import same
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, argument, ranked, size, tensor
from klever.steps.model import shapes

#: More tensors than code takes apart by name.
_MAX_PIECES: Final = 1000


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


def _unflatten(values: Arguments, _: Keywords) -> Known:
    source, shape = tensor(values[0]), ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape))
    sizes = shapes.reshape((shape[axis],), [one if type(one) is int else shapes.UNKNOWN for one in values[2]])
    return Known(source.dtype, (*shape[:axis], *(sizes or ()), *shape[axis + 1 :]))


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


def _unsqueeze(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape) + 1)
    return Known(tensor(values[0]).dtype, (*shape[:axis], 1, *shape[axis:]))


def _squeeze(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axes = values[1:2] if len(values) > 1 else range(len(shape))
    gone = {shapes.normalise_axis(axis, len(shape)) for axis in axes}
    if any(shape[axis] < 0 for axis in gone):
        raise TypeError
    kept = (length for axis, length in enumerate(shape) if axis not in gone or length != 1)
    return Known(tensor(values[0]).dtype, tuple(kept))


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


def concatenate(values: Arguments, keywords: Keywords) -> Known:
    """Apply ``cat(tensors, dim)``."""
    parts = [tensor(part) for part in values[0]]
    axis = argument(values, keywords, 1, "dim", 0)
    return Known(joined(parts), shapes.concatenate([part.shape for part in parts], axis) if parts else None)


def _stack(values: Arguments, keywords: Keywords) -> Known:
    parts = [tensor(part) for part in values[0]]
    shape: shapes.Shape = None
    for part in parts:
        shape = shapes.merge(shape, part.shape)
    axis = argument(values, keywords, 1, "dim", 0)
    if shape is not None:
        axis = shapes.normalise_axis(axis, len(shape) + 1)
        shape = (*shape[:axis], len(parts), *shape[axis:])
    return Known(joined(parts), shape)


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


def _pad(values: Arguments, _: Keywords) -> Known:
    """Apply a padding of (front, back) for each dimension from the last one."""
    shape, amounts = list(ranked(values[0])), values[1]
    for place in range(len(amounts) // 2):
        pair = amounts[2 * place : 2 * place + 2]
        axis = len(shape) - 1 - place
        is_known = shape[axis] >= 0 and all(type(one) is int for one in pair)
        shape[axis] = shape[axis] + sum(pair) if is_known else shapes.UNKNOWN
    return Known(tensor(values[0]).dtype, tuple(shape))


def _shuffle(values: Arguments, _: Keywords) -> Known:
    *front, channels, height, width = ranked(values[0])
    factor = values[1]
    spatial = [length * factor if length >= 0 else -1 for length in (height, width)]
    return Known(tensor(values[0]).dtype, (*front, channels // factor**2 if channels >= 0 else -1, *spatial))


_PADS: Final = ("pad", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad2d")
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("flip", "roll"), same),
    "flatten": _flatten,
    "unflatten": _unflatten,
    **dict.fromkeys(("view", "reshape"), _reshape),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(("transpose", "t", "swapaxes"), _transpose),
    "permute": _permute,
    **dict.fromkeys(("cat", "concat", "concatenate"), concatenate),
    "stack": _stack,
    **dict.fromkeys(("chunk", "unsafe_chunk"), _chunk),
    **dict.fromkeys(("split", "split_with_sizes", "unsafe_split"), _split),
    "unbind": _unbind,
    "expand": _expand,
    "expand_as": _expand_as,
    "repeat": _repeat,
    **dict.fromkeys(_PADS, _pad),
    "pixel_shuffle": _shuffle,
}
