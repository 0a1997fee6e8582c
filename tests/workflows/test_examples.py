"""The pipelines of ``examples/`` and of the documents run as they stand, on this machine."""

import re
from pathlib import Path

import pytest

from klever.steps.artifact import load_artifact
from klever.steps.oci.reference import parse_reference
from klever.steps.publish import publish
from klever.steps.stores import Stores
from klever.workflows.local import run
from klever.workflows.manifest import read_documents
from klever.workflows.status import Phase

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = sorted((ROOT / "examples" / "pipelines").glob("*.py"))
MODEL = "vision/resnet:v1"


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stores:
    """A laptop's store with one model."""
    monkeypatch.setenv("KLEVER_HOME", str(tmp_path / "home"))
    stores = Stores(home=tmp_path / "home")
    publish(ROOT / "tests/models/MXNetParams/mlp/model", parse_reference(MODEL), stores)
    return stores


def run_file(path: Path) -> None:
    (workflow,) = read_documents(path)
    made = run(workflow, {"model": MODEL})
    assert made.phase is Phase.SUCCEEDED, [node.message for node in made.failures()]


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, stores: Stores) -> None:
    run_file(path)


def test_the_example_of_the_documentation_runs(tmp_path: Path, stores: Stores) -> None:
    text = (ROOT / "docs" / "pipelines.md").read_text()
    (code,) = re.findall(r"```python\n(from hera.*?)```", text, re.DOTALL)
    path = tmp_path / "documented.py"
    path.write_text(code)
    run_file(path)
    reference = parse_reference(f"{MODEL}-onnx")
    assert load_artifact(stores.open(reference), reference).metadata.format == "ONNX"
