"""TypeProto: what kind of value an input or output is.

A tensor has an element type and a shape. Of a sequence, map, optional or sparse tensor, which a signature has no
words for, the element's type stands in: a sequence has no shape of its own, a map neither shape nor type.
"""

from dataclasses import dataclass
from typing import Final

from klever.steps.encodings.protobuf import Message, fields, signed
from klever.steps.errors import LimitExceededError
from klever.steps.frameworks.onnx import DTYPES
from klever.steps.model.shapes import UNKNOWN, Shape

#: Types of types of types; ONNX operators know two levels.
MAX_NESTING: Final = 16

_TENSOR, _SEQUENCE, _MAP, _SPARSE, _OPTIONAL = 1, 4, 5, 8, 9


@dataclass(frozen=True)
class Type:
    """A type as a signature can tell it; ``kind`` names what is not a plain tensor."""

    dtype: str | None = None
    shape: Shape = None
    kind: str = ""
    words: str = "a tensor of unknown type"

    def completed(self, other: "Type | None") -> "Type":
        """Return this type with what it leaves open taken from ``other``."""
        if other is None or self.kind or (self.dtype is not None and self.dtype != other.dtype):
            return self
        if self.dtype is None:
            return other
        return self if self.shape is not None else other


def read_type(part: bytes | Message, depth: int = 0) -> Type:
    """Read a TypeProto; raises `LimitExceededError` for types nested deeper than `MAX_NESTING`."""
    if depth > MAX_NESTING:
        raise LimitExceededError(f"a type is nested deeper than {MAX_NESTING}")
    for number, value in fields(part):
        if isinstance(value, int):
            continue
        if number in (_TENSOR, _SPARSE):
            dtype, shape = _read_tensor(value)
            words = f"a tensor of {dtype or 'unknown type'}"
            if number == _SPARSE:
                return Type(dtype, shape, "sparse", words.replace("a tensor", "a sparse tensor"))
            return Type(dtype, shape, "", words)
        if number in (_SEQUENCE, _OPTIONAL):
            element = _read_element(value, 1, depth)
            if number == _SEQUENCE:
                return Type(element.dtype, None, "sequence", f"a sequence, each element {element.words}")
            return Type(element.dtype, element.shape, "optional", f"optional, where present {element.words}")
        if number == _MAP:
            key = next(
                (DTYPES.get(content) for field, content in fields(value) if field == 1 and isinstance(content, int)),
                None,
            )
            element = _read_element(value, 2, depth)
            return Type(None, None, "map", f"a map from {key or 'an unknown type'} to {element.words}")
    return Type()


def _read_element(part: bytes | Message, field: int, depth: int) -> Type:
    for number, value in fields(part):
        if number == field and not isinstance(value, int):
            return read_type(value, depth + 1)
    return Type()


def _read_tensor(part: bytes | Message) -> tuple[str | None, Shape]:
    """Read the TypeProto.Tensor that sparse tensors share; without a shape the rank is unknown."""
    dtype: str | None = None
    shape: Shape = None
    for number, value in fields(part):
        if number == 1 and isinstance(value, int):
            dtype = DTYPES.get(value)
        elif number == 2 and not isinstance(value, int):
            shape = tuple(
                _read_size(dimension)
                for field, dimension in fields(value)
                if field == 1 and not isinstance(dimension, int)
            )
    return dtype, shape


def _read_size(part: bytes | Message) -> int:
    """Return a dimension's value; one that is symbolic, unnamed or (by some exporters) negative is dynamic."""
    for number, value in fields(part):
        if number == 1 and isinstance(value, int):
            return max(signed(value), UNKNOWN)
    return UNKNOWN
