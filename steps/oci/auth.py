"""How credentials are presented to a registry: challenges, and tokens kept until they expire.

Sources: RFC 9110 section 11 (``WWW-Authenticate``), Docker's token specification (``distribution``'s
``spec/auth/token.md``, ``oauth.md``, ``scope.md``). What does not belong here: where credentials are kept.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from klever.steps.errors import RegistryRefusedError, RegistryUnavailableError, UnauthorizedError
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Body, Response, Transport, read_capped, worth_retrying
from klever.steps.oci.trust import Origin, check_realm

Scopes = frozenset[str]
#: Returns the credentials for a host and repository.
Find = Callable[[str, str], Credentials | None]

CLIENT_ID: Final = "klever"
#: The life of a token that does not tell one, in seconds (Docker's token specification).
_DEFAULT_LIFE: Final = 60.0
_MAX_LIFE: Final = 24 * 3600.0
_MAX_TOKEN_ANSWER: Final = 1 << 20
_MAX_TOKENS: Final = 1000

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_RUN: Final = re.compile(_NAME, re.ASCII)
_PARAMETER: Final = re.compile(rf'({_NAME})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))', re.ASCII)
_SCHEME: Final = re.compile(rf"({_NAME})(?:[ \t]+|(?=,)|$)", re.ASCII)
_TOKEN68: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*(?=[ \t]*(?:,|$))", re.ASCII)
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True)
class Challenge:
    """One way in that a server offers: a scheme in lower case and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Parse the values of ``WWW-Authenticate``, each of which may hold several challenges; skip what is none."""
    challenges: list[Challenge] = []
    for value in values:
        position = 0
        while position < len(value):
            if value[position] in " \t,":
                position += 1
            elif challenges and (match := _PARAMETER.match(value, position)):
                name, quoted, plain = match.groups()
                text = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                challenges[-1].parameters.setdefault(name.lower(), text)
                position = match.end()
            elif match := _SCHEME.match(value, position):
                challenges.append(Challenge(match[1].lower(), {}))
                position = match.end()
                if not _PARAMETER.match(value, position) and (match := _TOKEN68.match(value, position)):
                    position = match.end()
            else:
                # No part of a name begins a challenge either.
                run = _RUN.match(value, position)
                position = run.end() if run else position + 1
    return challenges


def repository_scope(repository: str, *actions: str) -> str:
    """Return the scope for actions on a repository, by Docker's grammar."""
    return f"repository:{repository}:{','.join(actions)}"


#: The scope for listing repositories.
CATALOG_SCOPE: Final = "registry:catalog:*"


def join_scopes(*groups: Iterable[str]) -> Scopes:
    """Unite scopes, so that each resource occurs once with all its actions."""
    actions: dict[str, set[str]] = {}
    for group in groups:
        for scope in group:
            resource, colon, verbs = scope.rpartition(":")
            if colon:
                actions.setdefault(resource, set()).update(verbs.split(","))
    return frozenset(f"{resource}:{','.join(sorted(verbs))}" for resource, verbs in actions.items())


def _covers(granted: Scopes, wanted: Scopes) -> bool:
    return join_scopes(granted, wanted) == granted


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    scopes: Scopes
    expires: float


class Clock(Protocol):
    """A monotonic clock in seconds."""

    def __call__(self) -> float:
        """Return the time."""


