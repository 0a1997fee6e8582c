"""Which operators the code calls, judged by what torch's exporter is known to lack.

What a script calls under a condition may never become part of the graph, so only what is called in any case counts as
uncovered; the rest is told as a note, and the exporter has the last word. What does not belong here: shapes.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from klever.steps.converters.interface import Uncovered
from klever.steps.converters.torchscript_to_onnx.lacking import LACKING
from klever.steps.errors import UnsafeModelError
from klever.steps.formats.torchscript.code import unmangled

#: Namespaces that the exporter knows; of the quantised operators it has all but those that quantise as they compute.
_OWN_NAMESPACES: Final = frozenset({"aten", "prim", "quantized"})
#: What a script can do to files; nothing that computes needs it.
_HAZARD: Final = re.compile(r"(?<![\w.])(?:torch|ops\.aten)\.(?:save|from_file)\(")

_CALL: Final = re.compile(r"(?<![\w.])(?:torch\.(\w+)|ops\.(\w+)\.(\w+))\(")
_ASSIGNED: Final = re.compile(r"\s*(\w+)[^=(]*= ")
_METHOD: Final = re.compile(r"^(\s*)def (\w+)\(")
_CLASS: Final = re.compile(r"^class ([^\s(:]+)")


class Found(NamedTuple):
    """What a survey of the code says."""

    uncovered: tuple[Uncovered, ...]
    notes: tuple[str, ...]


class _Call(NamedTuple):
    operator: str
    #: The class and the variable that takes the result.
    place: str
    is_certain: bool


def survey_code(files: Iterable[tuple[str, str]]) -> Found:
    """Judge code files, each a qualified name and its text; raises `UnsafeModelError` for code that touches files."""
    certain: dict[str, list[str]] = {}
    possible: set[str] = set()
    for module, text in files:
        if hazard := _HAZARD.search(text):
            raise UnsafeModelError(f"the code of the model calls {hazard[0][:-1]}, which reads or writes files")
        for call in _calls(module, text):
            if call.is_certain:
                certain.setdefault(call.operator, []).append(call.place)
            else:
                possible.add(call.operator)
    uncovered = tuple(
        Uncovered(operator, tuple(places), "torch's exporter has no counterpart of it")
        for operator, places in sorted(certain.items())
    )
    rest = sorted(possible - certain.keys())
    notes = (f"the code may call {', '.join(rest)}, which torch's exporter has no counterpart of",) if rest else ()
    return Found(uncovered, notes)


def _calls(module: str, text: str) -> Iterator[_Call]:
    """Yield the calls that the exporter lacks. Those in a method's first block, which always run, are certain."""
    owner, method, depth = module.rpartition(".")[2], "", 0
    for line in text.splitlines():
        if found := _CLASS.match(line):
            owner = unmangled(found[1])
        elif found := _METHOD.match(line):
            method, depth = found[2], len(found[1]) + 2
        elif "(" in line:
            indent = len(line) - len(line.lstrip(" "))
            # A function's own level is 0; whether it is called at all depends on others.
            is_certain = method == "forward" and depth == 4 and indent <= depth
            for call in _CALL.finditer(line):
                if operator := _lacking(call):
                    assigned = _ASSIGNED.match(line)
                    yield _Call(operator, f"{owner}/{assigned[1] if assigned else method}", is_certain)


def _lacking(call: re.Match[str]) -> str | None:
    """Return the operator of a call as PyTorch names it, None where the exporter may have it."""
    name, namespace, inner = call.groups()
    if name is not None:
        base = name if name.startswith("__") else name.rstrip("_")
        return f"aten::{base}" if base in LACKING or name in LACKING else None
    if namespace == "quantized" and inner.endswith("_dynamic"):
        return f"quantized::{inner}"
    return None if namespace in _OWN_NAMESPACES else f"{namespace}::{inner}"
