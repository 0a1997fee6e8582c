"""Shards of one model, told by the names of its files.

What does not belong here: the layout of any file.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

#: Hugging Face and llama.cpp both number shards like ``model-00001-of-00003.safetensors``.
_SHARD: Final = re.compile(r"(?P<prefix>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)")
#: More shards than the largest published model has (some 200).
_MAX_SHARDS: Final = 2000


class Shards(NamedTuple):
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
