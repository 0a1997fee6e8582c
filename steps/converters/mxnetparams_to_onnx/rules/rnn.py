"""The fused recurrent operator ``RNN``, whose weights of all layers are one vector.

MXNet packs the parameters of all layers into one vector: for each layer and direction the weights of the input, those
of the state and, where there is one, the projection; behind all of them the two biases of each (``rnn-inl.h``, and
``_rnn_param_concat`` as Gluon's ``rnn_layer.py`` calls it). Gates stand in the order of cuDNN: i, f, c, o in an LSTM,
r, z, n in a GRU, whose reset gate applies to the product with the state (ONNX's ``linear_before_reset``).

What does not belong here: cells unrolled into dense layers, which are plain arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, ShapeNeededError, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.indexing import counted
from klever.steps.errors import MalformedModelError
from klever.steps.formats.mxnetparams.rules.recurrent import input_size
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from klever.steps.writers.onnx import GraphBuilder

_GATES: Final = {"rnn_relu": 1, "rnn_tanh": 1, "gru": 3, "lstm": 4}
_OPERATORS: Final = {"rnn_relu": "RNN", "rnn_tanh": "RNN", "gru": "GRU", "lstm": "LSTM"}
#: Where ONNX's gates stand among MXNet's: i, o, f, c of i, f, c, o, and z, r, h of r, z, n.
_ORDERS: Final = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2)}
#: More layers than any network has; each becomes nodes.
_MAX_LAYERS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Form:
    """The attributes of one RNN operator, and the width of its input."""

    mode: str
    state: int
    layers: int
    directions: int
    projection: int
    clip: tuple[float, float] | None
    input: int
    #: The type that it is computed in.
    dtype: str

    @property
    def rows(self) -> int:
        """The rows of a weight: one for each gate and unit."""
        return _GATES[self.mode] * self.state

    @property
    def width(self) -> int:
        """What a step hands to the next."""
        return self.projection or self.state

    @property
    def is_plain(self) -> bool:
        """Whether ONNX's own operators compute it; onnxruntime has none of them in double precision."""
        return not self.projection and self.clip is None and self.dtype == "float32"

    def columns(self, layer: int) -> int:
        """Return the width of what a layer reads."""
        return self.input if layer == 0 else self.width * self.directions


@dataclass(frozen=True, slots=True)
class _Offsets:
    """Where a layer's arrays begin in the parameter vector, for each direction."""

    inputs: tuple[int, ...]
    states: tuple[int, ...]
    projections: tuple[int, ...]
    biases: tuple[int, ...]


def _offsets(form: _Form) -> tuple[_Offsets, ...]:
    position = 0
    weights: list[list[tuple[int, int, int]]] = []
    for layer in range(form.layers):
        found = []
        for _ in range(form.directions):
            state = position + form.rows * form.columns(layer)
            projection = state + form.rows * form.width
            found.append((position, state, projection))
            position = projection + form.projection * form.state
        weights.append(found)
    result = []
    for found in weights:
        biases = [position + 2 * form.rows * direction for direction in range(form.directions)]
        position += 2 * form.rows * form.directions
        inputs, states, projections = zip(*found, strict=True)
        result.append(_Offsets(inputs, states, projections, tuple(biases)))
    return tuple(result)


def _recur(call: Call) -> Results:
    form = _form(call)
    lengths = None
    if call.flag("use_sequence_length"):
        index = 4 if form.mode == "lstm" else 3
        lengths = call.as_type(call.input(index), call.dtype(index), "int32")
    dtype = call.dtype()
    x = call.as_type(call.input(0), dtype, form.dtype)
    parameters = _Parameters(call, form)
    states = [_initial(call, form, index) for index in ((2, 3) if form.mode == "lstm" else (2,))]
    build = _fused if form.is_plain else _scanned
    finals: list[list[str]] = [[] for _ in states]
    for layer, offsets in enumerate(_offsets(form)):
        begin = layer * form.directions
        initial = [
            state if form.layers == 1 else call.graph.slice(state, [begin], [begin + form.directions], [0])
            for state in states
        ]
        y, ends = build(call, form, parameters, layer, offsets, x, initial, lengths)
        for collected, end in zip(finals, ends, strict=True):
            collected.append(end)
        x = _flattened(call, form, y, last=layer == form.layers - 1 and dtype == form.dtype)
    results = [call.as_type(x, form.dtype, dtype, last=True)]
    for position, collected in enumerate(finals, start=1):
        joined = collected[0] if len(collected) == 1 else call.emit("Concat", collected, axis=0)
        cast = call.as_type(joined, form.dtype, dtype)
        results.append(
            call.graph.add("Identity", [cast], **call.last_of([position])) if position in call.wanted else ""
        )
    return results


