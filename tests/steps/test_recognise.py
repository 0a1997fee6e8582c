"""What a path holds: content first, names second, and an error that helps where neither settles it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from klever.steps.errors import (
    AmbiguousFormatError,
    MalformedModelError,
    MetadataError,
    MissingFilesError,
    NotFoundError,
    UnrecognisedFormatError,
)
from klever.steps.recognise import recognise

Place = Callable[..., Path]


@pytest.fixture
def place(tmp_path: Path, models: Path) -> Place:
    """Copy a test model's files of a format into a fresh directory under other names."""

    def copy(form: str, names: dict[str, str], folder: Path = tmp_path) -> Path:
        case = next(p.parent for p in sorted(models.glob(f"{form}/*/expected.json")) if '"error"' not in p.read_text())
        folder.mkdir(parents=True, exist_ok=True)
        for pattern, name in names.items():
            shutil.copy(next((case / "model").glob(pattern)), folder / name)
        return folder

    return copy


def test_a_bare_file_is_recognised_by_content_whatever_its_name(place: Place) -> None:
    folder = place("ONNX", {"*.onnx": "weights.bin"})
    model = recognise(folder / "weights.bin")
    assert model.format.id == "ONNX"
    assert model.claim.rename["weights.bin"].endswith(".onnx")


def test_a_bare_file_brings_the_files_that_belong_to_it(place: Place) -> None:
    folder = place("CaffeModel", {"*.caffemodel": "net.caffemodel", "*.prototxt": "deploy.prototxt"})
    (folder / "notes.txt").write_text("not part of it")
    assert set(recognise(folder / "net.caffemodel").files.sizes) == {"net.caffemodel", "deploy.prototxt"}


def test_missing_files_are_named(place: Place) -> None:
    folder = place("CaffeModel", {"*.caffemodel": "net.caffemodel"})
    with pytest.raises(MissingFilesError, match="prototxt") as caught:
        recognise(folder / "net.caffemodel")
    assert caught.value.stage == "recognise"
    assert caught.value.missing


def test_two_models_of_one_format_are_ambiguous(place: Place) -> None:
    folder = place("ONNX", {"*.onnx": "a.onnx"})
    place("ONNX", {"*.onnx": "b.onnx"})
    with pytest.raises(AmbiguousFormatError) as caught:
        recognise(folder)
    assert set(caught.value.candidates) == {"a.onnx", "b.onnx"}
    assert recognise(folder / "a.onnx").format.id == "ONNX"


def test_a_stated_format_that_the_bytes_contradict_is_refused(place: Place) -> None:
    folder = place("ONNX", {"*.onnx": "a.onnx"})
    with pytest.raises(UnrecognisedFormatError, match="ONNX"):
        recognise(folder, format_id="PMML")


def test_any_file_can_be_stated_as_others(tmp_path: Path) -> None:
    (tmp_path / "weights.xyz").write_bytes(b"no format at all")
    with pytest.raises(UnrecognisedFormatError) as caught:
        recognise(tmp_path / "weights.xyz")
    assert "--format" in caught.value.next_step
    assert recognise(tmp_path / "weights.xyz", format_id="others").format.id == "Others"


def test_what_version_control_leaves_is_no_part_of_a_model(place: Place) -> None:
    folder = place("ONNX", {"*.onnx": "a.onnx"})
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    assert set(recognise(folder).files.sizes) == {"a.onnx"}


def test_a_link_in_a_model_is_refused(place: Place) -> None:
    folder = place("ONNX", {"*.onnx": "a.onnx"})
    (folder / "b").symlink_to("/etc/hostname")
    with pytest.raises(MalformedModelError, match="link"):
        recognise(folder)


def test_a_package_without_model_folder_is_incomplete(tmp_path: Path) -> None:
    (tmp_path / "ormbfile.yaml").write_text("format: ONNX\n")
    with pytest.raises(MissingFilesError, match="model/"):
        recognise(tmp_path)


def test_an_unknown_format_in_an_ormbfile_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "ormbfile.yaml").write_text("format: Quux\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "x").write_text("x")
    with pytest.raises(MetadataError) as caught:
        recognise(tmp_path)
    assert "SavedModel" in caught.value.next_step


@pytest.mark.parametrize("name", ["", "empty"])
def test_an_empty_directory_and_a_missing_path_are_errors(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises((UnrecognisedFormatError, NotFoundError)):
        recognise(tmp_path / (name or "missing"))


@pytest.mark.parametrize(
    ("case", "marker"), [("SavedModel", "saved_model.pb"), ("MLflow", "MLmodel"), ("CaffeModel", "*.prototxt")]
)
def test_one_file_of_a_model_brings_the_others_along(models: Path, tmp_path: Path, case: str, marker: str) -> None:
    found = {path.parent for path in models.glob(f"{case}/*/model/**/{marker}") if "bad" not in str(path)}
    folder = next(path for path in sorted(found) if len(list(path.iterdir())) > 1)
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "__pycache__").mkdir()
    (tmp_path / "model" / "__pycache__" / "code.pyc").write_bytes(b"litter")
    one = recognise(next((tmp_path / "model").glob(marker)))
    whole = recognise(tmp_path / "model")
    assert one.format.id == whole.format.id == case
    assert one.files.sizes == whole.files.sizes


def test_a_name_that_merely_begins_alike_is_no_companion(place: Place) -> None:
    folder = place("ONNX", {"*.onnx": "net"})
    (folder / "network-password.txt").write_text("secret")
    assert set(recognise(folder / "net").files.sizes) == {"net"}
