"""TensorFlow's graphs as protobufs: nodes, attributes, shapes, data types and small constants.

Field numbers are those of tensorflow/core/framework/{node_def,attr_value,tensor,tensor_shape,types,function}.proto.
What does not belong here: what a graph's nodes mean, and the files that hold graphs.
"""

import struct
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from klever.steps.encodings.protobuf import Message, decode, fields, signed, text
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN, Shape

Part = bytes | Message
#: A known number or truth, or None for an unknown one.
Number = int | float | None

#: DataType (types.proto) to numpy and ml_dtypes names; quantised types by what stores them. Handles (resource 20,
#: variant 21) have no name.
DTYPES: Final = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "object",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "int8",
    12: "uint8",
    13: "int32",
    14: "bfloat16",
    15: "int16",
    16: "uint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    26: "float8_e4m3fnuz",
    27: "float8_e4m3b11fnuz",
    28: "float8_e5m2fnuz",
    29: "int4",
    30: "uint4",
    31: "int2",
    32: "uint2",
    33: "float4_e2m1fn",
}
#: A reference to a variable of type n is type n + 100.
_REFERENCE: Final = 100

#: TensorShape::MaxDimensions().
MAX_RANK: Final = 254
#: Constants of more elements are not looked at: they are weights, not shapes.
MAX_ELEMENTS: Final = 64
#: Attributes longer than this, in bytes, are not kept; only the type and shape of a constant are.
_ATTRIBUTE_BYTES: Final = 4 << 10
#: A defence: the checkpoint operators of the largest published models have a tenth of it.
_MAX_INPUTS: Final = 100_000
_MAX_ATTRIBUTES: Final = 1000

#: TensorProto's fields of single values: DataType to field number and struct code; varints without a code.
_VALUE_FIELDS: Final = {
    1: (5, "f"),
    2: (6, "d"),
    3: (7, ""),
    9: (10, ""),
    10: (11, ""),
    22: (16, ""),
    23: (17, ""),
}
#: How those types lie in ``tensor_content``.
_CONTENT_CODES: Final = {1: "f", 2: "d", 3: "i", 4: "B", 5: "h", 6: "b", 9: "q", 10: "?", 22: "I", 23: "Q"}


def dtype_name(number: int) -> str | None:
    """Return the numpy name of a DataType, None for handles and unknown ones."""
    return DTYPES.get(number - _REFERENCE if number > _REFERENCE else number)


@lru_cache(maxsize=512)
def _decode_shape(data: bytes) -> Shape:
    sizes: list[int] = []
    unknown = False
    for number, value in decode(data):
        if number == 2 and isinstance(value, bytes):
            # Proto3 leaves out a size of zero.
            size = next((content for field, content in decode(value) if field == 1 and isinstance(content, int)), 0)
            sizes.append(max(signed(size), UNKNOWN))
        elif number == 3:
            unknown = bool(value)
    if len(sizes) > MAX_RANK:
        raise LimitExceededError(f"a shape has {len(sizes)} dimensions where TensorFlow allows {MAX_RANK}")
    return None if unknown else tuple(sizes)


def read_shape(part: Part) -> Shape:
    """Read a TensorShapeProto; raises `LimitExceededError` above `MAX_RANK` dimensions."""
    return _decode_shape(part if isinstance(part, bytes) else part.bytes(_ATTRIBUTE_BYTES))


class Constant(NamedTuple):
    """A TensorProto: its DataType, its shape, and its elements where they are few and numbers."""

    dtype: int
    shape: Shape
    values: tuple[Number, ...] | None = None


def read_constant(part: Part) -> Constant:
    """Read a TensorProto; of a large one no more than its type and shape."""
    dtype, shape = 0, None
    content: dict[int, list[int | Part]] = {}
    for number, value in fields(part):
        if number == 1 and isinstance(value, int):
            dtype = value
        elif number == 2 and not isinstance(value, int):
            shape = read_shape(value)
        elif len(part) <= _ATTRIBUTE_BYTES:
            content.setdefault(number, []).append(value)
    # Proto3 leaves out an empty message: a scalar.
    shape = () if shape is None else shape
    size = 1
    for dimension in shape:
        size *= dimension
    if not 0 <= size <= MAX_ELEMENTS:
        return Constant(dtype, shape)
    return Constant(dtype, shape, _read_values(dtype, size, content))


