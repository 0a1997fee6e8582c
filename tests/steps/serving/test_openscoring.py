"""What OpenScoring's server finds in its directory, what it is asked, and what its answers may be."""

import json
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import ServingError
from klever.steps.extract import extract
from klever.steps.model.signature import Signature, Tensor
from klever.steps.recognise import recognise
from klever.steps.serving.openscoring import (
    Value,
    build_request,
    check_reply,
    example_arguments,
    model_path,
    parse_reply,
)
from klever.steps.serving.servers.interface import Protocol, ServedModel, Tuning
from klever.steps.serving.servers.openscoring import SERVER
from klever.steps.serving.v2 import ReplyError

MODELS = Path(__file__).parents[2] / "models"


def served(case: str, name: str = "it") -> ServedModel:
    """A model of the tests as a server gets it."""
    model = recognise(MODELS / case / "model")
    metadata = extract(model).metadata
    return ServedModel(name, model.format.id, model.files, model.claim, metadata.signature or Signature(), metadata)


def of_field(**facts: Any) -> Signature:
    return Signature(inputs=(Tensor(name="x", **facts),))


def promising(**facts: Any) -> Signature:
    return Signature(outputs=(Tensor(name="y", **facts),))


def test_the_document_lies_under_the_models_name() -> None:
    layout = SERVER.layout(served("PMML/pipeline", "species"), Tuning())
    assert layout.files == {"species.pmml": "model.pmml"}
    assert not layout.texts
    assert not layout.notes


def test_a_pmml_document_lacks_nothing() -> None:
    assert SERVER.lacks(served("PMML/pipeline")) == ()


def test_another_format_is_refused() -> None:
    with pytest.raises(ServingError, match="serves PMML, got ONNX"):
        SERVER.layout(served("ONNX/cnn_dynamic_dims"), Tuning())


def test_what_it_cannot_do_is_noted() -> None:
    notes = SERVER.layout(served("PMML/pipeline"), Tuning(max_batch=8, gpu=True)).notes
    assert len(notes) == 2


def test_both_probes_ask_for_the_model() -> None:
    process = SERVER.process("species", Tuning())
    assert process.protocol is Protocol.OPENSCORING
    assert process.live == process.ready == "/openscoring/model/species" == model_path("species")
    assert process.ports == {"http": 8080}
    assert "{directory}/{name}" in process.command


def test_a_request_without_an_id_has_none() -> None:
    assert build_request({"x": None}) == {"arguments": {"x": None}}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_has_not_is_refused(value: float) -> None:
    with pytest.raises(ServingError, match="which JSON has not"):
        build_request({"x": value})


def test_the_answer_of_openscoring_1_is_understood() -> None:
    assert parse_reply({"id": "1", "result": {"y": 2.5}}) == {"y": 2.5}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"message": "ValueCheckException: Field x cannot accept value 'a'"}, "cannot accept value"),
        ({"id": "1"}, "no results"),
        ({"results": [1]}, "no results"),
        ([], "no JSON object"),
    ],
)
def test_an_answer_that_is_none_is_told(document: object, said: str) -> None:
    with pytest.raises(ReplyError, match=said):
        parse_reply(document)


@pytest.mark.parametrize(
    ("signature", "results", "said"),
    [
        (promising(dtype="double"), {"z": 1.0}, "'y' is lacking; got 'z'"),
        (promising(dtype="double"), {"y": "a"}, "str, expected double"),
        (promising(dtype="double"), {"y": True}, "bool, expected double"),
        (promising(dtype="double"), {"y": "NaN"}, "not a number"),
        (promising(dtype="string"), {"y": 1}, "int, expected string"),
        (promising(dtype="boolean"), {"y": 1}, "int, expected boolean"),
        (promising(dtype="string", op_type="categorical", values=("a", "b")), {"y": "c"}, "none of its values"),
    ],
)
def test_an_answer_that_breaks_the_signatures_promise_is_told(
    signature: Signature, results: dict[str, Any], said: str
) -> None:
    with pytest.raises(ReplyError, match=said):
        check_reply(results, signature)


@pytest.mark.parametrize(
    ("signature", "results"),
    [
        (promising(dtype="double"), {"y": 1, "z": 2}),
        (promising(dtype="double"), {"y": None}),
        (promising(dtype="integer", op_type="categorical", values=("1", "2")), {"y": 2}),
        (promising(), {"y": [1]}),
    ],
)
def test_an_answer_that_keeps_the_promise_passes(signature: Signature, results: dict[str, Any]) -> None:
    check_reply(results, signature)


@pytest.mark.parametrize(
    ("facts", "allowed"),
    [
        ({"dtype": "string", "op_type": "categorical", "values": ("red", "blue")}, {"red", "blue"}),
        ({"dtype": "integer", "op_type": "categorical", "values": ("1", "2")}, {1, 2}),
        ({"dtype": "boolean", "op_type": "categorical", "values": ("true", "false")}, {True, False}),
        ({"dtype": "boolean"}, {True, False}),
        ({"dtype": "integer", "op_type": "continuous"}, {0, 1}),
        ({"dtype": "integer", "op_type": "continuous", "values": ("[3, 4)",)}, {3}),
        ({"dtype": "integer", "op_type": "continuous", "values": ("(3, 4]",)}, {4}),
        ({"dtype": "integer", "op_type": "continuous", "values": ("(5, ∞)",)}, {6}),
        ({"dtype": "date"}, {"2020-02-03"}),
        ({"dtype": "dateDaysSince[1970]"}, {0, 1}),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_an_example_is_one_of_a_fields_values(facts: dict[str, Any], allowed: set[Value], seed: int) -> None:
    value = example_arguments(of_field(**facts), seed=seed)["x"]
    assert value in allowed
    assert type(value) in {type(each) for each in allowed}


@pytest.mark.parametrize(
    ("interval", "low", "high"),
    [("[4.3, 7.9]", 4.3, 7.9), ("(-∞, 5)", -1e9, 5), ("(5, ∞)", 5, 1e9), ("(-∞, ∞)", -1e9, 1e9), ("[2, 2]", 2, 2)],
)
@pytest.mark.parametrize("seed", range(5))
def test_an_example_lies_within_a_fields_interval(interval: str, low: float, high: float, seed: int) -> None:
    signature = of_field(dtype="double", op_type="continuous", values=(interval,))
    value = example_arguments(signature, seed=seed)["x"]
    assert isinstance(value, float)
    assert low <= value <= high


def test_a_category_that_looks_like_an_interval_is_taken_as_it_is() -> None:
    signature = of_field(dtype="string", op_type="categorical", values=("(1, 2]",))
    assert example_arguments(signature) == {"x": "(1, 2]"}


def test_the_same_seed_gives_the_same_example() -> None:
    signature = served("PMML/pipeline").signature
    assert example_arguments(signature, seed=3) == example_arguments(signature, seed=3)
    assert len({json.dumps(example_arguments(signature, seed=seed)) for seed in range(5)}) > 1
