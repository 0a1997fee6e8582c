"""Outputs that several verbs give, as text."""

from collections.abc import Iterable

from klever.api.task.telling import say
from klever.api.text import signature_line, visible
from klever.steps.model.metadata import Metadata
from klever.steps.oci.reference import Reference


def result(reference: Reference, metadata: Metadata, notes: Iterable[str]) -> dict[str, str]:
    """Return what is told of an artifact; its notes go to the log as well."""
    notes = [visible(note) for note in notes]
    for note in notes:
        say(f"note: {note}")
    return {
        "reference": str(reference),
        "digest": str(reference.digest),
        "format": metadata.format,
        "signature": signature_line(metadata.to_json().get("signature")),
        "note": "; ".join(notes),
    }


def truth(value: bool) -> str:
    """Return a boolean as Argo's expressions and conditions write it."""
    return "true" if value else "false"
