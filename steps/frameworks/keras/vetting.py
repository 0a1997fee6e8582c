"""What of a configuration is not Keras's own: code of its own, classes and functions of the author, files to read.

    >>> find_foreign(config, "keras")  # doctest: +SKIP
    [Foreign(part='Lambda', layer='scale', reason='holds code of its own', runs=True)]

A loader of Keras makes objects of whatever a configuration names, wherever it names it. So every object in every field
is looked at here, and a name that is not in `own` is foreign. What does not belong here: the decision what to do then.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from klever.steps.frameworks.keras import own
from klever.steps.frameworks.keras.document import ConfigError
from klever.steps.frameworks.keras.layer import Layer
from klever.steps.frameworks.keras.rules.operations import rule_for_operation


class Foreign(NamedTuple):
    """A part that is not Keras's own, and the layer that holds it."""

    part: str
    layer: str
    #: As it follows the part: ``holds code of its own``.
    reason: str
    #: Whether a loader would run what the file says, and not only miss a class.
    runs: bool = False


class _Names(NamedTuple):
    """What one Keras makes objects of."""

    layers: frozenset[str]
    objects: frozenset[str]
    activations: frozenset[str]
    training: frozenset[str]


_OWN: Final = {
    "keras": _Names(
        own.KERAS_LAYERS | own.KERAS_OPERATIONS, own.KERAS_OBJECTS, own.KERAS_ACTIVATIONS, own.KERAS_TRAINING
    ),
    # MobileNet of Keras 2.1 names relu6, tf.keras silu; the program that loads such models adds both.
    "tf_keras": _Names(
        own.TF_KERAS_LAYERS,
        own.TF_KERAS_OBJECTS,
        own.TF_KERAS_ACTIVATIONS | {"relu6", "silu", "log_softmax"},
        own.TF_KERAS_TRAINING,
    ),
}
_CODE: Final = "holds code of its own, which is never run"
_CUSTOM: Final = "is no part of Keras"
#: Keras's own layers that run or load what their configuration says.
_RUNNING: Final = {
    "Lambda": _CODE,
    "__lambda__": _CODE,
    "TFSMLayer": "loads a SavedModel from a path",
    "TorchModuleWrapper": "unpickles a module of PyTorch",
    "JaxLayer": "holds functions of JAX",
    "FlaxLayer": "holds a module of Flax",
}
#: Values that configurations write as objects, which hold no class.
_LITERALS: Final = frozenset(
    {
        "__tensor__",
        "__numpy__",
        "__bytes__",
        "__keras_tensor__",
        "__tuple__",
        "__ellipsis__",
        "__slice__",
        "TensorShape",
    }
)
_PACKAGES: Final = frozenset({"keras", "tf_keras", "builtins"})
_REGISTERED: Final = frozenset({"Keras", "keras", ""})
#: Fields whose text is the name of a function or class, by the end of their names; those of Keras 1 are whole.
_ACTIVATIONS: Final = ("activation",)
_OBJECTS: Final = ("_initializer", "_regularizer", "_constraint")
#: Packages of functions of TensorFlow that compute and do nothing else.
_COMPUTING: Final = frozenset(
    {"math", "nn", "linalg", "image", "signal", "strings", "bitwise", "sparse", "ragged", "random", "__operators__"}
)
_FUNCTIONS: Final = frozenset({
    "batch_to_space", "bitcast", "boolean_mask", "broadcast_to", "clip_by_norm", "complex", "constant",
    "convert_to_tensor", "eye", "fill", "gather_nd", "identity", "linspace", "meshgrid", "ones", "range", "rank",
    "reverse_sequence", "saturate_cast", "scatter_nd", "searchsorted", "sequence_mask", "size", "slice",
    "space_to_batch", "strided_slice", "tensor_scatter_nd_add", "tensor_scatter_nd_update", "tensordot", "unique",
    "zeros",
})  # fmt: skip
_RAGGED: Final = frozenset({"RaggedTensor", "SparseTensor", "sparse.SparseTensor"})
#: Fields that name a file where they are text.
_FILES: Final = frozenset({"vocabulary", "idf_weights", "filepath"})
#: Where the settings of training stand, which are not loaded for the model as a whole.
_TRAINING: Final = "compile_config"


