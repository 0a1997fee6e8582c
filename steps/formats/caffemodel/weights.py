"""The weights of a caffemodel: whether it is one and whole, and where the numbers of each layer's blobs lie.

What does not belong here: the network, which the prototxt describes. A caffemodel repeats it as it was trained, with
data layers, splits and losses, so it is no source for what is deployed. The numbers themselves are not read either;
a `Blob` says at which positions they stand and how they are encoded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Final

from klever.steps.encodings.protobuf import Message, signed
from klever.steps.encodings.wire import DELIMITED, FIXED32, FIXED64, VARINT, decode_varint
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import Source

_V1_LAYERS: Final = 2
_V2_LAYERS: Final = 100
#: ResNet-1001 stores some 5,000.
_MAX_LAYERS: Final = 100_000
#: A recurrent layer, the richest, has five.
_MAX_BLOBS: Final = 1000
#: What `Blob::Reshape` accepts (``kMaxBlobAxes``).
_MAX_AXES: Final = 32
#: A blob's numbers are one run, or a run for each value of a writer that does not pack.
_MAX_RUNS: Final = 10_000
#: The fields of NetParameter, those of the usual forks among them.
_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 100})

#: Numbers of BlobProto's fields: the four sizes that it had before ``shape``, the values, and NVCaffe's typed bytes.
_LEGACY_SIZES: Final = (1, 2, 3, 4)
_DATA, _SHAPE, _DOUBLE_DATA, _RAW_TYPE, _RAW_DATA = 5, 7, 8, 10, 12
#: NVCaffe's ``Type``.
_RAW_TYPES: Final = {0: "float64", 1: "float32", 2: "float16"}
_WIDTHS: Final = {"float16": 2, "float32": 4, "float64": 8}

#: Values without packing are looked through in pieces of this many.
_SCANNED: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` numbers that begin at ``start`` in the file and follow each other every ``stride`` bytes."""

    start: int
    count: int
    stride: int


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored parameter: its sizes, the type of its numbers (little-endian) and where in the file they are."""

    shape: tuple[int, ...]
    dtype: str
    runs: tuple[Run, ...]

    @property
    def count(self) -> int:
        """How many numbers are stored."""
        return sum(run.count for run in self.runs)


def check_weights(source: Source) -> int:
    """Count the layers of a caffemodel, and make sure that it is one and whole.

    Only tags and lengths are read, so the cost is that of the count of layers. Raises `MalformedModelError`,
    `TruncatedModelError` or `LimitExceededError`.
    """
    return sum(1 for _ in _layers(source))


def read_weights(source: Source) -> dict[str, tuple[Blob, ...]]:
    """Locate the blobs of every layer that stores any, by the layer's name, in the order of the file.

    Of layers that share a name the last one counts, as with ``Net::CopyTrainedLayersFrom``. Raises what
    `check_weights` raises.
    """
    found: dict[str, tuple[Blob, ...]] = {}
    for number, message in _layers(source):
        name, blobs = _layer(source, message, v1=number == _V1_LAYERS)
        if blobs:
            found.pop(name, None)
            found[name] = blobs
    return found


def _layers(source: Source) -> Iterator[tuple[int, Message]]:
    layers = 0
    for count, (number, value) in enumerate(Message.of(source)):
        if number not in _FIELDS:
            raise MalformedModelError(f"the caffemodel has a field {number} that no NetParameter has")
        if count > _MAX_LAYERS:
            raise LimitExceededError(f"the caffemodel has more than {_MAX_LAYERS} layers")
        if number in (_V1_LAYERS, _V2_LAYERS):
            if not isinstance(value, Message):
                raise MalformedModelError("the caffemodel has a number in place of a layer")
            layers += 1
            yield number, value
    if not layers:
        raise MalformedModelError("the caffemodel stores no layers")


def _layer(source: Source, message: Message, *, v1: bool) -> tuple[str, tuple[Blob, ...]]:
    """Read name and blobs: fields 1 and 7 of V2, 4 and 6 of V1, 1 and 50 of the layer that a V0 one wraps."""
    named, stored = (4, 6) if v1 else (1, 7)
    name = ""
    blobs: list[Blob] = []
    for number, value in message:
        if isinstance(value, int):
            continue
        if v1 and number == 1:
            return _wrapped(source, value)
        if number == named:
            name = value.text()
        elif number == stored:
            _append(blobs, _blob(source, value.start, value.end))
    return name, tuple(blobs)


def _wrapped(source: Source, message: Message) -> tuple[str, tuple[Blob, ...]]:
    name = ""
    blobs: list[Blob] = []
    for number, value in message:
        if isinstance(value, Message) and number == 1:
            name = value.text()
        elif isinstance(value, Message) and number == 50:
            _append(blobs, _blob(source, value.start, value.end))
    return name, tuple(blobs)


def _append(blobs: list[Blob], blob: Blob) -> None:
    if len(blobs) >= _MAX_BLOBS:
        raise LimitExceededError(f"a layer of the caffemodel stores more than {_MAX_BLOBS} blobs")
    blobs.append(blob)


def _blob(source: Source, start: int, end: int) -> Blob:
    legacy: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    runs: dict[int, list[Run]] = {}
    raw_type = 0
    for number, value in _parts(source, start, end):
        if isinstance(value, int):
            if number in _LEGACY_SIZES:
                legacy[number] = signed(value)
            elif number == _RAW_TYPE:
                raw_type = value
        elif number == _SHAPE:
            shape = _sizes(source.read_at(value.start, value.count * value.stride))
        else:
            runs.setdefault(number, []).append(value)
    if legacy:
        # Caffe looks for the four old sizes first; those that are not stated are zero.
        shape = tuple(legacy.get(number, 0) for number in _LEGACY_SIZES)
    for number, dtype in ((_DOUBLE_DATA, "float64"), (_DATA, "float32"), (_RAW_DATA, _RAW_TYPES.get(raw_type, ""))):
        if number in runs:
            return _sized(shape or (), dtype, runs[number], packed=number == _RAW_DATA)
    return Blob(shape or (), "float32", ())


def _sized(shape: tuple[int, ...], dtype: str, runs: list[Run], *, packed: bool) -> Blob:
    """Turn runs of bytes into runs of numbers; those of numbers that are not packed are so already."""
    if dtype not in _WIDTHS:
        raise MalformedModelError("a blob of the caffemodel has numbers of a type that no blob can have")
    width = _WIDTHS[dtype]
    numbers = tuple(Run(run.start, run.count // width, width) if run.stride == 1 or packed else run for run in runs)
    blob = Blob(shape, dtype, numbers)
    if blob.count != prod(shape):
        raise MalformedModelError(f"a blob of shape {shape} stores {blob.count} numbers, not {prod(shape)}")
    return blob


def _parts(source: Source, start: int, end: int) -> Iterator[tuple[int, int | Run]]:
    """Yield the fields of a blob: an integer, or where bytes (stride 1) or numbers that are not packed lie.

    A blob of an old writer may have a field for each of millions of numbers, so these are passed over as one.
    """
    position = start
    count = 0
    while position < end:
        count += 1
        if count > _MAX_RUNS:
            raise LimitExceededError(f"a blob of the caffemodel is in more than {_MAX_RUNS} pieces")
        head = source.read_at(position, min(20, end - position))
        tag, at = decode_varint(head, 0)
        number, kind = tag >> 3, tag & 7
        if kind in (FIXED32, FIXED64):
            width = 4 if kind == FIXED32 else 8
            repeats = _repeats(source, position, end, head[:at], width)
            yield number, Run(position + at, repeats, at + width)
            position += repeats * (at + width)
            continue
        if kind not in (VARINT, DELIMITED) or number == 0:
            raise MalformedModelError(f"a blob of the caffemodel has wire type {kind} at offset {position}")
        value, at = decode_varint(head, at)
        position += at
        if kind == VARINT:
            yield number, value
            continue
        if value > end - position:
            raise TruncatedModelError(f"a blob claims {value} bytes at offset {position}, {end - position} are left")
        yield number, Run(position, value, 1)
        position += value


def _repeats(source: Source, start: int, end: int, tag: bytes, width: int) -> int:
    """Count how many fixed-width fields with this very tag follow each other."""
    stride = len(tag) + width
    found = 0
    while start < end:
        chunk = source.read_at(start, min(_SCANNED * stride, (end - start) // stride * stride))
        whole = len(chunk) // stride
        same = whole
        for place, byte in enumerate(tag):
            column = chunk[place : whole * stride : stride]
            same = min(same, len(column) - len(column.lstrip(bytes((byte,)))))
        found += same
        start += same * stride
        if same < whole or not whole:
            break
    if not found:
        raise TruncatedModelError(f"the file ends inside a number at offset {start}")
    return found


def _sizes(data: bytes) -> tuple[int, ...]:
    """Decode a BlobShape: ``dim`` 1, packed or not."""
    sizes: list[int] = []
    position = 0
    while position < len(data):
        tag, position = decode_varint(data, position)
        if tag == 1 << 3 | VARINT:
            value, position = decode_varint(data, position)
            sizes.append(signed(value))
        elif tag == 1 << 3 | DELIMITED:
            length, position = decode_varint(data, position)
            end = min(position + length, len(data))
            while position < end and len(sizes) <= _MAX_AXES:
                value, position = decode_varint(data, position)
                sizes.append(signed(value))
        else:
            raise MalformedModelError("a blob's shape has a field that no BlobShape has")
        if len(sizes) > _MAX_AXES:
            raise LimitExceededError(f"a blob has more than {_MAX_AXES} dimensions")
    if any(size < 0 for size in sizes):
        raise MalformedModelError(f"a blob has the shape {tuple(sizes)}")
    return tuple(sizes)
