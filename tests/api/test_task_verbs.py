"""Each verb of ``klever-task`` over a store, as the steps of a workflow follow each other."""

import json
import re
import subprocess
import sys
from pathlib import Path

import foreign
import pytest

from klever.api.task.images import choose_image, parse_table
from klever.steps.artifact import load_artifact
from klever.steps.errors import EnvironmentMissingError
from klever.steps.oci.reference import parse_reference
from klever.steps.stores import Stores

from .conftest import Task

IMAGES = ("=convert", "prove-mxnet=convert", "convert-tensorflow=convert-keras", "convert-torch=convert-torch")


@pytest.fixture
def mlp(task: Task, models: Path) -> str:
    """An MXNet model in the store, pinned."""
    model = models / "MXNetParams" / "mlp" / "model"
    return task("publish", source=str(model), as_="vision/mlp:v1", allow=str(models)).outputs["reference"]


def test_a_release_goes_through_all_its_steps(
    task: Task, mlp: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the source's own runtime, wherever this runs.
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "environments"))
    extracted = task("extract", model=mlp).outputs
    targets = task("targets", model=extracted["reference"], formats='["onnx"]').outputs
    (target,) = json.loads(targets["targets"])
    assert target == {"to": "ONNX", "as": "vision/mlp:v1-onnx"}
    planned = task("plan", model=targets["model"], **{"to": target["to"], "as": target["as"], "image": IMAGES})
    assert planned.outputs["image"] == "convert"
    converted = task("convert", model=planned.outputs["model"], to="ONNX", as_=planned.outputs["as"], seed="7")
    assert converted.code == 0
    assert (converted.outputs["level"], converted.outputs["found"]) == ("executed", "false")
    reference = converted.outputs["reference"]
    assert reference == f"vision/mlp:v1-onnx@{converted.outputs['digest']}"
    report = json.loads(task("gate", results=json.dumps([{"reference": reference}])).outputs["report"])
    assert [(each["reference"], each["level"]) for each in report] == [(reference, "executed")]
    again = task("convert", model=planned.outputs["model"], to="ONNX", as_=planned.outputs["as"], seed="7").outputs
    assert (again["found"], again["digest"]) == ("true", converted.outputs["digest"])


def test_a_plan_says_what_its_conversion_takes(task: Task, mlp: str) -> None:
    outputs = task("plan", model="vision/mlp:v1", to="onnx", image=IMAGES, require="compared").outputs
    assert outputs["model"] == mlp
    assert outputs["as"] == "vision/mlp:v1-onnx"
    assert outputs["path"] == "MXNetParams -> ONNX (exact)"
    for name in ("memory", "storage"):
        assert re.fullmatch(r"[1-9]\d*Mi", outputs[name])
    assert re.fullmatch("[0-9a-f]{64}", outputs["key"])


def test_the_key_changes_with_all_that_the_result_depends_on(task: Task, mlp: str) -> None:
    def key(**values: str) -> str:
        return task("plan", **{"model": mlp, "to": "ONNX", **values}).outputs["key"]

    others = [
        key(opset="21"), key(batch="4"), key(shapes='{"data": [2, 9]}'), key(dtype="float16"), key(seed="1"),
        key(require="none"), key(as_="elsewhere:v1"),
    ]  # fmt: skip
    assert len({key(), *others}) == len(others) + 1
    assert key() == key(opset="17", require="executed", seed="0", **{"as": "vision/mlp:v1-onnx"})


def test_a_plan_for_a_model_without_a_tag_names_its_result_by_the_digest(task: Task, mlp: str) -> None:
    digest = mlp.partition("@")[2]
    outputs = task("plan", model=f"vision/mlp@{digest}", to="ONNX").outputs
    assert outputs["as"] == f"vision/mlp:{digest[7:19]}-onnx"


def test_what_stands_in_the_way_of_a_conversion_fails_its_plan(task: Task, mlp: str) -> None:
    done = task("plan", model=mlp, to="PMML")
    assert done.code == 1
    assert done.message.startswith("plan: no converter leads from MXNetParams to PMML; next: MXNetParams can become")


