"""What the file says and what the author wrote, made one signature.

The author fills what the file cannot tell and is kept where both agree; where they contradict each other the file
wins and the difference is told.
"""

from collections.abc import Sequence
from typing import NamedTuple

from klever.steps.model.shapes import UNKNOWN, Shape
from klever.steps.model.signature import Signature, Tensor


class Reconciled(NamedTuple):
    """The one signature, and a sentence for each place where the author's was overruled."""

    signature: Signature
    differences: tuple[str, ...]


def reconcile(read: Signature, author: Signature | None, *, open_sizes: bool) -> Reconciled:
    """Join the two.

    ``open_sizes`` says that a -1 of the reader means "the file does not tell", which the author may fill, and not
    "any size", which is a statement of the file.
    """
    if author is None:
        return Reconciled(read, ())
    differences: list[str] = []
    signature = author.model_copy(
        update={
            "inputs": _join("input", read.inputs, author.inputs, open_sizes, differences),
            "outputs": _join("output", read.outputs, author.outputs, open_sizes, differences),
            "layers": read.layers or author.layers,
            **(read.model_extra or {}),
        }
    )
    return Reconciled(signature, tuple(differences))


def _join(
    kind: str,
    read: Sequence[Tensor] | None,
    author: Sequence[Tensor] | None,
    open_sizes: bool,
    differences: list[str],
) -> tuple[Tensor, ...] | None:
    if not read or not author:
        return tuple(read or author or ()) or (None if read is None and author is None else ())
    written = {tensor.name: tensor for tensor in author}
    if not any(tensor.name in written for tensor in read) and len(read) == len(author):
        # Other names for the same places: common where the format keeps none (TorchScript).
        differences.extend(
            f"{kind} {index} is {tensor.name!r} in the file, {other.name!r} in ormbfile.yaml"
            for index, (tensor, other) in enumerate(zip(read, author, strict=True))
        )
        pairs: list[tuple[Tensor, Tensor | None]] = list(zip(read, author, strict=True))
    else:
        known = {tensor.name for tensor in read}
        differences.extend(
            f"{kind} {name!r} of ormbfile.yaml is not in the file" for name in written if name not in known
        )
        pairs = [(tensor, written.get(tensor.name)) for tensor in read]
    return tuple(_fill(kind, tensor, other, open_sizes, differences) if other else tensor for tensor, other in pairs)


def _fill(kind: str, read: Tensor, author: Tensor, open_sizes: bool, differences: list[str]) -> Tensor:
    if read.dtype is not None and author.dtype is not None and read.dtype.lower() != author.dtype.lower():
        differences.append(f"{kind} {read.name!r} is {read.dtype} in the file, {author.dtype} in ormbfile.yaml")
    shape = _fill_shape(read.shape, author.shape, open_sizes)
    if author.shape is not None and shape != author.shape:
        differences.append(
            f"{kind} {read.name!r} has size {list(shape or ())} in the file, {list(author.shape)} in ormbfile.yaml"
        )
    stated = read.model_dump(exclude_none=True) | {"shape": shape}
    return author.model_copy(update=stated)


def _fill_shape(read: Shape, author: Shape, open_sizes: bool) -> Shape:
    if read is None or author is None:
        return author if read is None else read
    if not open_sizes or len(read) != len(author):
        return read
    return tuple(theirs if ours == UNKNOWN else ours for ours, theirs in zip(read, author, strict=True))
