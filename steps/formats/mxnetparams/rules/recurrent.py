"""The fused recurrent operator ``RNN``, whose weights of all layers are one vector.

What does not belong here: cells unrolled into dense layers.
"""

from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import UNKNOWN, ShapeMismatchError

_GATES: Final = {"rnn_relu": 1, "rnn_tanh": 1, "gru": 3, "lstm": 4}


def input_size(parameters: int, *, mode: str, state: int, layers: int, directions: int, projection: int) -> int:
    """Return the width of the input that a parameter vector of that many elements is for; -1 where none fits.

    The count is that of ``GetRnnParamSize`` in MXNet's ``src/operator/rnn-inl.h``: for each layer and direction the
    weights of input and state and two biases, and where there is a projection its weights.
    """
    rows = state * directions * _GATES[mode]
    width = projection or state
    if rows <= 0:
        return UNKNOWN
    later = (width * directions + width + 2) * rows
    projections = projection * state * layers * directions
    first, rest = divmod(parameters - (layers - 1) * later - projections, rows)
    size = first - width - 2
    return size if rest == 0 and size > 0 else UNKNOWN


def _recur(call: Call) -> None:
    mode = call.word("mode")
    if mode not in _GATES:
        raise ShapeMismatchError(f"RNN has no mode {mode!r}")
    state, layers = call.integer("state_size", 0), call.integer("num_layers", 1)
    directions = 2 if call.flag("bidirectional") else 1
    projection = call.optional("projection_size") or 0
    parameters = call.expect(1, (UNKNOWN,))
    size = UNKNOWN
    if parameters and parameters[0] != UNKNOWN:
        size = input_size(
            parameters[0], mode=mode, state=state, layers=layers, directions=directions, projection=projection
        )
    data = call.expect(0, (UNKNOWN, UNKNOWN, size)) or (UNKNOWN,) * 3
    width = projection or state
    output = call.give((*data[:2], width * directions)) or (UNKNOWN,) * 3
    hidden = call.expect(2, (layers * directions, data[1], width)) or (UNKNOWN,) * 3
    data = call.expect(0, (output[0], hidden[1] if output[1] == UNKNOWN else output[1], UNKNOWN)) or data
    call.give((*data[:2], UNKNOWN))
    call.give((layers * directions, data[1], width), 1)
    if mode == "lstm":
        call.expect(3, (layers * directions, data[1], state))
        call.give((layers * directions, data[1], state), 2)
    if call.flag("use_sequence_length"):
        call.expect(4 if mode == "lstm" else 3, (data[1],))


RULES: Final[dict[str, Rule]] = {"rnn": _recur}
