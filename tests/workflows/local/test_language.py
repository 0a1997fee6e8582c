"""Conditions, expressions and tags mean what they mean to Argo's own libraries, whose answers `language.json` keeps."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.errors import KleverError
from klever.workflows.local.expressions import ExpressionError, environment, parse
from klever.workflows.local.variables import nothing, references, substitute, tags
from klever.workflows.local.when import WhenError, should_execute

RECORDS = json.loads((Path(__file__).parent / "language.json").read_text(encoding="utf-8"))
VARIABLES: dict[str, Any] = RECORDS["vars"]
#: Both refuse these, each in words of its own.
OTHER_WORDS = {
    'sprig.nothing("a")',
    "jsonpath('x', '$')",
    "jsonpath(inputs.parameters.json, '$.a[9]')",
    "!1",
    '-"a"',
    "{(1+1): 2}",
    '"unterminated',
    "9223372036854775808",
    'not "a" in ["a"]',
}


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["text"] or "empty") for case in RECORDS["cases"] if case["kind"] == kind]


def plain(value: Any) -> Any:
    """Leave out what JSON does not tell apart."""
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@pytest.mark.parametrize("case", of_kind("expression"))
def test_an_expression_has_the_value_that_it_has_to_argo(case: dict[str, Any]) -> None:
    if "value" in case:
        assert plain(parse(case["text"]).evaluate(environment(VARIABLES))) == plain(case["value"])
        return
    with pytest.raises(ExpressionError) as caught:
        parse(case["text"]).evaluate(environment(VARIABLES))
    assert case["text"] in OTHER_WORDS or caught.value.cause == case["error"]


@pytest.mark.parametrize("case", of_kind("when"))
def test_a_condition_holds_where_it_does_to_argo(case: dict[str, Any]) -> None:
    if isinstance(case.get("value"), bool):
        assert should_execute(case["text"]) is case["value"]
        return
    with pytest.raises(WhenError) as caught:
        should_execute(case["text"])
    assert case.get("error", "Expected boolean evaluation") in caught.value.cause


@pytest.mark.parametrize("case", of_kind("tag"))
def test_a_tag_is_replaced_as_argo_does(case: dict[str, Any]) -> None:
    strict = references if case.get("strict") else nothing
    if "value" in case:
        assert substitute(case["text"], VARIABLES, strict=strict) == case["value"]
        return
    with pytest.raises(KleverError) as caught:
        substitute(case["text"], VARIABLES, strict=strict)
    assert caught.value.cause == case["error"]


def test_no_condition_means_yes() -> None:
    assert should_execute("")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sprig.now()", ["sprig.now"]),
        ("sprig.env('HOME')", ["sprig.env"]),
        ("now()", ["now"]),
        ("nothing(1) + asInt('1')", ["nothing"]),
        ("trim('x') + sprig.trim('x') + jsonpath('{}', '$')", []),
        ("let f = sprig; f.trim('x')", ["f.trim"]),
    ],
)
def test_functions_that_are_not_there_are_named(text: str, names: list[str]) -> None:
    assert list(parse(text).unknown_functions()) == names


def test_the_identifiers_leave_out_what_a_fallback_answers() -> None:
    assert parse("a.b + (c.d ?? 'x') + e?.f + g['h-i']").identifiers() == ["a", "a.b", "c", "e", "g", "g.h-i"]


def test_of_a_name_and_a_longer_one_the_longer_counts() -> None:
    assert environment({"a": "short", "a.b": "long", "ab": "other"}) == {"a": {"b": "long"}, "ab": "other"}


def test_substitution_reaches_keys_and_all_depths_and_leaves_other_values() -> None:
    document = {"{{item}}": [1, None, {"x": "{{item}}-{{later}}"}], "flag": True}
    assert substitute(document, {"item": "a"}) == {"a": [1, None, {"x": "a-{{later}}"}], "flag": True}


def test_a_value_is_not_looked_at_again() -> None:
    assert substitute("{{a}}", {"a": "{{b}}", "b": "no"}) == "{{b}}"


def test_simple_tags_are_found_without_their_braces() -> None:
    assert list(tags({"{{a}}": ["x {{ b }} {{=c}}", "{{d"]})) == ["a", " b "]


@pytest.mark.parametrize("text", ["(" * 5000, "[" * 5000, "!" * 5000 + "true", "a" * 200_000, "-" * 3000 + "1"])
def test_deep_and_long_expressions_are_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text).evaluate(environment(VARIABLES))


@pytest.mark.parametrize("text", ["(" * 5000 + "a == a" + ")" * 5000, "!" + "(!" * 2000 + "true" + ")" * 2000])
def test_deep_conditions_are_refused(text: str) -> None:
    with pytest.raises(WhenError):
        should_execute(text)


@pytest.mark.parametrize("text", ["1..1000000000", "repeat('x', 1000000000)", "map(1..999999, 1..999999)"])
def test_an_expression_cannot_fill_the_memory(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text).evaluate({})


@given(st.text(alphabet="ab1.+-*/%!=<>&|?:;,()[]{}'\"`#_ \\\n~é", max_size=40))
def test_any_text_is_an_expression_or_a_clear_error(text: str) -> None:
    try:
        parse(text).evaluate(environment({"a": "1", "b.a": "2"}))
    except ExpressionError as error:
        assert error.message


@given(st.text(alphabet="ab1.+-*/%!=<>&|?:,()[]'\"_ \\\n~é", max_size=40))
def test_any_text_is_a_condition_or_a_clear_error(text: str) -> None:
    try:
        should_execute(text)
    except WhenError as error:
        assert error.cause


@given(st.text(alphabet="ab{}= .+'1\n", max_size=60))
def test_any_text_is_substituted_or_refused(text: str) -> None:
    try:
        substitute(text, {"a": "x", "b.a": "y"})
    except KleverError as error:
        assert error.cause


@given(st.integers(-1000, 1000), st.integers(-1000, 1000), st.integers(1, 50))
def test_arithmetic_is_that_of_whole_numbers(a: int, b: int, c: int) -> None:
    assert parse(f"({a}) + ({b}) * {c} - ({a} - {b})").evaluate({}) == a + b * c - (a - b)
    assert parse(f"({a}) % {c}").evaluate({}) == int(math.fmod(a, c))
    assert parse(f"({a}) / {c}").evaluate({}) == a / c
    assert parse(f"({a}) < ({b}) || ({a}) >= ({b})").evaluate({}) is True


@given(st.text(max_size=30), st.text(max_size=30))
def test_quoted_texts_compare_as_they_are(left: str, right: str) -> None:
    text = f"{json.dumps(left)} == {json.dumps(right)}"
    try:
        assert parse(text).evaluate({}) is (left == right)
    except ExpressionError:
        # JSON writes letters beyond the first plane as two escapes, which expr-lang refuses.
        assert any(ord(letter) > 0xFFFF for letter in left + right)
