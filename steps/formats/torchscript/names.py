"""How places are named: Triton takes any ``NAME__INDEX`` for TorchScript, since an archive names no tensors.

The author's spelling is therefore kept (``INPUT__0`` is as common as ``input__0``), and where only the inputs are
written, the outputs follow in the same letters.
"""

import re
from collections.abc import Sequence
from typing import Final

from klever.steps.model.signature import Signature, Tensor

_PLACE: Final = re.compile(r"(?P<name>.+)__(?P<index>\d+)", re.DOTALL)


def spell_places(read: Signature, author: Signature | None) -> Signature:
    """Return ``read`` with its places spelled as the author spells them."""
    if author is None:
        return read
    shouting = any(_is_place(tensor, i) and tensor.name.isupper() for i, tensor in enumerate(author.inputs or ()))
    return read.model_copy(
        update={
            "inputs": _spell(read.inputs or (), author.inputs or (), shouting=False),
            "outputs": _spell(read.outputs or (), author.outputs or (), shouting=shouting),
        }
    )


def _spell(read: Sequence[Tensor], author: Sequence[Tensor], *, shouting: bool) -> tuple[Tensor, ...]:
    spelled = []
    for index, tensor in enumerate(read):
        name = tensor.name.upper() if shouting else tensor.name
        if index < len(author) and _is_place(author[index], index):
            name = author[index].name
        spelled.append(tensor.model_copy(update={"name": name}))
    return tuple(spelled)


def _is_place(tensor: Tensor, index: int) -> bool:
    match = _PLACE.fullmatch(tensor.name)
    return match is not None and int(match["index"]) == index
