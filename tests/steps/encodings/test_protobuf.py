"""Protocol buffers by their wire format, against Google's own parser."""

import struct

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st
from wire import field, varint

from klever.steps.encodings.protobuf import MAX_DEPTH, Message, as_float, decode, fields, signed, text
from klever.steps.encodings.wire import DELIMITED, FIXED32, FIXED64, VARINT, decode_head
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import BytesSource

numbers = st.integers(1, (1 << 29) - 1)
written = st.one_of(
    st.builds(lambda number, value: varint(number << 3 | VARINT) + varint(value), numbers, st.integers(0, 2**64 - 1)),
    st.builds(lambda number, data: varint(number << 3 | FIXED64) + data, numbers, st.binary(min_size=8, max_size=8)),
    st.builds(lambda number, data: varint(number << 3 | FIXED32) + data, numbers, st.binary(min_size=4, max_size=4)),
    st.builds(lambda number, data: varint(number << 3 | DELIMITED) + varint(len(data)) + data, numbers, st.binary()),
)
messages = st.lists(written, max_size=8).map(b"".join)


class Counted(BytesSource):
    """A source that counts what is read from it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.read = 0

    def read_at(self, offset: int, length: int) -> bytes:
        data = super().read_at(offset, length)
        self.read += len(data)
        return data


def parsed(data: bytes) -> list[tuple[int, int | bytes]]:
    """Return the fields that Google's parser finds in a message of which it knows none."""
    message = Empty()
    message.ParseFromString(data)
    return [(each.field_number, each.data) for each in UnknownFieldSet(message)]


def walked(message: Message) -> list[tuple[int, int | bytes]]:
    return [(number, value.bytes() if isinstance(value, Message) else value) for number, value in message]


def nested(depth: int) -> bytes:
    data = b""
    for _ in range(depth):
        data = field(1, data)
    return data


@given(messages)
def test_fields_are_those_that_googles_parser_finds(data: bytes) -> None:
    assert walked(Message.of(BytesSource(data))) == parsed(data)
    assert list(decode(data)) == parsed(data)
    assert list(fields(data)) == parsed(data)


@given(messages, st.data())
def test_a_message_is_cut_where_googles_parser_says_so(data: bytes, drawn: st.DataObject) -> None:
    cut = data[: drawn.draw(st.integers(0, len(data)))]
    try:
        expected = parsed(cut)
    except DecodeError:
        with pytest.raises(TruncatedModelError):
            walked(Message.of(BytesSource(cut)))
        with pytest.raises(TruncatedModelError):
            list(decode(cut))
    else:
        assert walked(Message.of(BytesSource(cut))) == list(decode(cut)) == expected


@given(messages, st.data())
def test_a_head_tells_the_first_fields_of_its_message(data: bytes, drawn: st.DataObject) -> None:
    whole = list(decode(data))
    head = list(decode_head(data[: drawn.draw(st.integers(0, len(data)))]))
    assert [(number, value) for number, _, value in head[:-1]] == whole[: len(head)][:-1]
    if head:
        number, _, value = head[-1]
        assert number == whole[len(head) - 1][0]
        complete = whole[len(head) - 1][1]
        assert not isinstance(complete, bytes) or complete.startswith(value)


@given(st.binary(max_size=60))
def test_a_head_of_any_bytes_raises_nothing(data: bytes) -> None:
    list(decode_head(data))


@pytest.mark.parametrize(
    "data",
    [b"\x00\x01", b"\x0b", b"\x0c", b"\x0e\0\0\0\0", b"\x0f", b"\x08" + b"\xff" * 11],
    ids=["field number 0", "group", "end of group", "wire type 6", "wire type 7", "varint of eleven bytes"],
)
def test_what_is_no_message_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedModelError):
        walked(Message.of(BytesSource(data)))
    with pytest.raises(MalformedModelError):
        list(decode(data))


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.floats(width=32, allow_nan=False))
def test_numbers_are_taken_from_their_bits(integer: int, number: float) -> None:
    ((_, bits),) = decode(field(1, integer))
    assert isinstance(bits, int)
    assert signed(bits) == integer
    assert as_float(int.from_bytes(struct.pack("<f", number), "little")) == number


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.floats(width=32, allow_nan=False)))
def test_packed_numbers_come_in_their_order(integers: list[int], floats: list[float]) -> None:
    data = field(1, b"".join(map(varint, integers))) + field(2, struct.pack(f"<{len(floats)}f", *floats))
    (_, first), (_, second) = Message.of(BytesSource(data))
    assert isinstance(first, Message)
    assert isinstance(second, Message)
    assert list(first.varints()) == integers
    assert list(second.floats()) == floats


def test_what_is_skipped_is_not_read() -> None:
    data = field(1, 7) + field(2, bytes(50 << 20)) + field(3, b"end")
    source = Counted(data)
    found = dict(Message.of(source))
    assert list(found) == [1, 2, 3]
    assert isinstance(found[3], Message)
    assert found[3].text() == "end"
    assert source.read < 1 << 20


def test_a_value_longer_than_its_kind_may_be_is_a_limit() -> None:
    ((_, value),) = Message.of(BytesSource(field(1, b"x" * 100)))
    assert isinstance(value, Message)
    with pytest.raises(LimitExceededError):
        value.bytes(99)
    with pytest.raises(LimitExceededError):
        text(value, 99)


def test_text_that_is_not_utf8_is_kept_by_escapes() -> None:
    ((_, value),) = decode(field(1, b"caf\xe9"))
    assert isinstance(value, bytes)
    assert text(value) == "caf\\xe9"


def test_nesting_is_followed_as_deep_as_other_parsers_do_and_no_deeper() -> None:
    def descend(data: bytes) -> int:
        message, depth = Message.of(BytesSource(data)), 0
        while inner := next((value for _, value in message if isinstance(value, Message)), None):
            message, depth = inner, depth + 1
        return depth

    assert descend(nested(MAX_DEPTH)) == MAX_DEPTH
    with pytest.raises(LimitExceededError):
        descend(nested(MAX_DEPTH + 2))
