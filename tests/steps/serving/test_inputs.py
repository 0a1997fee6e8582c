"""Inputs that a person gives."""

from typing import Any

import numpy as np
import pytest

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.inputs import parse_inputs, values_of_arrays
from klever.steps.serving.v2 import Values

SIGNATURE = Signature(
    inputs=(
        Tensor(name="x", dtype="float32", shape=(-1, 2)),
        Tensor(name="word", dtype="object", shape=(-1,)),
        Tensor(name="rate", dtype="float64", shape=()),
    )
)


def test_nested_lists_have_the_types_of_the_signature_and_their_own_shapes() -> None:
    assert parse_inputs({"x": [[1, 2], [3, 4]], "word": ["a", "b"], "rate": 0.5}, SIGNATURE) == [
        Values("x", "FP32", (2, 2), [1, 2, 3, 4]),
        Values("word", "BYTES", (2,), ["a", "b"]),
        Values("rate", "FP64", (), [0.5]),
    ]


@pytest.mark.parametrize("data", [[1, 2], [[1, 2]]])
def test_a_request_is_taken_as_it_is(data: list[Any]) -> None:
    request = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": data}]}
    assert parse_inputs(request, SIGNATURE) == [Values("x", "FP32", (1, 2), [1, 2])]


def test_an_input_that_is_called_inputs_is_no_request() -> None:
    signature = Signature(inputs=(Tensor(name="inputs", dtype="int64", shape=(-1,)),))
    assert parse_inputs({"inputs": [1, 2]}, signature) == [Values("inputs", "INT64", (2,), [1, 2])]


@pytest.mark.parametrize(
    ("value", "datatype"), [([True], "BOOL"), ([1, 2], "INT64"), ([1, 0.5], "FP32"), (["a"], "BYTES"), ([], "BOOL")]
)
def test_a_type_that_the_signature_does_not_tell_is_that_of_the_values(value: list[Any], datatype: str) -> None:
    (given,) = parse_inputs({"x": value}, Signature())
    assert given.datatype == datatype


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([[1, 2]], "no JSON object"),
        ({"z": [1]}, "the model has no input 'z'"),
        ({"x": [[1, 2], [3]]}, "lists of different lengths"),
        ({"x": [[1, 2], 3]}, "lists of different lengths"),
        ({"x": [[1, None]]}, "neither number nor text"),
        ({"inputs": [{"name": "x"}]}, "has not name, shape, datatype and data"),
        ({"inputs": [{"name": "x", "shape": [-1], "datatype": "FP32", "data": []}]}, "no list of sizes"),
    ],
)
def test_what_is_no_input_is_told(document: object, said: str) -> None:
    with pytest.raises(ServingError, match=said):
        parse_inputs(document, SIGNATURE)


def test_arrays_have_the_types_that_they_have() -> None:
    arrays = {
        "x": np.array([[1.5, 2.5]], dtype=np.float32),
        "word": np.array([b"a", b"b"], dtype="S1"),
        "rate": np.array(0.5),
    }
    assert values_of_arrays(arrays, SIGNATURE) == [
        Values("x", "FP32", (1, 2), [1.5, 2.5]),
        Values("word", "BYTES", (2,), ["a", "b"]),
        Values("rate", "FP64", (), [0.5]),
    ]


def test_arrays_of_a_type_that_the_protocol_has_not_are_refused() -> None:
    with pytest.raises(ServingError, match="complex128"):
        values_of_arrays({"x": np.zeros(2, dtype=complex)}, SIGNATURE)
