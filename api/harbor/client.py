"""Harbor's REST interface v2.0: documents asked for, listings page by page, refusals as our own errors.

    with Harbor("https://harbor.example", Credentials("robot$release+klever", secret)) as harbor:
        for artifact in harbor.artifacts_of("release"):
            ...

Basic authentication goes with every request, to Harbor's own address alone: no redirect is followed and no cookie kept.
What does not belong here: the registry's own interface below ``/v2/`` (`klever.steps.oci.registry`), and what is to be
set up in a Harbor. Source: ``api/v2.0/swagger.yaml`` of Harbor 2.16, and recordings of one.
"""

import json
import re
from collections import deque
from collections.abc import Collection, Generator, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, NoReturn, Self
from urllib.parse import quote, urlencode, urlsplit

from klever.api.harbor import errors
from klever.steps.errors import KleverError, RegistryRefusedError, RegistryUnavailableError
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.http import Response, Retry, Timeouts, Transport, read_capped, worth_retrying
from klever.steps.oci.session import ApiError
from klever.steps.oci.trust import Origin, clean_url

Document = dict[str, Any]

#: The most that Harbor gives at once (swagger: ``page_size``).
PAGE: Final = 100
#: Pages of one listing; who answers with more is not followed for ever.
_MAX_PAGES: Final = 10_000
#: Pages that are asked for before those in front of them were read.
_AHEAD: Final = 4
#: The longest answer that is read, in bytes. Artifacts are listed with their configs, which have some kilobytes, and
#: 8 MiB at most: a page that is too long is asked for in tenths, down to one entry, for which there is more room.
_MAX_ANSWER_BYTES: Final = 4 << 20
_MAX_SINGLE_BYTES: Final = 16 << 20
_PARTS: Final = 10
_MAX_ERROR_BYTES: Final = 64 << 10
_ROOT: Final = "/api/v2.0"
#: A name that looks like a number is a name: ``project_name_or_id`` takes it for an id otherwise.
_BY_NAME: Final = {"X-Is-Resource-Name": "true"}
_NEXT: Final = re.compile(r'\brel\s*=\s*"?next"?', re.IGNORECASE)
_ID: Final = re.compile(r"/([0-9]{1,18})$", re.ASCII)


class Created(NamedTuple):
    """What a creation answers: the id at the end of ``Location``, and a document where there is one."""

    id: int | None
    document: Document


class Page(NamedTuple):
    """A page of a listing; ``total`` is None where the answer does not count."""

    items: list[Document]
    total: int | None
    more: bool


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    data: bytes