def _form(call: Call) -> _Form:
    mode = call.word("mode")
    if mode not in _GATES:
        raise MalformedModelError(f"node {call.name!r} has the mode {mode!r}, which RNN does not have")
    state, layers = call.integer("state_size", 0), call.integer("num_layers", 1)
    if state < 1 or not 1 <= layers <= _MAX_LAYERS:
        raise MalformedModelError(f"node {call.name!r} has {layers} layers of {state} units")
    directions = 2 if call.flag("bidirectional") else 1
    projection = call.optional("projection_size") or 0
    if projection and mode != "lstm":
        raise UncoveredError("a projection belongs to LSTM alone")
    low, high = call.number("lstm_state_clip_min", -1e30), call.number("lstm_state_clip_max", 1e30)
    clipped = call.word("lstm_state_clip_min") and mode == "lstm"
    dtype = "float64" if call.dtype() == "float64" else "float32"
    form = _Form(mode, state, layers, directions, projection, (low, high) if clipped else None, 0, dtype)
    return replace(form, input=_input_width(call, form))


def _input_width(call: Call, form: _Form) -> int:
    parameters = call.shape(1)
    if parameters is not None and len(parameters) == 1 and parameters[0] != UNKNOWN:
        width = input_size(
            parameters[0], mode=form.mode, state=form.state, layers=form.layers, directions=form.directions,
            projection=form.projection,
        )  # fmt: skip
        if width == UNKNOWN:
            raise MalformedModelError(f"node {call.name!r} has {parameters[0]} parameters, which fit no input")
        return width
    width = call.dims(0)[2]
    if width == UNKNOWN:
        raise ShapeNeededError(0)
    return width


