"""Operators that work element by element, on one tensor or on two that are laid over one another."""

from math import pi, sqrt
from typing import Final

from klever.steps.converters.netdef_to_onnx.call import Call, RefusedError, Result, Rule, Rules
from klever.steps.model.shapes import count

#: What ``elu``, ``selu`` and the like take where nothing is stated; ``caffe2/operators/selu_op.h``.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848, 1.0507009873554804934


def same(op: str) -> Rule:
    """Return the rule for an operator that ONNX has under another name, with no attributes."""

    def rule(call: Call) -> Result:
        return call.give(op, call.input())

    return rule


def pass_on(call: Call) -> Result:
    """Carry over an operator that hands on what it reads: a copy, a check, an alias."""
    given = call.input()
    if (quantum := call.inputs[0].quantum) is not None:
        call.quanta[0] = quantum
    return given


def _with_alpha(op: str, default: float) -> Rule:
    def rule(call: Call) -> Result:
        return call.give(op, call.input(), alpha=call.number("alpha", default))

    return rule


def _selu(call: Call) -> Result:
    return call.give(
        "Selu", call.input(), alpha=call.number("alpha", _SELU_ALPHA), gamma=call.number("scale", _SELU_SCALE)
    )


def _hard_sigmoid(call: Call) -> Result:
    return call.give("HardSigmoid", call.input(), alpha=call.number("alpha", 0.2), beta=call.number("beta", 0.5))


def _cube_root(call: Call) -> Result:
    x = call.input()
    root = call.add("Pow", call.add("Abs", x), call.scalar(1 / 3))
    return call.give("Mul", call.add("Sign", x), root)


def _square(call: Call) -> Result:
    return call.give("Mul", call.input(), call.input())


def _cube(call: Call) -> Result:
    x = call.input()
    return call.give("Mul", call.add("Mul", x, x), x)


def _inverse_root(call: Call) -> Result:
    return call.give("Reciprocal", call.add("Sqrt", call.input()))


def _swish(call: Call) -> Result:
    return call.give("Mul", call.input(), call.add("Sigmoid", call.input()))


def _mish(call: Call) -> Result:
    return call.give("Mul", call.input(), call.add("Tanh", call.add("Softplus", call.input())))


def _gelu(call: Call) -> Result:
    x = call.input()
    if call.flag("fast_gelu"):
        cubed = call.add("Mul", call.add("Mul", call.add("Mul", x, x), x), call.scalar(0.044715))
        bent = call.add("Tanh", call.add("Mul", call.add("Add", x, cubed), call.scalar(sqrt(2 / pi))))
    else:
        bent = call.add("Erf", call.add("Mul", x, call.scalar(sqrt(0.5))))
    half = call.add("Mul", x, call.scalar(0.5))
    return call.give("Mul", half, call.add("Add", bent, call.scalar(1.0)))


def _bound(call: Call, low: float | None, high: float | None) -> Result:
    if low is None and high is None:
        return call.input()
    bounds = ["" if bound is None else call.scalar(bound) for bound in (low, high)]
    return call.give("Clip", call.input(), *(bounds if bounds[1] else bounds[:1]))


def _clip(call: Call) -> Result:
    return _bound(
        call,
        call.number("min") if call.has("min") else None,
        call.number("max") if call.has("max") else None,
    )


def _relu_up_to(call: Call) -> Result:
    return _bound(call, 0.0, call.number("n", 6.0))


def _relu6(call: Call) -> Result:
    return _bound(call, 0.0, 6.0)


def _logit(call: Call) -> Result:
    eps = call.number("eps", 1e-6)
    x = call.add("Clip", call.input(), call.scalar(eps), call.scalar(1 - eps))
    return call.give("Log", call.add("Div", x, call.add("Sub", call.scalar(1.0), x)))


def _stump(call: Call) -> Result:
    above = call.add("Greater", call.input(), call.scalar(call.number("threshold")))
    return call.give("Where", above, call.constant(call.number("high_value")), call.constant(call.number("low_value")))


