"""The command line against real registries: plain, with TLS and passwords, with a token server."""

import hashlib
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from registries import PASSWORD, USER, Registry

from .conftest import Klever


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_model_goes_through_a_registry_and_comes_back_unchanged(
    klever: Klever, registry: Registry, onnx: Path, tmp_path: Path
) -> None:
    target = f"{registry.host}/vision/net:v1"
    published = klever("publish", "--plain-http", onnx, target, "--json")
    assert published.code == 0, published.err
    assert klever("inspect", "--plain-http", "--json", target).document["digest"] == published.document["digest"]
    local = klever("inspect", "--json", onnx).document["signature"]
    assert klever("inspect", "--plain-http", "--json", "--reread", target).document["signature"] == local
    (listed,) = klever("models", "--plain-http", "--json", f"{registry.host}/vision/").document
    assert listed["reference"] == target
    assert klever("fetch", "--plain-http", target, tmp_path / "out").code == 0
    assert digest(tmp_path / "out" / "model" / "net.onnx") == digest(onnx)


def test_copies_between_laptop_and_registry_keep_every_byte(
    klever: Klever, registry: Registry, onnx: Path, tmp_path: Path
) -> None:
    published = klever("publish", onnx, "net:v1", "--json").document["digest"]
    remote = f"{registry.host}/a/net:v1"
    assert klever("copy", "--plain-http", "net:v1", remote, "--json").document["digest"] == published
    mounted = f"{registry.host}/b/net:v1"
    assert klever("copy", "--plain-http", remote, mounted, "--json").document["digest"] == published
    assert klever("copy", "--plain-http", mounted, "again:v1", "--json").document["digest"] == published
    assert klever("gc", "--check").code == 0


def test_a_registry_without_tls_is_named_with_the_flag_that_helps(
    klever: Klever, registry: Registry, onnx: Path
) -> None:
    outcome = klever("publish", onnx, f"{registry.host}/net:v1", "--json")
    assert outcome.code != 0
    assert "--plain-http" in outcome.error["nextStep"]


def test_a_missing_model_and_a_dead_registry_are_told_apart(klever: Klever, registry: Registry, tmp_path: Path) -> None:
    missing = klever("fetch", "--plain-http", f"{registry.host}/no/such:v1", tmp_path / "out", "--json")
    assert (missing.code, missing.error["type"]) == (1, "NotFoundError")
    assert not (tmp_path / "out").exists()


def test_login_is_checked_kept_and_forgotten(
    klever: Klever, tls_registry: Registry, onnx: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ca = ("--ca-file", str(tls_registry.ca_file))
    target = f"{tls_registry.host}/vision/net:v1"
    refused = klever("publish", *ca, onnx, target, "--json")
    assert (refused.code, refused.error["type"]) == (1, "UnauthorizedError")
    assert f"klever login {tls_registry.host}" in refused.error["nextStep"]

    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    wrong = klever("login", *ca, tls_registry.host, "-u", USER, "--password-stdin")
    assert wrong.code == 1
    assert "check the user and the password" in wrong.err
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    logged_in = klever("login", *ca, tls_registry.host, "-u", USER, "--password-stdin")
    assert logged_in.code == 0, logged_in.err
    assert PASSWORD not in logged_in.out + logged_in.err
    assert klever("publish", *ca, onnx, target).code == 0
    assert klever("fetch", *ca, target, tmp_path / "out").code == 0

    assert klever("logout", tls_registry.host).code == 0
    assert klever("inspect", *ca, target).code == 1


def test_an_unknown_authority_is_refused(klever: Klever, tls_registry: Registry) -> None:
    outcome = klever("inspect", f"{tls_registry.host}/vision/net:v1", "--json")
    assert outcome.code != 0
    assert "certificate" in outcome.error["cause"].lower()
    assert "--ca-file" in outcome.error["nextStep"]


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="needs skopeo")
def test_skopeo_reads_the_layout_and_copies_it_through_the_registry(
    klever: Klever, registry: Registry, onnx: Path, tmp_path: Path
) -> None:
    klever("publish", onnx, f"oci:{tmp_path / 'layout'}:vision/net:v1")
    source = f"oci:{tmp_path / 'layout'}:vision/net:v1"
    raw = subprocess.run(["skopeo", "inspect", "--raw", source], check=True, capture_output=True).stdout
    manifest = json.loads(raw)
    assert manifest["layers"][0]["mediaType"] == "application/tar+gzip"
    remote = f"docker://{registry.host}/skopeo/net:v1"
    subprocess.run(["skopeo", "copy", "--dest-tls-verify=false", source, remote], check=True, capture_output=True)
    back = f"oci:{tmp_path / 'back'}:vision/net:v1"
    subprocess.run(["skopeo", "copy", "--src-tls-verify=false", remote, back], check=True, capture_output=True)
    assert klever("fetch", back, tmp_path / "out").code == 0
    assert digest(tmp_path / "out" / "model" / "net.onnx") == digest(onnx)
    nameless = f"oci:{tmp_path / 'nameless'}"
    subprocess.run(["skopeo", "copy", "--src-tls-verify=false", remote, nameless], check=True, capture_output=True)
    assert klever("inspect", nameless).code == 0
    reread = klever("inspect", "--json", "--plain-http", "--reread", f"{registry.host}/skopeo/net:v1")
    assert reread.document["format"] == "ONNX"


def test_a_signature_is_read_from_what_the_original_tool_pushed_to_a_registry(
    klever: Klever, registry: Registry, shared: Path
) -> None:
    for name in ("sklearn-model-v1", "savedmodel-fashion-v1", "pmml-model-v1"):
        source = f"oci:{shared / 'samples' / 'ormb-artifacts'}:{name}"
        target = f"{registry.host}/ormb/{name.removesuffix('-v1')}:v1"
        assert klever("copy", "--plain-http", source, target).code == 0
        there, here = klever("inspect", "--plain-http", "--json", target), klever("inspect", "--json", source)
        assert there.document["signature"] == here.document["signature"]
        assert there.document["signature"]["inputs"]


def test_a_token_server_in_front_of_the_registry_is_asked(
    klever: Klever, token_registry: Registry, onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = f"{token_registry.host}/vision/net:v1"
    assert klever("publish", "--plain-http", onnx, target).code == 1
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD))
    assert klever("login", "--plain-http", token_registry.host, "-u", USER, "--password-stdin").code == 0
    assert klever("publish", "--plain-http", onnx, target).code == 0
    assert klever("inspect", "--plain-http", "--reread", target).code == 0


def test_a_listing_without_tls_is_told_the_flag_that_helps(klever: Klever, registry: Registry) -> None:
    outcome = klever("models", registry.host, "--json")
    assert outcome.code != 0
    assert "--plain-http" in outcome.error["nextStep"]


def test_a_tag_that_is_not_there_cannot_be_deleted(klever: Klever, registry: Registry, onnx: Path) -> None:
    klever("publish", "--plain-http", onnx, f"{registry.host}/net:v1")
    error = klever("delete", "--plain-http", f"{registry.host}/net:gone", "--json").error
    if registry.version == "2.8":  # which removes no tag alone
        assert error["type"] == "RegistryRefusedError"
    else:
        assert error["type"] == "NotFoundError"
        assert error["cause"].startswith(f"there is no {registry.host}/net:gone")
    assert error["nextStep"]
