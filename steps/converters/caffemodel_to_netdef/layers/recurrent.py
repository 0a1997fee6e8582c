"""Recurrent layers, unrolled in time as ``RecurrentLayer`` of BVLC Caffe unrolls them itself.

Bottoms: a sequence (T, N, ...), the marks (T, N) that are 0 where a sequence begins, an input that is the same at all
times where there is one, and with ``expose_hidden`` the first states. Without them the states are zero before the first
step; Caffe then keeps them from one run to the next, which a net without memory cannot.
"""

from collections.abc import Callable, Mapping
from math import prod
from typing import Final, NamedTuple

from klever.steps.converters.caffemodel_to_netdef.site import Site, UncoveredError
from klever.steps.errors import MalformedModelError

#: Operators of one step, times the longest sequence of a published network (80), by a factor of ten.
_MAX_STEPS: Final = 1000


class _Sequence(NamedTuple):
    steps: int
    width: int
    #: For each step the part of the gates that does not depend on the states, (1, N, gates).
    gates: list[str]
    #: For each step the marks, (1, N, 1).
    marks: list[str]
    #: First states, (1, N, width); none where they are zero.
    states: list[str]
    #: The index of the blob behind those for the inputs.
    next_blob: int


def _sequence(site: Site, gates: int, states: int) -> _Sequence:
    """Apply the weights for the inputs to all steps at once."""
    fields = site.message("recurrent_param")
    width = fields.integer("num_output")
    exposed = fields.flag("expose_hidden")
    static = len(site.bottoms) - 2 - (states if exposed else 0)
    if static not in (0, 1) or len(site.tops) != 1 + (states if exposed else 0) or width < 1:
        raise MalformedModelError(f"the {site.layer.type} {site.layer.name!r} has {len(site.bottoms)} bottoms")
    shape = site.shape()
    if len(shape) < 3:
        raise MalformedModelError(f"the {site.layer.type} {site.layer.name!r} takes steps, images and more axes")
    (steps,) = site.known(shape[:1])
    if not 1 <= steps <= _MAX_STEPS:
        raise UncoveredError(f"{steps} steps")
    rows = gates * width
    weight = site.parameter(0, (rows, prod(site.known(shape[2:]))), "w_x")
    total = site.add("FC", site.bottom, weight, site.parameter(1, (rows,), "b"), axis=2)
    if static:
        rest = site.shape(2)
        weight = site.parameter(2, (rows, prod(site.known(rest[1:]))), "w_static")
        same = site.add("FC", site.bottoms[2], weight, site.constant(0.0, (rows,), "no_bias"), axis=1)
        total = site.add("Add", total, same)
    marks = site.add("ExpandDims", site.bottoms[1], dims=(2,))
    first = list(site.bottoms[2 + static :]) if exposed else []
    return _Sequence(steps, width, _parts(site, total, steps), _parts(site, marks, steps), first, 2 + static)


def _parts(site: Site, source: str, steps: int) -> list[str]:
    if steps == 1:
        return [source]
    names = [site.name("step") for _ in range(steps)]
    site.add("Split", source, out=names, axis=0)
    return names


def _joined(site: Site, parts: list[str]) -> None:
    site.add("Concat", *parts, out=(site.top, site.name("sizes")), axis=0)


def _lstm(site: Site) -> None:
    """Compute the gates in the order input, forget, output, candidate (``LSTMUnitLayer``)."""
    run = _sequence(site, 4, 2)
    width = run.width
    weight = site.parameter(run.next_blob, (4 * width, width), "w_h")
    nothing = site.constant(0.0, (4 * width,), "no_bias")
    hidden, cell = run.states or ("", "")
    outputs = []
    for gates, mark in zip(run.gates, run.marks, strict=True):
        if hidden:
            kept = site.add("Mul", hidden, mark)
            gates = site.add("Add", gates, site.add("FC", kept, weight, nothing, axis=2))
        parts = [site.name(role) for role in ("input", "forget", "output", "candidate")]
        site.add("Split", gates, out=parts, axis=2)
        written = site.add("Mul", site.add("Sigmoid", parts[0]), site.add("Tanh", parts[3]))
        if cell:
            # The mark scales the forget gate: `LSTMUnit` has no other.
            kept = site.add("Mul", site.add("Sigmoid", parts[1]), mark)
            written = site.add("Add", site.add("Mul", cell, kept), written)
        cell = written
        hidden = site.add("Mul", site.add("Sigmoid", parts[2]), site.add("Tanh", cell))
        outputs.append(hidden)
    _joined(site, outputs)
    for top, state in zip(site.tops[1:], (hidden, cell), strict=False):
        site.pass_on(state, top)


def _rnn(site: Site) -> None:
    """Compute h = tanh(W_h h + W_x x + b) and from it o = tanh(W_o h + b_o)."""
    run = _sequence(site, 1, 1)
    width = run.width
    weight = site.parameter(run.next_blob, (width, width), "w_h")
    nothing = site.constant(0.0, (width,), "no_bias")
    hidden = run.states[0] if run.states else ""
    states = []
    for gates, mark in zip(run.gates, run.marks, strict=True):
        if hidden:
            kept = site.add("Mul", hidden, mark)
            gates = site.add("Add", gates, site.add("FC", kept, weight, nothing, axis=2))
        hidden = site.add("Tanh", gates)
        states.append(hidden)
    weight = site.parameter(run.next_blob + 1, (width, width), "w_o")
    bias = site.parameter(run.next_blob + 2, (width,), "b_o")
    everything = site.add("Concat", *states, out=("", site.name("sizes")), axis=0)
    site.add("Tanh", site.add("FC", everything, weight, bias, axis=2), out=site.top)
    for top in site.tops[1:]:
        site.pass_on(hidden, top)


#: Layer type to its rule.
RULES: Final[Mapping[str, Callable[[Site], None]]] = {"LSTM": _lstm, "RNN": _rnn}