def _read_values(dtype: int, size: int, content: dict[int, list[int | Part]]) -> tuple[Number, ...] | None:
    if 4 in content and isinstance(raw := content[4][-1], bytes) and raw:
        code = _CONTENT_CODES.get(dtype)
        if code is None or struct.calcsize(f"<{size}{code}") != len(raw):
            return None
        return struct.unpack(f"<{size}{code}", raw)
    # The small integers share int_val with int32.
    field, code = _VALUE_FIELDS.get(3 if dtype in (4, 5, 6, 17) else dtype, (0, ""))
    width = struct.calcsize(f"<{code}")
    values: list[Number] = []
    for item in content.get(field, ()):
        if code and (item >> 8 * width if isinstance(item, int) else len(item) % width):
            raise MalformedModelError("a constant of the graph holds values of another type than its own")
        if isinstance(item, int):
            bits = item if not code else struct.unpack(f"<{code}", item.to_bytes(width, "little"))[0]
            values.append(signed(bits) if isinstance(bits, int) else bits)
        elif isinstance(item, bytes) and code:
            values += struct.unpack(f"<{len(item) // width}{code}", item)
        elif isinstance(item, bytes):
            values += _varints(item)
    if not values:
        # Elements of the default value may be left out altogether.
        return (0,) * size if field else None
    # The last value stands for all that follow.
    return tuple(values[:size] + values[-1:] * (size - len(values)))


