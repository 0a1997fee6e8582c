"""``klever environments`` as a user calls it; making one of real size is for `tests/environments.py`."""

from pathlib import Path

import pytest

from klever.steps.environments.locate import MARKER, directory_of
from klever.steps.environments.table import ENVIRONMENTS, environment

from .conftest import Klever


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "environments"))
    return tmp_path / "environments"


@pytest.fixture
def made() -> Path:
    """A directory that looks like ``prove-mxnet``."""
    directory = directory_of(environment("prove-mxnet"))
    (directory / "bin").mkdir(parents=True)
    (directory / "bin" / "python").write_text("#!/bin/sh\n")
    (directory / "bin" / "python").chmod(0o755)
    (directory / MARKER).write_text('{"id": "prove-mxnet", "python": "3.8.18"}')
    return directory


def test_the_list_tells_each_environment_its_state_and_purpose(klever: Klever, made: Path) -> None:
    rows = {line.split()[0]: line for line in klever("environments", "list").out.splitlines()}
    assert list(rows) == ["ENVIRONMENT", *ENVIRONMENTS]
    assert rows["prove-mxnet"].split()[1] == "made"
    assert rows["prove-caffe2"].split()[1] == "absent"
    assert environment("prove-caffe").purpose in rows["prove-caffe"]


def test_the_list_for_programs_tells_where_an_environment_is(klever: Klever, made: Path) -> None:
    listed = {entry["id"]: entry for entry in klever("environments", "list", "--json").document}
    assert listed["prove-mxnet"]["directory"] == str(made)
    assert listed["prove-mxnet"]["python"] == "3.8.18"
    assert listed["prove-mxnet"]["image"] == "convert"
    assert "mxnet==1.9.1" in listed["prove-mxnet"]["requirements"]
    assert listed["prove-caffe2"] | {"requirements": []} == {
        "id": "prove-caffe2",
        "purpose": "run Caffe2 models for their proof",
        "state": "absent",
        "directory": None,
        "python": None,
        "pythons": ["3.8", "3.9", "3.7"],
        "requirements": [],
        "image": None,
    }


def test_what_is_there_already_is_not_made_again(klever: Klever, made: Path) -> None:
    outcome = klever("environments", "create", "prove-mxnet")
    assert (outcome.code, outcome.out) == (0, f"prove-mxnet: {made / 'bin' / 'python'}\n")


def test_deleting_says_what_is_gone(klever: Klever, made: Path) -> None:
    assert klever("environments", "delete", "prove-mxnet", "--json").document == {"deleted": [str(made)]}
    assert not made.exists()
    outcome = klever("environments", "delete", "prove-mxnet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "there was nothing to delete\n")


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_an_unknown_environment_is_told_with_those_that_there_are(klever: Klever, verb: str) -> None:
    outcome = klever("environments", verb, "prove-mxnet", "prove-nothing", "--json")
    assert outcome.code == 1
    assert outcome.error["cause"] == "there is no environment 'prove-nothing'"
    assert "prove-mxnet" in outcome.error["nextStep"]


def test_a_directory_that_cannot_be_written_is_a_clear_error(
    klever: Klever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "file" / "below"))
    outcome = klever("environments", "create", "prove-mxnet", "--json")
    assert outcome.code == 1
    assert outcome.error["stage"] == "create"
    assert outcome.error["type"] == "StorageDeniedError"


@pytest.mark.parametrize("part", ["list", "create", "delete"])
def test_every_part_has_help_with_an_example(klever: Klever, part: str) -> None:
    outcome = klever("environments", part, "--help")
    assert outcome.code == 0
    assert f"klever environments {part}" in outcome.out.partition("Example")[2]


def test_no_arguments_are_wrong_usage(klever: Klever) -> None:
    assert klever("environments").code == 2
    assert klever("environments", "create").code == 2