def test_a_plan_needs_neither_numpy_nor_a_framework(mlp: str, home: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('numpy', 'onnx', 'onnxruntime', 'click', 'rich', 'hera', 'kubernetes'): sys.modules[name] = None\n"
        "from klever.api.task.run import run\n"
        f"sys.exit(run(['plan', '--model={mlp}', '--to=ONNX']))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("formats", "pattern", "expected"),
    [
        ("ONNX", "", ["vision/mlp:v1-onnx"]),
        (" onnx , ONNX ,", "", ["vision/mlp:v1-onnx"]),
        ('["ONNX"]', "released/mlp-{format}:{tag}", ["released/mlp-onnx:v1"]),
        ("ONNX", "h.example:5000/x:v9", ["h.example:5000/x:v9"]),
    ],
)
def test_targets_are_named_by_a_pattern(task: Task, mlp: str, formats: str, pattern: str, expected: list[str]) -> None:
    outputs = task("targets", model=mlp, formats=formats, as_=pattern).outputs
    assert [target["as"] for target in json.loads(outputs["targets"])] == expected
    assert outputs["model"] == mlp


@pytest.mark.parametrize(
    ("formats", "pattern", "told"),
    [
        ("PMML,TorchScript", "", "no converter leads from MXNetParams to PMML or TorchScript"),
        ("NoSuch", "", "there is no format 'NoSuch'"),
        ("[1]", "", "expected a JSON list of formats"),
        ('["ONNX"', "", "for formats"),
        (",", "", "at least one format"),
        ("ONNX", "x/UPPER-{format}", "is not a repository name"),
        ("ONNX", "x@sha256:" + "0" * 64, "names a digest"),
        ("ONNX", "{{workflow.name}}", "is not a repository name"),
    ],
)
def test_targets_that_cannot_be_are_refused(task: Task, mlp: str, formats: str, pattern: str, told: str) -> None:
    done = task("targets", model=mlp, formats=formats, as_=pattern)
    assert done.code != 0
    assert told in done.message


def test_several_formats_under_one_name_are_refused(task: Task, models: Path) -> None:
    model = models / "H5" / "sequential_keras3" / "model"
    task("publish", source=str(model), as_="k:v1", allow=str(models))
    assert "a pattern with {format}" in task("targets", model="k:v1", formats="ONNX,SavedModel", as_="r:v1").message


@pytest.mark.parametrize(
    "results", ["{}", "[]", '"net:v1"', "[1]", '[{"digest": "x"}]', "[null]", '[""]', "[", '["a b"]']
)
def test_a_gate_without_references_is_refused(task: Task, results: str) -> None:
    assert task("gate", results=results).code in (1, 2)


def test_a_gate_names_every_artifact_that_falls_short(task: Task, mlp: str) -> None:
    made = task("convert", model=mlp, to="ONNX", as_="vision/mlp:onnx", require="none").outputs["reference"]
    done = task("gate", results=json.dumps([made, mlp, "vision/gone:v1"]), require="executed")
    assert (done.code, done.outputs) == (1, {})
    for told in (f"{made} was proven to the level none, and executed is required", f"{mlp} has no certificate",
                 "vision/gone:v1 is not there"):  # fmt: skip
        assert told in done.message
    assert "refused vision/gone:v1" in done.log


def test_a_repacked_layer_loses_its_stale_file(task: Task, home: Path, models: Path) -> None:
    stores, reference = Stores(home=home), parse_reference("net:v1")
    model = models / "ONNX" / "cnn_dynamic_dims" / "model"
    foreign.put(reference, stores, model, beside={"ormbfile.yaml": foreign.STALE})
    before = load_artifact(stores.open(reference), reference).manifest.layer
    assert task("extract", model="net:v1", repack="true").code == 0
    assert load_artifact(stores.open(reference), reference).manifest.layer != before
    assert task("extract", model="net:v1", repack="yes").code == 2


def test_a_source_that_nobody_allowed_is_not_published(task: Task, models: Path) -> None:
    model = str(models / "ONNX" / "cnn_dynamic_dims" / "model")
    assert task("publish", source=model, as_="net:v1").message.startswith("download: ")
    assert task("publish", source=model, as_="net:v1", allow="https://models.example/").code == 1
    assert task("publish", source=f"file://{model}", as_="net:v1", allow=(str(models), "https://x.example/")).code == 1


