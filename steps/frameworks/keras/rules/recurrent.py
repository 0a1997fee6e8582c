"""Recurrent layers, their cells, and the wrappers over time."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from klever.steps.errors import LimitExceededError
from klever.steps.frameworks.keras.document import ConfigError
from klever.steps.frameworks.keras.layer import Call, Layer, Spec
from klever.steps.frameworks.keras.rules.convolution import slide_windows
from klever.steps.frameworks.keras.rules.rule import Rule, known
from klever.steps.model.shapes import UNKNOWN, Shape, merge

#: Cells are stacked a few high; one cell that wraps another is rarer still.
_MAX_NESTING: Final = 16
_MAX_CELLS: Final = 256
#: Class of a cell to how many states of ``units`` it keeps.
_CELLS: Final = {"LSTMCell": 2, "PeepholeLSTMCell": 2, "GRUCell": 1, "SimpleRNNCell": 1, "CuDNNLSTMCell": 2}


def sequence(layer: Layer, call: Call, states: int) -> tuple[Spec, ...]:
    """Answer for a layer over steps of features: the last step or all, then the states if they are asked for."""
    return _over_time(layer, call, [layer.integer("units")] * states, layer.integer("units"))


def over_cells(layer: Layer, call: Call) -> tuple[Spec, ...]:
    """Answer for RNN, whose cells are layers of their own."""
    sizes = list(_states(layer.part("cell")))
    cell = layer.part("cell")
    for _ in range(_MAX_NESTING):
        if cell.class_name != "StackedRNNCells":
            break
        cells = cell.config.get("cells")
        if not isinstance(cells, list) or not cells or not isinstance(cells[-1], dict):
            raise ConfigError("StackedRNNCells has no cells")
        cell = Layer(cells[-1])
    return _over_time(layer, call, sizes, cell.integer("units"))


def _states(cell: Layer, depth: int = 0) -> Iterator[int]:
    """Yield the size of each state of a cell in the order in which RNN returns them."""
    if depth > _MAX_NESTING:
        raise LimitExceededError("the cells of a Keras RNN are nested too deeply")
    if cell.class_name == "StackedRNNCells":
        cells = cell.config.get("cells")
        for item in cells[:_MAX_CELLS] if isinstance(cells, list) else ():
            if isinstance(item, dict):
                yield from _states(Layer(item), depth + 1)
    elif cell.class_name in _CELLS:
        yield from [cell.integer("units")] * _CELLS[cell.class_name]
    else:
        raise ConfigError(f"the cell {cell.class_name} is not one of Keras")


def _over_time(layer: Layer, call: Call, states: list[int], units: int) -> tuple[Spec, ...]:
    first, second, _ = known(call.first.shape, 3)
    batch = second if layer.flag("time_major") else first
    output: tuple[int, ...] = (batch, units)
    if layer.flag("return_sequences"):
        output = (first, second, units)
    kept = [Spec((batch, size), layer.dtype) for size in states] if layer.flag("return_state") else []
    return (Spec(output, layer.dtype), *kept)


def convolutional(layer: Layer, call: Call, rank: int) -> tuple[Spec, ...]:
    """Answer for an LSTM over images: a convolution at each step."""
    batch, steps, *image = known(call.first.shape, rank + 3)
    spatial = tuple(image[1:] if layer.channels_first else image[:-1])
    filters, moved = layer.integer("filters"), slide_windows(layer, spatial)
    state = (batch, filters, *moved) if layer.channels_first else (batch, *moved, filters)
    output = (batch, steps, *state[1:]) if layer.flag("return_sequences") else state
    kept = [Spec(state, layer.dtype)] * 2 if layer.flag("return_state") else []
    return (Spec(output, layer.dtype), *kept)


def bidirectional(layer: Layer, call: Call) -> tuple[Spec, ...]:
    """Run the inner layer both ways and merge the outputs, not the states."""
    forward = call.infer(layer.part("layer"), call)
    backward = forward
    if isinstance(layer.config.get("backward_layer"), dict):
        backward = call.infer(layer.part("backward_layer"), call)
    if not forward or not backward:
        raise ConfigError("Bidirectional wraps a layer without output")
    states = (*forward[1:], *backward[1:])
    mode = layer.config.get("merge_mode", "concat")
    if mode is None:
        return (forward[0], backward[0], *states)
    if mode != "concat":
        return (Spec(merge(forward[0].shape, backward[0].shape), forward[0].dtype), *states)
    a, b = forward[0].shape, backward[0].shape
    if not a or not b:
        return (Spec(None, forward[0].dtype), *states)
    width = UNKNOWN if UNKNOWN in (a[-1], b[-1]) else a[-1] + b[-1]
    return (Spec((*a[:-1], width), forward[0].dtype), *states)


def time_distributed(layer: Layer, call: Call) -> tuple[Spec, ...]:
    """Apply the inner layer to each step."""
    shape = call.first.shape
    steps = shape[1] if shape and len(shape) > 1 else UNKNOWN
    step: Shape = None if shape is None else (*shape[:1], *shape[2:])
    inner = call.infer(layer.part("layer"), call.on(Spec(step, call.first.dtype)))
    return tuple(
        Spec(None if spec.shape is None else (*spec.shape[:1], steps, *spec.shape[1:]), spec.dtype) for spec in inner
    )


RULES: dict[str, Rule] = {
    "LSTM": partial(sequence, states=2),
    "CuDNNLSTM": partial(sequence, states=2),
    "GRU": partial(sequence, states=1),
    "CuDNNGRU": partial(sequence, states=1),
    "SimpleRNN": partial(sequence, states=1),
    "RNN": over_cells,
    "ConvLSTM1D": partial(convolutional, rank=1),
    "ConvLSTM2D": partial(convolutional, rank=2),
    "ConvLSTM3D": partial(convolutional, rank=3),
    "Bidirectional": bidirectional,
    "TimeDistributed": time_distributed,
}
