"""Run a model of TensorFlow on given inputs, for the proof; in the environment ``convert-tensorflow``.

    {"format": "SavedModel", "GraphDef", "H5" or "Keras", "path": ..., "inputs": npz, "outputs": npz,
     "input_names": [names], "fetches": [names],
     "tensors": {"inputs": {name: tensor}, "outputs": {...}}, "tags": [...]     of a SavedModel
     "model": the request of export_keras         of a Keras model}

Reply: ``{"runtime": "tensorflow", "version": ..., "outputs": [names]}``.
"""

import os
from collections.abc import Callable
from typing import Any

# Both have to be said before the import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import arrays
import numpy as np
import tensorflow as tf
from savedmodels import directory_of

Progress = Callable[[float, str], None]


class RefusalError(Exception):
    """The model cannot be run on these inputs, for a reason that is one sentence."""


def run(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Run the model once; see the module."""
    tf.get_logger().setLevel("ERROR")
    progress(0.1, "loading the model")
    given = arrays.load(request["inputs"])
    try:
        results = _RUNS[request["format"]](request, given, progress)
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    arrays.save(request["outputs"], {name: _plain(value) for name, value in results.items()})
    return {"runtime": "tensorflow", "version": tf.__version__, "outputs": list(results)}


def _run_saved_model(request: dict[str, Any], given: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Load and run in a session, which knows tensors by the names that the signature has."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tags = request.get("tags", ["serve"])
        tf.compat.v1.saved_model.loader.load(session, tags, directory_of(request["path"]))
        progress(0.5, "running the model")
        return _run_session(session, request, given)


def _run_graph_def(request: dict[str, Any], given: dict[str, Any], progress: Progress) -> dict[str, Any]:
    with open(request["path"], "rb") as file:
        graph = tf.compat.v1.GraphDef.FromString(file.read())
    for node in graph.node:
        node.device = ""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        progress(0.5, "running the graph")
        return _run_session(session, request, given)


def _run_session(session: Any, request: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    tensors = request.get("tensors", {})

    def tensor(role: str, name: str) -> Any:
        own = tensors.get(role, {}).get(name, name)
        try:
            return session.graph.get_tensor_by_name(own if ":" in own else f"{own}:0")
        except (KeyError, ValueError):
            raise RefusalError(f"the model has no tensor {own}") from None

    fed = {}
    for name, value in given.items():
        place = tensor("inputs", name)
        fed[place] = _text(value) if place.dtype == tf.string else value.astype(place.dtype.as_numpy_dtype)
    fetches = request["fetches"]
    values = session.run([tensor("outputs", name) for name in fetches], fed)
    return dict(zip(fetches, values, strict=True))


def _run_keras(request: dict[str, Any], given: dict[str, Any], progress: Progress) -> dict[str, Any]:
    import export_keras

    model = export_keras.load_model(request["model"], lambda *_: None)
    function = export_keras.serving_function(model, request["model"])
    progress(0.5, "running the model")
    specs = function.structured_input_signature[1]
    names = request["model"]["inputs"]
    fed = {}
    for argument, name in zip(export_keras.argument_names(names), names, strict=True):
        if name not in given:
            raise RefusalError(f"there is no value for input {name}")
        dtype = specs[argument].dtype
        value = _text(given[name]) if dtype == tf.string else given[name].astype(dtype.as_numpy_dtype)
        fed[argument] = tf.constant(value, dtype)
    results = function(**fed)
    return {name: np.asarray(results[name]) for name in request.get("fetches") or request["model"]["outputs"]}


def _plain(value: Any) -> Any:
    """Return an array of a type that every numpy has; bfloat16 and its kin are none."""
    value = np.asarray(value)
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def _text(value: Any) -> Any:
    return np.vectorize(lambda item: str(item).encode(), otypes=[object])(value)


_RUNS = {
    "SavedModel": _run_saved_model,
    "GraphDef": _run_graph_def,
    "H5": _run_keras,
    "Keras": _run_keras,
}
