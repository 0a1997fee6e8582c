"""Caffe2's NetDef as a value: operators in order with their arguments, and what the net reads and writes.

The message definitions: ``caffe2/proto/caffe2.proto``. An argument of many values (the weights of a filler) is left
where it lies in the file; see `Argument.stored`. What does not belong here: what operators compute (see ``shapes``).
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from klever.steps.encodings.protobuf import Message, as_float, decode, fields, signed, text
from klever.steps.encodings.prototext import Fields, decode_prototext
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import Source

#: A ResNeXt-101 Mask R-CNN has some 1,500 operators.
_MAX_OPERATORS: Final = 50_000
#: Names, arguments and small values of a net, all together.
_MAX_FIELDS: Final = 300_000
#: Arguments up to this many bytes are decoded when the net is read; larger ones hold weights.
_SMALL_BYTES: Final = 1024


class Argument(NamedTuple):
    """An argument of an operator: one of a number, an integer or bytes, or several of a kind.

    ``stored`` is the whole Argument message where it is too large to be anything but weights or a net; the other fields
    are empty then. ``net`` is a NetDef message: the body of a loop or a branch (see `read_body`).
    """

    f: float | None = None
    i: int | None = None
    s: bytes | None = None
    floats: tuple[float, ...] = ()
    ints: tuple[int, ...] = ()
    strings: tuple[bytes, ...] = ()
    stored: bytes | Message | None = None
    net: bytes | Message | Fields | None = None


class Operator(NamedTuple):
    """One operator: blobs by name, where an output that is also an input is computed in place."""

    type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arguments: Mapping[str, Argument] = MappingProxyType({})

    def integer(self, name: str, default: int = 0) -> int:
        """Return an integer argument."""
        argument = self.arguments.get(name)
        return default if argument is None or argument.i is None else argument.i

    def number(self, name: str, default: float = 0.0) -> float:
        """Return a number."""
        argument = self.arguments.get(name)
        return default if argument is None or argument.f is None else argument.f

    def integers(self, name: str) -> tuple[int, ...]:
        """Return the integers of an argument, none where it is absent."""
        argument = self.arguments.get(name)
        return () if argument is None else argument.ints

    def text(self, name: str, default: str = "") -> str:
        """Return a text."""
        argument = self.arguments.get(name)
        return default if argument is None or argument.s is None else argument.s.decode("utf-8", "backslashreplace")


class Net(NamedTuple):
    """A NetDef: the operators in the order in which they run, and the external blobs that it lists."""

    name: str
    operators: tuple[Operator, ...]
    external_inputs: tuple[str, ...]
    external_outputs: tuple[str, ...]

    def count_types(self) -> dict[str, int]:
        """Count the operators by type."""
        return dict(Counter(operator.type for operator in self.operators))


#: Outputs that an operator keeps for its gradient, or that describe another output; by the place of the first one.
_AUXILIARY: Final = {
    "Concat": 1,
    "DepthConcat": 1,
    "Dropout": 1,
    "GroupNorm": 1,
    "InstanceNorm": 1,
    "LRN": 1,
    "LayerNorm": 1,
    "Reshape": 1,
    "SpatialBN": 1,
}


def find_inputs(net: Net, filled: frozenset[str]) -> tuple[str, ...]:
    """Return the blobs that have to be fed: listed as external, or read before anything writes them.

    A blob that the net itself writes before it reads it is none, though it be listed; nor is what init_net filled.
    """
    written: set[str] = set()
    read: dict[str, None] = {}
    for operator in net.operators:
        for name in operator.inputs:
            if name not in written:
                read[name] = None
        written.update(operator.outputs)
    listed = [name for name in net.external_inputs if name in read or name not in written]
    return tuple(name for name in dict.fromkeys([*listed, *read]) if name not in filled)


def find_outputs(net: Net, filled: frozenset[str]) -> tuple[str, ...]:
    """Return the blobs that a run leaves for its caller: those listed as external, else those that nothing reads.

    What is listed but never there after a run is left out: the mask of a Dropout that only tests is not written.
    Where nothing is listed, outputs that serve only gradients are left out too (the scale of LRN).
    """
    present = {*filled, *net.external_inputs}
    unread: dict[str, None] = {}
    for operator in net.operators:
        for name in operator.inputs:
            unread.pop(name, None)
        tested = operator.type == "Dropout" and operator.integer("is_test") != 0
        present.update(operator.outputs[:1] if tested else operator.outputs)
        for name in operator.outputs[: _AUXILIARY.get(operator.type)]:
            unread[name] = None
    listed = tuple(name for name in dict.fromkeys(net.external_outputs) if name in present)
    return listed or tuple(unread)


def read_net(source: Source) -> Net:
    """Read a binary NetDef; weights stay in ``source``, which has to stay open while they are read.

    Raises `MalformedModelError`, `TruncatedModelError` or `LimitExceededError`.
    """
    return _Decoder().net(Message.of(source))


class _Decoder:
    """Decodes one file, counting what it takes."""

    def __init__(self) -> None:
        self._left = _MAX_FIELDS

    def _fields(self, part: bytes | Message) -> Iterator[tuple[int, int | bytes | Message]]:
        for number, value in fields(part):
            self._left -= 1
            if self._left < 0:
                raise LimitExceededError(f"the net holds more than {_MAX_FIELDS} fields")
            yield number, value

    def net(self, message: bytes | Message) -> Net:
        """Decode a NetDef: name 1, op 2, external_input 7, external_output 8."""
        name = ""
        operators: list[Operator] = []
        listed: dict[int, list[str]] = {7: [], 8: []}
        for number, value in self._fields(message):
            if number in (1, 2, 7, 8):
                part = _delimited(number, value)
                if number == 2:
                    operators.append(self._operator(part))
                elif number == 1:
                    name = text(part)
                else:
                    listed[number].append(text(part))
            if len(operators) > _MAX_OPERATORS:
                raise LimitExceededError(f"the net has more than {_MAX_OPERATORS} operators")
        return Net(name, tuple(operators), tuple(listed[7]), tuple(listed[8]))

    def _operator(self, part: bytes | Message) -> Operator:
        """Decode an OperatorDef: input 1, output 2, type 4, arg 5."""
        blobs: dict[int, list[str]] = {1: [], 2: []}
        kind = ""
        arguments: dict[str, Argument] = {}
        for number, value in self._fields(part):
            if number in (1, 2):
                blobs[number].append(text(_delimited(number, value)))
            elif number == 4:
                kind = text(_delimited(number, value))
            elif number == 5:
                name, argument = self._argument(_delimited(number, value))
                arguments[name] = argument
        if not kind:
            raise MalformedModelError("an operator has no type")
        return Operator(kind, tuple(blobs[1]), tuple(blobs[2]), arguments)

    def _argument(self, part: bytes | Message) -> tuple[str, Argument]:
        """Decode an Argument: name 1, f 2, i 3, s 4, floats 5, ints 6, strings 7, n 8."""
        if len(part) > _SMALL_BYTES:
            for number, value in self._fields(part):
                # Writers put the name first, as its number is the least.
                if number == 1:
                    return text(_delimited(number, value)), Argument(stored=part)
                break
            raise MalformedModelError("a large argument does not begin with its name")
        name = ""
        f: float | None = None
        i: int | None = None
        s: bytes | None = None
        floats: list[float] = []
        ints: list[int] = []
        strings: list[bytes] = []
        net: bytes | Message | None = None
        for number, value in self._fields(part):
            if number == 1:
                name = text(_delimited(number, value))
            elif number == 2 and isinstance(value, int):
                f = as_float(value)
            elif number == 3 and isinstance(value, int):
                i = signed(value)
            elif number == 4:
                s = _bytes(_delimited(number, value))
            elif number == 5:
                floats.extend(_floats(value))
            elif number == 6:
                ints.extend(_integers(value))
            elif number == 7:
                strings.append(_bytes(_delimited(number, value)))
            elif number == 8:
                net = _delimited(number, value)
        return name, Argument(f, i, s, tuple(floats), tuple(ints), tuple(strings), net=net)


def read_body(argument: Argument | None) -> Net | None:
    """Read the net that an argument holds, as a message or, from older writers, as text; None where it holds none.

    Raises `MalformedModelError`, `TruncatedModelError` or `LimitExceededError`.
    """
    if argument is None:
        return None
    held: bytes | Message | Fields | None = argument.net
    written = argument.s
    if argument.stored is not None:
        for number, value in fields(argument.stored):
            if number == 8:
                held = _delimited(number, value)
            elif number == 4:
                written = _bytes(_delimited(number, value))
    if isinstance(held, Fields):
        return build_net(held)
    if held is not None:
        return _Decoder().net(held)
    return build_net(decode_prototext(written)) if written else None


def _delimited(number: int, value: int | bytes | Message) -> bytes | Message:
    if isinstance(value, int):
        raise MalformedModelError(f"field {number} of a net is a number where text or a message has to be")
    return value


def _bytes(part: bytes | Message) -> bytes:
    return part.bytes() if isinstance(part, Message) else part


def _floats(value: int | bytes | Message) -> Iterator[float]:
    """Yield one float, or those of a packed field."""
    if isinstance(value, int):
        yield as_float(value)
    else:
        data = _bytes(value)
        for at in range(0, len(data) - 3, 4):
            yield as_float(int.from_bytes(data[at : at + 4], "little"))


def _integers(value: int | bytes | Message) -> Iterator[int]:
    """Yield one integer, or those of a packed field."""
    if isinstance(value, int):
        yield signed(value)
    else:
        # A varint looks like a field's once a tag stands before it.
        data = _bytes(value)
        at = 0
        while at < len(data):
            end = at
            while end < len(data) and data[end] >= 0x80:
                end += 1
            for _, number in decode(b"\x08" + data[at : end + 1]):
                yield signed(number) if isinstance(number, int) else 0
            at = end + 1


def build_net(described: Fields) -> Net:
    """Build a net from its text form (``predict_net.pbtxt``); raises `MalformedModelError`."""
    operators = described.messages("op")
    if len(operators) > _MAX_OPERATORS:
        raise LimitExceededError(f"the net has more than {_MAX_OPERATORS} operators")
    return Net(
        described.text("name"),
        tuple(map(_build_operator, operators)),
        described.texts("external_input"),
        described.texts("external_output"),
    )


def _build_operator(described: Fields) -> Operator:
    if not described.text("type"):
        raise MalformedModelError("an operator has no type")
    return Operator(
        described.text("type"),
        described.texts("input"),
        described.texts("output"),
        {argument.text("name"): _build_argument(argument) for argument in described.messages("arg")},
    )


def _build_argument(described: Fields) -> Argument:
    return Argument(
        described.number("f") if "f" in described else None,
        described.integer("i") if "i" in described else None,
        described.text("s").encode() if "s" in described else None,
        described.numbers("floats"),
        described.integers("ints"),
        tuple(value.encode() for value in described.texts("strings")),
        net=described.message("n") if "n" in described else None,
    )
