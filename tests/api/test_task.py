"""``klever-task``: the contract with the templates, values that look like something else, and how it tells of failures."""

import importlib
import json
from pathlib import Path

import foreign
import pytest

from klever.api.task.contract import VERBS
from klever.api.task.places import parse_place
from klever.api.task.run import help_text
from klever.api.task.telling import Progress, message_of, tell_failure
from klever.steps.errors import InvalidReferenceError, NotFoundError, PermanentError
from klever.steps.oci.reference import parse_reference
from klever.steps.stores import Stores

from .conftest import Task

NASTY = ["--force", "{{workflow.name}}", "$(id)", "a'b", 'a"b', "a\nb", "a;b", "../x", "-", "\u202e", "x" * 5000]


def test_every_verb_has_its_module() -> None:
    for verb in VERBS:
        assert callable(importlib.import_module(f"klever.api.task.verbs.{verb}").run)


def test_the_help_names_every_input_and_output() -> None:
    text = help_text()
    for verb in VERBS.values():
        assert all(f"--{each.name}=" in text for each in verb.inputs)
        assert all(f"  {name}  <-" in text for name in verb.outputs)


def test_every_output_is_written_also_where_there_is_nothing(task: Task, home: Path, models: Path) -> None:
    stores = Stores(home=home)
    foreign.put(parse_reference("net:v1"), stores, models / "ONNX" / "cnn_dynamic_dims" / "model")
    done = task("extract", model="net:v1")
    assert done.code == 0
    assert set(done.outputs) == set(VERBS["extract"].outputs)
    assert done.outputs["note"] == ""
    assert done.outputs["changed"] == done.outputs["moved"] == "true"
    assert done.outputs["signature"].startswith("x float32[-1, 3, -1, -1] -> prob float32[-1, 5]; Conv 1")
    assert done.outputs["reference"] == f"net:v1@{done.outputs['digest']}"
    assert not any(value.endswith("\n") for value in done.outputs.values())
    assert task("extract", model=done.outputs["reference"]).outputs["changed"] == "false"


def test_a_failure_writes_one_line_and_no_output(task: Task) -> None:
    done = task("extract", model="nothing/here:v1")
    assert (done.code, done.outputs) == (1, {})
    assert done.message == "pull: there is no nothing/here:v1 in this machine's store; next: see klever models"
    assert done.message in done.log


@pytest.mark.parametrize("value", NASTY)
@pytest.mark.parametrize("name", ["model", "format"])
def test_a_value_that_looks_like_something_else_is_a_value_that_is_refused(task: Task, name: str, value: str) -> None:
    values = {"model": "net:v1", "format": "ONNX", name: value}
    done = task("extract", **values)
    assert done.code == 1
    assert done.outputs == {}
    assert done.message.count("\n") == 0
    assert len(done.message.encode()) <= 1500
    assert done.message.split(":")[0] in ("reference", "extract")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("opset", "17; rm"), ("opset", "99"), ("opset", "-1"), ("opset", "\uff11\uff17"), ("batch", "0"), ("batch", "many"),
        ("seed", "4294967296"), ("require", "proven"), ("dtype", "float64"), ("shapes", "{"), ("shapes", "[]"),
        ("shapes", '{"x": [1.5]}'), ("shapes", '{"x": [true]}'), ("shapes", '{"x": [-2]}'), ("shapes", '{"x": 3}'),
        ("shapes", "[" * 100_000), ("shapes", '{"x": [1], "x": [2]}'), ("image", "prove-onnx"),
        ("image", "no-such-environment=steps"),
    ],
)  # fmt: skip
def test_an_option_that_breaks_its_grammar_is_refused_by_name(task: Task, name: str, value: str) -> None:
    done = task("plan", model="net:v1", to="ONNX", **{name: value})
    assert done.code == 2
    assert f" for {name}, " in done.message
    assert done.message.startswith("plan: got ")


def test_what_no_template_writes_is_wrong_usage(task: Task) -> None:
    for arguments in (["--model"], ["model=x"], ["net:v1"], ["--nonsense=1"], ["--model=a", "--model=b"]):
        assert task("extract", *arguments).code == 2
    assert task("remove", model="net:v1").code == 2
    assert "extract needs --model" in task("extract", model="").message


def test_bytes_that_are_no_text_are_refused(task: Task) -> None:
    assert task("extract", model="net\udcff:v1").code == 2


def test_a_message_is_cut_in_its_cause_and_keeps_the_next_step() -> None:
    error = NotFoundError("ä" * 3000, stage="pull", next_step="look elsewhere")
    message = message_of(error, "extract")
    assert len(message.encode()) <= 1500
    assert message.endswith("...; next: look elsewhere")


def test_control_characters_do_not_reach_a_terminal_or_a_message() -> None:
    message = message_of(PermanentError("red \x1b[31m\nline", stage="read"), "extract")
    assert message == "read: red \\x1b[31m\\nline"


def test_a_message_without_a_place_is_no_failure_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tell_failure("push: gone", {"KLEVER_MESSAGE_FILE": str(tmp_path / "none" / "file")})
    assert capsys.readouterr().err == "klever-task: push: gone\n"


def test_progress_goes_forward_and_is_what_argo_reads(tmp_path: Path) -> None:
    path = tmp_path / "progress"
    progress = Progress({"ARGO_PROGRESS_FILE": str(path)})
    progress.report(0.25)
    assert path.read_text() == "25/100\n"
    progress.report(0.5)
    assert path.read_text() == "25/100\n", "more than one write a second"
    progress.report(1.0)
    progress.report(0.5)
    assert path.read_text() == "100/100\n"


def test_outputs_that_cannot_be_written_are_a_failure(task: Task, home: Path, onnx: Path, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file in the place of the directory")
    done = task("publish", source=str(onnx), as_="net:v1", allow=str(tmp_path))
    assert done.code in (1, 75)
    assert "cannot write the outputs" in done.message


def test_a_fault_of_our_own_is_told_as_one(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    from klever.api.task.verbs import gate

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(gate, "run", fail)
    done = task("gate", results=json.dumps(["net:v1"]))
    assert done.code == 1
    assert done.message.startswith("gate: a fault of Klever itself: ZeroDivisionError: oh")


@pytest.mark.parametrize("text", ["vision/net:v1", "oci:/etc:net:v1", "net"])
def test_in_a_pod_a_reference_names_a_registry(text: str) -> None:
    with pytest.raises(InvalidReferenceError, match="names no registry"):
        parse_place(text, {"ARGO_NODE_ID": "release-1"})
    assert parse_place("h.example/net:v1", {"ARGO_NODE_ID": "release-1"}).host == "h.example"
    # A local run inside of a pod has its own store.
    assert parse_place(text, {"ARGO_NODE_ID": "release-1", "KLEVER_MESSAGE_FILE": "/tmp/message"}).host == ""
