"""Publishing and fetching through a store, as a program uses them."""

from dataclasses import replace
from pathlib import Path

import pytest

from klever.steps.artifact import load_artifact
from klever.steps.copy import copy
from klever.steps.errors import AlreadyExistsError, ModelError, NotFoundError
from klever.steps.fetch import fetch
from klever.steps.inspect import inspect_artifact, inspect_path
from klever.steps.models import list_models
from klever.steps.oci.reference import parse_reference
from klever.steps.publish import publish
from klever.steps.stores import Stores

REFERENCE = parse_reference("vision/net:v1")


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(home=tmp_path / "home")


@pytest.fixture
def package(models: Path) -> Path:
    return models / "ONNX" / "cnn_dynamic_dims" / "model"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_published_is_fetched_byte_by_byte(stores: Stores, package: Path, tmp_path: Path) -> None:
    published = publish(package, REFERENCE, stores)
    fetched = fetch(published.reference, tmp_path / "target", stores)
    assert fetched.reference == published.reference
    assert contents(tmp_path / "target" / "model") == contents(package)


def test_the_signature_of_an_artifact_is_that_of_its_files(stores: Stores, package: Path) -> None:
    publish(package, REFERENCE, stores)
    local = inspect_path(package).metadata.signature
    assert inspect_artifact(REFERENCE, stores).metadata.signature == local
    assert inspect_artifact(REFERENCE, stores, reread=True).metadata.signature == local


def test_an_equal_model_gets_an_equal_digest_at_a_given_time(
    stores: Stores, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    first = publish(package, REFERENCE, stores)
    second = publish(package, replace(REFERENCE, tag="v2"), stores)
    assert first.metadata.created == "2023-11-14T22:13:20Z"
    assert first.descriptor == second.descriptor


def test_a_file_under_another_name_gets_the_one_that_old_clients_find(
    stores: Stores, package: Path, tmp_path: Path
) -> None:
    (tmp_path / "weights.bin").write_bytes(next(package.glob("*.onnx")).read_bytes())
    published = publish(tmp_path / "weights.bin", REFERENCE, stores)
    assert published.metadata.directory_structure == ("model/weights.onnx",)


def test_what_the_caller_adds_is_in_the_config(stores: Stores, package: Path) -> None:
    publish(package, REFERENCE, stores, changes={"author": "Ada", "labels": {"team": "vision"}})
    metadata = load_artifact(stores.open(REFERENCE), REFERENCE).metadata
    assert (metadata.author, metadata.labels) == ("Ada", {"team": "vision"})


def test_a_model_that_cannot_be_read_leaves_no_reference(stores: Stores, models: Path) -> None:
    with pytest.raises(ModelError):
        publish(models / "ONNX" / "bad_truncated" / "model", REFERENCE, stores)
    with pytest.raises(NotFoundError):
        load_artifact(stores.open(REFERENCE), REFERENCE)
    assert list(list_models(REFERENCE, "", stores)) == []


def test_a_fetch_replaces_a_directory_only_by_force(stores: Stores, package: Path, tmp_path: Path) -> None:
    publish(package, REFERENCE, stores)
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("kept")
    with pytest.raises(AlreadyExistsError):
        fetch(REFERENCE, tmp_path / "target", stores)
    assert contents(tmp_path / "target") == {"mine": b"kept"}
    fetch(REFERENCE, tmp_path / "target", stores, force=True)
    assert contents(tmp_path / "target" / "model") == contents(package)


def test_a_copy_has_the_digest_of_its_source(stores: Stores, package: Path) -> None:
    published = publish(package, REFERENCE, stores)
    target = replace(REFERENCE, repository="copied")
    assert copy(REFERENCE, target, stores).digest == published.reference.digest
    assert [each.reference.repository for each in list_models(REFERENCE, "", stores)] == ["copied", "vision/net"]
