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
from klever.steps.encodings.prototext import Fields
from klever.steps.errors import MalformedModelError
from klever.steps.formats.caffemodel.graph import Graph, Input, Layer
from klever.steps.formats.caffemodel.shapes import infer_shapes
from klever.steps.formats.caffemodel.weights import Blob
from klever.steps.model.shapes import UNKNOWN


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

    def add(self, layer: Layer, reason: str) -> None:
        self._nodes.setdefault((layer.type, reason), []).append(layer.name)

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
    fed = {given.name for given in graph.inputs}
    network = Network([*fed, *(blob for layer in graph.layers for blob in (*layer.bottoms, *layer.tops))])
    shared = _shared(graph.layers, weights)
    lacks, needing = _Lacks(), list[Layer]()
    producers: dict[str, Layer] = {}
    for layer in kept:
        if not layer.bottoms and layer.tops and fed.issuperset(layer.tops):
            continue
        try:
            _apply(Site(layer, network, inference.blobs, _stored(layer, weights, shared), producers))
        except UncoveredError as error:
            lacks.add(layer, str(error))
        except NeedsShapeError:
            needing.append(layer)
        producers.update(dict.fromkeys(layer.tops, layer))
    asked = _open_inputs(graph) if needing else ()
    if needing and not asked and not lacks:
        for layer in needing:
            lacks.add(layer, "it depends on sizes that are known only when the network runs")
    inputs, outputs = _ends(graph, kept)
    return Translation(network, inputs, outputs, lacks.listed(), asked, tuple(_notes(graph)))


def _apply(site: Site) -> None:
    layer = site.layer
    rule = RULES.get(layer.type)
    if rule is None:
        code = layer.fields.message("python_param")
        raise UncoveredError(f"code, the class {code.text('layer')[:60]}" if layer.type == "Python" else "")
    try:
        rule(site)
    except (ValueError, ArithmeticError, IndexError) as error:
        raise MalformedModelError(f"the layer {layer.name!r} ({layer.type}) contradicts itself: {error}") from error


def _parameter_names(layer: Layer) -> list[str]:
    # In V1 a ``param`` is the name itself.
    params = layer.fields.values("param")
    return [param.text("name") if isinstance(param, Fields) else str(param) for param in params]


def _shared(layers: Iterable[Layer], weights: Mapping[str, tuple[Blob, ...]]) -> dict[str, Blob]:
    """Return the blobs that layers share by a name (``param { name: ... }``).

    Where several layers store such a blob the last one in the file counts: Caffe copies each over the one before.
    """
    named = {layer.name: _parameter_names(layer) for layer in layers if "param" in layer.fields}
    return {
        name: blob
        for layer, blobs in weights.items()
        for name, blob in zip(named.get(layer, ()), blobs, strict=False)
        if name
    }


def _stored(layer: Layer, weights: Mapping[str, tuple[Blob, ...]], shared: Mapping[str, Blob]) -> tuple[Blob, ...]:
    """Return the blobs of a layer, its own and those that it shares."""
    blobs = weights.get(layer.name, ())
    if not shared or "param" not in layer.fields:
        return blobs
    names = _parameter_names(layer)
    if not blobs:
        return tuple(shared[name] for name in names) if all(name in shared for name in names) else ()
    return tuple(shared.get(names[at], blob) if at < len(names) else blob for at, blob in enumerate(blobs))


def _open_inputs(graph: Graph) -> tuple[str, ...]:
    """Return the inputs of which more than the batch is open, or where there are none those with an open batch."""
    for first in (1, 0):
        found = [given.name for given in graph.inputs if given.shape is None or UNKNOWN in given.shape[first:]]
        if found:
            return tuple(found)
    return ()


def _ends(graph: Graph, kept: Iterable[Layer]) -> tuple[tuple[Input, ...], tuple[str, ...]]:
    """Return the inputs that are left without the layers that judge, and the blobs that nothing consumes."""
    kept = list(kept)
    sunk = [bottom for layer in kept if layer.type == "HDF5Output" for bottom in layer.bottoms]
    if len(kept) == len(graph.layers):
        # What a network writes to a file is what it gives.
        return graph.inputs, graph.outputs or tuple(dict.fromkeys(sunk))
    fed = {given.name for given in graph.inputs}
    read: set[str] = set()
    left: dict[str, None] = {}
    for layer in kept:
        read.update(layer.bottoms)
        for bottom in layer.bottoms:
            left.pop(bottom, None)
        left.update(dict.fromkeys(top for top in layer.tops if top not in fed))
    inputs = tuple(given for given in graph.inputs if given.name in read)
    return inputs, tuple(left) or tuple(dict.fromkeys(sunk))


def _notes(graph: Graph) -> Iterable[str]:
    for layer in graph.judges or [layer for layer in graph.layers if judges(layer.type)]:
        if layer.type != "Silence":
            yield f"the layer {layer.name!r} ({layer.type}) compares with labels and is left out"
    for layer in graph.layers:
        if layer.type in ("SoftmaxWithLoss", "SigmoidCrossEntropyLoss"):
            yield f"the layer {layer.name!r} ({layer.type}) gives probabilities instead of a loss"
        elif layer.type == "LRN" and set(layer.tops) & set(layer.bottoms):
            # The processor's `CrossChannelForward_cpu` overwrites what it still has to read.
            yield f"the layer {layer.name!r} (LRN) works in place; the result is that of Caffe on graphics cards"
        elif layer.type in ("LSTM", "RNN"):
            yield f"the states of the layer {layer.name!r} begin at zero in every run; Caffe keeps them between runs"
