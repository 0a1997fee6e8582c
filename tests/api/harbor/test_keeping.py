"""Secrets in a file: for its owner alone, written as a whole, and found again by the next run."""

import stat
from pathlib import Path

import pytest
import yaml

from klever.api.harbor import secrets
from klever.api.harbor.keeping import ForeignFileError, InFile
from klever.steps.errors import StorageDeniedError, StorageError
from klever.steps.oci.credentials import Credentials


def test_what_was_written_is_found_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    harbor = secrets.build_harbor("klever", Credentials("robot$klever", "pw"), pending=True)
    first = InFile(path)
    first.check([harbor])
    assert not path.exists()
    first.write(harbor)
    first.write(secrets.build_hook("klever", "Bearer x"))
    again = InFile(path)
    found = again.read("klever-harbor", "klever")
    assert found is not None
    assert secrets.is_pending(found)
    again.write(secrets.build_harbor("klever", Credentials("robot$klever", "other")))
    documents = list(yaml.safe_load_all(path.read_text()))
    assert [document["metadata"]["name"] for document in documents] == ["klever-harbor", "klever-hook"]
    assert secrets.read_harbor(documents[0]).password == "other"
    assert "annotations" not in documents[0]["metadata"]
    assert list(tmp_path.iterdir()) == [path]


def test_only_its_owner_may_read_it_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    keeping = InFile(path)
    keeping.write(secrets.build_hook("klever", "Bearer x"))
    path.chmod(0o644)
    InFile(path).write(secrets.build_hook("klever", "Bearer y"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", ["apiVersion: v1\n", "\xff", "# Written by klever harbor setup\n"])
def test_a_file_of_somebody_else_is_not_touched(tmp_path: Path, content: str) -> None:
    path = tmp_path / "values.yaml"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ForeignFileError) as caught:
        InFile(path)
    assert "--output" in caught.value.next_step
    assert path.read_bytes() == content.encode("latin-1")


def test_a_file_that_somebody_broke_is_told(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    InFile(path).write(secrets.build_hook("klever", "Bearer x"))
    path.write_text(path.read_text() + "\n---\n- 3\n")
    with pytest.raises(ForeignFileError, match="no longer what"):
        InFile(path)


def test_a_directory_that_is_not_there_is_known_before_anything_is_made(tmp_path: Path) -> None:
    keeping = InFile(tmp_path / "none" / "secrets.yaml")
    with pytest.raises((StorageError, StorageDeniedError), match="cannot write"):
        keeping.check([])
