"""The source: its network with the shapes that a person asks for, and where its weights lie."""

from klever.steps.converters.asked import check_names
from klever.steps.converters.interface import Options, SourceModel
from klever.steps.errors import LimitExceededError, MissingFilesError
from klever.steps.files import opened
from klever.steps.formats.caffemodel.graph import Graph
from klever.steps.formats.caffemodel.reader import read_network
from klever.steps.formats.caffemodel.weights import Blob, read_weights
from klever.steps.model.shapes import Shape, ShapeMismatchError, merge

#: Ten times what fits the memory of any machine that runs such a network, in elements of one input.
_MAX_INPUT = 2**40


def read_source(model: SourceModel, options: Options) -> tuple[Graph, str, dict[str, tuple[Blob, ...]]]:
    """Return the network, the file that holds the weights, and where in it the blobs of each layer are.

    Inputs have the shapes of the prototxt, in what it leaves open those that the author wrote, and over both what the
    options say. Raises a `ModelError`, or `ConversionError` for an input that there is not.
    """
    graph, files = read_network(model.files, model.claim)
    if not files:
        raise MissingFilesError("the network has no weights", missing=("one *.caffemodel",))
    with opened(model.files, files[0]) as source:
        weights = read_weights(source)
    check_names([given.name for given in graph.inputs], options)
    written = {tensor.name: tensor.shape for tensor in model.signature.inputs or ()}
    inputs = tuple(
        given._replace(shape=_shape(given.name, _together(given.shape, written.get(given.name)), options))
        for given in graph.inputs
    )
    return graph._replace(inputs=inputs), files[0], weights


def _together(stated: Shape, written: Shape) -> Shape:
    """Fill what the prototxt leaves open; it wins where the two contradict each other."""
    try:
        return merge(stated, written)
    except ShapeMismatchError:
        return stated


def _shape(name: str, shape: Shape, options: Options) -> Shape:
    shape = options.shapes.get(name, shape)
    if shape and options.batch is not None:
        shape = (options.batch, *shape[1:])
    total = 1
    for size in shape or ():
        total *= max(size, 1)
    if total > _MAX_INPUT:
        raise LimitExceededError(f"the input {name!r} has a shape larger than any that can run: {shape}")
    return shape
