"""The signature of a frozen graph.

Inputs are the placeholders; a placeholder with a default has a value of its own and is none. Outputs are the nodes
that no other reads. A control edge reads as well (the pivots of conditions are read by nothing else), unless it
comes from a node that yields nothing and only groups others. Nodes without outputs, placeholders and assignments
are no outputs. ``layers`` counts the nodes of the main graph by operator.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from klever.steps.encodings.protobuf import Message, fields, signed
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.graphdef import is_text
from klever.steps.formats.graphdef.call import Known
from klever.steps.formats.graphdef.inference import Graph
from klever.steps.formats.graphdef.operators import WITHOUT_OUTPUTS, is_known, outputs_of
from klever.steps.formats.interface import Reading
from klever.steps.frameworks.tensorflow import Function, Node, Part, dtype_name
from klever.steps.model.signature import Signature, Tensor

#: A defence: the largest published frozen graphs hold a third of it.
MAX_NODES: Final = 100_000

_INPUTS: Final = frozenset({"Placeholder", "PlaceholderV2"})
_CALLS: Final = frozenset(
    {"PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile"}
)
_VARIABLES: Final = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_NO_OUTPUTS: Final = frozenset(
    {"PlaceholderWithDefault", "Assign", "AssignAdd", "AssignSub", "RestoreV2", "Restore", "MergeSummary", *_INPUTS}
)


@dataclass
class Contents:
    """A GraphDef's parts."""

    nodes: dict[str, Node] = field(default_factory=dict)
    functions: dict[str, Function] = field(default_factory=dict)
    producer: int = 0


def read_model(files: ModelFiles, path: str, author: Signature | None) -> Reading:
    """Read the signature of the graph at ``path``.

    ``author`` tells the shapes of placeholders of unknown rank, for what follows from them. Raises
    `MalformedModelError` and `LimitExceededError`.
    """
    contents = read_contents(files, path)
    notes: list[str] = []
    graph = Graph(contents.nodes, contents.functions, producer=contents.producer)
    inputs = [_tensor(name, graph.infer(name)) for name in _inputs(contents.nodes)]
    if given := _given(inputs, author):
        # What the file says of its inputs stands; what follows from them follows from the author's word too.
        graph = Graph(contents.nodes, contents.functions, producer=contents.producer, given=given)
    outputs = [_tensor(name, graph.infer(name)) for name in _outputs(contents, notes)]
    notes += _notes(contents, inputs, outputs)
    return Reading(
        Signature(
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            layers=dict(sorted(Counter(node.op for node in contents.nodes.values()).items())),
        ),
        notes=tuple(notes),
        facts=_facts(contents),
    )


def read_contents(files: ModelFiles, path: str) -> Contents:
    """Read nodes and functions; raises `MalformedModelError` and `LimitExceededError`."""
    if is_text(files.head(path)):
        raise MalformedModelError(f"{path} is a graph in text form", next_step="save it in binary form")
    contents = Contents()
    with opened(files, path) as source:
        for number, value in Message.of(source):
            _take(contents, number, value)
    if not contents.nodes:
        raise MalformedModelError(f"{path} holds no graph: it has no nodes")
    return contents


def _take(contents: Contents, number: int, value: int | Part) -> None:
    """Take one field of a GraphDef: nodes (1), library (2), versions (4)."""
    if isinstance(value, int):
        return
    if number == 1:
        node = Node.read(value)
        if node.name in contents.nodes:
            raise MalformedModelError(f"two nodes of the graph are named {node.name[:100]!r}")
        contents.nodes[node.name] = node
    elif number == 2:
        for kind, content in fields(value):
            if kind == 1 and not isinstance(content, int):
                function = Function.read(content)
                contents.functions[function.name] = function
    elif number == 4:
        for kind, version in fields(value):
            if kind == 1 and isinstance(version, int):
                contents.producer = signed(version)
    if len(contents.nodes) > MAX_NODES:
        raise LimitExceededError(f"the graph holds more than {MAX_NODES} nodes")


def _given(inputs: Iterable[Tensor], author: Signature | None) -> dict[str, Known]:
    """Return the author's shapes of inputs of which the file does not even tell the rank."""
    told = {tensor.name.removesuffix(":0"): tensor.shape for tensor in (author.inputs if author else None) or ()}
    return {
        tensor.name: Known(told[tensor.name])
        for tensor in inputs
        if tensor.shape is None and told.get(tensor.name) is not None
    }


def _tensor(name: str, known: Known) -> Tensor:
    return Tensor(name=name, dtype=dtype_name(known.dtype), shape=known.shape)


def _inputs(nodes: Mapping[str, Node]) -> Iterable[str]:
    return (name for name, node in nodes.items() if node.op in _INPUTS)


def _outputs(contents: Contents, notes: list[str]) -> list[str]:
    """Return the nodes that no other reads."""
    silent = {name for name, node in contents.nodes.items() if _is_silent(contents, node)}
    read: set[str] = set()
    for node in contents.nodes.values():
        for given in node.inputs:
            control = given.startswith("^")
            if not control or node.name not in silent:
                read.add(given.removeprefix("^").partition(":")[0])
    names = []
    for name, node in contents.nodes.items():
        if name in read or name in silent or node.op in _NO_OUTPUTS:
            continue
        names.append(name)
        more = _yields(contents, node)
        if more > 1:
            notes.append(f"output {name} yields {more} tensors; {name} is the first, {name}:1 the next")
    return names


def _is_silent(contents: Contents, node: Node) -> bool:
    """Tell whether a node yields no tensor; only calls of functions need a closer look."""
    return node.op in WITHOUT_OUTPUTS or (
        (node.op in contents.functions or node.op in _CALLS) and _yields(contents, node) == 0
    )


def _yields(contents: Contents, node: Node) -> int:
    """Return how many tensors a node yields; one, for an operator that nobody here knows."""
    if node.op in contents.functions:
        return len(contents.functions[node.op].results)
    outputs = outputs_of(node)
    return 1 if outputs is None else len(outputs)


def _notes(contents: Contents, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> Iterable[str]:
    if not inputs:
        yield "the graph has no placeholder, so no input"
    if not outputs:
        yield "every node of the graph is read by another, so none is an output"
    if variables := [node.name for node in contents.nodes.values() if node.op in _VARIABLES]:
        yield f"the graph is not frozen: {len(variables)} variables, as {variables[0][:100]!r}, have no value in it"
    for tensor in outputs:
        if tensor.shape is None:
            yield f"the shape of output {tensor.name} does not follow from the graph"
    operators = {node.op for node in contents.nodes.values()} - contents.functions.keys()
    unknown = sorted(op for op in operators if not is_known(op))
    if unknown:
        yield f"operators that are not known here, so neither are their results: {', '.join(unknown[:16])}"


def _facts(contents: Contents) -> dict[str, Any]:
    inside = Counter(node.op for function in contents.functions.values() for node in function.nodes)
    facts = {"producerVersion": contents.producer, "functionOperators": dict(sorted(inside.items()))}
    return {name: fact for name, fact in facts.items() if fact}