class Authorizer:
    """What one registry asks for and has been given; safe to share between threads.

    Credentials are looked up when the registry first asks, not before.
    """

    def __init__(
        self,
        host: str,
        origin: Origin,
        transport: Transport,
        find: Find,
        *,
        token_hosts: Collection[str] = (),
        clock: Clock = time.monotonic,
    ) -> None:
        self._host = host
        self._origin = origin
        self._transport = transport
        self._find = find
        self._token_hosts = frozenset(token_hosts)
        self._clock = clock
        self._lock = threading.RLock()
        self._basic: dict[str, str] = {}
        self._tokens: list[_Token] = []
        self._bearer: dict[str, str] | None = None
        self._secrets: set[str] = set()
        self._renewed: dict[str, str] = {}

    def header(self, scopes: Scopes, repository: str = "") -> str | None:
        """Return the ``Authorization`` to begin a request with: what is known already, or asked for in advance."""
        with self._lock:
            if repository in self._basic:
                return self._basic[repository]
            now = self._clock()
            self._tokens = [token for token in self._tokens if token.expires > now]
            for token in self._tokens:
                if _covers(token.scopes, scopes):
                    return f"Bearer {token.value}"
            if self._bearer is None:
                return None
            return self._fetch(self._bearer, scopes, repository)

    def answer(self, values: Collection[str], scopes: Scopes, repository: str, refused: str | None) -> str:
        """Return the ``Authorization`` that answers a challenge after ``refused``; raises `UnauthorizedError`."""
        challenges = parse_challenges(values)
        with self._lock:
            bearer = next((one for one in challenges if one.scheme == "bearer" and one.parameters.get("realm")), None)
            if bearer is not None:
                self._bearer = bearer.parameters
                self._tokens = [token for token in self._tokens if f"Bearer {token.value}" != refused]
                asked = bearer.parameters.get("scope", "").split()
                return self._fetch(bearer.parameters, join_scopes(scopes, asked), repository)
            if any(one.scheme == "basic" for one in challenges):
                return self._answer_basic(repository, refused)
        schemes = ", ".join(sorted({one.scheme[:20] for one in challenges})) or "nothing"
        raise UnauthorizedError(
            f"the registry {self._host} wants a log-in by {schemes}: Basic and Bearer are known here"
        )

    def redact(self, text: str) -> str:
        """Return ``text`` without any secret that went through here."""
        with self._lock:
            secrets = self._secrets | {token.value for token in self._tokens}
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "[redacted]")
        return text

    def _answer_basic(self, repository: str, refused: str | None) -> str:
        credentials = self._credentials(repository)
        if credentials is None or not credentials.password:
            raise self.unauthorized(f"the registry {self._host} wants a user and a password")
        header = f"Basic {credentials.basic}"
        if header == refused:
            self._basic.pop(repository, None)
            raise self.unauthorized(
                f"the registry {self._host} does not accept the password of {credentials.username!r}"
            )
        self._basic[repository] = header
        return header

    def unauthorized(self, cause: str) -> UnauthorizedError:
        """Return the error that asks for a log-in."""
        return UnauthorizedError(self.redact(cause), next_step=f"log in with: klever login {self._host}")

    def _credentials(self, repository: str) -> Credentials | None:
        credentials = self._find(self._host, repository)
        if credentials is not None:
            self._secrets.update(credentials.secrets)
        return credentials

    def _fetch(self, parameters: dict[str, str], scopes: Scopes, repository: str) -> str:
        """Ask the token server, which has to be one that may be asked, for a token of ``scopes``."""
        realm = parameters["realm"]
        check_realm(self._origin, realm, self._token_hosts)
        credentials = self._credentials(repository)
        query: list[tuple[str, str]] = []
        if service := parameters.get("service"):
            query.append(("service", service))
        headers, body, method, url = {"Accept": "application/json"}, None, "GET", realm
        if credentials is not None and credentials.identity_token:
            token = self._renewed.get(credentials.identity_token, credentials.identity_token)
            query += [("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", token)]
            query.append(("scope", " ".join(sorted(scopes))))
            method, body = "POST", urlencode(query).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            query += [("scope", scope) for scope in sorted(scopes)]
            if credentials is not None and credentials.password:
                query.append(("account", credentials.username))
                headers["Authorization"] = f"Basic {credentials.basic}"
            parts = urlsplit(realm)
            joined = "&".join(part for part in (parts.query, urlencode(query)) if part)
            url = urlunsplit(parts._replace(query=joined, fragment=""))
        answer = self._ask(method, url, headers, body)
        return self._keep(answer, scopes, credentials)

    def _ask(self, method: str, url: str, headers: dict[str, str], body: Body | None) -> dict[str, Any]:
        server = Origin.of(url)
        response: Response = self._transport.exchange(method, url, headers=headers, body=body)
        status = response.status
        data = read_capped(response, _MAX_TOKEN_ANSWER)
        if worth_retrying(status):
            raise RegistryUnavailableError(f"the token server {server} of {self._host} answers {status}")
        if status in (400, 401, 403):
            raise self.unauthorized(
                f"the token server {server} of {self._host} does not accept the credentials ({status})"
            )
        try:
            answer = json.loads(data) if status == 200 else None
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise RegistryRefusedError(f"the token server {server} of {self._host} answers {status} without a token")
        return answer

    def _keep(self, answer: dict[str, Any], scopes: Scopes, credentials: Credentials | None) -> str:
        value = answer.get("token") or answer.get("access_token")
        if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
            raise RegistryRefusedError(f"the token server of {self._host} gave no usable token")
        life = answer.get("expires_in")
        seconds = float(life) if type(life) is int and 0 < life <= _MAX_LIFE else _DEFAULT_LIFE
        renewed = answer.get("refresh_token")
        if credentials is not None and credentials.identity_token and isinstance(renewed, str) and renewed:
            self._renewed[credentials.identity_token] = renewed
            self._secrets.add(renewed)
        # A tenth less than the server says, so that a token does not expire on its way.
        self._tokens = [*self._tokens[-_MAX_TOKENS:], _Token(value, scopes, self._clock() + seconds * 0.9)]
        return f"Bearer {value}"
