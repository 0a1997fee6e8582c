"""Rules for operators that work element by element, and the arithmetic on small values that shapes are made by."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Final

from klever.steps.formats.graphdef.call import Call, Known, Values, rule, shape_rule
from klever.steps.frameworks.tensorflow import MAX_ELEMENTS, Number
from klever.steps.model.shapes import UNKNOWN, Shape, broadcast, count, merge, reduce

#: DataTypes of whole numbers, on which division rounds towards zero.
_INTEGERS: Final = frozenset({3, 4, 5, 6, 9, 17, 22, 23})

#: Operators that pass their first input on.
_PASSED: Final = """
Identity Snapshot StopGradient PreventGradient CheckNumerics GuaranteeConst RefIdentity DeepCopy Enter RefEnter
Exit RefExit NextIteration RefNextIteration Print DebugIdentity DebugIdentityV2 DebugIdentityV3
OptimizationBarrier Copy CopyHost
"""

#: Operators of which the result has the shape of the first input.
_UNCHANGED: Final = """
Acos Acosh Asin Asinh Atan Atanh BesselI0e BesselI1e Conj Cos Cosh Digamma Elu Erf Erfc Erfinv Exp Expm1 Inv
Invert IsFinite IsInf IsNan LeakyRelu Lgamma Log Log1p LogSoftmax LogicalNot Ndtri Reciprocal Relu Relu6 Rint
Rsqrt Selu Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Square Tan Tanh PopulationCount Real Imag
ComplexAbs Angle LRN Cumsum Cumprod CumulativeLogsumexp Reverse ReverseV2 ReverseSequence ClipByValue
RandomShuffle Bucketize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel
QuantizeAndDequantize QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
QuantizeAndDequantizeV4Grad Dequantize AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation RGBToHSV
HSVToRGB DrawBoundingBoxes DrawBoundingBoxesV2 Roll MatrixBandPart BatchMatrixBandPart MatrixInverse
BatchMatrixInverse Cholesky MatrixSquareRoot MatrixExponential MatrixLogarithm MatrixSetDiag MatrixSetDiagV2
MatrixSetDiagV3 FFT FFT2D FFT3D IFFT IFFT2D IFFT3D DecodeBase64 EncodeBase64 StringToHashBucket
StringToHashBucketFast StringToHashBucketStrong StringToNumber StringLower StringUpper StringStrip StringLength
RegexReplace StaticRegexReplace RegexFullMatch StaticRegexFullMatch AsString UnicodeTranscode UnicodeScript
Substr InvertPermutation BiasAdd BiasAddV1 InplaceUpdate InplaceAdd InplaceSub TensorScatterUpdate
TensorScatterAdd TensorScatterSub TensorScatterMax TensorScatterMin TensorStridedSliceUpdate
ScatterNdNonAliasingAdd SparseSoftmax Cross BatchFFT BatchIFFT Dawsn Expint FresnelCos FresnelSin Spence
BesselI0 BesselI1 BesselJ0 BesselJ1 BesselK0 BesselK1 BesselY0 BesselY1 BesselK0e BesselK1e DataFormatVecPermute
DataFormatDimMap BatchNormWithGlobalNormalization StatelessShuffle
"""

#: Operators on two tensors that broadcast, whose results no shape is made of.
_BROADCAST: Final = """
DivNoNan MulNoNan SquaredDifference Pow Atan2 Complex Igamma Igammac IgammaGradA Zeta Polygamma Xdivy Xlogy
Xlog1py BitwiseAnd BitwiseOr BitwiseXor LeftShift RightShift ApproximateEqual NextAfter
"""


@rule(*_PASSED.split())
def _same(call: Call) -> Sequence[Known]:
    """Pass the input on, elements and all; within a loop no element is known."""
    given = call[0]
    loops = call.node.op.removeprefix("Ref") in ("Enter", "Exit", "NextIteration")
    return (Known(given.shape, None if loops and not call.flag("is_constant") else given.values),)


@shape_rule(*_UNCHANGED.split())
def _unary(call: Call) -> Shape:
    return call.shape(0)


@rule("ZerosLike", "OnesLike")
def _like(call: Call) -> Sequence[Known]:
    shape = call.shape(0)
    known = shape is not None and 0 <= count(shape) <= MAX_ELEMENTS
    value = 0 if call.node.op == "ZerosLike" else 1
    return (Known(shape, (value,) * count(shape or ()) if known else None),)


def _truncate(a: float, b: float) -> float:
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


_BINARY: Final[dict[str, Callable[[float, float], Number]]] = {
    "Add": operator.add,
    "AddV2": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "RealDiv": operator.truediv,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "TruncateDiv": _truncate,
    "FloorMod": operator.mod,
    "Mod": math.fmod,
    "TruncateMod": math.fmod,
    "Maximum": max,
    "Minimum": min,
    "Equal": operator.eq,
    "NotEqual": operator.ne,
    "Less": operator.lt,
    "LessEqual": operator.le,
    "Greater": operator.gt,
    "GreaterEqual": operator.ge,
    "LogicalAnd": lambda a, b: bool(a) and bool(b),
    "LogicalOr": lambda a, b: bool(a) or bool(b),
}

_UNARY: Final[dict[str, Callable[[float], Number]]] = {
    "Neg": operator.neg,
    "Abs": abs,
    "Floor": math.floor,
    "Ceil": math.ceil,
    "Round": round,
    "LogicalNot": operator.not_,
}


@rule(*_UNARY)
def _arithmetic(call: Call) -> Sequence[Known]:
    given = call[0]
    function = _UNARY[call.node.op]
    return (Known(given.shape, _each(function, given.values)),)


def _each(function: Callable[[float], Number], values: Values) -> Values:
    return None if values is None else tuple(None if value is None else _safe(function, value) for value in values)


def _safe(function: Callable[..., Number], *values: float) -> Number:
    """Compute, or know nothing where numbers leave their range."""
    try:
        return function(*values)
    except (ArithmeticError, ValueError):
        return None


@rule("Cast")
def _cast(call: Call) -> Sequence[Known]:
    given = call[0]
    target = call.node.dtype("DstT")
    if target in _INTEGERS:
        return (Known(given.shape, _each(int, given.values)),)
    return (Known(given.shape, _each(bool if target == 10 else float, given.values)),)


@rule(
    *_BINARY,
    *_BROADCAST.split(),
)
def _binary(call: Call) -> Sequence[Known]:
    a, b = call[0], call[1]
    shape = a.shape if a.shape == b.shape else broadcast(a.shape, b.shape)
    function = _BINARY.get(call.node.op)
    if function is None or a.values is None or b.values is None or shape is None or len(shape) > 1:
        return (Known(shape),)
    if call.node.op == "Div" and (call.node.dtype("T") or 0) in _INTEGERS:
        function = _truncate
    total = max(len(a.values), len(b.values))
    left, right = (values * total if len(values) == 1 else values for values in (a.values, b.values))
    if len(left) != len(right):
        return (Known(shape),)
    values = tuple(None if x is None or y is None else _safe(function, x, y) for x, y in zip(left, right, strict=True))
    return (Known(shape, values),)


@shape_rule("AddN", "AccumulateNV2")
def _sum(call: Call) -> Shape:
    shape: Shape = None
    for given in call.inputs:
        shape = merge(shape, given.shape)
    return shape


@rule("IdentityN")
def _each_same(call: Call) -> Sequence[Known]:
    return call.inputs


@rule("Select", "SelectV2")
def _select(call: Call) -> Sequence[Known]:
    """Choose between two tensors; the old operator's condition may be a vector of rows."""
    condition, yes, no = call[0], call[1], call[2]
    shape = (
        broadcast(condition.shape, yes.shape, no.shape) if call.node.op == "SelectV2" else merge(yes.shape, no.shape)
    )
    if condition.values is not None and len(condition.values) == 1 and condition.values[0] is not None:
        chosen = yes if condition.values[0] else no
        if chosen.shape == shape:
            return (Known(shape, chosen.values),)
    return (Known(shape),)


_REDUCTIONS: Final[dict[str, Callable[[Sequence[float]], Number]]] = {
    "Prod": math.prod,
    "Sum": sum,
    "Max": max,
    "Min": min,
    "All": all,
    "Any": any,
}


@rule(*_REDUCTIONS, "Mean", "EuclideanNorm", "ReduceJoin")
def _reduce(call: Call) -> Sequence[Known]:
    given = call[0]
    keep = call.flag("keep_dims")
    axes = call.integers(1)
    if axes is None:
        unknown = (UNKNOWN,) * len(given.shape) if keep and given.shape is not None else None
        return (Known(unknown),)
    # ReduceJoin alone reads no axes as all axes.
    shape = reduce(given.shape, None if call.node.op == "ReduceJoin" and not axes else axes, keep=keep)
    function = _REDUCTIONS.get(call.node.op)
    whole = [value for value in given.values or () if value is not None]
    complete = given.values is not None and len(whole) == len(given.values)
    if function is None or not complete or shape not in ((), (1,)) or len(given.shape or ()) > 1 or not axes:
        return (Known(shape),)
    try:
        return (Known(shape, (function(whole),)),)
    except (ArithmeticError, ValueError):
        return (Known(shape),)
