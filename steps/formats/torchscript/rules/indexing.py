"""Operators that read or write places of a tensor, by position, range or a tensor of indices.

What does not belong here: choice by a mask (`elementwise`), embeddings (`layers`).
"""

from typing import Final

from klever.steps.formats.torchscript.plain import is_plain
from klever.steps.formats.torchscript.rules.elementwise import same
from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, ranked, tensor
from klever.steps.model import shapes


def _select(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axis = shapes.normalise_axis(values[1], len(shape))
    return Known(tensor(values[0]).dtype, shape[:axis] + shape[axis + 1 :])


def _slice(values: Arguments, _: Keywords) -> Known:
    if len(values) == 1:
        return same(values, {})
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


def _index(values: Arguments, _: Keywords) -> Known:
    return Known(tensor(values[0]).dtype, None)


def _index_select(values: Arguments, _: Keywords) -> Known:
    shape = ranked(values[0])
    axis, count = shapes.normalise_axis(values[1], len(shape)), tensor(values[2]).shape
    return Known(tensor(values[0]).dtype, (*shape[:axis], count[0] if count else -1, *shape[axis + 1 :]))


def _gather(values: Arguments, _: Keywords) -> Known:
    return Known(tensor(values[0]).dtype, tensor(values[2]).shape)


_WRITING: Final = ("scatter", "scatter_add", "masked_scatter", "index_fill", "index_add", "index_copy", "index_put")
RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_WRITING, same),
    "select": _select,
    "slice": _slice,
    "index": _index,
    "index_select": _index_select,
    "gather": _gather,
}
