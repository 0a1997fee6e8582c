"""TensorRT: engines are recognised, and what cannot be read is said."""

import json

import pytest

from klever.steps.errors import MalformedModelError, TruncatedModelError
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.formats.tensorrt import FORMAT


@pytest.mark.parametrize("tag", [b"ftrt", b"ptrt"])
def test_an_engine_is_known_by_its_tag_whatever_its_name(tag: bytes) -> None:
    claim = FORMAT.claim(MemoryFiles({"yolo.trt": tag + bytes(60)}))
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    assert claim.rename == {"yolo.trt": "yolo.plan"}


def test_an_engine_without_a_tag_is_known_by_its_name_alone() -> None:
    claim = FORMAT.claim(MemoryFiles({"1/model.plan": b"\x01\x02\x03\x04" * 9}))
    assert claim is not None
    assert claim.evidence == Evidence.NAME


def test_another_formats_bytes_are_not_claimed() -> None:
    assert FORMAT.claim(MemoryFiles({"model.engine": b"PK\x03\x04" + bytes(60)})) is None


def test_two_engines_compete() -> None:
    claim = FORMAT.claim(MemoryFiles({"a.plan": b"ftrt", "b.engine": b"ftrt"}))
    assert claim is not None
    assert claim.competing == ("a.plan", "b.engine")


def test_the_note_says_what_to_do() -> None:
    files = MemoryFiles({"a.plan": b"ftrt" + bytes(60)})
    reading = FORMAT.read(files, Claim(Evidence.CONTENT, ("a.plan",)), None)
    assert reading.signature.inputs is None
    assert "ormbfile.yaml" in reading.notes[0]


def test_the_metadata_that_ultralytics_puts_in_front_becomes_facts() -> None:
    metadata = json.dumps({"task": "detect", "imgsz": [640, 640], "names": {"0": "person"}}).encode()
    files = MemoryFiles({"a.engine": len(metadata).to_bytes(4, "little") + metadata + b"ftrt" + bytes(60)})
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    assert FORMAT.read(files, claim, None).facts == {"task": "detect", "imgsz": [640, 640]}


def test_an_empty_or_foreign_file_is_refused() -> None:
    claim = Claim(Evidence.NAME, ("a.plan",))
    with pytest.raises(TruncatedModelError):
        FORMAT.read(MemoryFiles({"a.plan": b""}), claim, None)
    with pytest.raises(MalformedModelError):
        FORMAT.read(MemoryFiles({"a.plan": b"\x89HDF" + bytes(60)}), claim, None)
