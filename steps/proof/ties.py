"""Put rows that tie into the source's order: what ranks by a score orders equal ones by rounding.

A detector's outputs are rows by falling score: a tensor of scores, one of boxes, one of classes, or all in one. Two
runtimes that agree on every score may still exchange rows with equal scores, and of those at the end of the list keep
different ones. What does not belong here: models that rank nothing, where an exchange is a fault.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from klever.steps.proof.arrays import Array

#: Operators and layers that rank, in all formats' spellings.
_RANKING: Final = re.compile(r"nms|non_?max|top_?k|sort|detection|proposal", re.IGNORECASE)
#: What scores may differ by and still tie, as a part of what outputs may differ by.
_TIE: Final = 0.01
#: Rows that are out of place, above which no order is looked for: it takes their square.
_MAX_ROWS: Final = 2000
#: The part of all rows that may have been cut off; with more of them nothing would be shown.
_MOST_LOST: Final = 0.1
#: Kinds of numbers.
_NUMBERS: Final = "biuf"


class Ranked(NamedTuple):
    """One output of both models, of equal shape, and its absolute tolerance."""

    source: Array
    result: Array
    limit: float


class Aligned(NamedTuple):
    """A result's output in the source's order."""

    values: Array
    #: How many rows stood elsewhere, and of how many the result kept others of the same score.
    moved: int
    lost: int


def ranks(operators: Iterable[str]) -> bool:
    """Tell whether a model has an operator that ranks."""
    return any(_RANKING.search(operator) for operator in operators)


def align(outputs: Mapping[str, Ranked], relative: float) -> dict[str, Aligned]:
    """Return those of the result's outputs that agree with the source's once rows that tie are exchanged.

    Outputs of equal numbers of rows belong together. A row moves only among those with which it ties in every column
    that agrees as it is.
    """
    aligned: dict[str, Aligned] = {}
    for names in _groups(outputs):
        group = [outputs[name] for name in names]
        source, result = (
            np.concatenate([_rows(array, outputs).astype(np.float64) for array in arrays], axis=-1)
            for arrays in ([each.source for each in group], [each.result for each in group])
        )
        widths = [_rows(each.source, outputs).shape[-1] for each in group]
        rule = _Rule(np.repeat([each.limit for each in group], widths), relative)
        found = [_place(ours, theirs, rule) for ours, theirs in zip(source, result, strict=True)]
        if all(placed is not None for placed in found):
            placed = [each for each in found if each is not None]
            values = np.split(np.stack([each.values for each in placed]), np.cumsum(widths)[:-1], axis=-1)
            moved, lost = sum(each.moved for each in placed), sum(each.lost for each in placed)
            for name, each, table in zip(names, group, values, strict=True):
                aligned[name] = Aligned(table.reshape(each.result.shape), moved, lost)
    return aligned


def _groups(outputs: Mapping[str, Ranked]) -> Iterator[list[str]]:
    """Yield the names of outputs that have as many rows in as many batches."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, each in outputs.items():
        if each.source.dtype.kind in _NUMBERS and each.result.dtype.kind in _NUMBERS and each.source.ndim:
            groups.setdefault(_rows(each.source, outputs).shape[:2], []).append(name)
    yield from groups.values()


def _rows(array: Array, outputs: Mapping[str, Ranked]) -> Array:
    """Return an output as batches of rows of columns; beside a list of N scores, N x 4 are rows too, else a batch."""
    lists = {each.source.shape for each in outputs.values() if each.source.ndim == 1}
    if array.ndim == 1:
        return array.reshape(1, -1, 1)
    if array.ndim == 2:
        return array[np.newaxis] if array.shape[:1] in lists else array[..., np.newaxis]
    return array.reshape(-1, *array.shape[-2:])


class _Rule(NamedTuple):
    """When numbers agree: the tolerances by column."""

    limits: Array
    relative: float

    def agree(self, source: Array, result: Array, part: float = 1.0) -> Array:
        """Tell of every number whether it agrees; NaN does with NaN."""
        with np.errstate(invalid="ignore"):
            near = np.abs(result - source) <= part * (self.limits + self.relative * np.abs(source))
        return np.asarray(near | (source == result) | (np.isnan(source) & np.isnan(result)))


def _place(source: Array, result: Array, rule: _Rule) -> Aligned | None:
    """Align the rows of one batch; None where an exchange among ties does not explain what differs."""
    same = rule.agree(source, result)
    scores = same.all(axis=0)
    wrong = np.flatnonzero(~same.all(axis=1))
    if not wrong.size:
        return Aligned(result, 0, 0)
    if not scores.any() or wrong.size > _MAX_ROWS:
        return None
    ties = _Rule(rule.limits[scores], rule.relative)
    keys = source[:, scores]
    begins = np.concatenate([[True], ~ties.agree(keys[:-1], keys[1:], _TIE).all(axis=1)])
    run = np.cumsum(begins)
    values, moved, lost = result.copy(), 0, 0
    for number in np.unique(run[wrong]):
        places = wrong[run[wrong] == number]
        left = places.tolist()
        for place in places:
            matching = np.flatnonzero(rule.agree(source[place], result[left]).all(axis=1))
            if matching.size:
                values[place] = result[left.pop(int(matching[0]))]
                moved += 1
            else:
                # What is not among the result's equals may have been cut off, where the list was cut: behind its last.
                if number != run[-1] or lost + 1 > len(source) * _MOST_LOST:
                    return None
                values[place] = source[place]
                lost += 1
    return Aligned(values, moved, lost)
