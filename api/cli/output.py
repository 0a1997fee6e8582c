"""How results look: JSON for programs, aligned text for people."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


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


def visible(text: str) -> str:
    """Return text from a file with control characters escaped, so that it cannot steer a terminal."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def human_size(size: int | None) -> str:
    """Return a size in bytes with a decimal unit: ``97.8 MB``."""
    if size is None:
        return "-"
    number = float(size)
    for unit in _UNITS:
        if number < 1000 or unit == _UNITS[-1]:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    raise AssertionError


def tensor_line(tensor: Mapping[str, Any]) -> str:
    """Return a tensor of a signature's JSON as ``name dtype[sizes]``."""
    size = tensor.get("size")
    shape = "" if size is None else "[" + ", ".join(map(str, size)) + "]"
    return f"{tensor['name']} {tensor.get('dType', '?')}{shape}"


def layers_line(layers: Mapping[str, int], most: int | None = None) -> str:
    """Return layer counts, the most frequent first: ``Conv 53, Relu 49``."""
    ranked = sorted(layers.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count}" for name, count in ranked[:most]]
    if most is not None and len(ranked) > most:
        shown.append(f"and {len(ranked) - most} more")
    return ", ".join(shown)
