"""Messages written by hand, against Google's own encoder."""

import pytest
from google.protobuf.wrappers_pb2 import BytesValue, FloatValue, Int64Value, StringValue
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.writers.protobuf import Message, Stream


def encoded(message: Message) -> bytes:
    data = b"".join(bytes(chunk) for chunk in message.chunks())
    assert len(data) == message.length
    return data


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_are_encoded_as_google_encodes_them(value: int) -> None:
    assert Int64Value.FromString(encoded(Message().add_varint(1, value))).value == value
    if value:
        assert encoded(Message().add_varint(1, value)) == Int64Value(value=value).SerializeToString()


@given(st.floats(width=32, allow_nan=False))
def test_floats_are_encoded_as_google_encodes_them(value: float) -> None:
    assert FloatValue.FromString(encoded(Message().add_float(1, value))).value == value


@pytest.mark.parametrize(("value", "expected"), [(1e39, float("inf")), (-1e300, float("-inf"))])
def test_a_number_too_large_for_32_bits_becomes_infinite(value: float, expected: float) -> None:
    assert FloatValue.FromString(encoded(Message().add_float(1, value))).value == expected


@given(st.text(max_size=300), st.binary(max_size=300))
def test_text_and_bytes_are_encoded_as_google_encodes_them(text: str, data: bytes) -> None:
    assert StringValue.FromString(encoded(Message().add_text(1, text))).value == text
    assert BytesValue.FromString(encoded(Message().add_bytes(1, data))).value == data


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_a_stream_is_what_its_chunks_are_together(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    message = Message().add_message(2, Message().add_stream(1, Stream(len(whole), lambda: chunks)))
    assert encoded(message) == encoded(Message().add_message(2, Message().add_bytes(1, whole)))


def test_a_stream_that_does_not_keep_its_length_is_noticed() -> None:
    with pytest.raises(ValueError, match="differs from that by -1"):
        encoded(Message().add_stream(1, Stream(3, lambda: [b"ab"])))
