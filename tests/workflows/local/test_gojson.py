"""JSON is read as Go reads it: the words of its complaints are those that Argo shows, and nothing is rewritten."""

import pytest

from klever.workflows.local.gojson import compact_json, read_json, split_json
from klever.workflows.local.gotext import dump_json

#: What ``json.Unmarshal`` of Go 1.26 says.
COMPLAINTS = {
    "": "unexpected end of JSON input",
    "[": "unexpected end of JSON input",
    '"a': "unexpected end of JSON input",
    "abc": "invalid character 'a' looking for beginning of value",
    "ü": "invalid character 'Ã' looking for beginning of value",
    "'a'": "invalid character '\\'' looking for beginning of value",
    "[1,]": "invalid character ']' looking for beginning of value",
    "[NaN]": "invalid character 'N' looking for beginning of value",
    "-Infinity": "invalid character 'I' in numeric literal",
    "not a list": "invalid character 'o' in literal null (expecting 'u')",
    "nul": "invalid character ' ' in literal null (expecting 'l')",
    "trux": "invalid character 'x' in literal true (expecting 'e')",
    "-": "invalid character ' ' in numeric literal",
    "1.": "invalid character ' ' after decimal point in numeric literal",
    "1ex": "invalid character 'x' in exponent of numeric literal",
    "1 2": "invalid character '2' after top-level value",
    "[1 2]": "invalid character '2' after array element",
    "{a:1}": "invalid character 'a' looking for beginning of object key string",
    '{"a":1,}': "invalid character '}' looking for beginning of object key string",
    '{"a" 1}': "invalid character '1' after object key",
    '{"a":1 "b"}': "invalid character '\"' after object key:value pair",
    '["\x01"]': "invalid character '\\x01' in string literal",
    '"\\x"': "invalid character 'x' in string escape code",
    '"\\u12g4"': "invalid character 'g' in \\u hexadecimal character escape",
    "[" * 100_000: "exceeded max depth",
}


@pytest.mark.parametrize(("text", "complaint"), COMPLAINTS.items(), ids=range(len(COMPLAINTS)))
def test_what_is_wrong_is_told_in_the_words_of_go(text: str, complaint: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words are what is tested
        read_json(text)
    assert str(caught.value) == complaint


def test_a_number_keeps_its_letters() -> None:
    assert dump_json(read_json("[1.50, 1e3, 2]")) == "[1.50,1e3,2]"


def test_compact_json_keeps_order_and_letters() -> None:
    assert compact_json('{ "z": 1.0,\n"a": ["\\u00fc ü", "<&>"] }') == (
        '{"z":1.0,"a":["\\u00fc ü","\\u003c\\u0026\\u003e"]}'
    )


def test_lists_and_mappings_are_split_into_texts() -> None:
    assert split_json('[1.50,{"b":[1],"a":"]"},"x,y"]') == ["1.50", '{"b":[1],"a":"]"}', '"x,y"']
    assert split_json('{"z":{"y":1e3},"a":[]}') == {"z": '{"y":1e3}', "a": "[]"}
    assert split_json("[]") == []
    assert split_json("{}") == {}


def test_a_scalar_is_not_split() -> None:
    assert split_json("1") is None
    assert split_json('"[1]"') is None
