"""What the variables of a graph are for: inputs, weights, auxiliary states, labels.

What does not belong here: where weights are stored.
"""

from collections.abc import Container
from typing import Final

from klever.steps.formats.mxnetparams.graph import Graph, Node
from klever.steps.formats.mxnetparams.rules import canonical

#: Loss heads and matchers of targets, with the positions of what only training feeds.
_LABELS: Final = {
    **dict.fromkeys(
        (
            *("softmaxoutput", "linearregressionoutput", "logisticregressionoutput", "maeregressionoutput"),
            *("svmoutput", "softmaxcrossentropy", "multiboxtarget", "warpctc"),
        ),
        (1,),
    ),
    "ctcloss": (1, 2, 3),
}
#: Operators with states that they keep themselves, with the states' positions (``FMutateInputs``).
_STATES: Final = {
    "batchnorm": (3, 4),
    "batchnormwithrelu": (3, 4),
    "cudnnbatchnorm": (3, 4),
    "syncbatchnorm": (3, 4),
    "quantizedbatchnorm": (3, 4),
    "identityattachklsparsereg": (1,),
}


def find_inputs(graph: Graph, stored: Container[str]) -> tuple[int, ...]:
    """Return the positions of the variables that somebody has to feed when the network is used.

    Those are the arguments without an entry in ``stored``; auxiliary states and what only labels of loss heads need
    are aside. A tensor that is a label and an input at once, as in an autoencoder, is an input.
    """
    used = find_used(graph)
    return tuple(
        at for at, node in enumerate(graph.nodes) if at in used and node.is_variable and node.name not in stored
    )


def find_used(graph: Graph) -> frozenset[int]:
    """Return the positions of the nodes that count when the network is used; see `find_inputs`."""
    used: set[int] = {head.node for head in graph.heads}
    for at in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[at]
        # What is used for labels alone is left out with everything that it depends on.
        if at in used:
            aside = _aside(node)
            used.update(entry.node for place, entry in enumerate(node.inputs) if place not in aside)
    return frozenset(used)


def _aside(node: Node) -> tuple[int, ...]:
    operator = canonical(node.op)
    return _LABELS.get(operator) or _STATES.get(operator) or ()
