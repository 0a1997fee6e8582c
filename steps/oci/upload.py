"""Blobs on their way to a registry: one pass over chunks whose digest is known only after the last.

Source: OCI distribution specification 1.1, "Pushing blobs". POST opens an upload; then either one PATCH streams the
bytes and a PUT names their digest, or, where the digest is known beforehand, one PUT does both.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

from klever.steps.errors import (
    CorruptBlobError,
    KleverError,
    NotFoundError,
    RegistryRefusedError,
    RegistryUnavailableError,
    TransferError,
)
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.hashing import Hasher
from klever.steps.oci.http import Response, release
from klever.steps.oci.session import Access, ApiError, Session
from klever.steps.oci.store import Progress
from klever.steps.oci.trust import follow

BLOB_MEDIA_TYPE: Final = "application/octet-stream"
_STREAM_HEADERS: Final = {"Content-Type": BLOB_MEDIA_TYPE}
#: Answers by which a registry says that it knows no PATCH.
_NO_PATCH: Final = frozenset({404, 405, 501})
#: A registry that is still writing is asked again after these.
_CANCEL_PAUSES_SECONDS: Final = (0.0, 0.02, 0.05, 0.1, 0.3, 0.5)
_TORN_CODES: Final = re.compile(r"DIGEST_INVALID|SIZE_INVALID|BLOB_UPLOAD_(?:INVALID|UNKNOWN)|RANGE_INVALID", re.ASCII)


class Upload:
    """The transfer of one blob, with as many tries as it takes."""

    def __init__(
        self, session: Session, repository: str, chunks: Callable[[], Iterable[bytes]], progress: Progress
    ) -> None:
        self._session = session
        self._repository = repository
        self._access = Access.to(repository, "pull", "push")
        self._chunks = chunks
        self._progress = progress
        self._sent = 0
        self._about = f"the upload of a blob to {session.host}/{repository}"

    def send(self, expected: Descriptor | None) -> Descriptor:
        """Send the chunks; see `klever.steps.oci.store.Store.put_blob`."""
        attempts = self._session.transport.retry.attempts()
        while True:
            try:
                return self._put(expected) if expected else self._patch()
            except (RegistryUnavailableError, TransferError):
                if not attempts.again():
                    raise
            except _NoPatchError:
                expected = self._measure()
            # What a progress bar was told about the lost try is taken back.
            self._progress(-self._sent)
            self._sent = 0

    def _patch(self) -> Descriptor:
        """Stream with a digest that is not known yet."""
        location = self._open()
        with self._cancelled_on_error(location) as upload, Hasher() as hashed:
            response = self._session.request(
                "PATCH",
                location,
                self._access,
                headers=_STREAM_HEADERS,
                body=self._pump(hashed, None),
                accept=range(200, 600),
                about=self._about,
            )
            if response.status in _NO_PATCH:
                self._check_patch(response)
            self._check(response, (201, 202, 204))
            digest, size = hashed.digest(), hashed.size
            location = upload.location = self._next(location, response)
            response = self._session.request(
                "PUT",
                _with_digest(location, digest),
                self._access,
                headers=_STREAM_HEADERS,
                body=b"",
                accept=range(200, 600),
                about=self._about,
            )
            self._finish(response, digest)
        return Descriptor(BLOB_MEDIA_TYPE, digest, size)

    def _put(self, expected: Descriptor) -> Descriptor:
        """Stream with a digest that is known, in a single request."""
        location = self._open()
        algorithm = expected.digest.partition(":")[0]
        with self._cancelled_on_error(location), Hasher(algorithm) as hashed:
            response = self._session.request(
                "PUT",
                _with_digest(location, expected.digest),
                self._access,
                headers={**_STREAM_HEADERS, "Content-Length": str(expected.size)},
                body=self._pump(hashed, expected.size),
                accept=range(200, 600),
                about=self._about,
            )
            if hashed.size == expected.size and (digest := hashed.digest()) != expected.digest:
                release(response)
                raise CorruptBlobError(f"the bytes that were to be sent as {expected.digest} have the digest {digest}")
            self._finish(response, expected.digest)
        return expected

    def _pump(self, hashed: Hasher, size: int | None) -> Iterator[bytes]:
        """Yield the chunks while they are hashed in another thread; no more and no fewer than ``size`` bytes."""
        for chunk in self._chunks():
            # A reused buffer would change while it waits to be hashed.
            data = chunk if isinstance(chunk, bytes) else bytes(chunk)
            hashed.update(data)
            if size is not None and hashed.size > size:
                raise CorruptBlobError(f"the bytes that were to be sent are more than the expected {size}")
            yield data
            self._sent += len(data)
            self._progress(len(data))
        if size is not None and hashed.size < size:
            raise CorruptBlobError(f"the bytes that were to be sent are {hashed.size} instead of {size}")

    def _open(self) -> str:
        response = self._session.request(
            "POST", f"/v2/{self._repository}/blobs/uploads/", self._access, body=b"", accept=(202,), about=self._about
        )
        return self._next(self._session.base, response)

    def _next(self, base: str, response: Response) -> str:
        """Return where the upload goes on; another host gets no credentials, see `Session.request`."""
        location = response.headers.get("Location", "")
        release(response)
        return follow(base, location, "sends uploads")

    def _check_patch(self, response: Response) -> None:
        """Raise `_NoPatchError` unless a 404 means that the upload is unknown."""
        said = self._session.read_error(response)
        if said.code in ("BLOB_UPLOAD_UNKNOWN", "NAME_UNKNOWN"):
            raise self._failure(response.status, said)
        raise _NoPatchError

    def _finish(self, response: Response, digest: Digest) -> None:
        self._check(response, (200, 201, 204))
        stored = response.headers.get("Docker-Content-Digest", digest)
        release(response)
        if stored.partition(":")[0] == digest.partition(":")[0] and stored != digest:
            raise TransferError(f"{self._about}: the registry stored {stored[:80]} instead of {digest}")

    def _check(self, response: Response, accept: tuple[int, ...]) -> None:
        if response.status not in accept:
            raise self._failure(response.status, self._session.read_error(response))

    def _failure(self, status: int, said: ApiError) -> KleverError:
        error = self._session.error(status, said, self._about)
        # The upload was lost, or its bytes were altered on their way: another try may do.
        if isinstance(error, NotFoundError | RegistryRefusedError) and _TORN_CODES.fullmatch(said.code):
            return TransferError(error.cause)
        return error

    def _measure(self) -> Descriptor:
        """Compute what is to be sent, for a registry that has to know beforehand."""
        with Hasher() as hashed:
            for chunk in self._chunks():
                hashed.update(bytes(chunk))
            return Descriptor(BLOB_MEDIA_TYPE, hashed.digest(), hashed.size)

    def _cancelled_on_error(self, location: str) -> "_Cancelled":
        return _Cancelled(self._session, self._access, location)


class _NoPatchError(Exception):
    """The registry takes blobs by single PUTs only."""


class _Cancelled:
    """Cancel an upload when its block ends by an exception, as well as that can be done."""

    def __init__(self, session: Session, access: Access, location: str) -> None:
        self._session = session
        self._access = access
        self.location = location

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None:
            cancel(self._session, self._access, self.location)


def cancel(session: Session, access: Access, location: str) -> None:
    """Ask the registry to forget an upload; it forgets by itself some day."""
    with suppress(KleverError):
        for pause in _CANCEL_PAUSES_SECONDS:
            response = session.request("DELETE", location, access, accept=range(200, 600), retry=False)
            release(response)
            if response.status != 416:
                return
            # The location holds the number of bytes. After a broken PATCH the registry tells the present one, which
            # grows for as long as it still writes what had arrived.
            time.sleep(pause)
            response = session.request("GET", location, access, accept=(204,), retry=False)
            release(response)
            location = follow(location, response.headers.get("Location", ""), "sends uploads")


def _with_digest(location: str, digest: Digest) -> str:
    """Add the digest to the query of an upload's location, which is the registry's own and has to stay."""
    parts = urlsplit(location)
    query = f"{parts.query}&digest={digest}" if parts.query else f"digest={digest}"
    return urlunsplit(parts._replace(query=query))
