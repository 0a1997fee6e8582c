"""Workflows are taken in whatever form a person has them."""

import sys
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import NotFoundError
from klever.workflows.manifest import ManifestFileError, load, read_documents

HERA = """
from dataclasses import dataclass
from hera.workflows import DAG, Container, Workflow, WorkflowTemplate
import neighbour

@dataclass
class Unrelated:
    name: str = neighbour.NAME

with Workflow(generate_name="one-", entrypoint="main") as one:
    Container(name="main", image="none", command=["true"])

again = one
with WorkflowTemplate(name="two") as two:
    Container(name=Unrelated().name, image="none", command=["true"])
"""


@pytest.fixture
def hera_file(tmp_path: Path) -> Path:
    (tmp_path / "neighbour.py").write_text("NAME = 'beside'\n")
    path = tmp_path / "pipelines.py"
    path.write_text(HERA)
    return path


def test_every_workflow_of_a_python_file_is_taken_once(hera_file: Path) -> None:
    paths, modules = list(sys.path), set(sys.modules)
    one, two = read_documents(hera_file)
    assert (one["kind"], one["metadata"]["generateName"]) == ("Workflow", "one-")
    assert (two["kind"], two["spec"]["templates"][0]["name"]) == ("WorkflowTemplate", "beside")
    assert sys.path == paths
    assert "pipelines" not in set(sys.modules) - modules


def test_built_and_unbuilt_objects_and_mappings_give_the_same() -> None:
    from hera.workflows import Container, Workflow

    with Workflow(name="w", entrypoint="main") as authored:
        Container(name="main", image="none", command=["true"])
    document = load(authored)
    assert load(authored.build()) == document
    assert load(document) == document
    assert load(document) is not document


def test_a_yaml_file_may_hold_several_and_lists(tmp_path: Path) -> None:
    path = tmp_path / "many.yaml"
    path.write_text("kind: A\nwhen: 2024-01-01\n---\n---\nkind: List\nitems:\n- kind: B\n- kind: C\n")
    assert [document["kind"] for document in read_documents(path)] == ["A", "B", "C"]
    assert read_documents(path)[0]["when"] == "2024-01-01"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.yaml", "a: [", "is no YAML"),
        ("a.yaml", "- 1\n", "is a list, not an object"),
        ("a.yaml", "", "holds no workflow"),
        ("a.yaml", "a: !!python/object/apply:os.getcwd []", "is no YAML"),
        ("a.yaml", "a: .nan", "holds what is no JSON"),
        ("a.yaml", "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(7)), "more than"),
        ("a.yaml", "[" * 5000, "nested too deeply"),
        ("a.py", "raise ValueError('no\\nway')", "cannot be run: ValueError: no way"),
        ("a.py", "import sys; sys.exit(3)", "ends its interpreter with exit code 3"),
        ("a.py", "x = 1", "holds no workflow"),
        ("a.py", "def", "cannot be run: SyntaxError"),
    ],
)  # fmt: skip
def test_files_that_hold_none(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ManifestFileError) as caught:
        read_documents(path)
    assert message in caught.value.cause


def test_a_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_documents(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestFileError):
        read_documents(tmp_path / "b.yaml")


@pytest.mark.parametrize("thing", [3, "text", None, [1], object()])
def test_other_objects_are_no_workflows(thing: Any) -> None:
    with pytest.raises(ManifestFileError):
        load(thing)
