"""PMML: the fields that JPMML, the reference scorer, reports, from a document of any size."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus

from klever.steps.errors import (
    LimitExceededError,
    MalformedModelError,
    ModelError,
    TruncatedModelError,
    UnsafeModelError,
)
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.pmml import FORMAT
from klever.steps.formats.pmml.reader import CHAIN_BYTES, read_document

START = '<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
FIELDS = (
    '<DataDictionary><DataField name="x" optype="continuous" dataType="double" displayName="length"/>'
    '<DataField name="y" optype="categorical" dataType="string"><Value value="a"/><Value value="b"/>'
    '<Value value="?" property="missing"/></DataField></DataDictionary>'
)
SCHEMA = '<MiningSchema><MiningField name="x"/><MiningField name="y" usageType="target"/></MiningSchema>'


def read(text: str | bytes) -> Reading:
    data = text.encode() if isinstance(text, str) else text
    return read_document(MemoryFiles({"m.pmml": data}), "m.pmml")


def model(inside: str, attributes: str = "", fields: str = FIELDS) -> str:
    return f'{START}{fields}<TreeModel functionName="classification"{attributes}>{inside}</TreeModel></PMML>'


def described(reading: Reading) -> list[tuple[str, str | None, str | None]]:
    return [(t.name, t.dtype, t.op_type) for t in reading.signature.outputs or ()]


def test_valid_values_and_the_display_name_are_kept() -> None:
    reading = read(model(SCHEMA))
    assert reading.signature.to_json() == {
        "inputs": [{"name": "x", "dType": "double", "opType": "continuous", "description": "length"}],
        "outputs": [{"name": "y", "dType": "string", "opType": "categorical", "values": ["a", "b"]}],
        "layers": {"TreeModel": 1},
    }


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ('closure="closedClosed" leftMargin="1" rightMargin="2.5"', "[1, 2.5]"),
        ('closure="openClosed" leftMargin="1" rightMargin="2"', "(1, 2]"),
        ('closure="closedOpen" leftMargin="1"', "[1, ∞)"),
        ('closure="openOpen" rightMargin="1"', "(-∞, 1)"),
    ],
)
def test_intervals_are_values_of_continuous_fields(interval: str, text: str) -> None:
    fields = (
        f'<DataDictionary><DataField name="x" dataType="double"><Interval {interval}/></DataField></DataDictionary>'
    )
    reading = read(model('<MiningSchema><MiningField name="x"/></MiningSchema>', fields=fields))
    assert reading.signature.inputs is not None
    assert reading.signature.inputs[0].values == (text,)


@pytest.mark.parametrize("usage", ["supplementary", "group", "order", "frequencyWeight", "analysisWeight"])
def test_fields_of_other_usages_are_neither_inputs_nor_outputs(usage: str) -> None:
    schema = f'<MiningSchema><MiningField name="x" usageType="{usage}"/></MiningSchema>'
    assert read(model(schema)).signature.to_json() == {"inputs": [], "outputs": [], "layers": {"TreeModel": 1}}


def test_predicted_is_the_old_name_of_target() -> None:
    assert described(read(model(SCHEMA.replace('"target"', '"predicted"')))) == [("y", "string", "categorical")]


def test_operational_types_are_overridden_from_the_inside() -> None:
    schema = SCHEMA.replace('name="x"', 'name="x" optype="ordinal"').replace('name="y"', 'name="y" optype="ordinal"')
    reading = read(model(f'{schema}<Targets><Target field="y" optype="continuous"/></Targets>'))
    assert reading.signature.inputs is not None
    assert reading.signature.inputs[0].op_type == "ordinal"
    assert described(reading) == [("y", "string", "continuous")]


def test_types_that_old_versions_leave_out_follow_from_the_feature() -> None:
    output = (
        '<Output><OutputField name="a"/><OutputField name="b" feature="probability" value="a"/>'
        '<OutputField name="c" feature="entityId"/><OutputField name="d" feature="transformedValue"/>'
        '<OutputField name="e" feature="rank"/><OutputField name="f" dataType="date"/></Output>'
    )
    assert described(read(model(SCHEMA + output)))[1:] == [
        ("a", "string", "categorical"),
        ("b", "double", "continuous"),
        ("c", "string", "categorical"),
        ("d", None, None),
        ("e", "integer", "continuous"),
        ("f", "date", "ordinal"),
    ]


def test_the_first_model_that_may_be_scored_counts() -> None:
    first = '<RegressionModel functionName="regression" isScorable="false"><MiningSchema/></RegressionModel>'
    text = model(SCHEMA).replace("<TreeModel", f"{first}<TreeModel", 1)
    assert read(text).signature.layers == {"TreeModel": 1}
    only = read(f"{START}{first}</PMML>")
    assert only.signature.layers == {"RegressionModel": 1}
    assert only.notes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "windows-1252", "us-ascii"])
def test_any_prefix_and_encoding_is_claimed_and_read(encoding: str) -> None:
    name = "x" if encoding == "us-ascii" else "länge"
    text = (
        f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>\n<!-- <PMML> -->\n'
        f'<p:PMML xmlns:p="http://www.dmg.org/PMML-3_0" version="3.0"><p:DataDictionary><p:DataField name="{name}" '
        'optype="continuous" dataType="double"/></p:DataDictionary><p:TreeModel><p:MiningSchema>'
        f'<p:MiningField name="{name}"/></p:MiningSchema></p:TreeModel></p:PMML>'
    )
    files = MemoryFiles({"model.xml": text.encode(encoding)})
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    assert claim.rename == {"model.xml": "model.pmml"}
    inputs = FORMAT.read(files, claim, None).signature.inputs
    assert inputs is not None
    assert [t.name for t in inputs] == [name]


@pytest.mark.parametrize(
    "data",
    [b"<html></html>", b"<?xml version='1.0'?><svg/>", b"PMML", b"\x89PNG\r\n", b'{"PMML": 1}', b"\x08\x01<PMML>"],
)
def test_other_documents_are_not_claimed_whatever_their_name(data: bytes) -> None:
    assert FORMAT.claim(MemoryFiles({"model.pmml": data})) is None


def test_a_document_type_is_claimed_so_that_it_can_be_refused() -> None:
    data = f'<!DOCTYPE PMML [<!ENTITY x "y">]>{model(SCHEMA)}'.encode()
    claim = FORMAT.claim(MemoryFiles({"m.pmml": data}))
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    with pytest.raises(UnsafeModelError, match="document type"):
        read(data)


def test_several_documents_compete() -> None:
    data = model(SCHEMA).encode()
    claim = FORMAT.claim(MemoryFiles({"a.pmml": data, "b.xml": data, "sub/c.pmml": data}))
    assert claim is not None
    assert claim.competing == ("a.pmml", "b.xml")


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (model(SCHEMA)[:-9], TruncatedModelError, "ends in line"),
        ("", TruncatedModelError, "ends in line"),
        (f"{START}</PMML>", MalformedModelError, "no model"),
        ("<a/>", MalformedModelError, "expected PMML"),
        (f"{START}<b></c>", MalformedModelError, "not well-formed"),
        (model("<MiningSchema><MiningField/></MiningSchema>"), MalformedModelError, "no name"),
        ('<?xml version="1.0" encoding="rot13"?><PMML/>', MalformedModelError, "encoding|not well-formed"),
        (f"{START}{'<a>' * 5000}", LimitExceededError, "nests"),
        (START + "".join(f"<a{n}/>" for n in range(5000)), LimitExceededError, "names"),
        (START + "<a b='" + "x" * (4 << 20), LimitExceededError, "longer than"),
        (
            f"{START}<DataDictionary>" + "".join(f'<DataField name="{n}"/>' for n in range(50_001)),
            LimitExceededError,
            "fields",
        ),
    ],
)
def test_what_is_no_model_is_refused_in_a_sentence(text: str, error: type[ModelError], words: str) -> None:
    with pytest.raises(error, match=words):
        read(text)


def test_a_segment_that_never_applies_gives_no_results() -> None:
    def segment(predicate: str, name: str) -> str:
        inner = f'<MiningSchema/><Output><OutputField name="{name}" dataType="double"/></Output>'
        return f"<Segment><{predicate}/><TreeModel>{inner}</TreeModel></Segment>"

    segments = segment("True", "one") + segment("True", "two") + segment("False", "three")
    chain = read(model(f'{SCHEMA}<Segmentation multipleModelMethod="modelChain">{segments}</Segmentation>'))
    assert [name for name, _, _ in described(chain)] == ["y", "two"]
    first = read(model(f'{SCHEMA}<Segmentation multipleModelMethod="selectFirst">{segments}</Segmentation>'))
    assert [name for name, _, _ in described(first)] == ["y", "one"]


class Endless:
    """A document whose trees go on for half a gigabyte; counts what is read of it."""

    size = 500 << 20

    def __init__(self, start: str) -> None:
        self.start = start.encode()
        self.read = 0

    def read_at(self, offset: int, length: int) -> bytes:
        self.read += length
        data = self.start[offset : offset + length]
        node = b"<Node><True/></Node>"
        rest = max(0, offset + len(data) - len(self.start))
        return (data + (node * (length // len(node) + 2))[rest % len(node) :])[:length]

    def close(self) -> None:
        pass


class EndlessFiles:
    def __init__(self, start: str) -> None:
        self.source = Endless(start)
        self.sizes = {"m.pmml": self.source.size}

    def open(self, path: str) -> Endless:
        return self.source

    def head(self, path: str) -> bytes:
        return self.source.start[:4096]


def test_a_large_forest_is_left_where_its_trees_begin() -> None:
    forest = model(f'{SCHEMA}<Segmentation multipleModelMethod="average">').partition("</TreeModel>")[0]
    files = EndlessFiles(forest)
    assert described(read_document(files, "m.pmml")) == [("y", "string", "categorical")]
    assert files.source.read <= 128 << 10


def test_a_chain_is_searched_for_results_only_so_far() -> None:
    chain = model(f'{SCHEMA}<Segmentation multipleModelMethod="modelChain">').partition("</TreeModel>")[0]
    files = EndlessFiles(chain)
    reading = read_document(files, "m.pmml")
    assert described(reading) == [("y", "string", "categorical")]
    assert reading.notes
    assert files.source.read <= CHAIN_BYTES + (128 << 10)


@pytest.mark.corpus
@pytest.mark.parametrize("case", corpus("PMML"), ids=lambda case: case.name)
def test_fields_agree_with_jpmml(case: Path) -> None:
    oracle: dict[str, Any] = json.loads((case / "oracle" / "meta.json").read_text())
    files = LocalFiles.below(case / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    if "inputFields" not in oracle:
        with pytest.raises(UnsafeModelError):
            FORMAT.read(files, claim, None)
        return
    signature = FORMAT.read(files, claim, None).signature
    assert [[t.name, t.dtype, t.op_type] for t in signature.inputs or ()] == oracle["inputFields"]
    outputs = [[t.name, t.dtype] for t in signature.outputs or ()]
    assert outputs == oracle["targetFields"] + oracle["outputFields"]