class _Parameters:
    """The parameter vector, from which weights are cut: when the file is written where it is stored, else by nodes."""

    def __init__(self, call: Call, form: _Form) -> None:
        self._call = call
        self._dtype = form.dtype
        self._weight = call.weight(1)
        self._vector = "" if self._weight is not None else call.as_type(call.input(1), call.dtype(1), form.dtype)

    def cut(
        self, hint: str, starts: Sequence[int], shape: tuple[int, ...], order: Sequence[int], gates: int = 1
    ) -> str:
        """Return (directions, *shape), of which the ``gates`` blocks of rows stand in another order."""
        size = prod(shape)
        if self._weight is not None:
            first = min(starts)
            part = self._weight.part(first, (max(starts) - first + size,))
            result = (len(starts), *shape)
            arrange = _arrangement([start - first for start in starts], gates, result, tuple(order))
            return self._call.graph.weight(
                f"{self._call.name}_{hint}", part.map(arrange, dtype=self._dtype, shape=result)
            )
        pieces = [self._piece(start, shape, order, gates) for start in starts]
        return pieces[0] if len(pieces) == 1 else self._call.emit("Concat", pieces, axis=0)

    def _piece(self, start: int, shape: tuple[int, ...], order: Sequence[int], gates: int) -> str:
        graph, size = self._call.graph, prod(shape)
        piece = graph.slice(self._vector, [start], [start + size], [0])
        if order:
            piece = graph.reshape(piece, [gates, size // gates])
            piece = graph.gather(piece, self._call.integers_constant(order))
        return graph.reshape(piece, [1, *shape])


def _arrangement(
    starts: Sequence[int], gates: int, shape: tuple[int, ...], order: tuple[int, ...]
) -> "Callable[[NDArray[Any]], NDArray[Any]]":
    def arrange(vector: "NDArray[Any]") -> "NDArray[Any]":
        import numpy as np

        size = prod(shape[1:])
        blocks = [vector[start : start + size].reshape(gates, -1) for start in starts]
        return np.stack([block[list(order)] if order else block for block in blocks]).reshape(shape)

    return arrange


def _initial(call: Call, form: _Form, index: int) -> str:
    """Return an initial state, stretched where it was made for a batch that was not known: begin states of zeros."""
    state = call.as_type(call.input(index), call.dtype(index), form.dtype)
    data, shape = call.shape(0), call.shape(index)
    if data and shape and len(data) == len(shape) == 3 and UNKNOWN != data[1] == shape[1]:
        return state
    width = form.width if index == 2 else form.state
    batch = call.size_of(call.input(0), 1)
    return call.emit("Expand", [state, call.dynamic_shape([form.layers * form.directions, batch, width])])


def _fused(
    call: Call,
    form: _Form,
    parameters: _Parameters,
    layer: int,
    offsets: _Offsets,
    x: str,
    initial: Sequence[str],
    lengths: str | None,
) -> tuple[str, tuple[str, ...]]:
    """Add a layer by ONNX's own operator; return (time, directions, batch, units) and the last states."""
    gates, order = _GATES[form.mode], _ORDERS.get(form.mode, ())
    columns, rows = form.columns(layer), form.rows
    w = parameters.cut(f"l{layer}_i2h_weight", offsets.inputs, (rows, columns), order, gates)
    r = parameters.cut(f"l{layer}_h2h_weight", offsets.states, (rows, form.width), order, gates)
    # Both biases stand one behind the other in either format, as gates of twice their number.
    both = (*order, *(gates + place for place in order))
    b = parameters.cut(f"l{layer}_bias", offsets.biases, (2 * rows,), both, 2 * gates)
    attributes: dict[str, Any] = {"direction": "bidirectional" if form.directions == 2 else "forward"}
    if form.mode == "rnn_relu":
        attributes["activations"] = ["Relu"] * form.directions
    elif form.mode == "gru":
        attributes["linear_before_reset"] = 1
    outputs = call.emit_several(
        _OPERATORS[form.mode], [x, w, r, b, lengths or "", *initial], 1 + len(initial),
        hidden_size=form.state, **attributes,
    )  # fmt: skip
    return outputs[0], outputs[1:]


def _flattened(call: Call, form: _Form, y: str, *, last: bool) -> str:
    """Turn (time, directions, batch, units) into (time, batch, directions * units)."""
    graph, names = call.graph, call.last if last else {}
    if form.directions == 1:
        return graph.squeeze(y, [1], **names)
    return graph.reshape(graph.transpose(y, [0, 2, 1, 3]), [0, 0, form.directions * form.width], **names)


def _scanned(
    call: Call,
    form: _Form,
    parameters: _Parameters,
    layer: int,
    offsets: _Offsets,
    x: str,
    initial: Sequence[str],
    lengths: str | None,
) -> tuple[str, tuple[str, ...]]:
    """Add a layer step by step: what ONNX's operators lack (projections, bounds of the cell, double precision)."""
    graph = call.graph
    mask = None if lengths is None else _steps_before(call, x, lengths)
    steps, ends = [], []
    for direction in range(form.directions):
        hint = f"l{layer}_{'lr'[direction]}"
        cell = _Cell(call, form, parameters, layer, offsets, direction, hint)
        states = [graph.gather(state, call.integers_constant(direction)) for state in initial]
        scanned = cell.scan(x, states, mask)
        steps.append(graph.unsqueeze(scanned[-1], [1]))
        ends.append([graph.unsqueeze(state, [0]) for state in scanned[:-1]])
    if form.directions == 1:
        return steps[0], tuple(ends[0])
    joined = tuple(call.emit("Concat", pair, axis=0) for pair in zip(*ends, strict=True))
    return call.emit("Concat", steps, axis=1), joined


def _steps_before(call: Call, x: str, lengths: str) -> str:
    """Return (time, batch, 1), true before an example's end."""
    steps = counted(call, call.size_of(x, 0))
    ends = call.graph.cast(lengths, "int64")
    mask = call.emit("Less", [call.graph.unsqueeze(steps, [1]), call.graph.unsqueeze(ends, [0])])
    return call.graph.unsqueeze(mask, [2])


class _Cell:
    """One direction of one layer, whose product with the input is taken for all steps at once."""

    def __init__(
        self,
        call: Call,
        form: _Form,
        parameters: _Parameters,
        layer: int,
        offsets: _Offsets,
        direction: int,
        hint: str,
    ) -> None:
        self._call, self._form, self._hint, self._backwards = call, form, hint, direction == 1

        def cut(name: str, start: int, *shape: int) -> str:
            return call.graph.squeeze(parameters.cut(f"{hint}_{name}", [start], shape, ()), [0])

        def turned(name: str, start: int, *shape: int) -> str:
            return call.graph.transpose(cut(name, start, *shape), [1, 0])

        rows = form.rows
        self._input = turned("i2h_weight", offsets.inputs[direction], rows, form.columns(layer))
        self._state = turned("h2h_weight", offsets.states[direction], rows, form.width)
        self._projection = ""
        if form.projection:
            self._projection = turned("h2r_weight", offsets.projections[direction], form.projection, form.state)
        self._input_bias = cut("i2h_bias", offsets.biases[direction], rows)
        self._state_bias = cut("h2h_bias", offsets.biases[direction] + rows, rows)

    def scan(self, x: str, states: Sequence[str], mask: str | None) -> tuple[str, ...]:
        """Return the last states, then the output of every step."""
        call, form = self._call, self._form
        products = call.emit("Add", [call.emit("MatMul", [x, self._input]), self._input_bias])
        body = call.graph.child(f"{call.name}_{self._hint}")
        before = [body.input(f"{call.name}_{self._hint}_{name}", form.dtype, None) for name in "hc"[: len(states)]]
        step = body.input(f"{call.name}_{self._hint}_x", form.dtype, None)
        valid = "" if mask is None else body.input(f"{call.name}_{self._hint}_valid", "bool", None)
        after = self._step(body, step, before)
        result = after[0]
        if valid:
            after = [body.add("Where", [valid, new, old]) for new, old in zip(after, before, strict=True)]
            result = body.add("Where", [valid, result, call.constant(0.0, form.dtype)])
        for value in (*after, result):
            body.output(body.identity(value, f"{call.name}_{self._hint}_next"), form.dtype, (-1, -1))
        scans = [products] if mask is None else [products, mask]
        backwards = int(self._backwards)
        return call.emit_several(
            "Scan", [*states, *scans], len(states) + 1, body=body, num_scan_inputs=len(scans),
            scan_input_directions=[backwards] * len(scans), scan_output_directions=[backwards],
        )  # fmt: skip

    def _step(self, body: "GraphBuilder", x: str, before: Sequence[str]) -> list[str]:
        call, form = self._call, self._form
        state = body.add("Add", [body.add("MatMul", [before[0], self._state]), self._state_bias])
        if form.mode == "gru":
            return [self._gated(body, x, state, before[0])]
        total = body.add("Add", [x, state])
        if form.mode != "lstm":
            return [body.add("Relu" if form.mode == "rnn_relu" else "Tanh", [total])]
        i, f, c, o = body.split(total, [form.state] * 4, 1)
        kept = body.add("Mul", [body.add("Sigmoid", [f]), before[1]])
        cell = body.add("Add", [kept, body.add("Mul", [body.add("Sigmoid", [i]), body.add("Tanh", [c])])])
        if form.clip is not None:
            cell = body.add("Clip", [cell, *(call.constant(bound, form.dtype) for bound in form.clip)])
        hidden = body.add("Mul", [body.add("Sigmoid", [o]), body.add("Tanh", [cell])])
        if self._projection:
            hidden = body.add("MatMul", [hidden, self._projection])
        return [hidden, cell]

    def _gated(self, body: "GraphBuilder", x: str, state: str, before: str) -> str:
        sizes = [self._form.state] * 3
        (xr, xz, xn), (sr, sz, sn) = body.split(x, sizes, 1), body.split(state, sizes, 1)
        reset = body.add("Sigmoid", [body.add("Add", [xr, sr])])
        update = body.add("Sigmoid", [body.add("Add", [xz, sz])])
        new = body.add("Tanh", [body.add("Add", [xn, body.add("Mul", [reset, sn])])])
        kept = body.add("Mul", [update, before])
        rest = body.add("Sub", [self._call.constant(1.0, self._form.dtype), update])
        return str(body.add("Add", [body.add("Mul", [rest, new]), kept]))


RULES: Final[dict[str, Rule]] = {"rnn": _recur}
