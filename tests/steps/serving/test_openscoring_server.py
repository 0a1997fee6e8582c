"""The server of PMML as ``images/serve-openscoring`` builds it: the models' own oracles through HTTP, and hostile documents.

It is built by ``mvn -q package`` in that directory, or elsewhere with ``KLEVER_OPENSCORING`` naming the directory that
has ``bin/serve-openscoring``. Without it or Java these tests are skipped, but not in a CI run.
"""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import urllib3
from corpus import corpus
from registries import free_port

from klever.steps.extract import extract
from klever.steps.model.signature import Signature
from klever.steps.recognise import recognise
from klever.steps.serving.openscoring import build_request, check_reply, example_arguments, model_path, parse_reply
from klever.steps.serving.servers.interface import Tuning
from klever.steps.serving.servers.openscoring import SERVER
from klever.steps.serving.v2 import ReplyError

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "tests" / "models" / "PMML"
HOME = Path(os.environ.get("KLEVER_OPENSCORING") or ROOT / "images" / "serve-openscoring" / "target/serve-openscoring")
#: A JVM on a busy machine.
STARTED_SECONDS = 60.0
GOOD = [path for path in sorted(MODELS.iterdir()) if not path.name.startswith("bad_")]
#: Documents whose own prediction breaks what they declare, and what the evaluator answers.
CONTRADICTORY = {
    # A neural network's real number for a field of the type integer.
    "knime_4_1": "Expected integer value, got double value",
    # The first segment predicts no field, the model as a whole does.
    "select_first": "the output 'y' is lacking; got '_default'",
}
CONSISTENT = [case for case in GOOD if case.name not in CONTRADICTORY]
WITH_ORACLE = [path for path in corpus("PMML") if not path.name.startswith("bad_")]

pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and (not (HOME / "serve-openscoring.jar").is_file() or shutil.which("java") is None),
    reason="needs java and the server: mvn -q package in images/serve-openscoring",
)


@dataclass(frozen=True)
class Running:
    url: str
    process: "subprocess.Popen[bytes]"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        answer = urllib3.request(method, f"{self.url}{path}", body=body, timeout=60.0, retries=False)
        return answer.status, json.loads(answer.data)

    def post(self, name: str, document: object) -> Any:
        return self.ask("POST", model_path(name), json.dumps(document).encode())[1]


def command(directory: Path, name: str, port: int) -> list[str]:
    """The command of the server's module, as a platform fills it in."""
    known = {"{host}": "127.0.0.1", "{http}": str(port), "{directory}/{name}": str(directory)}
    program, *arguments = SERVER.process(name, Tuning()).command
    return [str(HOME / "bin" / program), *(known.get(each, each) for each in arguments)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server of all good models, each under its case's name."""
    directory = tmp_path_factory.mktemp("pmml")
    for case in [*GOOD, *WITH_ORACLE]:
        shutil.copy(next((case / "model").glob("*.pmml")), directory / f"{case.name}.pmml")
    port = free_port()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command(directory, "it", port), stdout=log, stderr=log)
    try:
        started = Running(f"http://127.0.0.1:{port}", process)
        wait_until_it_answers(started, model_path(GOOD[0].name), directory / "log")
        yield started
    finally:
        process.kill()
        process.wait()


def wait_until_it_answers(started: Running, path: str, log: Path) -> None:
    deadline = time.monotonic() + STARTED_SECONDS
    while time.monotonic() < deadline and started.process.poll() is None:
        try:
            if started.ask("GET", path)[0] == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def signature_of(case: Path) -> Signature:
    found = extract(recognise(case / "model")).metadata.signature
    assert found is not None
    return found


@pytest.mark.corpus
@pytest.mark.parametrize("case", WITH_ORACLE, ids=lambda case: str(case.name))
def test_predictions_equal_the_oracle_field_by_field(case: Path, running: Running) -> None:
    with np.load(case / "oracle" / "inputs.npz") as inputs, np.load(case / "oracle" / "outputs.npz") as outputs:
        given = {name: inputs[name].tolist() for name in inputs.files}
        expected = {name: outputs[name].tolist() for name in outputs.files}
    for row in range(len(next(iter(given.values())))):
        reply = running.post(case.name, build_request({name: values[row] for name, values in given.items()}))
        assert parse_reply(reply) == {name: values[row] for name, values in expected.items()}


