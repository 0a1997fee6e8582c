"""What a rule draws on: the graph that is written, or a sketch of it that keeps nothing.

A survey runs every rule on a `Sketch`, so that it finds what a conversion would, without numpy and without weights.
"""

from collections.abc import Sequence
from typing import Any, Protocol, Self


class Graph(Protocol):
    """What rules use of `klever.steps.writers.onnx.GraphBuilder`; see there."""

    opset: int

    def child(self, name: str) -> Self:
        """Start the body of a loop or branch."""

    def unique(self, name: str) -> str:
        """Take a name."""

    def input(self, name: str, dtype: str, shape: Sequence[int | str] | None) -> str:
        """Declare an input."""

    def output(self, name: str, dtype: str | None = None, shape: Sequence[int | str] | None = None) -> None:
        """Declare an output."""

    def constant(self, value: Any, name: str | None = None, dtype: str | None = None) -> str:
        """Add a small array."""

    def add(self, op: str, inputs: Sequence[str], **names: Any) -> Any:
        """Add a node."""

    def cast(self, x: str, dtype: str, **names: Any) -> str:
        """Convert the elements."""

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, *, keepdims: bool = True, **names: Any) -> str:
        """Reduce over axes."""


class Sketch:
    """Names values and forgets everything else."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self._count = 0

    def child(self, name: str) -> Self:
        """Start a body."""
        del name
        return self

    def unique(self, name: str) -> str:
        """Take a name."""
        self._count += 1
        return f"{name}_{self._count}"

    def input(self, name: str, dtype: str, shape: Sequence[int | str] | None) -> str:
        """Name an input."""
        del dtype, shape
        return self.unique(name)

    def output(self, name: str, dtype: str | None = None, shape: Sequence[int | str] | None = None) -> None:
        """Take note of nothing."""
        del name, dtype, shape

    def constant(self, value: Any, name: str | None = None, dtype: str | None = None) -> str:
        """Name a small array."""
        del value, dtype
        return self.unique(name or "const")

    def add(self, op: str, inputs: Sequence[str], **names: Any) -> Any:
        """Name the results of a node."""
        del inputs
        outputs = names.get("outputs", 1)
        made = [self.unique(op) for _ in range(outputs if isinstance(outputs, int) else len(outputs))]
        return made[0] if len(made) == 1 else tuple(made)

    def cast(self, x: str, dtype: str, **names: Any) -> str:
        """Name a conversion."""
        del dtype
        return str(self.add("Cast", [x], **names))

    def reduce(self, op: str, x: str, axes: Sequence[int] | None, *, keepdims: bool = True, **names: Any) -> str:
        """Name a reduction."""
        del axes, keepdims
        return str(self.add(op, [x], **names))
