"""JSON that nobody vouches for."""

import pytest

from klever.steps.encodings.json import parse_json
from klever.steps.errors import LimitExceededError, MalformedModelError

FAULTS = {
    "empty": b"",
    "cut": b'{"a": [1, 2',
    "no text": b'{"a": "\xff"}',
    "huge number": b"[" + b"1" * 5000 + b"]",
}
LOOSE = {"a name twice": b'{"a": 1, "a": 2}', "not a number": b"[NaN]", "infinity": b"[-Infinity]"}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_json_is_malformed_and_the_error_names_the_document(fault: str, strict: bool) -> None:
    with pytest.raises(MalformedModelError, match=r"^the header "):
        parse_json(FAULTS[fault], "the header", strict=strict)


@pytest.mark.parametrize("case", LOOSE)
def test_what_python_takes_beyond_the_standard_is_refused_on_request(case: str) -> None:
    parse_json(LOOSE[case], "the header")
    with pytest.raises(MalformedModelError, match=r"^the header "):
        parse_json(LOOSE[case], "the header", strict=True)


@pytest.mark.parametrize("strict", [False, True])
def test_nesting_beyond_the_interpreter_is_a_limit(strict: bool) -> None:
    with pytest.raises(LimitExceededError, match="the header"):
        parse_json(b"[" * 200_000, "the header", strict=strict)


def test_values_come_as_python_has_them() -> None:
    text = '{"a": [1, 2.5, null, true, "x"]}'
    assert parse_json(text, "x", strict=True) == parse_json(text.encode(), "x") == {"a": [1, 2.5, None, True, "x"]}
