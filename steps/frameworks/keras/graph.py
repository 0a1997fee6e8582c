"""The graph of a functional model as its configuration writes it: calls of layers, and which tensors they take.

Keras writes a call in two ways. Up to tf.keras it is a list of ``[layer, call, tensor, kwargs]``, with tensors among
the kwargs written as ``[layer, call, tensor]``; Keras 3 writes ``{"args": ..., "kwargs": ...}`` with a
``__keras_tensor__`` object for each tensor, which tells its shape and type as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.frameworks.keras.document import as_shape
from klever.steps.frameworks.keras.layer import Layer, Spec, numpy_dtype

#: Calls of layers in one model, nested ones apart; NASNetLarge has 1041.
MAX_CALLS: Final = 50_000
_MAX_NESTING: Final = 32
_MAX_LAYERS: Final = 20_000
#: Inputs, or outputs, of one model.
_MAX_ENDPOINTS: Final = 4096
#: Stands where a layer's name would for an argument that is no tensor.
_CONSTANT: Final = "_CONSTANT_VALUE"


class Reference(NamedTuple):
    """A tensor by the layer that makes it, the number of the call among the layer's own, and its output's index."""

    layer: str
    call: int
    tensor: int


class Node(NamedTuple):
    """One call of a layer; tensors among the arguments are `Reference` objects."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    #: How many values the arguments are made of.
    size: int


class Graph:
    """A functional model's layers by name, their calls, and its inputs and outputs in Keras's order."""

    __slots__ = ("calls", "facts", "inputs", "layers", "outputs")

    def __init__(self) -> None:
        self.layers: dict[str, Layer] = {}
        self.calls: dict[str, list[Node]] = {}
        self.inputs: list[Reference] = []
        self.outputs: list[Reference] = []
        #: What Keras 3 noted about tensors when they were taken by a call.
        self.facts: dict[Reference, Spec] = {}

    def node_of(self, reference: Reference) -> tuple[str, int]:
        """Return the layer and the position of the call that a reference means.

        A number beyond the calls means the last: releases of Keras disagree on where nested models begin to count.
        Raises `MalformedModelError` for a layer that is not there.
        """
        layer = self.layers.get(reference.layer)
        if layer is None:
            raise MalformedModelError(
                f"the Keras model refers to a layer {reference.layer!r:.80}, which it does not have"
            )
        last = len(self.calls[reference.layer]) - 1
        return reference.layer, max(0, min(reference.call, last))


def read_graph(config: Mapping[str, Any]) -> Graph:
    """Read layers and calls of a functional model's ``config``; raises `MalformedModelError` where they are none."""
    graph = Graph()
    entries = config.get("layers")
    entries = entries if isinstance(entries, list) else []
    if len(entries) > _MAX_LAYERS:
        raise LimitExceededError(f"the Keras model has {len(entries)} layers, more than {_MAX_LAYERS}")
    for entry in entries:
        if not isinstance(entry, dict):
            raise MalformedModelError("the Keras model has a layer that is not a JSON object")
        layer = Layer(entry)
        written = entry.get("name")
        name = written if isinstance(written, str) else layer.name
        if name in graph.layers:
            raise MalformedModelError(f"the Keras model has two layers of the name {name!r:.80}")
        graph.layers[name] = layer
    reader = _NodeReader(graph)
    total = 0
    for entry, name in zip(entries, graph.layers, strict=True):
        nodes = entry.get("inbound_nodes")
        graph.calls[name] = [reader.node(data) for data in nodes] if isinstance(nodes, list) else []
        total += len(graph.calls[name])
        if total > MAX_CALLS:
            raise LimitExceededError(f"the Keras model calls its layers more than {MAX_CALLS} times")
    graph.inputs = [reader.endpoint(item) for item in _endpoints(config.get("input_layers"))]
    graph.outputs = [reader.endpoint(item) for item in _endpoints(config.get("output_layers"))]
    if max(len(graph.inputs), len(graph.outputs)) > _MAX_ENDPOINTS:
        raise LimitExceededError(f"the Keras model has more than {_MAX_ENDPOINTS} inputs or outputs")
    return graph


