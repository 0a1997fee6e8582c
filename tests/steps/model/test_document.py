"""YAML that people and tools write is read as plain data; everything else is refused."""

import pytest
import yaml

from klever.steps.errors import MetadataError
from klever.steps.model import document
from klever.steps.model.document import MAX_BYTES, MAX_DEPTH, parse_yaml


@pytest.fixture(params=["libyaml", "pure"], autouse=True)
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "pure":
        monkeypatch.setattr(document, "_LOADER", yaml.SafeLoader)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1\nb: [-1, 3]\nc: {d: x}\n", {"a": 1, "b": [-1, 3], "c": {"d": "x"}}),
        ("- a\n-\n- - b\n", ["a", None, ["b"]]),
        ("a: true\nb: ~\nc: yes\nd: on\n", {"a": True, "b": None, "c": "yes", "d": "on"}),
        ("on: 1\n1: 2\nnull: 3\n", {"on": 1, "1": 2, "null": 3}),
        ("a: '1'\nb: \"2\"\nc: !!str 3\n", {"a": "1", "b": "2", "c": "3"}),
        (
            "a: 0.5\nb: 1.10\nc: 007\nd: 1234e56\ne: 12:30\n",
            {"a": 0.5, "b": "1.10", "c": "007", "d": "1234e56", "e": "12:30"},
        ),
        ("a: 2020-09-01 09:01:21.3\nb: 2020-09-01\n", {"a": "2020-09-01 09:01:21.3", "b": "2020-09-01"}),
        ("a: |\n  two\n  lines\nb: >\n  one\n  line\n", {"a": "two\nlines\n", "b": "one line\n"}),
        ("<<: {a: 1}\n", {"<<": {"a": 1}}),
        ("{}\n", {}),
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("a: " + "9" * 5000, {"a": "9" * 5000}),
    ],
)
def test_document_becomes_plain_data(text: str, expected: object) -> None:
    assert parse_yaml(text, "it") == expected
    assert parse_yaml(text.encode(), "it") == expected
    assert parse_yaml(b"\xef\xbb\xbf" + text.encode(), "it") == expected


def test_utf_16_with_a_byte_order_mark_is_read() -> None:
    assert parse_yaml("a: ä\n".encode("utf-16"), "it") == {"a": "ä"}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: &x 1\nb: 2\n", "anchor"),
        ("a: &x [1]\nb: *x\n", "anchor"),
        ("a: 1\na: 2\n", "repeats"),
        ("? [1]\n: 2\n", "key"),
        ("a: !!python/object/apply:os.system ['id']\n", "plain data"),
        ("a: !!python/name:os.system x\n", "plain data"),
        ("a: !!binary aGk=\n", "plain data"),
        ("a: !!set {b}\n", "plain data"),
        ("a: 1\n---\nb: 2\n", "more than one"),
        ("a: [1\n", "not YAML"),
        ("a:\tb: c\n\t- d", "not YAML"),
        ("[" * (MAX_DEPTH + 2), "too deep"),
        ("{a: " * 100_000, "too deep"),
        ("[" + "1," * 250_000 + "]", "too large"),
        (" " * (MAX_BYTES + 1), "larger than"),
        ("a: \x00", "not YAML"),
        ("a: \ud800", "text"),
    ],
)
def test_what_is_not_plain_data_is_refused_in_a_sentence(text: str, word: str) -> None:
    with pytest.raises(MetadataError, match=word) as caught:
        parse_yaml(text, "it")
    assert str(caught.value).startswith("it ")


def test_bytes_of_no_encoding_are_refused() -> None:
    with pytest.raises(MetadataError, match="text"):
        parse_yaml(b"a: \xff\xfe\xfa", "it")


def test_truncation_and_noise_raise_nothing_else() -> None:
    text = b"a: {b: [1, 'x', \"\\u00e4\"]}\n? c\n: - !!int 3\n  - |\n    x\n"
    for cut in range(len(text)):
        for byte in (b"", b"\x00", b"\xff", b"&", b"*", b"!", b'"', b"\\"):
            try:
                parse_yaml(text[:cut] + byte + text[cut + 1 :], "it")
            except MetadataError:
                continue
