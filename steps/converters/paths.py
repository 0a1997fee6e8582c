"""Which chains of converters lead from one format to another, the best first."""

from collections.abc import Iterable, Iterator

from klever.steps.converters.interface import Converter, Exactness

Path = tuple[Converter, ...]


def find_paths(converters: Iterable[Converter], source: str, target: str) -> list[Path]:
    """Return every chain without a repeated format, the most exact first, and of those the shortest first.

    A chain is as exact as its least exact part. Chains that cost the same keep the table's order.
    """
    by_source: dict[str, list[Converter]] = {}
    for converter in converters:
        by_source.setdefault(converter.source, []).append(converter)
    return sorted(_chains(by_source, source, target, ()), key=_cost)


def reachable(converters: Iterable[Converter], source: str) -> list[str]:
    """Return the formats that ``source`` can become, the nearest first."""
    converters = list(converters)
    found = [source]
    for known in found:
        found.extend(each.target for each in converters if each.source == known and each.target not in found)
    return found[1:]


def _chains(by_source: dict[str, list[Converter]], source: str, target: str, before: Path) -> Iterator[Path]:
    for converter in by_source.get(source, ()):
        if any(converter.target == earlier.source for earlier in (*before, converter)):
            continue
        path = (*before, converter)
        if converter.target == target:
            yield path
        else:
            yield from _chains(by_source, converter.target, target, path)


def _cost(path: Path) -> tuple[int, int, int]:
    losses = [Exactness.EXACT - converter.exactness for converter in path]
    return max(losses), len(path), sum(losses)
