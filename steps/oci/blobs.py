"""The blobs of an image layout: files named by their digest, verified whenever they are read.

Layout: OCI image specification 1.1, ``image-layout.md``, section "Blobs". What does not belong here: writing them
(see `klever.steps.oci.layout`), and what refers to them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from klever.steps.errors import (
    CorruptBlobError,
    InvalidReferenceError,
    MalformedModelError,
    NotFoundError,
    storage_error,
)
from klever.steps.files import FileSource
from klever.steps.oci.descriptor import Descriptor, Digest, parse_digest
from klever.steps.oci.hashing import Hasher

_READ_BYTES: Final = 1 << 20


class BlobDirectory:
    """The ``blobs`` directory below a layout."""

    def __init__(self, layout: Path) -> None:
        self.directory = layout / "blobs"

    def path(self, digest: Digest) -> Path:
        """Return where a blob lies or would lie; the digest is parsed again, since it becomes a path."""
        algorithm, _, encoded = parse_digest(digest).partition(":")
        return self.directory / algorithm / encoded

    def size(self, digest: Digest) -> int | None:
        """Return a blob's length in bytes; None if it is not there."""
        try:
            return self.path(digest).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise storage_error(f"cannot read blob {digest}", error) from error

    def open(self, descriptor: Descriptor) -> FileSource:
        """Open a blob of the descriptor's size; raises `NotFoundError`, `CorruptBlobError` or `StorageError`."""
        try:
            source = FileSource(self.path(descriptor.digest))
        except NotFoundError:
            raise NotFoundError(f"the layout {self.directory.parent} holds no blob {descriptor.digest}") from None
        except MalformedModelError:
            raise CorruptBlobError(f"blob {descriptor.digest} is not a regular file") from None
        if source.size != descriptor.size:
            source.close()
            raise CorruptBlobError(
                f"blob {descriptor.digest} is damaged: got {source.size} bytes, expected {descriptor.size}"
            )
        return source

    def stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        """Yield a blob's bytes; raises `CorruptBlobError` after the last if they do not match the digest."""
        source = self.open(descriptor)
        try:
            with Hasher(descriptor.digest.partition(":")[0]) as hasher:
                for at in range(0, descriptor.size, _READ_BYTES):
                    try:
                        chunk = source.read_at(at, _READ_BYTES)
                    except OSError as error:
                        raise storage_error(f"cannot read blob {descriptor.digest}", error) from error
                    hasher.update(chunk)
                    yield chunk
                if (digest := hasher.digest()) != descriptor.digest:
                    raise CorruptBlobError(f"blob {descriptor.digest} is damaged: its bytes have digest {digest}")
        finally:
            source.close()

    def __iter__(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Yield every blob and its status; files whose names are no digests are not ours and left out."""
        for algorithm in ("sha256", "sha512"):
            try:
                entries = list(os.scandir(self.directory / algorithm))
            except (FileNotFoundError, NotADirectoryError):
                continue
            for entry in entries:
                try:
                    digest = parse_digest(f"{algorithm}:{entry.name}")
                    yield digest, entry.stat(follow_symlinks=False)
                except (InvalidReferenceError, FileNotFoundError):
                    continue
