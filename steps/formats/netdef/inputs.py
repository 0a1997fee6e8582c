"""What the operators that read a blob tell of its shape and type, as a NetDef itself states neither.

A convolution takes images with as many channels as its weights have, a lookup takes integers, and so on. What does
not belong here: working forward from known inputs (see ``shapes``).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.values import UNKNOWN_VALUE, Value
from klever.steps.formats.netdef.windows import channels_last, join_order, split_order
from klever.steps.model.shapes import UNKNOWN, Shape, ShapeMismatchError, count, merge


class Implied(NamedTuple):
    """What follows for a blob; ``binding`` where no other rank would do."""

    value: Value
    binding: bool = True


def imply_values(operators: Sequence[Operator], known: Mapping[str, Value]) -> dict[str, Implied]:
    """Work backwards from what operators need to what is fed; ``known`` holds the parameters.

    Where several operators read a blob, what they say is put together; the first to run wins a contradiction.
    """
    wanted: dict[str, Implied] = {}
    for operator in reversed(operators):
        produced = [wanted.pop(name, None) for name in operator.outputs]
        for index, name in enumerate(operator.inputs):
            found = _implied(operator, index, known, produced[0] if produced else None)
            if found is not None:
                wanted[name] = _together(found, wanted.get(name))
    return wanted


def _together(first: Implied, later: Implied | None) -> Implied:
    if later is None:
        return first
    if first.binding != later.binding:
        chosen = first if first.binding else later
        dtype = chosen.value.dtype or first.value.dtype or later.value.dtype
        return Implied(Value(chosen.value.shape, dtype), binding=True)
    try:
        shape = merge(first.value.shape, later.value.shape)
    except ShapeMismatchError:
        shape = first.value.shape
    return Implied(Value(shape, first.value.dtype or later.value.dtype), first.binding)


def _implied(operator: Operator, index: int, known: Mapping[str, Value], produced: Implied | None) -> Implied | None:
    kind = operator.type.removeprefix("Int8")
    rule = _RULES.get((kind, index))
    if rule is not None:
        others = [known.get(name, UNKNOWN_VALUE) for name in operator.inputs]
        found = rule(operator, others)
        if found is not None and operator.type.startswith("Int8") and kind != "Quantize":
            return Implied(Value(found.value.shape, "uint8"), found.binding)
        return found
    if operator.type == "Int8Quantize" and index == 0:
        # What is quantised comes as numbers.
        return Implied(
            Value(produced.value.shape if produced else None, "float32"), bool(produced and produced.binding)
        )
    if kind in _TRANSPARENT and (index == 0 or kind == "Sum"):
        return produced
    if index == 0 and kind in ("NCHW2NHWC", "NHWC2NCHW") and produced is not None:
        return Implied(
            Value(_swapped(produced.value.shape, kind == "NCHW2NHWC"), produced.value.dtype), produced.binding
        )
    return None


def _swapped(shape: Shape, to_last: bool) -> Shape:
    if shape is None or len(shape) < 2:
        return None
    return (shape[0], shape[-1], *shape[1:-1]) if to_last else (shape[0], *shape[2:], shape[1])


def _dtype(value: Value) -> str:
    return value.dtype or "float32"


def _convolved(operator: Operator, others: Sequence[Value]) -> Implied:
    weight = others[1] if len(others) > 1 else UNKNOWN_VALUE
    if weight.shape is None or len(weight.shape) < 3:
        return Implied(Value(None, _dtype(weight)))
    last = channels_last(operator)
    _, channels, sizes = split_order(weight.shape, last=last)
    channels = count((channels, max(operator.integer("group", 1), 1)))
    return Implied(Value(join_order(UNKNOWN, channels, [UNKNOWN] * len(sizes), last=last), _dtype(weight)))


def _deconvolved(operator: Operator, others: Sequence[Value]) -> Implied:
    weight = others[1] if len(others) > 1 else UNKNOWN_VALUE
    if weight.shape is None or len(weight.shape) < 3:
        return Implied(Value(None, _dtype(weight)))
    sizes = [UNKNOWN] * (len(weight.shape) - 2)
    return Implied(Value(join_order(UNKNOWN, weight.shape[0], sizes, last=channels_last(operator)), _dtype(weight)))


def _full(operator: Operator, others: Sequence[Value]) -> Implied:
    """Take rows as wide as the weights, though FC would flatten any rank to that."""
    weight = others[1] if len(others) > 1 else UNKNOWN_VALUE
    axis, weight_axis = operator.integer("axis", 1), operator.integer("axis_w", 1)
    if weight.shape is None or not 0 <= axis <= 8 or not 0 <= weight_axis <= len(weight.shape):
        return Implied(Value(None, _dtype(weight)), binding=False)
    depth = weight.shape[:weight_axis] if operator.type == "FCTransposed" else weight.shape[weight_axis:]
    return Implied(Value((*[UNKNOWN] * axis, count(depth)), _dtype(weight)), binding=False)


def _multiplied(operator: Operator, others: Sequence[Value]) -> Implied:
    weight = others[1] if len(others) > 1 else UNKNOWN_VALUE
    if weight.shape is None or len(weight.shape) != 2:
        return Implied(Value(None, _dtype(weight)), binding=False)
    depth = weight.shape[1] if operator.integer("trans_b") else weight.shape[0]
    shape = (depth, UNKNOWN) if operator.integer("trans_a") else (UNKNOWN, depth)
    return Implied(Value(shape, _dtype(weight)), binding=False)


def _per_channel(operator: Operator, others: Sequence[Value]) -> Implied:
    scale = others[1].shape if len(others) > 1 else None
    channels = scale[0] if scale else UNKNOWN
    sizes = (UNKNOWN, UNKNOWN)
    return Implied(Value(join_order(UNKNOWN, channels, sizes, last=channels_last(operator)), "float32"), binding=False)


def _image(operator: Operator, others: Sequence[Value]) -> Implied:
    del operator, others
    return Implied(Value((UNKNOWN,) * 4, "float32"))


def _numbers(operator: Operator, others: Sequence[Value]) -> Implied:
    del operator, others
    return Implied(Value(None, "float32"))


def _indices(operator: Operator, others: Sequence[Value]) -> Implied:
    # Both 32 and 64 bits are taken, in any rank.
    del operator, others
    return Implied(Value(None, None))


def _index_list(operator: Operator, others: Sequence[Value]) -> Implied:
    del operator, others
    return Implied(Value((UNKNOWN,), None))


def _lengths(operator: Operator, others: Sequence[Value]) -> Implied:
    del operator, others
    return Implied(Value((UNKNOWN,), "int32"))


def _weights(operator: Operator, others: Sequence[Value]) -> Implied:
    del operator, others
    return Implied(Value((UNKNOWN,), "float32"))


def _image_info(operator: Operator, others: Sequence[Value]) -> Implied:
    """Take height, width and scale of each image."""
    del operator, others
    return Implied(Value((UNKNOWN, 3), "float32"))


_Rule = Callable[[Operator, Sequence[Value]], Implied | None]


def _first_of(rule: _Rule, kinds: Iterable[str]) -> dict[tuple[str, int], _Rule]:
    return {(kind, 0): rule for kind in kinds}


#: Operator type and place of the input to what it says of it.
_RULES: Final[Mapping[tuple[str, int], _Rule]] = {
    **_first_of(_convolved, ("Conv", "Conv1D", "Conv2D", "Conv3D", "ConvAddRelu", "ConvRelu")),
    **_first_of(_full, ("FC", "FCRelu", "FCTransposed")),
    **_first_of(_per_channel, ("AffineChannel", "InstanceNorm", "SpatialBN", "SpatialBNRelu")),
    **_first_of(_image, ("AveragePool", "LRN", "MaxPool", "PadImage", "ResizeNearest", "RoIAlign", "RoIPool")),
    **_first_of(_numbers, ("PRelu",)),
    ("BBoxTransform", 2): _image_info,
    ("ConvTranspose", 0): _deconvolved,
    ("Gather", 1): _indices,
    ("GenerateProposals", 2): _image_info,
    ("LengthsSum", 1): _lengths,
    ("MatMul", 0): _multiplied,
    ("SparseLengthsMean", 1): _index_list,
    ("SparseLengthsMean", 2): _lengths,
    ("SparseLengthsSum", 1): _index_list,
    ("SparseLengthsSum", 2): _lengths,
    ("SparseLengthsWeightedSum", 1): _weights,
    ("SparseLengthsWeightedSum", 2): _index_list,
    ("SparseLengthsWeightedSum", 3): _lengths,
}
#: Operators whose first input is shaped and typed as their output.
_TRANSPARENT: Final = frozenset(
    {
        "Abs",
        "Add",
        "Alias",
        "AliasWithName",
        "Clip",
        "Copy",
        "CopyCPUToGPU",
        "CopyFromCPUInput",
        "Dropout",
        "Elu",
        "EnsureDense",
        "Exp",
        "LeakyRelu",
        "Mul",
        "Quantize",
        "Relu",
        "Scale",
        "Sigmoid",
        "Sqr",
        "StopGradient",
        "Sub",
        "Sum",
        "Tanh",
    }
)
