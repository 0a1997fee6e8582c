"""Configurations against what the framework that wrote them says of the same models."""

import json
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.frameworks.keras import interpret, parse_config
from klever.steps.model.signature import Signature, Tensor

#: Models that Keras 2.3.1, tf.keras 1.15.5, tf_keras 2.21 and Keras 3.15.1 built: their configuration without
#: initializers, and the names, types and shapes of their symbolic inputs and outputs.
ORACLES: dict[str, Any] = json.loads((Path(__file__).parent / "oracles.json").read_text())


def functional(layers: list[dict[str, Any]], inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
    config = {"name": "model", "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": config}


def layer(class_name: str, name: str, *nodes: list[Any], **config: Any) -> dict[str, Any]:
    if class_name != "InputLayer":
        config.setdefault("trainable", True)
    return {"class_name": class_name, "name": name, "config": {"name": name, **config}, "inbound_nodes": list(nodes)}


def source(name: str, *shape: int | None, dtype: str = "float32") -> dict[str, Any]:
    return layer("InputLayer", name, batch_input_shape=list(shape), dtype=dtype)


def call(*names: str) -> list[Any]:
    return [[name, 0, 0, {}] for name in names]


def listed(tensors: tuple[Tensor, ...] | None) -> list[list[Any]]:
    return [[t.name, t.dtype, None if t.shape is None else list(t.shape)] for t in tensors or ()]


@pytest.mark.parametrize("case", ORACLES)
def test_the_signature_is_that_of_the_framework(case: str) -> None:
    oracle = ORACLES[case]
    signature = interpret(oracle["config"]).signature
    assert listed(signature.inputs) == oracle["inputs"]
    assert listed(signature.outputs) == oracle["outputs"]
    assert signature.layers == oracle["layers"]


def test_a_lambda_is_named_and_its_output_unknown() -> None:
    config = functional(
        [source("x", None, 4), layer("Lambda", "noise", call("x"), function=["gANjYnVpbHRpbnM=", None, None])],
        [["x", 0, 0]],
        [["noise", 0, 0]],
    )
    found = interpret(config)
    assert found.signature.outputs == (Tensor(name="noise"),)
    assert found.notes == ("holds code that runs when the model is loaded: Lambda layers noise",)


def test_a_lambda_inside_a_wrapper_of_a_nested_model_is_named() -> None:
    inner = {"class_name": "Lambda", "config": {"name": "deep", "trainable": True}}
    wrapper = {"class_name": "TimeDistributed", "config": {"name": "each", "trainable": True, "layer": inner}}
    nested = {"class_name": "Sequential", "config": {"name": "nested", "layers": [wrapper]}}
    config = {"class_name": "Sequential", "config": {"name": "outer", "layers": [nested]}}
    assert "Lambda layers deep" in interpret(config).notes[0]


def test_a_custom_layer_is_named_and_what_keras_3_noted_of_it_is_used() -> None:
    noted = {"class_name": "__keras_tensor__", "config": {"shape": [None, 7], "dtype": "float32"}}
    noted["config"]["keras_history"] = ["mine", 0, 0]
    config = functional(
        [
            source("x", None, 4),
            layer("pkg>Mine", "mine", call("x")),
            layer("Dense", "out", {"args": [noted], "kwargs": {}}, units=2),
        ],
        ["x", 0, 0],
        ["out", 0, 0],
    )
    found = interpret(config)
    assert found.signature.outputs == (Tensor(name="out", dtype="float32", shape=(-1, 2)),)
    assert found.signature.layers == {"InputLayer": 1, "Mine": 1, "Dense": 1}
    assert found.notes == ("needs code that is not in the file: custom layers mine (Mine)",)


def test_a_subclassed_model_has_no_signature_and_says_why() -> None:
    found = interpret({"module": "shop.models", "class_name": "Ranker", "config": {"name": "ranker"}})
    assert found.signature == Signature()
    assert found.notes[0] == "Ranker builds its layers in code, so the file does not tell its inputs and outputs"


def test_an_author_s_input_shape_fills_one_that_is_missing() -> None:
    layers = [{"class_name": "Dense", "config": {"name": "d", "trainable": True, "units": 3}}]
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}
    assert listed(interpret(config).signature.outputs) == [["d", "float32", None]]
    author = Signature(inputs=(Tensor(name="mine", shape=(-1, 5)),))
    found = interpret(config, author).signature
    assert listed(found.inputs) == [["d_input", "float32", None]]
    assert listed(found.outputs) == [["d", "float32", [-1, 3]]]