class _NodeReader:
    """Turns written calls into nodes, and counts calls of nested models from 0."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._values = 0
        self._modern_seen = False

    def node(self, data: object) -> Node:
        before = self._values
        args, kwargs = self._arguments(data)
        return Node(args, kwargs, self._values - before)

    def _arguments(self, data: object) -> tuple[list[Any], dict[str, Any]]:
        if isinstance(data, Mapping) and "args" in data:
            self._modern_seen = True
            args = self._modern(data["args"])
            kwargs = self._modern(data.get("kwargs"))
            return (args if isinstance(args, list) else [args]), (kwargs if isinstance(kwargs, dict) else {})
        kwargs = dict[str, Any]()
        first = self._classic(data, kwargs)
        if isinstance(first, list) and len(first) == 1:
            first = first[0]
        return [first], {key: self._tensor_or_constant(value) for key, value in kwargs.items()}

    def endpoint(self, item: Sequence[Any]) -> Reference:
        layer = self._graph.layers.get(item[0])
        # In Keras 3 sequential models are no functional ones, so that nothing stands before their first call.
        plain = self._modern_seen and layer is not None and layer.is_sequential
        return self._reference(item, counted_from_one=not plain)

    def _classic(self, data: object, kwargs: dict[str, Any], depth: int = 0) -> Any:
        self._count(depth)
        if isinstance(data, Mapping):
            return {key: self._classic(value, kwargs, depth + 1) for key, value in data.items()}
        if not isinstance(data, list):
            return data
        if len(data) >= 3 and isinstance(data[0], str):
            if len(data) > 3 and isinstance(data[3], dict):
                kwargs.update(data[3])
            if data[0] == _CONSTANT:
                return self._tensor_or_constant(data[2], depth + 1)
            return self._reference(data, counted_from_one=True)
        return [self._classic(item, kwargs, depth + 1) for item in data]

    def _tensor_or_constant(self, value: object, depth: int = 0) -> Any:
        self._count(depth)
        if isinstance(value, Mapping):
            return {key: self._tensor_or_constant(item, depth + 1) for key, item in value.items()}
        if not isinstance(value, list):
            return value
        if len(value) == 3 and isinstance(value[0], str) and value[0] in self._graph.layers:
            return self._reference(value, counted_from_one=True)
        return [self._tensor_or_constant(item, depth + 1) for item in value]

    def _modern(self, value: object, depth: int = 0) -> Any:
        self._count(depth)
        if isinstance(value, list):
            return [self._modern(item, depth + 1) for item in value]
        if not isinstance(value, Mapping):
            return value
        kind, config = value.get("class_name"), value.get("config")
        if kind == "__keras_tensor__" and isinstance(config, Mapping):
            reference = self._reference(config.get("keras_history"), counted_from_one=False)
            self._graph.facts[reference] = Spec(as_shape(config.get("shape")), numpy_dtype(config.get("dtype")))
            return reference
        if kind == "__tuple__":
            return self._modern(value.get("items") or config, depth + 1)
        if kind in ("__tensor__", "__numpy__") and isinstance(config, Mapping):
            return self._modern(config.get("value"), depth + 1)
        return {key: self._modern(item, depth + 1) for key, item in value.items()}

    def _count(self, depth: int) -> None:
        _check_nesting(depth)
        self._values += 1

    def _reference(self, item: object, *, counted_from_one: bool) -> Reference:
        """Read ``[layer, call, tensor]``.

        Calls of a nested model are counted from 1, for its own original graph holds place 0 in Keras's lists; in the
        arguments that Keras 3 writes they are counted from 0.
        """
        if isinstance(item, list) and len(item) >= 3:
            name, call, tensor = item[:3]
            if isinstance(name, str) and type(call) is int and type(tensor) is int:
                layer = self._graph.layers.get(name)
                if counted_from_one and call > 0 and layer is not None and layer.is_model:
                    call -= 1
                return Reference(name, call, tensor)
        raise MalformedModelError(f"the Keras model refers to a tensor by {item!r:.80}")


def _check_nesting(depth: int) -> None:
    if depth > _MAX_NESTING:
        raise LimitExceededError("the arguments of a Keras layer are nested too deeply")


def _endpoints(value: object, depth: int = 0) -> Iterator[Sequence[Any]]:
    """Yield the ``[layer, call, tensor]`` lists in a structure of them, objects in order of their keys."""
    _check_nesting(depth)
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _endpoints(value[key], depth + 1)
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str):
            yield value
        else:
            for item in value:
                yield from _endpoints(item, depth + 1)


def references(value: object) -> Iterator[Reference]:
    """Yield the references in arguments."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)


def resolve(value: object, tensor: Callable[[Reference], Spec]) -> Any:
    """Return arguments with a tensor in place of each reference."""
    if isinstance(value, Reference):
        return tensor(value)
    if isinstance(value, Mapping):
        return {key: resolve(item, tensor) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, tensor) for item in value]
    return value
