"""The weights of a caffemodel: which layers it stores, and where the numbers of their blobs lie.

What does not belong here: the network, which the prototxt describes. A caffemodel repeats it as it was trained, with
data layers, splits and losses, so it is no source for what is deployed.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from klever.steps.encodings.protobuf import Message, signed
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import Source
from klever.steps.formats.caffemodel.upgrade import v1_type

_V1_LAYERS: Final = 2
_V2_LAYERS: Final = 100
#: ResNet-1001 stores some 5,000.
_MAX_LAYERS: Final = 100_000
#: A recurrent layer, the richest, has five.
_MAX_BLOBS: Final = 1000
#: The fields of NetParameter, those of the usual forks among them.
_FIELDS: Final = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 100})


class Blob(NamedTuple):
    """A parameter: its sizes in elements, and its packed numbers by position."""

    shape: tuple[int, ...]
    numbers: Message | None
    #: Whether the numbers are 64 bits wide (``double_data``).
    double: bool = False


class StoredLayer(NamedTuple):
    """A layer of the binary file, under its type of today, with its blobs in order."""

    name: str
    type: str
    blobs: tuple[Blob, ...]


def check_weights(source: Source) -> int:
    """Count the layers of a caffemodel, and make sure that it is one and whole.

    Only tags and lengths are read, so the cost is that of the count of layers. Raises `MalformedModelError`,
    `TruncatedModelError` or `LimitExceededError`.
    """
    return sum(1 for _ in _stored(source))


def read_weights(source: Source) -> Iterator[StoredLayer]:
    """Yield the stored layers in the order of the file; ``source`` has to stay open while numbers are read."""
    for number, message in _stored(source):
        yield _layer(message, v1=number == _V1_LAYERS)


def _stored(source: Source) -> Iterator[tuple[int, Message]]:
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


def _layer(message: Message, *, v1: bool) -> StoredLayer:
    named, typed, stored = (4, 5, 6) if v1 else (1, 2, 7)
    name = kind = ""
    blobs: list[Blob] = []
    for number, value in message:
        if isinstance(value, int):
            kind = v1_type(value) if v1 and number == typed else kind
        elif v1 and number == 1:
            # V0: name 1, type 2 and blobs 50 of the layer that this one wraps.
            return _wrapped(value)
        elif number == named:
            name = value.text()
        elif number == typed:
            kind = value.text()
        elif number == stored:
            blobs.append(_blob(value))
        if len(blobs) > _MAX_BLOBS:
            raise LimitExceededError(f"the layer {name!r} stores more than {_MAX_BLOBS} blobs")
    return StoredLayer(name, kind, tuple(blobs))


def _wrapped(message: Message) -> StoredLayer:
    texts: dict[int, str] = {}
    blobs: list[Blob] = []
    for number, value in message:
        if isinstance(value, Message) and number in (1, 2):
            texts[number] = value.text()
        elif isinstance(value, Message) and number == 50:
            blobs.append(_blob(value))
    return StoredLayer(texts.get(1, ""), texts.get(2, ""), tuple(blobs))


def _blob(message: Message) -> Blob:
    """Read a BlobProto: ``shape`` 7, or the four legacy sizes 1 to 4; ``data`` 5, ``double_data`` 8."""
    legacy: dict[int, int] = {}
    shape: tuple[int, ...] | None = None
    numbers: Message | None = None
    double = False
    for number, value in message:
        if isinstance(value, int):
            if number in (1, 2, 3, 4):
                legacy[number] = signed(value)
        elif number == 7:
            shape = _sizes(value)
        elif number in (5, 8):
            numbers, double = value, number == 8
    if shape is None:
        shape = tuple(legacy.get(number, 1) for number in (1, 2, 3, 4)) if legacy else ()
    return Blob(shape, numbers, double)


def _sizes(message: Message) -> tuple[int, ...]:
    sizes: list[int] = []
    for number, value in message:
        if number == 1:
            sizes.extend((value,) if isinstance(value, int) else value.varints())
        if len(sizes) > 32:
            raise LimitExceededError("a blob has more than 32 dimensions")
    return tuple(map(signed, sizes))
