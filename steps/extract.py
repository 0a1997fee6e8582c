"""Read a recognised model's signature and join it with what the author wrote.

>>> extract(recognise(Path("resnet.onnx"))).metadata.signature.inputs  # doctest: +SKIP
(Tensor(name='x', dtype='float32', shape=(-1, 3, 224, 224)),)
"""

import json
from typing import NamedTuple

from klever.steps.errors import MalformedModelError, at_stage
from klever.steps.files import ModelFiles
from klever.steps.model.metadata import Metadata
from klever.steps.model.reconcile import correct, reconcile
from klever.steps.model.signature import Signature
from klever.steps.recognise import Model


class Extraction(NamedTuple):
    """A model's metadata with its full signature, and what a person should know about how it came to be."""

    metadata: Metadata
    notes: tuple[str, ...] = ()


def extract(model: Model[ModelFiles], *, told: Signature | None = None) -> Extraction:
    """Read the signature from the files; raises a `ModelError`. Nothing but the model's own bytes is read.

    ``told`` is the author's word for this reading: it stands above what was written before.
    """
    author = model.author or Metadata(format=model.format.id)
    if told is not None:
        author = author.changed(signature=correct(author.signature, told))
    with at_stage("read"):
        reading = model.format.read(model.files, model.claim, author.signature)
    joined = reconcile(reading.signature, author.signature, open_sizes=model.format.open_sizes, told=told)
    metadata = author.changed(
        format=model.format.id,
        framework=author.framework or reading.framework or model.format.framework,
        signature=joined.signature,
        signatures=dict(reading.signatures) if reading.signatures else author.signatures,
        **({"facts": dict(reading.facts)} if reading.facts else {}),
    )
    _check_text(metadata)
    return Extraction(metadata, (*model.notes, *reading.notes, *joined.differences))


def _check_text(metadata: Metadata) -> None:
    """Raise `MalformedModelError` for text that no document can hold: halves of surrogate pairs, which JSON escapes."""
    try:
        json.dumps(metadata.to_json(), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise MalformedModelError("the model holds a name that is not Unicode text", stage="read") from None
