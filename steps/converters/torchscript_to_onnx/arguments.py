"""The arguments of ``forward``: which of them become inputs of the result, with which shapes.

What does not belong here: values to run them with, which the program makes.
"""

from dataclasses import dataclass
from typing import Any

from klever.steps.converters.asked import check_names
from klever.steps.converters.interface import Options
from klever.steps.model.signature import Signature, Tensor


@dataclass(frozen=True)
class Argument:
    """One argument; ``own_name`` is what the code calls it."""

    name: str
    own_name: str
    dtype: str | None
    #: Elements, -1 for a dynamic size; None where nobody told.
    shape: tuple[int, ...] | None
    #: Its type in TorchScript.
    kind: str = "Tensor"
    is_given: bool = True

    @property
    def is_unusable(self) -> bool:
        """Whether it has to be given, but is no tensor."""
        return self.is_given and self.kind != "Tensor"

    def to_json(self) -> dict[str, Any]:
        """Return it as the program takes it."""
        return {
            "name": self.name,
            "argument": self.own_name,
            "dtype": self.dtype,
            "shape": list(self.shape) if self.shape is not None else None,
            "given": self.is_given,
        }


def arguments(signature: Signature, options: Options) -> tuple[Argument, ...]:
    """Return the arguments in their order, with the shapes that ``options`` ask for.

    One that may be left out is, unless it is a tensor whose shape somebody told. The sizes that an archive holds are
    those of an example, so that others may be asked for. Raises `ConversionError` for a name that no argument has.
    """
    check_names([tensor.name for tensor in signature.inputs or ()], options)
    return tuple(_argument(tensor, options) for tensor in signature.inputs or ())


def _argument(tensor: Tensor, options: Options) -> Argument:
    facts = tensor.model_extra or {}
    kind = str(facts.get("torchType", "Tensor"))
    shape = options.shapes.get(tensor.name, tensor.shape)
    if shape and options.batch is not None:
        shape = (options.batch, *shape[1:])
    can_be_left = bool(facts.get("optional"))
    is_given = not can_be_left or (kind == "Tensor" and shape is not None)
    own_name = str(facts.get("argumentName", tensor.name))
    return Argument(tensor.name, own_name, tensor.dtype, shape, kind, is_given)
