"""One layer's configuration, the tensors it is called with, and the data types it works in."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from klever.steps.errors import LimitExceededError
from klever.steps.frameworks.keras.document import ConfigError, as_integer, as_integers
from klever.steps.frameworks.keras.legacy import modernise
from klever.steps.model.shapes import Shape

#: Arguments of a call are nested a few levels deep: a list of tensors, a list of a cell's states.
_MAX_NESTING: Final = 32

#: The type that Keras takes where nothing else is said (``floatx``).
DEFAULT_DTYPE: Final = "float32"
#: Layers whose configuration does not have ``trainable``.
_NEVER_TRAINED: Final = frozenset({
    "InputLayer", "Merge", "Discretization", "HashedCrossing", "MelSpectrogram", "STFTSpectrogram",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D",
})  # fmt: skip
#: Layers that are nodes of a TensorFlow graph, and all those that call functions of TensorFlow.
RECORDED: Final = "TensorFlowOpLayer"
FUNCTION_LAYERS: Final = frozenset({"TFOpLambda", "SlicingOpLambda", RECORDED})
_FLOATING: Final = frozenset({"float16", "float32", "float64", "bfloat16"})


@dataclass(frozen=True, slots=True)
class Spec:
    """What is known of a tensor: its shape, batch dimension first, and the numpy name of its type."""

    shape: Shape = None
    dtype: str | None = None


#: What a layer returns: a tensor, or several in the order of their indices.
Result = Spec | Sequence[Spec]


def numpy_dtype(name: object) -> str | None:
    """Return the numpy name of a type that a configuration spells as Keras or TensorFlow do; None if unknown."""
    if isinstance(name, Mapping):  # Keras 3 and TensorFlow write types of their own as objects
        config = name.get("config")
        name = config.get("name") if isinstance(config, Mapping) else None
    if not isinstance(name, str):
        return None
    name = name.removeprefix("<dtype: '").removesuffix("'>").removeprefix("tf.").lower()
    return {"string": "object", "double": "float64", "float": "float32", "half": "float16"}.get(name, name) or None


def compute_dtype(policy: object) -> str:
    """Return the type that a dtype policy computes in.

    A policy is the name of a type, ``mixed_float16`` or ``mixed_bfloat16``, or an object that names one of them.
    """
    if isinstance(policy, Mapping):
        config = policy.get("config", policy)
        if isinstance(config, Mapping):
            policy = config.get("name") or config.get("default_policy")
    if isinstance(policy, Mapping):
        return compute_dtype(None)
    name = numpy_dtype(policy)
    if name is None or name.endswith("infer"):
        return DEFAULT_DTYPE
    # Quantized policies name what they were made from: int8_from_mixed_bfloat16.
    return name.rpartition("_from_")[2].removeprefix("mixed_")


class Layer:
    """One layer, nested model or operation of a configuration."""

    __slots__ = ("class_name", "config", "name", "package", "written_class")

    def __init__(self, document: Mapping[str, Any]) -> None:
        """Take the object that has ``class_name`` and ``config``; anything missing is empty."""
        registered = document.get("class_name")
        text = registered if isinstance(registered, str) else ""
        #: The class without the package that custom classes were registered in, and that package.
        package, _, self.written_class = text.rpartition(">")
        #: The class under its present name; ``written_class`` is that of the file.
        self.class_name = self.written_class
        module = document.get("module")
        self.package = package or (module if isinstance(module, str) else "")
        config = document.get("config")
        if isinstance(config, list):  # Sequential models before Keras 2.2.3
            config = {"layers": config}
        self.config: Mapping[str, Any] = config if isinstance(config, dict) else {}
        name = self.config.get("name", document.get("name"))
        self.name = name if isinstance(name, str) else self.class_name.lower()
        if "layers" not in self.config:
            self.class_name, self.config = modernise(self.class_name, self.config)

    @property
    def is_input(self) -> bool:
        """Whether the layer stands for an input of its model."""
        return self.class_name == "InputLayer"

    @property
    def is_functional(self) -> bool:
        """Whether this is a model that lists its layers and how they are connected."""
        return isinstance(self.config.get("layers"), list) and "output_layers" in self.config

    @property
    def is_sequential(self) -> bool:
        """Whether this is a model that is a chain of layers."""
        return isinstance(self.config.get("layers"), list) and self.class_name == "Sequential"

    @property
    def is_model(self) -> bool:
        """Whether the layer is a nested model whose layers are known."""
        return self.is_functional or self.is_sequential

    @property
    def is_operation(self) -> bool:
        """Whether this is a function call that Keras 3 recorded, which is no layer.

        Archives tell by the module. HDF5 files do not, but there nearly every layer says whether it is trained.
        """
        if self.package:
            return self.package.startswith("keras.src.ops")
        return not ("trainable" in self.config or "layers" in self.config or self.class_name in _NEVER_TRAINED)

    @property
    def is_foreign(self) -> bool:
        """Whether the class comes from outside Keras, by the module or registered package that it names."""
        return bool(self.package) and self.package.split(".")[0] not in {"keras", "tf_keras", "builtins"}

    @property
    def dtype(self) -> str:
        """The type that the layer computes in."""
        return compute_dtype(self.config.get("dtype"))

    def cast(self, dtype: str | None) -> str | None:
        """Return the type of an input inside the layer: floating ones are cast to what it computes in."""
        return self.dtype if dtype in _FLOATING else dtype

    @property
    def channels_first(self) -> bool:
        """Whether dimension 1 holds the channels, and not the last."""
        return self.config.get("data_format") == "channels_first"

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer field; raises `ConfigError` where it is missing or none."""
        return as_integer(self.config.get(key, default))

    def integers(self, key: str, count: int, default: int | None = None) -> tuple[int, ...]:
        """Return a field of ``count`` integers, which may be written as one."""
        value = self.config.get(key)
        return as_integers(default if value is None else value, count)

    def flag(self, key: str) -> bool:
        """Return a boolean field, false where it is missing."""
        return self.config.get(key) is True

    def text(self, key: str, default: str = "") -> str:
        """Return a text field in lower case."""
        value = self.config.get(key)
        return value.lower() if isinstance(value, str) else default

    def part(self, key: str) -> "Layer":
        """Return the layer that this one wraps; raises `ConfigError` where there is none."""
        value = self.config.get(key)
        if not isinstance(value, dict):
            raise ConfigError(f"{self.class_name} has no {key}")
        return Layer(value)


