"""Bring a model here from where an administrator allows: a web server's address or a directory.

    >>> allowed = Allowed.parse(["https://models.example/released"])
    >>> allowed.check_url("https://models.example/released/resnet.onnx")

Who may name a source may be anybody, so nothing is opened but what lies below an allowed place, component by component,
wherever redirects and links lead. What does not belong here: who allows what; which files make a model.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final
from urllib.parse import unquote, urljoin, urlsplit

from klever.steps.errors import (
    ArchiveError,
    LimitExceededError,
    NotFoundError,
    PermanentError,
    RegistryRefusedError,
    RegistryUnavailableError,
    TemporaryError,
    at_stage,
    storage_error,
)
from klever.steps.oci.store import Progress
from klever.steps.oci.trust import Origin, clean_url
from klever.steps.recognise import MODEL_FOLDER, ORMBFILE, recognise
from klever.steps.transfer import Watch, unwatched

if TYPE_CHECKING:
    from klever.steps.oci.http import Response, Transport

#: As many as browsers follow at least (RFC 9110, section 15.4, warns of cycles).
_MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
#: What no web server takes, and more than any signed address has, in characters.
_MAX_URL_CHARS: Final = 16_384
#: The longest name of a file, in bytes (``NAME_MAX`` of Linux).
_MAX_NAME_BYTES: Final = 255
_CHUNK_BYTES: Final = 1 << 20
#: Archives that hold a package or a model's files; a ``.zip`` may be a model itself and is taken as a file.
_PACKED: Final = (".tar.gz", ".tgz")
_ARCHIVES: Final = (".tar", *_PACKED)
#: RFC 3986: what an address is made of; anything else, a space or a line end, has to be escaped.
_URL: Final = re.compile(r"[!#-;=?-\[\]_a-z~%]+", re.ASCII)
_STATUS_WORDS: Final = {401: "wants credentials", 403: "forbids it", 404: "has no such file", 410: "has it no more"}


class SourceRefusedError(PermanentError):
    """A source that nobody allowed, or that is none."""

    usual_step = "name a source below an allowed place, or ask the administrator to allow this one"


class SourceUnavailableError(TemporaryError):
    """The server of a source cannot be reached, breaks off or answers 429 or 5xx, after the retries."""

    usual_step = "try again later"


@dataclass(frozen=True)
class _Prefix:
    """An allowed part of a web server."""

    origin: Origin
    components: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Allowed:
    """The places that sources may come from; where there are none, nothing may."""

    prefixes: tuple[_Prefix, ...] = ()
    directories: tuple[Path, ...] = ()
    #: As the administrator wrote them.
    texts: tuple[str, ...] = field(default=())

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Allowed":
        """Take URL prefixes and absolute directories; raises `SourceRefusedError` for anything else."""
        texts = tuple(texts)
        prefixes, directories = [], []
        with at_stage("download"):
            for text in texts:
                if text.startswith("/"):
                    directories.append(Path(os.path.realpath(text)))
                    continue
                origin, components = _parse_url(text)
                if urlsplit(text).query:
                    raise SourceRefusedError(f"the allowed place {clean_url(text)} has a query")
                prefixes.append(_Prefix(origin, components, clean_url(text)))
        return cls(tuple(prefixes), tuple(directories), texts)

    def check_url(self, url: str) -> None:
        """Raise `SourceRefusedError` unless the address lies below an allowed one."""
        with at_stage("download"):
            origin, components = _parse_url(url)
            for prefix in self.prefixes:
                if prefix.origin == origin and components[: len(prefix.components)] == prefix.components:
                    return
            raise self._refused(clean_url(url))

    def check_path(self, path: Path) -> Path:
        """Return the real path, past all links; raises `SourceRefusedError` unless it lies in an allowed directory."""
        with at_stage("download"):
            real = Path(os.path.realpath(path))
            if any(real.is_relative_to(directory) for directory in self.directories):
                return real
            raise self._refused(str(path))

    def _refused(self, shown: str) -> SourceRefusedError:
        places = [prefix.text for prefix in self.prefixes] + [str(directory) for directory in self.directories]
        if not places:
            return SourceRefusedError(f"{shown} is not allowed as a source: no place is")
        return SourceRefusedError(f"{shown} is not below {' or '.join(places[:5])}, where sources may come from")


def download(
    source: str,
    allowed: Allowed,
    directory: Path,
    *,
    limit: int | None = None,
    transport: "Transport | None" = None,
    watch: Watch = unwatched,
) -> Path:
    """Return the local path of the model at ``source``: an http or https URL, or an absolute path.

    What lies in a directory is not copied. What comes from a server is streamed into ``directory``, resumed where it
    breaks, and unpacked where it is a tar archive; ``limit`` bounds its bytes. Raises `SourceRefusedError` for what is
    not allowed, `SourceUnavailableError` where the server fails for now, `NotFoundError`, `LimitExceededError`,
    `ArchiveError` and what the disk refuses.
    """
    with at_stage("download"):
        if "://" not in source:
            if not source.startswith("/") or "\0" in source:
                raise SourceRefusedError(f"{source[:140]!r} is neither an http or https URL nor an absolute path")
            path = allowed.check_path(Path(source))
            if not path.exists():
                raise NotFoundError(f"there is no {source}", next_step="check the path")
            return path
        name = _file_name(source)
        allowed.check_url(source)
        file = directory / name
        from klever.steps.oci.http import Transport

        own = transport or Transport()
        try:
            _Download(source, allowed, file, own, limit).run(watch)
        finally:
            if transport is None:
                own.close()
        return _unpacked(file, directory, limit) if name.lower().endswith(_ARCHIVES) else file


def check_files(path: Path, allowed: Allowed, *, format_id: str | None = None) -> None:
    """Raise `SourceRefusedError` unless all that makes the model at the local ``path`` lies in an allowed directory.

    A link beside a model would otherwise publish a file of the machine that it is published from.
    """
    for name in (ORMBFILE, MODEL_FOLDER):
        if (path / name).is_symlink():
            allowed.check_path(path / name)
    for file in recognise(path, format_id=format_id).files.paths.values():
        allowed.check_path(file)


def _parse_url(url: str) -> tuple[Origin, tuple[str, ...]]:
    """Return origin and unescaped path components; raises `SourceRefusedError` for an address with two readings."""
    shown = clean_url(url)
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise SourceRefusedError(f"{shown!r} is no http or https URL")
    if len(url) > _MAX_URL_CHARS or not _URL.fullmatch(url):
        raise SourceRefusedError(f"{shown!r} holds characters that have to be escaped in a URL, or too many")
    try:
        parts = urlsplit(url)
        origin = Origin.of(url)
    except (RegistryRefusedError, ValueError):
        raise SourceRefusedError(f"{shown!r} is not the address of a server without user and password") from None
    if "@" in parts.netloc or parts.fragment or "#" in url:
        raise SourceRefusedError(f"{shown!r} has a part that a source may not have")
    raw = parts.path.removeprefix("/").removesuffix("/")
    try:
        components = tuple(unquote(component, errors="strict") for component in raw.split("/")) if raw else ()
    except UnicodeDecodeError:
        raise SourceRefusedError(f"{shown!r} has a path that is not UTF-8") from None
    for component in components:
        if component in ("", ".", "..") or not component.isprintable() or set(component) & set("/\\"):
            raise SourceRefusedError(f"{shown!r} has a path that is not in normal form")
    return origin, components


def _file_name(url: str) -> str:
    """Return the file's name, the last component of the path."""
    _, components = _parse_url(url)
    if not components or urlsplit(url).path.endswith("/"):
        raise SourceRefusedError(f"{clean_url(url)} names no file", next_step="give the address of one file")
    name = components[-1]
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise SourceRefusedError(f"{clean_url(url)} has a file name of more than {_MAX_NAME_BYTES} bytes")
    return name


