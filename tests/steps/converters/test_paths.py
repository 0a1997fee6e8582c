"""Chains of converters: the most exact first, then the shortest."""

import pytest

from klever.steps.converters.interface import Converter, Exactness
from klever.steps.converters.paths import find_paths, reachable
from klever.steps.converters.table import PAIRS, Pair
from klever.steps.formats.table import load_format

EXACT, REWRITTEN, TRACED = Exactness.EXACT, Exactness.REWRITTEN, Exactness.TRACED


@pytest.mark.parametrize(
    ("pairs", "best"),
    [
        ([("a", "z", EXACT)], "a_to_z"),
        ([("a", "b", EXACT), ("b", "z", EXACT)], "a_to_b b_to_z"),
        ([("a", "b", EXACT), ("b", "z", EXACT), ("a", "z", EXACT)], "a_to_z"),
        ([("a", "b", EXACT), ("b", "z", EXACT), ("a", "z", TRACED)], "a_to_b b_to_z"),
        ([("a", "b", REWRITTEN), ("b", "z", EXACT), ("a", "z", TRACED)], "a_to_b b_to_z"),
        ([("a", "b", TRACED), ("b", "z", EXACT), ("a", "z", TRACED)], "a_to_z"),
        ([("a", "b", EXACT), ("b", "a", EXACT), ("b", "z", EXACT)], "a_to_b b_to_z"),
    ],
)
def test_the_best_path(pairs: list[tuple[str, str, Exactness]], best: str) -> None:
    path = find_paths([Pair(*row) for row in pairs], "a", "z")[0]
    assert " ".join(pair.id for pair in path) == best


def test_formats_without_a_chain_have_no_path() -> None:
    assert find_paths([Pair("a", "b", EXACT), Pair("c", "z", EXACT)], "a", "z") == []


def test_no_path_meets_a_format_twice() -> None:
    names = "abcd"
    pairs = [Pair(source, target, EXACT) for source in names for target in names if source != target]
    paths = find_paths(pairs, "a", "d")
    assert len(paths) == 5
    for path in paths:
        formats = ["a", *(pair.target for pair in path)]
        assert len(set(formats)) == len(formats)


def test_what_a_format_can_become_is_listed_by_distance() -> None:
    pairs = [Pair(source, target, EXACT) for source, target in ("bc", "ab", "ca", "xy")]
    assert reachable(pairs, "a") == ["b", "c"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_every_row_of_the_table_has_its_formats_and_its_converter(pair: Pair) -> None:
    assert load_format(pair.source).id == pair.source
    assert load_format(pair.target).id == pair.target
    converter = pair.load()
    assert isinstance(converter, Converter)
    assert converter.version
