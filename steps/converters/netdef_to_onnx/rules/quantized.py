"""Quantised operators: integers of 8 bits, each standing for ``scale * (integer - zero)``.

Scale and zero of a blob are arguments of the operator that makes it. Products run on integers as in QNNPACK; what has
no integer operator in ONNX is computed on numbers between two conversions. Source: ``caffe2/operators/quantized``.
"""

import struct
from collections.abc import Sequence
from dataclasses import replace
from math import frexp
from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Bound, Call, Quantum, RefusedError, Result, Rule, Rules
from klever.steps.converters.netdef_to_onnx.rules import arrangement, elementwise, normalisation, windows
from klever.steps.formats.netdef.windows import per_axis
from klever.steps.model.shapes import UNKNOWN

#: Ones by which a pooling's windows are summed up; the largest published windows have some 49 times 2,048.
_MAX_WINDOW: Final = 1 << 18


def _stated(call: Call) -> Quantum:
    """Return what the operator's own arguments say."""
    quantum = Quantum(call.number("Y_scale", 1.0), call.integer("Y_zero_point"))
    if not (quantum.scale > 0 and 0 <= quantum.zero <= 255):
        raise RefusedError(f"with scale {quantum.scale} and zero point {quantum.zero}")
    return quantum


def _of(call: Call, index: int = 0) -> Quantum:
    quantum = call.inputs[index].quantum if index < len(call) else None
    if quantum is None:
        raise RefusedError("the scale of what it reads is not in the files")
    return quantum


def _parameters(call: Call, quantum: Quantum) -> tuple[str, str]:
    return call.constant(quantum.scale, dtype="float32"), call.constant(quantum.zero, dtype="uint8")


def _numbers(call: Call, index: int = 0) -> str:
    """Return an input as the numbers that it stands for."""
    return str(call.add("DequantizeLinear", call.input(index), *_parameters(call, _of(call, index))))


def _give_quantised(call: Call, x: str, at: int = 0) -> str:
    quantum = call.quanta[at] = _stated(call)
    return call.give("QuantizeLinear", x, *_parameters(call, quantum), at=at)


def _quantise(call: Call) -> Result:
    if len(call) > 1:
        raise RefusedError("with a scale that is computed")
    return _give_quantised(call, call.input())


def _dequantise(call: Call) -> Result:
    return call.give("DequantizeLinear", call.input(), *_parameters(call, _of(call)))


def _rectified(call: Call, x: str, quantum: Quantum) -> str:
    """Give what is not below the integer that stands for zero."""
    return call.give("Clip", x, call.constant(quantum.zero, dtype="uint8"))


def _single(value: float) -> float:
    """Return the nearest float32."""
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError as error:
        raise RefusedError("its scales lie too far apart") from error


def _away_from_zero(call: Call, x: str, exponent: int) -> str:
    """Divide float64 by a power of two, rounding halves away from zero."""
    scaled = call.add("Mul", call.add("Abs", x), call.constant(2.0**-exponent, dtype="float64"))
    whole = call.add("Floor", call.add("Add", scaled, call.constant(0.5, dtype="float64")))
    return str(call.add("Mul", call.add("Sign", x), whole))


def _rescaled(call: Call, sums: str, scale: float, *, twice: bool, least: int = 0) -> str:
    """Return int32 sums times ``scale``, a float32 below 1, around the stated zero, as uint8 from ``least`` on.

    Products round ``twice``, to 31 bits and then to the integer, as ``requantization/q31`` of QNNPACK does; averages
    once. float64 holds every step exactly, and halves go away from zero, where ONNX's own rounding is to even.
    """
    quantum = call.quanta[0] = _stated(call)
    if not 2.0**-32 <= scale < 1:
        raise RefusedError(f"with a ratio of scales of {scale:g}")
    mantissa, power = frexp(scale)
    wide = call.cast(sums, "float64")
    if twice:
        product = call.add("Mul", wide, call.constant(mantissa, dtype="float64"))
        whole = call.add("Floor", call.add("Add", product, call.constant(0.5, dtype="float64")))
        rounded = _away_from_zero(call, whole, -power)
    else:
        rounded = _away_from_zero(call, call.add("Mul", wide, call.constant(mantissa, dtype="float64")), -power)
    moved = call.add("Add", rounded, call.constant(float(quantum.zero), dtype="float64"))
    bounds = [call.constant(float(bound), dtype="float64") for bound in (least, 255)]
    return call.cast(str(call.add("Clip", moved, *bounds)), "uint8")


def _product(call: Call, sums: str, bias_shape: Sequence[int]) -> str:
    """Return sums of products, with the bias added, in the operator's scale."""
    if len(call) > 2:
        sums = str(call.add("Add", sums, call.reshape(call.input(2), bias_shape)))
    ratio = _single(_single(_of(call, 0).scale * _of(call, 1).scale) / _stated(call).scale)
    least = _stated(call).zero if call.operator.type.endswith("Relu") else 0
    return _rescaled(call, sums, ratio, twice=True, least=least)


def _needs_last(call: Call) -> None:
    if not call.last:
        raise RefusedError("for NCHW, which Caffe2 does not compute on 8 bits")


def _convolution(call: Call) -> Result:
    _needs_last(call)
    shape = call.shape(1)
    if len(shape) != 4 or UNKNOWN in shape:
        raise RefusedError("its weights are no images")
    attributes = windows.window(call, list(shape[1:3]))
    weight = call.transpose(call.input(1), (0, 3, 1, 2))
    zeros = [call.constant(_of(call, index).zero, dtype="uint8") for index in (0, 1)]
    groups = max(call.integer("group", 1), 1)
    sums = call.add("ConvInteger", call.channels_first(), weight, *zeros, group=groups, **attributes)
    return call.give_ordered(_product(call, sums, [1, -1, 1, 1]), 4)


