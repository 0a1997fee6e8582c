"""What an objective does to the sum of the leaves, and to the base score that stands in the file.

Source: ``ProbToMargin`` and ``PredTransform`` of ``src/objective/*.cu`` in XGBoost 0.90 to 3.4.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final


class Transform(Enum):
    """From the margins, [rows, groups], to what ``predict`` gives."""

    IDENTITY = auto()
    SIGMOID = auto()
    EXP = auto()
    #: 1 where the margin is above 0.
    STEP = auto()
    SOFTMAX = auto()
    #: The group with the largest margin, as a float.
    CLASS = auto()
    #: The first margin, then what each further one adds to it: ``log(1 + exp(margin))``.
    RISING = auto()

    @property
    def inverse(self) -> "Transform":
        """The transform whose inverse makes a margin of a base score."""
        return self if self in (Transform.SIGMOID, Transform.EXP, Transform.RISING) else Transform.IDENTITY


OBJECTIVES: Final[Mapping[str, Transform]] = {
    **dict.fromkeys(
        (
            "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror",
            "reg:quantileerror", "rank:pairwise", "rank:ndcg", "rank:map", "binary:logitraw", "gpu:reg:linear",
            "gpu:binary:logitraw",
        ),
        Transform.IDENTITY,
    ),
    **dict.fromkeys(
        ("reg:logistic", "binary:logistic", "gpu:reg:logistic", "gpu:binary:logistic"), Transform.SIGMOID
    ),
    **dict.fromkeys(
        ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"), Transform.EXP
    ),
    "binary:hinge": Transform.STEP,
    "multi:softprob": Transform.SOFTMAX,
    "multi:softmax": Transform.CLASS,
    "reg:expectileerror": Transform.RISING,
}  # fmt: skip
