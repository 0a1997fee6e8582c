"""The one interface of a store: what a layout directory and a registry both do.

A store never shows a blob that does not match its digest: reading verifies while streaming, writing makes a blob
visible only when it is whole. Descriptors and digests are of `klever.steps.oci.descriptor`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from klever.steps.files import Source
from klever.steps.oci.descriptor import Descriptor, Digest

#: Called with the number of bytes that just went through; what a progress bar hangs on.
Progress = Callable[[int], None]


def no_progress(_count: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class StoredManifest:
    """A manifest as it lies in a store: its exact bytes and their descriptor."""

    descriptor: Descriptor
    data: bytes


class Store(Protocol):
    """Repositories of manifests and blobs."""

    def get_manifest(self, repository: str, reference: str | Digest) -> StoredManifest:
        """Return the manifest under a tag or digest, verified; raises `NotFoundError`."""

    def find_digest(self, repository: str, tag: str) -> Digest:
        """Return the digest that a tag points at, without the manifest; raises `NotFoundError`."""

    def put_manifest(self, repository: str, data: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        """Publish a manifest, whose blobs must be there, and point ``tag`` at it, in one visible step."""

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Say whether the blob is there, whole."""

    def get_blob(self, repository: str, descriptor: Descriptor, *, progress: Progress = no_progress) -> Iterator[bytes]:
        """Yield the blob's bytes in chunks, resuming a broken transfer.

        Size and digest are verified on the way; a mismatch raises after the last chunk, so whoever consumes the
        chunks publishes nothing before the iterator has ended well.
        """

    def blob_source(self, repository: str, descriptor: Descriptor) -> Source | None:
        """Return random access to a blob by ranges, unverified, or None where the store cannot."""

    def put_blob(
        self,
        repository: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        expected: Descriptor | None = None,
        progress: Progress = no_progress,
    ) -> Descriptor:
        """Store the chunks as one blob in one pass and return its descriptor.

        ``chunks`` is called again for another try. With ``expected`` a blob that is there already is not sent, and
        what differs from it is refused.
        """

    def mount_blob(self, repository: str, descriptor: Descriptor, from_repository: str) -> bool:
        """Make a blob of another repository of this store appear in this one without sending it; False if it cannot."""

    def tags(self, repository: str) -> Iterator[str]:
        """Yield a repository's tags in lexical order; raises `NotFoundError` where there is no such repository."""

    def repositories(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of repositories that begin with ``prefix``, in lexical order."""

    def delete(self, repository: str, reference: str | Digest) -> None:
        """Remove a tag, or with a digest the manifest and all its tags; blobs wait for garbage collection."""

    def close(self) -> None:
        """Let go of connections and locks; blobs written without a manifest become garbage."""

    def referrers(self, repository: str, digest: Digest) -> Iterator[Descriptor]:
        """Yield descriptors of the manifests whose ``subject`` is ``digest``."""
