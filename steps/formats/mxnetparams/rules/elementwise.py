"""Operators that keep the shape of their input, and those that broadcast.

What does not belong here: operators that normalise or activate with weights of their own.
"""

from itertools import product
from typing import Final

from klever.steps.formats.mxnetparams.call import Call, Rule
from klever.steps.model.shapes import UNKNOWN, broadcast, merge

_KEEPING: Final = """
    abs arccos arccosh arcsin arcsinh arctan arctanh cbrt ceil cos cosh degrees erf erfinv exp expm1 fix floor gamma
    gammaln log log10 log1p log2 logicalnot negative radians rcbrt reciprocal relu rint round rsqrt sigmoid sign sin
    sinh softsign sqrt square tan tanh trunc hardsigmoid logsigmoid mish around absolute isnan isinf isfinite
    copy identity blockgrad stopgradient makeloss cast ampcast castlike clip smoothl1 zeroslike oneslike fulllike
    divsqrtdim gradientmultiplier quadratic roundste signste crossdevicecopy copyto native
    dropout activation softmax logsoftmax softmin softmaxactivation l2normalization lrn
    identityattachklsparsereg reverse flip shuffle
    identitywithattrlikerhs
    softmaxoutput linearregressionoutput logisticregressionoutput maeregressionoutput svmoutput warpctc
    randomuniformlike randomnormallike boxnms boxnonmaximumsuppression caststorage indexcopy
    nantonum bitwisenot tril triu imageadjustlighting imagenormalize imageflipleftright imagefliptopbottom
    imagerandombrightness imagerandomcontrast imagerandomsaturation imagerandomhue imagerandomcolorjitter
    imagerandomlighting imagerandomflipleftright imagerandomfliptopbottom cholesky linalgpotrf linalgpotri
    linalgtrmm linalginverse sparseretain softmaxwithlength maskedsoftmax maskedlogsoftmax
    sliceassign sliceassignscalar scattersetnd
"""
_UNARY: Final = tuple(_KEEPING.split())
_ARITHMETIC: Final = (
    "add",
    "plus",
    "sub",
    "minus",
    "subtract",
    "mul",
    "multiply",
    "div",
    "divide",
    "truedivide",
    "mod",
)
_COMPARISONS: Final = (
    *("equal", "notequal", "greater", "greaterequal", "lesser", "lesserequal", "less", "lessequal"),
    *("logicaland", "logicalor", "logicalxor"),
)
_BINARY: Final = (
    *_ARITHMETIC,
    *_COMPARISONS,
    *("power", "maximum", "minimum", "hypot", "arctan2", "copysign", "floordivide", "ldexp", "fmax", "fmin"),
    *("bitwiseand", "bitwiseor", "bitwisexor"),
)


def _same(call: Call) -> None:
    call.tie(0)


def _alike(call: Call) -> None:
    call.tie(*range(len(call.inputs)))


def _broadcast(call: Call) -> None:
    shapes = [call.input(index) for index in range(len(call.inputs))]
    result = call.give(broadcast(*shapes))
    if call.assume and result is not None and shapes.count(None) == 1:
        _assume_operand(call, shapes.index(None), result)


def _assume_operand(call: Call, index: int, result: tuple[int, ...]) -> None:
    """Take the rank of the result for an operand of no known rank: an image from which a mean is subtracted."""
    others = broadcast(*(shape for at, shape in enumerate(call.inputs) if at != index)) or ()
    others = (1,) * (len(result) - len(others)) + others
    sizes = zip(result, others, strict=True)
    call.expect(index, tuple(size if other == 1 else UNKNOWN for size, other in sizes))


def _select(call: Call) -> None:
    """``where``: a condition of the same shape, or of one truth value for each row."""
    shape = merge(call.output(), merge(call.input(1), call.input(2)))
    for index in (1, 2):
        call.expect(index, shape)
    call.give(shape)


def _multicast(call: Call) -> None:
    for index in range(len(call.inputs)):
        shape = call.give(call.input(index), index)
        call.expect(index, shape)


#: Operators whose input has the rank of their output.
KEEPING: Final = frozenset(
    {
        *_UNARY,
        *(f"{prefix}{name}scalar" for prefix in ("", "r") for name in _BINARY),
        *(f"broadcast{name}" for name in _BINARY),
    }
)

RULES: Final[dict[str, Rule]] = {
    **dict.fromkeys(_UNARY, _same),
    **{f"{name}scalar": _same for name in _BINARY},
    **{f"r{name}scalar": _same for name in _BINARY},
    **{f"scatter{name}scalar": _same for name in _ARITHMETIC},
    **{f"elemwise{name}": _alike for name in _ARITHMETIC},
    "scatterelemwisediv": _alike,
    "gradadd": _alike,
    "addn": _alike,
    "elementwisesum": _alike,
    **{f"{prefix}{name}": _broadcast for prefix, name in product(("broadcast", ""), _BINARY)},
    "where": _select,
    "numpywhere": _broadcast,
    "ampmulticast": _multicast,
}
