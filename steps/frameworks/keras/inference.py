"""Shape inference over models: calls in order of their dependencies, nested models within."""

from collections.abc import Sequence
from typing import Final

from klever.steps.errors import LimitExceededError, MalformedModelError, printable
from klever.steps.frameworks.keras.document import MAX_DIMENSION, MAX_RANK, ConfigError, as_shape
from klever.steps.frameworks.keras.graph import Graph, Reference, read_graph, references, resolve
from klever.steps.frameworks.keras.layer import (
    FUNCTION_LAYERS,
    RECORDED,
    Call,
    Layer,
    Spec,
    numpy_dtype,
    tensors,
)
from klever.steps.frameworks.keras.rules import rule_for_layer
from klever.steps.frameworks.keras.rules.rule import Rule
from klever.steps.model.shapes import ShapeMismatchError, merge

#: Models are nested a few levels deep.
_MAX_NESTING: Final = 24
#: Values that calls take and return, in all models together, the nested counted each time that other shapes meet
#: them; NASNetLarge takes 5000.
_MAX_STEPS: Final = 150_000


class Inference:
    """Works out what the layers of one configuration return; keeps what it found for models called again."""

    def __init__(self) -> None:
        self._steps = _MAX_STEPS
        self._depth = 0
        # By the identity of configurations, which are kept here so that no other can take their place.
        self._configs: list[object] = []
        self._graphs: dict[int, Graph] = {}
        self._chains: dict[int, list[Layer]] = {}
        self._known: dict[tuple[int, tuple[Spec, ...]], tuple[Spec, ...]] = {}
        #: One sentence for each layer whose output could not be worked out although its rule is known.
        self.notes: dict[str, str] = {}

    def graph(self, layer: Layer) -> Graph:
        """Return a functional model's graph, read once."""
        key = id(layer.config)
        if key not in self._graphs:
            self._configs.append(layer.config)
            self._graphs[key] = read_graph(layer.config)
        return self._graphs[key]

    def _chain(self, layer: Layer) -> list[Layer]:
        key = id(layer.config)
        if key not in self._chains:
            self._configs.append(layer.config)
            self._chains[key] = [inner for inner in sequential_layers(layer) if not inner.is_input]
        return self._chains[key]

    def functional(self, layer: Layer, inputs: Sequence[Spec]) -> tuple[Spec, ...]:
        """Return a functional model's outputs for ``inputs`` in its own order."""
        graph = self.graph(layer)
        self._spend(len(graph.inputs) + len(graph.outputs))
        results: dict[tuple[str, int], tuple[Spec, ...]] = {
            (reference.layer, 0): (spec,) for reference, spec in zip(graph.inputs, inputs, strict=False)
        }
        for output in graph.outputs:
            self._work_out(graph, graph.node_of(output), results)
        return tuple(_pick(graph, results, output) for output in graph.outputs)

    def sequential(self, layers: Sequence[Layer], first: object) -> tuple[Spec, ...]:
        """Return what a chain of layers makes of its input."""
        value: object = first
        results: tuple[Spec, ...] = tuple(tensors(first))
        for layer in layers:
            if not layer.is_input:
                results = self.call(layer, Call([value], {}, self.call))
                value = results[0] if len(results) == 1 else list(results)
        return results

    def call(self, layer: Layer, call: Call) -> tuple[Spec, ...]:
        """Return what one call of a layer returns; nothing is known of the output where no rule applies."""
        self._spend(1 + len(call.specs))
        try:
            results = self._nested(layer, call) if layer.is_model else self._by_rule(layer, call)
        except (ConfigError, ShapeMismatchError) as error:
            self.notes.setdefault(layer.name, f"the output of layer {printable(layer.name)} is not known: {error}")
            results = (Spec(),)
        self._spend(len(results))
        return tuple(spec if _is_sane(spec) else Spec(None, spec.dtype) for spec in results)

    def _spend(self, steps: int) -> None:
        """Count steps of all models together; nested models could multiply them without bound."""
        self._steps -= steps
        if self._steps < 0:
            raise LimitExceededError(f"the Keras model takes more than {_MAX_STEPS} steps to follow")

    def _by_rule(self, layer: Layer, call: Call) -> tuple[Spec, ...]:
        if layer.is_foreign:
            rule = None
        elif layer.class_name in FUNCTION_LAYERS or layer.is_operation:
            rule, call = _operation(layer, call)
        else:
            rule = rule_for_layer(layer.class_name)
        if rule is None:
            return (Spec(),)
        if self._depth > _MAX_NESTING:
            raise LimitExceededError("the Keras model nests layers too deeply")
        self._depth += 1
        try:
            result = rule(layer, call)
        finally:
            self._depth -= 1
        return (result,) if isinstance(result, Spec) else tuple(result)

    def _nested(self, layer: Layer, call: Call) -> tuple[Spec, ...]:
        if self._depth > _MAX_NESTING:
            raise LimitExceededError("the Keras model nests models too deeply")
        key = (id(layer.config), tuple(tensors([list(call.args), dict(call.kwargs)])))
        if key not in self._known:
            self._configs.append(layer.config)
            self._depth += 1
            if layer.is_functional:
                inner = self.graph(layer)
                wanted = [declared(inner.layers[ref.layer]) for ref in inner.inputs if ref.layer in inner.layers]
                self._known[key] = self.functional(layer, _fit(call, wanted))
            else:
                chain = self._chain(layer)
                self._known[key] = self.sequential(chain, call.args[0] if call.args else None)
            self._depth -= 1
        return self._known[key]

    def _work_out(
        self, graph: Graph, wanted: tuple[str, int], results: dict[tuple[str, int], tuple[Spec, ...]]
    ) -> None:
        """Compute a call after all that it depends on, without recursion: graphs are thousands of calls deep."""
        stack, opened = [wanted], set()
        while stack:
            name, index = stack[-1]
            if stack[-1] in results:
                stack.pop()
                continue
            calls = graph.calls[name]
            if not calls:
                layer = graph.layers[name]
                results[stack.pop()] = (declared(layer) if layer.is_input else Spec(),)
                continue
            node = calls[index]
            self._spend(node.size)
            needed = {graph.node_of(reference) for reference in references([node.args, node.kwargs])}
            missing = [key for key in needed if key not in results]
            if not missing:
                args = resolve(node.args, lambda reference: _pick(graph, results, reference))
                kwargs = resolve(node.kwargs, lambda reference: _pick(graph, results, reference))
                results[stack.pop()] = self.call(graph.layers[name], Call(args, kwargs, self.call))
            elif stack[-1] in opened:
                raise MalformedModelError(f"the Keras model's layers form a cycle through {name!r:.80}")
            else:
                opened.add(stack[-1])
                stack.extend(missing)


