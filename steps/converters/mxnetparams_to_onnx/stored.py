"""Results that are still stored arrays: what Gluon makes of an RNN's weights on their way into one vector.

Such a result has its nodes like any other, which go where nothing reads them, and a `Weight` for rules that lay an
array out anew. What does not belong here: computing with weights.
"""

from math import prod
from typing import TYPE_CHECKING, Final

from klever.steps.converters.mxnetparams_to_onnx.call import FLOATS, Call
from klever.steps.formats.mxnetparams.rules import canonical
from klever.steps.model.shapes import UNKNOWN

if TYPE_CHECKING:
    from klever.steps.writers.onnx import Weight

#: Operators that leave the elements as they are and in their order, when a network is used.
_KEEPING: Final = frozenset(
    {"reshape", "flatten", "expanddims", "squeeze", "copy", "identity", "blockgrad", "stopgradient", "dropout"}
)
_JOINING: Final = frozenset({"rnnparamconcat", "concat"})
_CASTING: Final = frozenset({"cast", "ampcast"})


def stored_result(call: Call) -> "Weight | None":
    """Return the first result as an array where it is made of stored arrays by moving or casting them alone."""
    weights = [operand.weight for operand in call.operands if operand is not None and operand.weight is not None]
    if not weights or len(weights) < len(call):
        return None
    first, *others = weights
    operator, shape = canonical(call.operator), call.result()
    if operator in _KEEPING and shape and UNKNOWN not in shape and prod(shape) == prod(first.shape):
        return first.reshape(shape)
    if operator in _JOINING and all(len(each.shape) == 1 and each.dtype == first.dtype for each in weights):
        return first.join(others)
    if operator in _CASTING and first.dtype in FLOATS and (dtype := call.element_type(first.dtype)) in FLOATS:
        return first.map(lambda array: array.astype(dtype), dtype=dtype)
    return None