TABLE = parse_table(["prove-mxnet=b", "=a", "convert-torch=c", "prove-mxnet=c", "prove-caffe=b"])


@pytest.mark.parametrize(
    ("required", "useful", "image"),
    [
        ((), (), "a"),
        (("prove-onnx",), (), "a"),
        ((), ("prove-mxnet", "prove-onnx"), "b"),
        (("convert-torch",), ("prove-caffe",), "c"),
        (("convert-torch", "prove-mxnet"), (), "c"),
    ],
)
def test_the_image_is_the_first_that_has_what_is_needed_and_most_of_what_helps(
    required: tuple[str, ...], useful: tuple[str, ...], image: str
) -> None:
    assert choose_image(TABLE, required, useful) == image


def test_without_an_image_that_has_all_there_is_a_sentence() -> None:
    with pytest.raises(EnvironmentMissingError, match="no image has convert-torch and prove-caffe"):
        choose_image(TABLE, ("prove-caffe", "convert-torch"))


def test_an_extraction_goes_where_it_is_told_with_what_it_is_told(task: Task, home: Path, models: Path) -> None:
    stores = Stores(home=home)
    old = foreign.put(
        parse_reference("net:v1"), stores, models / "GraphDef" / "unknown_rank" / "model", config={"format": "GraphDef"}
    )
    done = task("extract", model="net:v1", as_="read/net:v2", inputs='[{"name": "x", "size": [-1, 4]}]')
    assert done.code == 0
    assert done.outputs["reference"] == f"read/net:v2@{done.outputs['digest']}"
    assert done.outputs["signature"].startswith("x float32[-1, 4] ->")
    assert (done.outputs["changed"], done.outputs["moved"], done.outputs["note"]) == ("true", "true", "")
    assert (
        load_artifact(stores.open(parse_reference("net:v1")), parse_reference("net:v1")).descriptor.digest == old.digest
    )
    assert task("extract", model="net:v1", as_="read/net:v2", inputs="[1]").message.startswith(
        "extract: inputs: field 0"
    )
    assert "names a digest" in task("extract", model="net:v1", as_=f"net@{old.digest}").message


def test_every_tag_of_a_digest_moves_when_that_is_asked(task: Task, home: Path, models: Path) -> None:
    stores, model = Stores(home=home), models / "ONNX" / "cnn_dynamic_dims" / "model"
    for tag in ("v1", "latest"):
        old = foreign.put(parse_reference(f"net:{tag}"), stores, model)
    outputs = task("extract", model=f"net:v1@{old.digest}", all_tags="true").outputs
    assert (outputs["moved"], outputs["note"]) == ("true", "moved to it as well: latest")
    reference = parse_reference("net:latest")
    assert load_artifact(stores.open(reference), reference).descriptor.digest == outputs["digest"]
    assert task("extract", model="net:v1", all_tags="yes").code == 2


def test_a_conversion_from_another_format_than_the_models_fails_its_plan(task: Task, mlp: str) -> None:
    assert task("plan", model=mlp, to="ONNX", **{"from": "mxnetparams"}).code == 0
    for verb, others in (("plan", {}), ("convert", {"as": "vision/mlp:onnx"})):
        done = task(verb, model=mlp, to="ONNX", **{"from": "H5"}, **others)
        assert (done.code, done.outputs) == (1, {})
        assert done.message.startswith(f"plan: {mlp} is MXNetParams, and H5 was to be converted; next: convert from")


def test_a_model_whose_config_says_no_format_is_converted_from_the_one_that_is_said(
    task: Task, home: Path, models: Path
) -> None:
    foreign.put(parse_reference("net:v1"), Stores(home=home), models / "MXNetParams" / "mlp" / "model", config={"x": 1})
    said = {"from": "MXNetParams"}
    planned = task("plan", model="net:v1", to="ONNX", **said).outputs
    assert task("convert", model=planned["model"], to="ONNX", as_=planned["as"], require="none", **said).code == 0
