"""Requests and replies of the Open Inference Protocol."""

import json
from typing import Any

import pytest

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.v2 import ReplyError, Values, build_request, check_reply, example_inputs, parse_reply


def tensor(name: str = "x", dtype: str | None = "float32", shape: tuple[int, ...] | None = (-1, 3)) -> Tensor:
    return Tensor(name=name, dtype=dtype, shape=shape)


def reply(**changes: Any) -> dict[str, Any]:
    output = {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]} | changes
    return {"model_name": "net", "outputs": [output]}


def test_a_request_is_what_the_protocol_says() -> None:
    values = [Values("x", "FP32", (1, 2), [0.5, 1.5]), Values("word", "BYTES", (1,), ["hello"])]
    assert json.loads(json.dumps(build_request(values, ["y"]))) == {
        "inputs": [
            {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [0.5, 1.5]},
            {"name": "word", "shape": [1], "datatype": "BYTES", "data": ["hello"]},
        ],
        "outputs": [{"name": "y"}],
    }
    assert "outputs" not in build_request(values)


@pytest.mark.parametrize("data", [[0.5, 1.5], [[0.5, 1.5]], [[[0.5], [1.5]]]])
def test_values_of_a_reply_are_flat_however_they_were_nested(data: list[Any]) -> None:
    assert parse_reply(reply(data=data)) == [Values("y", "FP32", (1, 2), [0.5, 1.5])]


def test_a_scalar_has_one_value() -> None:
    assert parse_reply(reply(shape=[], data=[2.0])) == [Values("y", "FP32", (), [2.0])]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"error": "no model net"}, "the server answers: no model net"),
        ([], "no list of outputs"),
        ({"outputs": "y"}, "no list of outputs"),
        ({"outputs": ["y"]}, "an output that is no object"),
        (reply(data="0.5"), "without a list of data"),
        (reply(data=[0.5]), "has 1 values, expected 2"),
        (reply(shape=[-1, 2]), "a shape that is none"),
        (reply(shape=None), "without name, datatype or shape"),
        (reply(name=3), "without name, datatype or shape"),
    ],
)
def test_what_is_no_reply_is_told(document: object, said: str) -> None:
    with pytest.raises(ReplyError, match=said):
        parse_reply(document)


@pytest.mark.parametrize(
    ("promised", "said"),
    [
        (tensor("z"), "the output 'z' is lacking; got 'y'"),
        (tensor("y", "int64"), "is FP32, expected INT64"),
        (tensor("y", shape=(-1, 3)), r"has the shape \[1, 2\], expected \[-1, 3\]"),
        (tensor("y", shape=(2,)), r"has the shape \[1, 2\], expected \[2\]"),
    ],
)
def test_a_reply_that_the_signature_does_not_promise_is_refused(promised: Tensor, said: str) -> None:
    with pytest.raises(ReplyError, match=said):
        check_reply(parse_reply(reply()), Signature(outputs=(promised,)))


def test_what_is_not_a_number_is_refused() -> None:
    with pytest.raises(ReplyError, match="NaN"):
        check_reply(parse_reply(reply(data=[0.5, float("nan")])), Signature(outputs=(tensor("y", shape=(-1, 2)),)))


@pytest.mark.parametrize(
    "promised", [tensor("y", shape=(-1, 2)), tensor("y", None, None), tensor("y", "float32", (1, 2))]
)
def test_a_reply_that_fits_is_taken(promised: Tensor) -> None:
    check_reply(parse_reply(reply()), Signature(outputs=(promised,)))


def test_an_example_has_every_input_with_dynamic_sizes_filled() -> None:
    signature = Signature(
        inputs=(
            tensor("image", "float32", (-1, 3, -1)),
            tensor("mask", "bool", (2,)),
            tensor("ids", "int64", (-1, 4)),
            tensor("word", "object", (-1,)),
            tensor("rate", "float64", ()),
        )
    )
    inputs = example_inputs(signature, batch=2)
    assert [(each.name, each.datatype, each.shape, len(each.data)) for each in inputs] == [
        ("image", "FP32", (2, 3, 1), 6),
        ("mask", "BOOL", (2,), 2),
        ("ids", "INT64", (2, 4), 8),
        ("word", "BYTES", (2,), 2),
        ("rate", "FP64", (), 1),
    ]
    for each, kind in zip(inputs, (float, bool, int, str, float), strict=True):
        assert all(type(value) is kind for value in each.data)
    assert all(value in (0, 1) for value in inputs[2].data)


def test_an_example_is_the_same_each_time_and_another_with_another_seed() -> None:
    signature = Signature(inputs=(tensor(shape=(-1, 30)),))
    assert example_inputs(signature) == example_inputs(signature)
    assert example_inputs(signature) != example_inputs(signature, seed=1)


@pytest.mark.parametrize(
    ("unknown", "said"),
    [
        (tensor(dtype=None), "the type of the input 'x' is unknown"),
        (tensor(shape=None), "the shape of the input 'x' is unknown"),
        (tensor(shape=(1 << 40,)), "values"),
    ],
)
def test_an_example_is_not_guessed(unknown: Tensor, said: str) -> None:
    with pytest.raises(ServingError, match=said):
        example_inputs(Signature(inputs=(unknown,)))
