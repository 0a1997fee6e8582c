"""From a configuration to a signature: the names, shapes and types of inputs and outputs, and what to warn of."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from klever.steps.errors import MalformedModelError, printable
from klever.steps.frameworks.keras.document import as_shape
from klever.steps.frameworks.keras.inference import Inference, declared, sequential_layers
from klever.steps.frameworks.keras.layer import Layer, Spec
from klever.steps.frameworks.keras.rules import rule_for_layer
from klever.steps.model.signature import Signature, Tensor

#: Wrapped layers and nested models are looked through this far for code.
_MAX_NESTING: Final = 24
#: Names of layers that one note lists.
_MAX_NAMES: Final = 20
#: Where layers keep the layers that they wrap.
_WRAPPED: Final = ("layer", "backward_layer", "cell", "cells", "layers", "forward_layer")
#: Classes that hold no code and have no rule of their own.
_WITHOUT_CODE: Final = frozenset({
    "Functional", "Model", "Sequential", "Network", "Container", "StackedRNNCells", "LSTMCell", "GRUCell",
    "SimpleRNNCell", "PeepholeLSTMCell", "AbstractRNNCell", "ConvLSTM2DCell", "TFOpLambda", "SlicingOpLambda",
    "TensorFlowOpLayer", "ClassMethod", "InstanceMethod", "InstanceProperty", "STFTSpectrogram", "FeatureSpace",
    "DenseFeatures", "SequenceFeatures", "RandomFourierFeatures",
})  # fmt: skip


class Interpretation(NamedTuple):
    """What a configuration says."""

    signature: Signature
    #: Sentences for a person: layers that run code when the model is loaded, outputs that could not be worked out.
    notes: tuple[str, ...]


def interpret(config: Mapping[str, Any], author: Signature | None = None) -> Interpretation:
    """Interpret a model's configuration, an object with ``class_name`` and ``config``.

    Input shapes that the configuration leaves open are taken from ``author`` for inference only. Layers are counted
    by class as ``model.layers`` of Keras lists them: those of the model itself, with its InputLayers unless it is
    sequential; a nested model or a wrapper counts as one of its own class.
    Raises `MalformedModelError` where the configuration contradicts itself, `LimitExceededError` beyond any model.
    """
    model = Layer(config)
    if not model.class_name and "layers" not in model.config:
        raise MalformedModelError("the Keras configuration names no class of model")
    inference = Inference()
    notes = list(_code_notes(model))
    if model.is_functional:
        inputs, outputs = _functional(model, inference, author)
    elif model.is_sequential:
        inputs, outputs = _sequential(model, inference, author)
    else:
        name = printable(model.written_class)
        note = f"{name} builds its layers in code, so the file does not tell its inputs and outputs"
        return Interpretation(Signature(), (note, *notes))
    layers = _count_layers(model, inference)
    signature = Signature(inputs=tuple(inputs), outputs=tuple(outputs), layers=layers)
    return Interpretation(signature, (*notes, *inference.notes.values()))


def _functional(model: Layer, inference: Inference, author: Signature | None) -> tuple[list[Tensor], list[Tensor]]:
    graph = inference.graph(model)
    if not graph.outputs:
        raise MalformedModelError("the Keras model has no outputs")
    names = _unique(reference.layer for reference in graph.inputs)
    specs = []
    for reference in graph.inputs:
        graph.node_of(reference)
        layer = graph.layers[reference.layer]
        specs.append(declared(layer) if layer.is_input else Spec())
    outputs = inference.functional(model, _with_author(names, specs, author))
    return _tensors(names, specs), _tensors(_unique(reference.layer for reference in graph.outputs), outputs)


def _sequential(model: Layer, inference: Inference, author: Signature | None) -> tuple[list[Tensor], list[Tensor]]:
    layers = sequential_layers(model)
    if not layers:
        raise MalformedModelError("the Keras model has no layers")
    first, branches = layers[0], layers[0].config.get("layers")
    if first.class_name == "Merge" and isinstance(branches, list):
        return _merged_branches(layers, inference, author)
    names, specs = [_input_name(first)], [_first_input(model, layers)]
    if first.is_functional and specs[0].shape is None and len(inference.graph(first).inputs) > 1:
        graph = inference.graph(first)
        names = [reference.layer for reference in graph.inputs]
        specs = [declared(graph.layers[name]) for name in names if name in graph.layers]
    fed = _with_author(names, specs, author)
    outputs = inference.sequential(layers, fed[0] if len(fed) == 1 else fed)
    return _tensors(names, specs), _tensors(_unique([layers[-1].name] * len(outputs)), outputs)


def _merged_branches(
    layers: Sequence[Layer], inference: Inference, author: Signature | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Interpret a sequential model of Keras 1 that begins with a Merge of others."""
    names: list[str] = []
    specs: list[Spec] = []
    merged: list[Spec] = []
    for entry in layers[0].config["layers"]:
        branch = Layer(entry) if isinstance(entry, dict) else Layer({})
        chain = sequential_layers(branch)
        if not chain:
            raise MalformedModelError("the Keras model merges something that is no sequential model")
        names.append(_input_name(chain[0]))
        specs.append(_first_input(branch, chain))
        fed = _with_author(names[-1:], specs[-1:], author)
        merged += inference.sequential(chain, fed[0])
    outputs = inference.sequential(layers, merged)
    return _tensors(_unique(names), specs), _tensors(_unique([layers[-1].name] * len(outputs)), outputs)