class _BrokenError(Exception):
    """A transfer stopped before its end."""


class _Download:
    """The transfer of one file."""

    def __init__(self, url: str, allowed: Allowed, file: Path, transport: "Transport", limit: int | None) -> None:
        self._url = url
        self._allowed = allowed
        self._file = file
        self._transport = transport
        self._limit = limit
        self._about = clean_url(url)
        self._got = 0
        #: The most that had arrived when the transfer broke off; less again is no progress.
        self._reached = 0
        #: What names these very bytes, so that a second answer may go on where the first one broke off.
        self._validator = ""

    def run(self, watch: Watch) -> None:
        """Stream the file to the disk."""
        attempts = self._transport.retry.attempts()
        try:
            with self._file.open("wb") as out:
                while True:
                    try:
                        self._stream(out, watch)
                    except _BrokenError as broken:
                        if self._got - self._reached >= _CHUNK_BYTES:
                            attempts.renew()
                        self._reached = max(self._reached, self._got)
                        if not attempts.again():
                            raise SourceUnavailableError(f"{self._about} broke off: {broken}") from None
                        continue
                    return
        except OSError as error:
            raise storage_error(f"cannot write {self._file.name}", error) from error

    def _stream(self, out: IO[bytes], watch: Watch) -> None:
        """Write what one answer brings; raises `_BrokenError` where it ends early."""
        from urllib3.exceptions import HTTPError

        from klever.steps.oci.http import network_reason

        response = self._ask()
        try:
            total = self._begin(response, out)
            with watch("download", total) as progress:
                progress(self._got)
                while True:
                    try:
                        chunk = response.read1(_CHUNK_BYTES, decode_content=False)
                    except (HTTPError, OSError) as error:
                        raise _BrokenError(network_reason(error)) from None
                    if not chunk:
                        break
                    self._take(chunk, out, progress)
            if total is not None and self._got < total:
                raise _BrokenError("the connection was closed")
        finally:
            response.close()

    def _take(self, chunk: bytes, out: IO[bytes], progress: Progress) -> None:
        self._check_limit(self._got + len(chunk))
        out.write(chunk)
        self._got += len(chunk)
        progress(len(chunk))

    def _begin(self, response: "Response", out: IO[bytes]) -> int | None:
        """Go to where the answer goes on, and return the file's size where it is told."""
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise SourceRefusedError(f"the server changed the encoding of {self._about}")
        total = response.length_remaining
        if response.status == 206:
            from klever.steps.oci.download import content_range

            place = content_range(response)
            if place is None or place[0] != self._got:
                self._validator = ""
                raise _BrokenError("the server answers with another range than was asked for")
            total = place[1]
        else:
            self._got = 0
            out.seek(0)
            out.truncate()
            etag = response.headers.get("ETag", "")
            # A weak one says that the meaning is the same, not the bytes (RFC 9110, section 8.8.1).
            self._validator = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
        self._check_limit(total or 0)
        return total

    def _check_limit(self, size: int) -> None:
        if self._limit is not None and size > self._limit:
            raise LimitExceededError(
                f"{self._about} is larger than the {self._limit} bytes that a source may have",
                next_step="ask the administrator for a higher limit",
            )

    def _ask(self) -> "Response":
        """Send the request, also to where it is redirected within what is allowed."""
        headers = {"Accept": "*/*"}
        if self._got and self._validator:
            headers |= {"Range": f"bytes={self._got}-", "If-Range": self._validator}
        url = self._url
        for _redirect in range(_MAX_REDIRECTS + 1):
            try:
                response = self._transport.exchange("GET", url, headers=headers)
            except RegistryUnavailableError as error:
                reason = error.cause.rpartition(": ")[2]
                raise SourceUnavailableError(f"cannot reach {Origin.of(url)}: {reason}") from None
            except RegistryRefusedError as error:
                raise SourceRefusedError(error.cause, next_step="check the address") from None
            if response.status in (200, 206):
                return response
            response.close()
            if response.status == 416:
                self._validator = ""
                raise _BrokenError("the server does not have the range that is missing")
            if response.status not in _REDIRECTS:
                raise self._failed(response.status)
            target = urljoin(url, response.headers.get("Location", ""))
            try:
                self._allowed.check_url(target)
            except SourceRefusedError as error:
                raise SourceRefusedError(f"{self._about} is redirected: {error.cause}") from None
            url = target
        raise SourceRefusedError(f"{self._about} is redirected more than {_MAX_REDIRECTS} times")

    def _failed(self, status: int) -> PermanentError | SourceUnavailableError:
        from klever.steps.oci.http import worth_retrying

        words = _STATUS_WORDS.get(status, f"answers {status}")
        if worth_retrying(status):
            return SourceUnavailableError(f"the server of {self._about} {words}")
        kind = NotFoundError if status in (404, 410) else SourceRefusedError
        return kind(f"the server of {self._about} {words}", next_step="check the address")


def _unpacked(file: Path, directory: Path, limit: int | None) -> Path:
    """Unpack a tar archive beside itself and return the directory that holds the package or the model's files."""
    from klever.steps.oci.unpack import Limits, unpack

    target = directory / "unpacked"
    try:
        target.mkdir()
    except OSError as error:
        raise storage_error(f"cannot write to {directory}", error) from error
    packed = file.name.lower().endswith(_PACKED)
    try:
        unpack(_chunks(file), target, limits=Limits(total_bytes=limit), gzipped=packed)
    except ArchiveError as error:
        raise ArchiveError(
            f"the archive {file.name} is not unpacked: {error.cause}",
            next_step="pack it anew from regular files and directories alone",
        ) from None
    file.unlink()
    # Most archives hold one directory, whose name says nothing.
    while len(entries := list(target.iterdir())) == 1 and entries[0].is_dir():
        target = entries[0]
    return target


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            yield chunk
