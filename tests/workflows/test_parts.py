"""What a data scientist imports: nodes that call Klever's templates, and their outputs."""

import doctest
from typing import Any

import pytest
from hera.workflows import DAG, Container, Step, Steps, Task, Workflow

from klever.steps.errors import NotFoundError
from klever.workflows import parts
from klever.workflows.templates.golden import load

ENTRIES = {
    "extract": (
        "klever-extract", {"model": "net:v1", "format": "ONNX", "publish_as": "net:v2", "inputs": "[]", "outputs": "[]", "repack": True,
         "all_tags": True},
    ),
    "convert": (
        "klever-convert",
        {"model": "net:v1", "to": "ONNX", "convert_from": "H5", "publish_as": "net:v1-onnx", "opset": 17, "batch": 1, "shapes": "{}",
         "dtype": "float16", "require": "compared", "seed": 3, "memory": "1Gi", "storage": "1Gi"},
    ),
    "publish": ("klever-publish", {"source": "https://a.example/m", "publish_as": "net:v1", "format": "ONNX"}),
    "release": (
        "klever-release",
        {"model": "net:v1", "formats": "ONNX", "publish_as": "net:v1-{format}", "format": "H5", "repack": True,
         "all_tags": True, "opset": 17, "batch": 1, "shapes": "{}", "dtype": "float16", "require": "compared", "seed": 3,
         "memory": "1Gi", "storage": "1Gi"},
    ),
}  # fmt: skip


def template_of(name: str, template: str) -> dict[str, Any]:
    templates: list[dict[str, Any]] = load()[name]["spec"]["templates"]
    return next(each for each in templates if each["name"] == template)


def test_the_example_of_the_module_runs() -> None:
    assert doctest.testmod(parts).failed == 0
    assert doctest.testmod(parts).attempted > 5


@pytest.mark.parametrize("part", ENTRIES)
def test_a_part_can_give_every_input_of_its_template_and_none_besides(part: str) -> None:
    name, arguments = ENTRIES[part]
    with Workflow(name="w", entrypoint="main"), DAG(name="main") as dag:
        node = getattr(parts, part)("node", **arguments)
    assert dag.tasks == [node]
    reference = node.template_ref
    assert (reference.name, reference.template) == (name, part)
    declared = {each["name"]: each for each in template_of(name, part)["inputs"]["parameters"]}
    assert node.arguments.keys() == declared.keys()
    for key, value in node.arguments.items():
        assert isinstance(value, str)
        assert value in declared[key].get("enum", [value])


@pytest.mark.parametrize("part", ENTRIES)
def test_what_is_left_out_is_left_to_the_template(part: str) -> None:
    name, arguments = ENTRIES[part]
    required = {each["name"] for each in template_of(name, part)["inputs"]["parameters"] if "default" not in each} | (
        {"formats"} if part == "release" else set()
    )
    given = {key: value for key, value in arguments.items() if {key, key.removeprefix("publish_")} & required}
    assert getattr(parts, part)("node", **given).arguments.keys() == required


@pytest.mark.parametrize("part", ENTRIES)
def test_every_output_of_the_template_can_be_reached(part: str) -> None:
    name, arguments = ENTRIES[part]
    node = getattr(parts, part)("node", **arguments)
    for output in template_of(name, part)["outputs"]["parameters"]:
        assert parts.output(node, output["name"]) == f"{{{{tasks.node.outputs.parameters.{output['name']}}}}}"


def test_an_output_that_there_is_not_is_told_with_those_that_there_are() -> None:
    with pytest.raises(NotFoundError, match="read has no output 'disgest'") as raised:
        parts.output(parts.extract("read", model="net"), "disgest")
    assert "digest" in raised.value.next_step


def test_in_steps_a_part_is_a_step() -> None:
    with Workflow(name="w", entrypoint="main") as workflow, Steps(name="main") as steps:
        read = parts.extract("read", model="net")
        with steps.parallel():
            parts.convert("onnx", model=parts.output(read, "reference"), to="ONNX")
            parts.convert("saved", model=parts.output(read, "reference"), to="SavedModel", when="'a' == 'b'")
    assert isinstance(read, Step)
    first, second = workflow.to_dict()["spec"]["templates"][0]["steps"]
    assert [each["name"] for each in first] == ["read"]
    assert [each["name"] for each in second] == ["onnx", "saved"]
    assert second[0]["arguments"]["parameters"][0]["value"] == "{{steps.read.outputs.parameters.reference}}"
    assert second[1]["when"] == "'a' == 'b'"


def test_parts_stand_beside_nodes_of_ones_own() -> None:
    with Workflow(name="w", entrypoint="main") as workflow:
        echo = Container(name="echo", image="busybox", command=["echo"])
        with DAG(name="main"):
            read = parts.extract("read", model="net")
            assert isinstance(read, Task)
            read.next(Task(name="tell", template=echo))
            parts.convert("made", model=parts.output(read, "reference"), to="{{item}}", with_items=["ONNX", "NetDef"])
    tasks = {each["name"]: each for each in workflow.to_dict()["spec"]["templates"][1]["dag"]["tasks"]}
    assert tasks["tell"]["depends"] == "read"
    assert tasks["made"]["withItems"] == ["ONNX", "NetDef"]
