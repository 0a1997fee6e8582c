"""Recurrent layers and their cells.

What does not belong here: transformers' layers (`layers`, `modules`).
"""

from typing import Any, Final

from klever.steps.formats.torchscript.values import Arguments, Keywords, Known, Rule, ranked, size, tensor


def _recurrent(values: Arguments, states: int) -> tuple[Any, ...]:
    """Apply ``(input, hx, weights, biases, layers, dropout, train, bidirectional, batch_first)``.

    With packed input, ``(data, batch_sizes, hx, ...)``, the fourth argument is no truth value; nothing follows then.
    """
    source, biases, layers, bidirectional, batch_first = tensor(values[0]), values[3], values[4], values[7], values[8]
    if not (isinstance(biases, bool) and isinstance(bidirectional, bool) and isinstance(batch_first, bool)):
        raise TypeError
    weight, recurrent = ranked(values[2][0]), ranked(values[2][1])
    dtype, directions = tensor(values[2][0]).dtype, 2 if bidirectional else 1
    source.demand((-1, -1, weight[1]), dtype)
    shape = ranked(source)
    # A projection (LSTM's ``proj_size``) narrows what goes on; it adds a third matrix to each direction.
    width, cells = recurrent[1], recurrent[0] // 4
    batch = shape[0 if batch_first else 1]
    output = Known(dtype, (*shape[:2], width * directions))
    hidden = [Known(dtype, (size(layers * directions), batch, one)) for one in (width, cells)[:states]]
    return output, *hidden


def _lstm(values: Arguments, _: Keywords) -> tuple[Any, ...]:
    return _recurrent(values, 2)


def _gru(values: Arguments, _: Keywords) -> tuple[Any, ...]:
    return _recurrent(values, 1)


def _cell(values: Arguments, _: Keywords) -> Any:
    """Apply a recurrent cell: ``(input, hx, w_ih, w_hh, ...)``."""
    source, weight, recurrent = tensor(values[0]), tensor(values[2]), ranked(values[3])
    source.demand((-1, ranked(weight)[1]), weight.dtype)
    return Known(weight.dtype, (ranked(source)[0], recurrent[1]))


def _lstm_cell(values: Arguments, keywords: Keywords) -> Any:
    state = _cell(values, keywords)
    return state, Known(state.dtype, state.shape)


RULES: Final[dict[str, Rule]] = {
    "lstm": _lstm,
    **dict.fromkeys(("gru", "rnn_tanh", "rnn_relu"), _gru),
    "lstm_cell": _lstm_cell,
    **dict.fromkeys(("gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
}
