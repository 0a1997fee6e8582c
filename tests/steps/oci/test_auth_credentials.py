"""Credentials files and helpers of Docker and Podman."""

import base64
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from klever.steps.oci.credentials import (
    CredentialHelper,
    Credentials,
    CredentialsError,
    CredentialsFile,
    DockerCredentials,
    erase_credentials,
    save_credentials,
)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, **document: Any) -> CredentialsFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return CredentialsFile(path)


@pytest.mark.parametrize(
    "key",
    [
        "harbor.example",
        "https://harbor.example",
        "https://harbor.example/v1/",
        "http://harbor.example/v2/",
        "harbor.example/",
    ],
)
def test_a_host_is_found_under_every_old_spelling(tmp_path: Path, key: str) -> None:
    file = write(tmp_path / "config.json", auths={"other": auth("x", "y"), key: auth("alice", "a:b")})
    assert file.find("harbor.example") == Credentials("alice", "a:b")
    assert file.find("harbor.example:8443") is None


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_is_found_under_its_historic_name(tmp_path: Path, host: str) -> None:
    file = write(tmp_path / "config.json", auths={"https://index.docker.io/v1/": auth("alice", "pw")})
    assert file.find(host, "library/x") == Credentials("alice", "pw")


def test_the_longest_path_of_a_repository_wins(tmp_path: Path) -> None:
    file = write(
        tmp_path / "auth.json",
        auths={"h": auth("host", "1"), "h/team": auth("team", "2"), "h/team/model": auth("model", "3")},
    )
    for repository, user in (("team/model", "model"), ("team/other/deep", "team"), ("teams/x", "host"), ("", "host")):
        found = file.find("h", repository)
        assert found
        assert found.username == user


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"username": "alice", "password": "pw"}, Credentials("alice", "pw")),
        ({**auth("alice", ""), "identitytoken": "tok"}, Credentials(identity_token="tok")),
        (auth("<token>", "tok"), Credentials(identity_token="tok")),
        (auth("alice", "pw\0\0"), Credentials("alice", "pw")),
        ({}, None),
        ("text", None),
        (auth("", ""), None),
    ],
)
def test_entries_of_every_kind_are_read(tmp_path: Path, entry: object, expected: Credentials | None) -> None:
    assert write(tmp_path / "config.json", auths={"h": entry}).find("h") == expected


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "[" * 100_000,
        "\xff",
        '{"auths": {"h": {"auth": "%%"}}}',
        '{"auths": {"h": {"auth": 7}}}',
        '{"auths": {"h": {"identitytoken": 7}}}',
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_never_shown(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(CredentialsError, match=r"config\.json"):
        CredentialsFile(path).find("h")


@pytest.mark.parametrize("document", [{}, {"auths": None}, {"auths": [], "credHelpers": 7, "credsStore": ["x"]}])
def test_odd_files_without_credentials_have_none(tmp_path: Path, document: dict[str, Any]) -> None:
    assert write(tmp_path / "config.json", **document).find("h") is None
    assert CredentialsFile(tmp_path / "absent").find("h") is None


def test_saving_keeps_everything_else_and_is_for_the_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "docker" / "config.json"
    file = write(path, auths={"other": auth("x", "y")}, proxies={"default": {}}, HttpHeaders={"A": "b"})
    path.chmod(0o644)
    file.save("h", Credentials("alice", "p:w"))
    document = json.loads(path.read_text())
    assert document["auths"]["other"] == auth("x", "y")
    assert document["proxies"] == {"default": {}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.find("h") == Credentials("alice", "p:w")
    assert os.listdir(path.parent) == ["config.json"]  # noqa: PTH208
    assert file.erase("h") is True
    assert file.erase("h") is False
    assert file.find("h") is None
    assert file.find("other") == Credentials("x", "y")


def test_saving_into_a_file_that_is_not_json_destroys_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("{broken")
    with pytest.raises(CredentialsError):
        CredentialsFile(path).save("h", Credentials("alice", "pw"))
    assert path.read_text() == "{broken"


def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.json", tmp_path / "config.json"
    real.write_text("{}")
    link.symlink_to(real)
    CredentialsFile(link).save("h", Credentials("alice", "pw"))
    assert link.is_symlink()
    assert CredentialsFile(real).find("h") == Credentials("alice", "pw")


def test_the_files_are_those_that_the_environment_names(tmp_path: Path) -> None:
    write(tmp_path / "d" / "config.json", auths={"one": auth("docker", "pw")})
    write(
        tmp_path / "run" / "containers" / "auth.json", auths={"one": auth("podman", "pw"), "two": auth("podman", "pw")}
    )
    write(tmp_path / "explicit.json", auths={"three": auth("explicit", "pw"), "one": auth("explicit", "pw")})
    environment = {
        "HOME": str(tmp_path),
        "DOCKER_CONFIG": str(tmp_path / "d"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
    }
    users = [DockerCredentials.from_environment(environment).find(host) for host in ("one", "two", "three")]
    assert users == [Credentials("docker", "pw"), Credentials("podman", "pw"), None]
    environment["REGISTRY_AUTH_FILE"] = str(tmp_path / "explicit.json")
    assert DockerCredentials.from_environment(environment).find("one") == Credentials("explicit", "pw")


def test_a_log_in_and_out_of_this_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE"):
        monkeypatch.delenv(name, raising=False)
    save_credentials("h", Credentials("alice", "pw"))
    assert (tmp_path / ".docker" / "config.json").exists()
    assert DockerCredentials.from_environment().find("h") == Credentials("alice", "pw")
    assert erase_credentials("h") is True
    assert erase_credentials("h") is False


# Helpers

HELPER = """#!{python}
import json, pathlib, sys, time
store = pathlib.Path({store!r})
known = json.loads(store.read_text()) if store.exists() else {{}}
text = sys.stdin.read()
if sys.argv[1] == "get":
    if text == "slow": time.sleep(30)
    if text == "crash": sys.exit("secret-of-the-helper")
    if text == "junk": print("no json"); sys.exit(0)
    if text not in known: print("credentials not found in native keychain"); sys.exit(1)
    print(json.dumps(known[text]))
elif sys.argv[1] == "store":
    entry = json.loads(text); known[entry["ServerURL"]] = entry; store.write_text(json.dumps(known))
else:
    known.pop(text, None); store.write_text(json.dumps(known))
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a helper called ``test``."""
    store = tmp_path / "store.json"
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER.format(python=sys.executable, store=str(store)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return store


def test_a_default_helper_keeps_and_gives_credentials(tmp_path: Path, helper: Path) -> None:
    file = write(tmp_path / "config.json", credsStore="test")
    assert file.find("h") is None
    file.save("h", Credentials("alice", "pw"))
    file.save("i", Credentials(identity_token="tok"))
    assert "pw" not in file.path.read_text()
    assert file.find("h") == Credentials("alice", "pw")
    assert file.find("i") == Credentials(identity_token="tok")
    file.erase("h")
    assert file.find("h") is None
    assert "h" not in json.loads(helper.read_text())


def test_a_helper_of_one_host_is_asked_for_that_host_alone(tmp_path: Path, helper: Path) -> None:
    helper.write_text(json.dumps({"h": {"Username": "alice", "Secret": "pw"}}))
    file = write(tmp_path / "config.json", credHelpers={"h": "test"}, auths={"i": auth("bob", "pw")})
    assert file.find("h") == Credentials("alice", "pw")
    assert file.find("i") == Credentials("bob", "pw")


@pytest.mark.parametrize("name", ["absent", "../test", "test;id", ""])
def test_a_helper_that_is_not_there_or_no_name_is_an_error(tmp_path: Path, helper: Path, name: str) -> None:
    with pytest.raises(CredentialsError) as failed:
        CredentialHelper(name).get("h")
    assert failed.value.next_step


@pytest.mark.parametrize("host", ["slow", "crash", "junk"])
def test_a_helper_that_fails_is_an_error_without_its_words(helper: Path, host: str) -> None:
    with pytest.raises(CredentialsError) as failed:
        CredentialHelper("test", timeout_seconds=0.5).get(host)
    assert "secret-of-the-helper" not in str(failed.value)


def test_a_repr_shows_no_secret() -> None:
    text = repr(Credentials("alice", "pa55", "t0ken"))
    assert "pa55" not in text
    assert "t0ken" not in text


@pytest.mark.parametrize("field", ["username", "password", "identity_token"])
def test_text_that_no_request_can_carry_is_refused_without_showing_it(field: str) -> None:
    with pytest.raises(CredentialsError, match="not UTF-8") as caught:
        Credentials(**{field: "secret\ud800"})
    assert "secret" not in str(caught.value)
