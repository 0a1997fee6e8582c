"""From a network's layers and the places of its weights to the NetDef that computes the same.

What does not belong here: what a layer becomes (see ``layers``), reading and writing files.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from klever.steps.converters.caffemodel_to_netdef.layers import RULES
from klever.steps.converters.caffemodel_to_netdef.layers.ends import judges
from klever.steps.converters.caffemodel_to_netdef.network import Network
from klever.steps.converters.caffemodel_to_netdef.site import NeedsShapeError, Site, UncoveredError
from klever.steps.converters.interface import Uncovered
from klever.steps.errors import MalformedModelError
from klever.steps.formats.caffemodel.graph import Graph, Input, Layer
from klever.steps.formats.caffemodel.shapes import infer_shapes
from klever.steps.formats.caffemodel.weights import Blob
from klever.steps.model.shapes import UNKNOWN, ShapeMismatchError


class Translation(NamedTuple):
    """What came of a network."""

    network: Network
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    uncovered: tuple[Uncovered, ...]
    #: Inputs whose shapes are not known well enough.
    asked: tuple[str, ...]
    notes: tuple[str, ...]


class _Lacks:
    """Gathers by type and reason the layers that cannot be carried over."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, str], list[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def add(self, kind: str, reason: str, layer: str) -> None:
        self._nodes.setdefault((kind, reason), []).append(layer)

    def listed(self) -> tuple[Uncovered, ...]:
        return tuple(Uncovered(kind, tuple(nodes), reason) for (kind, reason), nodes in self._nodes.items())


def translate(graph: Graph, weights: Mapping[str, tuple[Blob, ...]]) -> Translation:
    """Translate every layer of a graph whose inputs have the shapes that they are to have.

    Layers that have no counterpart do not end the work: all are gathered. Raises `MalformedModelError` where the
    network contradicts itself or its weights, `LimitExceededError` where it asks for absurd constants.
    """
    inference = infer_shapes(graph)
    if inference.notes:
        raise MalformedModelError(f"the network does not fit together: {inference.notes[0]}")
    kept = [layer for layer in graph.layers if not judges(layer.type)]
    taken = {blob for layer in graph.layers for blob in (*layer.bottoms, *layer.tops)}
    network = Network((*taken, *(given.name for given in graph.inputs)))
    fed = {given.name for given in graph.inputs}
    lacks, needing = _Lacks(), []
    for layer in kept:
        if layer.tops and fed.issuperset(layer.tops) and not layer.bottoms:
            continue
        site = Site(layer, network, inference.blobs, _stored(layer, graph.layers, weights))
        try:
            _apply(site)
        except UncoveredError as error:
            lacks.add(*_named(layer), f"no counterpart for {error}", layer.name) if False else lacks.add(
                _named(layer), str(error), layer.name
            )
        except NeedsShapeError:
            needing.append(layer)
    asked = _open_inputs(graph) if needing else ()
    if needing and not asked and not lacks:
        for layer in needing:
            lacks.add(layer.type, "it depends on sizes that are known only when the network runs", layer.name)
    notes = [f"the layer {layer.name} ({layer.type}) compares with labels and is left out" for layer in (*graph.judges,)]
    return Translation(
        network,
        _used_inputs(graph, kept),
        _outputs(graph, kept),
        lacks.listed(),
        asked,
        tuple(notes),
    )
