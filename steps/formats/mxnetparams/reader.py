"""The signature of an MXNet model: the graph's inputs and outputs, with shapes that follow from the stored weights.

What does not belong here: how the two files are laid out.
"""

from collections.abc import Mapping, Sequence

from klever.steps.errors import LimitExceededError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.mxnetparams.dtypes import InferredTypes, declared_type
from klever.steps.formats.mxnetparams.graph import MAX_BYTES, UNSTATED_VERSION, Entry, Graph, parse_graph
from klever.steps.formats.mxnetparams.outputs import output_names
from klever.steps.formats.mxnetparams.params import Array, read_arrays
from klever.steps.formats.mxnetparams.roles import find_inputs
from klever.steps.formats.mxnetparams.shapes import InferredShapes, declared_shape
from klever.steps.model.shapes import Shape
from klever.steps.model.signature import Signature, Tensor


def read_model(files: ModelFiles, symbol: str, params: str, author: Signature | None) -> Reading:
    """Read the signature from the symbol and the params file; raises a `ModelError`."""
    graph = read_graph(files, symbol)
    with opened(files, params) as source:
        arrays = read_arrays(source)
    inputs = find_inputs(graph, {array.name for array in arrays})
    types = InferredTypes(graph, _known_types(graph, arrays))
    wanted = {tensor.name: tensor for tensor in (author and author.inputs) or ()}
    for at in inputs:
        if tensor := wanted.get(graph.nodes[at].name):
            types.assume(Entry(at, 0), tensor.dtype)
    shapes = InferredShapes(graph)
    _state_files(shapes, graph, arrays)
    shapes.propagate()
    sizes = {name: tensor.shape for name, tensor in wanted.items() if tensor.shape is not None}
    implied = _assume(shapes, graph, inputs, sizes)
    signature = Signature(
        inputs=tuple(Tensor(name=graph.nodes[at].name, dtype=types[Entry(at, 0)], shape=implied[at]) for at in inputs),
        outputs=tuple(
            Tensor(name=name, dtype=types[head], shape=shapes[head])
            for name, head in zip(output_names(graph), graph.heads, strict=True)
        ),
        layers=dict(sorted(graph.count_operators().items())),
    )
    return Reading(signature=signature, notes=_notes(graph, arrays), facts=_facts(graph, arrays))


def read_graph(files: ModelFiles, path: str) -> Graph:
    """Read a symbol file; raises a `ModelError`."""
    if files.sizes[path] > MAX_BYTES:
        raise LimitExceededError(f"the symbol file of {files.sizes[path]} bytes is longer than the {MAX_BYTES} allowed")
    with opened(files, path) as source:
        return parse_graph(source.read_at(0, source.size))


def _known_types(graph: Graph, arrays: Sequence[Array]) -> dict[str, str]:
    known = {}
    for node in graph.nodes:
        if node.is_variable and (dtype := declared_type(node.attributes)) is not None:
            known[node.name] = dtype
    # What is stored outweighs what was declared: files are cast after they were trained.
    known.update((array.name, array.dtype) for array in arrays if array.dtype is not None)
    return known


def _state_files(shapes: InferredShapes, graph: Graph, arrays: Sequence[Array]) -> None:
    """State what the files say of variables: stored shapes first, then declared ones that do not contradict."""
    stored = {array.name: array.shape for array in arrays if array.shape is not None}
    for node in graph.nodes:
        if node.is_variable:
            for shape in (stored.get(node.name), declared_shape(node.attributes)):
                shapes.try_to_state(node.name, shape)


def _assume(
    shapes: InferredShapes, graph: Graph, inputs: Sequence[int], wanted: Mapping[str, Shape]
) -> dict[int, Shape]:
    """Return the shapes of the inputs, and then let the author's shapes and the plainest ones flow on to the outputs.

    The author's sizes decide among the shapes that fit, but are not taken for what the files say.
    """
    stated = [at for at in inputs if graph.nodes[at].name in wanted]
    implied = {at: shapes[Entry(at, 0)] for at in inputs}
    for at in stated:
        name = graph.nodes[at].name
        shapes.try_to_state(name, wanted[name])
    if stated:
        shapes.propagate()
    shapes.propagate(assume=True)
    for at in inputs:
        if at not in stated:
            implied[at] = shapes[Entry(at, 0)]
    return implied


def _notes(graph: Graph, arrays: Sequence[Array]) -> tuple[str, ...]:
    variables = {node.name for node in graph.nodes if node.is_variable}
    notes = []
    if arrays and not any(array.name in variables for array in arrays):
        notes.append(
            "no array of the params file has the name of a weight in the symbol file, so every weight counts as an "
            "input; the params file belongs to another symbol, or was written by save_parameters instead of export"
        )
    custom = sorted({node.attributes.get("op_type", "?") for node in graph.nodes if node.op == "Custom"})
    if custom:
        notes.append(f"operators written in Python are needed to run this model: {', '.join(custom[:20])}")
    return tuple(notes)


def _facts(graph: Graph, arrays: Sequence[Array]) -> dict[str, object]:
    facts: dict[str, object] = {"arrays": len(arrays)}
    if graph.version != UNSTATED_VERSION:
        major, rest = divmod(graph.version, 10000)
        facts["mxnetVersion"] = f"{major}.{rest // 100}.{rest % 100}"
    return facts
