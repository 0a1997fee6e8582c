"""A store of each kind to work in: a layout directory, and the registries that run here."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from registries import PROGRAMS, running

from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.stores import Stores

KINDS = ("layout", *(pytest.param(version, marks=pytest.mark.registry) for version in PROGRAMS))


@pytest.fixture(scope="module", params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What references begin with: a layout directory, or a registry of each version."""
    directory = tmp_path_factory.mktemp("place")
    if request.param == "layout":
        yield f"oci:{directory / 'layout'}:"
        return
    with running(request.param, directory) as started:
        yield f"{started.host}/"


@pytest.fixture
def reference(place: str) -> Reference:
    return parse_reference(f"{place}vision/{uuid4().hex}:v1")


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    opened = Stores(plain_http=True, home=tmp_path / "home")
    yield opened
    opened.close()


@pytest.fixture
def model(models: Path) -> Path:
    return models / "ONNX" / "cnn_dynamic_dims" / "model"