def _scale(call: Call) -> Result:
    return call.give("Mul", call.input(), call.scalar(call.number("scale", 1.0)))


def _gated(call: Call) -> Result:
    counted = {"num_outputs": 2} if call.graph.opset >= 18 else {}
    shown, gate = call.add("Split", call.input(), axis=call.integer("dim", -1), outputs=2, **counted)
    return call.give("Mul", shown, call.add("Sigmoid", gate))


def _replace_nan(call: Call) -> Result:
    x = call.input()
    return call.give("Where", call.add("IsNaN", x), call.scalar(call.number("value")), x)


def _two_classes(call: Call) -> Result:
    x = call.unsqueeze(call.input(), [1])
    return call.give("Concat", call.add("Sub", call.scalar(1.0), x), x, axis=1)


def laid_over(call: Call) -> str:
    """Return the second operand, shaped so that numpy's rule lays it over the first as the operator does.

    Until 2018 operators with ``broadcast`` laid the second over the first from ``axis`` on, by default at the end, and
    a single element over everything. Source: ``ComputeLegacyBroadcastSizes`` in ``elementwise_ops_utils.cc``.
    """
    second = call.input(1)
    if not call.flag("broadcast"):
        return second
    shape = call.value(1).shape
    if shape is not None and count(shape) == 1:
        return call.reshape(second, []) if len(shape) > 1 else second
    axis = call.integer("axis", -1)
    if axis == -1 and (text := call.operator.text("axis_str")):
        axis = call.operator.text("order", "NCHW").find(text)
        if axis < 0:
            raise RefusedError(f"its order has no axis {text!r}")
    if axis == -1:
        return second
    behind = call.rank(0) - axis - call.rank(1)
    if axis < 0 or behind < 0:
        raise RefusedError(f"axis {axis} leaves no room for the second operand")
    return call.unsqueeze(second, [call.rank(1) + place for place in range(behind)])


def _two(op: str) -> Rule:
    def rule(call: Call) -> Result:
        return call.give(op, call.input(0), laid_over(call))

    return rule


def _unequal(call: Call) -> Result:
    return call.give("Not", call.add("Equal", call.input(0), laid_over(call)))


def _bitwise(logical: str, bits: str) -> Rule:
    def rule(call: Call) -> Result:
        if call.dtype(0) == "bool":
            return call.give(logical, call.input(0), laid_over(call))
        if call.graph.opset < 18:
            raise RefusedError("for integers only from operator set 18 on")
        return call.give(bits, call.input(0), laid_over(call))

    return rule


def _power(call: Call) -> Result:
    if len(call) == 1 and call.has("exponent"):
        return call.give("Pow", call.input(), call.scalar(call.number("exponent")))
    return call.give("Pow", call.input(0), laid_over(call))


def _modulo(call: Call) -> Result:
    divisor = call.integer("divisor")
    if divisor == 0:
        raise RefusedError("its divisor is 0")
    return call.give("Mod", call.input(), call.scalar(divisor), fmod=int(not call.flag("sign_follow_divisor")))


def _several(op: str) -> Rule:
    def rule(call: Call) -> Result:
        if len(call) == 1:
            return call.input()
        if op == "Sum" and not call.dtype(0).startswith("float"):
            total = call.input(0)
            for index in range(1, len(call) - 1):
                total = call.add("Add", total, call.input(index))
            return call.give("Add", total, call.input(len(call) - 1))
        return call.give(op, *(call.input(index) for index in range(len(call))))

    return rule


def _sum_relu(call: Call) -> Result:
    return call.give("Relu", call.add("Sum", *(call.input(index) for index in range(len(call)))))


def _weighted_sum(call: Call) -> Result:
    """Add tensors, each times a number that comes as a tensor of one element."""
    if len(call) % 2:
        raise RefusedError("a tensor has no weight")
    parts = []
    for index in range(0, len(call), 2):
        weight = call.reshape(call.input(index + 1), [])
        parts.append(call.add("Mul", call.input(index), weight))
    return call.give("Sum", *parts)


