"""MXNet's symbol JSON as values: nodes, their attributes, the graph's heads and the version that wrote it.

Every layout that `Symbol.load` of MXNet 1.9 upgrades is read: ``param`` and ``attr`` apart (up to 0.8), ``attr``
(0.9 to 0.11), ``attrs`` (0.12 on), entries of two numbers (up to 0.8) and of three. The layout is that of nnvm's
``src/pass/saveload_json.cc``, the upgrades those of MXNet's ``src/nnvm/legacy_json_util.cc``.

What does not belong here: what an operator means.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from klever.steps.encodings.json import parse_json
from klever.steps.errors import LimitExceededError, MalformedModelError

#: The operator name of a node that is no operator: an argument, a weight or an auxiliary state.
VARIABLE: Final = "null"
#: Far above any published network; an unrolled LSTM of a thousand steps has some 20,000 nodes.
MAX_NODES: Final = 200_000
#: A published symbol file takes at most a few MiB.
MAX_BYTES: Final = 64 << 20
#: What one node may read; a concatenation of all steps of a long sequence reads thousands.
MAX_INPUTS: Final = 20_000
#: Loops and branches within one another.
MAX_SUBGRAPH_DEPTH: Final = 16
#: The version of files that state none: the statement came with 0.9.
UNSTATED_VERSION: Final = 800


class Entry(NamedTuple):
    """One output of one node, by the positions of both."""

    node: int
    output: int


@dataclass(frozen=True, slots=True)
class Node:
    """An operator's use, or a variable.

    ``attributes`` are as written, all text: the operator's parameters and, between double underscores, what a
    user attached (``__shape__``, ``__dtype__``, ``__init__``).
    """

    name: str
    op: str
    inputs: tuple[Entry, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: The bodies of ``_foreach``, ``_while_loop``, ``_cond`` and of operators fused by a backend.
    subgraphs: tuple["Graph", ...] = ()

    @property
    def is_variable(self) -> bool:
        """Tell whether this is an argument or auxiliary state instead of an operator."""
        return self.op == VARIABLE


@dataclass(frozen=True, slots=True)
class Graph:
    """A symbol: nodes in topological order, and the entries that are its outputs."""

    nodes: tuple[Node, ...]
    heads: tuple[Entry, ...]
    #: major * 10000 + minor * 100 + patch, as MXNet counts.
    version: int = UNSTATED_VERSION
    #: Whether () is the shape of a scalar (numpy's rule) instead of an unknown shape.
    scalars: bool = False

    def reachable(self) -> frozenset[int]:
        """Return the positions of the nodes that a head depends on; no others belong to the symbol."""
        wanted = {head.node for head in self.heads}
        for position in range(len(self.nodes) - 1, -1, -1):
            if position in wanted:
                wanted.update(entry.node for entry in self.nodes[position].inputs)
        return frozenset(wanted)

    def count_operators(self) -> Counter[str]:
        """Count the uses of each operator, bodies of loops and branches included."""
        counts = Counter(node.op for node in self.nodes if not node.is_variable)
        for node in self.nodes:
            for subgraph in node.subgraphs:
                counts.update(subgraph.count_operators())
        return counts


def parse_graph(data: bytes) -> Graph:
    """Parse a symbol file.

    Raises `MalformedModelError` where it is no graph in topological order, `LimitExceededError` where it is larger
    or deeper than any real one.
    """
    if len(data) > MAX_BYTES:
        raise LimitExceededError(f"the symbol file of {len(data)} bytes is longer than the {MAX_BYTES} allowed")
    # Counted before they are parsed: a node takes ten times its length in memory.
    if data.count(b'"op"') > MAX_NODES:
        raise LimitExceededError(f"the graph has more than {MAX_NODES} nodes")
    return _graph(parse_json(data, "the symbol file", strict=True), 0, _Budget())


class _Budget:
    """How many nodes may still be read, subgraphs included."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_NODES


def _graph(document: object, depth: int, budget: _Budget) -> Graph:
    if depth > MAX_SUBGRAPH_DEPTH:
        raise LimitExceededError(f"subgraphs are nested deeper than {MAX_SUBGRAPH_DEPTH}")
    if not isinstance(document, dict) or not isinstance(document.get("nodes"), list):
        raise MalformedModelError("the symbol file has no list of nodes")
    budget.left -= len(document["nodes"])
    if budget.left < 0:
        raise LimitExceededError(f"the graph has more than {MAX_NODES} nodes")
    nodes = tuple(_node(each, position, depth, budget) for position, each in enumerate(document["nodes"]))
    heads = tuple(_entries(document.get("heads"), len(nodes), "the graph's heads"))
    if not heads:
        raise MalformedModelError("the graph has no heads, so it computes nothing")
    attributes = document.get("attrs")
    attributes = attributes if isinstance(attributes, dict) else {}
    return Graph(
        nodes=nodes,
        heads=heads,
        version=_stated(attributes.get("mxnet_version"), UNSTATED_VERSION),
        scalars=_stated(attributes.get("is_np_shape"), 0) > 0,
    )


def _stated(value: object, default: int) -> int:
    """Return the number of a graph attribute, written ``["int", 10901]``."""
    match value:
        case [_, int(number)]:
            return number
    return default


def _node(document: object, position: int, depth: int, budget: _Budget) -> Node:
    if not isinstance(document, dict):
        raise MalformedModelError(f"node {position} of the graph is not a JSON object")
    name, op = document.get("name"), document.get("op")
    if not (isinstance(name, str) and isinstance(op, str)):
        raise MalformedModelError(f"node {position} of the graph lacks a name or an operator")
    # Text with half a surrogate pair could not be written to any document again.
    if not (_is_text(name) and _is_text(op)):
        raise MalformedModelError(f"the name of node {position} of the graph is not Unicode text")
    # Writers up to 0.8 left out the inputs of a variable.
    inputs = tuple(_entries(document.get("inputs", []), position, f"the inputs of node {name!r}"))
    bodies = document.get("subgraphs", [])
    if not isinstance(bodies, list):
        raise MalformedModelError(f"the subgraphs of node {name!r} are not a list")
    return Node(
        name=name,
        op=op,
        inputs=inputs,
        attributes=_attributes(document, name),
        subgraphs=tuple(_graph(body, depth + 1, budget) for body in bodies),
    )


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _attributes(document: dict[str, Any], name: str) -> dict[str, str]:
    merged: dict[str, str] = {}
    for key in ("param", "attr", "attrs"):
        part = document.get(key)
        if part is None:
            continue
        if not isinstance(part, dict):
            raise MalformedModelError(f"the attributes of node {name!r} are not a JSON object")
        merged.update((each, value if isinstance(value, str) else str(value)) for each, value in part.items())
    return merged


def _entries(document: object, limit: int, what: str) -> Iterator[Entry]:
    """Yield the entries of a list; each has to name a node before ``limit``, which excludes cycles."""
    if not isinstance(document, list):
        raise MalformedModelError(f"{what} are not a list")
    if len(document) > MAX_INPUTS:
        raise LimitExceededError(f"{what} are more than {MAX_INPUTS}")
    for item in document:
        match item:
            case [int(node), int(output), *_] if min(node, output) >= 0:
                if node >= limit:
                    raise MalformedModelError(f"{what} refer to node {node}, which is not among those before it")
                yield Entry(node, output)
            case _:
                raise MalformedModelError(f"{what} are not all pairs of a node and an output")
