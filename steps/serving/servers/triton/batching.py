"""Whether and how Triton puts requests together.

It can where every tensor's first dimension is the batch ("Maximum Batch Size" in Triton's "Model Configuration"), and
a first dimension that is dynamic is taken for that. What does not belong here: how a batch is written.
"""

from dataclasses import dataclass
from typing import Final

from klever.steps.model.signature import Signature
from klever.steps.serving.servers.interface import Tuning
from klever.steps.serving.servers.triton.backends import Backend
from klever.steps.serving.servers.triton.tensors import quoted

#: Rows in a batch where nobody says another number; what a processor gains by more is little.
USUAL_BATCH: Final = 32
#: ``max_batch_size`` is a signed 32-bit number, and buffers are kept for it: beyond this it is a mistake.
_MOST_ROWS: Final = 1 << 16


@dataclass(frozen=True)
class Batching:
    """The decision."""

    #: 0 for none: dims are complete then.
    max_batch: int
    notes: tuple[str, ...] = ()


def decide(signature: Signature, tuning: Tuning, backend: Backend) -> Batching:
    """Decide by the first dimensions and by what was asked for, which is never more than the model can."""
    if tuning.max_batch == 0:
        return Batching(0)
    if why := _unbatched(signature):
        asked = tuning.max_batch is not None or tuning.queue_delay
        return Batching(0, (f"{why}, so requests are not batched",) if asked else ())
    if tuning.max_batch is None and backend.bounds_batches:
        return Batching(0, ("the engine's profile bounds batches: tell the largest one, and requests are batched",))
    if tuning.max_batch is None:
        return Batching(USUAL_BATCH)
    if tuning.max_batch > _MOST_ROWS:
        return Batching(_MOST_ROWS, (f"a batch has at most {_MOST_ROWS} rows, got {tuning.max_batch}",))
    return Batching(tuning.max_batch)


def _unbatched(signature: Signature) -> str:
    """Return why requests cannot be put on top of each other, empty where they can."""
    if not signature.inputs or not signature.outputs:
        return "the model has no inputs" if signature.outputs else "the signature is not known"
    for tensor in (*signature.inputs, *signature.outputs):
        if tensor.shape is None:
            return f"the shape of {quoted(tensor.name)} is unknown"
        if not tensor.shape:
            return f"{quoted(tensor.name)} has no dimensions"
        if tensor.shape[0] != -1:
            return f"the first dimension of {quoted(tensor.name)} is fixed"
    return ""
