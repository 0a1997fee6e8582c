"""Compare what two models computed, output by output.

What does not belong here: how a model was run, and what follows from a difference.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from klever.steps.model.certificate import OutputError, Tolerance
from klever.steps.model.signature import Tensor
from klever.steps.proof.arrays import Array
from klever.steps.proof.inputs import match
from klever.steps.proof.ties import Ranked, align

#: What two runtimes with 32 bits differ by when they order the same sums differently.
USUAL: Final = Tolerance(absolute=1e-4, relative=1e-3, of_largest=1e-5, of_spread=0.05)
#: A recurrent network feeds its rounding back into itself.
RECURRENT: Final = Tolerance(absolute=1e-3, relative=1e-3, of_largest=1e-5, of_spread=0.05)
#: Eleven bits of precision, one of which every few layers take.
HALF: Final = Tolerance(absolute=1e-4, relative=1e-2, of_largest=2e-2)
#: An output that varies by less than this part of its largest number varies by rounding alone.
_LEAST_SPREAD: Final = 1e-3

#: Operators and layers that run over a sequence, in all formats' spellings.
_RECURRENT: Final = re.compile(r"RNN|LSTM|GRU|Recurrent|^(Loop|Scan|(Stateless)?While)$", re.IGNORECASE)


def choose_tolerance(operators: Iterable[str], *, half: bool) -> Tolerance:
    """Return the tolerance for a model with these operators or layer types, of either format."""
    if half:
        return HALF
    return RECURRENT if any(_RECURRENT.search(operator) for operator in operators) else USUAL


def compare(
    source: Mapping[str, Array], result: Mapping[str, Array], tolerance: Tolerance, *, ranked: bool = False
) -> tuple[OutputError, ...]:
    """Compare two models' outputs, which match by name, and what is left by place, in the result's order.

    ``ranked`` says that the model orders rows by a score; then those that tie may come in another order.
    """
    compared: dict[str, OutputError] = {}
    pairs: dict[str, tuple[Array, Array]] = {}
    for ours, theirs in match([Tensor(name=name) for name in source], [Tensor(name=name) for name in result]):
        if ours is None or theirs is None:
            name = (ours or theirs or Tensor(name="")).name
            lacking = "source" if ours is None else "result"
            compared[name] = _different(name, f"the {lacking} has no such output")
        else:
            pairs[theirs.name] = source[ours.name], result[theirs.name]
            compared[theirs.name] = _compare(theirs.name, *pairs[theirs.name], tolerance)
    if ranked and not all(error.within_tolerance for error in compared.values()):
        aligned = _compare_aligned(pairs, tolerance)
        compared |= {name: error for name, error in aligned.items() if not compared[name].within_tolerance}
    return tuple(compared.values())


def _compare_aligned(pairs: Mapping[str, tuple[Array, Array]], tolerance: Tolerance) -> dict[str, OutputError]:
    """Compare what agrees once rows of equal scores are exchanged."""
    alike = {
        name: Ranked(ours, theirs, _absolute(_finite(ours), tolerance) if ours.dtype.kind == "f" else 0.0)
        for name, (ours, theirs) in pairs.items()
        if ours.shape == theirs.shape and not _is_text(ours) and not _is_text(theirs)
    }
    compared = {}
    for name, aligned in align(alike, tolerance.relative).items():
        if aligned.moved or aligned.lost:
            told = f"{aligned.moved} rows stand among equals elsewhere"
            told += f", and {aligned.lost} others were kept" if aligned.lost else ""
            error = _compare(name, pairs[name][0], aligned.values.astype(pairs[name][1].dtype), tolerance)
            told = "; ".join(part for part in (error.difference, told) if part)
            compared[name] = error.model_copy(update={"difference": told})
    return compared


def _finite(array: Array) -> Array:
    return np.asarray(array[np.isfinite(array)], np.float64)


def says_something(outputs: Iterable[Array]) -> bool:
    """Tell whether any number of these can show a difference: a model may make nothing but NaN of its inputs."""
    return any(array.dtype.kind in "biuSU" or np.isfinite(array).any() for array in outputs if array.size)


def _compare(name: str, source: Array, result: Array, tolerance: Tolerance) -> OutputError:
    if source.shape != result.shape:
        return _different(name, f"has the shape {_sizes(result)}, in the source {_sizes(source)}")
    if _is_text(source) or _is_text(result):
        if _is_text(source) != _is_text(result):
            return _different(name, f"is {result.dtype.name}, in the source {source.dtype.name}")
        unequal = int(np.count_nonzero(source != result))
        return _different(name, f"{unequal} of {source.size} texts differ") if unequal else _equal(name)
    kinds = "" if source.dtype.kind == result.dtype.kind else f"is {result.dtype}, in the source {source.dtype}"
    if source.dtype.kind in "biu" and result.dtype.kind in "biu":
        return _compare_exactly(name, source, result, kinds)
    return _compare_numbers(name, _widened(source), _widened(result), tolerance, kinds)


def _compare_exactly(name: str, source: Array, result: Array, kinds: str) -> OutputError:
    """Compare integers and truth values, where any difference is one."""
    errors = np.abs(source.astype(object) - result.astype(object)) if (source != result).any() else np.zeros(1)
    unequal = int(np.count_nonzero(errors))
    difference = "; ".join(part for part in (kinds, f"{unequal} of {source.size} differ" if unequal else "") if part)
    return OutputError(
        name=name,
        largest_absolute=float(errors.max(initial=0)),
        within_tolerance=not unequal,
        difference=difference or None,
    )


def _compare_numbers(name: str, source: Array, result: Array, tolerance: Tolerance, kinds: str) -> OutputError:
    finite = np.isfinite(source) & np.isfinite(result)
    # NaN where there is NaN and the same infinity in the same place agree; anything else that is not finite does not.
    unequal = int(np.count_nonzero(~finite & ~((source == result) | (np.isnan(source) & np.isnan(result)))))
    expected = np.abs(source[finite])
    errors = np.abs(result[finite] - source[finite])
    absolute = _absolute(source[finite], tolerance)
    beyond = int(np.count_nonzero(errors > absolute + tolerance.relative * expected))
    # Beside a number that is itself within the absolute tolerance a relative error says nothing.
    large = expected > absolute
    told = (
        kinds,
        f"{unequal} of {source.size} are NaN or infinite in one of both" if unequal else "",
        f"{beyond} of {source.size} are beyond the tolerance" if beyond else "",
    )
    return OutputError(
        name=name,
        largest_absolute=float(errors.max(initial=0)),
        largest_relative=float((errors[large] / expected[large]).max(initial=0)),
        within_tolerance=not unequal and not beyond,
        difference="; ".join(part for part in told if part) or None,
    )


def _absolute(source: Array, tolerance: Tolerance) -> float:
    """Return the absolute tolerance for an output, by how large its numbers are and how much they vary."""
    largest = float(np.abs(source).max(initial=0))
    absolute = max(tolerance.absolute, (tolerance.of_largest or 0.0) * largest)
    spread = float(np.ptp(source.real)) if source.size else 0.0
    if tolerance.of_spread is not None and spread > _LEAST_SPREAD * largest:
        return min(absolute, tolerance.of_spread * spread)
    return absolute


def _widened(array: Array) -> Array:
    """Return numbers in double precision, so that the comparison itself rounds nothing away."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _is_text(array: Array) -> bool:
    return array.dtype.kind in "SU"


def _sizes(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "of a scalar"


def _equal(name: str) -> OutputError:
    return OutputError(name=name, within_tolerance=True)


def _different(name: str, difference: str) -> OutputError:
    return OutputError(name=name, within_tolerance=False, difference=difference)
