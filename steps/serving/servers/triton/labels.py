"""Class labels: what the positions of an output stand for, a line each ("Classification Extension" of Triton).

They come from ``values`` of the output in ``ormbfile.yaml``. What does not belong here: labels of an artifact, which
are its own.
"""

import math
from collections.abc import Sequence
from typing import Final

from klever.steps.model.signature import Tensor

#: More classes than any data set has; a line each.
_MOST_LABELS: Final = 1_000_000


def label_lines(tensor: Tensor, dims: Sequence[int]) -> bytes | None:
    """Return the file's content for an output of these dims; None where no label, or not one a position, is told."""
    if not tensor.values or -1 in dims or len(tensor.values) > _MOST_LABELS:
        return None
    if math.prod(dims) != len(tensor.values):
        return None
    labels = [str(value) for value in tensor.values]
    if not all(label.isprintable() for label in labels):
        return None
    return "".join(f"{label}\n" for label in labels).encode()
