"""ormbfile.yaml and the config blob: read as old tools write them, written as old tools read them."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.errors import MetadataError
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Tensor, parse_tensors


def test_unknown_fields_survive_at_every_depth() -> None:
    document = {
        "format": "ONNX",
        "reviewed": {"by": ["Ada", {"deep": 1.5}], "flag": False},
        "signature": {"inputs": [{"name": "x", "size": [-1, 3], "scale": 0.5}], "note": "kept"},
        "metrics": {"training": [{"name": "loss", "value": "0.1", "unit": "nats"}]},
        "dataset": {"git": {"repository": "r", "path": "/data"}, "rows": 7},
    }
    assert json.loads(Metadata.from_config(json.dumps(document).encode()).to_config()) == document
    assert yaml.safe_load(Metadata.from_yaml(yaml.safe_dump(document)).to_yaml()) == document


scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(extra=st.dictionaries(st.text(min_size=1, max_size=6).map("x-{}".format), values, max_size=4))
def test_any_unknown_field_comes_back_from_json(extra: dict[str, object]) -> None:
    document = {"format": "PMML", **extra}
    again = json.loads(Metadata.from_config(json.dumps(document).encode()).to_config())
    assert again == {key: value for key, value in document.items() if value is not None}


def test_a_null_equals_absence() -> None:
    metadata = Metadata.from_config(
        b'{"format": "H5", "author": null, "signature": null, "tags": null, "created": null}'
    )
    assert metadata.to_json() == {"format": "H5"}


def test_the_old_spelling_of_dtype_is_read_and_written_anew() -> None:
    metadata = Metadata.from_yaml("format: NetDef\nsignature: {inputs: [{name: data, size: [1], dtype: float32}]}")
    assert metadata.to_json()["signature"] == {"inputs": [{"name": "data", "dType": "float32", "size": [1]}]}


def test_a_scalar_has_an_empty_size_and_an_unknown_rank_none() -> None:
    assert Tensor(name="s", shape=()).to_json() == {"name": "s", "size": []}
    assert Tensor(name="u").to_json() == {"name": "u"}


def test_numbers_where_orm_wants_text_become_text() -> None:
    metadata = Metadata.from_yaml("format: ONNX\nmetrics: {test: [{name: top1, value: 0.93}]}\nlabels: {stage: 2}")
    assert metadata.to_json()["metrics"] == {"test": [{"name": "top1", "value": "0.93"}]}
    assert metadata.to_json()["labels"] == {"stage": "2"}


def test_gos_zero_time_is_no_time() -> None:
    assert Metadata.from_config(b'{"format": "PMML", "created": "0001-01-01T00:00:00Z"}').created is None


def test_the_yaml_leaves_out_what_only_the_config_knows() -> None:
    metadata = Metadata(format="ONNX", size=3, created="2026-01-01T00:00:00Z", directory_structure=("model/a.onnx",))
    assert yaml.safe_load(metadata.to_yaml()) == {"format": "ONNX"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "not a map"),
        ("- a", "not a map"),
        ("author: Ada", "does not say the format"),
        ("format: [ONNX]", "field format"),
        ("format: ONNX\nsignature: {inputs: [{size: [1]}]}", "signature.inputs.0.name"),
        ("format: ONNX\nsignature: {inputs: [{name: x, size: [-2]}]}", "size"),
        ("format: ONNX\nmetrics: 3", "metrics"),
        ("format: &a ONNX\nauthor: *a", "ormbfile.yaml"),
    ],
)
def test_a_faulty_ormbfile_is_told_in_one_sentence(text: str, fault: str) -> None:
    with pytest.raises(MetadataError, match=fault) as caught:
        Metadata.from_yaml(text)
    assert "\n" not in caught.value.cause


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[" * 100_000, b"{" * 5000, b'"x"', b"x" * (9 << 20)])
def test_a_faulty_config_is_a_metadata_error(data: bytes) -> None:
    with pytest.raises(MetadataError):
        Metadata.from_config(data)


@pytest.mark.parametrize("config", [b'{"author": "Ada"}', b'{"author": "Ada", "format": null}', b'{"format": ""}'])
def test_a_config_without_a_format_has_the_one_that_is_given_and_else_is_refused(config: bytes) -> None:
    assert Metadata.from_config(config, format_id="ONNX").format == "ONNX"
    assert Metadata.from_config(b'{"format": "H5"}', format_id="ONNX").format == "H5"
    if b'""' not in config:
        with pytest.raises(MetadataError, match="does not say the format"):
            Metadata.from_config(config)


def test_tensors_are_told_as_ormbfile_spells_them() -> None:
    told = parse_tensors(
        '[{"name": "x", "size": [-1, 3], "dType": "float32"}, {"name": "y", "dtype": "int64"}]', "inputs"
    )
    assert told == (Tensor(name="x", shape=(-1, 3), dtype="float32"), Tensor(name="y", dtype="int64"))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[", "is not JSON"),
        ('{"name": "x"}', "got no list"),
        ("[1]", "field 0"),
        ('[{"size": [1]}]', "0.name"),
        ('[{"name": "x", "size": [-2]}]', "0.size.0"),
        ('[{"name": "x"}, {"name": "x"}]', "'x' is there twice"),
        ("[" * 100 + "]" * 100, "nested deeper"),
        ("[" + ",".join(["[]"] * 200_000) + "]", "holds more than"),
    ],
)
def test_what_is_no_list_of_tensors_is_refused_with_its_name_and_an_example(text: str, fault: str) -> None:
    with pytest.raises(MetadataError, match=f"^inputs: .*{fault}") as raised:
        parse_tensors(text, "inputs")
    assert raised.value.next_step
