"""JSON that two readers could read in two ways, or that could not be written again, is refused in a sentence."""

import time

import pytest

from klever.steps.model.strict import MAX_DEPTH, parse_json


def test_plain_documents_are_read() -> None:
    assert parse_json('{"a": [1, -2.5e3, true, null, "é\\ud83d\\ude00"]}'.encode()) == {
        "a": [1, -2500.0, True, None, "é\U0001f600"]
    }


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b'{"a": NaN}', "no number"),
        (b'{"a": -Infinity}', "no number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"a": 1, "b": 2, "a": 1}', "repeats the key 'a'"),
        (b'{"a": {"b": 1, "b": 2}}', "repeats the key 'b'"),
        (b'"\\ud800"', "not UTF-8"),
        (b'{"\\udfff": 1}', "not UTF-8"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"[" * 100_000, "deeper"),
        (b"[" * (MAX_DEPTH + 2) + b"]" * (MAX_DEPTH + 2), "deeper"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "deeper"),
    ],
)
def test_a_document_of_doubtful_meaning_is_refused(data: bytes, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        parse_json(data)


def test_values_are_bounded_where_that_is_asked_for() -> None:
    assert len(parse_json(b"[" + b"1," * 99 + b"1]", max_nodes=101)) == 100
    with pytest.raises(ValueError, match="more than 100 values"):
        parse_json(b"[" + b"1," * 99 + b"1]", max_nodes=100)


def test_a_repeated_key_among_many_is_found_quickly() -> None:
    data = "{" + ",".join(f'"k{index}": 0' for index in range(100_000)) + ',"k99999": 1}'
    begin = time.monotonic()
    with pytest.raises(ValueError, match="k99999"):
        parse_json(data.encode())
    assert time.monotonic() - begin < 2
