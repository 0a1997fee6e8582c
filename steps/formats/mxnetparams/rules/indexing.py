"""Operators that select by the values of another tensor.

What does not belong here: slices by constant bounds.
"""

from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import UNKNOWN, normalise_axis


def _take(call: Call) -> None:
    data, indices = call.input(0), call.input(1)
    if data is None or indices is None:
        return
    axis = normalise_axis(call.integer("axis", 0), len(data))
    call.give((*data[:axis], *indices, *data[axis + 1 :]))


def _batch_take(call: Call) -> None:
    call.tie(1)


def _one_hot(call: Call) -> None:
    output = call.output()
    indices = call.expect(0, output[:-1] if output else None)
    if indices is not None:
        call.give((*indices, call.integer("depth", UNKNOWN)))


def _gather(call: Call) -> None:
    data, indices = call.input(0), call.input(1)
    if data is None or not indices or indices[0] == UNKNOWN:
        return
    call.give((*indices[1:], *data[indices[0] :]))


def _scatter(call: Call) -> None:
    call.give(call.sizes("shape"))


def _last(call: Call) -> None:
    """``SequenceLast``: one step of (time, batch, ...)."""
    data = call.input(0)
    if data:
        axis = normalise_axis(call.integer("axis", 0), len(data))
        call.give((*data[:axis], *data[axis + 1 :]))


def _mask_steps(call: Call) -> None:
    """``SequenceMask`` and ``SequenceReverse``: a length for each example of (time, batch, ...)."""
    data = call.tie(0)
    if data is not None and len(data) > 1 and call.flag("use_sequence_length"):
        call.expect(1, (data[1 - normalise_axis(call.integer("axis", 0), 2)],))


def _mask(call: Call) -> None:
    data = call.input(0)
    if data is not None:
        axis = normalise_axis(call.integer("axis", 0), len(data))
        call.give((*data[:axis], UNKNOWN, *data[axis + 1 :]))


def _ravel(call: Call) -> None:
    data = call.input(0)
    if data:
        call.give(data[1:])


def _unravel(call: Call) -> None:
    data, shape = call.input(0), call.integers("shape")
    if data is not None and shape:
        call.give((len(shape), *data))


def _index(call: Call) -> None:
    """``index_array``: the coordinates of each element."""
    data, axes = call.input(0), call.integers("axes")
    if data is not None:
        call.give((*data, len(axes) if axes else len(data)))


RULES: Final[dict[str, Rule]] = {
    "take": _take,
    "batchtake": _batch_take,
    "onehot": _one_hot,
    "gathernd": _gather,
    "scatternd": _scatter,
    "sequencelast": _last,
    "sequencemask": _mask_steps,
    "sequencereverse": _mask_steps,
    "booleanmask": _mask,
    "ravelmultiindex": _ravel,
    "unravelindex": _unravel,
    "indexarray": _index,
}
