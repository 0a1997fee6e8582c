"""How results look: JSON for programs, aligned text for people."""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime

import click

from klever.api.text import human_size, layers_line, signature_line, tensor_line, visible

__all__ = [
    "human_size",
    "layers_line",
    "print_json",
    "print_notes",
    "print_table",
    "signature_line",
    "tensor_line",
    "time_text",
    "visible",
]


def time_text(time: datetime | None) -> str | None:
    """Return a moment as ISO 8601, as JSON holds it."""
    return None if time is None else time.isoformat()


def print_json(value: object) -> None:
    """Print one JSON document, with escapes for what the output's encoding or UTF-8 cannot say."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeError:
        text = json.dumps(value, indent=2)
    click.echo(text)


def print_notes(notes: Iterable[str]) -> None:
    """Tell, on standard error, what the user should know beside the result."""
    for note in notes:
        click.echo(f"note: {visible(note)}", err=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a header, columns aligned, nothing after the last one."""
    cells = [tuple(header), *(tuple(visible(cell) for cell in row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
