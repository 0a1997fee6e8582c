"""What OpenCV has to be told of a Caffe model: its network as it is deployed, and which layer writes which blob.

OpenCV takes the prototxt for what it is, without the parting into training and deployment that Caffe's users make by
hand: a network of training is written anew without its data layers and what judges by labels. Any other is handed over
as it is. What does not belong here: running it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from klever.steps.converters.interface import SourceModel
from klever.steps.encodings.prototext import Fields, Symbol, Value
from klever.steps.formats.caffemodel.graph import DATA_TYPES, Graph
from klever.steps.formats.caffemodel.reader import read_network

#: Fields of a layer that say when and how it is trained; V2 knows not all of them.
_OF_TRAINING: Final = frozenset({"blobs_lr", "exclude", "include", "loss_weight", "param", "weight_decay"})
#: What a quoted text may not hold as it is.
_SPECIAL: Final = re.compile(r"[^ !#-\[\]-~]")


def deployed(model: SourceModel, scratch: Path) -> dict[str, Any]:
    """Return ``path``, ``weights`` and ``producers`` for the program ``run_opencv``. Raises a `ModelError`."""
    graph, weights = read_network(model.files, model.claim)
    text = next(name for name in model.claim.files if name not in weights)
    path = model.path(text).absolute()
    producers = _producers(graph)
    if graph.judges or any(layer.type in DATA_TYPES for layer in graph.layers):
        path = scratch / "deploy.prototxt"
        path.write_text(write_deploy(graph), encoding="utf-8")
    return {
        "path": str(path),
        "weights": str(model.path(weights[0]).absolute()) if weights else "",
        "producers": {blob: producers[blob] for blob in graph.outputs},
    }


def write_deploy(graph: Graph) -> str:
    """Return a network as the text of a deployed one: inputs with sizes, and the layers that compute."""
    lines = []
    for fed in graph.inputs:
        # What is not known becomes one, and is set by the first input.
        sizes = " ".join(f"dim: {max(size, 1)}" for size in fed.shape or ())
        lines.append(f'input: "{fed.name}" input_shape {{ {sizes} }}')
    lines += [
        "layer {\n" + "\n".join(_lines(layer.fields, "  ")) + "\n}"
        for layer in graph.layers
        if layer.type not in DATA_TYPES
    ]
    return "\n".join(lines) + "\n"


def _producers(graph: Graph) -> dict[str, tuple[str, int]]:
    """Return for every blob the layer that writes it last, and its place among that layer's blobs."""
    producers: dict[str, tuple[str, int]] = {}
    for layer in graph.layers:
        for index, top in enumerate(layer.tops):
            # Copies are no blobs of their own in OpenCV; Caffe itself inserts them, and snapshots keep them.
            copied = producers.get(layer.bottoms[0]) if layer.type == "Split" and layer.bottoms else None
            producers[top] = copied or (layer.name, index)
    return producers


def _lines(fields: Fields, indent: str) -> Iterator[str]:
    """Write a message in protobuf's text format."""
    for name in fields:
        for value in fields.values(name) if name not in _OF_TRAINING else ():
            if isinstance(value, Fields):
                yield f"{indent}{name} {{"
                yield from _lines(value, f"{indent}  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(value)}"


def _scalar(value: Value) -> str:
    if isinstance(value, str) and not isinstance(value, Symbol):
        return '"' + _SPECIAL.sub(lambda found: "".join(f"\\{byte:03o}" for byte in found[0].encode()), value) + '"'
    return str(value)