def _varints(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        value = shift = 0
        while True:
            if position >= len(data) or shift > 63:
                raise MalformedModelError("a packed list of integers ends inside one")
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield signed(value & 0xFFFFFFFFFFFFFFFF)


@lru_cache(maxsize=1024)
def _decode_entry(entry: bytes) -> tuple[str, bytes]:
    """Return name and encoded value of an attribute; the same few occur all over a graph."""
    pair = {number: value for number, value in decode(entry) if isinstance(value, bytes)}
    return pair.get(1, b"").decode("utf-8", "backslashreplace"), pair.get(2, b"")


@lru_cache(maxsize=1024)
def _decode_attribute(data: bytes, field: int) -> int | bytes | None:
    """Return an AttrValue's content of one kind."""
    value: int | bytes | None = None
    for number, content in decode(data):
        if number == field:
            value = content
    return value


class Node:
    """A NodeDef. Attributes are decoded when they are asked for; those that are absent read as None."""

    __slots__ = ("_attributes", "_entries", "_large", "inputs", "name", "op")

    def __init__(self) -> None:
        self.name = ""
        self.op = ""
        #: ``node``, ``node:1``, ``^node`` (control); in functions ``node:output:0`` or an argument's name.
        self.inputs: list[str] = []
        self._entries: tuple[bytes, ...] = ()
        self._attributes: dict[str, bytes] | None = None
        self._large: Constant | None = None

    @classmethod
    def read(cls, part: Part) -> "Node":
        """Read a NodeDef; raises `MalformedModelError` for one without a name or operator."""
        node = cls()
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number == 1:
                node.name = text(value)
            elif number == 2:
                # A graph has thousands of nodes and a few dozen operators.
                node.op = sys.intern(text(value))
            elif number == 3:
                if len(node.inputs) >= _MAX_INPUTS:
                    raise LimitExceededError(f"a node reads more than {_MAX_INPUTS} others")
                node.inputs.append(text(value))
            elif number == 5:
                node._take(value)
        if not node.name or not node.op:
            raise MalformedModelError(f"a node of the graph has no {'operator' if node.name else 'name'}")
        return node

    def _take(self, entry: Part) -> None:
        if len(self._entries) >= _MAX_ATTRIBUTES:
            raise LimitExceededError(f"a node has more than {_MAX_ATTRIBUTES} attributes")
        if len(entry) <= _ATTRIBUTE_BYTES:
            self._entries += (entry if isinstance(entry, bytes) else entry.bytes(),)
            return
        for number, value in fields(entry):
            if number == 2 and not isinstance(value, int):
                for kind, content in fields(value):
                    if kind == 8 and not isinstance(content, int):
                        self._large = read_constant(content)

    @property
    def attributes(self) -> dict[str, bytes]:
        """Attribute names to their encoded AttrValues."""
        if self._attributes is None:
            self._attributes = dict(map(_decode_entry, self._entries))
        return self._attributes

    def mentions(self, name: bytes) -> bool:
        """Tell whether an attribute may be there, without decoding any: a cheap question before a dear one."""
        return any(name in entry for entry in self._entries)

    def _value(self, name: str, field: int) -> int | bytes | None:
        data = self.attributes.get(name)
        if data is None:
            return None
        return _decode_attribute(data, field)

    def integer(self, name: str) -> int | None:
        """Return an ``int``; zero where it is left out of an attribute that is there."""
        value = self._value(name, 3)
        return signed(value) if isinstance(value, int) else 0 if name in self.attributes else None

    def boolean(self, name: str) -> bool | None:
        """Return a ``bool``."""
        value = self._value(name, 5)
        return bool(value) if value is not None or name in self.attributes else None

    def string(self, name: str) -> str | None:
        """Return a ``string``."""
        value = self._value(name, 2)
        return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else None

    def dtype(self, name: str) -> int | None:
        """Return a DataType's number."""
        value = self._value(name, 6)
        return value if isinstance(value, int) else None

    def has_shape(self, name: str) -> bool:
        """Tell whether the attribute is a shape, be it of unknown rank."""
        return isinstance(self._value(name, 7), bytes)

    def shape(self, name: str) -> Shape:
        """Return a ``shape``; None, an unknown rank, also where there is no such attribute."""
        value = self._value(name, 7)
        return _decode_shape(value) if isinstance(value, bytes) else None

    def constant(self, name: str = "value") -> Constant | None:
        """Return a ``tensor``."""
        value = self._value(name, 8)
        return read_constant(value) if isinstance(value, bytes) else self._large

    def function(self, name: str) -> str | None:
        """Return the name of a ``func``."""
        value = self._value(name, 10)
        return _function_name(value) if isinstance(value, bytes) else None

    def functions(self) -> Iterator[str]:
        """Yield the names of all functions in attributes, alone or in lists."""
        for data in self.attributes.values():
            # 0x52 and 0x4A: the tags of AttrValue.func and ListValue.func; other attributes cannot hold one.
            if b"\x52" not in data and b"\x4a" not in data:
                continue
            for number, value in decode(data):
                if number == 10 and isinstance(value, bytes):
                    yield _function_name(value)
                elif number == 1 and isinstance(value, bytes):
                    yield from (
                        _function_name(item) for field, item in decode(value) if field == 9 and isinstance(item, bytes)
                    )

    def _list(self, name: str) -> Iterator[tuple[int, int | bytes]]:
        value = self._value(name, 1)
        return decode(value) if isinstance(value, bytes) else iter(())

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Return a ``list(int)``."""
        if name not in self.attributes:
            return None
        return self._numbers(name, 3)

    def dtypes(self, name: str) -> tuple[int, ...]:
        """Return a ``list(type)``."""
        return self._numbers(name, 6)

    def _numbers(self, name: str, field: int) -> tuple[int, ...]:
        numbers: list[int] = []
        for number, value in self._list(name):
            if number == field:
                numbers += [signed(value)] if isinstance(value, int) else _varints(value)
        return tuple(numbers)

    def shapes(self, name: str) -> tuple[Shape, ...] | None:
        """Return a ``list(shape)``."""
        if name not in self.attributes:
            return None
        return tuple(
            _decode_shape(value) for number, value in self._list(name) if number == 7 and isinstance(value, bytes)
        )


def _function_name(data: bytes) -> str:
    """Return the name in a NameAttrList."""
    return next(
        (
            value.decode("utf-8", "backslashreplace")
            for number, value in decode(data)
            if number == 1 and isinstance(value, bytes)
        ),
        "",
    )


class Function(NamedTuple):
    """A FunctionDef: arguments, results and body, all in order."""

    name: str
    arguments: tuple[str, ...]
    results: tuple[str, ...]
    nodes: tuple[Node, ...]
    #: Result name to the tensor of the body that it is.
    returns: dict[str, str]

    @classmethod
    def read(cls, part: Part) -> "Function":
        """Read a FunctionDef."""
        name = ""
        arguments: list[str] = []
        results: list[str] = []
        nodes: list[Node] = []
        returns: dict[str, str] = {}
        for number, value in fields(part):
            if isinstance(value, int):
                continue
            if number == 1:
                for field, content in fields(value):
                    if isinstance(content, int):
                        continue
                    if field == 1:
                        name = text(content)
                    elif field in (2, 3):
                        (arguments if field == 2 else results).append(_first_text(content))
            elif number == 3:
                nodes.append(Node.read(value))
            elif number == 4:
                pair = {field: text(content) for field, content in fields(value) if not isinstance(content, int)}
                returns[pair.get(1, "")] = pair.get(2, "")
        return cls(name, tuple(arguments), tuple(results), tuple(nodes), returns)


def _first_text(part: Part) -> str:
    return next((text(value) for number, value in fields(part) if number == 1 and not isinstance(value, int)), "")
