"""Keras: recognition of the archive by its members."""

import io
import zipfile
from pathlib import Path

import pytest

from klever.steps.errors import MalformedModelError, ModelError
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.formats.keras import FORMAT


def archive(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("_", "."), content)
    return data.getvalue()


WHOLE = archive(metadata_json=b'{"keras_version": "3.4.1"}', config_json=b"{}")


def test_an_archive_with_both_documents_is_claimed_by_content() -> None:
    claim = FORMAT.claim(MemoryFiles({"model.keras": WHOLE}))
    assert claim == Claim(Evidence.CONTENT, files=("model.keras",))


def test_another_name_is_changed_to_one_that_old_clients_find() -> None:
    claim = FORMAT.claim(MemoryFiles({"model.zip": WHOLE}))
    assert claim is not None
    assert claim.rename == {"model.zip": "model.keras"}


def test_an_archive_without_a_configuration_is_not_claimed() -> None:
    assert FORMAT.claim(MemoryFiles({"model.keras": archive(data_pkl=b"")})) is None


def test_an_archive_cut_short_is_claimed_by_name() -> None:
    claim = FORMAT.claim(MemoryFiles({"model.keras": WHOLE[:-4]}))
    assert claim is not None
    assert claim.evidence == Evidence.NAME


def test_hdf5_under_the_name_is_left_to_h5() -> None:
    assert FORMAT.claim(MemoryFiles({"model.keras": b"\x89HDF\r\n\x1a\n"})) is None


def test_a_configuration_that_is_not_utf8_is_refused() -> None:
    files = MemoryFiles({"model.keras": archive(metadata_json=b"{}", config_json=b"\xff")})
    with pytest.raises(MalformedModelError, match="UTF-8"):
        FORMAT.read(files, Claim(Evidence.CONTENT, ("model.keras",)), None)


def test_the_facts_name_the_version(models: Path) -> None:
    data = (models / "Keras" / "sequential_keras3" / "model" / "model.keras").read_bytes()
    reading = FORMAT.read(MemoryFiles({"m.keras": data}), Claim(Evidence.CONTENT, ("m.keras",)), None)
    assert reading.facts == {"keras_version": "3.15.1"}


def test_every_truncation_gives_a_typed_error(models: Path) -> None:
    data = (models / "Keras" / "sequential_keras3" / "model" / "model.keras").read_bytes()
    for size in range(0, len(data), 97):
        with pytest.raises(ModelError):
            FORMAT.read(MemoryFiles({"m.keras": data[:size]}), Claim(Evidence.NAME, ("m.keras",)), None)
