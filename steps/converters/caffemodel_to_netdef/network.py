"""The NetDef being built, as values: what the init net fills, what the predict net runs.

No weight is read and nothing is written here, so a survey builds the same network as a conversion. What does not
belong here: Caffe's layers (see ``layers``), the encoding of a NetDef (see ``klever.steps.writers.netdef``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from klever.steps.formats.caffemodel.weights import Blob

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

Argument = int | float | str | Sequence[int] | Sequence[float]

#: Operators that may write their output over their first input (``AllowInplace`` of their schemas).
_IN_PLACE: Final = frozenset(
    {
        "Add",
        "Clip",
        "Div",
        "Elu",
        "Exp",
        "LeakyRelu",
        "Log",
        "Mul",
        "Negative",
        "PRelu",
        "Pow",
        "Relu",
        "Reshape",
        "Sigmoid",
        "Softplus",
        "SpatialBN",
        "Sqr",
        "Sqrt",
        "Sub",
        "Sum",
        "Tanh",
    }
)


class Operator(NamedTuple):
    """An operator of the predict net; ``name`` is that of the layer that it comes from."""

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str
    arguments: dict[str, Argument]


@dataclass(frozen=True, slots=True)
class Fill:
    """A blob that the init net fills: stored numbers, those computed of them, or one constant.

    ``compute`` gets an array of 32-bit floats for each of ``blobs``, in the shape in which it is stored; without it
    the one blob is passed through.
    """

    shape: tuple[int, ...]
    blobs: tuple[Blob, ...] = ()
    compute: "Callable[[Sequence[Array]], Array] | None" = None
    constant: float | None = None
    integers: tuple[int, ...] = ()


class Network:
    """Collects operators and fills under names that are unique in both nets."""

    def __init__(self, taken: Sequence[str]) -> None:
        self.operators: list[Operator] = []
        self.fills: dict[str, Fill] = {}
        self._taken = set(taken)

    def unique(self, name: str) -> str:
        """Return ``name``, with a number behind it where it is taken, and take it."""
        found, number = name, 1
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found

    def fill(self, name: str, fill: Fill) -> str:
        """Let the init net fill a blob under a name made unique."""
        name = self.unique(name)
        self.fills[name] = fill
        return name

    def add(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str], name: str, arguments: dict[str, Argument]
    ) -> None:
        """Append an operator; where it cannot write over an input that it is to write over, it does so by a copy."""
        over = outputs[0] in inputs
        if over and (kind not in _IN_PLACE or outputs[0] in inputs[1:]):
            between = self.unique(f"{outputs[0]}_{kind.lower()}")
            self.operators.append(Operator(kind, tuple(inputs), (between, *outputs[1:]), name, arguments))
            self.operators.append(Operator("Copy", (between,), tuple(outputs[:1]), name, {}))
            return
        self.operators.append(Operator(kind, tuple(inputs), tuple(outputs), name, arguments))
