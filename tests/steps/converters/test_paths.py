"""Chains of converters: the most exact first, then the shortest."""

from pathlib import Path

import pytest

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Exactness,
    Options,
    Progress,
    SourceModel,
    Survey,
    no_progress,
)
from klever.steps.converters.paths import find_paths, reachable
from klever.steps.converters.table import MODULES, all_converters
from klever.steps.formats.table import load_format


class Pair(Converter):
    """A pair that converts nothing: paths are made of pairs alone."""

    version = "1"

    def __init__(self, source: str, target: str, exactness: Exactness = Exactness.EXACT) -> None:
        self.source, self.target, self.exactness = source, target, exactness  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"{self.source}-{self.target}"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        raise AssertionError

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        raise AssertionError


TRACED, REWRITTEN = Exactness.TRACED, Exactness.REWRITTEN


@pytest.mark.parametrize(
    ("pairs", "best"),
    [
        ([Pair("a", "z")], "[a-z]"),
        ([Pair("a", "b"), Pair("b", "z")], "[a-b, b-z]"),
        ([Pair("a", "b"), Pair("b", "z"), Pair("a", "z")], "[a-z]"),
        ([Pair("a", "b"), Pair("b", "z"), Pair("a", "z", TRACED)], "[a-b, b-z]"),
        ([Pair("a", "b", REWRITTEN), Pair("b", "z"), Pair("a", "z", TRACED)], "[a-b, b-z]"),
        ([Pair("a", "b", TRACED), Pair("b", "z"), Pair("a", "z", TRACED)], "[a-z]"),
        ([Pair("a", "b"), Pair("b", "a"), Pair("b", "z")], "[a-b, b-z]"),
        ([Pair("a", "b"), Pair("c", "z")], "none"),
    ],
)
def test_the_best_path(pairs: list[Pair], best: str) -> None:
    paths = find_paths(pairs, "a", "z")
    assert (str(list(paths[0])) if paths else "none") == best


def test_no_path_meets_a_format_twice() -> None:
    names = "abcd"
    pairs = [Pair(source, target) for source in names for target in names if source != target]
    paths = find_paths(pairs, "a", "d")
    assert len(paths) == 5
    for path in paths:
        formats = ["a", *(each.target for each in path)]
        assert len(set(formats)) == len(formats)


def test_what_a_format_can_become_is_listed_by_distance() -> None:
    pairs = [Pair("b", "c"), Pair("a", "b"), Pair("c", "a"), Pair("x", "y")]
    assert reachable(pairs, "a") == ["b", "c"]


def test_every_row_of_the_table_is_a_pair_of_formats_named_by_its_module() -> None:
    for module, converter in zip(MODULES, all_converters(), strict=True):
        assert module == f"{converter.source}_to_{converter.target}".lower()
        assert load_format(converter.source).id == converter.source
        assert load_format(converter.target).id == converter.target
        assert converter.version
