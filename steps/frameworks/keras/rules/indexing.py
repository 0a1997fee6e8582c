"""Indexing by Python's brackets, as both tf.keras and Keras 3 record it."""

from collections.abc import Mapping
from typing import Any

from klever.steps.frameworks.keras.document import MAX_RANK, ConfigError
from klever.steps.frameworks.keras.layer import Call, Layer, Spec
from klever.steps.frameworks.keras.rules.arguments import parameter
from klever.steps.model.shapes import UNKNOWN, ShapeMismatchError


def get_item(layer: Layer, call: Call) -> Spec:
    """Index as Python does: integers drop a dimension, null inserts one, slices shorten, an ellipsis skips."""
    key = parameter(layer, call, 1, "slice_spec", "key")
    items = key if isinstance(key, list) else [key]
    if len(items) > 2 * MAX_RANK:
        raise ConfigError("more indices than any tensor takes")
    shape = call.first.shape
    if shape is None:
        return Spec(None, call.first.dtype)
    used = sum(1 for item in items if item is not None and not _is_ellipsis(item))
    result: list[int] = []
    position = 0
    for item in items:
        if item is None:
            result.append(1)
        elif _is_ellipsis(item):
            skipped = max(0, len(shape) - used)
            result += shape[position : position + skipped]
            position += skipped
        elif position >= len(shape):
            raise ShapeMismatchError(f"{shape} is indexed by more than its rank")
        else:
            if isinstance(item, Mapping):
                result.append(_slice_size(shape[position], item))
            elif isinstance(item, Spec) and item.shape != ():
                return Spec(None, call.first.dtype)
            position += 1
    return Spec((*result, *shape[position:]), call.first.dtype)


def _is_ellipsis(item: object) -> bool:
    return item == "..." or (isinstance(item, Mapping) and item.get("class_name") == "__ellipsis__")


def _slice_size(size: int, item: Mapping[str, Any]) -> int:
    inner = item.get("config", item)
    bounds = [inner.get(key) for key in ("start", "stop", "step")] if isinstance(inner, Mapping) else [0]
    if bounds == [None, None, None]:
        return size
    if any(bound is not None and not isinstance(bound, int) for bound in bounds) or bounds[-1] == 0:
        return UNKNOWN
    start, stop, step = bounds
    if size != UNKNOWN:
        return len(range(*slice(start, stop, step).indices(size)))
    # A slice that counts from the front of an unknown dimension can still come out shorter.
    return UNKNOWN