def _full(call: Call) -> Result:
    rows = call.add("Flatten", call.input(), axis=1)
    weight = call.transpose(call.input(1), (1, 0))
    zeros = [call.constant(_of(call, index).zero, dtype="uint8") for index in (0, 1)]
    return call.give("Identity", _product(call, call.add("MatMulInteger", rows, weight, *zeros), [1, -1]))


def _relu(call: Call) -> Result:
    quantum = call.quanta[0] = _of(call)
    return _rectified(call, call.input(), quantum)


def _max_pool(call: Call) -> Result:
    _needs_last(call)
    quantum = call.quanta[0] = _of(call)
    if call.flag("global_pooling"):
        pooled = call.reduce("ReduceMax", call.cast(call.channels_first(), "int32"), [2, 3])
        pooled = call.cast(pooled, "uint8")
    else:
        attributes = windows.window(call, per_axis(call.operator, "kernel", 0, 2), pooling=True)
        pooled = str(call.add("MaxPool", call.channels_first(), **attributes))
    if call.operator.type.endswith("Relu"):
        pooled = str(call.add("Clip", pooled, call.constant(quantum.zero, dtype="uint8")))
    return call.give_ordered(pooled, 4)


def _average_pool(call: Call) -> Result:
    """Average the integers, with the padding counted as zeros, as QNNPACK does."""
    _needs_last(call)
    quantum, image = _of(call), call.channels_first()
    channels = call.size(3)
    if call.flag("global_pooling"):
        count = call.size(1) * call.size(2)
        apart = call.add("Sub", call.cast(image, "int32"), call.constant(quantum.zero, dtype="int32"))
        sums = call.reduce("ReduceSum", apart, [2, 3])
    else:
        kernels = per_axis(call.operator, "kernel", 0, 2)
        count = kernels[0] * kernels[1]
        attributes = windows.window(call, kernels, pooling=True)
        if channels * count > _MAX_WINDOW:
            raise RefusedError(f"a window of {count} over {channels} channels")
        ones = call.add("Expand", call.constant([1], dtype="uint8"), call.integers_of([channels, 1, *kernels]))
        zero = call.constant(quantum.zero, dtype="uint8")
        sums = call.add("ConvInteger", image, ones, zero, group=channels, **attributes)
    stated = _stated(call)
    ratio = _single(quantum.scale / _single(stated.scale * count))
    least = stated.zero if call.operator.type.endswith("Relu") else 0
    return call.give_ordered(_rescaled(call, sums, ratio, twice=False, least=least), 4)


def _sum(call: Call) -> Result:
    total = _numbers(call, 0)
    for index in range(1, len(call)):
        total = call.add("Add", total, _numbers(call, index))
    if call.operator.type.endswith("Relu"):
        total = call.add("Relu", total)
    return _give_quantised(call, total)


def _same_kind(call: Call, places: Sequence[int]) -> Quantum:
    quanta = {_of(call, index) for index in places}
    if len(quanta) != 1:
        raise RefusedError("what it joins has several scales")
    return quanta.pop()


def _moved(rule: Rule) -> Rule:
    """Return the rule for an operator that moves elements about, whatever they stand for."""

    def moved(call: Call) -> Result:
        call.quanta[0] = _of(call)
        return rule(call)

    return moved


def _concat(call: Call) -> Result:
    call.quanta[0] = _same_kind(call, range(len(call)))
    return arrangement.RULES["Concat"](call)


def _on_numbers(rule: Rule) -> Rule:
    """Return the rule for an operator that is computed on the numbers."""

    def computed(call: Call) -> Result:
        value = call.value()._replace(dtype="float32")
        inner = replace(
            call,
            inputs=[Bound(_numbers(call), value), *call.inputs[1:]],
            targets=[(f"{call.operator.outputs[0]}/numbers", False)] if call.operator.outputs else [],
        )
        made = rule(inner)
        if not isinstance(made, str):
            raise RefusedError("with several outputs")
        return _give_quantised(call, made)

    return computed


RULES: Final[Rules] = {
    "Int8Add": _sum,
    "Int8AddRelu": _sum,
    "Int8AveragePool": _average_pool,
    "Int8AveragePoolRelu": _average_pool,
    "Int8ChannelShuffle": _moved(arrangement.RULES["ChannelShuffle"]),
    "Int8Concat": _concat,
    "Int8Conv": _convolution,
    "Int8ConvRelu": _convolution,
    "Int8Dequantize": _dequantise,
    "Int8FC": _full,
    "Int8FCRelu": _full,
    "Int8Flatten": _moved(arrangement.RULES["Flatten"]),
    "Int8LeakyRelu": _on_numbers(elementwise.RULES["LeakyRelu"]),
    "Int8MaxPool": _max_pool,
    "Int8MaxPoolRelu": _max_pool,
    "Int8Quantize": _quantise,
    "Int8Relu": _relu,
    "Int8Reshape": _moved(arrangement.RULES["Reshape"]),
    "Int8ResizeNearest": _moved(windows.RULES["ResizeNearest"]),
    "Int8Sigmoid": _on_numbers(elementwise.RULES["Sigmoid"]),
    "Int8Slice": _moved(arrangement.RULES["Slice"]),
    "Int8Softmax": _on_numbers(normalisation.RULES["Softmax"]),
    "Int8Sum": _sum,
    "Int8SumRelu": _sum,
    "Int8Transpose": _moved(arrangement.RULES["Transpose"]),
}
