"""What of a Keras configuration is not Keras's own, wherever it hides."""

from typing import Any

import pytest

from klever.steps.frameworks.keras.release import framework_of
from klever.steps.frameworks.keras.vetting import find_foreign

CODE = {"class_name": "__lambda__", "config": {"value": ["4wAAAA==", None, None]}}


def model(*layers: dict[str, Any], **fields: Any) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"name": "x", "batch_input_shape": [None, 4], "dtype": "float32"}}
    return {"class_name": "Sequential", "config": {"name": "model", "layers": [first, *layers]}, **fields}


def dense(name: str = "dense", **fields: Any) -> dict[str, Any]:
    return {"class_name": "Dense", "config": {"name": name, "units": 3, "activation": "relu", **fields}}


def found(config: dict[str, Any], framework: str = "tf_keras") -> list[tuple[str, str, bool]]:
    return [(each.part, each.layer, each.runs) for each in find_foreign(config, framework)]


@pytest.mark.parametrize("framework", ["keras", "tf_keras"])
def test_keras_own_layers_pass(framework: str) -> None:
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "each", "layer": dense()}}
    norm = {"class_name": "BatchNormalization", "config": {"name": "bn", "gamma_initializer": "ones"}}
    assert found(model(dense(kernel_regularizer={"class_name": "L2", "config": {"l2": 0.1}}), wrapped, norm)) == []


def nested(inner: dict[str, Any]) -> dict[str, Any]:
    return model({"class_name": "Functional", "config": {"name": "part", "layers": [inner], "output_layers": []}})


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (model({"class_name": "Lambda", "config": {"name": "scale", "function": ["4w=="]}}), ("Lambda", "scale", True)),
        (nested({"class_name": "Lambda", "config": {"name": "deep", "function": "f"}}), ("Lambda", "deep", True)),
        (model(dense(activation=CODE)), ("lambda", "dense", True)),
        (model(dense(kernel_initializer=CODE)), ("lambda", "dense", True)),
        (model(dense(anything=[{"at": [CODE]}])), ("lambda", "dense", True)),
        (model({"class_name": "Mine", "config": {"name": "mine"}}), ("Mine", "mine", False)),
        (model({"class_name": "Pack>Dense", "config": {"name": "a"}}), ("Pack>Dense", "a", False)),
        (
            model({"class_name": "Dense", "config": {"name": "a"}, "registered_name": "Pack>Dense"}),
            ("Pack>Dense", "a", False),
        ),
        (model({"class_name": "Dense", "module": "evil.module", "config": {"name": "a"}}), ("Dense", "a", False)),
        (model(dense(activation="my_activation")), ("my_activation", "dense", False)),
        (model(dense(kernel_initializer="mine")), ("mine", "dense", False)),
        (model(dense(bias_constraint={"class_name": "Mine", "config": {}})), ("Mine", "dense", False)),
        (
            model(dense(activation={"class_name": "function", "module": "os", "config": "system"})),
            ("system", "dense", False),
        ),
        (
            model(dense(activation={"class_name": "function", "module": "keras.utils", "config": "get_file"})),
            ("get_file", "dense", False),
        ),
        (
            model({"class_name": "StringLookup", "config": {"name": "words", "vocabulary": "/etc/passwd"}}),
            ("vocabulary", "words", True),
        ),
        (model({"class_name": "TFSMLayer", "config": {"name": "sm", "filepath": "/x"}}), ("TFSMLayer", "sm", True)),
        (model({"class_name": "TorchModuleWrapper", "config": {"name": "t"}}), ("TorchModuleWrapper", "t", True)),
        (
            model({"class_name": "TFOpLambda", "config": {"name": "op", "function": "io.write_file"}}),
            ("io.write_file", "op", True),
        ),
        (
            model({"class_name": "TFOpLambda", "config": {"name": "op", "function": "py_function"}}),
            ("py_function", "op", True),
        ),
        (
            model({"class_name": "TensorFlowOpLayer", "config": {"name": "op", "node_def": '{"op": "WriteFile"}'}}),
            ("TensorFlowOpLayer", "op", True),
        ),
        (
            model(
                {
                    "class_name": "Bidirectional",
                    "config": {
                        "name": "both",
                        "layer": {"class_name": "LSTM", "config": {"name": "in", "activation": CODE}},
                    },
                }
            ),
            ("lambda", "in", True),
        ),
        (model(dense(), compile_config={"loss": CODE}), None),
        (nested({**dense(), "compile_config": {"loss": CODE}}), ("lambda", "dense", True)),
    ],
)
def test_what_is_foreign_is_found_by_its_layer(config: dict[str, Any], expected: Any) -> None:
    parts = found(config)
    assert (expected in parts) if expected else parts == []
    # Keras 3 has no TFOpLambda at all, so it names the layer otherwise.
    assert bool(found(config, "keras")) == bool(expected)


def test_all_of_them_are_listed() -> None:
    layers = [{"class_name": "Mine", "config": {"name": f"mine_{index}"}} for index in range(50)]
    assert len(found(model(*layers))) == 50


def test_a_layer_that_another_keras_has_is_named_so() -> None:
    config = model({"class_name": "LocallyConnected2D", "config": {"name": "local"}})
    assert found(config, "tf_keras") == []
    [foreign] = find_foreign(config, "keras")
    assert foreign.reason == "is of another version of Keras"


@pytest.mark.parametrize("function", ["math.add", "nn.relu", "__operators__.add", "concat", "compat.v1.squeeze"])
def test_functions_that_compute_pass(function: str) -> None:
    assert found(model({"class_name": "TFOpLambda", "config": {"name": "op", "function": function}})) == []


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.2.2", "tf_keras"), ("2.2.4-tf", "tf_keras"), ("2.15.0", "tf_keras"), ("3.15.1", "keras")],
)
def test_the_version_decides_which_keras_loads_a_model(version: str, expected: str) -> None:
    assert framework_of(model(), version) == expected


def test_without_a_version_the_form_decides() -> None:
    assert framework_of(model(), None) == "tf_keras"
    modern = model(dense(dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}}))
    assert framework_of(modern, None) == "keras"
