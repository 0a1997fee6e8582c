"""Pickle: what loading would import is told, nothing is loaded."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import MalformedModelError
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Evidence
from klever.steps.formats.others import FORMAT as OTHERS
from klever.steps.formats.pickle import FORMAT


def notes(files: MemoryFiles) -> tuple[str, ...]:
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    reading = FORMAT.read(files, claim, None)
    assert reading.signature.inputs is None
    return reading.notes


class Command:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_command_is_reported_and_not_run(tmp_path: Path, protocol: int) -> None:
    proof = tmp_path / "PWNED"
    told = notes(MemoryFiles({"m.pkl": pickle.dumps(Command(f"touch {proof}"), protocol)}))
    assert told[0].startswith("DANGEROUS")
    assert "system" in told[0]
    assert not proof.exists()


def test_unknown_classes_are_named_as_such() -> None:
    assert "__main__.Net, of which nothing is known" in notes(MemoryFiles({"m.pkl": b"c__main__\nNet\n)R."}))[0]


def test_plain_values_import_nothing() -> None:
    assert "nothing" in notes(MemoryFiles({"m.pkl": pickle.dumps({"a": [1]})}))[0]


@pytest.mark.parametrize("data", [b"(this is text.", b"N.", b"I1\n."])
def test_text_that_looks_like_protocol_0_needs_the_name(data: bytes) -> None:
    assert FORMAT.claim(MemoryFiles({"notes.txt": data})) is None


@pytest.mark.parametrize("data", [b"\x80\x09.", b"\x80\x04R.", b"\x80", b"\x80\x04\xff"])
def test_bytes_that_only_begin_like_a_pickle_are_not_claimed_by_content(data: bytes) -> None:
    assert FORMAT.claim(MemoryFiles({"weights.dat": data})) is None


def test_a_pickle_that_is_none_is_refused() -> None:
    files = MemoryFiles({"m.pkl": b"\xff" * 100})
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence == Evidence.NAME
    with pytest.raises(MalformedModelError):
        FORMAT.read(files, claim, None)


def test_others_claims_nothing() -> None:
    assert OTHERS.claim(MemoryFiles({"anything": b"\x80\x04N."})) is None
