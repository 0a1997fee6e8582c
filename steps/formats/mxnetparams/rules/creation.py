"""Operators without inputs: constants, ranges, random numbers; and ranges as long as another tensor.

What does not belong here: variables.
"""

from math import ceil
from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import UNKNOWN, add, normalise_axis


def _fill(call: Call) -> None:
    call.give(call.sizes("shape"))


def _range(call: Call) -> None:
    start, step = call.number("start", 0), call.number("step", 1)
    stop = call.number("stop", float("nan"))
    if stop != stop:
        start, stop = 0, start
    if call.flag("infer_range") or step == 0 or not abs(stop - start) < 1e15:
        return
    call.give((max(ceil((stop - start) / step), 0) * call.integer("repeat", 1),))


def _range_like(call: Call) -> None:
    data = call.input(0)
    if data is None:
        return
    if "axis" not in call.attributes or call.optional("axis") is None:
        call.give(data)
    else:
        call.give((data[normalise_axis(call.integer("axis", 0), len(data))],))


def _space(call: Call) -> None:
    call.give((call.integer("num", UNKNOWN),))


def _eye(call: Call) -> None:
    rows, columns = call.integer("N", UNKNOWN), call.integer("M", 0)
    call.give((rows, columns or rows))


def _sample(call: Call) -> None:
    """``sample_*``: draws for each element of the parameters."""
    data, shape = call.input(0), call.integers("shape") or ()
    if data is not None:
        call.give((*data, *shape))


def _histogram(call: Call) -> None:
    bins = call.integer("bin_cnt", UNKNOWN)
    call.give((bins,), 0)
    call.give((add(bins, 1),), 1)


_DRAWS: Final = ("uniform", "normal", "gamma", "exponential", "poisson", "negativebinomial", "randint")

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(("zeros", "ones", "full", "empty", "zeroswithoutdtype"), _fill),
    **{f"random{name}": _fill for name in _DRAWS},
    **{f"sample{name}": _sample for name in _DRAWS},
    "arange": _range,
    "arangelike": _range_like,
    "linspace": _space,
    "eye": _eye,
    "histogram": _histogram,
}
