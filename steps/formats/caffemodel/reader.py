"""The signature of a Caffe model: from its prototxt, with the weights only looked at from outside."""

from klever.steps.encodings.prototext import MAX_TEXT_BYTES, decode_prototext
from klever.steps.errors import LimitExceededError, MissingFilesError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.caffemodel import holds_weights
from klever.steps.formats.caffemodel.graph import DATA_TYPES, Graph, build_graph
from klever.steps.formats.caffemodel.shapes import RULES, infer_shapes
from klever.steps.formats.caffemodel.weights import check_weights
from klever.steps.formats.interface import Claim, Reading
from klever.steps.model.shapes import Shape
from klever.steps.model.signature import Signature, Tensor

#: Caffe computes in 32 bits unless it is built otherwise, and every tool that reads its files does.
_DTYPE = "float32"
_MAX_NOTES = 5


def read_model(files: ModelFiles, claim: Claim, author: Signature | None) -> Reading:
    """Read the network's inputs, its unconsumed blobs and its layer types.

    Sizes are as the prototxt states them, the batch too: a Caffe network has one until it is reshaped. Raises a
    `ModelError`.
    """
    graph, weights = read_network(files, claim)
    for path in weights:
        with opened(files, path) as source:
            check_weights(source)
    inference = infer_shapes(graph, _stated(author))
    signature = Signature(
        inputs=tuple(Tensor(name=fed.name, dtype=_DTYPE, shape=fed.shape) for fed in graph.inputs),
        outputs=tuple(Tensor(name=name, dtype=_DTYPE, shape=inference.blobs.get(name)) for name in graph.outputs),
        layers=graph.count_types(),
    )
    return Reading(signature, notes=tuple(_notes(graph, inference.notes)))


def read_network(files: ModelFiles, claim: Claim) -> tuple[Graph, tuple[str, ...]]:
    """Read the network of the prototxt, and say which of the claimed files hold weights. Raises a `ModelError`."""
    weights = tuple(
        path for path in claim.files if holds_weights(files.head(path)) or path.lower().endswith(".caffemodel")
    )
    nets = [path for path in claim.files if path not in weights]
    if not nets:
        raise MissingFilesError("a caffemodel tells nothing of its inputs", missing=("one *.prototxt",))
    return build_graph(decode_prototext(_whole(files, nets[0]))), weights


def _whole(files: ModelFiles, path: str) -> bytes:
    if files.sizes[path] > MAX_TEXT_BYTES:
        raise LimitExceededError(f"{path} has {files.sizes[path]} bytes, more than any network's description")
    with opened(files, path) as source:
        return source.read_at(0, source.size)


def _stated(author: Signature | None) -> dict[str, Shape]:
    return {tensor.name: tensor.shape for tensor in (author.inputs if author else None) or ()}


def _notes(graph: Graph, faults: tuple[str, ...]) -> list[str]:
    notes = list(faults[:_MAX_NOTES])
    if len(faults) > _MAX_NOTES:
        notes.append(f"and {len(faults) - _MAX_NOTES} more layers whose shapes could not be worked out")
    known = {*RULES, *DATA_TYPES, "Input", "Silence", "HDF5Output"}
    custom = sorted({layer.type for layer in graph.layers if layer.type not in known})
    if custom:
        notes.append(f"layer types whose shapes are not known: {', '.join(custom[:20])}")
    if graph.judges:
        notes.append(
            "the prototxt is that of training; the layers that compare with labels are left out of the outputs"
        )
    return notes
