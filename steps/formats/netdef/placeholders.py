"""Which blobs an init net fills only so that they exist: inputs, to be overwritten before a run.

``mobile_exporter`` ends its init nets with a ``GivenTensorFill`` of a single zero in shape (1, 1) for each input,
``caffe_translator`` with a ``ConstantFill`` in shape (1,). A parameter may look like that too, so a blob counts as an
input only where the predict net reads it as data.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from klever.steps.formats.netdef.graph import Operator
from klever.steps.formats.netdef.inputs import Implied
from klever.steps.formats.netdef.values import Value
from klever.steps.model.shapes import count

#: Operators that take parameters from their second input on.
_WEIGHTED: Final = frozenset(
    {
        "AffineChannel",
        "Conv",
        "ConvRelu",
        "ConvTranspose",
        "FC",
        "FCRelu",
        "FCTransposed",
        "GroupNorm",
        "InstanceNorm",
        "LayerNorm",
        "PRelu",
        "Scale",
        "SpatialBN",
    }
)
#: Lookups take the table first.
_LOOKUPS: Final = frozenset({"Gather", "SparseLengthsMean", "SparseLengthsSum", "SparseLengthsWeightedSum"})


def find_placeholders(
    init: Sequence[Operator], predict: Sequence[Operator], filled: Mapping[str, Value], implied: Mapping[str, Implied]
) -> frozenset[str]:
    """Return the blobs that ``init`` fills for form's sake; ``implied`` is what ``predict`` needs of them."""
    parameters = _parameters(predict)
    read = {name for operator in predict for name in operator.inputs}
    found = {name for name, value in filled.items() if name in implied and _contradicts(value, implied[name])}
    for operator in reversed(init):
        if not _stands_in(operator):
            break
        found.update(operator.outputs)
    return frozenset(name for name in found if name in read and name not in parameters)


def _stands_in(operator: Operator) -> bool:
    """Tell whether an operator is one of those with which exporters end an init net."""
    shape = operator.integers("shape")
    if operator.inputs or operator.outputs[1:]:
        return False
    if operator.type == "ConstantFill":
        return shape == (1,) and operator.number("value") == 0
    values = operator.arguments.get("values")
    return operator.type == "GivenTensorFill" and shape == (1, 1) and values is not None and not any(values.floats)


def _contradicts(value: Value, implied: Implied) -> bool:
    """Tell whether a single element is filled where the net needs another rank."""
    needed = implied.value.shape
    if value.shape is None or needed is None or not implied.binding:
        return False
    return count(value.shape) <= 1 and len(value.shape) != len(needed)


def _parameters(predict: Sequence[Operator]) -> set[str]:
    names: set[str] = set()
    for operator in predict:
        kind = operator.type.removeprefix("Int8")
        if kind in _WEIGHTED:
            names.update(operator.inputs[1:])
        elif kind in _LOOKUPS:
            names.update(operator.inputs[:1])
    return names
