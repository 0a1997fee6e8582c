"""A model laid out for its server, from a store into the places where the server looks."""

import json
from pathlib import Path

import pytest

from klever.steps.errors import AlreadyExistsError, NotFoundError, ServingError
from klever.steps.oci.reference import parse_reference
from klever.steps.provision import provision
from klever.steps.publish import publish
from klever.steps.serving.servers.interface import Tuning
from klever.steps.serving.uri import ModelUri, parse_model_uri
from klever.steps.stores import Stores

REFERENCE = "vision/net:v1"


@pytest.fixture
def stores(tmp_path: Path, models: Path) -> Stores:
    """A store with one model of ONNX."""
    stores = Stores(home=tmp_path / "home")
    publish(models / "ONNX/cnn_dynamic_dims/model", parse_reference(REFERENCE), stores)
    return stores


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def named(name: str = "net", **tuning: int) -> ModelUri:
    return ModelUri(parse_reference(REFERENCE), "mlserver", name, Tuning(**tuning))


def test_a_named_model_lies_below_the_servers_directory(stores: Stores, models: Path, tmp_path: Path) -> None:
    done = provision(named(), tmp_path / "models", stores)
    found = tree(tmp_path / "models")
    (original,) = (models / "ONNX/cnn_dynamic_dims/model").iterdir()
    assert found.pop(f"net/model/{original.name}") == original.read_bytes()
    assert json.loads(found.pop("net/model-settings.json"))["name"] == "net"
    assert sorted(found) == ["net/.klever.json", "net/settings.json"]
    assert (done.server.id, done.name, done.directory) == ("mlserver", "net", tmp_path / "models/net")
    assert done.signature is not None
    assert [tensor.name for tensor in done.signature.inputs or ()]


def test_without_a_name_the_directory_is_the_models_own(stores: Stores, tmp_path: Path) -> None:
    own = tmp_path / "mnt" / "resnet"
    own.mkdir(parents=True)
    (own / "lost+found").mkdir()
    inode = own.stat().st_ino
    done = provision(parse_model_uri(f"oci+model://{REFERENCE}?server=mlserver"), own, stores)
    assert done.name == "resnet"
    assert own.stat().st_ino == inode
    assert json.loads((own / "model-settings.json").read_text())["name"] == "resnet"
    assert [path.name for path in own.parent.iterdir()] == ["resnet"]


WAYS = pytest.mark.parametrize(
    "uri", [named(), parse_model_uri(f"oci+model://{REFERENCE}?server=mlserver")], ids=["named", "own"]
)


@WAYS
def test_what_lies_there_already_is_found(stores: Stores, tmp_path: Path, uri: ModelUri) -> None:
    first = provision(uri, tmp_path / "models", stores)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "models").rglob("*")}
    second = provision(uri, tmp_path / "models", stores)
    assert (first.found, second.found) == (False, True)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "models").rglob("*")} == before


@WAYS
def test_another_version_takes_the_place_of_the_first(
    stores: Stores, tmp_path: Path, models: Path, uri: ModelUri
) -> None:
    provision(uri, tmp_path / "models", stores)
    publish(models / "ONNX/cnn_external_data/model", parse_reference(REFERENCE), stores)
    done = provision(uri, tmp_path / "models", stores)
    assert not done.found
    expected = {path.name for path in (models / "ONNX/cnn_external_data/model").rglob("*")}
    assert {path.name for path in (done.directory / "model").rglob("*")} == expected


@WAYS
def test_what_a_killed_run_left_is_cleared_away(stores: Stores, tmp_path: Path, uri: ModelUri) -> None:
    done = provision(uri, tmp_path / "models", stores)
    whole = tree(tmp_path / "models")
    # As far as it had come: everything but the mark is there, and something of an older try.
    (done.directory / ".klever.json").write_text("{}")
    (done.directory / "model" / "rest").write_text("rest")
    assert not provision(uri, tmp_path / "models", stores).found
    assert tree(tmp_path / "models") == whole


@WAYS
def test_what_others_put_there_is_left_alone(stores: Stores, tmp_path: Path, uri: ModelUri) -> None:
    place = tmp_path / "models" / (uri.name or "")
    place.mkdir(parents=True)
    (place / "thesis.txt").write_text("mine")
    with pytest.raises(AlreadyExistsError, match="holds something else"):
        provision(uri, tmp_path / "models", stores)
    assert tree(place) == {"thesis.txt": b"mine"}


def test_another_tuning_is_another_layout(stores: Stores, tmp_path: Path) -> None:
    provision(named(), tmp_path, stores)
    assert not provision(named(instances=2), tmp_path, stores).found


def test_a_server_that_does_not_take_the_format_is_named_before_anything_is_fetched(
    stores: Stores, models: Path, tmp_path: Path
) -> None:
    publish(models / "PMML/pipeline/model", parse_reference("risk:v1"), stores)
    with pytest.raises(ServingError, match="mlserver does not take PMML") as caught:
        provision(ModelUri(parse_reference("risk:v1"), "mlserver", "risk"), tmp_path / "models", stores)
    assert "--serve --server mlserver" in caught.value.next_step
    assert not (tmp_path / "models").exists()


def test_a_server_that_nobody_knows_is_refused(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no server 'torchserve'"):
        provision(ModelUri(parse_reference(REFERENCE), "torchserve", "net"), tmp_path / "models", stores)


def test_an_artifact_that_is_not_there_leaves_nothing(stores: Stores, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        provision(ModelUri(parse_reference("vision/none:v1"), "mlserver", "net"), tmp_path / "models", stores)
    assert not (tmp_path / "models").exists()
