"""Build a Keras model from a configuration and a file of weights, and save what it computes as a SavedModel.

    {"framework": "keras" or "tf_keras", "path": ..., "container": "h5" or "keras", "config": {...},
     "inputs": [names], "outputs": [names], "shapes": {input: [sizes]}, "mirror_kernels": bool, "directory": ...}

``config`` is the configuration that was checked to hold no code; the one in the file is never given to a loader, unless
it is equal. ``inputs`` and ``outputs`` are the names that the signature gets, in Keras's order. The reply has what was
written: ``{"inputs": {name: [shape, dtype]}, "outputs": {...}}``. One of the two Kerases is imported, never both.
"""

import functools
import importlib
import json
import keyword
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

# Results must not depend on a graphics card; the log is for errors. Both have to be said before the import.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ["KERAS_BACKEND"] = "tensorflow"

Progress = Callable[[float, str], None]

#: Layers whose kernels Theano applies mirrored, as a mathematician's convolution does.
_MIRRORED = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D")

#: Layers of Keras 3 that do not say whether they are trained.
_UNTRAINED = ("InputLayer",)


class RefusalError(Exception):
    """The input cannot be used, for a reason that is one sentence."""


def run(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Save the model; see the module."""
    try:
        return _run(request, progress)
    except RefusalError as refusal:
        return {"refused": str(refusal)}


def _run(request: dict[str, Any], progress: Progress) -> dict[str, Any]:
    progress(0.0, "starting TensorFlow")
    model = load_model(request, progress)
    progress(0.6, "tracing the model")
    function = serving_function(model, request)
    progress(0.7, "writing the SavedModel")
    save(model, function, request["directory"])
    arguments = argument_names(request["inputs"])
    _name_inputs(request["directory"], dict(zip(arguments, request["inputs"], strict=True)))
    specs = function.structured_input_signature[1]
    return {
        "inputs": {
            name: _described(specs[argument]) for argument, name in zip(arguments, request["inputs"], strict=True)
        },
        "outputs": {name: _described(tensor) for name, tensor in function.structured_outputs.items()},
    }


def load_model(request: dict[str, Any], progress: Progress) -> Any:
    """Return the model with its weights."""
    import tensorflow as tf

    # Restoring and tracing spread over threads; the results do not depend on how many there are.
    tf.get_logger().setLevel("ERROR")
    progress(0.4, "building the model")
    loaders = {
        ("keras", "h5"): _load_keras_h5,
        ("tf_keras", "h5"): _load_tf_keras_h5,
        ("keras", "keras"): _load_archive,
        ("tf_keras", "keras"): _load_archive,
    }
    return loaders[request["framework"], request["container"]](request, progress)


def _load_archive(request: dict[str, Any], _: Progress) -> Any:
    """Load a ``.keras`` archive, which has to hold the configuration that was checked."""
    with zipfile.ZipFile(request["path"]) as archive:
        config = json.loads(archive.read("config.json"))
    if config != request["config"]:
        raise RefusalError("the archive holds another configuration than the one that was checked")
    library = importlib.import_module(request["framework"] + ".src.saving.saving_lib")
    # Loaders insist on the suffix .keras, which a file in a store need not have.
    path = request["path"]
    if not path.endswith(".keras"):
        link = os.path.join(os.environ.get("TMPDIR") or os.getcwd(), "model.keras")
        os.symlink(path, link)
        path = link
    return library.load_model(path, compile=False, safe_mode=True)


def _load_keras_h5(request: dict[str, Any], progress: Progress) -> Any:
    import h5py
    from keras.src.legacy.saving import legacy_h5_format, saving_options, saving_utils
    from keras.src.saving import serialization_lib

    config = _with_operations(request["config"])
    with (
        saving_options.keras_option_scope(use_legacy_config=True),
        serialization_lib.SafeModeScope(True),
    ):
        model = saving_utils.model_from_config(config, custom_objects=_operations())
    _build(model, request)
    progress(0.5, "reading the weights")
    with h5py.File(request["path"], "r") as file:
        group = file["model_weights"]
        for layer, saved in _pairs(group, model, legacy_h5_format):
            weights = legacy_h5_format._legacy_weights(layer)
            values = legacy_h5_format.load_subset_weights_from_hdf5_group(saved)
            _check_count(layer, weights, values)
            for weight, value in zip(weights, values, strict=True):
                weight.assign(_checked(layer, weight, value))
        if "top_level_model_weights" in group:
            known = {id(weight) for weight in model.weights}
            own = [v for v in model._trainable_variables + model._non_trainable_variables if id(v) in known]
            values = legacy_h5_format.load_subset_weights_from_hdf5_group(group["top_level_model_weights"])
            _check_count(model, own, values)
            for weight, value in zip(own, values, strict=True):
                weight.assign(_checked(model, weight, value))
    return model


def _with_operations(value: Any) -> Any:
    """Mark the operations in a configuration of Keras 3, some of which are called as layers are; decode tuples.

    HDF5 files name neither's module; but nearly every layer says whether it is trained, and no operation does.
    """
    if isinstance(value, list):
        return [_with_operations(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "__tuple__" and isinstance(value.get("items"), list):
        return tuple(_with_operations(item) for item in value["items"])
    changed = {key: _with_operations(item) for key, item in value.items()}
    name, config = value.get("class_name"), value.get("config")
    untrained = "inbound_nodes" in value and isinstance(config, dict) and not {"trainable", "layers"} & set(config)
    if untrained and f"operation>{name}" in _operations() and name not in _UNTRAINED:
        changed["class_name"] = f"operation>{name}"
    return changed


@functools.lru_cache(maxsize=None)
def _operations() -> dict[str, Any]:
    """Return the operations of Keras 3 by class, each under the name that `_with_operations` gives it."""
    from keras.src.ops.operation import Operation

    found, pending = {}, [Operation]
    while pending:
        for kind in pending.pop().__subclasses__():
            pending.append(kind)
            if kind.__module__.startswith("keras.src.ops."):
                found["operation>" + kind.__name__] = kind
    return found


def _load_tf_keras_h5(request: dict[str, Any], progress: Progress) -> Any:
    import h5py
    import numpy as np
    import tensorflow as tf
    from tf_keras.src.saving.legacy import hdf5_format, model_config, serialization
    from tf_keras.src.saving.legacy.saved_model import json_utils

    config = json_utils.decode(json.dumps(request["config"]))
    # MobileNet of Keras 2.1 names relu6; tf.keras took functions of tf.nn and wrote their names.
    functions = {name: getattr(tf.nn, name) for name in ("relu6", "silu", "log_softmax")}
    with serialization.SharedObjectLoadingScope():
        model = model_config.model_from_config(config, custom_objects=functions)
    _build(model, request)
    progress(0.5, "reading the weights")
    with h5py.File(request["path"], "r") as file:
        group = file["model_weights"]
        version = _text(group.attrs.get("keras_version", "1"))
        assigned = []
        for layer, saved in _pairs(group, model, hdf5_format):
            weights = hdf5_format._legacy_weights(layer)
            values = hdf5_format.load_subset_weights_from_hdf5_group(saved)
            values = _in_order(weights, values, [_text(name) for name in saved.attrs.get("weight_names", ())])
            values = hdf5_format.preprocess_weights_for_loading(layer, values, version, None)
            if request.get("mirror_kernels"):
                values = _mirrored(np, layer, values)
            _check_count(layer, weights, values)
            assigned += [
                (weight, _checked(layer, weight, value)) for weight, value in zip(weights, values, strict=True)
            ]
        if "top_level_model_weights" in group:
            own = model._trainable_weights + model._non_trainable_weights
            values = hdf5_format.load_subset_weights_from_hdf5_group(group["top_level_model_weights"])
            _check_count(model, own, values)
            assigned += [(weight, _checked(model, weight, value)) for weight, value in zip(own, values, strict=True)]
        for weight, value in assigned:
            weight.assign(value)
    for layer in model._flatten_layers():
        layer.finalize_state()
    return model


def _build(model: Any, request: dict[str, Any]) -> None:
    """Give a model that does not say what it is called with the shape that a person tells; it has no weights else."""
    told = list(request.get("shapes", {}).values())
    if not model.built and len(told) == 1:
        model.build([None if size < 0 else size for size in told[0]])
    if not model.built or not getattr(model, "inputs", None):
        raise RefusalError("the model does not tell the shape of its input, so it cannot be built")


def _pairs(group: Any, model: Any, format_module: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the layers that have weights, each with its group in the file.

    Keras pairs them by their order, which differs between its versions where branches are of equal depth. Names are
    unique within a model, so they decide wherever they are the same.
    """
    layers = [layer for layer in model.layers if format_module._legacy_weights(layer)]
    names = format_module.load_attributes_from_hdf5_group(group, "layer_names")
    names = [n for n in names if format_module.load_attributes_from_hdf5_group(group[n], "weight_names")]
    if len(names) != len(layers):
        raise RefusalError(f"the file has weights of {len(names)} layers, and {len(layers)} of the model have some")
    by_name = set(names) == {layer.name for layer in layers}
    for layer, name in zip(layers, names, strict=True):
        yield layer, group[layer.name if by_name else name]


def _in_order(weights: list[Any], values: list[Any], names: Sequence[str]) -> list[Any]:
    """Return values in the order of the model's weights where their names agree, else as the file has them."""
    wanted = [weight.name for weight in weights]
    if len(set(names)) == len(names) == len(values) and set(wanted) == set(names):
        found = dict(zip(names, values, strict=True))
        return [found[name] for name in wanted]
    return values


def _check_count(layer: Any, weights: Any, values: Any) -> None:
    if len(weights) != len(values):
        raise RefusalError(f"layer {layer.name} has {len(weights)} weights, and the file holds {len(values)} of it")


def _checked(layer: Any, weight: Any, value: Any) -> Any:
    if tuple(weight.shape) != tuple(value.shape):
        raise RefusalError(
            f"a weight of layer {layer.name} has the shape {tuple(weight.shape)}, in the file {tuple(value.shape)}"
        )
    return value


def _mirrored(np: Any, layer: Any, values: list[Any]) -> list[Any]:
    """Return weights with the kernels of Theano's convolutions turned, in wrapped and nested layers as well."""
    inner = getattr(layer, "layers", None)
    if inner is not None:
        trained = [(part, len(part.trainable_weights)) for part in inner]
        frozen = [(part, len(part.non_trainable_weights)) for part in inner]
        result: list[Any] = []
        for part, count in trained + frozen:
            chosen, values = values[:count], values[count:]
            result += _mirrored(np, part, chosen) if chosen else []
        return result + values
    wrapped = getattr(layer, "forward_layer", None)
    if wrapped is not None:
        half = len(values) // 2
        return _mirrored(np, wrapped, values[:half]) + _mirrored(np, layer.backward_layer, values[half:])
    if hasattr(layer, "layer"):
        return _mirrored(np, layer.layer, values)
    if type(layer).__name__ not in _MIRRORED:
        return values
    kernels = 2 if type(layer).__name__ == "ConvLSTM2D" else 1
    return [_turned(np, value) if at < kernels else value for at, value in enumerate(values)]


def _turned(np: Any, kernel: Any) -> Any:
    """Return a kernel turned by all of its spatial axes, which come before the two of channels."""
    if kernel.ndim < 3:
        return kernel
    return np.ascontiguousarray(kernel[(slice(None, None, -1),) * (kernel.ndim - 2)])


def serving_function(model: Any, request: dict[str, Any]) -> Any:
    """Return the concrete function of the signature: tensors by the layers' names in, a dictionary out."""
    import tensorflow as tf

    names, outputs = request["inputs"], request["outputs"]
    tensors = list(model.inputs)
    if len(names) != len(tensors):
        raise RefusalError(f"the model has {len(tensors)} inputs, and its configuration names {len(names)}")
    _check_order(names, tensors)
    shapes = request.get("shapes", {})
    arguments = argument_names(names)
    specs = {
        argument: tf.TensorSpec(_shape(name, tensor, shapes.get(name)), _dtype(tf, tensor), name=argument)
        for argument, name, tensor in zip(arguments, names, tensors, strict=True)
    }
    structure = getattr(model, "_inputs_struct", None)
    if structure is None:
        structure = getattr(model, "_nested_inputs", None)

    def serve(**given: Any) -> Any:
        fed = [given[argument] for argument in arguments]
        whole = fed[0] if structure is None else tf.nest.pack_sequence_as(structure, fed)
        results = tf.nest.flatten(model(whole, training=False))
        if len(results) != len(outputs):
            raise RefusalError(f"the model has {len(results)} outputs, and its configuration names {len(outputs)}")
        return {name: _dense(tf, result) for name, result in zip(outputs, results, strict=True)}

    return tf.function(serve, autograph=False).get_concrete_function(**specs)


def argument_names(names: Sequence[str]) -> list[str]:
    """Return names that arguments of a function may have; layers may be called anything."""
    taken, result = set(), []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if plain.isidentifier() and not keyword.iskeyword(plain) and plain != "self" else "input_" + plain
        while plain in taken:
            plain += "_"
        taken.add(plain)
        result.append(plain)
    return result


def _check_order(names: Sequence[str], tensors: Any) -> None:
    """Refuse names in another order than the model's inputs, as far as the model tells which layer an input is."""
    for name, tensor in zip(names, tensors, strict=True):
        history = getattr(tensor, "_keras_history", None)
        layer = getattr(history, "operation", None) or getattr(history, "layer", None)
        own = getattr(layer, "name", name)
        if own != name and own in names:
            raise RefusalError(f"the model's inputs are in another order than its configuration: {own} where {name} is")


def _dtype(tf: Any, tensor: Any) -> Any:
    return tf.as_dtype(getattr(tensor, "dtype", "float32"))


def _shape(name: str, tensor: Any, wanted: Any) -> list[int | None]:
    """Return the shape of an input: as the model has it, narrowed to what is asked for."""
    own = [None if size is None else int(size) for size in tensor.shape]
    if wanted is None:
        return own
    asked = [None if size < 0 else size for size in wanted]
    if len(asked) != len(own) or any(old is not None and new != old for old, new in zip(own, asked, strict=True)):
        raise RefusalError(f"input {name} has the shape {own} in the model, which cannot become {asked}")
    return asked


def _dense(tf: Any, result: Any) -> Any:
    """Return an output as a tensor; a ragged or sparse one is padded with zeros."""
    if isinstance(result, tf.RaggedTensor):
        return result.to_tensor()
    if isinstance(result, tf.SparseTensor):
        return tf.sparse.to_dense(result)
    return tf.identity(result)


def save(model: Any, function: Any, directory: str) -> None:
    """Write the function with the variables that it reads, and nothing else of the model."""
    import tensorflow as tf

    root = tf.__internal__.tracking.AutoTrackable()
    root.variables = list(function.graph.variables)
    root.resources = _resources(tf, model)
    tf.saved_model.save(root, directory, signatures={"serving_default": function})


def _name_inputs(directory: str, names: Mapping[str, str]) -> None:
    """Give the signature's inputs the layers' names where an argument cannot be called so."""
    if all(argument == name for argument, name in names.items()):
        return
    from tensorflow.core.protobuf import saved_model_pb2

    path = os.path.join(directory, "saved_model.pb")
    with open(path, "rb") as file:
        document = saved_model_pb2.SavedModel.FromString(file.read())
    signature = document.meta_graphs[0].signature_def["serving_default"]
    infos = {names[argument]: info for argument, info in signature.inputs.items()}
    copied = {name: type(info).FromString(info.SerializeToString()) for name, info in infos.items()}
    signature.inputs.clear()
    for name, info in copied.items():
        signature.inputs[name].CopyFrom(info)
    with open(path, "wb") as file:
        file.write(document.SerializeToString(deterministic=True))


def _resources(tf: Any, model: Any) -> list[Any]:
    """Return lookup tables and the like, which the function holds without their owners."""
    kind = tf.saved_model.experimental.TrackableResource
    layers = model._flatten_layers() if hasattr(model, "_flatten_layers") else [model]
    found = {}
    for layer in layers:
        for value in vars(layer).values():
            if isinstance(value, kind):
                found[id(value)] = value
    return list(found.values())


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _described(tensor: Any) -> list[Any]:
    return [[-1 if size is None else int(size) for size in tensor.shape], tensor.dtype.name]
