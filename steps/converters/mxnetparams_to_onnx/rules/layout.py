"""Data and weights whose channels do not stand where ONNX has them: NWC, NHWC and NDHWC.

What does not belong here: what is computed between the two transposes.
"""

from typing import TYPE_CHECKING

from klever.steps.converters.mxnetparams_to_onnx.call import Call
from klever.steps.errors import MalformedModelError

if TYPE_CHECKING:
    from klever.steps.writers.onnx import Weight


def is_channels_last(call: Call, dimensions: int) -> bool:
    """Say whether ``layout`` puts the channels last; raises `MalformedModelError` for what no operator takes."""
    layout = call.word("layout")
    spatial = "DHW"[3 - dimensions :] if dimensions > 1 else "W"
    if layout in ("", f"NC{spatial}"):
        return False
    if layout == f"N{spatial}C":
        return True
    raise MalformedModelError(f"node {call.name!r} has layout {layout[:20]!r} for {dimensions} dimensions")


def channels_first(call: Call, value: str, rank: int) -> str:
    """Move the last dimension behind the first."""
    return call.graph.transpose(value, (0, rank - 1, *range(1, rank - 1)))


def finish_channels_last(call: Call, value: str, rank: int) -> str:
    """Move the second dimension to the end, as the operator's result."""
    return call.graph.transpose(value, (0, *range(2, rank), 1), **call.last)


def weight_channels_first(call: Call, index: int) -> str:
    """Return a weight of (out, *kernel, in) as (out, in, *kernel)."""
    weight = call.weight(index)
    if weight is None:
        return channels_first(call, call.input(index), call.rank(index))
    rank = len(weight.shape)
    order = (0, rank - 1, *range(1, rank - 1))
    return call.replaced(index, transposed(weight, order))


def transposed(weight: "Weight", order: tuple[int, ...]) -> "Weight":
    """Return a stored array with its dimensions in another order; raises `MalformedModelError` where it has others."""
    if sorted(order) != list(range(len(weight.shape))):
        raise MalformedModelError(f"an array of the shape {weight.shape} cannot be transposed by {order}")
    return weight.map(lambda array: array.transpose(order), shape=tuple(weight.shape[axis] for axis in order))
