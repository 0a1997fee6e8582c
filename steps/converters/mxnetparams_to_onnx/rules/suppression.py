"""Non-maximum suppression: which of overlapping boxes stay, and compact rows of those that do.

MXNet keeps results in arrays of a fixed size, in which rows of -1 stand for nothing. What does not belong here: how a
detector encodes its boxes.
"""

from dataclasses import dataclass
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, UncoveredError

#: Below every score; what is not valid sinks there.
LOWEST: Final = -3.4e38


@dataclass(frozen=True, slots=True)
class Candidates:
    """Boxes by falling score: corners (batch, boxes, 4), scores (batch, boxes), int64 classes of the scores' shape."""

    corners: str
    scores: str
    #: Boxes of different classes leave each other alone; None where there is but one class.
    classes: str | None = None


def kept_boxes(call: Call, found: Candidates, threshold: float, valid: float | None, limit: int | None = None) -> str:
    """Return (batch, boxes) of int64, 1 for the boxes that no better one overlaps by more than ``threshold``.

    Scores up to ``valid`` count for nothing. At most ``limit`` boxes stay of each image and class.
    """
    if threshold < 0:
        raise UncoveredError("only for thresholds of overlap that are not negative")
    graph = call.graph
    scores = _by_class(call, found)
    everything = graph.gather(graph.shape(found.scores), [1])
    most = everything if limit is None else call.integers_constant([limit])
    inputs = [_sound(call, found.corners), scores, most, call.constant(min(threshold, 1.0), "float32")]
    if valid is not None:
        inputs.append(call.constant(valid, "float32"))
    # (image, class, box) for each that stays.
    chosen = graph.gather(call.emit("NonMaxSuppression", inputs), [0, 2], 1)
    zeros = call.emit("Expand", [call.integers_constant(0), graph.shape(found.scores)])
    count = graph.gather(graph.shape(chosen), [0])
    return call.emit("ScatterND", [zeros, chosen, call.emit("Expand", [call.integers_constant(1), count])])


def _by_class(call: Call, found: Candidates) -> str:
    """Return (batch, classes, boxes): each box has its score among its own class alone."""
    graph = call.graph
    scores = graph.unsqueeze(found.scores, [1])
    if found.classes is None:
        return scores
    every = call.emit("Unique", [graph.reshape(found.classes, [-1])], sorted=1)
    same = call.emit("Equal", [graph.unsqueeze(found.classes, [1]), graph.unsqueeze(every, [0, 2])])
    return call.emit("Where", [same, scores, call.constant(LOWEST, "float32")])


def _sound(call: Call, corners: str) -> str:
    """Give boxes of negative width or height none at all: ONNX would turn their corners round."""
    low, high = call.graph.split(corners, [2, 2], 2)
    return call.graph.concat([low, call.emit("Max", [low, high])], 2)


def sorted_order(call: Call, keys: str, count: str) -> tuple[str, str]:
    """Return the ``count`` largest keys of each row by size, the first first among equals, and their positions."""
    values, order = call.emit_several("TopK", [keys, count], 2, axis=1, largest=1, sorted=1)
    return values, order


def rows_at(call: Call, rows: str, order: str) -> str:
    """Return (batch, positions, width): the rows of (batch, all, width) at (batch, positions)."""
    return call.emit("GatherND", [rows, call.graph.unsqueeze(order, [2])], batch_dims=1)


def compacted(call: Call, rows: str, mask: str, empty: str) -> str:
    """Move the rows at which ``mask`` is 1 to the front of each image, into a copy of ``empty``."""
    graph = call.graph
    places = call.emit("Sub", [call.emit("CumSum", [mask, call.integers_constant(1)]), call.integers_constant(1)])
    sources = graph.transpose(call.emit("NonZero", [mask]), [1, 0])
    images = graph.gather(sources, [0], 1)
    targets = graph.concat([images, graph.unsqueeze(call.emit("GatherND", [places, sources]), [1])], 1)
    return call.emit("ScatterND", [empty, targets, call.emit("GatherND", [rows, sources])])
