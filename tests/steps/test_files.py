"""Bytes by position, of files on the disk and in memory."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.steps import files
from klever.steps.errors import LimitExceededError, MalformedModelError, NotFoundError, StorageDeniedError
from klever.steps.files import HEAD_BYTES, BytesSource, FileSource, LocalFiles, MemoryFiles, opened

DATA = bytes(range(256)) * 40


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "weights").write_bytes(DATA)
    (tmp_path / "a.onnx").write_bytes(b"graph")
    return tmp_path


@given(st.integers(0, len(DATA) + 10), st.integers(0, len(DATA) + 10))
def test_a_range_is_what_a_slice_is(tmp_path_factory: pytest.TempPathFactory, offset: int, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "range"
    path.write_bytes(DATA)
    source = FileSource(path)
    try:
        assert source.read_at(offset, length) == BytesSource(DATA).read_at(offset, length)
        assert source.read_at(offset, length) == DATA[offset : offset + length]
    finally:
        source.close()


def test_a_range_longer_than_memory_gives_what_the_file_has(folder: Path) -> None:
    with opened(LocalFiles.below(folder), "a.onnx") as source:
        assert source.read_at(1, 1 << 62) == b"raph"
        assert source.read_at(1 << 62, 1) == b""


def test_files_below_a_directory_have_sorted_relative_paths_and_sizes(folder: Path) -> None:
    local = LocalFiles.below(folder)
    memory = MemoryFiles({"b/weights": DATA, "a.onnx": b"graph"})
    assert list(local.sizes.items()) == list(memory.sizes.items()) == [("a.onnx", 5), ("b/weights", len(DATA))]
    for path in local.sizes:
        assert local.head(path) == memory.head(path)
    assert len(local.head("b/weights")) == HEAD_BYTES


def test_a_head_is_read_once(folder: Path) -> None:
    local = LocalFiles.below(folder)
    assert local.head("a.onnx") == b"graph"
    (folder / "a.onnx").write_bytes(b"other")
    assert local.head("a.onnx") == b"graph"


@pytest.mark.parametrize("target", ["a.onnx", "b", "nowhere"])
def test_a_link_is_refused_whatever_it_points_to(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(MalformedModelError, match="symbolic link"):
        LocalFiles.below(folder)


def test_a_pipe_is_refused_without_waiting_for_a_writer(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(MalformedModelError):
        LocalFiles.below(folder)
    with pytest.raises(MalformedModelError):
        FileSource(folder / "pipe")


def test_a_file_that_is_not_there_and_one_that_cannot_be_reached_are_told_apart(folder: Path) -> None:
    with pytest.raises(NotFoundError):
        FileSource(folder / "nowhere")
    with pytest.raises(StorageDeniedError):
        FileSource(folder / "a.onnx" / "below")


def test_a_directory_of_more_files_than_any_model_has_is_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILES", 1)
    with pytest.raises(LimitExceededError):
        LocalFiles.below(folder)


def test_an_opened_file_is_closed_however_its_block_ends() -> None:
    class Closing(BytesSource):
        closed = 0

        def close(self) -> None:
            Closing.closed += 1

    class Files(MemoryFiles):
        def open(self, path: str) -> Closing:
            return Closing(b"")

    with opened(Files({"a": b""}), "a"):
        assert Closing.closed == 0
    with pytest.raises(ZeroDivisionError), opened(Files({"a": b""}), "a"):
        raise ZeroDivisionError
    assert Closing.closed == 2
