"""The source as the walk needs it: the graph, its stored arrays, and all shapes and types that follow.

What does not belong here: ONNX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.errors import ConversionError, MissingFilesError
from klever.steps.formats.mxnetparams.graph import Graph
from klever.steps.formats.mxnetparams.outputs import output_names
from klever.steps.formats.mxnetparams.params import Array, read_arrays
from klever.steps.formats.mxnetparams.reader import read_graph
from klever.steps.formats.mxnetparams.roles import find_used
from klever.steps.formats.mxnetparams.rules import canonical
from klever.steps.formats.mxnetparams.shapes import InferredShapes, declared_shape
from klever.steps.model.signature import Tensor

#: Inputs that are weights wherever they occur, by the operator's canonical name: a network that computes or feeds them
#: exists only in research, while files that lack arrays are common.
_WEIGHTS: Final = {
    **dict.fromkeys(("convolution", "deconvolution", "fullyconnected"), (1, 2)),
    **dict.fromkeys(("batchnorm", "syncbatchnorm", "cudnnbatchnorm", "batchnormwithrelu"), (1, 2, 3, 4)),
    **dict.fromkeys(("layernorm", "groupnorm", "instancenorm"), (1, 2)),
    "embedding": (1,),
    "deformableconvolution": (2, 3),
    "rnn": (1,),
}


@dataclass(frozen=True)
class Network:
    """A symbol with what is known of it.

    ``inputs`` are the values to feed, in the symbol's order; ``arrays`` the stored ones by name; ``used`` the positions
    of the nodes that count when the network is used. ``outputs`` are the heads' names, each once.
    """

    graph: Graph
    arrays: Mapping[str, Array]
    used: frozenset[int]
    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    shapes: InferredShapes


def read_network(model: SourceModel, options: Options) -> Network:
    """Read the two files' headers and infer all shapes.

    Raises a `ModelError`, or `ConversionError` for shapes in ``options`` that contradict the weights.
    """
    symbol, params = model.claim.files
    graph = read_graph(model.files, symbol)
    source = model.files.open(params)
    try:
        arrays = {array.name: array for array in read_arrays(source) if array.shape is not None}
    finally:
        source.close()
    used = find_used(graph)
    fed = [
        node.name for at, node in enumerate(graph.nodes) if at in used and node.is_variable and node.name not in arrays
    ]
    _refuse_missing(graph, used, frozenset(fed))
    inputs = _inputs(tuple(dict.fromkeys(fed)), model, options)
    shapes = _infer(graph, arrays, inputs)
    inputs = tuple(tensor.model_copy(update={"shape": shapes.of(tensor.name)}) for tensor in inputs)
    return Network(graph, arrays, used, inputs, _once(output_names(graph)), shapes)


def _refuse_missing(graph: Graph, used: frozenset[int], fed: frozenset[str]) -> None:
    """Raise `MissingFilesError` with the names of all weights that the params file lacks."""
    missing = {
        name
        for at, node in enumerate(graph.nodes)
        if at in used
        for place in _WEIGHTS.get(canonical(node.op), ())
        if place < len(node.inputs) and (name := graph.nodes[node.inputs[place].node].name) in fed
        # Of a node with several outputs and of one that is no variable the name is not among those that are fed.
    }
    if missing:
        names = tuple(sorted(missing))
        shown = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        raise MissingFilesError(
            f"the params file lacks {len(names)} arrays that the symbol needs: {shown}",
            missing=names,
            next_step="take the params file that was saved with this symbol",
        )


def _inputs(names: Sequence[str], model: SourceModel, options: Options) -> tuple[Tensor, ...]:
    """Return what has to be fed, with the types and shapes of the signature and then of the options."""
    if unknown := sorted(set(options.shapes) - set(names)):
        raise ConversionError(
            f"the model has no input {unknown[0]!r}", next_step=f"give a shape for one of {', '.join(names)}"
        )
    known = {tensor.name: tensor for tensor in model.signature.inputs or ()}
    found = []
    for name in names:
        tensor = known.get(name, Tensor(name=name))
        shape = options.shapes.get(name, tensor.shape)
        if shape and options.batch is not None:
            shape = (options.batch, *shape[1:])
        found.append(Tensor(name=name, dtype=computed_type(tensor.dtype), shape=shape))
    return tuple(found)


def computed_type(dtype: str | None) -> str:
    """Return the type that is computed in: float32 in place of bfloat16, which neither numpy nor most runtimes have."""
    return "float32" if dtype in (None, "bfloat16") else str(dtype)


def _infer(graph: Graph, arrays: Mapping[str, Array], inputs: Sequence[Tensor]) -> InferredShapes:
    """Let the shapes of the arrays, then those of the inputs flow through the graph."""
    shapes = InferredShapes(graph)
    variables = {node.name: node for node in graph.nodes if node.is_variable}
    fed = {tensor.name for tensor in inputs}
    for name, node in variables.items():
        if name in arrays:
            shapes.state(name, arrays[name].shape)
        if name not in fed:
            shapes.try_to_state(name, declared_shape(node.attributes))
    shapes.propagate()
    for tensor in inputs:
        if not shapes.try_to_state(tensor.name, tensor.shape):
            raise ConversionError(
                f"the shape {tensor.shape} for input {tensor.name!r} contradicts the weights, which take "
                f"{shapes.of(tensor.name)}",
                next_step="give a shape that fits",
            )
    shapes.propagate()
    shapes.propagate(assume=True)
    return shapes


def _once(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, those that occur again with a number behind them."""
    seen: set[str] = set()
    result = []
    for name in names:
        chosen, count = name or "output", 0
        while chosen in seen:
            count += 1
            chosen = f"{name}_{count}"
        seen.add(chosen)
        result.append(chosen)
    return tuple(result)


def describe_doubts(network: Network) -> tuple[str, ...]:
    """Return what a person should know of the conversion: where runtimes of MXNet differ from one another."""
    notes = []
    if any(array.dtype == "bfloat16" for array in network.arrays.values()):
        notes.append("weights in bfloat16 are stored and computed in float32")
    layers = [node for node in network.graph.nodes if canonical(node.op) == "rnn"]
    doubtful = {"use_sequence_length": "the lengths of sequences", "lstm_state_clip_min": "bounds of the cell"}
    for key, what in doubtful.items():
        names = [node.name for node in layers if node.attributes.get(key, "None") not in ("None", "False", "0")]
        if names:
            notes.append(f"{what} hold in {', '.join(names)}, as MXNet's operator defines; MXNet on a CPU ignores them")
    return tuple(notes)
