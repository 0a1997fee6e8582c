"""``klever deploy``, ``predict`` and ``serving`` on this machine, with the servers themselves."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from corpus import corpus

from klever.steps.artifact import load_artifact
from klever.steps.oci.reference import parse_reference
from klever.steps.stores import Stores

from .conftest import Klever

SERVED = pytest.mark.environment("serve-mlserver")


@pytest.fixture(autouse=True)
def nothing_left(klever: Klever) -> Iterator[None]:
    """No server outlives its test."""
    yield
    for serving in klever("serving", "list", "--json").document:
        klever("serving", "delete", serving["name"])
    assert klever("serving", "list", "--json").document == []


def publish(klever: Klever, path: Path, reference: str) -> None:
    done = klever("publish", path, reference)
    assert done.code == 0, done.err


@SERVED
@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("ONNX/cnn_dynamic_dims", "ONNX"),
        ("MXNetParams/mlp", "ONNX"),
        ("CaffeModel/tiny_v1", "ONNX"),
        ("NetDef/misc", "ONNX"),
        ("SKLearn/dt_1_9", "SKLearn"),
        ("XGBoost/json_3_softmax", "XGBoost"),
    ],
)
def test_a_model_predicts_when_it_is_deployed(klever: Klever, models: Path, model: str, form: str) -> None:
    publish(klever, models / model / "model", "vision/net:v1")
    done = klever("deploy", "--json", "vision/net:v1")
    assert done.code == 0, done.err
    document = done.document
    assert (document["name"], document["format"], document["server"]) == ("net", form, "mlserver")
    assert document["outputs"]
    for target in ("net", "vision/net:v1"):
        asked = klever("predict", target, "--random", "--json")
        assert asked.code == 0, asked.err
        assert [each["name"] for each in asked.document["outputs"]] == [each["name"] for each in document["outputs"]]


@SERVED
@pytest.mark.corpus
@pytest.mark.parametrize("form", ["ONNX", "MXNetParams", "CaffeModel", "NetDef"])
def test_predictions_are_those_of_the_framework(klever: Klever, form: str, tmp_path: Path) -> None:
    package = next(path for path in corpus(form) if not path.name.startswith("bad_"))
    publish(klever, package, "vision/net:v1")
    done = klever("deploy", "vision/net:v1")
    assert done.code == 0, done.err
    result = tmp_path / "outputs.npz"
    asked = klever("predict", "net", "--input", package / "oracle/inputs.npz", "--output", result)
    assert asked.code == 0, asked.err
    with np.load(package / "oracle/outputs.npz") as expected, np.load(result) as got:
        for name in expected.files:
            np.testing.assert_allclose(got[name], expected[name], rtol=1e-4, atol=1e-4)


@SERVED
def test_a_deployed_model_is_asked_by_json_and_by_its_own_lines(klever: Klever, models: Path, tmp_path: Path) -> None:
    publish(klever, models / "ONNX/cnn_dynamic_dims/model", "vision/net:v1")
    deployed = klever("deploy", "vision/net:v1")
    assert deployed.code == 0, deployed.err
    # What the command shows in the end is what a shell runs.
    lines = deployed.out.strip().splitlines()[-1]
    assert "prob" in subprocess.run(lines, shell=True, capture_output=True, text=True, check=True, timeout=60).stdout
    source = tmp_path / "input.json"
    source.write_text(json.dumps({"x": np.zeros((2, 3, 4, 4)).tolist()}))
    asked = klever("predict", "net", "--input", source, "--json")
    assert [each["shape"] for each in asked.document["outputs"]] == [[2, 5]]
    source.write_text(json.dumps({"y": [1.0]}))
    refused = klever("predict", "net", "--input", source)
    assert refused.code == 1
    assert "the model has no input 'y'" in refused.err


@SERVED
def test_a_name_that_is_taken_is_refused_until_it_is_to_be_replaced(klever: Klever, models: Path) -> None:
    publish(klever, models / "ONNX/cnn_dynamic_dims/model", "vision/net:v1")
    publish(klever, models / "SKLearn/dt_1_9/model", "vision/tree:v1")
    assert klever("deploy", "vision/net:v1").code == 0
    refused = klever("deploy", "vision/tree:v1", "--name", "net")
    assert refused.code == 1
    assert "net is served already" in refused.err
    assert klever("serving", "get", "net", "--json").document["state"] == "ready"
    assert klever("deploy", "vision/tree:v1", "--name", "net", "--replace").code == 0
    assert klever("serving", "get", "net", "--json").document["format"] == "SKLearn"


@SERVED
def test_a_serving_is_stopped_started_and_deleted(klever: Klever, models: Path) -> None:
    publish(klever, models / "ONNX/cnn_dynamic_dims/model", "vision/net:v1")
    assert klever("deploy", "vision/net:v1").code == 0
    assert "Uvicorn running" in klever("serving", "logs", "net").out
    assert klever("serving", "stop", "net").code == 0
    refused = klever("predict", "net", "--random")
    assert (refused.code, "net is stopped" in refused.err) == (1, True)
    assert klever("serving", "start", "net").code == 0
    assert klever("predict", "net", "--random").code == 0
    assert klever("serving", "delete", "net").code == 0
    missing = klever("predict", "net", "--random")
    assert "nothing is served as net" in missing.err


@SERVED
def test_a_model_that_cannot_be_fetched_leaves_nothing(klever: Klever, home: Path, models: Path) -> None:
    publish(klever, models / "ONNX/cnn_dynamic_dims/model", "vision/net:v1")
    reference = parse_reference("vision/net:v1")
    artifact = load_artifact(Stores(home=home).open(reference), reference)
    layer = home / "store/blobs/sha256" / artifact.manifest.layer.digest.removeprefix("sha256:")
    data = bytearray(layer.read_bytes())
    data[-20] ^= 1
    layer.chmod(0o644)
    layer.write_bytes(data)
    done = klever("deploy", "vision/net:v1")
    assert done.code != 0
    assert done.err.startswith("klever: ")
    assert list((home / "servings").glob("*")) == []


def test_without_its_environment_a_model_is_not_half_deployed(
    klever: Klever, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLEVER_ENVIRONMENTS", str(tmp_path / "environments"))
    publish(klever, models / "ONNX/cnn_dynamic_dims/model", "vision/net:v1")
    done = klever("deploy", "vision/net:v1")
    assert done.code == 1
    assert "klever environments create serve-mlserver" in done.err
    assert klever("serving", "list", "--json").document == []


def test_without_its_program_pmml_is_not_served(klever: Klever, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    publish(klever, models / "PMML/pipeline/model", "risk:v1")
    done = klever("deploy", "risk:v1")
    assert done.code == 1
    assert "serve-openscoring" in done.err
    assert "mvn -f images/serve-openscoring package" in done.err


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("MXNetParams/mlp", (), "ONNX on kubernetes: triton\nMXNetParams -> ONNX  exact, in process\n"),
        ("MXNetParams/mlp", ("--on", "local"), "ONNX on local: mlserver\nMXNetParams -> ONNX  exact, in process\n"),
        ("SKLearn/dt_1_9", ("--on", "seldon"), "SKLearn on seldon: mlserver\n"),
        ("SKLearn/dt_1_9", ("--server", "triton"), "ONNX on kubernetes: triton\nSKLearn -> ONNX  "),
        ("PMML/pipeline", ("--on", "kserve"), "PMML on kserve: openscoring\n"),
    ],
)
def test_a_plan_names_the_server_and_the_way_to_its_format(
    klever: Klever, models: Path, model: str, options: tuple[str, ...], said: str
) -> None:
    done = klever("plan", models / model / "model", "--serve", *options)
    assert done.code == 0, done.err
    assert done.out.startswith(said)


def test_a_plan_tells_what_a_server_takes_by_the_size_of_the_model(
    klever: Klever, models: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    shutil.copytree(models / "SKLearn/dt_1_9/model", large)
    (name,) = large.iterdir()
    plans = []
    for _ in range(2):
        plans.append(klever("plan", large, "--serve", "--json").document["resources"])
        with name.open("ab") as file:
            file.truncate(name.stat().st_size + (300 << 20))
    small, big = (int(plan["memory"].removesuffix("Mi")) for plan in plans)
    assert small >= 512
    assert big - small >= 600
    assert "of memory" in klever("plan", large, "--serve").out


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--serve", "--to", "ONNX"), 2, "either --to FORMAT or --serve"),
        ((), 2, "either --to FORMAT or --serve"),
        (("--to", "ONNX", "--server", "triton"), 2, "--on and --server go with --serve"),
        (("--serve", "--on", "nomad"), 1, "there is no platform 'nomad'"),
        (("--serve", "--server", "torchserve"), 1, "there is no server 'torchserve'"),
        (("--serve", "--on", "local", "--server", "triton"), 1, "triton does not run on local"),
        (("--serve", "--server", "openscoring"), 1, "openscoring does not take ONNX"),
    ],
)
def test_a_plan_that_cannot_be_made_is_told(
    klever: Klever, models: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    done = klever("plan", models / "ONNX/cnn_dynamic_dims/model", *options)
    assert done.code == code
    assert said in done.err
