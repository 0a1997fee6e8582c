"""joblib's files and NumPy arrays in pickles: types and sizes of arrays, and the content of small ones.

joblib writes a pickle in which each array is a wrapper, after which the array's bytes stand between the opcodes.
They are skipped by the wrapper's type and shape. What does not belong here: what the objects mean.

Sources: ``joblib/numpy_pickle.py`` (0.10 to 1.6), ``numpy/core/src/multiarray/methods.c`` (``array_reduce``),
``descriptor.c`` (``arraydescr_reduce``).
"""

import re
import struct
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Final

from klever.steps.encodings.inflated import inflate
from klever.steps.encodings.pickle import Budget, Global, Object, Pickle, Value, read_pickle
from klever.steps.encodings.stream import Stream
from klever.steps.errors import LimitExceededError, MalformedModelError

if TYPE_CHECKING:
    from klever.steps.files import Source

#: Arrays with fewer bytes keep their content: the names of classes and features.
MAX_CONTENT_BYTES: Final = 16 << 10
#: How deep pickles of object arrays stand in each other.
MAX_NESTING: Final = 16
_MAX_RANK: Final = 64

_WRAPPERS: Final = ("NumpyArrayWrapper",)
_CODE: Final = re.compile(r"[<>|=]?([a-zA-Z?])(\d*)")
#: dtype codes (kind and bytes) to numpy names.
_NAMES: Final = {
    "b1": "bool",
    "O": "object",
    **{
        f"{kind}{width}": f"{name}{8 * width}" for kind, name in (("i", "int"), ("u", "uint")) for width in (1, 2, 4, 8)
    },
    **{f"f{width}": f"float{8 * width}" for width in (2, 4, 8, 16)},
    **{f"c{width}": f"complex{8 * width}" for width in (8, 16)},
}


@dataclass(frozen=True, slots=True)
class DType:
    """A NumPy type: its name as in ORMB (``object`` for texts, None for records), and bytes of an element."""

    name: str | None
    kind: str
    width: int
    order: str


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """An array; ``content`` are its bytes if they are few, the elements for an object array, else None."""

    dtype: DType
    shape: tuple[int, ...]
    content: bytes | list[Value] | None

    def texts(self) -> list[str] | None:
        """Return the elements as text; None where they are unknown or no texts."""
        if isinstance(self.content, list):
            return [str(one) for one in self.content] if all(isinstance(one, str) for one in self.content) else None
        if self.content is None or self.dtype.kind not in "US":
            return None
        width, encoding = self.dtype.width, "utf-32-be" if self.dtype.order == ">" else "utf-32-le"
        parts = (self.content[at : at + width] for at in range(0, len(self.content), max(width, 1)))
        encoding = encoding if self.dtype.kind == "U" else "latin-1"
        return [part.decode(encoding, "backslashreplace").rstrip("\0") for part in parts]


def read_joblib(source: "Source") -> tuple[Pickle, tuple[Global, ...]]:
    """Read a file of joblib's, or any pickle, compressed or not; return it with the globals of nested pickles too.

    Raises a `ModelError` as `read_pickle` and `inflate` do.
    """
    return _Reader(Stream(inflate(source))).read()


class _Reader:
    """One file: a stream that arrays and nested pickles share."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._budget = Budget()
        self._depth = 0
        self._globals: dict[Global, None] = {}

    def read(self) -> tuple[Pickle, tuple[Global, ...]]:
        pickle = self._read()
        return pickle, tuple(self._globals)

    def _read(self) -> Pickle:
        pickle = read_pickle(self._stream, after_build=self._take_array, budget=self._budget)
        self._globals.update(dict.fromkeys(pickle.globals))
        return pickle

    def _take_array(self, wrapper: Object) -> None:
        """Take the bytes that follow a wrapper; what is kept of them becomes the wrapper's only item."""
        if not isinstance(wrapper.function, Global) or wrapper.function.name not in _WRAPPERS:
            return
        state = wrapper.state
        shape = _shape(state.get("shape")) if isinstance(state, dict) else None
        dtype = dtype_of(state.get("dtype")) if isinstance(state, dict) else None
        if shape is None or dtype is None:
            raise MalformedModelError("an array of joblib's has no type or shape")
        if dtype.kind == "O":
            wrapper.items = [self._read_nested().root]
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            self._stream.skip(self._stream.take(1)[0])
        size = prod(shape) * dtype.width
        if size <= MAX_CONTENT_BYTES:
            self._budget.take_bytes(size)
            wrapper.items = [self._stream.take(size)]
        else:
            self._stream.skip(size)

    def _read_nested(self) -> Pickle:
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise LimitExceededError(f"arrays of objects stand in each other deeper than {MAX_NESTING}")
        pickle = self._read()
        self._depth -= 1
        return pickle


