"""``klever-initializer``, as an init container runs it: a process with arguments and variables, and a registry."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Registry, running

from klever.steps.oci.credentials import Credentials
from klever.steps.oci.reference import parse_reference
from klever.steps.publish import publish
from klever.steps.stores import Stores

pytestmark = pytest.mark.registry
PROGRAM = str(Path(sys.executable).with_name("klever-initializer"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Registry]:
    """A registry that wants a password and holds one model of ONNX."""
    with running("3", tmp_path_factory.mktemp("registry"), basic=True) as here:
        stores = Stores(plain_http=True, credentials=Credentials(USER, PASSWORD))
        publish(models / "ONNX/cnn_dynamic_dims/model", parse_reference(f"{here.host}/vision/net:v1"), stores)
        stores.close()
        yield here


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        env={**kept, "DOCKER_CONFIG": "/nonexistent", "KLEVER_PLAIN_HTTP": "true", **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("names", [("ORMB_USERNAME", "ORMB_PASSWORD"), ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")])
def test_arguments_and_variables_of_the_old_program_lay_a_model_out(
    registry: Registry, tmp_path: Path, names: tuple[str, str]
) -> None:
    reference = f"{registry.host}/vision/net:v1"
    done = run("--server=mlserver", reference, tmp_path / "net", **dict(zip(names, (USER, PASSWORD), strict=True)))
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "net/model-settings.json").read_text())["name"] == "net"
    assert f"is laid out in {tmp_path / 'net'} for mlserver" in done.stdout
    assert PASSWORD not in done.stdout + done.stderr


def test_a_mounted_docker_config_is_used(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {registry.host: {"username": USER, "password": PASSWORD}}})
    )
    uri = f"oci+model://{registry.host}/vision/net:v1?server=mlserver&name=net"
    done = run("pull-and-export", "--json", uri, tmp_path / "models", DOCKER_CONFIG=str(tmp_path))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["server"], document["name"], document["found"]) == ("mlserver", "net", False)
    assert document["reference"].endswith(f"@{document['digest']}")
    assert (tmp_path / "models/net/model-settings.json").is_file()


def test_without_a_new_layout_the_package_is_as_it_was_published(registry: Registry, tmp_path: Path) -> None:
    reference = f"{registry.host}/vision/net:v1"
    done = run("--relayout=false", reference, tmp_path / "net", ORMB_USERNAME=USER, ORMB_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["model", "ormbfile.yaml"]


@pytest.mark.parametrize(
    ("reference", "code", "said"),
    [
        ("{host}/vision/none:v1", 1, "404"),
        ("{host}/vision/net:v1?name=net", 1, "has a query, which a reference has not"),
        ("oci+model://{host}/vision/net:v1?server=torchserve", 1, "there is no server 'torchserve'"),
        ("127.0.0.1:1/vision/net:v1", 75, "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_laid_out_is_told_in_one_sentence(
    registry: Registry, tmp_path: Path, reference: str, code: int, said: str
) -> None:
    done = run(reference.format(host=registry.host), tmp_path / "net", ORMB_USERNAME=USER, ORMB_PASSWORD=PASSWORD)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert done.stderr.startswith("klever-initializer: ")
    assert not (tmp_path / "net").exists()


def test_a_wrong_password_is_told(registry: Registry, tmp_path: Path) -> None:
    done = run(f"{registry.host}/vision/net:v1", tmp_path / "net", ORMB_USERNAME=USER, ORMB_PASSWORD="wrong")
    assert done.returncode == 1
    assert "401" in done.stderr or "user and password" in done.stderr
