"""Functions of one element, and what keeps elements as they are.

Source: ``elemwise_unary_op*.cc`` in MXNet's ``src/operator/tensor`` and ``mshadow_op.h`` in ``src/operator``. What does
not belong here: arithmetic of two operands, activation with parameters.
"""

from collections.abc import Callable
from math import log, pi, sqrt
from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import FLOATS, Call, Results, Rule, UncoveredError
from klever.steps.converters.mxnetparams_to_onnx.rules.arithmetic import truth

#: Takes a value of a floating-point type and returns another; what the operator needs stands in the call.
_Function = Callable[[Call, str, str], str]


def _real(function: _Function) -> Rule:
    """Compute integers in float32 and cut them back, as C does in MXNet's kernels; numpy's names keep the float."""

    def rule(call: Call) -> Results:
        dtype = call.dtype()
        if dtype in FLOATS:
            return function(call, call.input(), dtype)
        result = function(call, call.graph.cast(call.input(), "float32"), "float32")
        if call.scalars:
            call.typed("float32")
            return result
        return call.graph.cast(result, dtype, **call.last)

    return rule


def _end(call: Call, op: str, inputs: list[str]) -> str:
    """Make the last node; integers are cast after it, so it bears no name of its own then."""
    if call.dtype() in FLOATS or call.scalars:
        return call.finish(op, inputs)
    return call.emit(op, inputs)


def _direct(op: str) -> _Function:
    return lambda call, x, _dtype: _end(call, op, [x])


def _scaled(op: str, factor: float) -> _Function:
    """Multiply the result of ``op``."""
    return lambda call, x, dtype: _end(call, "Mul", [call.emit(op, [x]), call.graph.constant(factor, dtype=dtype)])


def _times(factor: float) -> _Function:
    return lambda call, x, dtype: _end(call, "Mul", [x, call.graph.constant(factor, dtype=dtype)])


def _rsqrt(call: Call, x: str, _dtype: str) -> str:
    return _end(call, "Reciprocal", [call.emit("Sqrt", [x])])


def _cube_root(call: Call, x: str, dtype: str) -> str:
    return _end(call, "Mul", [call.emit("Sign", [x]), _third_power(call, x, dtype)])


def _reciprocal_cube_root(call: Call, x: str, dtype: str) -> str:
    root = call.emit("Mul", [call.emit("Sign", [x]), _third_power(call, x, dtype)])
    return _end(call, "Reciprocal", [root])


def _third_power(call: Call, x: str, dtype: str) -> str:
    return call.emit("Pow", [call.emit("Abs", [x]), call.graph.constant(1 / 3, dtype=dtype)])


def _exp_minus_one(call: Call, x: str, dtype: str) -> str:
    """2 sinh(x/2) exp(x/2) keeps the digits that exp(x) - 1 loses near zero."""
    half = call.emit("Mul", [x, call.graph.constant(0.5, dtype=dtype)])
    product = call.emit("Mul", [call.emit("Sinh", [half]), call.emit("Exp", [half])])
    return _end(call, "Mul", [product, call.graph.constant(2.0, dtype=dtype)])


def _log_of_one_plus(call: Call, x: str, dtype: str) -> str:
    """2 artanh(x / (2 + x)) keeps the digits that log(1 + x) loses near zero; far away the plain form is exact."""
    one, two, bound = (call.graph.constant(value, dtype=dtype) for value in (1.0, 2.0, 0.5))
    near = call.emit("Less", [call.emit("Abs", [x]), bound])
    small = call.emit("Where", [near, x, call.graph.constant(0.0, dtype=dtype)])
    series = call.emit("Mul", [call.emit("Atanh", [call.emit("Div", [small, call.emit("Add", [small, two])])]), two])
    return _end(call, "Where", [near, series, call.emit("Log", [call.emit("Add", [x, one])])])


def _round_away(call: Call, x: str, dtype: str) -> str:
    """Halves go away from zero, while ONNX's go to the even neighbour."""
    moved = call.emit("Floor", [call.emit("Add", [call.emit("Abs", [x]), call.graph.constant(0.5, dtype=dtype)])])
    return _end(call, "Mul", [call.emit("Sign", [x]), moved])


def _round_down(call: Call, x: str, dtype: str) -> str:
    """``rint``: halves go down."""
    return _end(call, "Ceil", [call.emit("Sub", [x, call.graph.constant(0.5, dtype=dtype)])])