def array_of(value: Value) -> Array | None:
    """Return what a pickled array is, be it joblib's or NumPy's own; None for any other value."""
    if not isinstance(value, Object) or not isinstance(value.function, Global):
        return None
    name = value.function.name
    if name in _WRAPPERS and isinstance(value.state, dict):
        nested = value.items[0] if value.items else None
        inner = array_of(nested) if isinstance(nested, Object) else None
        content = nested if isinstance(nested, bytes) else inner.content if inner else None
        return _array(value.state.get("dtype"), value.state.get("shape"), content)
    if name == "_reconstruct" and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, _, content = value.state
        return _array(dtype, shape, content)
    if name == "_frombuffer" and len(value.args) >= 3:
        content, dtype, shape = value.args[:3]
        return _array(dtype, shape, content)
    return None


def scalar_of(value: Value) -> Value:
    """Return the number or text behind a NumPy scalar, the value itself if it is none."""
    if isinstance(value, Object) and isinstance(value.function, Global) and value.function.name == "scalar":
        dtype = dtype_of(value.args[0]) if len(value.args) == 2 else None
        content = _bytes(value.args[1]) if dtype is not None else None
        if isinstance(content, bytes) and dtype is not None and len(content) == dtype.width:
            if dtype.kind in "iu":
                content = content[::-1] if dtype.order == ">" else content
                return int.from_bytes(content, "little", signed=dtype.kind == "i")
            if dtype.kind == "f" and dtype.width in (4, 8):
                return struct.unpack(("<" if dtype.order != ">" else ">") + "fd"[dtype.width == 8], content)[0]
    return value


def dtype_of(value: Value) -> DType | None:
    """Return the type that ``numpy.dtype(code)`` and its state (version, byte order, ...) describe."""
    if not isinstance(value, Object) or not isinstance(value.function, Global) or not value.args:
        return None
    code = value.args[0]
    if value.function.name != "dtype" or not isinstance(code, str) or (match := _CODE.fullmatch(code)) is None:
        return None
    state = value.state if isinstance(value.state, tuple) else ()
    order = state[1] if len(state) > 1 and isinstance(state[1], str) else "|"
    kind, digits = match[1], match[2][:9]
    width = int(digits or 1) * (4 if kind == "U" else 1)
    if len(state) > 7 and isinstance(state[7], int) and state[7] & 1:
        kind = "O"  # NPY_ITEM_HASOBJECT: joblib writes such records as pickles too
    if kind in "OUS":
        return DType("object", kind, width, order)
    return DType(_NAMES.get(f"{kind}{digits}"), kind, width, order)


def _array(dtype: Value, shape: Value, content: Value) -> Array | None:
    found, sizes = dtype_of(dtype), _shape(shape)
    if found is None or sizes is None:
        return None
    content = content if isinstance(content, list) else _bytes(content)
    return Array(found, sizes, content if isinstance(content, bytes | list) else None)


def _bytes(value: Value) -> bytes | None:
    """Return bytes, which protocol 2 of Python 3 writes as ``_codecs.encode(text, "latin1")``."""
    if isinstance(value, Object) and isinstance(value.function, Global):
        is_bytes = value.function.name in ("encode", "bytearray", "bytes") and len(value.args) > 0
        value = value.args[0] if is_bytes else None
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    return value if isinstance(value, bytes) else None


def _shape(value: Value) -> tuple[int, ...] | None:
    if not isinstance(value, tuple) or len(value) > _MAX_RANK:
        return None
    sizes = tuple(scalar_of(size) for size in value)
    return sizes if all(type(size) is int and 0 <= size < 1 << 48 for size in sizes) else None