def find_foreign(config: Mapping[str, Any], framework: str) -> list[Foreign]:
    """Return the parts of a model's configuration that ``framework`` (``keras``, ``tf_keras``) does not have itself."""
    whole = {key: value for key, value in config.items() if key != _TRAINING}
    return list(dict.fromkeys(_Vetting(_OWN[framework]).walk(whole, "the model")))


class _Vetting:
    """The search through one configuration, for one Keras."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self._known = names.layers | names.objects | names.activations | names.training
        self._elsewhere = frozenset[str]().union(*(other.layers for other in _OWN.values())) - names.layers

    def walk(self, value: object, layer: str) -> Iterator[Foreign]:
        """Yield what is foreign in a value; JSON is no deeper than its parser lets it be."""
        if isinstance(value, list):
            for item in value:
                yield from self.walk(item, layer)
        elif isinstance(value, Mapping):
            if isinstance(value.get("class_name"), str):
                layer = _layer_name(value) or layer
                yield from self._object(value, value["class_name"], layer)
            for key, item in value.items():
                if isinstance(item, str):
                    yield from self._named(key, item, layer)
                else:
                    yield from self.walk(item, layer)

    def _object(self, value: Mapping[str, Any], written: str, layer: str) -> Iterator[Foreign]:
        package, _, name = written.rpartition(">")
        registered = value.get("registered_name")
        module = value.get("module")
        if name in _RUNNING:
            yield Foreign(name.strip("_"), layer, _RUNNING[name], runs=True)
        elif name in _LITERALS:
            return
        elif name == "function":
            yield from self._function(value, module, layer)
        elif not {package, _package(registered)} <= _REGISTERED or not _is_own(module) or name not in self._known:
            shown = registered if isinstance(registered, str) and ">" in registered else written
            reason = "is of another version of Keras" if name in self._elsewhere else _CUSTOM
            yield Foreign(shown, layer, reason)
        else:
            yield from self._recorded(value, name, layer)

    def _function(self, value: Mapping[str, Any], module: object, layer: str) -> Iterator[Foreign]:
        """Judge a function by its name; a loader finds any function of a module, so the module alone says nothing."""
        name = value.get("config")
        name = name if isinstance(name, str) else str(value.get("registered_name"))
        if not _is_own(module) or name not in self._names.activations | self._names.objects | self._names.training:
            yield Foreign(name, layer, _CUSTOM)

    def _named(self, key: str, text: str, layer: str) -> Iterator[Foreign]:
        if key.endswith(_ACTIVATIONS):
            if text not in self._names.activations and text not in self._names.layers:
                yield Foreign(text, layer, _CUSTOM)
        elif key.endswith(_OBJECTS):
            if text not in self._names.objects:
                yield Foreign(text, layer, _CUSTOM)
        elif key in _FILES:
            yield Foreign(key, layer, "names a file that would be read", runs=True)

    def _recorded(self, value: Mapping[str, Any], name: str, layer: str) -> Iterator[Foreign]:
        """Functions of TensorFlow that a layer calls by name: those that compute, and no others."""
        config = value.get("config")
        config = config if isinstance(config, Mapping) else {}
        if name == "TFOpLambda":
            function = str(config.get("function"))
            if not _computes(function.removeprefix("compat.v1."), value):
                yield Foreign(function, layer, "is no function that only computes", runs=True)
        elif name == "TensorFlowOpLayer":
            try:
                known = rule_for_operation(Layer(value)) is not None
            except ConfigError:
                known = False
            if not known:
                yield Foreign(name, layer, "records an operation that is not known", runs=True)
        elif name == "ClassMethod" and config.get("cls_symbol") not in _RAGGED:
            yield Foreign(str(config.get("cls_symbol")), layer, "is no class that only computes", runs=True)


def _computes(function: str, value: Mapping[str, Any]) -> bool:
    package, _, name = function.rpartition(".")
    if package in _COMPUTING:
        return True
    return package in ("", "keras.backend") and (name in _FUNCTIONS or rule_for_operation(Layer(value)) is not None)


def _layer_name(value: Mapping[str, Any]) -> str:
    config = value.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    name = name if isinstance(name, str) else value.get("name")
    return name if isinstance(name, str) else ""


def _is_own(module: object) -> bool:
    return module is None or (isinstance(module, str) and module.partition(".")[0] in _PACKAGES)


def _package(registered: object) -> str:
    return registered.rpartition(">")[0] if isinstance(registered, str) else ""
