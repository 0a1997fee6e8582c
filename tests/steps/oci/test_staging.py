"""Staged directories: whole or not at all, kills included."""

import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from klever.steps.errors import AlreadyExistsError, ArchiveError, StorageError
from klever.steps.oci.staging import remove_stale, scratch_directory, staged_directory


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "new" / "model"
    with staged_directory(target) as staging:
        assert stat.S_IMODE(staging.stat().st_mode) == 0o700
        assert staging.parent == target.parent
        assert not target.exists()
        (staging / "file").write_text("x")
    assert names(target) == ["file"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert names(target.parent) == ["model"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with staged_directory(tmp_path / "model") as staging:
            (staging / "deep").mkdir()
            raise ArchiveError("bad")

    with pytest.raises(ArchiveError):
        fail()
    assert names(tmp_path) == []


def test_an_empty_directory_is_filled_and_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with staged_directory(tmp_path / "empty") as staging:
        (staging / "file").touch()
    assert (tmp_path / "empty/file").exists()
    (tmp_path / "regular").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    for name in ("empty", "regular", "link"):
        with pytest.raises(AlreadyExistsError), staged_directory(tmp_path / name):
            pytest.fail("entered")
    for name in ("regular", "link"):
        with pytest.raises(AlreadyExistsError), staged_directory(tmp_path / name, force=True):
            pytest.fail("entered")
    assert names(tmp_path) == ["empty", "link", "regular"]


def test_force_replaces_a_directory_whole(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with staged_directory(target, force=True) as staging:
        (staging / "new").touch()
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["model"]


def test_a_failure_with_force_keeps_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(ArchiveError), staged_directory(target, force=True):
        raise ArchiveError("bad")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["model"]


def test_a_target_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with pytest.raises(AlreadyExistsError), staged_directory(target):
        (target / "theirs").mkdir(parents=True)
    assert names(target) == ["theirs"]
    assert names(tmp_path) == ["model"]


def test_a_parent_that_is_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError), staged_directory(tmp_path / "file" / "model"):
        pytest.fail("entered")


CHILD = """
import sys, time
from pathlib import Path
from klever.steps.oci.staging import staged_directory
with staged_directory(Path(sys.argv[1])) as staging:
    (staging / "half").write_text("x")
    print(staging, flush=True)
    time.sleep(60)
"""


def test_a_killed_runs_staging_is_removed_by_the_next_and_a_live_one_is_not(tmp_path: Path) -> None:
    target = tmp_path / "mo[d]el"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(target)], stdout=subprocess.PIPE, text=True)
    assert child.stdout
    staging = Path(child.stdout.readline().strip())
    remove_stale(target)
    assert (staging / "half").exists()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert staging.exists()
    assert not target.exists()
    with staged_directory(target) as other:
        assert not staging.exists()
        (other / "file").touch()
    assert names(tmp_path) == ["mo[d]el"]


def test_many_runs_for_one_target_yield_one_winner(tmp_path: Path) -> None:
    script = CHILD.replace("time.sleep(60)", "time.sleep(0.05)")
    children = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "model")], stdout=-1, stderr=-1, text=True)
        for _ in range(6)
    ]
    failures = [child.communicate()[1] for child in children]
    assert sum("AlreadyExistsError" in text for text in failures) == 5
    assert names(tmp_path) == ["model"]


def test_a_disk_error_in_publishing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError), staged_directory(tmp_path / "x") as staging:
        staging.rmdir()
    assert names(tmp_path) == []


def test_a_scratch_directory_is_private_and_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_directory("work") as first, scratch_directory("work") as second:
        assert first != second
        assert first.parent == tmp_path
        assert stat.S_IMODE(first.stat().st_mode) == 0o700
        (first / "file").touch()
    assert names(tmp_path) == []


def test_scratch_directories_of_killed_runs_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
import os, signal
from klever.steps.oci.staging import scratch_directory
with scratch_directory("work") as scratch:
    (scratch / "file").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", script], env={"TMPDIR": str(tmp_path)})
    assert len(names(tmp_path)) == 1
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_directory("work") as scratch:
        assert names(tmp_path) == [scratch.name]


def test_a_scratch_directory_that_cannot_be_made_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc")
    with pytest.raises(StorageError), scratch_directory("work"):
        pass
