"""Which element types follow from the stored weights, casts and attributes.

Most operators compute in one type, so their inputs and outputs share it; the exceptions stand in the tables. Entries
that share a type form a class, and one known member settles the class.

What does not belong here: shapes.
"""

from collections.abc import Mapping
from typing import Final

from klever.steps.formats.mxnetparams.graph import Entry, Graph, Node
from klever.steps.formats.mxnetparams.params import DTYPES
from klever.steps.formats.mxnetparams.rules import RULES, canonical

#: What MXNet takes where nothing tells.
DEFAULT: Final = "float32"

#: Operators whose output's type an attribute states, with the type where it is absent.
_STATED: Final = {
    "cast": ("dtype", None),
    "ampcast": ("dtype", None),
    "onehot": ("dtype", DEFAULT),
    "zeros": ("dtype", DEFAULT),
    "ones": ("dtype", DEFAULT),
    "full": ("dtype", DEFAULT),
    "arange": ("dtype", DEFAULT),
    "eye": ("dtype", DEFAULT),
    "linspace": ("dtype", DEFAULT),
    "argsort": ("dtype", DEFAULT),
    "quantize": ("out_type", "uint8"),
    "quantizev2": ("out_type", "int8"),
    "requantize": ("out_type", "int8"),
    "dequantize": ("out_type", DEFAULT),
}
#: Operators whose output has one type whatever comes in.
_CONSTANT: Final = {
    "shapearray": "int64",
    "sizearray": "int64",
    "indexarray": "int64",
    "quantizedconv": "int32",
    "quantizedfullyconnected": "int32",
    "quantizedelemwiseadd": "int32",
    "quantizedelemwisemul": "int32",
    "imagetotensor": DEFAULT,
    "ampmulticast": DEFAULT,
}
#: Operators of which these inputs alone share the output's type; the others hold indices, lengths or statistics.
_TYPED_INPUTS: Final = {
    "embedding": (1,),
    "take": (0,),
    "pick": (0,),
    "batchtake": (0,),
    "gathernd": (0,),
    "scatternd": (0,),
    "sequencemask": (0,),
    "sequencelast": (0,),
    "sequencereverse": (0,),
    "where": (1, 2),
    "numpywhere": (1, 2),
    "batchnorm": (0,),
    "batchnormwithrelu": (0,),
    "syncbatchnorm": (0,),
    "reshapelike": (0,),
    "broadcastlike": (0,),
    "slicelike": (0,),
    "indexcopy": (0,),
    "booleanmask": (0,),
    "rnn": (0, 1, 2, 3),
    "softmax": (0,),
    "ctcloss": (0,),
    "multiboxtarget": (0, 2),
}
#: Comparisons yield numbers of the operands' type in MXNet 1, truth values under numpy's names.
_COMPARISONS: Final = frozenset({"equal", "notequal", "greater", "greaterequal", "less", "lessequal"})
#: Operators whose outputs differ in type from one another.
_DIFFERING: Final = frozenset(
    {
        "topk",
        "quantizev2",
        "quantize",
        "requantize",
        "quantizedconv",
        "quantizedfullyconnected",
        "quantizedpooling",
        "quantizedact",
        "quantizedflatten",
        "quantizedconcat",
        "quantizedelemwiseadd",
        "quantizedelemwisemul",
        "ampmulticast",
    }
)
_PLAIN: Final = frozenset(name for name, _ in DTYPES.values())


class InferredTypes:
    """The element type of every entry, by numpy's name; None where an operator is not known."""

    def __init__(self, graph: Graph, known: Mapping[str, str]) -> None:
        """Infer from ``known``, the types of variables."""
        self._parents: dict[Entry, Entry] = {}
        self._types: dict[Entry, str] = {}
        self._open: set[Entry] = set()
        for at, node in enumerate(graph.nodes):
            if node.is_variable:
                self._settle(Entry(at, 0), known.get(node.name))
        for at, node in enumerate(graph.nodes):
            if not node.is_variable:
                self._tie(at, node)
            for entry in node.inputs:
                self._spread(graph, entry)
        for head in graph.heads:
            self._spread(graph, head)

    def assume(self, entry: Entry, dtype: str | None) -> None:
        """Take a type for an entry about which the files say nothing."""
        if self._root(entry) not in self._open:
            self._settle(entry, dtype)

    def __getitem__(self, entry: Entry) -> str | None:
        root = self._root(entry)
        return self._types.get(root, None if root in self._open else DEFAULT)

    def _root(self, entry: Entry) -> Entry:
        parents = self._parents
        root = entry
        while (above := parents.get(root, root)) != root:
            root = above
        while entry != root:
            parents[entry], entry = root, parents[entry]
        return root

    def _join(self, one: Entry, other: Entry) -> None:
        first, second = self._root(one), self._root(other)
        if first == second:
            return
        # Where two types meet, as in a file of mixed precision, each side keeps its own.
        if first in self._types and second in self._types and self._types[first] != self._types[second]:
            return
        self._parents[second] = first
        if second in self._types:
            self._types[first] = self._types.pop(second)

    def _settle(self, entry: Entry, dtype: str | None) -> None:
        if dtype in _PLAIN:
            self._types.setdefault(self._root(entry), dtype)

    def _spread(self, graph: Graph, entry: Entry) -> None:
        """Give a further output, such as a part of a split, the type of the first, unless it has one."""
        if entry.output and canonical(graph.nodes[entry.node].op) not in _DIFFERING:
            self._join(Entry(entry.node, 0), entry)

    def _tie(self, at: int, node: Node) -> None:
        operator, output = canonical(node.op), Entry(at, 0)
        if operator in _STATED:
            key, default = _STATED[operator]
            stated = node.attributes.get(key, default)
            self._settle(output, default if stated in (None, "None", "auto") else stated)
        elif operator in _CONSTANT:
            self._settle(output, _CONSTANT[operator])
        elif operator == "topk":
            self._rank(node, at)
        elif node.op.startswith("_npi_") and operator.removesuffix("scalar") in _COMPARISONS:
            self._settle(output, "bool")
        elif operator in RULES or _computes_plainly(node):
            self._share(node, at, operator)
        else:
            self._open.add(output)

    def _rank(self, node: Node, at: int) -> None:
        """``topk``: values of the input's type, indices of a stated one; both where both are asked for."""
        kind, stated = node.attributes.get("ret_typ", "indices"), node.attributes.get("dtype", DEFAULT)
        if kind == "indices":
            self._settle(Entry(at, 0), stated)
            return
        if node.inputs:
            self._join(node.inputs[0], Entry(at, 0))
        if kind == "both":
            self._settle(Entry(at, 1), stated)

    def _share(self, node: Node, at: int, operator: str) -> None:
        places = _TYPED_INPUTS.get(operator, range(len(node.inputs)))
        for place in places:
            if place < len(node.inputs):
                self._join(node.inputs[place], Entry(at, 0))


def _computes_plainly(node: Node) -> bool:
    """Tell whether a loop or a fused operator works in the type of what it reads."""
    fused = node.op.startswith("_sg_") and node.attributes.get("quantized", "").lower() not in ("true", "1")
    return fused or node.op == "_foreach"


def declared_type(attributes: Mapping[str, str]) -> str | None:
    """Return what a variable's own ``__dtype__`` declares: a type flag."""
    text = attributes.get("__dtype__", "").strip()
    return DTYPES[int(text)][0] if text.isascii() and text.isdigit() and len(text) < 3 and int(text) in DTYPES else None
