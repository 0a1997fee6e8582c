"""Recurrent networks: a net that runs once a step, and the cells that it is made of.

Source: ``rnn/recurrent_network_op``, ``lstm_unit_op`` and ``gru_unit_op`` in ``caffe2/operators``.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from klever.steps.converters.netdef_to_onnx.call import END, Bound, Call, RefusedError, Result, Rules
from klever.steps.formats.netdef.graph import read_body
from klever.steps.formats.netdef.values import Value
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from klever.steps.converters.netdef_to_onnx.translate import Translation


def _gates(call: Call, gates: str, count: int) -> list[str]:
    """Cut what comes for all gates into one part for each."""
    counted = {"num_outputs": count} if call.graph.opset >= 18 else {}
    return list(call.add("Split", gates, axis=2, outputs=count, **counted))


def _where_valid(call: Call, lengths_at: int) -> str | None:
    """Return which items of the batch still have steps, shaped like a state; None where all have."""
    if not call.flag("sequence_lengths", default=True):
        return None
    step = call.reshape(call.int64(lengths_at + 1), [1])
    return call.unsqueeze(call.add("Less", step, call.int64(lengths_at)), [0, 2])


def _kept(call: Call, valid: str | None, new: str, old: str, at: int) -> str:
    """Give the new state, or for items that have ended the old one, or zero where states are dropped."""
    if valid is None:
        return call.give("Identity", new, at=at)
    return call.give("Where", valid, new, call.constant(0.0) if call.flag("drop_states") else old, at=at)


def _lstm_unit(call: Call) -> Result:
    """Compute hidden and cell state; the gates are those of input, forgetting, output, and the candidate."""
    hidden, cell = call.input(0), call.input(1)
    entered, forgotten, shown, candidate = _gates(call, call.input(2), 4)
    if bias := call.number("forget_bias"):
        forgotten = call.add("Add", forgotten, call.constant(bias))
    entered, forgotten, shown = (call.add("Sigmoid", gate) for gate in (entered, forgotten, shown))
    held = call.add("Mul", forgotten, cell)
    new_cell = call.add("Add", held, call.add("Mul", entered, call.add("Tanh", candidate)))
    new_hidden = call.add("Mul", shown, call.add("Tanh", new_cell))
    valid = _where_valid(call, 3)
    return _kept(call, valid, new_hidden, hidden, 0), _kept(call, valid, new_cell, cell, 1)


def _gru_unit(call: Call) -> Result:
    """Compute the hidden state from the gates of reset, which came in before, of update, and the candidate."""
    hidden = call.input(0)
    _, update, candidate = _gates(call, call.input(1), 3)
    update = call.add("Sigmoid", update)
    held = call.add("Mul", hidden, update)
    fresh = call.add("Mul", call.add("Tanh", candidate), call.add("Sub", call.constant(1.0), update))
    return [_kept(call, _where_valid(call, 2), call.add("Add", held, fresh), hidden, 0)]


def _reversed(call: Call) -> Result:
    """Turn round the steps that each item of the batch has; those behind them stay."""
    return call.give("ReverseSequence", call.input(0), call.int64(1), time_axis=0, batch_axis=1)


class _Link(NamedTuple):
    """A blob of the step net that is a slice of one outside, ``offset`` steps ahead."""

    internal: str
    external: str
    offset: int


def _texts(call: Call, name: str) -> list[str]:
    argument = call.argument(name)
    return [text.decode("utf-8", "backslashreplace") for text in argument.strings] if argument is not None else []


def _links(call: Call) -> list[_Link]:
    internals, externals = _texts(call, "link_internal"), _texts(call, "link_external")
    offsets, windows = call.integers("link_offset"), call.integers("link_window")
    if not len(internals) == len(externals) == len(offsets):
        raise RefusedError("its links do not match")
    if any(window != 1 for window in windows):
        raise RefusedError("with a window of several steps")
    return [_Link(*parts) for parts in zip(internals, externals, offsets, strict=True)]


class _State(NamedTuple):
    """A state that steps hand on: its blob, its first value in (1, batch, width), and its links within a step."""

    blob: str
    first: str
    value: Value
    before: Sequence[str]
    after: str


def _network(call: Call) -> Result:
    """Scan over the first dimension: states go in and out, slices of sequences go in, new states are gathered."""
    net = read_body(call.argument("step_net"))
    if net is None:
        raise RefusedError("it has no step_net")
    links = _links(call)
    states = _states(call, links)
    blobs = {state.blob for state in states}
    sequences = [link for link in links if link.external not in blobs]
    for index in range(len(call)):
        if call.value(index).dtype == "int32" and len(call.value(index).shape or ()) == 1:
            # How many steps each item of the batch has.
            call.limit(index, 1, call.shape(0)[0] + 1)
    body = call.translation.body("step")
    for state in states:
        name = body.graph.input(f"{state.blob}_before", state.value.dtype or "float32", None)
        body.bound.update({internal: Bound(name, state.value) for internal in state.before})
    scanned = [_scan(call, body, link) for link in sequences]
    scanned.append(_steps(call, body))
    body.run(net.operators, None)
    after = [body.bound.get(state.after) for state in states]
    if any(bound is None for bound in after):
        raise RefusedError("its step net does not compute a state")
    made = [bound.name for bound in after if bound is not None]
    # A state that is gathered too needs a second name.
    gathered = [str(body.graph.add("Identity", [name], outputs=[f"{name}_step"])) for name in made]
    handed = [str(body.graph.add("Identity", [name], outputs=[f"{name}_after"])) for name in made]
    for name in (*handed, *gathered):
        body.graph.output(name)
    results = call.add(
        "Scan",
        *(state.first for state in states),
        *scanned,
        outputs=2 * len(states),
        body=body.graph,
        num_scan_inputs=len(scanned),
    )
    results = [results] if isinstance(results, str) else list(results)
    return _outputs(call, states, results[: len(states)], results[len(states) :])


def _states(call: Call, links: Sequence[_Link]) -> list[_State]:
    blobs, places = _texts(call, "recurrent_states"), call.integers("initial_recurrent_state_ids")
    if not blobs or len(blobs) != len(places):
        raise RefusedError("its states do not match")
    states = []
    for blob, place in zip(blobs, places, strict=True):
        before = [link.internal for link in links if link.external == blob and link.offset == 0]
        after = [link.internal for link in links if link.external == blob and link.offset == 1]
        if len(after) != 1 or len(before) + 1 != sum(link.external == blob for link in links):
            raise RefusedError("a state that reaches over several steps")
        shape = call.shape(place)
        width = shape[-1] if shape else UNKNOWN
        batch = call.shape(0)[1] if call.rank(0) > 1 else UNKNOWN
        states.append(_State(blob, _first(call, place, shape), Value((1, batch, width), "float32"), before, after[0]))
    return states


def _first(call: Call, place: int, shape: tuple[int, ...]) -> str:
    """Return the value before the first step; one that lacks the batch is the same for every item."""
    if len(shape) == 3:
        if call.size(0, place) != 1:
            raise RefusedError("with several initial steps")
        return call.input(place)
    if len(shape) == 2:
        return call.unsqueeze(call.input(place), [0])
    if len(shape) != 1:
        raise RefusedError(f"with an initial state of rank {len(shape)}")
    batch = call.sizes(call.input(0), [1])
    wanted = call.add("Concat", call.integers_of([1]), batch, call.sizes(call.input(place)), axis=0)
    return str(call.add("Expand", call.input(place), wanted))


def _scan(call: Call, body: "Translation", link: _Link) -> str:
    outer = call.translation.bound.get(link.external)
    if outer is None or link.offset != 0:
        raise RefusedError(f"its step reads {link.external!r}, which is no sequence")
    name = body.graph.input(f"{link.internal}_slice", outer.value.dtype or "float32", None)
    whole = str(body.graph.add("Unsqueeze", [name, call.integers_of([0])], outputs=[link.internal]))
    shape = None if outer.value.shape is None else (1, *outer.value.shape[1:])
    body.bound[link.internal] = Bound(whole, Value(shape, outer.value.dtype))
    return outer.name


def _steps(call: Call, body: "Translation") -> str:
    """Count the steps, for those who ask which it is."""
    timestep = call.operator.text("timestep", "timestep")
    name = body.graph.input(f"{timestep}_now", "int32", None)
    body.bound[timestep] = Bound(name, Value((1,), "int32"))
    total = call.reshape(call.sizes(call.input(0), [0]), [])
    counted = call.cast(call.add("Range", call.constant(0), total, call.constant(1)), "int32")
    return call.unsqueeze(counted, [1])


def _outputs(call: Call, states: Sequence[_State], last: Sequence[str], gathered: Sequence[str]) -> Result:
    """Give what the outputs are aliases of: all steps of a state, from some step on."""
    aliases = dict(
        zip(
            _texts(call, "alias_dst"),
            zip(_texts(call, "alias_src"), call.integers("alias_offset"), strict=False),
            strict=False,
        )
    )
    place = {state.blob: at for at, state in enumerate(states)}
    results: list[str | None] = []
    for at, output in enumerate(call.operator.outputs):
        source, offset = aliases.get(output, (output, 0))
        if source not in place:
            # The last output holds the workspaces of the steps, which nothing but a gradient reads.
            results.append(None)
            continue
        state = states[place[source]]
        _, batch, width = state.value.shape or (1, UNKNOWN, UNKNOWN)
        call.known[at] = Value((1 if offset == -1 else UNKNOWN, batch, width), "float32")
        if offset == -1:
            results.append(call.give("Identity", last[place[source]], at=at))
            continue
        steps = call.squeeze(gathered[place[source]], [1])
        if offset == 1:
            results.append(call.give("Identity", steps, at=at))
        else:
            every = call.add("Concat", state.first, steps, axis=0)
            results.append(call.give("Slice", every, *(call.integers_of([edge]) for edge in (offset, END, 0)), at=at))
    return results


RULES: Final[Rules] = {
    "GRUUnit": _gru_unit,
    "LSTMUnit": _lstm_unit,
    "RecurrentNetwork": _network,
    "ReversePackedSegs": _reversed,
}