def _input_name(first: Layer) -> str:
    """Name a sequential model's input as Keras does: the first layer's own name with a suffix."""
    return first.name if first.is_input else f"{first.name}_input"


def _first_input(model: Layer, layers: Sequence[Layer], depth: int = 0) -> Spec:
    """Find the input of a sequential model: at its first layer, within it if that is a model, or as it was built."""
    first = layers[0]
    spec = Spec()
    if first.is_sequential and depth < _MAX_NESTING and (inner := sequential_layers(first)):
        spec = _first_input(first, inner, depth + 1)
    elif first.is_functional:
        entries = [entry for entry in first.config["layers"] if isinstance(entry, dict)]
        found = [layer for layer in map(Layer, entries) if layer.is_input]
        spec = declared(found[0]) if len(found) == 1 else Spec()
    elif first.config.get("layer") is not None and "batch_input_shape" not in first.config:
        spec = Spec(None, "float32")
    else:
        spec = declared(first)
    if spec.shape is None:
        built = model.config.get("build_input_shape")
        spec = Spec(as_shape(built), spec.dtype or first.dtype)
    return spec


def _with_author(names: Sequence[str], specs: Sequence[Spec], author: Signature | None) -> list[Spec]:
    """Fill shapes that are missing altogether from what a person wrote, by name, or by place if all are given."""
    written = list(author.inputs or ()) if author is not None else []
    by_name = {tensor.name: tensor for tensor in written}
    filled = []
    for index, (name, spec) in enumerate(zip(names, specs, strict=True)):
        tensor = by_name.get(name) or (written[index] if len(written) == len(names) else None)
        if spec.shape is None and tensor is not None:
            spec = Spec(tensor.shape, spec.dtype or tensor.dtype)
        filled.append(spec)
    return filled


def _tensors(names: Sequence[str], specs: Sequence[Spec]) -> list[Tensor]:
    return [Tensor(name=name, dtype=spec.dtype, shape=spec.shape) for name, spec in zip(names, specs, strict=True)]


def _unique(names: Iterable[str]) -> list[str]:
    """Return names with numbers where they occur again, as tf.keras names a layer's outputs: ``lstm``, ``lstm_1``."""
    result: list[str] = []
    used: set[str] = set()
    counts: Counter[str] = Counter()
    for name in names:
        proposal = name
        while proposal in used:
            counts[name] += 1
            proposal = f"{name}_{counts[name]}"
        used.add(proposal)
        result.append(proposal)
    return result


def _count_layers(model: Layer, inference: Inference) -> dict[str, int]:
    if model.is_functional:
        layers: Iterable[Layer] = inference.graph(model).layers.values()
    else:
        layers = (layer for layer in sequential_layers(model) if not layer.is_input)
    return dict(Counter(layer.written_class for layer in layers if not layer.is_operation))


def _code_notes(model: Layer) -> Iterator[str]:
    """Name the layers whose own code would run when the model is loaded."""
    functions: dict[str, None] = {}
    foreign: dict[str, None] = {}
    for layer in _walk(model):
        if layer.class_name == "Lambda" or any(map(_is_lambda, layer.config.values())):
            functions[layer.name] = None
        elif layer.is_foreign or not (
            not layer.class_name
            or layer.class_name in _WITHOUT_CODE
            or layer.is_operation
            or rule_for_layer(layer.class_name)
        ):
            foreign[f"{layer.name} ({layer.written_class})"] = None
    if functions:
        yield f"holds code that runs when the model is loaded: Lambda layers {_listed(functions)}"
    if foreign:
        yield f"needs code that is not in the file: custom layers {_listed(foreign)}"


def _is_lambda(value: object) -> bool:
    """Whether a field holds the bytecode of a function, as an activation in Keras 3 may."""
    return isinstance(value, dict) and value.get("class_name") == "__lambda__"


def _listed(names: Iterable[str]) -> str:
    everything = [printable(name) for name in names]
    more = len(everything) - _MAX_NAMES
    return ", ".join(everything[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _walk(model: Layer) -> Iterator[Layer]:
    """Yield a model and all layers in it, wrapped and nested ones included."""
    pending = [(model, 0)]
    while pending:
        layer, depth = pending.pop()
        yield layer
        if depth > _MAX_NESTING:
            continue
        inner: list[Any] = []
        for key in _WRAPPED:
            value = layer.config.get(key)
            inner += value if isinstance(value, list) else [value]
        pending.extend(
            (Layer(item), depth + 1) for item in reversed(inner) if isinstance(item, dict) and "class_name" in item
        )