def _truncate(call: Call, x: str, _dtype: str) -> str:
    return _end(call, "Mul", [call.emit("Sign", [x]), call.emit("Floor", [call.emit("Abs", [x])])])


def _around(call: Call, x: str, dtype: str) -> str:
    decimals = call.integer("decimals", 0)
    if decimals == 0:
        return _end(call, "Round", [x])
    factor = call.graph.constant(10.0**decimals, dtype=dtype)
    return _end(call, "Div", [call.emit("Round", [call.emit("Mul", [x, factor])]), factor])


#: Lanczos' approximation of the gamma function with g = 7 and nine terms, good to 1e-14 in double precision.
_LANCZOS: Final = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip


def _log_gamma(call: Call, x: str, dtype: str) -> str:
    return _finish_wide(call, _log_gamma_wide(call, _wide(call, x, dtype)), dtype)


def _wide(call: Call, x: str, dtype: str) -> str:
    return call.as_type(x, dtype, "float64")


def _finish_wide(call: Call, x: str, dtype: str) -> str:
    if call.dtype() in FLOATS or call.scalars:
        return call.graph.cast(x, dtype, **call.last)
    return call.graph.cast(x, dtype)


def _log_gamma_wide(call: Call, x: str) -> str:
    """Return log |gamma(x)| in double precision: below one half by the reflection formula."""
    reflected = call.emit("Less", [x, _double(call, 0.5)])
    z = call.emit(
        "Sub", [call.emit("Where", [reflected, call.emit("Sub", [_double(call, 1.0), x]), x]), _double(call, 1)]
    )
    series = _double(call, _LANCZOS[0])
    for place, term in enumerate(_LANCZOS[1:], 1):
        quotient = call.emit("Div", [_double(call, term), call.emit("Add", [z, _double(call, place)])])
        series = call.emit("Add", [series, quotient])
    shifted = call.emit("Add", [z, _double(call, 7.5)])
    power = call.emit("Mul", [call.emit("Add", [z, _double(call, 0.5)]), call.emit("Log", [shifted])])
    total = call.emit("Add", [call.emit("Sub", [power, shifted]), call.emit("Log", [series])])
    right = call.emit("Add", [total, _double(call, 0.5 * log(2 * pi))])
    sine = call.emit("Abs", [call.emit("Sin", [call.emit("Mul", [x, _double(call, pi)])])])
    left = call.emit("Sub", [call.emit("Sub", [_double(call, log(pi)), call.emit("Log", [sine])]), right])
    return call.emit("Where", [reflected, left, right])


def _double(call: Call, value: float) -> str:
    return call.graph.constant(float(value), dtype="float64")


def _gamma(call: Call, x: str, dtype: str) -> str:
    """Exp of its logarithm, with the sign that alternates between the negative integers."""
    wide = _wide(call, x, dtype)
    size = call.emit("Exp", [_log_gamma_wide(call, wide)])
    halves = call.emit("Mul", [call.emit("Floor", [wide]), _double(call, 0.5)])
    odd = call.emit("Sub", [halves, call.emit("Floor", [halves])])
    odd_below = call.emit("And", [
        call.emit("Less", [wide, _double(call, 0.0)]),
        call.emit("Greater", [odd, _double(call, 0.25)]),
    ])  # fmt: skip
    return _finish_wide(call, call.emit("Where", [odd_below, call.emit("Neg", [size]), size]), dtype)


#: Polynomials of M. Giles, "Approximating the erfinv function" (2010), highest power first.
_CENTRE: Final = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
    0.246640727, 1.50140941,
)  # fmt: skip
_TAILS: Final = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
    1.00167406, 2.83297682,
)  # fmt: skip


def _inverse_error(call: Call, x: str, dtype: str) -> str:
    """Giles' approximation, good to single precision, and exact at the ends: infinite at 1, undefined beyond."""
    x = _wide(call, x, dtype)
    one = _double(call, 1.0)
    w = call.emit(
        "Neg", [call.emit("Log", [call.emit("Mul", [call.emit("Sub", [one, x]), call.emit("Add", [one, x])])])]
    )
    centre = _polynomial(call, call.emit("Sub", [w, _double(call, 2.5)]), _CENTRE)
    tails = _polynomial(call, call.emit("Sub", [call.emit("Sqrt", [w]), _double(call, 3.0)]), _TAILS)
    factor = call.emit("Where", [call.emit("Less", [w, _double(call, 5.0)]), centre, tails])
    return _finish_wide(call, call.emit("Mul", [factor, x]), dtype)


