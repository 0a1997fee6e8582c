"""Credentials as Docker, Podman and their helpers keep them.

    DockerCredentials.from_environment().find("harbor.example", "release/mnist")

Files: ``config.json`` of Docker and ``auth.json`` of containers (``containers-auth.json(5)``), whose keys may be a
host, an old address such as ``https://index.docker.io/v1/``, or a path below a host. Helpers are programs
``docker-credential-NAME`` that are asked on standard input (github.com/docker/docker-credential-helpers). What does
not belong here: how credentials are presented to a registry.
"""

import base64
import binascii
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from klever.steps.errors import UnauthorizedError, storage_error

if TYPE_CHECKING:
    from subprocess import CompletedProcess

#: Docker Hub's name in every credentials file.
_HUB_KEY: Final = "https://index.docker.io/v1/"
_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
#: What a helper and Docker's files give for a user where the secret is an identity token.
_TOKEN_USER: Final = "<token>"  # noqa: S105 - a marker, not a secret
_HELPER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_NOT_FOUND: Final = "credentials not found"
HELPER_TIMEOUT_SECONDS: Final = 30.0
_MAX_FILE_BYTES: Final = 8 << 20


class CredentialsError(UnauthorizedError):
    """A credentials file or helper cannot be used."""


@dataclass(frozen=True)
class Credentials:
    """A user with a password, or an identity token (an OAuth2 refresh token); secrets are not in the ``repr``."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        try:
            f"{self.username}{self.password}{self.identity_token}".encode()
        except UnicodeEncodeError:
            raise CredentialsError("the user or the password is not UTF-8 text") from None

    @property
    def basic(self) -> str:
        """User and password as basic authentication and Docker's configuration spell them (RFC 7617, section 2)."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        pair = self.basic if self.password else ""
        return tuple(secret for secret in (self.password, self.identity_token, pair) if secret)


