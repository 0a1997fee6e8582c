"""Protobuf's text format: what is read as what, and that hostile text ends in a typed error."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.encodings.prototext import (
    MAX_DEPTH,
    MAX_TEXT_BYTES,
    MAX_VALUES,
    Fields,
    Symbol,
    decode_prototext,
    parse_prototext,
)
from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError


def test_scalars_keep_the_kind_that_the_text_gives_them() -> None:
    read = parse_prototext('i: -3 h: 0x1F o: 017 f: 1.5e2 g: .5f s: "a" e: MAX t: true n: -inf')
    assert read.integer("i") == -3
    assert read.integer("h") == 31
    assert read.integer("o") == 15
    assert read.number("f") == 150.0
    assert read.number("g") == 0.5
    assert read.text("s") == "a"
    assert read.values("e") == [Symbol("MAX")]
    assert read.flag("t") is True
    assert read.number("n") == float("-inf")


def test_messages_take_both_brackets_an_optional_colon_and_lists() -> None:
    read = parse_prototext("a { b: 1 } a: < b: 2 > a: [{ b: 3 }, < b: 4; >] d: [1, 2,3] e: []")
    assert [message.integer("b") for message in read.messages("a")] == [1, 2, 3, 4]
    assert read.integers("d") == (1, 2, 3)
    assert "e" not in read


def test_strings_are_joined_and_their_escapes_are_bytes_of_utf8() -> None:
    assert parse_prototext(r"""s: "a\n" 'b\303\251' "\x41\"" """).text("s") == 'a\nbéA"'


def test_comments_separators_and_extensions_are_read() -> None:
    read = parse_prototext("a: 1, b: 2; # comment { \n [x.y/z] { c: 3 }")
    assert (read.integer("a"), read.integer("b"), read.message("[x.y/z]").integer("c")) == (1, 2, 3)


def test_the_last_value_of_a_singular_field_counts() -> None:
    assert parse_prototext("a: 1 a: 2").integer("a") == 2


def test_an_absent_field_gives_its_default() -> None:
    empty = Fields()
    assert (empty.integer("x", 7), empty.text("x"), empty.flag("x", default=True)) == (7, "", True)
    assert empty.message("x") == Fields()


@pytest.mark.parametrize("getter", ["integer", "number", "flag", "message"])
def test_a_value_of_another_kind_is_refused_when_asked_for(getter: str) -> None:
    with pytest.raises(MalformedModelError, match="the field a has to be"):
        getattr(parse_prototext('a: "text"'), getter)("a")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a {", TruncatedModelError),
        ("a", TruncatedModelError),
        ("a: [1,", TruncatedModelError),
        ('a: "open', TruncatedModelError),
        ('a: "open\n"', MalformedModelError),
        ("a: [1 2]", MalformedModelError),
        ("a b", MalformedModelError),
        ("}", MalformedModelError),
        ("a { >", MalformedModelError),
        ("a: 08", MalformedModelError),
        ("a: -b", MalformedModelError),
        ("a: \x00", MalformedModelError),
        ("a: " + "9" * 10_000, MalformedModelError),
        ("a {" * (MAX_DEPTH + 1), LimitExceededError),
        ("a: [" + "1," * MAX_VALUES + "1]", LimitExceededError),
    ],
)
def test_what_breaks_the_grammar_or_a_limit_is_refused(text: str, error: type[ModelError]) -> None:
    with pytest.raises(ModelError) as caught:
        parse_prototext(text)
    assert type(caught.value) is error


def test_a_fault_names_its_line() -> None:
    with pytest.raises(MalformedModelError, match="line 3"):
        parse_prototext("a: 1\n\nb: ]")


def test_text_beyond_the_limit_is_not_parsed() -> None:
    with pytest.raises(LimitExceededError):
        decode_prototext(b"#" * (MAX_TEXT_BYTES + 1))


@pytest.mark.parametrize("piece", ["a{", '"', "# x", "[", "a:", "\\", "a:'\\", "0x", "a{}"])
def test_repeated_pieces_cost_linear_time(piece: str) -> None:
    started = time.process_time()
    with pytest.raises(ModelError):
        parse_prototext(piece * 300_000 + "\n }")
    assert time.process_time() - started < 3


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_typed_error(data: bytes) -> None:
    try:
        decode_prototext(data)
    except ModelError as error:
        assert error.cause
