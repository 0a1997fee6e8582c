"""How a signature's tensors stand in Triton: their names, their types, and what of their shapes is told.

Triton knows no tensor without dimensions: where a batch leaves none, or the model has none at all, clients see ``[1]``.
What does not belong here: the configuration's text.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from klever.steps.errors import printable
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.datatypes import datatype_of
from klever.steps.serving.servers.triton.backends import Backend

#: ``dims`` are signed 64-bit numbers.
_MAX_DIMENSION: Final = (1 << 63) - 1
#: As libtorch.cc reads the position of an output, and of an input that has one: behind the first ``__``.
_INDEXED: Final = re.compile(r"(?:(?!__).)*__(\d{1,9})", re.ASCII | re.DOTALL)
#: Sentences of one kind that a person reads before they have understood.
_MOST_SENTENCES: Final = 20
_TELL: Final = "tell it in ormbfile.yaml"


@dataclass(frozen=True)
class Place:
    """A tensor's place in the configuration."""

    name: str
    #: Without ``TYPE_``.
    datatype: str
    #: What clients send and get, without the batch.
    dims: tuple[int, ...]
    #: What the model has instead, without the batch; None where that is the same.
    reshape: tuple[int, ...] | None = None


def triton_type(datatype: str) -> str:
    """Return the configuration's name of one of the protocol's types, ``TYPE_STRING`` for ``BYTES``."""
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"


def place(tensor: Tensor, *, batched: bool) -> Place:
    """Return where a tensor stands, of which nothing may be unknown (see `lacks_of`)."""
    datatype, shape = datatype_of(tensor.dtype), tensor.shape
    if datatype is None or shape is None:
        raise ValueError(f"type or shape of {tensor.name!r} are unknown")
    own = shape[1:] if batched else shape
    if own:
        return Place(tensor.name, datatype, own)
    # "cannot have empty reshape for non-batching model" (ValidateIOShape): the backend drops the 1 by itself there.
    return Place(tensor.name, datatype, (1,), () if batched else None)


def lacks_of(signature: Signature, backend: Backend, *, batched: bool) -> tuple[str, ...]:
    """Return what hinders Triton from taking the tensors, a sentence each."""
    if signature.inputs is None or signature.outputs is None:
        what = "inputs" if signature.inputs is None else "outputs"
        return (f"the model's {what} are unknown: {_TELL}",)
    if not signature.outputs:
        return ("the model has no output, so Triton has nothing to answer",)
    sentences: list[str] = []
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        sentences += _repeated(kind, tensors)
        for tensor in tensors:
            sentences += _lacks(kind, tensor, backend, batched=batched)
    if len(sentences) > _MOST_SENTENCES:
        sentences[_MOST_SENTENCES:] = [f"and {len(sentences) - _MOST_SENTENCES} more of this kind"]
    return tuple(sentences)


def renamed(signature: Signature, format_id: str) -> Signature:
    """Return the signature under names that the format's backend understands.

    TorchScript's file has no names of outputs, so the backend takes the position from ``NAME__POSITION``; names of
    inputs may also be those of ``forward``'s arguments, and else stand for their order.
    """
    if format_id != "TorchScript" or not signature.outputs:
        return signature
    matches = [_INDEXED.fullmatch(tensor.name) for tensor in signature.outputs]
    positions = sorted(int(match[1]) for match in matches if match)
    if positions == list(range(len(matches))):
        return signature
    named = (tensor.model_copy(update={"name": f"output__{i}"}) for i, tensor in enumerate(signature.outputs))
    return signature.model_copy(update={"outputs": tuple(named)})


def as_clients_see(signature: Signature, *, batched: bool) -> Signature:
    """Return a signature with the shapes that requests and replies of Triton have."""

    def seen(tensors: Iterable[Tensor]) -> tuple[Tensor, ...]:
        result = []
        for tensor in tensors:
            dims = place(tensor, batched=batched).dims
            result.append(tensor.model_copy(update={"shape": (-1, *dims) if batched else dims}))
        return tuple(result)

    return signature.model_copy(
        update={"inputs": seen(signature.inputs or ()), "outputs": seen(signature.outputs or ())}
    )


def quoted(name: str) -> str:
    """Return a tensor's name as it may stand in a sentence."""
    return f"'{printable(name, 80)}'"


def _repeated(kind: str, tensors: Sequence[Tensor]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for tensor in tensors:
        if tensor.name in seen:
            twice[tensor.name] = None
        seen.add(tensor.name)
    return [f"the {kind} {quoted(name)} is there twice" for name in twice]


def _lacks(kind: str, tensor: Tensor, backend: Backend, *, batched: bool) -> list[str]:
    subject = f"{kind} {quoted(tensor.name)}"
    found: list[str] = []
    if not tensor.name:
        return [f"an {kind} has no name"]
    if not _is_text(tensor.name):
        return [f"the name of the {subject} is no text"]
    datatype = datatype_of(tensor.dtype)
    if tensor.dtype is None:
        found.append(f"the type of the {subject} is unknown: {_TELL}")
    elif datatype not in backend.datatypes:
        found.append(f"Triton's {backend.platform} has no type {printable(tensor.dtype, 40)}, which {subject} is of")
    shape = tensor.shape
    if shape is None:
        found.append(f"the shape of the {subject} is unknown: {_TELL}")
    elif 0 in shape:
        found.append(f"the {subject} is empty, as a dimension of it is 0, which Triton does not take")
    elif max(shape, default=0) > _MAX_DIMENSION:
        found.append(f"a dimension of the {subject} is larger than any tensor")
    elif not shape and not batched and not backend.takes_scalars:
        found.append(f"the {subject} has no dimensions, and Triton's {backend.platform} takes no such tensor")
    return found


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
