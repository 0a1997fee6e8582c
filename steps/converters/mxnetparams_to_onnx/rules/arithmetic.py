"""Arithmetic, comparison and logic of two operands: two tensors, or a tensor and a number of the graph.

MXNet writes the truth as 1 and 0 in the operands' type; under numpy's names as a truth value. Source:
``elemwise_binary_*op*.cc`` in MXNet's ``src/operator/tensor`` and ``src/operator/numpy``, ``mshadow_op.h`` in
``src/operator``. What does not belong here: functions of one element.
"""

from collections.abc import Callable
from itertools import product
from math import pi
from typing import Any, Final

from klever.steps.converters.mxnetparams_to_onnx.call import FLOATS, Call, Results, Rule, UncoveredError
from klever.steps.errors import MalformedModelError

#: What makes a node: `Call.finish` for the last one, `Call.emit` for one that is cast or completed afterwards.
_Make = Callable[..., str]
#: Computes from two values of one type (the last argument).
_Function = Callable[[Call, _Make, str, str, str], str]

#: Narrow to wide, as numpy promotes where types meet; whole numbers and floating-point ones meet in the latter.
_WIDTHS: Final = (
    *("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)


def _plain(op: str) -> _Function:
    return lambda _call, make, a, b, _dtype: make(op, [a, b])


def _divide_truly(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    """``true_divide``: whole numbers give float32."""
    if dtype in FLOATS:
        return make("Div", [a, b])
    call.typed("float32")
    return call.emit("Div", [call.graph.cast(a, "float32"), call.graph.cast(b, "float32")])


def _modulo(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    """Return the remainder with the sign of the divisor, as Python has it; zero for a divisor of zero."""
    zero = call.graph.constant(0, dtype=dtype)
    none = call.emit("Equal", [b, zero])
    safe = call.emit("Where", [none, call.graph.constant(1, dtype=dtype), b])
    if dtype in FLOATS:
        rest = call.emit("Mod", [a, safe], fmod=1)
        opposite = call.emit("Less", [call.emit("Mul", [call.emit("Sign", [rest]), call.emit("Sign", [safe])]), zero])
        rest = call.emit("Where", [opposite, call.emit("Add", [rest, safe]), rest])
    else:
        rest = call.emit("Mod", [a, safe])
    return make("Where", [none, zero, rest])


def _power(_call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    if dtype not in ("float32", "float64", "float16", "int32", "int64"):
        raise UncoveredError(f"no power of {dtype}")
    return make("Pow", [a, b])


def _hypotenuse(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    if dtype not in FLOATS:
        raise UncoveredError("only for floating-point numbers")
    return make("Sqrt", [call.emit("Add", [call.emit("Mul", [a, a]), call.emit("Mul", [b, b])])])


def _floor_divide(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    if dtype in FLOATS:
        return make("Floor", [call.emit("Div", [a, b])])
    # ONNX divides whole numbers towards zero.
    return make("Div", [call.emit("Sub", [a, call.emit("Mod", [a, b])]), b])


def _angle(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    """``arctan2``: the angle of (b, a), which the arc tangent of the quotient gives for half of the plane."""
    zero = call.graph.constant(0.0, dtype=dtype)
    level = call.emit("Equal", [b, zero])
    slope = call.emit(
        "Atan", [call.emit("Div", [a, call.emit("Where", [level, call.graph.constant(1.0, dtype=dtype), b])])]
    )
    below = call.emit("Less", [a, zero])
    turn = call.emit("Where", [below, call.graph.constant(-pi, dtype=dtype), call.graph.constant(pi, dtype=dtype)])
    turned = call.emit("Where", [call.emit("Less", [b, zero]), call.emit("Add", [slope, turn]), slope])
    upright = call.emit("Mul", [call.emit("Sign", [a]), call.graph.constant(pi / 2, dtype=dtype)])
    return make("Where", [level, upright, turned])


def _copy_sign(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    size = call.emit("Abs", [a])
    below = call.emit("Less", [b, call.graph.constant(0, dtype=dtype)])
    return make("Where", [below, call.emit("Neg", [size]), size])


def _scale_by_two(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
    """``ldexp``: a times two to the b."""
    return make("Mul", [a, call.emit("Pow", [call.graph.constant(2, dtype=dtype), b])])


def _bitwise(op: str) -> _Function:
    def function(call: Call, make: _Make, a: str, b: str, dtype: str) -> str:
        if call.graph.opset < 18:
            raise UncoveredError("only with operator set 18 or later")
        if dtype in FLOATS:
            raise MalformedModelError(f"node {call.name!r} takes the bits of {dtype}")
        return make(op, [a, b]) if dtype != "bool" else make(op.removeprefix("Bitwise"), [a, b])

    return function


_ARITHMETIC: Final[dict[str, _Function]] = {
    **dict.fromkeys(("add", "plus"), _plain("Add")),
    **dict.fromkeys(("sub", "minus", "subtract"), _plain("Sub")),
    **dict.fromkeys(("mul", "multiply"), _plain("Mul")),
    **dict.fromkeys(("div", "divide"), _plain("Div")),
    "truedivide": _divide_truly,
    "mod": _modulo,
    "power": _power,
    **dict.fromkeys(("maximum", "fmax"), _plain("Max")),
    **dict.fromkeys(("minimum", "fmin"), _plain("Min")),
    "hypot": _hypotenuse,
    "floordivide": _floor_divide,
    "arctan2": _angle,
    "copysign": _copy_sign,
    "ldexp": _scale_by_two,
    "bitwiseand": _bitwise("BitwiseAnd"),
    "bitwiseor": _bitwise("BitwiseOr"),
    "bitwisexor": _bitwise("BitwiseXor"),
}


def _not_equal(call: Call, a: str, b: str) -> str:
    return call.emit("Not", [call.emit("Equal", [a, b])])


def _compare(op: str) -> Callable[[Call, str, str], str]:
    return lambda call, a, b: call.emit(op, [a, b])


_COMPARISONS: Final[dict[str, Callable[[Call, str, str], str]]] = {
    "equal": _compare("Equal"),
    "notequal": _not_equal,
    "greater": _compare("Greater"),
    "greaterequal": _compare("GreaterOrEqual"),
    **dict.fromkeys(("less", "lesser"), _compare("Less")),
    **dict.fromkeys(("lessequal", "lesserequal"), _compare("LessOrEqual")),
}
_LOGIC: Final = {"logicaland": "And", "logicalor": "Or", "logicalxor": "Xor"}


def _operands(call: Call) -> tuple[str, str, str]:
    """Return both inputs in one type, and that type."""
    first, second = call.dtype(0), call.dtype(1)
    wanted = promoted(first, second)
    a, b = call.as_type(call.input(0), first, wanted), call.as_type(call.input(1), second, wanted)
    return a, b, wanted


def promoted(first: str, second: str) -> str:
    """Return the wider of two types."""
    return max(first, second, key=_WIDTHS.index)


def _scalar_operands(call: Call, *, reverse: bool) -> tuple[str, str, str]:
    """Return the tensor and the number in the order of the operation, and their type.

    MXNet casts the number to the tensor's type; under numpy's names a broken number makes whole ones float32.
    """
    dtype, data = call.dtype(), call.input()
    value = call.number("scalar", 0.0)
    if dtype not in FLOATS:
        whole = call.flag("is_int", default=value == int(value)) if abs(value) < 2**63 else False
        if call.operator.startswith("_np") and not whole:
            data, dtype = call.graph.cast(data, "float32"), "float32"
        elif dtype == "bool":
            data, dtype = call.graph.cast(data, "int64"), "int64"
    number = call.graph.constant(value if dtype in FLOATS else _truncated(value), dtype=dtype)
    return (number, data, dtype) if reverse else (data, number, dtype)


def _truncated(value: float) -> int:
    if not abs(value) < 2**63:
        raise UncoveredError("an infinite number beside whole ones")
    return int(value)


def _arithmetic(function: _Function, operands: Callable[[Call], tuple[str, str, str]]) -> Rule:
    def rule(call: Call) -> Results:
        a, b, dtype = operands(call)
        # MXNet's multiplication of truth values and the like is that of whole numbers.
        if dtype == "bool":
            a, b, dtype = call.graph.cast(a, "int64"), call.graph.cast(b, "int64"), "int64"
        call.typed(dtype)
        return function(call, call.finish, a, b, dtype)

    return rule


def _comparison(function: Callable[[Call, str, str], str], operands: Callable[[Call], tuple[str, str, str]]) -> Rule:
    def rule(call: Call) -> Results:
        a, b, _ = operands(call)
        return truth(call, function(call, a, b))

    return rule


def _logic(op: str, operands: Callable[[Call], tuple[str, str, str]]) -> Rule:
    def rule(call: Call) -> Results:
        a, b, dtype = operands(call)
        zero = call.graph.constant(0, dtype=dtype)
        truths = [value if dtype == "bool" else _not_equal(call, value, zero) for value in (a, b)]
        return truth(call, call.emit(op, truths))

    return rule


def truth(call: Call, value: str) -> Results:
    """Give a truth value in the type that the operator has: bool in numpy's, its own number elsewhere."""
    if call.operator.startswith("_np"):
        call.typed("bool")
        return value
    return call.graph.cast(value, call.dtype(), **call.last)


def _straight(call: Call) -> tuple[str, str, str]:
    # Files up to 0.7 say so where the number stands in front.
    return _scalar_operands(call, reverse=call.flag("scalar_on_left"))


def _reversed(call: Call) -> tuple[str, str, str]:
    return _scalar_operands(call, reverse=True)


def _sum(call: Call) -> Results:
    """``add_n``: ONNX sums floating-point numbers only."""
    names = list(call.inputs)
    if len(names) == 1:
        return names[0]
    if call.is_float():
        return call.finish("Sum", names)
    total = names[0]
    for name in names[1:-1]:
        total = call.emit("Add", [total, name])
    return call.finish("Add", [total, names[-1]])


def _choose(call: Call) -> Results:
    """``where``: by elements, or by rows where the condition has one truth value for each."""
    shapes = call.shape(0), call.shape(1)
    condition = call.as_type(call.input(0), call.dtype(0), "bool")
    rank = None if shapes[1] is None else len(shapes[1])
    if not call.operator.startswith("_np") and shapes[0] is not None and len(shapes[0]) == 1:
        if rank is None:
            rank = call.rank(1)
        if rank > 1:
            condition = call.graph.reshape(condition, [-1, *[1] * (rank - 1)])
    dtype = promoted(call.dtype(1), call.dtype(2))
    call.typed(dtype)
    branches = [call.as_type(call.input(index), call.dtype(index), dtype) for index in (1, 2)]
    return call.finish("Where", [condition, *branches])


def _table() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    prefixes = ("", "broadcast", "elemwise")
    kinds: tuple[tuple[dict[str, Any], Callable[..., Rule]], ...] = (
        (_ARITHMETIC, _arithmetic),
        (_COMPARISONS, _comparison),
        (_LOGIC, _logic),
    )
    for table, make in kinds:
        for (name, function), prefix in product(table.items(), prefixes):
            rules[f"{prefix}{name}"] = make(function, _operands)
        for name, function in table.items():
            rules[f"{name}scalar"] = make(function, _straight)
            rules[f"r{name}scalar"] = make(function, _reversed)
            # Only the gradients of these differ from the plain ones.
            rules[f"scatter{name}scalar"] = rules[f"{name}scalar"]
    rules["scatterelemwisediv"] = rules["elemwisediv"]
    rules["gradadd"] = rules["add"]
    return rules


RULES: Final[dict[str, Rule]] = {
    **_table(),
    "addn": _sum,
    "elementwisesum": _sum,
    "where": _choose,
    "numpywhere": _choose,
}