def test_keras_1_spellings_are_understood() -> None:
    layers = [
        {
            "class_name": "Convolution2D",
            "config": {
                "name": "c", "trainable": True, "batch_input_shape": [None, 3, 32, 30], "nb_filter": 8, "nb_row": 3,
                "nb_col": 5, "border_mode": "valid", "subsample": [2, 1], "dim_ordering": "th", "bias": True,
            },
        },
        {
            "class_name": "MaxPooling2D",
            "config": {
                "name": "p", "trainable": True, "pool_size": [2, 2], "strides": [2, 2], "border_mode": "valid",
                "dim_ordering": "th",
            },
        },
        {"class_name": "Flatten", "config": {"name": "f", "trainable": True}},
        {"class_name": "Dense", "config": {"name": "d", "trainable": True, "output_dim": 10}},
    ]  # fmt: skip
    signature = interpret({"class_name": "Sequential", "config": layers}).signature
    assert listed(signature.inputs) == [["c_input", "float32", [-1, 3, 32, 30]]]
    assert listed(signature.outputs) == [["d", "float32", [-1, 10]]]
    assert signature.layers == {"Convolution2D": 1, "MaxPooling2D": 1, "Flatten": 1, "Dense": 1}


def test_a_merge_of_sequential_models_has_their_inputs() -> None:
    def branch(name: str, size: int) -> dict[str, Any]:
        first = {"name": name, "trainable": True, "batch_input_shape": [None, size], "output_dim": 4}
        return {"class_name": "Sequential", "config": [{"class_name": "Dense", "config": first}]}

    merge = {"name": "m", "mode": "concat", "concat_axis": -1, "layers": [branch("a", 5), branch("b", 6)]}
    layers = [
        {"class_name": "Merge", "config": merge},
        {"class_name": "Activation", "config": {"name": "z", "trainable": True}},
    ]
    signature = interpret({"class_name": "Sequential", "config": layers}).signature
    assert listed(signature.inputs) == [["a_input", "float32", [-1, 5]], ["b_input", "float32", [-1, 6]]]
    assert listed(signature.outputs) == [["z", "float32", [-1, 8]]]


def test_an_activation_written_as_a_lambda_is_named() -> None:
    activation = {"class_name": "__lambda__", "config": {"value": {"code": "4wIAAAA="}}}
    config = functional(
        [source("x", None, 4), layer("Dense", "d", call("x"), units=2, activation=activation)],
        [["x", 0, 0]],
        [["d", 0, 0]],
    )
    assert interpret(config).notes == ("holds code that runs when the model is loaded: Lambda layers d",)


def test_a_layer_that_contradicts_its_input_leaves_a_note() -> None:
    config = functional(
        [source("x", None, 4, 4, 3), layer("Conv2D", "c", call("x"), filters=2, kernel_size=[9, 9], strides=[1, 1])],
        [["x", 0, 0]],
        [["c", 0, 0]],
    )
    found = interpret(config)
    assert listed(found.signature.outputs) == [["c", None, None]]
    assert found.notes[0].startswith("the output of layer c is not known: a window of 9")


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (functional([source("x", None, 1)], [["x", 0, 0]], [["y", 0, 0]]), MalformedModelError),
        (functional([source("x", 1), source("x", 1)], [["x", 0, 0]], [["x", 0, 0]]), MalformedModelError),
        (functional([layer("Add", "a", call("b")), layer("Add", "b", call("a"))], [], call("a")), MalformedModelError),
        (functional([source("x", 1)], [["x", 0, 0]], []), MalformedModelError),
        (functional([source("x", 1)], [["x", 0, 0]], [["x", 0, 0]] * 5000), LimitExceededError),
        ({"class_name": "Sequential", "config": {"layers": []}}, MalformedModelError),
        ({"class_name": "Sequential", "config": {"layers": [3]}}, MalformedModelError),
        ({"config": {}}, MalformedModelError),
    ],
)  # fmt: skip
def test_a_graph_that_cannot_be_is_refused(config: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        interpret(config)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", MalformedModelError),
        ("[]", MalformedModelError),
        ("null", MalformedModelError),
        ('{"a":' + "[" * 3000 + "]" * 3000 + "}", LimitExceededError),
        ('{"a":[' + "[]," * 300_000 + "1]}", LimitExceededError),
        ('{"a":' + "9" * 5000 + "}", MalformedModelError),
    ],
    ids=["empty", "list", "null", "deep", "wide", "digits"],
)
def test_text_that_is_no_configuration_is_refused(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        parse_config(text)


def test_nested_models_that_call_each_other_twice_take_no_longer_for_it() -> None:
    model = functional([source("i", None, 4), layer("Dense", "d", call("i"), units=4)], [["i", 0, 0]], [["d", 0, 0]])
    for depth in range(20):
        model |= {"name": f"n{depth}", "inbound_nodes": [call("i"), [[f"n{depth}", 1, 0, {}]]]}
        model["config"]["name"] = f"n{depth}"
        model = functional([source("i", None, 4), model], [["i", 0, 0]], [[f"n{depth}", 2, 0]])
    assert listed(interpret(model).signature.outputs) == [["n19", "float32", [-1, 4]]]
