"""A store in a directory: an OCI image layout that skopeo, oras and others read and write as well.

    store = LayoutStore(Path("~/.local/share/klever").expanduser())
    store.put_manifest("release/mnist", manifest, media.MANIFEST, tag="v1")

Specification: OCI image specification 1.1, ``image-layout.md``. Any number of processes may use it at once, and any
of them may be killed at any moment: a blob is written beside the others under a name of its own and renamed when it
is whole; ``index.json`` is replaced by a rename under an exclusive lock; garbage collection spares what living
writers have written but not yet referred to. A layout that is only read is not written to, not even a lock. What does
not belong here: what a manifest means (see `klever.steps.oci.manifest`), a registry.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Final

from klever.steps.errors import (
    AlreadyExistsError,
    CorruptBlobError,
    MalformedModelError,
    ManifestError,
    NotFoundError,
    TransferError,
    storage_error,
)
from klever.steps.files import FileSource, Source
from klever.steps.oci import garbage, media
from klever.steps.oci.blobs import BlobDirectory
from klever.steps.oci.descriptor import Descriptor, Digest, parse_digest
from klever.steps.oci.garbage import Collected, Problem
from klever.steps.oci.hashing import Hasher
from klever.steps.oci.index import MAX_INDEX_BYTES, Entry, LayoutIndex
from klever.steps.oci.ingest import Ingest, Writer
from klever.steps.oci.manifest import (
    MAX_MANIFEST_BYTES,
    annotations_of,
    check_media_type,
    children_of,
    is_index,
    load_document,
    subject_of,
)
from klever.steps.oci.reference import DEFAULT_TAG, parse_repository, parse_tag
from klever.steps.oci.store import Progress, StoredManifest, no_progress

_LAYOUT_FILE: Final = "oci-layout"
_INDEX_FILE: Final = "index.json"
_LAYOUT_VERSION: Final = b'{"imageLayoutVersion":"1.0.0"}'
#: How long a blob that nothing refers to is kept, in seconds, for writers that cannot hold a lease: other tools.
GRACE_SECONDS: Final = 3600.0


class LayoutStore:
    """The `Store` over one directory. Threads may share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._blobs = BlobDirectory(directory)
        self._ingest = Ingest(directory)
        self._mutex = Lock()
        #: Inode, size and time of the index that was last looked into, and what it held.
        self._known: tuple[tuple[int, int, int], LayoutIndex] | None = None
        self._ready = False
        self._writer = Writer(self._ingest)

    # Reading.

    def get_manifest(self, repository: str, reference: str | Digest) -> StoredManifest:
        """Return the manifest under a tag or digest, verified; raises `NotFoundError`."""
        entry = self._find(self._known_index(), repository, reference)
        stored = entry.descriptor
        # Without the annotations of the entry, which are about its place in this layout.
        return StoredManifest(Descriptor(stored.media_type, stored.digest, stored.size), self._manifest_bytes(stored))

    def find_digest(self, repository: str, tag: str) -> Digest:
        """Return the digest that a tag points at; raises `NotFoundError`."""
        return self._find(self._known_index(), repository, parse_tag(tag)).descriptor.digest

    def has_blob(self, repository: str, digest: Digest) -> bool:
        """Say whether the blob is there, whole; all repositories of a layout share their blobs."""
        del repository
        return self._blobs.size(digest) is not None

    def get_blob(self, repository: str, descriptor: Descriptor, *, progress: Progress = no_progress) -> Iterator[bytes]:
        """Yield the blob's bytes; raises `CorruptBlobError` after the last where they are not the digest's."""
        del repository
        for chunk in self._blobs.stream(descriptor):
            progress(len(chunk))
            yield chunk

    def blob_source(self, repository: str, descriptor: Descriptor) -> Source | None:
        """Return random access to a blob, unverified save for its size."""
        del repository
        return self._blobs.open(descriptor)

    def tags(self, repository: str) -> Iterator[str]:
        """Yield a repository's tags in lexical order; raises `NotFoundError` where there is no such repository."""
        index = self.read_index()
        entries = [entry for entry in index if entry.repository == repository]
        if not entries:
            raise NotFoundError(f"the layout {self.directory} holds no repository {repository!r}")
        yield from (DEFAULT_TAG,) if index.unnamed else sorted({entry.tag for entry in entries if entry.tag})

    def repositories(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of repositories that begin with ``prefix``, in lexical order.

        The empty name stands for what other tools put there under a tag alone or no name at all.
        """
        yield from sorted({e.repository for e in self.read_index() if e.repository.startswith(prefix)})

    def referrers(self, repository: str, digest: Digest) -> Iterator[Descriptor]:
        """Yield descriptors of the repository's manifests whose ``subject`` is ``digest``."""
        seen: set[Digest] = set()
        for entry in self.read_index():
            descriptor = entry.descriptor
            if entry.repository != repository or descriptor.digest in seen:
                continue
            seen.add(descriptor.digest)
            with suppress(ManifestError, NotFoundError):
                document = load_document(self._manifest_bytes(descriptor), "the manifest")
                subject = subject_of(document)
                if subject and subject.digest == digest:
                    yield _referrer(descriptor, document)

    def read_index(self) -> LayoutIndex:
        """Read the index; raises `NotFoundError` where there is no layout, `ManifestError` where it is malformed."""
        path = self.directory / _INDEX_FILE
        try:
            if not (self.directory / _LAYOUT_FILE).exists():
                raise NotFoundError(f"{self.directory} is not an OCI image layout: it has no file {_LAYOUT_FILE}")
        except OSError as error:
            raise storage_error(f"cannot read {path}", error) from error
        try:
            with closing(FileSource(path)) as file:
                return LayoutIndex.parse(file.read_at(0, MAX_INDEX_BYTES + 1))
        except NotFoundError:
            return LayoutIndex.empty()
        except MalformedModelError:
            raise ManifestError(f"{path} is not a regular file") from None

    # Writing.

    def put_blob(
        self,
        repository: str,
        chunks: Callable[[], Iterable[bytes]],
        *,
        expected: Descriptor | None = None,
        progress: Progress = no_progress,
    ) -> Descriptor:
        """Store the chunks as one blob and return its descriptor.

        What ``expected`` describes is not written twice, but verified, so that a damaged blob is mended by who
        brings it again. Raises `TransferError` where the chunks are not what was expected, `StorageError` where the
        disk refuses; either leaves nothing.
        """
        if repository:
            parse_repository(repository)
        self._prepare()
        with self._writing():
            if expected is not None and self._reuse(expected) and self._is_sound(expected):
                progress(expected.size)
                return expected
            with ExitStack() as stack:
                with _storing(f"cannot write to {self.directory}"):
                    file, path = stack.enter_context(self._ingest.blob())
                descriptor = _write(file, chunks(), expected, progress)
                target = self._blobs.path(descriptor.digest)
                with _storing(f"cannot write {target}"):
                    os.fchmod(file.fileno(), 0o644)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    # Over what may be there: the same bytes, or damaged ones.
                    with self._ingest.locked(exclusive=False):
                        path.rename(target)
            self._writer.stored(descriptor.digest)
            return descriptor

    def mount_blob(self, repository: str, descriptor: Descriptor, from_repository: str) -> bool:
        """Say whether the blob is there: all repositories of a layout share their blobs."""
        del repository, from_repository
        if self._blobs.size(descriptor.digest) is None:
            return False
        self._prepare()
        with self._writing():
            return self._reuse(descriptor)

    def put_manifest(self, repository: str, data: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        """Publish a manifest, whose blobs must be there, and point ``tag`` at it, in one visible step.

        What had the tag before is no longer named by it, and is garbage unless it has another tag. Raises
        `NotFoundError` for a blob that is missing, `ManifestError` for a malformed manifest.
        """
        if tag is not None:
            parse_tag(tag)
        if len(data) > MAX_MANIFEST_BYTES:
            raise ManifestError(f"the manifest has {len(data)} bytes, more than {MAX_MANIFEST_BYTES}")
        document = load_document(data, "the manifest")
        check_media_type(document, media_type)
        children = list(children_of(document))
        descriptor = Descriptor.of(data, media_type)
        self.put_blob(repository, lambda: (data,), expected=descriptor)
        artifact_type = document.get("artifactType")
        entry = replace(descriptor, artifact_type=artifact_type if isinstance(artifact_type, str) else None)
        try:
            with self._changing_index() as index:
                for child in children:
                    if self._blobs.size(child.digest) != child.size:
                        raise NotFoundError(f"the layout holds no blob {child.digest} of {child.size} bytes")
                self._write_index(index.add(repository, tag, entry))
        finally:
            self._writer.settle({descriptor.digest})
        self._writer.settle({child.digest for child in children})
        return descriptor

    def delete(self, repository: str, reference: str | Digest) -> None:
        """Remove a tag, or with a digest the manifest and all its tags; `gc` removes the blobs."""
        self._find(self.read_index(), repository, reference)
        self._prepare()
        with self._changing_index() as index:
            named = self._find(index, repository, reference, nested=False)
            by_tag = ":" not in reference

            def is_removed(entry: Entry) -> bool:
                same = entry.tag == named.tag if by_tag else entry.descriptor.digest == named.descriptor.digest
                return entry.repository == repository and same

            self._write_index(index.remove(is_removed))

    def gc(self, *, older_than: float = GRACE_SECONDS) -> Collected:
        """Remove blobs that nothing refers to and that were last used ``older_than`` seconds ago or before.

        Whatever the age, what other writers that are alive have stored since they began is kept. Raises
        `CorruptBlobError` where a manifest is damaged, since what it referred to cannot be known.
        """
        self.read_index()
        self._prepare()
        with _storing(f"cannot collect garbage in {self.directory}"), self._ingest.locked(exclusive=True):
            used = garbage.reachable(self.read_index(), self._blobs)
            horizon = time.time() - older_than if older_than > 0 else float("inf")
            oldest = self._ingest.oldest_lease(self._writer.lease)
            return garbage.sweep(self._blobs, self._ingest, used, horizon if oldest is None else min(horizon, oldest))

    def close(self) -> None:
        """End the lease on blobs that got no manifest."""
        self._writer.close()

    def check(self) -> tuple[Problem, ...]:
        """Verify every blob that a name leads to, and say what is wrong with which."""
        return tuple(garbage.check(self.read_index(), self._blobs))

    # Details.

    def _known_index(self) -> LayoutIndex:
        """Return the index as it was when it was last read, unless the file is another one now.

        For looking up: who lists a store of ten thousand versions asks for each.
        """
        try:
            status = (self.directory / _INDEX_FILE).stat()
        except OSError:
            return self.read_index()
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._known
        if known is None or known[0] != stamp:
            known = self._known = stamp, self.read_index()
        return known[1]

    def _find(self, index: LayoutIndex, repository: str, reference: str | Digest, *, nested: bool = True) -> Entry:
        if ":" not in reference:
            entry = index.find(repository, tag=parse_tag(reference))
        else:
            digest = parse_digest(reference)
            entry = index.find(repository, digest=digest)
            if entry is None and nested:
                entry = self._find_nested(index, repository, digest)
        if entry is None:
            separator = "@" if ":" in reference else ":" if repository else ""
            raise NotFoundError(f"the layout {self.directory} holds no {repository}{separator}{reference}")
        return entry

    def _find_nested(self, index: LayoutIndex, repository: str, digest: Digest) -> Entry | None:
        """Look for a manifest of an image for several platforms."""
        seen: set[Digest] = set()
        for entry in index:
            is_new = entry.repository == repository and entry.descriptor.digest not in seen
            if is_new and entry.descriptor.media_type in (media.INDEX, media.DOCKER_INDEX):
                seen.add(entry.descriptor.digest)
                document = load_document(self._manifest_bytes(entry.descriptor), "the index")
                for child in children_of(document) if is_index(document) else ():
                    if child.digest == digest:
                        return Entry(repository, None, child)
        return None

    def _manifest_bytes(self, descriptor: Descriptor) -> bytes:
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise ManifestError(
                f"manifest {descriptor.digest} has {descriptor.size} bytes, more than {MAX_MANIFEST_BYTES}"
            )
        return b"".join(self._blobs.stream(descriptor))

    def _prepare(self) -> None:
        """Make the directory a layout, unless it is one or something else."""
        with self._mutex, _storing(f"cannot write to {self.directory}"):
            if self._ready:
                return
            if not (self.directory / _LAYOUT_FILE).exists():
                self._refuse_other()
            self._ingest.create()
            (self.directory / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            with self._ingest.locked(exclusive=True):
                if not (self.directory / _INDEX_FILE).exists():
                    self._replace(_INDEX_FILE, LayoutIndex.empty().to_json())
                # Last, since this is what makes it a layout.
                if not (self.directory / _LAYOUT_FILE).exists():
                    self._replace(_LAYOUT_FILE, _LAYOUT_VERSION)
            self._ready = True

    def _refuse_other(self) -> None:
        """Raise if the directory is in use for something else; a killed first run may have left a part of ours."""
        if self.directory.exists() and not self._ingest.directory.exists() and any(self.directory.iterdir()):
            raise AlreadyExistsError(f"{self.directory} holds other files and is not an OCI image layout")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with ExitStack() as stack:
            with _storing(f"cannot write to {self.directory}"):
                stack.enter_context(self._writer.writing())
            yield

    def _reuse(self, descriptor: Descriptor) -> bool:
        """Say whether the blob is there, and let garbage collection see that it is in use."""
        with _storing(f"cannot use {descriptor.digest}"), self._ingest.locked(exclusive=False):
            if self._blobs.size(descriptor.digest) != descriptor.size:
                return False
            os.utime(self._blobs.path(descriptor.digest))
        self._writer.stored(descriptor.digest)
        return True

    def _is_sound(self, descriptor: Descriptor) -> bool:
        try:
            for _ in self._blobs.stream(descriptor):
                pass
        except (CorruptBlobError, NotFoundError):
            return False
        return True

    @contextmanager
    def _changing_index(self) -> Iterator[LayoutIndex]:
        with _storing(f"cannot write to {self.directory}"), self._ingest.locked(exclusive=True):
            yield self.read_index()

    def _write_index(self, index: LayoutIndex) -> None:
        self._replace(_INDEX_FILE, index.to_json())

    def _replace(self, name: str, data: bytes) -> None:
        """Write a file of the layout by a rename; under the exclusive lock, so that the new one's name is free."""
        new = self._ingest.directory / f"{name}.new"
        new.write_bytes(data)
        new.chmod(0o644)
        new.rename(self.directory / name)


@contextmanager
def _storing(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise storage_error(doing, error) from error


def _write(file: BinaryIO, chunks: Iterable[bytes], expected: Descriptor | None, progress: Progress) -> Descriptor:
    algorithm = expected.digest.partition(":")[0] if expected else "sha256"
    with Hasher(algorithm) as hasher:
        for chunk in chunks:
            hasher.update(chunk)
            if expected is not None and hasher.size > expected.size:
                raise TransferError(f"blob {expected.digest} is longer than its {expected.size} bytes")
            rest = memoryview(chunk)
            with _storing("cannot write a blob"):
                while rest:
                    rest = rest[file.write(rest) :]
            progress(len(chunk))
        digest = hasher.digest()
        if expected is None:
            return Descriptor("application/octet-stream", digest, hasher.size)
        if (digest, hasher.size) != (expected.digest, expected.size):
            raise TransferError(
                f"blob {expected.digest} of {expected.size} bytes arrived as {digest} of {hasher.size} bytes"
            )
        return expected


def _referrer(descriptor: Descriptor, document: dict[str, object]) -> Descriptor:
    """Describe a referrer as the distribution specification has it: with its artifact type and annotations."""
    artifact_type = document.get("artifactType")
    config = document.get("config")
    if not isinstance(artifact_type, str) and isinstance(config, dict):
        artifact_type = config.get("mediaType")
    return Descriptor(
        descriptor.media_type,
        descriptor.digest,
        descriptor.size,
        annotations_of(document),
        artifact_type if isinstance(artifact_type, str) else None,
    )