def _polynomial(call: Call, x: str, terms: tuple[float, ...]) -> str:
    result = _double(call, terms[0])
    for term in terms[1:]:
        result = call.emit("Add", [call.emit("Mul", [result, x]), _double(call, term)])
    return result


def _logical_not(call: Call) -> Results:
    zero = call.emit("Equal", [call.input(), call.constant(0)])
    if call.scalars:
        call.typed("bool")
        return zero
    return call.graph.cast(zero, call.dtype(), **call.last)


def _keeping(op: str) -> Rule:
    """Return the rule of an operator that ONNX has for integers too."""
    return lambda call: call.finish(op, [call.input()])


def _whole(op: str) -> Rule:
    """Round; integers are round already, and ONNX takes none."""
    return lambda call: call.finish(op, [call.input()]) if call.is_float() else call.input()


def _if_float(rule: Rule) -> Rule:
    return lambda call: rule(call) if call.is_float() else call.input()


def _square(call: Call) -> Results:
    return call.finish("Mul", [call.input(), call.input()])


def _examine(op: str) -> Rule:
    """``isnan`` and the like: truth values under numpy's names, numbers in MXNet's own namespaces."""

    def rule(call: Call) -> Results:
        data = call.as_type(call.input(), call.dtype(), call.dtype() if call.is_float() else "float32")
        found = call.emit(op, [data])
        return truth(call, found)

    return rule


def _is_finite(call: Call) -> Results:
    data = call.as_type(call.input(), call.dtype(), call.dtype() if call.is_float() else "float32")
    return truth(call, call.emit("Not", [call.emit("Or", [call.emit("IsNaN", [data]), call.emit("IsInf", [data])])]))


def _is_endless(sign: float) -> Rule:
    """``isposinf`` and ``isneginf``."""

    def rule(call: Call) -> Results:
        data = call.as_type(call.input(), call.dtype(), call.dtype() if call.is_float() else "float32")
        return truth(call, call.emit("IsInf", [data], detect_negative=int(sign < 0), detect_positive=int(sign > 0)))

    return rule


