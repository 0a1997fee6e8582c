"""Data types of the Open Inference Protocol (V2), and the numpy names by which signatures call them.

    >>> datatype_of("float32"), datatype_of("object"), dtype_of("INT64")
    ('FP32', 'BYTES', 'int64')

What does not belong here: how a server spells them in its own configuration.
"""

from types import MappingProxyType
from typing import Final

#: numpy's name to the protocol's (Open Inference Protocol, "Tensor Data Types"; BF16 is an extension of Triton's).
DATATYPES: Final = MappingProxyType(
    {
        "bool": "BOOL",
        "uint8": "UINT8",
        "uint16": "UINT16",
        "uint32": "UINT32",
        "uint64": "UINT64",
        "int8": "INT8",
        "int16": "INT16",
        "int32": "INT32",
        "int64": "INT64",
        "float16": "FP16",
        "bfloat16": "BF16",
        "float32": "FP32",
        "float64": "FP64",
        "object": "BYTES",
    }
)
_DTYPES: Final = MappingProxyType({datatype: dtype for dtype, datatype in DATATYPES.items()})


def datatype_of(dtype: str | None) -> str | None:
    """Return the protocol's name of a signature's type; None where the type is not known or the protocol has none."""
    return DATATYPES.get(dtype) if dtype else None


def dtype_of(datatype: str) -> str | None:
    """Return the signature's name of one of the protocol's types; None for a name that is none of them."""
    return _DTYPES.get(datatype)
