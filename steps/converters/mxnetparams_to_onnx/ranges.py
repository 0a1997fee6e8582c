"""Which values make sense for inputs that choose positions, count steps or name images.

A proof draws them so: beyond these bounds MXNet reads memory that is not its own, and no result is right or wrong.
What does not belong here: the types and shapes of inputs.
"""

from collections.abc import Callable, Mapping
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.network import Network
from klever.steps.formats.mxnetparams import attributes as text
from klever.steps.formats.mxnetparams.graph import Node
from klever.steps.formats.mxnetparams.rules import canonical
from klever.steps.model.shapes import Shape

#: A half-open range.
Range = tuple[int, int]
#: Tells a range from a node's attributes and the shapes of its inputs; None where they do not tell.
Tell = Callable[[Mapping[str, str], list[Shape]], Range | None]

#: Operators that hand values on as they are, or some of them.
_PASSING: Final = frozenset(
    {
        *("cast", "reshape", "flatten", "expanddims", "squeeze", "transpose", "swapaxis", "swapaxes", "blockgrad"),
        *("copy", "identity", "slice", "sliceaxis", "slicelike", "tile", "repeat", "broadcastaxis", "broadcastto"),
        *("broadcastlike", "reshapelike", "slicechannel"),
    }
)


def _below(size: int | None) -> Range | None:
    return None if size is None or size < 1 else (0, size)


def _size(shape: Shape, axis: int) -> int | None:
    return None if shape is None or not -len(shape) <= axis < len(shape) else shape[axis]


def _along(default: int) -> Tell:
    """Positions along an axis of the first input."""

    def tell(attributes: Mapping[str, str], shapes: list[Shape]) -> Range | None:
        return _below(_size(shapes[0], text.integer(attributes, "axis", default)))

    return tell


def _rows(_attributes: Mapping[str, str], shapes: list[Shape]) -> Range | None:
    return _below(_size(shapes[1], 0)) if len(shapes) > 1 else None


def _columns(_attributes: Mapping[str, str], shapes: list[Shape]) -> Range | None:
    return _below(_size(shapes[0], 1))


def _coordinates(_attributes: Mapping[str, str], shapes: list[Shape]) -> Range | None:
    """One bound for the coordinates of all axes: the least."""
    data, count = shapes[0], _size(shapes[1], 0)
    return None if data is None or count is None or count < 1 else _below(min(data[:count], default=None))


def _depth(attributes: Mapping[str, str], _shapes: list[Shape]) -> Range | None:
    return _below(text.integer(attributes, "depth", 0))


def _steps(default: int) -> Tell:
    """Lengths along an axis: at least one step."""

    def tell(attributes: Mapping[str, str], shapes: list[Shape]) -> Range | None:
        size = _size(shapes[0], text.integer(attributes, "axis", default))
        return None if size is None or size < 1 else (1, size + 1)

    return tell


def _all_steps(_attributes: Mapping[str, str], shapes: list[Shape]) -> Range | None:
    """Take the whole length, as MXNet on a CPU ignores that a sequence is shorter."""
    size = _size(shapes[0], 0)
    return None if size is None or size < 1 else (size, size + 1)


def _first_image(_attributes: Mapping[str, str], _shapes: list[Shape]) -> Range | None:
    """Regions of the first image, which begin at its corner."""
    return 0, 1


#: Canonical name to the place of the input that is bound, and by what.
_BOUND: Final[dict[str, tuple[tuple[int, Tell], ...]]] = {
    "embedding": ((0, _rows),),
    "sparseembedding": ((0, _rows),),
    "take": ((1, _along(0)),),
    "pick": ((1, _along(-1)),),
    "chooseelement0index": ((1, _along(-1)),),
    "batchtake": ((1, _columns),),
    "gathernd": ((1, _coordinates),),
    "onehot": ((0, _depth),),
    "sequencemask": ((1, _steps(0)),),
    "sequencelast": ((1, _steps(0)),),
    "sequencereverse": ((1, _steps(0)),),
    "softmax": ((1, _steps(-1)),),
    **dict.fromkeys(("roipooling", "roialign", "psroipooling"), ((1, _first_image),)),
}


def find_ranges(network: Network) -> dict[str, Range]:
    """Return the ranges of the inputs that have one."""
    found: dict[str, Range] = {}
    fed = {tensor.name for tensor in network.inputs}
    nodes = network.graph.nodes
    for node in nodes:
        for place, tell in _bound(node):
            if place >= len(node.inputs):
                continue
            name = _source(nodes, node.inputs[place].node)
            told = tell(node.attributes, [network.shapes[entry] for entry in node.inputs]) if name in fed else None
            if told is not None:
                low, high = found.get(name, told)
                found[name] = max(low, told[0]), min(high, told[1])
    return {name: (low, high) for name, (low, high) in found.items() if low < high}


def _bound(node: Node) -> tuple[tuple[int, Tell], ...]:
    operator = canonical(node.op)
    if operator == "rnn":
        last = 4 if node.attributes.get("mode") == "lstm" else 3
        used = text.flag(node.attributes, "use_sequence_length")
        return ((last, _all_steps),) if used else ()
    return _BOUND.get(operator, ())


def _source(nodes: tuple[Node, ...], at: int) -> str:
    """Return the name of what a value was before it was handed on."""
    while nodes[at].inputs and canonical(nodes[at].op) in _PASSING:
        at = nodes[at].inputs[0].node
    return nodes[at].name
