"""A builder that keeps nothing: with it the rules tell what they cannot convert, without numpy or onnx.

What does not belong here: what a rule decides.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class SketchWeight:
    """The type and shape of an array that nobody reads; stands for a `klever.steps.writers.onnx.Weight`."""

    dtype: str
    shape: tuple[int, ...]

    def map(self, _function: object, *, dtype: str | None = None, shape: tuple[int, ...] | None = None) -> Self:
        """Return the type and shape after a change."""
        return replace(self, dtype=dtype or self.dtype, shape=self.shape if shape is None else shape)

    def reshape(self, shape: tuple[int, ...]) -> Self:
        """Return the type and another shape."""
        return replace(self, shape=shape)

    def part(self, _start: int, shape: tuple[int, ...]) -> Self:
        """Return the type and the shape of a part."""
        return replace(self, shape=shape)

    def join(self, others: Sequence[Self]) -> Self:
        """Return the type and the shape of several arrays along the first dimension."""
        return replace(self, shape=(sum(each.shape[0] for each in (self, *others)), *self.shape[1:]))


class Sketch:
    """Stands for a `klever.steps.writers.onnx.GraphBuilder` and answers every request with names."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._count = 0

    def child(self, _name: str) -> Self:
        """Return a builder of a body."""
        return type(self)(self.opset)

    def unique(self, name: str) -> str:
        """Return the name."""
        return name

    def split(self, _x: str, sizes: Sequence[int], _axis: int, **names: Any) -> tuple[str, ...]:
        """Return a name for each part."""
        names.setdefault("outputs", len(sizes))
        parts = self._names(**names)
        return (parts,) if isinstance(parts, str) else parts

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        return self._names

    def _names(self, *_positional: object, outputs: Sequence[str] | int = 1, **_named: object) -> Any:
        count = outputs if isinstance(outputs, int) else len(outputs)
        names = tuple(f"value{self._count + position}" for position in range(count))
        self._count += count
        return names[0] if count == 1 else names