@dataclass(frozen=True, slots=True)
class Call:
    """What a layer is called with: `Spec` for tensors, else constants; ``infer`` answers for the layers it wraps."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    infer: Callable[["Layer", "Call"], tuple[Spec, ...]]
    #: The tensors of the first argument, which a layer of several inputs takes as a list.
    specs: tuple[Spec, ...] = field(init=False)

    def __post_init__(self) -> None:
        # What a layer works on is its first argument, which Keras 3 allows to be named.
        object.__setattr__(
            self, "specs", tuple(tensors(self.args[0] if self.args else next(iter(self.kwargs.values()), None)))
        )

    @property
    def first(self) -> Spec:
        """The first tensor; nothing is known of it where there is none."""
        return self.specs[0] if self.specs else Spec()

    def argument(self, position: int, *names: str) -> Any:
        """Return an argument by its position or one of its names; None where it was not given."""
        if position < len(self.args):
            return self.args[position]
        for name in names:
            if name in self.kwargs:
                return self.kwargs[name]
        return None

    def on(self, *specs: Spec) -> "Call":
        """Return the same kind of call on other tensors."""
        return Call([list(specs) if len(specs) > 1 else specs[0]], {}, self.infer)


def tensors(value: object, depth: int = 0) -> Iterator[Spec]:
    """Yield the tensors in nested lists and objects, those of an object in order of its keys, as Keras flattens."""
    if depth > _MAX_NESTING:
        raise LimitExceededError("the arguments of a Keras layer are nested too deeply")
    if isinstance(value, Spec):
        yield value
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from tensors(value[key], depth + 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item, depth + 1)
