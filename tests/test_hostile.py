"""Hostile models, stores and disks through the command line: an exit code and a sentence, nothing half done."""

import gzip
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from klever.api.cli.run import run
from klever.steps.files import BytesSource
from klever.steps.oci import media
from klever.steps.oci.archive import Archive, PackMember
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.manifest import build_manifest

Told = Callable[..., tuple[int, str, str]]


@pytest.fixture
def klever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Run a command and return its exit code and what it said; nothing it says may steer a terminal."""
    monkeypatch.setenv("KLEVER_HOME", str(tmp_path / "home"))

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert not {"\x1b", "\x07", "\x9b"} & set(out + err)
        assert "Traceback" not in err
        return code, out, err

    return call


@pytest.fixture
def onnx(models: Path, tmp_path: Path) -> Path:
    """A small sound model."""
    model = next(path for path in sorted(models.glob("ONNX/*/model/*.onnx")) if _is_good(path))
    return Path(shutil.copy(model, tmp_path / "net.onnx"))


def _is_good(model: Path) -> bool:
    return '"error"' not in (model.parent.parent / "expected.json").read_text()


def put(directory: Path, config: bytes, layer: bytes = b"", annotations: dict[str, str] | None = None) -> str:
    """Make a layout with one artifact, and return its reference."""
    store = LayoutStore(directory)
    config_blob = replace(store.put_blob("m", lambda: (config,)), media_type=media.CONFIG)
    layer_blob = replace(store.put_blob("m", lambda: (layer,)), media_type=media.LAYER).annotated(annotations or {})
    store.put_manifest("m", build_manifest(config_blob, layer_blob), media.MANIFEST, tag="v1")
    return f"oci:{directory}:m:v1"


def packed(contents: dict[str, bytes]) -> tuple[bytes, Archive]:
    def member(path: str, data: bytes) -> PackMember:
        return PackMember(path, len(data), lambda: BytesSource(data))

    archive = Archive([member(path, data) for path, data in contents.items()])
    return b"".join(archive.chunks()), archive


READ = '"signature": {"inputs": [], "outputs": [], "layers": {"Conv": 1}}'


@pytest.mark.parametrize(
    "config",
    [
        '{"format": "ONNX", "x": NaN, %s}',
        '{"format": "ONNX", "x": 1e999, %s}',
        '{"format": "ONNX", "x": ' + "9" * 4200 + ", %s}",
        '{"format": "ONNX", "x": "\\ud800", %s}',
        '{"format": "ONNX", "\\ud800": "x", %s}',
        '{"format": "ONNX", "labels": {"\\ud800": "x"}, %s}',
        '{"format": "ONNX", "x": ' + "[" * 300 + "]" * 300 + ", %s}",
        '{"format": "ONNX", "x": ' + "[" * 50_000 + "]" * 50_000 + ", %s}",
        '{"format": "ONNX", "format": "Keras", %s}',
        '{"format": "ONNX", "x": [' + "0," * 250_000 + "0], %s}",
        '{"format": null, %s}',
        '{"format": ["ONNX"], %s}',
    ],
    ids=lambda config: config[:40],
)
def test_a_config_that_cannot_be_written_again_is_refused_by_every_command(
    klever: Told, tmp_path: Path, config: str
) -> None:
    reference = put(tmp_path / "layout", (config % READ).encode())
    begin = time.monotonic()
    for command in (["inspect", reference], ["inspect", "--json", reference], ["fetch", reference, tmp_path / "out"]):
        assert klever(*command)[0] == 1
    assert klever("models", f"oci:{tmp_path / 'layout'}")[0] == 0
    assert time.monotonic() - begin < 5
    assert not (tmp_path / "out").exists()


def test_text_that_steers_a_terminal_is_shown_escaped(klever: Told, tmp_path: Path) -> None:
    evil = "\x1b[2J\n\x07\x9b\u202e"
    document = {
        "format": f"ON{evil}NX",
        "framework": evil,
        "author": evil,
        "description": evil,
        "labels": {evil: evil},
        "facts": {evil: [evil]},
        "signature": {"inputs": [{"name": evil, "dType": evil, "size": [10**40]}], "layers": {evil: 1}},
    }
    reference = put(tmp_path / "layout", json.dumps(document).encode(), packed({"model/a": b"a"})[0])
    code, out, _ = klever("inspect", reference)
    assert code == 0
    assert "\u202e" not in out
    assert len([line for line in out.splitlines() if "author" in line]) == 1
    assert klever("models", f"oci:{tmp_path / 'layout'}")[0] == 0
    code, _, err = klever("publish", put_package(tmp_path / "package", document), "x:v1")
    assert code == 1
    assert "there is no format" in err


def put_package(directory: Path, document: dict[str, object]) -> Path:
    (directory / "model").mkdir(parents=True)
    (directory / "model" / "a").write_bytes(b"a")
    (directory / "ormbfile.yaml").write_text(json.dumps(document))
    return directory


def test_arguments_that_no_file_or_document_can_hold_are_refused(klever: Told, onnx: Path) -> None:
    for target in ("a" * 300, "./" + "a" * 300, "a\0b", "./a\0b", "a\udcff", "\x1b[2J"):
        assert klever("inspect", target)[0] == 1
    assert klever("publish", onnx, "x:v1", "--author", "a\udcff")[0] == 1
    assert klever("inspect", "x:v1")[0] == 1


def test_file_names_of_any_bytes_are_shown_and_refused_where_an_artifact_cannot_hold_them(
    klever: Told, onnx: Path, tmp_path: Path
) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n\x1b[2J.onnx")
    shutil.copy(onnx, odd)
    assert klever("inspect", odd)[0] == 0
    assert klever("inspect", "--json", odd)[0] == 0
    code, _, err = klever("publish", odd, "x:v1")
    assert code == 1
    assert "cannot stand in an artifact" in err


def test_what_is_no_regular_file_is_refused_at_once(klever: Told, tmp_path: Path) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    os.mkfifo(directory / "a.onnx")
    for target in (directory, directory / "a.onnx", "/dev/zero", "/dev/null"):
        code, _, err = klever("inspect", target)
        assert code == 1, err
    (directory / "a.onnx").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "s"))
        assert klever("inspect", directory)[0] == 1


@pytest.mark.parametrize(
    "head", [b"PK\x03\x04", b"\x80\x02", b"\x89HDF\r\n\x1a\n", b"GGUF\x03\0\0\0", b"\x08\x07", b"{", b"\x1f\x8b", b"P"]
)
def test_a_file_that_is_one_large_hole_costs_little(klever: Told, tmp_path: Path, head: bytes) -> None:
    begin = time.monotonic()
    for suffix in ("onnx", "h5", "pt", "pkl", "joblib", "gguf", "safetensors", "pmml", "keras"):
        path = tmp_path / f"a.{suffix}"
        with path.open("wb") as file:
            file.write(head)
            file.truncate(1 << 40)
        klever("inspect", path)
        path.unlink()
    assert time.monotonic() - begin < 15


def test_a_name_that_is_no_unicode_text_is_refused_before_it_is_shown(klever: Told, tmp_path: Path) -> None:
    model = {
        "version": [2, 0, 0],
        "learner": {
            "feature_names": ["a\ud800"],
            "feature_types": ["float"],
            "learner_model_param": {"num_feature": "1", "num_class": "0", "num_target": "1", "base_score": "5E-1"},
            "objective": {"name": "reg:squarederror"},
            "gradient_booster": {
                "name": "gbtree",
                "model": {"gbtree_model_param": {"num_trees": "0"}, "trees": [], "tree_info": []},
            },
        },
    }
    path = tmp_path / "model.json"
    path.write_text(json.dumps(model))
    for command in (["inspect", path], ["inspect", "--json", path], ["publish", path, "x:v1"]):
        code, _, err = klever(*command)
        assert code == 1
        assert "not Unicode text" in err


def test_an_index_that_hides_a_file_of_the_layer_is_not_believed(klever: Told, onnx: Path, tmp_path: Path) -> None:
    layer, archive = packed({"model/a.onnx": onnx.read_bytes(), "model/b.onnx": onnx.read_bytes()})
    index = replace(archive.index, entries=archive.index.entries[:1], total=1)
    reference = put(tmp_path / "layout", b'{"format": "ONNX"}', layer, {media.LAYER_INDEX: index.to_annotation()})
    code, _, err = klever("inspect", reference)
    assert code == 1
    assert "b.onnx" in err


def test_indexes_within_indexes_are_copied_to_a_depth_and_each_manifest_once(klever: Told, tmp_path: Path) -> None:
    reference = put(tmp_path / "layout", b'{"format": "Others"}', packed({"model/a": b"a"})[0])
    store = LayoutStore(tmp_path / "layout")
    child = store.get_manifest("m", "v1").descriptor
    for depth in range(5):
        document = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [child.to_json()] * 3000}
        child = store.put_manifest("m", json.dumps(document).encode(), media.INDEX, tag=f"wide{depth}")
    begin = time.monotonic()
    assert klever("copy", reference.replace(":v1", ":wide4"), f"oci:{tmp_path / 'copy'}:m:v1")[0] == 0
    assert time.monotonic() - begin < 5
    for _ in range(12):
        data = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [child.to_json()]}).encode()
        child = store.put_manifest("m", data, media.INDEX, tag="deep")
        store.put_manifest("m", data, media.INDEX, tag=child.digest[-12:])
    code, _, err = klever("copy", reference.replace(":v1", ":deep"), f"oci:{tmp_path / 'copy'}:m:v2")
    assert code == 1
    assert "nested deeper" in err


@pytest.mark.parametrize("what", ["index.json", "blobs"])
def test_a_layout_of_pipes_does_not_hang(klever: Told, tmp_path: Path, what: str) -> None:
    reference = put(tmp_path / "layout", b'{"format": "ONNX"}', b"x")
    for path in [tmp_path / "layout" / what] if what == "index.json" else (tmp_path / "layout/blobs/sha256").iterdir():
        path.unlink()
        os.mkfifo(path)
    for command in (["inspect", reference], ["fetch", reference, tmp_path / "out"], ["copy", reference, "a:b"]):
        assert klever(*command)[0] == 1


def test_a_layouts_private_directory_that_is_a_link_or_holds_pipes_harms_nothing(klever: Told, tmp_path: Path) -> None:
    put(tmp_path / "layout", b'{"format": "ONNX"}', b"x")
    private = tmp_path / "layout" / ".klever"
    for name in ("blob-x", "lease-x"):
        os.mkfifo(private / name)
    assert klever("gc", tmp_path / "layout")[0] == 0
    shutil.rmtree(private)
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "blob-1").write_text("not ours")
    private.symlink_to(victim)
    assert klever("gc", tmp_path / "layout")[0] == 1
    assert (victim / "blob-1").read_text() == "not ours"
    assert klever("inspect", f"oci:{tmp_path / 'layout'}:m:v1")[0] == 1


def test_a_listing_of_thousands_of_versions_reads_the_index_once(klever: Told, tmp_path: Path) -> None:
    put(tmp_path / "layout", b'{"format": "ONNX"}', b"x")
    path = tmp_path / "layout" / "index.json"
    document = json.loads(path.read_bytes())
    entry = document["manifests"][0]
    document["manifests"] += [{**entry, "annotations": {media.REF_NAME: f"m:t{number}"}} for number in range(3000)]
    path.write_text(json.dumps(document))
    begin = time.monotonic()
    code, out, _ = klever("models", f"oci:{tmp_path / 'layout'}")
    assert code == 0
    assert len(out.splitlines()) == 3002
    assert time.monotonic() - begin < 10


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounting takes root on Linux")
def test_a_full_or_read_only_disk_is_a_temporary_error_and_leaves_nothing_half_done(
    klever: Told, onnx: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        big = tmp_path / "big.bin"
        big.write_bytes(os.urandom(6 << 20))
        assert klever("publish", big, "big:v1", "--format", "Others")[0] == 0
        assert klever("publish", onnx, f"oci:{small}/layout:net:v1")[0] == 0
        before = (small / "layout" / "index.json").read_bytes()
        for command in (
            ["publish", big, f"oci:{small}/layout:big:v1", "--format", "Others"],
            ["copy", "big:v1", f"oci:{small}/layout:big:v1"],
            ["fetch", "big:v1", small / "out"],
        ):
            assert klever(*command)[0] == 75
        assert [path.name for path in small.iterdir()] == ["layout"]
        assert (small / "layout" / "index.json").read_bytes() == before
        with (small / "fill").open("wb", buffering=0) as fill:
            try:
                while fill.write(bytes(4096)):
                    pass
            except OSError:
                pass
        for command in (
            ["tag", f"oci:{small}/layout:net:v1", "v2"],
            ["delete", f"oci:{small}/layout:net:v1"],
            ["fetch", "big:v1", small / "out"],
        ):
            assert klever(*command)[0] == 75
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        for command in (
            ["publish", onnx, f"oci:{small}/layout:net:v2"],
            ["copy", "big:v1", f"oci:{small}/other:big:v1"],
            ["fetch", "big:v1", small / "out"],
            ["gc", small / "layout"],
        ):
            assert klever(*command)[0] == 75
        assert klever("inspect", f"oci:{small}/layout:net:v1")[0] == 0
        assert not list(LayoutStore(small / "layout").check())
    finally:
        # Lazily: a mount that stays would be found by every later run of the tests.
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def test_standard_output_on_a_full_disk_is_a_temporary_error(onnx: Path) -> None:
    program = "import sys; from klever.api.cli.run import run; sys.exit(run(sys.argv[1:]))"
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", program, "inspect", str(onnx)], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 75
    assert "No space left" in ended.stderr


@pytest.mark.parametrize("name", ["a\x9b31m", "a\u202eb", "a\u2028b", "../a", "/a", "model/../../a", "a\\b"])
def test_a_layer_with_a_name_that_lies_is_refused_and_nothing_appears(klever: Told, tmp_path: Path, name: str) -> None:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo(name), BytesIO())
    reference = put(tmp_path / "layout", b'{"format": "Others"}', gzip.compress(buffer.getvalue()))
    before = sorted(tmp_path.iterdir())
    assert klever("fetch", reference, tmp_path / "out")[0] == 1
    assert sorted(tmp_path.iterdir()) == before
