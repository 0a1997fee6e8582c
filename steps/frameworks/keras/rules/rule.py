"""The type of a rule, and what several of them need."""

from collections.abc import Callable

from klever.steps.frameworks.keras.layer import Call, Layer, Result, Spec
from klever.steps.model.shapes import Shape, ShapeMismatchError

#: Answers what a call returns; raises `ConfigError` or `ShapeMismatchError` where configuration and call cannot be.
Rule = Callable[[Layer, Call], Result]


def same(layer: Layer, call: Call) -> Spec:
    """Answer for a layer that changes values only."""
    return Spec(call.first.shape, layer.cast(call.first.dtype))


def computed(layer: Layer, call: Call) -> Spec:
    """Answer for a layer that changes values and always returns its own type."""
    return Spec(call.first.shape, layer.dtype)


def known(shape: Shape, rank: int) -> tuple[int, ...]:
    """Return a shape of exactly ``rank`` dimensions, all unknown where nothing is; raises where it has others."""
    if shape is None:
        return (-1,) * rank
    if len(shape) != rank:
        raise ShapeMismatchError(f"{shape} is not of rank {rank}")
    return shape


def batch_and_rest(shape: Shape) -> tuple[int, tuple[int, ...]]:
    """Split off the batch dimension; raises for a scalar."""
    if not shape:
        raise ShapeMismatchError("a scalar has no batch dimension")
    return shape[0], shape[1:]
