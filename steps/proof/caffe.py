"""What OpenCV has to be told of a Caffe model: its network as it is deployed, and which layer writes which blob.

OpenCV takes the prototxt for what it is, without the parting into training and deployment that Caffe's users make by
hand: a network of training is written anew without its data layers and what judges by labels. Any other is handed over
as it is. A network that OpenCV would compute otherwise than Caffe is no measure for a result, and is not run at all.
What does not belong here: running it.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from klever.steps.converters.interface import SourceModel
from klever.steps.encodings.prototext import Fields, Symbol, Value
from klever.steps.errors import ConversionError
from klever.steps.formats.caffemodel.graph import DATA_TYPES, Graph, Layer
from klever.steps.formats.caffemodel.reader import read_network

#: Fields of a layer that say when and how it is trained; V2 knows not all of them.
_OF_TRAINING: Final = frozenset({"blobs_lr", "exclude", "include", "loss_weight", "param", "weight_decay"})
#: What a quoted text may not hold as it is.
_SPECIAL: Final = re.compile(r"[^ !#-\[\]-~]")
#: What OpenCV 4.11 computes otherwise than Caffe 1.0 without a word, by running both over random uses of every layer:
#: layer type to the test of a layer and what it ignores or does.
_DEVIATIONS: Final[Mapping[str, tuple[Callable[[Layer], bool], str]]] = MappingProxyType(
    {
        "Concat": (lambda layer: len(layer.bottoms) == 1, "a single bottom"),
        "Deconvolution": (
            lambda layer: any(size != 1 for size in layer.fields.message("convolution_param").integers("dilation")),
            "dilation",
        ),
        "InnerProduct": (lambda layer: layer.fields.message("inner_product_param").flag("transpose"), "transpose"),
        "LRN": (lambda layer: layer.fields.message("lrn_param").number("k", 1.0) != 1.0, "k"),
        "Log": (lambda layer: bool({"base", "scale", "shift"} & set(layer.fields.message("log_param"))), "parameters"),
        # It adds eps under the root, Caffe behind it; the default makes no difference.
        "MVN": (lambda layer: layer.fields.message("mvn_param").number("eps", 1e-9) > 1e-7, "eps"),
        "Scale": (
            lambda layer: len(layer.bottoms) > 1 and layer.fields.message("scale_param").flag("bias_term"),
            "a bias beside a second bottom",
        ),
        "Swish": (lambda layer: layer.fields.message("swish_param").number("beta", 1.0) != 1.0, "beta"),
    }
)
#: OpenCV's arrays have two axes at least.
_LEAST_RANK: Final = 2


def deployed(model: SourceModel, scratch: Path) -> dict[str, Any]:
    """Return what the program ``run_opencv`` needs beside the arrays.

    Raises `ConversionError` where OpenCV does not compute what Caffe does, and a `ModelError`.
    """
    graph, weights = read_network(model.files, model.claim)
    _check(graph)
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
        "ranks": {
            tensor.name: len(tensor.shape) for tensor in model.signature.outputs or () if tensor.shape is not None
        },
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


def _check(graph: Graph) -> None:
    """Raise `ConversionError` for what OpenCV is known to compute otherwise than Caffe."""
    for layer in graph.layers:
        deviates, what = _DEVIATIONS.get(layer.type, (_never, ""))
        if deviates(layer):
            raise ConversionError(
                f"OpenCV treats {what} of {layer.type} otherwise than Caffe, and layer {layer.name!r} has that"
            )
    for fed in graph.inputs:
        if fed.shape is not None and len(fed.shape) < _LEAST_RANK:
            raise ConversionError(f"OpenCV has no arrays of one axis, as input {fed.name!r} is")


def _never(_layer: Layer) -> bool:
    return False


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
