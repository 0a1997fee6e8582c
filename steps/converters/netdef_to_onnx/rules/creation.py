"""Fillers whose shape comes with a blob; those without inputs are weights (see ``fillers``)."""

from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rules
from klever.steps.converters.netdef_to_onnx.fillers import RANDOM, constant


def _constant(call: Call) -> Result:
    """Fill the shape of a blob, followed by ``extra_shape``, or the shape that its elements state."""
    dtype, value = constant(call.operator)
    if len(call) > 1:
        filling = call.reshape(call.input(1), [])
        return call.give("Expand", filling, _wanted(call))
    name = call.constant([value], dtype=dtype)
    if call.expected and len(call.expected[0].shape or ()) == 1:
        # As a row first: onnx's inference would hold every element of a list in memory.
        row = call.add("Concat", call.integers_of([1]), _wanted(call), axis=0)
        return call.give_reshaped(call.add("Expand", name, row), [-1])
    return call.give("Expand", name, _wanted(call))


def _wanted(call: Call) -> str:
    """Return the shape to fill."""
    shape = call.int64(0) if call.flag("input_as_shape") else call.sizes(call.input())
    extra = call.integers("extra_shape")
    if call.flag("input_as_shape"):
        return shape
    return str(call.add("Concat", shape, call.integers_of(extra), axis=0)) if extra else shape


def _random(call: Call) -> Result:
    del call
    raise RefusedError("its values are random")


def _counted(call: Call) -> Result:
    """Count through a list as long as the shape that is filled."""
    count = call.reduce("ReduceProd", _wanted(call), [0], keepdims=False)
    numbers = call.cast(call.add("Range", call.constant(0), count, call.constant(1)), "float32")
    return call.give_reshaped(numbers, _wanted(call))


RULES: Final[Rules] = {
    **dict.fromkeys(RANDOM, _random),
    "ConstantFill": _constant,
    "Float16ConstantFill": _constant,
    "RangeFill": _counted,
}
