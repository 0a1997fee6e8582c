"""Blobs on their way here: one verified stream that resumes where it broke, and random access by ranges.

Sources: OCI distribution specification 1.1, "Pulling blobs"; RFC 9110, section 14 (ranges).
"""

import re
import threading
from collections.abc import Iterator
from typing import Final

import urllib3

from klever.steps.errors import KleverError, NotFoundError, RegistryUnavailableError, TransferError
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.hashing import Hasher
from klever.steps.oci.http import Attempts, Response, network_reason, read_capped
from klever.steps.oci.session import Access, Session
from klever.steps.oci.store import Progress

#: What one read of the connection asks for, in bytes.
CHUNK_BYTES: Final = 1 << 20
#: A blob up to this size is verified before anything of it is handed on, so that it can be fetched again.
_WHOLE_BYTES: Final = 4 << 20
#: What is asked for first, in bytes: most headers stand at the beginning.
_PROBE_BYTES: Final = 64 << 10
#: The least that a later range asks for, in bytes: between weights there is little to read.
_AHEAD_BYTES: Final = 16 << 10
#: The largest range that is kept for the next read, in bytes.
_KEPT_BYTES: Final = 1 << 20
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII | re.IGNORECASE)


class _BrokenError(Exception):
    """A transfer stopped; what came before it is good for all that is known."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def _next_chunk(response: Response, limit: int) -> bytes:
    """Return what the connection has next, ``limit`` bytes at most; raises `_BrokenError`."""
    try:
        # One system call a read: what has arrived when the connection breaks is not lost.
        chunk = response.read1(limit, decode_content=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _BrokenError(network_reason(error)) from None
    if not chunk:
        raise _BrokenError("the connection was closed")
    return chunk


class Download:
    """The transfer of one blob."""

    def __init__(self, session: Session, repository: str, descriptor: Descriptor, progress: Progress) -> None:
        self._session = session
        self._repository = repository
        self._access = Access.to(repository, "pull")
        self._url = f"/v2/{repository}/blobs/{descriptor.digest}"
        self._blob = descriptor
        self._progress = progress

    def chunks(self) -> Iterator[bytes]:
        """Yield the blob; see `klever.steps.oci.store.Store.get_blob`."""
        if self._blob.size > _WHOLE_BYTES:
            yield from self._stream()
            return
        attempts = self._session.transport.retry.attempts()
        while True:
            try:
                parts = list(self._stream())
                break
            except TransferError:
                if not attempts.again():
                    raise
                self._progress(-self._got)
        yield from parts

    def _stream(self) -> Iterator[bytes]:
        """Yield the blob, with the digest verified after its last chunk."""
        attempts = self._session.transport.retry.attempts()
        self._got = 0
        since = 0
        with Hasher(self._blob.digest.partition(":")[0]) as hashed:
            while self._got < self._blob.size:
                try:
                    for chunk in self._part(self._got):
                        hashed.update(chunk)
                        self._got += len(chunk)
                        self._progress(len(chunk))
                        yield chunk
                except _BrokenError as broken:
                    if self._got - since >= CHUNK_BYTES:
                        attempts.renew()
                    since = self._got
                    self._again(attempts, broken)
            digest = hashed.digest()
        if digest != self._blob.digest:
            raise TransferError(f"{self._about} arrived with other bytes: their digest is {digest}")

    @property
    def _about(self) -> str:
        return f"blob {self._blob.digest} of {self._session.host}/{self._repository}"

    def _again(self, attempts: Attempts, broken: _BrokenError) -> None:
        if not attempts.again():
            raise TransferError(
                f"{self._about} broke off after {self._got} of {self._blob.size} bytes: {broken.cause}",
                next_step="try again: the transfer begins anew",
            )

    def _part(self, start: int) -> Iterator[bytes]:
        """Yield what one answer brings from ``start`` on, never past the blob's end."""
        headers = {"Range": f"bytes={start}-{self._blob.size - 1}"} if start else {}
        response = self._session.request(
            "GET", self._url, self._access, headers=headers, accept=(200, 206, 416), about=self._about
        )
        try:
            skip = self._begin(response, start)
            while start < self._blob.size:
                chunk = _next_chunk(response, min(CHUNK_BYTES, skip + self._blob.size - start))
                if skip:
                    dropped = min(skip, len(chunk))
                    skip -= dropped
                    chunk = chunk[dropped:]
                start += len(chunk)
                if chunk:
                    yield chunk
        finally:
            # The whole body was read, or the connection is of no more use.
            if response.length_remaining == 0:
                response.release_conn()
            else:
                response.close()

    def _begin(self, response: Response, start: int) -> int:
        """Return how many bytes of an answer are to be skipped so that it goes on at ``start``."""
        if response.status == 416:
            raise _BrokenError("the server does not have the range that is missing")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise _BrokenError("the server changed the encoding of the bytes")
        total = self._blob.size
        if response.status == 206:
            if content_range(response) != (start, total):
                raise _BrokenError("the server answers with another range than was asked for")
            expected, skip = total - start, 0
        else:
            # The range was not honoured: the blob comes from its beginning.
            expected, skip = total, start
        if response.length_remaining is not None and response.length_remaining != expected:
            raise _BrokenError(f"the server has {response.length_remaining} bytes instead of {expected}")
        return skip


