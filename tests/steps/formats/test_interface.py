"""What formats have in common when they claim files."""

import pytest

from klever.steps.formats.interface import Claim, Evidence, outermost, renamed


def test_of_several_files_for_one_place_all_compete_and_a_lone_one_does_not() -> None:
    assert Claim.of_one(Evidence.NAME, ["a"]) == Claim(Evidence.NAME, files=("a",))
    assert Claim.of_one(Evidence.CONTENT, ["a", "b"], {"a": "c"}) == Claim(
        Evidence.CONTENT, files=("a",), competing=("a", "b"), rename={"a": "c"}
    )


def test_the_outermost_paths_are_those_of_the_least_depth() -> None:
    assert outermost(["1/a", "1/x/b", "2/c"]) == ["1/a", "2/c"]
    assert outermost([]) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("net.bin", "net.onnx"),
        ("net", "net.onnx"),
        ("net.v2.pb", "net.v2.onnx"),
        ("v1.2/net", "v1.2/net.onnx"),
        (".net", ".net.onnx"),
        ("taken.bin", "taken.bin.onnx"),
    ],
)
def test_a_new_name_ends_in_the_suffix_and_is_no_other_files(path: str, name: str) -> None:
    assert renamed(path, ".onnx", {"taken.onnx"}) == {path: name}


def test_a_name_that_fits_stays() -> None:
    assert renamed("1/net.onnx", ".onnx") == {}
