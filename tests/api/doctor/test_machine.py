"""What the doctor finds of a machine: its directories, and which extras there are."""

from pathlib import Path

import pytest

from klever.api.doctor import machine
from klever.api.doctor.check import Check, State, run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KLEVER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KLEVER_ENVIRONMENTS", raising=False)
    return tmp_path / "home"


def examined() -> dict[str, Check]:
    return {check.name: check for check in run(machine.probes())}


def test_directories_that_are_not_there_yet_are_well_and_stay_away(home: Path) -> None:
    found = examined()
    assert found["store"].state is found["environments"].state is State.OK
    assert "made when it is needed" in found["store"].detail
    assert not home.exists()


def test_a_directory_that_is_there_is_left_as_it_was(home: Path) -> None:
    (home / "store").mkdir(parents=True)
    assert examined()["store"].state is State.OK
    assert list((home / "store").iterdir()) == []


def test_a_file_in_the_place_of_the_store_is_a_failure_with_advice(home: Path) -> None:
    home.mkdir()
    (home / "store").write_text("in the way")
    found = examined()["store"]
    assert (found.state, found.detail) == (State.FAILED, f"{home / 'store'} is not a directory")
    assert "KLEVER_HOME" in found.next_step


def test_a_store_that_refuses_files_is_a_failure_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    # Not even root makes files there.
    monkeypatch.setenv("KLEVER_HOME", "/proc/self")
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", "/proc/self")
    found = examined()["environments"]
    assert found.state is State.FAILED
    assert "KLEVER_ENVIRONMENTS" in found.next_step


def test_the_extras_that_are_installed_are_named_with_what_they_are_for(home: Path) -> None:
    found = examined()
    assert found["python"].state is State.OK
    assert found["extra workflows"].state is State.OK
    assert "to run pipelines on Argo" in found["extra workflows"].detail


def test_an_extra_of_which_a_part_is_missing_is_worse_than_one_that_is_not_wanted(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = {"half": (("json", "no_such_module"), "to do this"), "none": (("no_such_module",), "to do that")}
    monkeypatch.setattr(machine, "_EXTRAS", wanted)
    found = examined()
    assert (found["extra half"].state, found["extra none"].state) == (State.WARNING, State.SKIPPED)
    assert "no_such_module missing" in found["extra half"].detail
    assert found["extra none"].next_step == "pip install 'klever[none]'"
