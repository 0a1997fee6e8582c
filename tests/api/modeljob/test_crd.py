"""The definition of ModelJobs, without an API server: what a structural schema may hold, and that nothing is undescribed."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from modeljobs import HISTORIC, REFUSED, TAKEN, manifest
from schemas import faults

from klever.api.modeljob.crd import FILES, build, build_schema, main, render
from klever.api.modeljob.model import MAX_REFERENCE, parse_job
from klever.api.modeljob.rules import RULES
from klever.steps.errors import InvalidReferenceError
from klever.steps.formats.table import MODULES
from klever.steps.oci.reference import parse_reference

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((ROOT / "examples" / "modeljobs").glob("*.yaml"))
#: What Kubernetes' documentation lists for structural schemas, as far as it is used.
ALLOWED = {
    "description", "type", "format", "enum", "maxLength", "maxItems", "maxProperties", "minimum", "maximum", "required",
    "properties", "items", "additionalProperties", "x-kubernetes-validations", "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-list-type", "x-kubernetes-list-map-keys",
}  # fmt: skip


def parts(schema: dict[str, Any], place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every part of a schema with its place."""
    yield place, schema
    for name, inner in schema.get("properties", {}).items():
        yield from parts(inner, f"{place}.{name}".lstrip("."))
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from parts(schema[name], f"{place}[]")


PARTS = dict(parts(build_schema()))


@pytest.mark.parametrize("place", PARTS)
def test_a_part_is_structural(place: str) -> None:
    schema = PARTS[place]
    assert set(schema) <= ALLOWED
    assert "type" in schema or schema["x-kubernetes-preserve-unknown-fields"]


@pytest.mark.parametrize("place", [place for place in PARTS if place != "metadata" and not place.endswith("[]")])
def test_a_field_is_described_in_a_sentence(place: str) -> None:
    description = PARTS[place]["description"]
    assert description.endswith(".")
    assert "`" not in description


@pytest.mark.parametrize("place", [place for place in PARTS if place.startswith("spec")])
def test_what_people_write_is_bounded(place: str) -> None:
    schema = PARTS[place]
    limit = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}.get(schema.get("type", ""))
    assert limit is None or limit in schema or "enum" in schema
    assert (
        schema.get("type") != "object" or {"properties", "maxProperties"} & set(schema) or place.endswith("valueFrom")
    )


@pytest.mark.parametrize("place", RULES)
def test_a_rule_is_in_its_place_and_says_what_to_write(place: str) -> None:
    rules = PARTS[place]["x-kubernetes-validations"]
    assert [rule["rule"] for rule in rules] == [rule.rule for rule in RULES[place]]
    for rule in rules:
        assert rule["message"].startswith("write ")
        # What an API server takes (apiextensions/v1, ValidationRule).
        assert len(rule["message"]) <= 2048
        assert "\n" not in rule["message"]


def test_every_format_may_be_written() -> None:
    (rule,) = RULES["spec.extraction.format"]
    assert all(f"'{name.lower()}'" in rule.rule and name in rule.message for name in MODULES)


@pytest.mark.parametrize("name", TAKEN)
def test_a_manifest_fits_the_schema_and_the_model(name: str) -> None:
    assert list(
        faults({**build_schema(), "properties": {**build_schema()["properties"], "metadata": {}}}, TAKEN[name])
    ) == [f".metadata.{field}: unknown" for field in TAKEN[name]["metadata"]]
    written = parse_job(TAKEN[name]).spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written == TAKEN[name]["spec"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_fits_the_schema(path: Path) -> None:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert list(faults(build_schema()["properties"]["spec"], document["spec"])) == []


def test_there_are_examples_of_each_kind_of_work_that_has_a_template() -> None:
    written = {work for path in EXAMPLES for work in yaml.safe_load(path.read_text("utf-8"))["spec"]}
    assert {"extraction", "conversion", "pipeline"} <= written


@pytest.mark.parametrize("name", ["deployment-on-something-else", "pipeline-without-a-template", "time-before-now"])
def test_the_schema_alone_refuses_what_breaks_a_type(name: str) -> None:
    document, _ = REFUSED[name]
    assert list(faults(build_schema()["properties"]["spec"], document["spec"]))


def test_an_initial_container_of_any_form_is_kept() -> None:
    schema = build_schema()["properties"]["spec"]
    for form in ({"name": "a", "image": "b"}, [{"name": "a", "anything": {"at": ["all"]}}], None):
        assert list(faults(schema, {"initContainer": form})) == []


def pattern_of(place: str) -> re.Pattern[str]:
    (rule,) = RULES[place]
    found = re.search(r"matches\(r'\^(.*)\$'\)", rule.rule)
    assert found is not None
    return re.compile(found[1], re.ASCII)


MODEL_PATTERN = pattern_of("spec.model")
TAG_PATTERN = pattern_of("spec.desiredTag")
_PARTS = (
    "harbor.example",
    "localhost",
    "a",
    "b-c",
    "d__e",
    "F",
    "[::1]",
    ":",
    ":5000",
    "/",
    "@",
    "v1",
    "latest",
    ".",
    "-",
    "_",
)
_NEAR = st.lists(st.sampled_from((*_PARTS, f"sha256:{'0' * 64}", f"sha512:{'f' * 128}")), max_size=9).map("".join)


@given(_NEAR)
def test_the_api_server_takes_every_reference_that_we_take_and_hardly_more(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReferenceError as error:
        # Of ports, hosts and lengths the pattern knows less.
        assert not MODEL_PATTERN.fullmatch(text) or "host" in error.cause or "longer" in error.cause
    else:
        if reference.layout is None and len(text) <= MAX_REFERENCE:
            assert MODEL_PATTERN.fullmatch(text)
            assert bool(TAG_PATTERN.fullmatch(text)) is (reference.digest is None)


@given(st.text(st.characters(categories=("Cc", "Zs", "Zl", "Sc")), min_size=1), st.sampled_from(["", "h.e/a/b"]))
def test_no_reference_has_spaces_control_characters_or_dollars(bad: str, before: str) -> None:
    assert not MODEL_PATTERN.fullmatch(before + bad)


def test_the_files_are_what_the_model_makes_of_them() -> None:
    assert main(["--check"]) == 0
    assert len({(ROOT / name).read_text("utf-8") for name in FILES}) == 1
    assert yaml.safe_load(render()) == build()


def test_no_template_engine_finds_a_placeholder_in_the_file() -> None:
    assert "{{" not in render()


def test_a_file_that_was_changed_by_hand_is_told_and_written_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0
    changed = tmp_path / FILES[1]
    changed.write_text(changed.read_text("utf-8").replace("mj", "modj"), "utf-8")
    assert main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == f"not up to date: {FILES[1]}; run make golden\n"
    assert main([], tmp_path) == 0
    assert main(["--check"], tmp_path) == 0


def test_the_historic_manifests_name_the_group_and_version_of_the_definition() -> None:
    spec = build()["spec"]
    assert manifest()["apiVersion"] == f"{spec['group']}/{spec['versions'][0]['name']}"
    assert {document["kind"] for document in HISTORIC.values()} == {spec["names"]["kind"]}
