"""Sequences of different lengths in one batch: steps masked, the last one taken, their order reversed.

Source: ``sequence_mask-inl.h``, ``sequence_last-inl.h`` and ``sequence_reverse-inl.h`` in MXNet's ``src/operator``.
What does not belong here: recurrent layers.
"""

from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.indexing import counted


def _mask_steps(call: Call) -> Results:
    """``SequenceMask`` of (time, batch, ...), or (batch, time, ...) with axis 1: later steps become ``value``."""
    if not call.flag("use_sequence_length"):
        return call.input()
    axis, rank = call.axis("axis", 0), call.rank()
    steps = counted(call, call.size_of(call.input(), axis))
    lengths = call.as_type(call.input(1), call.dtype(1), "int64")
    # Time runs along one of the first two dimensions, the lengths along the other; then come those of a step.
    steps = call.graph.unsqueeze(steps, [each for each in range(rank) if each != axis])
    lengths = call.graph.unsqueeze(lengths, [each for each in range(rank) if each != 1 - axis])
    valid = call.emit("Less", [steps, lengths])
    return call.finish("Where", [valid, call.input(), call.constant(call.number("value", 0.0))])


def _take_last(call: Call) -> Results:
    """``SequenceLast``: the last step of each example."""
    graph, axis = call.graph, call.axis("axis", 0)
    if not call.flag("use_sequence_length"):
        return call.finish("Gather", [call.input(), call.integers_constant(-1)], axis=axis)
    lengths = call.as_type(call.input(1), call.dtype(1), "int64")
    last = call.emit("Sub", [lengths, call.integers_constant(1)])
    data = call.input()
    if axis == 0:
        data = graph.transpose(data, [1, 0, *range(2, call.rank())])
    return call.finish("GatherND", [data, graph.unsqueeze(last, [1])], batch_dims=1)


def _reverse(call: Call) -> Results:
    """``SequenceReverse`` of (time, batch, ...): each example's own steps in reverse, padding where it was."""
    if call.integer("axis", 0) != 0:
        raise UncoveredError("only with the time as axis 0, as in MXNet itself")
    if not call.flag("use_sequence_length"):
        return call.graph.slice(call.input(), [-1], [-(1 << 62)], [0], [-1], **call.last)
    lengths = call.as_type(call.input(1), call.dtype(1), "int64")
    return call.finish("ReverseSequence", [call.input(), lengths], time_axis=0, batch_axis=1)


RULES: Final[dict[str, Rule]] = {
    "sequencemask": _mask_steps,
    "sequencelast": _take_last,
    "sequencereverse": _reverse,
}
