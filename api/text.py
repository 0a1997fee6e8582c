"""How values read as text, wherever it is shown: a terminal, a log, an output of a workflow.

What does not belong here: printing.
"""

from collections.abc import Mapping
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
#: Of a signature in one line: a table in a web page shows little more, in characters.
_LINE_CHARS = 240


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


def signature_line(signature: Mapping[str, Any] | None) -> str:
    """Return a signature's JSON in one line: ``x float32[-1, 3] -> y float32[-1, 2]; Gemm 1``; empty for none."""
    if signature is None:
        return ""
    inputs, outputs = (
        ", ".join(map(tensor_line, signature.get(kind) or ())) or "unknown" for kind in ("inputs", "outputs")
    )
    line = f"{inputs} -> {outputs}"
    if layers := signature.get("layers"):
        line += f"; {layers_line(layers, 6)}"
    line = visible(line)
    return line if len(line) <= _LINE_CHARS else line[: _LINE_CHARS - 3] + "..."