def _select(call: Call) -> Result:
    condition = call.input(0)
    if call.flag("broadcast_on_rows"):
        condition = call.unsqueeze(condition, list(range(1, call.rank(1))))
    return call.give("Where", condition, call.input(1), call.input(2))


def _select_rows(call: Call) -> Result:
    condition = call.unsqueeze(call.input(0), list(range(1, call.rank(1))))
    return call.give("Where", condition, call.input(1), call.input(2))


def _foreign(call: Call) -> Result:
    """Carry over an operator of PyTorch that Caffe2 calls, as nets converted from ONNX do."""
    name = call.operator.text("operator")
    if name != "where" or len(call) != 3:
        raise RefusedError(f"PyTorch's {name}")
    return call.give("Where", call.cast(call.input(0), "bool"), call.input(1), call.input(2))


def _planes(call: Call) -> Result:
    """Take a mean from each channel and divide by a deviation; both are those of the first image for all."""
    mean, deviation = (call.unsqueeze(call.slice(call.input(index), 0, 1, 0), [2, 3]) for index in (1, 2))
    return call.give("Div", call.add("Sub", call.input(), mean), deviation)


RULES: Final[Rules] = {
    **{
        kind: same(kind)
        for kind in (
            "Abs", "Acos", "Asin", "Atan", "Ceil", "Cos", "Cosh", "Erf", "Exp", "Floor", "IsNaN", "Log", "Not",
            "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan",
            "Tanh",
        )
    },
    **dict.fromkeys(
        (
            "Alias", "AliasWithName", "Copy", "CopyCPUToGPU", "CopyFromCPUInput", "CopyGPUToCPU", "CopyOnDeviceLike",
            "EnforceFinite", "EnsureCPUOutput", "EnsureDense", "NanCheck", "Snapshot", "StopGradient", "ZeroGradient",
        ),
        pass_on,
    ),
    **{kind: _several(kind) for kind in ("Max", "Mean", "Min", "Sum")},
    **{kind: _two(kind) for kind in ("Add", "And", "Div", "Mul", "Or", "Sub", "Xor")},
    "ATen": _foreign,
    "BitwiseAnd": _bitwise("And", "BitwiseAnd"),
    "BitwiseOr": _bitwise("Or", "BitwiseOr"),
    "BitwiseXor": _bitwise("Xor", "BitwiseXor"),
    "Cbrt": _cube_root,
    "Clip": _clip,
    "Conditional": _select_rows,
    "Cube": _cube,
    "EQ": _two("Equal"),
    "Elu": _with_alpha("Elu", 1.0),
    "GE": _two("GreaterOrEqual"),
    "GT": _two("Greater"),
    "Gelu": _gelu,
    "Glu": _gated,
    "HardSigmoid": _hard_sigmoid,
    "LE": _two("LessOrEqual"),
    "LT": _two("Less"),
    "LeakyRelu": _with_alpha("LeakyRelu", 0.01),
    "Logit": _logit,
    "MakeTwoClass": _two_classes,
    "Mish": _mish,
    "Mod": _modulo,
    "NE": _unequal,
    "Negative": same("Neg"),
    "NormalizePlanarYUV": _planes,
    "Pow": _power,
    "Relu6": _relu6,
    "ReluN": _relu_up_to,
    "ReplaceNaN": _replace_nan,
    "Rsqrt": _inverse_root,
    "Scale": _scale,
    "Selu": _selu,
    "Sqr": _square,
    "StumpFunc": _stump,
    "SumRelu": _sum_relu,
    "Swish": _swish,
    "ThresholdedRelu": _with_alpha("ThresholdedRelu", 1.0),
    "WeightedSum": _weighted_sum,
    "Where": _select,
}  # fmt: skip