@pytest.mark.parametrize("case", CONSISTENT, ids=lambda case: str(case.name))
def test_an_example_made_from_the_signature_is_answered_as_the_signature_says(case: Path, running: Running) -> None:
    signature = signature_of(case)
    for seed in range(3):
        request = build_request(example_arguments(signature, seed=seed), id=f"example-{seed}")
        reply = running.post(case.name, request)
        check_reply(parse_reply(reply), signature)
        assert reply["id"] == f"example-{seed}"


@pytest.mark.parametrize("name", CONTRADICTORY)
def test_a_prediction_that_breaks_the_documents_own_declaration_is_told(name: str, running: Running) -> None:
    signature = signature_of(MODELS / name)
    with pytest.raises(ReplyError, match=CONTRADICTORY[name]):
        check_reply(parse_reply(running.post(name, build_request(example_arguments(signature)))), signature)


@pytest.mark.parametrize("case", GOOD, ids=lambda case: str(case.name))
def test_the_schema_names_the_inputs_of_the_signature(case: Path, running: Running) -> None:
    status, told = running.ask("GET", model_path(case.name))
    assert (status, told["id"]) == (200, case.name)
    expected = {(tensor.name, tensor.dtype) for tensor in signature_of(case).inputs or ()}
    assert {(field["id"], field["dataType"]) for field in told["schema"]["inputFields"]} <= expected


def test_all_models_are_listed(running: Running) -> None:
    status, told = running.ask("GET", "/openscoring/model")
    assert status == 200
    assert {each["id"] for each in told["responses"]} == {case.name for case in [*GOOD, *WITH_ORACLE]}


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "no JSON object"),
        (b"null", 400, "no JSON object"),
        (b"[]", 400, "no JSON object"),
        (b"{}", 400, "arguments"),
        (b'{"arguments": [1]}', 400, "arguments"),
        (b'{"arguments": {"sl": "much", "col": "blue", "n": 1, "sw": 1}}', 400, "much"),
        (b"[" * 100_000, 400, "no JSON object"),
        (b'{"arguments": "' + b"a" * (17 << 20) + b'"}', 413, "at most"),
    ],
    ids=["cut", "null", "list", "empty", "no-arguments", "wrong-type", "deep", "large"],
)
def test_a_request_that_is_none_is_refused_in_a_sentence(body: bytes, status: int, said: str, running: Running) -> None:
    answered, told = running.ask("POST", model_path("pipeline"), body)
    assert answered == status
    assert said in told["message"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_model_cannot_be_changed(method: str, running: Running) -> None:
    # Large enough for the client to be at it still when the answer comes.
    for body in (b"<PMML/>", b"<PMML/>" * 300_000):
        for _ in range(5):
            assert running.ask(method, model_path("pipeline"), body)[0] == 405
    assert running.ask("GET", model_path("pipeline"))[0] == 200


@pytest.mark.parametrize("path", ["/", model_path("other"), model_path("pipeline/x"), model_path("../../etc/passwd")])
def test_what_is_not_there_is_not_found(path: str, running: Running) -> None:
    assert running.ask("GET", path)[0] == 404


@pytest.mark.parametrize("name", ["bad_xxe", "bad_laughs", "bad_cut_short"])
def test_a_hostile_or_broken_document_stops_the_start_with_a_sentence(name: str, tmp_path: Path) -> None:
    shutil.copy(MODELS / name / "model" / "model.pmml", tmp_path / "it.pmml")
    done = subprocess.run(command(tmp_path, "it", free_port()), capture_output=True, timeout=STARTED_SECONDS)
    last = done.stderr.decode().strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"{tmp_path}/it.pmml: SAXParseException: ")


def test_a_directory_without_models_stops_the_start(tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path, "it", free_port()), capture_output=True, timeout=STARTED_SECONDS)
    assert done.returncode == 1
    assert b"holds no file *.pmml" in done.stderr
