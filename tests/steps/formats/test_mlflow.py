"""MLflow: the signature that ``MLmodel`` declares, in every form that MLflow has written."""

import json
from typing import Any

import pytest

from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence, Reading
from klever.steps.formats.mlflow import FORMAT

FLAVORS = "flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n    model_path: model.pkl\n  sklearn: {}\n"


def read(text: str, **others: bytes) -> Reading:
    files = MemoryFiles({"MLmodel": text.encode(), "model.pkl": b"", **others})
    return FORMAT.read(files, Claim(Evidence.CONTENT, ("MLmodel",)), None)


def read_inputs(*specs: dict[str, Any]) -> list[dict[str, Any]]:
    text = f"{FLAVORS}signature:\n  inputs: {json.dumps(json.dumps(specs))}\n  outputs: null\n"
    inputs: list[dict[str, Any]] = read(text).signature.to_json()["inputs"]
    return inputs


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("boolean", "bool"),
        ("integer", "int32"),
        ("long", "int64"),
        ("float", "float32"),
        ("double", "float64"),
        ("string", "object"),
        ("binary", "object"),
        ("datetime", "datetime64[ns]"),
    ],
)
def test_columns_have_numpys_names(name: str, dtype: str) -> None:
    assert read_inputs({"name": "c", "type": name}) == [{"name": "c", "dType": dtype, "size": [-1]}]


def test_arrays_add_dimensions_and_structures_are_objects() -> None:
    array = {"type": "array", "items": {"type": "array", "items": {"type": "float"}}}
    record = {"type": "object", "properties": {"p": {"type": "double"}}}
    assert read_inputs(
        {"name": "a", **array},
        {"name": "o", **record},
        {"name": "m", "type": "map", "values": {"type": "string"}},
        {"name": "v", "type": "sparkml_vector"},
        {"name": "?", "type": "any"},
    ) == [
        {"name": "a", "dType": "float32", "size": [-1, -1, -1]},
        {"name": "o", "dType": "object", "size": [-1]},
        {"name": "m", "dType": "object", "size": [-1]},
        {"name": "v", "dType": "float64", "size": [-1, -1]},
        {"name": "?", "size": [-1]},
    ]


def test_tensors_keep_their_shapes_and_unnamed_ones_get_mlservers_names() -> None:
    assert read_inputs(
        {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 28, 28]}},
        {"name": "s", "type": "tensor", "tensor-spec": {"dtype": "<U5", "shape": [3]}},
    ) == [
        {"name": "input-0", "dType": "float32", "size": [-1, 28, 28]},
        {"name": "s", "dType": "object", "size": [3]},
    ]


def test_optional_columns_say_so() -> None:
    assert read_inputs({"name": "c", "type": "long", "required": False})[0]["description"] == "optional"


def test_flavors_are_facts_and_the_framework_stays() -> None:
    reading = read(f"{FLAVORS}mlflow_version: 2.9.1\n")
    assert reading.framework is None
    assert reading.facts == {"flavors": ["python_function", "sklearn"], "mlflowVersion": "2.9.1"}


def test_a_model_without_signature_or_without_its_files_is_noted() -> None:
    assert "no signature" in read(FLAVORS).notes[0]
    assert "gone" in read(FLAVORS.replace("model.pkl", "gone/model.pkl")).notes[1]


@pytest.mark.parametrize("path", ["MLmodel", "model/MLmodel"])
def test_only_the_root_is_claimed(path: str) -> None:
    claim = FORMAT.claim(MemoryFiles({path: FLAVORS.encode(), "model.pkl": b"\x80\x04."}))
    assert (claim.files if claim else None) == (("MLmodel",) if path == "MLmodel" else None)


def test_a_file_of_that_name_that_says_nothing_is_a_weak_claim() -> None:
    claim = FORMAT.claim(MemoryFiles({"MLmodel": b"fla"}))
    assert claim is not None
    assert claim.evidence is Evidence.NAME
    assert FORMAT.claim(MemoryFiles({"MLmodel": b"\x80\x04\0\0"})) is None


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", MalformedModelError, "not a map"),
        ("a: b\n", MalformedModelError, "no flavors"),
        (f"{FLAVORS}signature: 3\n", MalformedModelError, "not a map"),
        (f"{FLAVORS}signature: {{inputs: '[{{'}}\n", MalformedModelError, "not JSON"),
        (f"{FLAVORS}signature: {{inputs: '{'[' * 100_000}'}}\n", MalformedModelError, "not JSON"),
        (f"{FLAVORS}signature: {{inputs: '{{}}'}}\n", MalformedModelError, "not a list"),
        (f"{FLAVORS}signature: {{inputs: '[3]'}}\n", MalformedModelError, "not a map"),
        (f'{FLAVORS}signature: {{inputs: \'[{{"type": "tensor"}}]\'}}\n', MalformedModelError, "no dtype"),
        (f"{FLAVORS}signature: {{inputs: '[{'{},' * 20_001}{{}}]'}}\n", LimitExceededError, "more than"),
        ("flavors: &a {b: c}\nsignature: *a\n", MalformedModelError, "alias"),
        (FLAVORS + "#" * (3 << 20), LimitExceededError, "larger"),
    ],
)
def test_what_is_no_declaration_is_refused_in_a_sentence(text: str, error: type[ModelError], words: str) -> None:
    with pytest.raises(error, match=words):
        read(text)


@pytest.mark.parametrize("shape", [[-2], [1.5], "x", [True], [1] * 65])
def test_impossible_shapes_are_refused(shape: object) -> None:
    with pytest.raises(MalformedModelError):
        read_inputs({"type": "tensor", "tensor-spec": {"dtype": "int8", "shape": shape}})
