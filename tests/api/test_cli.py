"""The command line on this machine's store: what a user types and what they get."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from klever.api.cli.run import COMMANDS

from .conftest import Klever


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(klever: Klever, command: str) -> None:
    outcome = klever(command, "--help")
    assert outcome.code == 0
    assert "Example:" in outcome.out
    assert f"klever {command}" in outcome.out


def test_no_arguments_show_the_commands_and_mean_wrong_usage(klever: Klever) -> None:
    outcome = klever()
    assert outcome.code == 2
    assert "publish" in outcome.err + outcome.out


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["fetch"], ["publish", ".", "x", "--label", "novalue"], ["gc", "--older-than", "x"]],
)
def test_wrong_usage_is_exit_code_2(klever: Klever, arguments: list[str]) -> None:
    assert klever(*arguments).code == 2


def test_a_published_model_is_inspected_listed_and_fetched_unchanged(
    klever: Klever, onnx: Path, tmp_path: Path
) -> None:
    published = klever(
        "publish", onnx, "vision/net:v1", "--json", "--author", "Ada", "--label", "stage=test", "--metric", "accuracy=0.93",
        "--hyper-parameter", "lr=0.1", "--training-git", "https://git.example/net@4f1c", "--tag", "small",
    )  # fmt: skip
    assert published.code == 0, published.err
    digest = published.document["digest"]

    inspected = klever("inspect", "--json", "vision/net:v1").document
    local = klever("inspect", "--json", onnx).document
    assert inspected["signature"] == local["signature"]
    assert (inspected["format"], inspected["framework"]) == ("ONNX", "ONNX")
    assert (inspected["reference"], inspected["digest"]) == ("vision/net:v1", digest)
    assert inspected["author"] == "Ada"
    assert inspected["labels"] == {"stage": "test"}
    assert inspected["metrics"] == {"training": [{"name": "accuracy", "value": "0.93"}]}
    assert inspected["hyperParameters"] == [{"name": "lr", "value": "0.1"}]
    assert inspected["training"] == {"git": {"repository": "https://git.example/net", "revision": "4f1c"}}
    assert inspected["tags"] == ["small"]

    (listed,) = klever("models", "--json", "vision/").document
    assert listed["reference"] == "vision/net:v1"
    assert listed["signature"] == local["signature"]
    assert "vision/net:v1" in klever("models").out

    assert klever("fetch", "vision/net:v1", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "model" / "net.onnx").read_bytes() == onnx.read_bytes()
    assert "author: Ada" in (tmp_path / "out" / "ormbfile.yaml").read_text()


def test_an_ormbfile_is_written_without_asking_and_accepted_back(klever: Klever, onnx: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "model").mkdir(parents=True)
    written = klever("inspect", "--yaml", onnx)
    assert written.code == 0
    (package / "ormbfile.yaml").write_text(written.out)
    (package / "model" / "net.onnx").write_bytes(onnx.read_bytes())
    again = klever("inspect", "--json", package).document
    assert again["signature"] == klever("inspect", "--json", onnx).document["signature"]
    assert "notes" not in again
    assert klever("inspect", "--yaml", "--json", onnx).code == 2


def test_rereading_the_layer_gives_the_same_signature(klever: Klever, onnx: Path) -> None:
    klever("publish", onnx, "net:v1")
    config = klever("inspect", "--json", "net:v1").document
    reread = klever("inspect", "--json", "--reread", "net:v1").document
    assert reread["signature"] == config["signature"]


def test_inspect_json_has_inputs_outputs_and_layers_even_where_a_format_tells_nothing(
    klever: Klever, tmp_path: Path
) -> None:
    (tmp_path / "engine.plan").write_bytes(b"ptrt" + bytes(100))
    document = klever("inspect", "--json", "--format", "TensorRT", tmp_path / "engine.plan").document
    assert document["signature"] == {"inputs": [], "outputs": [], "layers": {}}
    assert document["notes"]


def test_fetch_leaves_a_directory_that_is_not_empty_alone(klever: Klever, onnx: Path, tmp_path: Path) -> None:
    klever("publish", onnx, "net:v1")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    outcome = klever("fetch", "net:v1", tmp_path / "out", "--json")
    assert outcome.code == 1
    assert outcome.error["type"] == "AlreadyExistsError"
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["mine"]
    assert klever("fetch", "net:v1", tmp_path / "out", "--force").code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["model", "ormbfile.yaml"]


def test_tags_are_added_and_removed_without_touching_others(klever: Klever, onnx: Path) -> None:
    klever("publish", onnx, "net:v1")
    assert klever("tag", "net:v1", "stable", "other/net:v7").code == 0
    assert [entry["reference"] for entry in klever("models", "--json").document] == [
        "net:stable",
        "net:v1",
        "other/net:v7",
    ]
    assert klever("delete", "net:v1").code == 0
    assert [entry["reference"] for entry in klever("models", "--json").document] == [
        "net:stable",
        "other/net:v7",
    ]
    assert klever("delete", "net").code == 2
    assert klever("delete", "net:gone", "--json").error["type"] == "NotFoundError"


def test_gc_frees_a_deleted_model_and_check_finds_a_changed_byte(klever: Klever, onnx: Path, home: Path) -> None:
    klever("publish", onnx, "net:v1")
    klever("publish", onnx, "kept:v1", "--author", "Ada")
    klever("delete", "net:v1")
    assert klever("gc", "--older-than", "0", "--json").document["blobs"] >= 2
    assert klever("gc", "--check").code == 0
    layer = max((home / "store" / "blobs" / "sha256").iterdir(), key=lambda blob: blob.stat().st_size)
    layer.chmod(0o644)
    layer.write_bytes(layer.read_bytes()[:-1] + b"\xff")
    damaged = klever("gc", "--check")
    assert damaged.code == 1
    assert layer.name in damaged.err
    assert klever("fetch", "kept:v1", home / "out", "--json").error["type"] == "CorruptBlobError"
    assert not (home / "out").exists()


def test_copy_keeps_the_digest_between_stores(klever: Klever, onnx: Path, tmp_path: Path) -> None:
    digest = klever("publish", onnx, "net:v1", "--json").document["digest"]
    copied = klever("copy", "net:v1", f"oci:{tmp_path / 'layout'}:exported/net:v2", "--json")
    assert copied.document["digest"] == digest
    assert klever("inspect", f"oci:{tmp_path / 'layout'}:exported/net:v2", "--json").document["digest"] == digest


@pytest.mark.parametrize(
    ("target", "error", "stage"),
    [
        ("nowhere:v1", "NotFoundError", "pull"),
        ("./missing.onnx", "NotFoundError", "recognise"),
        ("UPPER", "NotFoundError", "recognise"),
    ],
)
def test_an_error_names_stage_cause_and_next_step(klever: Klever, target: str, error: str, stage: str) -> None:
    outcome = klever("inspect", "--json", target)
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.error["type"] == error
    assert outcome.error["stage"] == stage
    assert outcome.error["cause"]
    assert outcome.error["nextStep"]
    assert outcome.error["temporary"] is False


def test_an_ambiguous_directory_lists_candidates_and_the_flag_that_decides(
    klever: Klever, onnx: Path, models: Path
) -> None:
    folder = onnx.parent / "both"
    folder.mkdir()
    onnx.rename(folder / "net.onnx")
    pmml = next(models.glob("PMML/*/model/*.pmml"))
    (folder / "net.pmml").write_bytes(pmml.read_bytes())
    error = klever("inspect", "--json", folder).error
    assert error["type"] == "AmbiguousFormatError"
    assert set(error["candidates"]) == {"ONNX", "PMML"}
    assert "--format" in error["nextStep"]
    assert klever("inspect", "--json", folder, "--format", "onnx").document["format"] == "ONNX"


def test_the_authors_fields_survive_publish_and_fetch(klever: Klever, onnx: Path, tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "model").mkdir(parents=True)
    onnx.rename(package / "model" / "net.onnx")
    (package / "ormbfile.yaml").write_text("format: ONNX\nauthor: Ada\nreviewed:\n  by: Grace\n  on: 2021-05-01\n")
    assert klever("publish", package, "net:v1").code == 0
    assert klever("inspect", "--json", "net:v1").document["reviewed"] == {"by": "Grace", "on": "2021-05-01"}
    klever("fetch", "net:v1", tmp_path / "out")
    assert "'on': '2021-05-01'" in (tmp_path / "out" / "ormbfile.yaml").read_text()


def test_artifacts_of_the_original_tool_are_listed_inspected_and_fetched(
    klever: Klever, shared: Path, tmp_path: Path
) -> None:
    layout = f"oci:{shared / 'samples' / 'ormb-artifacts'}"
    listed = klever("models", "--json", layout).document
    assert [entry["format"] for entry in listed] == ["PMML", "SavedModel", "SKLearn"]
    saved = klever("inspect", "--json", f"{layout}:savedmodel-fashion-v1")
    assert saved.code == 0, saved.err
    assert saved.document["signature"]["inputs"][0]["size"][0] == -1
    fetched = klever("fetch", f"{layout}:sklearn-model-v1", tmp_path / "sklearn")
    assert fetched.code == 0, fetched.err
    original = shared / "samples" / "ormb" / "SKLearn-model" / "model" / "model.joblib"
    assert (tmp_path / "sklearn" / "model" / "model.joblib").read_bytes() == original.read_bytes()
    assert "format: SKLearn" in (tmp_path / "sklearn" / "ormbfile.yaml").read_text()


def test_a_format_is_imported_only_where_it_is_needed() -> None:
    code = "import sys, klever.steps; print([m for m in sys.modules if m.startswith(('pydantic', 'yaml', 'urllib3', 'click'))])"
    listed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert json.loads(listed.replace("'", '"')) == []


def test_the_console_script_reports_an_interrupted_pipe_quietly(onnx: Path) -> None:
    script = Path(sys.executable).with_name("klever")
    ended = subprocess.run(
        ["sh", "-c", f"{script} inspect {onnx} --json | true"], capture_output=True, text=True, timeout=60
    )
    assert ended.stderr == ""
