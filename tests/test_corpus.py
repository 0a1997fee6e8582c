"""Every model of the larger corpus and samples, against what the original frameworks computed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from corpus import SHARED

from klever.steps.errors import KleverError, ModelError
from klever.steps.inspect import inspect_path

pytestmark = pytest.mark.corpus

PACKAGES = sorted(path.parent for path in SHARED.glob("corpus/*/*/ormbfile.yaml"))
SAMPLES = sorted(path.parent for path in SHARED.glob("samples/*/*/ormbfile.yaml"))
GOOD = [package for package in PACKAGES if not package.name.startswith("bad_")]

#: These are read safely; all other ``bad_*`` are refused.
READ_SAFELY = {"bad_lambda_tf211"}
#: Auxiliary outputs that the NetDef names but its own runtime does not produce.
NOT_PRODUCED = {"_fc6_d_mask"}
#: What these files do not tell, by definition of their format or on purpose.
NO_OUTPUT_SHAPE = {"TorchScript"}
#: Names that Keras 3 counts up in a process and does not save; a loaded model has its layers' names instead.
AUTOMATIC = re.compile(r"keras_tensor(_\d+)?")
UNKNOWN_RANK = {"GraphDef/unknown_rank_placeholder"}


def package_id(package: Path) -> str:
    return f"{package.parent.name}/{package.name}"


def test_the_corpus_is_complete(shared: Path) -> None:
    assert len(PACKAGES) >= 70
    assert len(SAMPLES) >= 15


@pytest.mark.parametrize("package", GOOD, ids=package_id)
def test_names_types_and_shapes_agree_with_the_framework(package: Path, shared: Path) -> None:
    oracle = json.loads((package / "oracle" / "meta.json").read_text())
    signature = inspect_path(package).to_json()["signature"]
    assert signature["layers"]
    if package.parent.name == "PMML":
        check_fields(signature, oracle)
        return
    for kind in ("inputs", "outputs"):
        tensors = {tensor["name"]: tensor for tensor in signature[kind] if tensor["name"] not in NOT_PRODUCED}
        expected = oracle[kind]
        if all(AUTOMATIC.fullmatch(name) for name in expected):
            expected = dict(zip(tensors, expected.values(), strict=True))
        assert set(tensors) == set(expected), kind
        for name, (shape, dtype) in expected.items():
            check_tensor(package, kind, tensors[name], shape, dtype)


def check_fields(signature: dict[str, Any], oracle: dict[str, Any]) -> None:
    """Hold the fields of a PMML against those that the JPMML evaluator found active."""
    inputs = [[field["name"], field["dType"], field["opType"]] for field in signature["inputs"]]
    assert sorted(inputs) == sorted(oracle["inputFields"])
    outputs = [[field["name"], field["dType"]] for field in signature["outputs"]]
    assert sorted(outputs) == sorted(oracle["targetFields"] + oracle["outputFields"])


def check_tensor(package: Path, kind: str, tensor: dict[str, Any], shape: list[int], dtype: str) -> None:
    """Hold a tensor of ours against a run of the framework, whose sizes are all concrete."""
    untold = kind == "outputs" and package.parent.name in NO_OUTPUT_SHAPE
    if "dType" in tensor or not untold:
        assert tensor["dType"] == ("object" if dtype.startswith("<U") else dtype)
    if tensor.get("size") is None:
        assert untold or package_id(package) in UNKNOWN_RANK, f"{kind} {tensor['name']} has no shape"
        return
    assert len(tensor["size"]) == len(shape)
    assert all(ours in (-1, theirs) for ours, theirs in zip(tensor["size"], shape, strict=True)), tensor


@pytest.mark.parametrize("package", [p for p in PACKAGES if p.name.startswith("bad_")], ids=package_id)
def test_a_bad_model_is_refused_or_read_without_running_it(package: Path, shared: Path, tmp_path: Path) -> None:
    traces = [Path("/tmp/PWNED_H5"), Path("/tmp/PWNED_PT")]
    assert not any(trace.exists() for trace in traces)
    if package.name in READ_SAFELY:
        assert any("lambda" in note.lower() for note in inspect_path(package).notes)
    else:
        with pytest.raises(ModelError):
            inspect_path(package)
    assert not any(trace.exists() for trace in traces)


@pytest.mark.parametrize("package", SAMPLES, ids=package_id)
def test_a_sample_of_the_original_tools_is_read(package: Path, shared: Path) -> None:
    document = inspect_path(package).to_json()
    assert document["format"] in (package / "ormbfile.yaml").read_text()
    assert document["size"] > 0


@pytest.mark.parametrize("package", GOOD, ids=package_id)
def test_a_model_is_recognised_without_its_ormbfile(package: Path, shared: Path) -> None:
    try:
        found = inspect_path(package / "model").metadata.format
    except KleverError as error:
        pytest.fail(str(error))
    assert found == package.parent.name
