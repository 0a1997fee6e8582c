"""The command line in the hands of someone new: mistakes, odd names, stores that other tools wrote."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from klever.api.cli.commands.models import parse_prefix
from klever.steps import errors
from klever.steps.errors import KleverError, UnauthorizedError
from klever.steps.models import list_models
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.reference import Reference
from klever.steps.oci.store import Store
from klever.steps.stores import Stores, home_directory

from .conftest import Klever

OTHER_DIGEST = "sha256:" + "0" * 64


# Arguments.


def test_wrong_usage_is_told_as_json_where_json_is_asked_for(klever: Klever) -> None:
    outcome = klever("publish", "--json", ".")
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.error["type"] == "UsageError"
    assert "REFERENCE" in outcome.error["cause"]


@pytest.mark.parametrize("command", [["inspect"], ["publish"]])
def test_a_path_that_is_not_there_fails_alike_in_every_command(
    klever: Klever, command: list[str], tmp_path: Path
) -> None:
    rest = ["net:v1"] if command == ["publish"] else []
    outcome = klever(*command, tmp_path / "missing.onnx", *rest, "--json")
    assert (outcome.code, outcome.error["type"]) == (1, "NotFoundError")


@pytest.mark.parametrize("metric", [".accuracy=1", "training.=1"])
def test_a_metric_has_a_name_and_a_group(klever: Klever, onnx: Path, metric: str) -> None:
    assert klever("publish", onnx, "net:v1", "--metric", metric).code == 2
    assert klever("models", "--json").document == []


def test_a_reference_that_cannot_be_one_says_how_to_write_it(klever: Klever) -> None:
    assert "NAME[:TAG]" in klever("inspect", "a b:v1", "--json").error["nextStep"]
    error = klever("fetch", "a b:v1", "out", "--json").error
    assert (error["stage"], error["type"]) == ("reference", "InvalidReferenceError")
    assert "NAME[:TAG]" in error["nextStep"]


def test_a_digest_cannot_be_chosen_for_what_is_published(klever: Klever, onnx: Path) -> None:
    refused = klever("publish", onnx, f"net@{OTHER_DIGEST}", "--json")
    assert refused.error["type"] == "InvalidReferenceError"
    assert klever("models", "--json").document == []


def test_a_copy_does_not_claim_a_digest_that_it_has_not(klever: Klever, onnx: Path) -> None:
    digest = klever("publish", onnx, "net:v1", "--json").document["digest"]
    assert klever("copy", "net:v1", f"other:v1@{OTHER_DIGEST}", "--json").error["type"] == "InvalidReferenceError"
    assert klever("copy", "net:v1", f"other:v1@{digest}").code == 0
    assert klever("inspect", "other:v1", "--json").document["digest"] == digest


@pytest.mark.parametrize("host", ["https://", "harbor.example/project", "harbor", "a b"])
def test_credentials_are_for_a_host_as_references_name_it(klever: Klever, host: str) -> None:
    assert klever("login", host, "-u", "ada", "--password-stdin").code == 2


def test_a_host_may_be_given_as_the_address_in_a_browser(klever: Klever) -> None:
    assert "for harbor.example\n" in klever("logout", "https://harbor.example/").out


# Listings.


@pytest.mark.parametrize(
    ("prefix", "host", "name"),
    [
        ("net:v", "", "net:v"),
        ("net.large:v1", "", "net.large:v1"),
        ("vision/net:v", "", "vision/net:v"),
        ("localhost:5000", "localhost:5000", ""),
        ("localhost", "localhost", ""),
        ("127.0.0.1:5000", "127.0.0.1:5000", ""),
        ("[::1]:5000", "[::1]:5000", ""),
        ("harbor.example", "harbor.example", ""),
        ("harbor:443/vision/", "harbor:443", "vision/"),
        ("harbor.example/vision/net:v", "harbor.example", "vision/net:v"),
    ],
)
def test_a_prefix_is_split_into_host_and_name(prefix: str, host: str, name: str) -> None:
    place, rest = parse_prefix(prefix)
    assert (place.host, rest) == (host, name)


def test_a_listing_may_be_narrowed_to_the_beginning_of_a_tag(klever: Klever, onnx: Path) -> None:
    klever("publish", onnx, "net:v1")
    klever("tag", "net:v1", "stable")
    assert [entry["reference"] for entry in klever("models", "net:st", "--json").document] == ["net:stable"]


def test_a_prefix_that_nothing_has_is_not_taken_for_an_empty_store(klever: Klever, onnx: Path) -> None:
    klever("publish", onnx, "net:v1")
    assert "no models below vision/" in klever("models", "vision/").err


class Guarded(LayoutStore):
    """A store that, like many registries, lists its repositories for administrators only."""

    def repositories(self, prefix: str = "") -> Iterator[str]:
        raise UnauthorizedError("the list is for administrators")


class GuardedStores(Stores):
    def _make(self, reference: Reference) -> Store:
        store = super()._make(reference)
        assert isinstance(store, LayoutStore)
        return Guarded(store.directory)


@pytest.mark.parametrize("prefix", ["vision/net", "vision/net:", "vision/net:v"])
def test_a_repository_that_is_named_is_listed_where_the_catalog_is_closed(
    klever: Klever, onnx: Path, prefix: str
) -> None:
    klever("publish", onnx, "vision/net:v1")
    listed = list(list_models(Reference("", ""), prefix, GuardedStores()))
    assert [str(artifact.reference.tag) for artifact in listed] == ["v1"]


@pytest.mark.parametrize("prefix", ["", "vision/", "vision/n"])
def test_a_closed_catalog_is_told_where_no_repository_is_named(klever: Klever, onnx: Path, prefix: str) -> None:
    klever("publish", onnx, "vision/net:v1")
    with pytest.raises(UnauthorizedError, match="administrators"):
        list(list_models(Reference("", ""), prefix, GuardedStores()))


# Stores.


def test_a_layout_needs_no_name_for_the_one_model_in_it(klever: Klever, onnx: Path, tmp_path: Path) -> None:
    layout = f"oci:{tmp_path / 'layout'}"
    digest = klever("publish", onnx, layout, "--json").document["digest"]
    assert klever("inspect", layout, "--json").document["digest"] == digest
    assert [entry["reference"] for entry in klever("models", layout, "--json").document] == [f"{layout}:latest"]
    assert klever("copy", layout, f"{layout}-copy").code == 0
    assert klever("fetch", f"{layout}-copy", tmp_path / "out").code == 0


def test_a_layout_without_any_name_is_read_as_other_tools_write_it(klever: Klever, onnx: Path, tmp_path: Path) -> None:
    layout = f"oci:{tmp_path / 'layout'}"
    digest = klever("publish", onnx, layout, "--json").document["digest"]
    index = tmp_path / "layout" / "index.json"
    document = json.loads(index.read_text())
    del document["manifests"][0]["annotations"]
    index.write_text(json.dumps(document))

    assert klever("inspect", layout, "--json").document["digest"] == digest
    assert [entry["digest"] for entry in klever("models", layout, "--json").document] == [digest]
    assert klever("inspect", f"{layout}:v1", "--json").error["type"] == "NotFoundError"
    assert klever("publish", onnx, f"{layout}:v1").code == 0
    assert klever("inspect", layout, "--json").error["type"] == "NotFoundError"


@pytest.mark.parametrize("option", [[], ["--check"]])
def test_a_store_that_nobody_has_written_to_is_empty_not_broken(klever: Klever, option: list[str]) -> None:
    assert klever("gc", *option).code == 0
    assert not any(klever("gc", *option, "--json").document.values())


def test_deleting_from_an_empty_store_says_where_to_look(klever: Klever) -> None:
    error = klever("delete", "net:v1", "--json").error
    assert error["cause"] == "there is no net:v1 in this machine's store"
    assert "klever models" in error["nextStep"]


def test_a_home_with_a_tilde_is_in_the_users_directory() -> None:
    assert home_directory({"KLEVER_HOME": "~/models"}) == Path.home() / "models"
    assert home_directory({"KLEVER_HOME": "~nobody-of-this-name/models"}) == Path("~nobody-of-this-name/models")


# The machine.


@pytest.mark.parametrize("place", [".", "..", "~"])
def test_force_does_not_replace_the_directory_that_one_works_or_lives_in(
    klever: Klever, onnx: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    klever("publish", onnx, "net:v1")
    for name in ("home/ada/work", "elsewhere/inner"):
        (tmp_path / "disk" / name).mkdir(parents=True)
        (tmp_path / "disk" / name / "thesis.tex").write_text("years")
    monkeypatch.setenv("HOME", str(tmp_path / "disk" / "home" / "ada"))
    monkeypatch.chdir(tmp_path / "disk" / "elsewhere" / "inner")
    outcome = klever("fetch", "net:v1", Path(place).expanduser(), "--force", "--json")
    assert outcome.error["type"] == "AlreadyExistsError"
    assert len(list((tmp_path / "disk").rglob("thesis.tex"))) == 2


def test_names_that_no_archive_holds_are_to_be_changed_by_the_publisher(
    klever: Klever, onnx: Path, tmp_path: Path
) -> None:
    folder = tmp_path.joinpath("deep", *["d" * 200] * 11)
    folder.mkdir(parents=True)
    onnx.rename(folder / "net.onnx")
    error = klever("publish", tmp_path / "deep", "net:v1", "--json").error
    assert (error["stage"], error["type"]) == ("pack", "ArchiveError")
    assert "rename" in error["nextStep"]


def test_what_is_deleted_before_a_failure_is_told(klever: Klever, onnx: Path) -> None:
    klever("publish", onnx, "net:v1")
    outcome = klever("delete", "net:v1", "net:gone")
    assert outcome.code == 1
    assert outcome.out == "deleted net:v1\n"


def test_an_unusable_source_date_is_not_worth_another_try(
    klever: Klever, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    outcome = klever("publish", onnx, "net:v1", "--json")
    assert (outcome.code, outcome.error["temporary"]) == (1, False)
    assert outcome.error["nextStep"]


def test_an_interrupt_while_klever_starts_leaves_no_traceback() -> None:
    code = """
import sys

class Interrupted:
    def find_spec(name, path, target=None):
        if name == "klever.api.cli.run":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupted)
from klever.api.cli import main
main()
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, "")


def test_every_error_that_a_user_may_see_says_what_to_do_next() -> None:
    # These are raised with a next step of their own everywhere: it depends on the files.
    own = {"UnrecognisedFormatError", "AmbiguousFormatError", "MissingFilesError"}
    bases = {"KleverError", "PermanentError", "TemporaryError", "ModelError"}
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, KleverError) and name not in own | bases:
            assert kind.usual_step, name
