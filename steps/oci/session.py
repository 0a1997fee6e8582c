"""A conversation with one registry: requests that are authorised, follow redirects and end in our own errors.

What does not belong here: the requests of the distribution API themselves (`klever.steps.oci.registry`).
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn
from urllib.parse import urljoin

from klever.steps.errors import (
    KleverError,
    NotFoundError,
    RegistryRefusedError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from klever.steps.oci.auth import Authorizer, Scopes, join_scopes, repository_scope
from klever.steps.oci.http import Body, Response, Transport, read_capped, release, worth_retrying
from klever.steps.oci.trust import Origin, clean_url, follow

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS: Final = 5
_MAX_ERROR_BYTES: Final = 64 << 10
#: What of a registry's own words is shown, in characters.
_MAX_SHOWN: Final = 400


@dataclass(frozen=True)
class Access:
    """What a request needs: the repository that credentials are looked up for, and the scopes of a token."""

    repository: str = ""
    scopes: Scopes = frozenset()

    @classmethod
    def to(cls, repository: str, *actions: str) -> "Access":
        """Ask for actions on a repository."""
        return cls(repository, join_scopes([repository_scope(repository, *actions)]))

    def also(self, scope: str) -> "Access":
        """Ask for another scope as well."""
        return Access(self.repository, join_scopes(self.scopes, [scope]))


@dataclass(frozen=True)
class ApiError:
    """The registry's own words for a refusal (distribution specification, "Error Codes"), fit to be shown."""

    code: str = ""
    message: str = ""

    @classmethod
    def parse(cls, data: bytes) -> "ApiError":
        """Read an error document; anything else gives its text, or nothing if that is a web page."""
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            text = data.decode("utf-8", "replace")
            return cls() if "<" in text else cls("", clean_text(text))
        errors = document.get("errors") if isinstance(document, dict) else None
        first = errors[0] if isinstance(errors, list) and errors else document
        if not isinstance(first, dict):
            return cls()
        code, message, detail = (first.get(name) for name in ("code", "message", "detail"))
        if isinstance(detail, str) and detail and detail != message:
            message = f"{message}: {detail}" if message else detail
        return cls(clean_text(str(code or ""))[:60], clean_text(str(message or "")))

    def __str__(self) -> str:
        return ": ".join(part for part in (self.code, self.message) if part)


def clean_text(text: str) -> str:
    """Return foreign text on one line without control characters, shortened."""
    printable = "".join(character if character.isprintable() else " " for character in text[: 4 * _MAX_SHOWN])
    words = " ".join(printable.split())
    return words if len(words) <= _MAX_SHOWN else words[:_MAX_SHOWN] + "..."


class Session:
    """Requests to one registry."""

    def __init__(self, base: str, host: str, transport: Transport, authorizer: Authorizer) -> None:
        self.base = base
        self.host = host
        self.origin = Origin.of(base)
        self.transport = transport
        self.authorizer = authorizer

    def request(
        self,
        method: str,
        url: str,
        access: Access,
        *,
        accept: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        retry: bool = True,
        about: str = "",
    ) -> Response:
        """Send a request and return an answer whose status is in ``accept``; the caller reads and lets go of it.

        ``url`` is absolute or a path of this registry. A body that is a stream is sent once. ``about`` says in words
        what was asked for. Raises the error that another status means, see `raise_for_status`.
        """
        return self.locate(method, url, access, accept=accept, headers=headers, body=body, retry=retry, about=about)[0]

    def locate(
        self,
        method: str,
        url: str,
        access: Access,
        *,
        accept: Collection[int] = (200,),
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        retry: bool = True,
        about: str = "",
    ) -> tuple[Response, str]:
        """Do as `request` and return also the URL that the answer came from in the end."""
        target = urljoin(self.base, url)
        for _hop in range(MAX_REDIRECTS + 1):
            response = self._authorised(method, target, access, headers or {}, body, retry=retry)
            if response.status in accept:
                return response, target
            if response.status not in _REDIRECTS or not _may_follow(method, response.status, body):
                self.raise_for_status(response, about or f"{method} {clean_url(target)}")
            location = response.headers.get("Location", "")
            release(response)
            target = follow(target, location, "redirects")
        raise RegistryRefusedError(f"the registry {self.host} redirects more than {MAX_REDIRECTS} times")

    def raise_for_status(self, response: Response, about: str) -> NoReturn:
        """Raise what an unwanted answer means, in the registry's own words where it has some."""
        raise self.error(response.status, self.read_error(response), about)

    def read_error(self, response: Response) -> ApiError:
        """Read what an unwanted answer says, and let go of it."""
        try:
            return ApiError.parse(read_capped(response, _MAX_ERROR_BYTES))
        except KleverError:
            return ApiError()

    def error(self, status: int, said: ApiError, about: str) -> KleverError:
        """Return the error for a status."""
        words = f": {said}" if str(said) else ""
        cause = f"the registry {self.host} answers {status} to {about}{words}"
        if status == 404:
            cause = f"there is no {about}: the registry answers 404 ({said})" if words else f"there is no {about}"
        cause = self.authorizer.redact(cause)
        if worth_retrying(status):
            return RegistryUnavailableError(cause, next_step="try again later")
        if status == 404:
            return NotFoundError(cause)
        if status == 403 and re.search("quota|exceed", said.message, re.IGNORECASE):
            return RegistryRefusedError(cause, next_step="free space in the project, or ask for a larger quota")
        if status in (401, 403):
            return UnauthorizedError(cause, next_step=f"log in as a user who may do this: klever login {self.host}")
        next_step = ""
        if status == 400 and self.origin.scheme == "http" and "HTTPS server" in said.message:
            next_step = "leave out --plain-http: this registry speaks TLS"
        if status == 413:
            next_step = "the registry, or a proxy before it, limits the size of an upload: ask its operator"
        return RegistryRefusedError(cause, next_step=next_step)

    def _authorised(
        self, method: str, url: str, access: Access, headers: Mapping[str, str], body: Body | None, *, retry: bool
    ) -> Response:
        """Send a request, with credentials if it goes to the registry itself, and answer its challenge once."""
        if Origin.of(url) != self.origin:
            return self.transport.exchange(method, url, headers=headers, body=body, retry=retry)
        known = self.authorizer.header(access.scopes, access.repository)
        sent = {**headers, "Authorization": known} if known else headers
        response = self.transport.exchange(method, url, headers=sent, body=body, retry=retry)
        values = response.headers.getlist("WWW-Authenticate")
        if response.status != 401 or not values or (body is not None and not isinstance(body, bytes)):
            return response
        release(response)
        header = self.authorizer.answer(values, access.scopes, access.repository, known)
        return self.transport.exchange(
            method, url, headers={**headers, "Authorization": header}, body=body, retry=retry
        )

    def read_json(self, response: Response, limit: int) -> dict[str, Any]:
        """Read a JSON object of ``limit`` bytes at most; raises `RegistryRefusedError` for anything else."""
        data = read_capped(response, limit)
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise RegistryRefusedError(
                f"the server at {self.host} does not answer as a registry does (no JSON object)",
                next_step="check the address",
            )
        return document


def _may_follow(method: str, status: int, body: Body | None) -> bool:
    """Say whether a redirect keeps the meaning of a request (RFC 9110, section 15.4)."""
    if method in ("GET", "HEAD"):
        return True
    return status in (307, 308) and (body is None or isinstance(body, bytes))
