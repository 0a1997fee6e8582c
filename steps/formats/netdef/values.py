"""What is known of a blob before a run: its shape, the type of its elements and, of small ones, the elements."""

from typing import Final, NamedTuple

from klever.steps.model.shapes import Shape


class Value(NamedTuple):
    """A blob: ``shape`` None for an unknown rank, ``dtype`` a numpy name or None, ``content`` of few integers."""

    shape: Shape = None
    dtype: str | None = None
    content: tuple[int, ...] | None = None


UNKNOWN_VALUE: Final = Value()

#: ``TensorProto.DataType`` of ``caffe2.proto`` to numpy names.
DTYPES: Final = {
    1: "float32",
    2: "int32",
    3: "uint8",
    4: "object",
    5: "bool",
    6: "uint8",
    7: "int8",
    8: "uint16",
    9: "int16",
    10: "int64",
    12: "float16",
    13: "float64",
}