class Harbor:
    """One Harbor, as one user; safe to share between threads."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None = None,
        *,
        insecure: bool = False,
        ca_file: Path | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
    ) -> None:
        parts = urlsplit(url if "://" in url else f"https://{url}")
        try:
            self._origin = Origin.of(f"{parts.scheme}://{parts.netloc}")
        except RegistryRefusedError:
            raise errors.HarborRefusedError(
                f"{clean_url(url)!r} is not the address of a Harbor", next_step="write https://HOST[:PORT]"
            ) from None
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        #: As references name its registry: the host, and the port where it is not the scheme's own.
        self.registry_host = str(self._origin)
        self._credentials = credentials
        self._headers = {"Accept": "application/json"}
        if credentials is not None:
            self._headers["Authorization"] = f"Basic {credentials.basic}"
        self._transport = Transport(insecure=insecure, ca_file=ca_file, timeouts=timeouts, retry=retry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Harbor({self.url!r})"

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    # Documents.

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return a document; ``path`` is below ``/api/v2.0``, its parts quoted by `path_of`."""
        return self._document(self._ask("GET", path, query))

    def exists(self, path: str, query: Mapping[str, str] | None = None) -> bool:
        """Say whether HEAD finds something."""
        return self._ask("HEAD", path, query, accept=(200, 404)).status == 200

    def create(self, path: str, document: Mapping[str, Any]) -> Created:
        """POST a document, once: what was made by a first try that seemed to fail would hide its secret from a second.

        Raises `HarborConflictError` where it exists already.
        """
        answer = self._ask("POST", path, None, document, accept=(200, 201), retry=False)
        found = _ID.search(urlsplit(answer.headers.get("Location", "")).path)
        made = self._document(answer) if answer.data.strip() else {}
        return Created(int(found[1]) if found else None, made if isinstance(made, dict) else {})

    def replace(self, path: str, document: Mapping[str, Any]) -> None:
        """PUT a document."""
        self._ask("PUT", path, None, document)

    def change(self, path: str, document: Mapping[str, Any]) -> Any:
        """PATCH a document and return the answer's."""
        answer = self._ask("PATCH", path, None, document)
        return self._document(answer) if answer.data.strip() else None

    def delete(self, path: str) -> None:
        """DELETE what is there; raises `HarborNotFoundError`."""
        self._ask("DELETE", path, None)

    def accepts_credentials(self) -> bool:
        """Say whether Harbor knows the user and the password; no right is needed, and a public project shows it not.

        Recording ``users-current-as-robot``: a robot that logged in is told 412, a stranger 401.
        """
        return self._ask("GET", "/users/current", None, accept=(200, 401, 412)).status != 401

    # Listings.

    def page(self, path: str, query: Mapping[str, str] | None = None, *, number: int = 1, size: int = PAGE) -> Page:
        """Return one page of a listing, by default the first; raises `AnswerTooLongError`."""
        asked = {**(query or {}), "page": str(number), "page_size": str(size)}
        answer = self._ask("GET", path, asked, limit=_MAX_SINGLE_BYTES if size == 1 else _MAX_ANSWER_BYTES)
        items = self._document(answer)
        if items is None:
            # Go writes an empty list that was never made as null.
            items = []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            self._refuse(f"does not answer {path} with a list")
        counted = answer.headers.get("X-Total-Count", "")
        total = int(counted) if re.fullmatch("[0-9]{1,12}", counted, re.ASCII) else None
        linked = answer.headers.get("Link")
        if total is None and linked is None:
            more = len(items) >= size
        else:
            more = bool(_NEXT.search(linked or "")) or (total is not None and number * size < total)
        return Page(items, total, more and bool(items))

    def list_all(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Document]:
        """Yield the entries of a listing, a page in memory at a time.

        Addresses of ``Link`` are not followed: pages are asked for by their numbers. What is pushed meanwhile may make
        an entry come twice, what is deleted may hide one.
        """
        return self._pages(path, query, 1)

    def list_by(self, workers: Executor, path: str, query: Mapping[str, str] | None = None) -> Iterator[Document]:
        """Do as `list_all`, with pages asked for in advance by ``workers``, in their order."""
        try:
            first = self.page(path, query)
        except errors.AnswerTooLongError:
            yield from self._pages(path, query, 1)
            return
        yield from first.items
        if not first.more:
            return
        if first.total is None:
            yield from self._pages(path, query, 2)
            return
        last = -(-first.total // PAGE)
        if last > _MAX_PAGES:
            self._refuse(f"lists more than {_MAX_PAGES} pages of {path}")
        waiting: deque[tuple[int, Future[Page]]] = deque()
        for number in range(2, last + 1):
            waiting.append((number, workers.submit(self.page, path, query, number=number)))
            if len(waiting) > _AHEAD:
                yield from self._arrived(path, query, *waiting.popleft())
        while waiting:
            yield from self._arrived(path, query, *waiting.popleft())

    def projects(self) -> Iterator[Document]:
        """Yield the projects that the user sees: for a robot those that it may work in, and public ones."""
        return self.list_all("/projects", {"with_detail": "false"})

    def project(self, name: str) -> Document:
        """Return a project; raises `HarborNotFoundError`."""
        document = self.get(path_of("projects", name))
        if not isinstance(document, dict):
            self._refuse(f"does not answer with the project {name}")
        return document

    def repositories(self, project: str) -> Iterator[Document]:
        """Yield a project's repositories; ``name`` holds the project's name too."""
        return self.list_all(path_of("projects", project, "repositories"))

    def artifacts(self, project: str, repository: str) -> Iterator[Document]:
        """Yield the artifacts of a repository with their tags; ``repository`` is its name within the project."""
        path = f"{path_of('projects', project, 'repositories')}/{encode_repository(repository)}/artifacts"
        return self.list_all(path, {"with_tag": "true"})

    def artifact(self, project: str, repository: str, reference: str) -> Document:
        """Return the artifact under a tag or digest; raises `HarborNotFoundError`."""
        path = f"{path_of('projects', project, 'repositories')}/{encode_repository(repository)}/artifacts"
        document = self.get(path + path_of(reference))
        if not isinstance(document, dict):
            self._refuse("does not answer with an artifact")
        return document

    def artifacts_of(self, project: str, workers: Executor | None = None) -> Iterator[Document]:
        """Yield the artifacts of all repositories of a project with their tags (``listArtifactsOfProject``).

        What hangs on an artifact (signatures, certificates) is not listed. Raises `HarborNotFoundError`.
        """
        path, query = path_of("projects", project, "artifacts"), {"with_tag": "true"}
        return self.list_by(workers, path, query) if workers is not None else self.list_all(path, query)

    # How the above is done.

    def _pages(self, path: str, query: Mapping[str, str] | None, number: int) -> Iterator[Document]:
        while number <= _MAX_PAGES:
            if not (yield from self._entries(path, query, number, PAGE)):
                return
            number += 1
        self._refuse(f"lists more than {_MAX_PAGES} pages of {path}")

    def _entries(
        self, path: str, query: Mapping[str, str] | None, number: int, size: int
    ) -> Generator[Document, None, bool]:
        """Yield the entries of a page, in parts where it is too long; return whether more may follow.

        A single entry that is too long is passed over: no config that Klever reads makes one.
        """
        try:
            page = self.page(path, query, number=number, size=size)
        except errors.AnswerTooLongError:
            first = (number - 1) * _PARTS + 1
            for part in range(first, first + _PARTS) if size > 1 else ():
                if not (yield from self._entries(path, query, part, size // _PARTS)):
                    return False
            return True
        yield from page.items
        return page.more

    def _arrived(
        self, path: str, query: Mapping[str, str] | None, number: int, page: "Future[Page]"
    ) -> Iterator[Document]:
        try:
            yield from page.result().items
        except errors.AnswerTooLongError:
            yield from self._entries(path, query, number, PAGE)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Mapping[str, Any] | None = None,
        *,
        accept: Collection[int] = (200, 201),
        retry: bool = True,
        limit: int = _MAX_ANSWER_BYTES,
    ) -> _Answer:
        url = f"{self.url}{_ROOT}{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {**self._headers, **_BY_NAME}
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        try:
            response: Response = self._transport.exchange(
                method, url, headers=headers, body=data, retry=retry and method != "POST"
            )
            is_wanted = response.status in accept
            content = _read(response, limit) if is_wanted else _read_error(response)
        except RegistryUnavailableError as error:
            raise errors.HarborUnavailableError(error.cause.replace("the registry", "Harbor"), stage="harbor") from None
        except RegistryRefusedError as error:
            raise errors.HarborRefusedError(
                error.cause.replace("the registry", "Harbor"), stage="harbor", next_step=error.next_step
            ) from None
        if not is_wanted:
            self._raise_for(response.status, content, f"{method} {path}")
        return _Answer(response.status, response.headers, content)

    def _raise_for(self, status: int, content: bytes, asked: str) -> NoReturn:
        words = str(ApiError.parse(content))
        cause = f"Harbor at {self._origin} answers {status} to {asked}" + (f": {words}" if words else "")
        for secret in self._credentials.secrets if self._credentials else ():
            cause = cause.replace(secret, "[redacted]")
        kind: type[KleverError] = errors.HarborRefusedError
        if worth_retrying(status):
            kind = errors.HarborUnavailableError
        elif status in (401, 403):
            kind = errors.HarborUnauthorizedError
        elif status == 404:
            kind = errors.HarborNotFoundError
        elif status == 409:
            kind = errors.HarborConflictError
        raise kind(cause, stage="harbor")

    def _document(self, answer: _Answer) -> Any:
        try:
            return json.loads(answer.data)
        except (ValueError, RecursionError):
            self._refuse("does not answer with JSON")

    def _refuse(self, what: str) -> NoReturn:
        raise errors.HarborRefusedError(f"the server at {self._origin} {what}", stage="harbor")


def _read(response: Response, limit: int) -> bytes:
    try:
        return read_capped(response, limit)
    except RegistryRefusedError:
        raise errors.AnswerTooLongError(f"an answer of Harbor is longer than {limit} bytes", stage="harbor") from None


def _read_error(response: Response) -> bytes:
    """Return what an unwanted answer says; nothing where that is no short document."""
    try:
        return read_capped(response, _MAX_ERROR_BYTES)
    except KleverError:
        return b""


def path_of(*parts: str) -> str:
    """Return a path of names, each one part of it; raises `HarborRefusedError` for one that would lead elsewhere."""
    if not {"", ".", ".."}.isdisjoint(parts):
        raise errors.HarborRefusedError("Harbor has nothing without a name", next_step="check the names")
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def encode_repository(name: str) -> str:
    """Return a repository's name within its project as a part of a path: encoded twice (swagger)."""
    return quote(quote(name, safe=""), safe="")