@dataclass(frozen=True)
class CredentialHelper:
    """The program ``docker-credential-NAME``."""

    name: str
    timeout_seconds: float = HELPER_TIMEOUT_SECONDS

    def get(self, key: str) -> Credentials | None:
        """Ask for the credentials of a server address; None if it has none."""
        done = self._run("get", key)
        if done.returncode:
            if _NOT_FOUND in done.stdout.lower() or "no credentials" in done.stdout.lower():
                return None
            raise CredentialsError(f"the credential helper {self._program} failed with exit code {done.returncode}")
        try:
            answer = json.loads(done.stdout)
            user, secret = answer.get("Username", ""), answer["Secret"]
        except (ValueError, KeyError, AttributeError, RecursionError):
            raise CredentialsError(
                f"the credential helper {self._program} gave an answer that is not credentials"
            ) from None
        if not isinstance(user, str) or not isinstance(secret, str) or not secret:
            return None
        return Credentials(identity_token=secret) if user == _TOKEN_USER else Credentials(user, secret)

    def store(self, key: str, credentials: Credentials) -> None:
        """Keep credentials under a server address."""
        user, secret = credentials.username, credentials.password
        if credentials.identity_token:
            user, secret = _TOKEN_USER, credentials.identity_token
        done = self._run("store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
        if done.returncode:
            raise CredentialsError(f"the credential helper {self._program} did not store the credentials")

    def erase(self, key: str) -> None:
        """Forget a server address; that it was not there is no error."""
        self._run("erase", key)

    @property
    def _program(self) -> str:
        return f"docker-credential-{self.name}"

    def _run(self, verb: str, text: str) -> "CompletedProcess[str]":
        # Most configurations name no program, and a short command pays for what it imports.
        import shutil
        import subprocess

        program = shutil.which(self._program) if _HELPER_NAME.fullmatch(self.name) else None
        if program is None:
            raise CredentialsError(
                f"the credential helper {self._program[:60]!r}, which the credentials file names, is not there",
                next_step="install the helper, or take credsStore and credHelpers out of the credentials file",
            )
        try:
            return subprocess.run(  # noqa: S603 - a program that the user's own configuration names
                [program, verb],
                input=text,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self.timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CredentialsError(
                f"the credential helper {self._program} did not answer in {self.timeout_seconds:g} s"
            ) from None
        except OSError as error:
            raise CredentialsError(f"the credential helper {self._program} cannot be run: {error.strerror}") from None


@dataclass(frozen=True)
class CredentialsFile:
    """One file of credentials; a file that does not exist is an empty one."""

    path: Path

    def find(self, host: str, repository: str = "") -> Credentials | None:
        """Return the credentials for a host, or for the longest of its paths that holds ``repository``."""
        document = self._read()
        for helper, key in _helpers(document, host):
            if found := helper.get(key):
                return found
        entries = _mapping(document.get("auths"))
        by_name = {_plain_key(key): entry for key, entry in entries.items()}
        for key in _keys(host, repository):
            entry = entries.get(key) or by_name.get(key)
            if isinstance(entry, dict) and (found := self._decode(entry, key)):
                return found
        return None

    def save(self, host: str, credentials: Credentials) -> None:
        """Keep credentials for a host: by the file's helper where it names one, else in the file, with mode 0600."""
        document = self._read()
        key = _HUB_KEY if host in _HUB_HOSTS else host
        helpers = list(_helpers(document, host))
        entry: dict[str, str] = {}
        if helpers:
            helpers[0][0].store(helpers[0][1], credentials)
        else:
            if credentials.username or credentials.password:
                entry["auth"] = credentials.basic
            if credentials.identity_token:
                entry["identitytoken"] = credentials.identity_token
        document["auths"] = {**_mapping(document.get("auths")), key: entry}
        self._write(document)

    def erase(self, host: str) -> bool:
        """Forget a host, by the helper and in the file; say whether the file had an entry of it."""
        document = self._read()
        for helper, key in _helpers(document, host):
            helper.erase(key)
        entries = _mapping(document.get("auths"))
        names = set(_keys(host, ""))
        kept = {key: entry for key, entry in entries.items() if key not in names and _plain_key(key) not in names}
        if len(kept) == len(entries):
            return False
        document["auths"] = kept
        self._write(document)
        return True

    def _decode(self, entry: Mapping[str, Any], key: str) -> Credentials | None:
        user, password = entry.get("username", ""), entry.get("password", "")
        if auth := entry.get("auth"):
            try:
                user, _, password = base64.b64decode(auth, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
                raise CredentialsError(f"the entry of {key} in {self.path} is not base64 of user:password") from None
            password = password.rstrip("\0")
        token = entry.get("identitytoken", "")
        if not all(isinstance(value, str) for value in (user, password, token)):
            raise CredentialsError(f"the entry of {key} in {self.path} is not text")
        if token:
            return Credentials(identity_token=token)
        if user == _TOKEN_USER:
            return Credentials(identity_token=password)
        return Credentials(user, password) if user and password else None

    def _read(self) -> dict[str, Any]:
        try:
            with self.path.open("rb") as file:
                data = file.read(_MAX_FILE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise CredentialsError(f"cannot read the credentials file {self.path}: {error.strerror}") from None
        try:
            document = json.loads(data) if data.strip() and len(data) <= _MAX_FILE_BYTES else {}
        except (ValueError, RecursionError):
            raise CredentialsError(f"the credentials file {self.path} is not JSON") from None
        if not isinstance(document, dict) or len(data) > _MAX_FILE_BYTES:
            raise CredentialsError(f"the credentials file {self.path} is not a JSON object")
        return document

    def _write(self, document: Mapping[str, Any]) -> None:
        import tempfile

        # A link is followed, so that a configuration kept elsewhere stays linked.
        target = self.path.resolve()
        staged = ""
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, staged = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # mode 0600
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent="\t")
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            Path(staged).replace(target)
        except OSError as error:
            if staged:
                with suppress(OSError):
                    Path(staged).unlink()
            raise storage_error(f"cannot write the credentials file {self.path}", error) from None


@dataclass(frozen=True)
class DockerCredentials:
    """The credentials files of this user, asked in order; the one of Docker is written."""

    files: tuple[CredentialsFile, ...]
    written: CredentialsFile

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Find the files by ``REGISTRY_AUTH_FILE``, ``DOCKER_CONFIG``, ``XDG_RUNTIME_DIR``, ``XDG_CONFIG_HOME``."""
        variables = os.environ if environment is None else environment
        home = Path(variables.get("HOME") or "~").expanduser()
        docker = Path(variables.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
        paths = [docker]
        if explicit := variables.get("REGISTRY_AUTH_FILE"):
            paths.insert(0, Path(explicit))
        if runtime := variables.get("XDG_RUNTIME_DIR"):
            paths.append(Path(runtime) / "containers" / "auth.json")
        paths.append(Path(variables.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json")
        return cls(tuple(CredentialsFile(path) for path in paths), CredentialsFile(docker))

    def find(self, host: str, repository: str = "") -> Credentials | None:
        """Return the first credentials that a file has for this place; raises `CredentialsError`."""
        for file in self.files:
            if found := file.find(host, repository):
                return found
        return None


def save_credentials(host: str, credentials: Credentials) -> None:
    """Keep credentials for later runs, where Docker would; raises `CredentialsError` or `StorageError`."""
    DockerCredentials.from_environment().written.save(host, credentials)


def erase_credentials(host: str) -> bool:
    """Forget the credentials of a host, in every file that has them; say whether one had."""
    erased = False
    for file in DockerCredentials.from_environment().files:
        erased |= file.erase(host)
    return erased


def _helpers(document: Mapping[str, Any], host: str) -> Iterator[tuple[CredentialHelper, str]]:
    """Yield the helper for a host with the key that it knows the host by: its own one, else the default one."""
    own = _mapping(document.get("credHelpers"))
    for key in _keys(host, ""):
        if isinstance(name := own.get(key), str) and name:
            yield CredentialHelper(name), key
            return
    if isinstance(name := document.get("credsStore"), str) and name:
        yield CredentialHelper(name), _HUB_KEY if host in _HUB_HOSTS else host


def _keys(host: str, repository: str) -> Iterator[str]:
    """Yield the keys under which a place may be, the most specific first."""
    for name in sorted(_HUB_HOSTS) if host in _HUB_HOSTS else [host]:
        path = f"{name}/{repository}" if repository else name
        while path != name:
            yield path
            path = path.rpartition("/")[0]
        yield name
    if host in _HUB_HOSTS:
        yield _HUB_KEY


def _plain_key(key: str) -> str:
    """Return a key without the scheme and API version that old clients wrote: ``https://host/v1/`` is ``host``."""
    return re.sub(r"/v[12]/?$", "", re.sub(r"^https?://", "", key)).rstrip("/")


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
