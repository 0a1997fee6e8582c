"""Operators that draw random numbers, of which no two runs agree: they are named with the reason.

What does not belong here: dropout, which is nothing when a network is used.
"""

from typing import Final

from klever.steps.converters.mxnetparams_to_onnx.call import Call, Results, Rule, UncoveredError

#: Canonical names without what precedes them: ``_random_``, ``_sample_``, ``_npi_``.
_DISTRIBUTIONS: Final = (
    *("uniform", "normal", "gamma", "exponential", "poisson", "negativebinomial", "generalizednegativebinomial"),
    *("randint", "multinomial", "uniquezipfian"),
)
#: Those that stand alone.
_ALONE: Final = (
    *("uniform", "uniformn", "normal", "normaln", "exponential", "bernoulli", "choice", "gumbel", "logistic", "pareto"),
    *("rayleigh", "weibull", "multinomial", "shuffle", "imagerandombrightness", "imagerandomcontrast"),
    *("imagerandomsaturation", "imagerandomhue", "imagerandomcolorjitter", "imagerandomlighting"),
    *("imagerandomflipleftright", "imagerandomfliptopbottom"),
)


def _draw(_call: Call) -> Results:
    raise UncoveredError("it draws random numbers, so no two runs agree and nothing could prove the result")


RULES: Final[dict[str, Rule]] = dict.fromkeys(
    (
        *_ALONE,
        *(f"{prefix}{name}" for prefix in ("random", "sample") for name in _DISTRIBUTIONS),
        *(f"random{name}like" for name in _DISTRIBUTIONS),
    ),
    _draw,
)
