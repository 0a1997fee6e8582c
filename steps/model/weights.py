"""What models of bare weights have in common: shards, told by their names, and modules, told by those of tensors.

What does not belong here: the layout of any file.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

#: Hugging Face and llama.cpp both number shards like ``model-00001-of-00003.safetensors``.
_SHARD: Final = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
#: More shards than the largest published model has (some 200).
_MAX_SHARDS: Final = 2000
#: More kinds of modules than any network has; names beyond are of a file that has none.
_MAX_KINDS: Final = 1000


@dataclass(frozen=True, slots=True)
class Shards:
    """The files of one model, in their order, and the names of those that are not there."""

    present: tuple[str, ...]
    missing: tuple[str, ...] = ()


def group_shards(paths: Sequence[str]) -> list[Shards]:
    """Return the models that the files make up: a file by itself, or all shards of one prefix and count."""
    groups: dict[tuple[str, str, str], dict[int, str]] = {}
    alone = []
    for path in paths:
        match = _SHARD.fullmatch(path)
        if match and 1 <= int(match["number"]) <= int(match["count"]) <= _MAX_SHARDS:
            groups.setdefault((match["prefix"], match["count"], match["suffix"]), {})[int(match["number"])] = path
        else:
            alone.append(Shards((path,)))
    for (prefix, count, suffix), found in groups.items():
        absent = (number for number in range(1, int(count) + 1) if number not in found)
        missing = tuple(f"{prefix}-{number:05}-of-{count}{suffix}" for number in absent)
        alone.append(Shards(tuple(found[number] for number in sorted(found)), missing))
    return alone


def sibling_shards(name: str, siblings: Iterable[str]) -> tuple[str, ...]:
    """Return which siblings are shards of the same model as ``name``."""
    match = _SHARD.fullmatch(name)
    if match is None:
        return ()
    key = match.group("prefix", "count", "suffix")
    return tuple(
        sorted(
            each
            for each in siblings
            if each != name and (other := _SHARD.fullmatch(each)) and other.group("prefix", "count", "suffix") == key
        )
    )


def count_modules(tensors: Iterable[str]) -> dict[str, int]:
    """Count modules by the last word of their path.

    ``layers.0.q_proj.weight`` and ``layers.0.q_proj.bias`` are one module of kind ``q_proj``, in every layer again:
    the closest that names come to layer types.
    """
    modules = {name.rpartition(".")[0] or name for name in tensors}
    kinds = Counter(_kind(module) for module in modules)
    return dict(sorted(kinds.items())) if len(kinds) <= _MAX_KINDS else {}


def _kind(module: str) -> str:
    words = module.split(".")
    return next((word for word in reversed(words) if word and not word.isdigit()), module)