class BlobSource:
    """Random access to a blob: each read that is not at hand is a ranged request; safe to share between threads."""

    def __init__(self, session: Session, repository: str, descriptor: Descriptor) -> None:
        self._session = session
        self._access = Access.to(repository, "pull")
        self._own_url = f"/v2/{repository}/blobs/{descriptor.digest}"
        self._about = f"a range of blob {descriptor.digest} of {session.host}/{repository}"
        self._lock = threading.Lock()
        #: Where the registry redirected to; good until it no longer answers.
        self._url = self._own_url
        self._kept: tuple[int, bytes] = (0, b"")
        self.size = descriptor.size

    def probe(self) -> bool:
        """Read the beginning; False if the server does not honour ranges."""
        if not self.size:
            return True
        data = self._fetch(0, min(_PROBE_BYTES, self.size))
        if data is not None:
            self._kept = (0, data)
        return data is not None

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes [offset, offset + length), fewer only at the end; raises `TransferError` and others."""
        length = max(0, min(length, self.size - offset))
        if not length:
            return b""
        start, kept = self._kept
        if start <= offset and offset + length <= start + len(kept):
            return kept[offset - start : offset - start + length]
        data = self._fetch(offset, min(max(length, _AHEAD_BYTES), self.size - offset))
        if data is None:
            raise TransferError(f"{self._about}: the server no longer answers with ranges")
        if len(data) <= _KEPT_BYTES:
            self._kept = (offset, data)
        return data[:length]

    def close(self) -> None:
        """Let go of what was read ahead."""
        self._kept = (0, b"")

    def _fetch(self, offset: int, length: int) -> bytes | None:
        """Return exactly ``length`` bytes, or None if the server answers without regard to the range."""
        attempts = self._session.transport.retry.attempts()
        while True:
            response = self._request(offset, length)
            try:
                if response.status != 206:
                    response.close()
                    return None
                if content_range(response, offset + length - 1) != (offset, self.size):
                    response.close()
                    return None
                data = read_capped(response, length)
            except KleverError as error:
                cause = error.cause
            else:
                if len(data) == length:
                    return data
                cause = f"{len(data)} bytes instead of {length}"
            if not attempts.again():
                raise TransferError(f"{self._about} broke off: {cause}")

    def _request(self, offset: int, length: int) -> Response:
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        url = self._url
        if url != self._own_url:
            try:
                return self._session.request("GET", url, self._access, headers=headers, accept=(200, 206, 416))
            except RegistryUnavailableError:
                raise
            except KleverError:
                # A signed address expires; the registry gives another one.
                self._url = self._own_url
        response, self._url = self._session.locate(
            "GET", self._own_url, self._access, headers=headers, accept=(200, 206, 416), about=self._about
        )
        return response


def content_range(response: Response, last: int | None = None) -> tuple[int, int] | None:
    """Return the first position and the total size that a 206 declares, if it goes on to ``last`` or the end."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if not match or match[3] == "*":
        return None
    first, end, total = (int(group) for group in match.groups())
    return (first, total) if end == (total - 1 if last is None else last) else None


def open_source(session: Session, repository: str, descriptor: Descriptor) -> BlobSource | None:
    """Return random access to a blob, or None if the server does not honour ranges; raises `NotFoundError`."""
    source = BlobSource(session, repository, descriptor)
    try:
        return source if source.probe() else None
    except NotFoundError:
        raise
    except TransferError:
        return None
