"""Which values make sense for an input: the rows of the embedding that it is looked up in."""

from collections.abc import Iterable, Mapping

from klever.steps.errors import KleverError
from klever.steps.frameworks.keras.document import ConfigError
from klever.steps.frameworks.keras.graph import Graph, read_graph, references
from klever.steps.frameworks.keras.inference import sequential_layers
from klever.steps.frameworks.keras.layer import Layer

#: Half-open.
Range = tuple[int, int]
#: Layers that hand on what they are given, for which rows stay rows.
_PASSING = frozenset(
    {"Dropout", "Masking", "Reshape", "Flatten", "Permute", "RepeatVector", "Activation", "InputLayer"}
)
_MAX_NESTING = 24


def embedded_ranges(model: Layer) -> tuple[Range | None, ...]:
    """Return the range of every input of a model in the order of its inputs, None where any value will do.

    Never raises: a range that is not found only makes the inputs of a proof less likely.
    """
    try:
        return _ranges(model, 0)
    except (KleverError, ConfigError):
        return ()


def _ranges(layer: Layer, depth: int) -> tuple[Range | None, ...]:
    if depth > _MAX_NESTING:
        return ()
    if layer.class_name == "Embedding":
        return ((0, layer.integer("input_dim")),)
    if layer.is_sequential:
        return _through(sequential_layers(layer), depth)
    if layer.is_functional:
        return _of_graph(read_graph(layer.config), depth)
    if layer.class_name == "TimeDistributed":
        return _ranges(layer.part("layer"), depth + 1)
    return ()


def _through(layers: Iterable[Layer], depth: int) -> tuple[Range | None, ...]:
    for layer in layers:
        if layer.class_name not in _PASSING:
            return _ranges(layer, depth + 1)
    return ()


def _of_graph(graph: Graph, depth: int) -> tuple[Range | None, ...]:
    found: dict[str, Range] = {}
    for name, calls in graph.calls.items():
        wanted = _ranges(graph.layers[name], depth + 1)
        for call in calls if any(wanted) else ():
            for source, kept in zip(references([call.args, call.kwargs]), wanted, strict=False):
                origin = _origin(graph, source.layer)
                if kept is not None:
                    found[origin] = _narrower(found.get(origin), kept)
    return tuple(found.get(reference.layer) for reference in graph.inputs)


def _origin(graph: Graph, name: str) -> str:
    """Return where a tensor comes from, through layers that only hand it on."""
    for _ in range(_MAX_NESTING):
        layer, calls = graph.layers.get(name), graph.calls.get(name, ())
        if layer is None or layer.is_input or layer.class_name not in _PASSING or len(calls) != 1:
            break
        name = next((reference.layer for reference in references(calls[0].args)), name)
    return name


def _narrower(known: Range | None, other: Range) -> Range:
    return other if known is None else (max(known[0], other[0]), min(known[1], other[1]))


def by_name(names: Iterable[str], ranges: Iterable[Range | None]) -> Mapping[str, Range]:
    """Return the ranges that there are, by the names of the inputs."""
    return {name: found for name, found in zip(names, ranges, strict=False) if found is not None}