#: The largest numbers of the types, which take the place of what is infinite.
_LARGEST: Final = {"float16": 65504.0, "float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


def _replace_nan(call: Call) -> Results:
    """``nan_to_num``."""
    dtype, data = call.dtype(), call.input()
    if dtype not in _LARGEST:
        return data
    data = call.emit("Where", [call.emit("IsNaN", [data]), call.constant(call.number("nan", 0.0)), data])
    for sign, key in ((1, "posinf"), (-1, "neginf")):
        found = call.emit("IsInf", [data], detect_negative=int(sign < 0), detect_positive=int(sign > 0))
        data = call.emit("Where", [found, call.constant(call.number(key, sign * _LARGEST[dtype])), data])
    return data


def _invert(call: Call) -> Results:
    """``bitwise_not``: of a whole number with a sign, one less than its negative."""
    if call.dtype() == "bool":
        return call.finish("Not", [call.input()])
    if call.dtype() not in ("int8", "int32", "int64"):
        raise UncoveredError(f"no bits of {call.dtype()}")
    return call.finish("Sub", [call.emit("Neg", [call.input()]), call.constant(1)])


def _clip(call: Call) -> Results:
    bounds = [call.number(key, default) for key, default in (("a_min", float("-inf")), ("a_max", float("inf")))]
    if call.is_float():
        limits = [call.constant(bound) for bound in bounds]
    else:
        limits = ["" if abs(bound) == float("inf") else call.constant(int(bound)) for bound in bounds]
    return call.finish("Clip", [call.input(), *limits] if limits[1] else [call.input(), *limits[:1]])


def _smooth(call: Call) -> Results:
    """``smooth_l1``: a parabola within 1 / scalar**2 of zero, straight lines beyond."""
    square = call.number("scalar", 1.0) ** 2
    size = call.emit("Abs", [call.input()])
    inner = call.emit("Mul", [call.emit("Mul", [size, size]), call.constant(0.5 * square)])
    outer = call.emit("Sub", [size, call.constant(0.5 / square)])
    return call.finish("Where", [call.emit("Less", [size, call.constant(1 / square)]), inner, outer])


def _quadratic(call: Call) -> Results:
    a, b, c = (call.constant(call.number(key, 0.0)) for key in "abc")
    data = call.input()
    slope = call.emit("Add", [call.emit("Mul", [data, a]), b])
    return call.finish("Add", [call.emit("Mul", [slope, data]), c])


def _divide_by_root(call: Call) -> Results:
    """``div_sqrt_dim``: by the root of the last size."""
    size = call.dims()[-1]
    if size >= 0:
        return call.finish("Div", [call.input(), call.constant(sqrt(size))])
    root = call.emit("Sqrt", [call.graph.cast(call.size_of(call.input(), call.rank() - 1), call.dtype())])
    return call.finish("Div", [call.input(), root])


def _keep(call: Call) -> Results:
    return call.input()


def _drop(call: Call) -> Results:
    if call.word("mode", "training") == "always" and call.number("p", 0.5) > 0:
        raise UncoveredError("mode 'always' draws at random when the network is used")
    return call.input()


def _cast(call: Call) -> Results:
    dtype = call.element_type(call.dtype())
    wanted = "float32" if dtype == "bfloat16" else dtype
    call.typed(wanted)
    if wanted == call.dtype():
        return call.input()
    return call.graph.cast(call.input(), wanted, **call.last)


def _cast_alike(call: Call) -> Results:
    """``amp_multicast``: all to the widest type, or the narrowest, that occurs."""
    order = ("float16", "float32", "float64")
    kinds = {call.dtype(index) for index in range(len(call))}
    if not kinds <= set(order):
        raise UncoveredError("only for floating-point numbers")
    chosen = (min if call.flag("cast_narrow") else max)(kinds, key=order.index)
    results = []
    for index in range(len(call)):
        call.typed(chosen, index)
        results.append(call.as_type(call.input(index), call.dtype(index), chosen))
    return results


_FUNCTIONS: Final[dict[str, _Function]] = {
    "exp": _direct("Exp"),
    "expm1": _exp_minus_one,
    "log": _direct("Log"),
    "log2": _scaled("Log", 1 / log(2)),
    "log10": _scaled("Log", 1 / log(10)),
    "log1p": _log_of_one_plus,
    "sqrt": _direct("Sqrt"),
    "rsqrt": _rsqrt,
    "cbrt": _cube_root,
    "rcbrt": _reciprocal_cube_root,
    "reciprocal": _direct("Reciprocal"),
    "sin": _direct("Sin"),
    "cos": _direct("Cos"),
    "tan": _direct("Tan"),
    "arcsin": _direct("Asin"),
    "arccos": _direct("Acos"),
    "arctan": _direct("Atan"),
    "sinh": _direct("Sinh"),
    "cosh": _direct("Cosh"),
    "tanh": _direct("Tanh"),
    "arcsinh": _direct("Asinh"),
    "arccosh": _direct("Acosh"),
    "arctanh": _direct("Atanh"),
    "degrees": _times(180 / pi),
    "rad2deg": _times(180 / pi),
    "radians": _times(pi / 180),
    "deg2rad": _times(pi / 180),
    "erf": _direct("Erf"),
    "erfinv": _inverse_error,
    "gamma": _gamma,
    "gammaln": _log_gamma,
}
_ROUNDING: Final[dict[str, _Function]] = {
    "round": _round_away,
    "rint": _round_down,
    "fix": _truncate,
    "trunc": _truncate,
    "around": _around,
}

RULES: Final[dict[str, Rule]] = {
    **{name: _real(function) for name, function in _FUNCTIONS.items()},
    **{name: _if_float(_real(function)) for name, function in _ROUNDING.items()},
    "floor": _whole("Floor"),
    "ceil": _whole("Ceil"),
    "roundste": _if_float(_real(_round_away)),
    "signste": _keeping("Sign"),
    "isposinf": _is_endless(1),
    "isneginf": _is_endless(-1),
    "nantonum": _replace_nan,
    "bitwisenot": _invert,
    "abs": _keeping("Abs"),
    "absolute": _keeping("Abs"),
    "sign": _keeping("Sign"),
    "negative": _keeping("Neg"),
    "square": _square,
    "logicalnot": _logical_not,
    "isnan": _examine("IsNaN"),
    "isinf": _examine("IsInf"),
    "isfinite": _is_finite,
    "clip": _clip,
    "smoothl1": _smooth,
    "quadratic": _quadratic,
    "divsqrtdim": _divide_by_root,
    "identity": _keep,
    "copy": _keep,
    "identitywithattrlikerhs": _keep,
    "crossdevicecopy": _keep,
    "copyto": _keep,
    "caststorage": _keep,
    "dropout": _drop,
    "cast": _cast,
    "ampcast": _cast,
    "ampmulticast": _cast_alike,
}