def _operation(layer: Layer, call: Call) -> tuple[Rule | None, Call]:
    """Return an operation's rule and the call that it answers; few models hold one, so both are imported here."""
    from klever.steps.frameworks.keras.rules.operations import rule_for_operation
    from klever.steps.frameworks.keras.rules.recorded import function_call

    rule = rule_for_operation(layer)
    return rule, function_call(layer, call) if layer.class_name == RECORDED else call


def declared(layer: Layer) -> Spec:
    """Return what an input layer, or the first of an old sequential model, says of its input."""
    config = layer.config
    shape = as_shape(config.get("batch_input_shape", config.get("batch_shape")))
    if shape is None and (shape := as_shape(config.get("input_shape"))) is not None:
        shape = (-1, *shape)
    dtype = numpy_dtype(config.get("dtype") or config.get("input_dtype"))
    return Spec(shape, dtype or "float32")


def sequential_layers(model: Layer) -> list[Layer]:
    """Return the layers of a sequential model; raises `MalformedModelError` where one is no object."""
    entries = model.config.get("layers")
    layers = []
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, dict):
            raise MalformedModelError("the Keras model has a layer that is not a JSON object")
        layers.append(Layer(entry))
    return layers


def _pick(graph: Graph, results: dict[tuple[str, int], tuple[Spec, ...]], reference: Reference) -> Spec:
    """Return the tensor that a reference means, with what Keras 3 noted about it, which outweighs inference."""
    node = graph.node_of(reference)
    outputs = results.get(node, ())
    spec = outputs[reference.tensor] if 0 <= reference.tensor < len(outputs) else Spec()
    fact = graph.facts.get(Reference(*node, reference.tensor))
    if fact is None:
        return spec
    try:
        return Spec(merge(spec.shape, fact.shape), fact.dtype or spec.dtype)
    except ShapeMismatchError:
        return fact


def _fit(call: Call, wanted: Sequence[Spec]) -> list[Spec]:
    """Return the tensors of a call as a nested model takes them: cast to what its inputs declare."""
    given = [*call.specs, *tensors([list(call.args[1:]), dict(call.kwargs)])]
    fitted = []
    for index, want in enumerate(wanted):
        have = given[index] if index < len(given) else Spec()
        try:
            shape = merge(have.shape, want.shape)
        except ShapeMismatchError:
            shape = have.shape
        fitted.append(Spec(shape, want.dtype or have.dtype))
    return fitted


def _is_sane(spec: Spec) -> bool:
    """Whether a shape could be stored at all; repeated multiplication must not grow without bound."""
    return spec.shape is None or (
        len(spec.shape) <= MAX_RANK and all(-1 <= size <= MAX_DIMENSION for size in spec.shape)
    )
