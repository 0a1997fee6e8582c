"""What the file says and what the author wrote, made one signature.

The author fills what the file cannot tell and is kept where both agree; where they contradict each other the file
wins and the difference is told.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from klever.steps.model.shapes import UNKNOWN, Shape
from klever.steps.model.signature import Signature, Tensor

#: Where a person finds what the author wrote.
_WRITTEN: Final = "ormbfile.yaml"
_TOLD: Final = "what was told"


class Reconciled(NamedTuple):
    """The one signature, and a sentence for each place where the author's was overruled."""

    signature: Signature
    differences: tuple[str, ...]


def reconcile(
    read: Signature, author: Signature | None, *, open_sizes: bool, told: Signature | None = None
) -> Reconciled:
    """Join the two.

    ``open_sizes`` says that a -1 of the reader means "the file does not tell", which the author may fill, and not
    "any size", which is a statement of the file. ``told`` is what of the author's word was told for this reading: a
    difference from it is not one from ``ormbfile.yaml``.
    """
    if author is None:
        return Reconciled(read, ())
    inputs = _Differences("input", _TOLD if told and told.inputs is not None else _WRITTEN)
    outputs = _Differences("output", _TOLD if told and told.outputs is not None else _WRITTEN)
    signature = author.model_copy(
        update={
            "inputs": _join(read.inputs, author.inputs, open_sizes, inputs),
            "outputs": _join(read.outputs, author.outputs, open_sizes, outputs),
            "layers": read.layers or author.layers,
            **(read.model_extra or {}),
        }
    )
    return Reconciled(signature, (*inputs.sentences, *outputs.sentences))


def correct(written: Signature | None, told: Signature) -> Signature:
    """Return what the author wrote with what is told now in its place.

    A list of inputs or outputs that is told replaces the one that was written; what it leaves open of a tensor that was
    written under the same name stays.
    """
    written = written or Signature()
    return written.model_copy(
        update={
            "inputs": _corrected(written.inputs, told.inputs),
            "outputs": _corrected(written.outputs, told.outputs),
        }
    )


def _corrected(written: Sequence[Tensor] | None, told: Sequence[Tensor] | None) -> tuple[Tensor, ...] | None:
    if told is None:
        return None if written is None else tuple(written)
    known = {tensor.name: tensor for tensor in written or ()}
    return tuple(
        known[tensor.name].model_copy(update=tensor.model_dump(exclude_none=True)) if tensor.name in known else tensor
        for tensor in told
    )


class _Differences:
    """Sentences about where the author was overruled on tensors of one kind."""

    def __init__(self, kind: str, written_in: str) -> None:
        self._kind, self._written_in = kind, written_in
        self.sentences: list[str] = []

    def unknown(self, name: str) -> None:
        self.sentences.append(f"{self._kind} {name!r} of {self._written_in} is not in the file")

    def add(self, which: str, read: object, author: object) -> None:
        self.sentences.append(f"{self._kind} {which} {read} in the file, {author} in {self._written_in}")


def _join(
    read: Sequence[Tensor] | None,
    author: Sequence[Tensor] | None,
    open_sizes: bool,
    differences: _Differences,
) -> tuple[Tensor, ...] | None:
    if not read or not author:
        return tuple(read or author or ()) or (None if read is None and author is None else ())
    written = {tensor.name: tensor for tensor in author}
    if not any(tensor.name in written for tensor in read) and len(read) == len(author):
        # Other names for the same places: common where the format keeps none (TorchScript).
        for index, (tensor, other) in enumerate(zip(read, author, strict=True)):
            differences.add(f"{index} is", repr(tensor.name), repr(other.name))
        pairs: list[tuple[Tensor, Tensor | None]] = list(zip(read, author, strict=True))
    else:
        known = {tensor.name for tensor in read}
        for name in written:
            if name not in known:
                differences.unknown(name)
        pairs = [(tensor, written.get(tensor.name)) for tensor in read]
    return tuple(_fill(tensor, other, open_sizes, differences) if other else tensor for tensor, other in pairs)


def _fill(read: Tensor, author: Tensor, open_sizes: bool, differences: _Differences) -> Tensor:
    if read.dtype is not None and author.dtype is not None and read.dtype.lower() != author.dtype.lower():
        differences.add(f"{read.name!r} is", read.dtype, author.dtype)
    shape = _fill_shape(read.shape, author.shape, open_sizes)
    if author.shape is not None and shape != author.shape:
        differences.add(f"{read.name!r} has size", list(shape or ()), list(author.shape))
    stated = read.model_dump(exclude_none=True) | {"shape": shape}
    return author.model_copy(update=stated)


def _fill_shape(read: Shape, author: Shape, open_sizes: bool) -> Shape:
    if read is None or author is None:
        return author if read is None else read
    if not open_sizes or len(read) != len(author):
        return read
    return tuple(theirs if ours == UNKNOWN else ours for ours, theirs in zip(read, author, strict=True))
