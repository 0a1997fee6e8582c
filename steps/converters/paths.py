"""Which chains of converters lead from one format to another, the best first."""

from collections.abc import Iterable, Iterator

from klever.steps.converters.interface import Exactness
from klever.steps.converters.table import Pair

Path = tuple[Pair, ...]


def find_paths(pairs: Iterable[Pair], source: str, target: str) -> list[Path]:
    """Return every chain without a repeated format, the most exact first, and of those the shortest first.

    A chain is as exact as its least exact part. Chains that cost the same keep the table's order.
    """
    by_source: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_source.setdefault(pair.source, []).append(pair)
    return sorted(_chains(by_source, source, target, ()), key=_cost)


def reachable(pairs: Iterable[Pair], source: str) -> list[str]:
    """Return the formats that ``source`` can become, the nearest first."""
    pairs = list(pairs)
    found = [source]
    for known in found:
        found.extend(pair.target for pair in pairs if pair.source == known and pair.target not in found)
    return found[1:]


def _chains(by_source: dict[str, list[Pair]], source: str, target: str, before: Path) -> Iterator[Path]:
    for pair in by_source.get(source, ()):
        if any(pair.target == earlier.source for earlier in (*before, pair)):
            continue
        path = (*before, pair)
        if pair.target == target:
            yield path
        else:
            yield from _chains(by_source, pair.target, target, path)


def _cost(path: Path) -> tuple[int, int, int]:
    losses = [Exactness.EXACT - pair.exactness for pair in path]
    return max(losses), len(path), sum(losses)
