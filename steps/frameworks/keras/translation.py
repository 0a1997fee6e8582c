"""A configuration of Keras 1 or 2 as tf_keras takes it: fields and layers under their present names, old defaults said.

Of Keras 1 only what inference needs is kept: weights are read from the file, so initializers, regularizers and
constraints go. Sources: keras/legacy/interfaces.py and keras/engine/saving.py of Keras 2.2.4, and the layers of 1.2.2.
What does not belong here: weights, and configurations of Keras 3.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from klever.steps.errors import MalformedModelError
from klever.steps.frameworks.keras.layer import Layer
from klever.steps.frameworks.keras.legacy import modernise
from klever.steps.frameworks.keras.release import major_version

Config = dict[str, Any]

#: Models under names that tf_keras does not know.
_MODELS: Final = {"Container": "Functional", "Network": "Functional", "Model": "Functional"}
#: Layers for graphics cards, which compute what these do; weights are converted when they are loaded.
_ON_CARDS: Final[Mapping[str, tuple[str, Config]]] = {
    "CuDNNLSTM": ("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "CuDNNGRU": ("GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}),
}
#: What layers had before a field for it was written.
_DEFAULTS: Final[Mapping[str, Config]] = {"GRU": {"reset_after": False}}
_RENAMED: Final = {"inner_activation": "recurrent_activation", "input_dtype": "dtype", "sigma": "stddev", "p": "rate"}
#: What of Keras 1 has no meaning without training, or another one.
_DROPPED: Final = frozenset({
    "activity_regularizer", "arguments", "consume_less", "dim_ordering", "dropout", "dropout_U", "dropout_W",
    "forget_bias_init", "init", "inner_init", "input_dim", "input_length", "kernel_dim1", "kernel_dim2",
    "kernel_dim3", "mode", "nb_col", "nb_row", "output_dim",
})  # fmt: skip
_ENDINGS: Final = ("_regularizer", "_constraint")
#: Fields that `modernise` adds beside those that they are read from.
_OLD_NAMES: Final = frozenset({
    "nb_filter", "filter_length", "subsample", "subsample_length", "border_mode", "atrous_rate", "pool_length",
    "stride", "length", "bias",
})  # fmt: skip
#: Merges of Keras 1 by their mode.
_MERGES: Final = {
    "sum": "Add", "mul": "Multiply", "ave": "Average", "max": "Maximum", "concat": "Concatenate", "dot": "Dot"
}  # fmt: skip
#: Layers whose input size has a meaning of its own.
_EMBEDDING: Final = frozenset({"Embedding"})


def translate(config: Mapping[str, Any], version: str | None) -> Config:
    """Return the configuration for tf_keras; ``version`` is the one that wrote it.

    Raises `MalformedModelError` where a model of Keras 1 merges what is no chain of layers.
    """
    is_first = major_version(version) == 1
    whole = dict(config)
    if is_first:
        ordering = _common_ordering(config)
        return _model(whole, lambda entry: _first_layer(entry, ordering))
    return _model(whole, _second_layer)


def _model(entry: Config, change: Callable[[Config], Config]) -> Config:
    """Return a model with its layers changed, those inside of others as well."""
    changed = change(entry)
    config = changed.get("config")
    if isinstance(config, list):
        if branches := _merged_branches(config):
            return _as_functional(changed, branches, config, change)
        changed["config"] = [_inner(item, change) for item in config]
    elif isinstance(config, dict):
        changed["config"] = {
            key: _inner(item, change) if key in ("layer", "backward_layer", "cell") else
            [_inner(each, change) for each in item] if key in ("layers", "cells") and isinstance(item, list) else item
            for key, item in config.items()
        }  # fmt: skip
    return changed


def _inner(item: Any, change: Callable[[Config], Config]) -> Any:
    return _model(dict(item), change) if isinstance(item, dict) and "class_name" in item else item


def _second_layer(entry: Config) -> Config:
    """Change a layer of Keras 2, stand-alone or TensorFlow's."""
    name, config = entry.get("class_name"), entry.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        return entry
    if "layers" in config:
        return {**entry, "class_name": _MODELS.get(name, name)}
    if name in _ON_CARDS:
        name, fields = _ON_CARDS[name]
        config = {**config, **fields}
    return {**entry, "class_name": name, "config": {**_DEFAULTS.get(name, {}), **config}}


