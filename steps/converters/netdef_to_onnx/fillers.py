"""What the operators of an init net fill: type, shape and where the values lie.

What does not belong here: reading the values (see ``weights``). Source of the defaults: ``FillerOp``,
``GivenTensorFillOp`` and ``ConstantFillOp`` in ``caffe2/operators``.
"""

from enum import Enum
from math import isfinite, prod
from typing import Final, NamedTuple

from klever.steps.converters.netdef_to_onnx.call import RefusedError, fitting
from klever.steps.errors import LimitExceededError
from klever.steps.files import Source
from klever.steps.formats.netdef.graph import Argument, Operator
from klever.steps.formats.netdef.values import DTYPES

#: What is filled by a rule and not by values in the file, in elements: the first full layer of VGG has 103 million.
MAX_MADE_ELEMENTS: Final = 1 << 27
_MAX_RANK: Final = 32


class Kind(Enum):
    """How the elements come about."""

    STORED = "stored"
    CONSTANT = "constant"
    RANGE = "range"
    DIAGONAL = "diagonal"
    #: Bytes of one text are the elements.
    BYTES = "bytes"


class Filled(NamedTuple):
    """A blob that is filled before a run: ``values`` is the argument that holds the elements, where they are stored."""

    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    values: Argument | None = None
    #: The element of a constant or of a diagonal.
    value: float | int | bool = 0
    #: The file in which the argument's ``stored`` lies.
    source: Source | None = None

    @property
    def elements(self) -> int:
        """How many elements there are."""
        return prod(self.shape)


_STORED: Final = {
    "GivenTensorFill": "float32",
    "GivenTensorDoubleFill": "float64",
    "GivenTensorBoolFill": "bool",
    "GivenTensorInt16Fill": "int16",
    "GivenTensorIntFill": "int32",
    "GivenTensorInt64Fill": "int64",
    "GivenTensorStringFill": "object",
    "Int8GivenIntTensorFill": "int32",
}
_BYTES: Final = ("GivenTensorByteStringToUInt8Fill", "Int8GivenTensorFill")
_CONSTANT: Final = ("ConstantFill", "Float16ConstantFill")
RANDOM: Final = frozenset({
    "Float16UniformFill", "GaussianFill", "HeFill", "MSRAFill", "UniformFill", "UniformIntFill", "UniqueUniformFill",
    "XavierFill",
})  # fmt: skip
FILLERS: Final = frozenset({*_STORED, *_BYTES, *_CONSTANT, *RANDOM, "DiagonalFill", "RangeFill"})


def describe(operator: Operator, source: Source | None) -> Filled:
    """Return what an operator of `FILLERS` without inputs fills; raises `RefusedError` or `LimitExceededError`."""
    kind = operator.type
    if kind in RANDOM:
        raise RefusedError("its values are random")
    shape = _shape(operator)
    if kind in _STORED:
        if _stored_dtype(operator) == "object":
            raise RefusedError("it fills text")
        return Filled(Kind.STORED, _stored_dtype(operator), shape, operator.arguments.get("values"), source=source)
    if kind in _BYTES:
        return Filled(Kind.BYTES, "uint8", shape, operator.arguments.get("values"), source=source)
    if prod(shape) > MAX_MADE_ELEMENTS:
        raise LimitExceededError(f"{kind} makes {prod(shape)} elements, more than any network has in one blob")
    if kind == "RangeFill":
        return Filled(Kind.RANGE, "float32", shape)
    dtype, value = constant(operator)
    return Filled(Kind.DIAGONAL if kind == "DiagonalFill" else Kind.CONSTANT, dtype, shape, value=value)


def _shape(operator: Operator) -> tuple[int, ...]:
    shape = operator.integers("shape")
    if len(shape) > _MAX_RANK or any(not 0 <= size < 1 << 48 for size in shape):
        raise RefusedError("no tensor has the shape that it fills")
    return shape


def _stored_dtype(operator: Operator) -> str:
    """Return the element type; only the filler of floats takes another by argument."""
    stated = operator.integer("dtype") if operator.type == "GivenTensorFill" else 0
    return DTYPES.get(stated, _STORED[operator.type]) if stated else _STORED[operator.type]


def constant(operator: Operator) -> tuple[str, float | int | bool]:
    """Return type and value of a constant; the type follows from the value where none is stated."""
    value = operator.arguments.get("value", Argument())
    if operator.type == "Float16ConstantFill":
        return "float16", value.f or 0.0
    stated = operator.integer("dtype")
    if not stated:
        stated = 10 if value.i is not None and value.f is None else 1
        if value.s is not None:
            stated = 4
    dtype = DTYPES.get(stated)
    if dtype is None or dtype == "object":
        raise RefusedError(f"it fills elements of type {stated}")
    if dtype.startswith("float"):
        return dtype, value.f if value.f is not None else float(value.i or 0)
    whole = value.i if value.i is not None else _whole(value.f or 0.0)
    return dtype, bool(whole) if dtype == "bool" else int(fitting(whole, dtype))


def _whole(value: float) -> int:
    if not isfinite(value):
        raise RefusedError(f"{value} is no whole number")
    return int(value)
