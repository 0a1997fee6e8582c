"""How MXNet names the outputs of a graph: the head's node, an underscore, and the operator's word for the output.

That is nnvm's ``Symbol::ListOutputNames``: an operator with a list of its own, else ``output``, numbered where the
operator has several outputs, hidden ones included. What does not belong here: shapes and types.
"""

from typing import Final

from klever.steps.formats.mxnetparams.attributes import AttributeTextError, integer
from klever.steps.formats.mxnetparams.graph import Graph, Node
from klever.steps.formats.mxnetparams.rules import canonical

_RANGED: Final = ("output", "min_output", "max_output")
#: The lists of operators that have one (``FListOutputNames`` in MXNet 1.9).
_LISTS: Final = {
    **dict.fromkeys(("batchnorm", "batchnormwithrelu", "syncbatchnorm", "instancenorm"), ("output", "mean", "var")),
    **dict.fromkeys(("layernorm", "groupnorm"), ("output", "mean", "std")),
    **dict.fromkeys(("dropout", "leakyrelu"), ("output", "mask")),
    "rnn": ("output", "state_output", "statecell_output"),
    "multiboxtarget": ("loc_target", "loc_mask", "cls_target"),
    **dict.fromkeys(("proposal", "multiproposal"), ("output", "score")),
    "roipooling": ("output", "maxidx"),
    "lrn": ("output", "tmp_norm"),
    **dict.fromkeys(
        (
            *("quantizedconv", "quantizedfullyconnected", "quantizedpooling", "quantizedact", "quantizedflatten"),
            *("quantizedconcat", "quantizedelemwiseadd", "quantizedelemwisemul", "quantizedbatchnorm"),
        ),
        _RANGED,
    ),
}
#: Operators whose other spellings and relatives have no list.
_SPELLED: Final = {
    **dict.fromkeys(("make_loss", "_sparse_make_loss"), ("loss",)),
    **dict.fromkeys(("_npi_concatenate", "_npi_hstack", "_npi_dstack", "_npi_matmul"), ("out",)),
    "_npi_std": ("std",),
    "_npi_var": ("var",),
}
#: Operators without a list that have two or more outputs, were it only hidden ones.
_NUMBERED: Final = frozenset(
    {
        *(
            "slicechannel",
            "split",
            "splitv2",
            "arraysplit",
            "sort",
            "moments",
            "ctcloss",
            "boxnms",
            "boxnonmaximumsuppression",
        ),
        *("bipartitematching", "boxencode", "quantize", "quantizev2", "requantize", "ampmulticast", "histogram"),
        *("linalggelqf", "linalgsyevd", "linalgdet", "linalgslogdet", "foreach", "whileloop", "cond"),
        *("det", "slogdet", "svd", "eig", "eigh", "average", "exponential", "pareto", "rayleigh", "weibull"),
    }
)


def output_names(graph: Graph) -> tuple[str, ...]:
    """Return the names of the graph's outputs, as ``Symbol.list_outputs`` does."""
    several = {head.node for head in graph.heads if head.output > 0}
    return tuple(output_name(graph.nodes[head.node], head.output, several=head.node in several) for head in graph.heads)


def output_name(node: Node, output: int, *, several: bool) -> str:
    """Return the name of one output of a node; ``several`` tells that more than the first is known to exist."""
    if node.is_variable:
        return node.name
    operator = canonical(node.op)
    words = _SPELLED.get(node.op) or _LISTS.get(operator)
    if words is not None and output < len(words):
        word = words[output]
    elif _is_numbered(node, operator) or several:
        word = f"output{output}"
    else:
        word = "output"
    return f"{node.name}_{word}" if node.name else word


def _is_numbered(node: Node, operator: str) -> bool:
    if node.op in ("_foreach", "_while_loop", "_cond"):
        # A loop counts what its body returns.
        return _outputs_of(node) != 1
    if operator == "topk":
        # Values come with indices behind them, hidden or not.
        return node.attributes.get("ret_typ", "indices") in ("value", "both")
    if operator in ("atleast1d", "atleast2d", "atleast3d"):
        return len(node.inputs) != 1
    return operator in _NUMBERED or node.op == "_npi_norm"


def _outputs_of(node: Node) -> int:
    try:
        return integer(node.attributes, "num_outputs", 1)
    except AttributeTextError:
        return 1
