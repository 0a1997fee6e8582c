"""Make inputs for two models from what their signatures say: the same for the same seed, on every machine.

What does not belong here: running anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.random import PCG64

from klever.steps.errors import LimitExceededError, UnansweredError
from klever.steps.model.signature import Tensor
from klever.steps.proof.arrays import Array

#: Half-open ranges of integers.
Range = tuple[int, int]

#: What a dynamic first size, a batch, becomes: two, so that a model that mixes up samples is found out.
_BATCH: Final = 2
#: What other dynamic sizes become: an image's has to survive five halvings, a sequence's need not.
_IMAGE_SIZE: Final = 64
_LENGTH: Final = 8
#: Axes that the data of an image has at least.
_IMAGE_RANK: Final = 4
#: Integers of which nothing is known: indices of the smallest tables, lengths, counts. Zero is no length.
_SMALL: Final[Range] = (1, 4)
#: More than the largest published models take at once, in elements.
_MAX_ELEMENTS: Final = 1 << 28
_WORDS: Final = ("a", "b", "one", "two", "klever")
#: A type that numpy does not have, and the one that its values are made in.
_STAND_INS: Final = {"bfloat16": "float32", None: "float32"}


class Pair(NamedTuple):
    """One input of both models. A name is None where that model has no such input."""

    source: str | None
    result: str | None
    #: The result's name, the type and every size.
    tensor: Tensor
    values: Array


def make_inputs(
    source: Sequence[Tensor], result: Sequence[Tensor], seed: int, ranges: Mapping[str, Range]
) -> list[Pair]:
    """Make values for the inputs of a source and of its result, which match by name, and what is left by place.

    Floats are standard normal. Integers, and floats that stand for some, lie in the half-open range that ``ranges``
    has for either name. Raises `UnansweredError` where the rank of an input is known from neither, and
    `LimitExceededError`.
    """
    pairs: list[Pair] = []
    for ours, theirs in match(source, result):
        tensor = _joined(ours, theirs)
        names = ours.name if ours else None, theirs.name if theirs else None
        known = [ranges[name] for name in reversed(names) if name is not None and name in ranges]
        # Each input has bits of its own, so that one more input changes none of the others.
        values = _values(PCG64([seed, len(pairs)]), tensor, known[0] if known else None)
        pairs.append(Pair(*names, tensor, values))
    return pairs


def values_for(model: Sequence[Tensor], names: Sequence[str | None], pairs: Sequence[Pair]) -> dict[str, Array]:
    """Return the values of one model's inputs under its ``names`` for the pairs, in the types that it states."""
    dtypes = {tensor.name: tensor.dtype for tensor in model}
    given = {}
    for name, pair in zip(names, pairs, strict=True):
        if name is not None:
            dtype = dtypes.get(name)
            plain = pair.values.dtype.kind not in "SU" and dtype is not None and dtype not in _STAND_INS
            given[name] = pair.values.astype(dtype) if plain else pair.values
    return given


def match(source: Sequence[Tensor], result: Sequence[Tensor]) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    """Pair tensors of two models: by name, then what is left by place, in the result's order."""
    by_name = {tensor.name: tensor for tensor in source}
    names = {tensor.name for tensor in result}
    left = iter([tensor for tensor in source if tensor.name not in names])
    for tensor in result:
        yield by_name.get(tensor.name) or next(left, None), tensor
    for tensor in left:
        yield tensor, None


def _joined(source: Tensor | None, result: Tensor | None) -> Tensor:
    """Return one tensor with every size known: the result's, else the source's, else one that is made up."""
    name = (result or source or Tensor(name="")).name
    shapes = [tensor.shape for tensor in (result, source) if tensor is not None and tensor.shape is not None]
    if not shapes:
        raise UnansweredError(f"the shape of input {name!r} is not known", next_step=f"add --shape {name}=SIZES")
    rank = len(shapes[0])
    usual = _IMAGE_SIZE if rank >= _IMAGE_RANK else _LENGTH
    sizes = []
    for axis, known in enumerate(zip(*(shape for shape in shapes if len(shape) == rank), strict=True)):
        stated = [size for size in known if size >= 0]
        sizes.append(stated[0] if stated else usual if axis else _BATCH)
    if np.prod(sizes, dtype=object) > _MAX_ELEMENTS:
        raise LimitExceededError(f"the input {name!r} has more than {_MAX_ELEMENTS} elements")
    dtypes = [tensor.dtype for tensor in (result, source) if tensor is not None and tensor.dtype is not None]
    return Tensor(name=name, dtype=dtypes[0] if dtypes else None, shape=tuple(sizes))


def _values(bits: PCG64, tensor: Tensor, within: Range | None) -> Array:
    shape = tensor.shape or ()
    if tensor.dtype in ("object", "str", "string"):
        return np.asarray(np.array(_WORDS)[_integers(bits, 0, len(_WORDS), shape)])
    try:
        dtype = np.dtype(_STAND_INS.get(tensor.dtype, tensor.dtype))
    except TypeError:
        raise UnansweredError(f"no values can be made for input {tensor.name!r} of type {tensor.dtype}") from None
    if dtype.kind == "b":
        return _integers(bits, 0, 2, shape).astype(bool)
    if within is not None:
        return _integers(bits, *within, shape).astype(dtype)
    if dtype.kind in "iu":
        # Bytes are pixels or quantised numbers, and may have any value.
        low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max + 1) if dtype.itemsize == 1 else _SMALL
        return _integers(bits, low, high, shape).astype(dtype)
    if dtype.kind == "c":
        return (_normal(bits, shape) + 1j * _normal(bits, shape)).astype(dtype)
    return _normal(bits, shape).astype(dtype)


# A certificate names its inputs by their seed alone. numpy keeps the bits of PCG64 the same in all versions, but not
# what its `Generator` makes of them (NEP 19), so that is done here.


def _uniform(bits: PCG64, shape: tuple[int, ...]) -> Array:
    """Return numbers in [0, 1) with 53 random bits each."""
    raw = np.asarray(bits.random_raw(int(np.prod(shape, dtype=np.int64))))
    return np.asarray((raw >> np.uint64(11)) * 2.0**-53).reshape(shape)


def _integers(bits: PCG64, low: int, high: int, shape: tuple[int, ...]) -> Array:
    """Return integers in [low, high)."""
    return np.asarray(low + np.floor(_uniform(bits, shape) * (high - low)).astype(np.int64))


def _normal(bits: PCG64, shape: tuple[int, ...]) -> Array:
    """Return standard normal numbers, by the transform of Box and Muller."""
    distance = np.sqrt(-2 * np.log1p(-_uniform(bits, shape)))
    return np.asarray(distance * np.cos(2 * np.pi * _uniform(bits, shape)))