def _first_layer(entry: Config, ordering: str) -> Config:
    """Change a layer of Keras 1."""
    name, config = entry.get("class_name"), entry.get("config")
    if not isinstance(name, str) or not isinstance(config, dict):
        return entry
    if "layers" in config and name != "Merge":
        return {**entry, "class_name": _MODELS.get(name, name)}
    if name == "Merge":
        return {**entry, **_merge(config)}
    if "dim_ordering" not in config and name in ("UpSampling2D", "UpSampling3D", "Cropping2D", "Cropping3D"):
        config = {**config, "dim_ordering": ordering}
    if name == "BatchNormalization" and config.get("mode") not in (None, 0):
        # Statistics of each sample or batch: no layer of Keras 2 does that.
        return {**entry, "class_name": f"BatchNormalization of mode {config['mode']}"}
    if name == "Deconvolution2D" and config.get("subsample") not in (None, [1, 1]):
        return {**entry, "class_name": "Deconvolution2D with strides"}
    kept = dict(modernise(name, config)[1])
    kind = modernise(name, config)[0]
    if "kernel_size" in kept and not isinstance(kept["kernel_size"], list):
        kept["kernel_size"] = [kept["kernel_size"]]
    if name != "InputLayer":
        # The type of what an embedding is fed, where `dtype` would be that of its rows.
        kept.pop("input_dtype", None)
    keep = {"input_dim", "output_dim", "input_length"} if kind in _EMBEDDING else set()
    fields = {
        _RENAMED.get(key, key): value
        for key, value in kept.items()
        if key not in (_DROPPED | _OLD_NAMES) - keep and not key.endswith(_ENDINGS)
    }
    if kind == "Conv2DTranspose":
        fields.pop("output_shape", None)
    if kind == "ZeroPadding2D":
        fields["padding"] = _padding(fields.get("padding"))
    return {**entry, "class_name": kind, "config": {**_DEFAULTS.get(kind, {}), **fields}}


def _padding(value: Any) -> Any:
    """Return a padding of two dimensions as pairs: Keras 1 also wrote four numbers, or an object of them."""
    if isinstance(value, dict):
        value = [value.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    return [value[:2], value[2:]] if isinstance(value, list) and len(value) == 4 else value


def _merge(config: Config) -> Config:
    mode = config.get("mode")
    if config.get("mode_type") == "lambda":
        return {"class_name": "Lambda"}
    fields: Config = {"name": config.get("name")}
    if mode == "concat":
        fields["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        fields["axes"] = config.get("dot_axes", -1)
    kind = _MERGES.get(mode, "Merge") if isinstance(mode, str) else "Merge"
    return {"class_name": kind, "config": {**fields, **({"layers": config["layers"]} if "layers" in config else {})}}


def _merged_branches(layers: Sequence[Any]) -> list[Config] | None:
    """Return the chains that a sequential model begins with where its first layer merges some."""
    first = layers[0] if layers else None
    config = first.get("config") if isinstance(first, dict) else None
    merged = isinstance(first, dict) and first.get("class_name") == "Merge" and isinstance(config, dict)
    branches = config.get("layers") if merged and isinstance(config, dict) else None
    return [dict(branch) for branch in branches if isinstance(branch, dict)] if isinstance(branches, list) else None


def _as_functional(
    model: Config, branches: Sequence[Config], layers: Sequence[Any], change: Callable[[Config], Config]
) -> Config:
    """Return a sequential model that begins with a merge of others as the graph that it is."""
    entries: list[Config] = []
    inputs: list[list[Any]] = []
    ends: list[str] = []
    for branch in branches:
        chain = branch.get("config")
        if not isinstance(chain, list) or not chain or _merged_branches(chain) is not None:
            raise MalformedModelError("the Keras model merges something that is no chain of layers")
        first = Layer(chain[0])
        fed = {key: first.config[key] for key in ("batch_input_shape",) if key in first.config}
        source = f"{first.name}_input"
        dtype = first.config.get("input_dtype") or "float32"
        entry = {"class_name": "InputLayer", "config": {"name": source, "dtype": dtype, **fed}}
        entries.append({**entry, "name": source, "inbound_nodes": []})
        inputs.append([source, 0, 0])
        ends.append(_chained(entries, chain, source, change))
    merge = {**layers[0], "config": {key: value for key, value in layers[0]["config"].items() if key != "layers"}}
    name = Layer(merge).name
    entries.append({**change(merge), "name": name, "inbound_nodes": [[[end, 0, 0] for end in ends]]})
    last = _chained(entries, layers[1:], name, change)
    config = {"name": "model", "layers": entries, "input_layers": inputs, "output_layers": [[last, 0, 0]]}
    return {**model, "class_name": "Functional", "config": config}


def _chained(entries: list[Config], chain: Sequence[Any], end: str, change: Callable[[Config], Config]) -> str:
    """Add layers one after another behind ``end``; returns the name of the last."""
    for item in chain:
        layer = _inner(item, change)
        name = Layer(layer).name
        entries.append({**layer, "name": name, "inbound_nodes": [[[end, 0, 0]]]})
        end = name
    return end


def _common_ordering(config: Mapping[str, Any]) -> str:
    """Return where channels are for layers of Keras 1 that do not say it: where all others have them."""
    found = set(_orderings(config))
    return "th" if found == {"th"} else "tf"


def _orderings(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _orderings(item)
    elif isinstance(value, Mapping):
        ordering = value.get("dim_ordering")
        if isinstance(ordering, str):
            yield ordering
        for item in value.values():
            yield from _orderings(item)
