"""What in a layout nothing refers to, and what of the rest is damaged.

What does not belong here: locking, which is the caller's (see `klever.steps.oci.layout`).
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from klever.steps.errors import CorruptBlobError, InvalidReferenceError, KleverError, ManifestError, NotFoundError
from klever.steps.oci.blobs import BlobDirectory
from klever.steps.oci.descriptor import Descriptor, Digest, parse_digest
from klever.steps.oci.index import LayoutIndex
from klever.steps.oci.ingest import Ingest
from klever.steps.oci.manifest import MAX_MANIFEST_BYTES, children_of, is_index, load_document


@dataclass(frozen=True)
class Collected:
    """What a collection removed: blobs, and what writers that were killed had begun."""

    blobs: int
    files: int
    bytes: int


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the name that leads there, the blob's digest, and what is the matter."""

    name: str
    digest: str
    cause: str

    def __str__(self) -> str:
        return f"{self.name}: {self.cause}"


def reachable(index: LayoutIndex, blobs: BlobDirectory) -> set[Digest]:
    """Return the digests of all blobs that an entry of the index leads to.

    Lenient with what a manifest says and strict with whether it is whole: raises `CorruptBlobError` for a damaged
    one, whose blobs would be taken for garbage.
    """
    used: set[Digest] = set()
    pending = [entry.descriptor.digest for entry in index]
    walked: set[Digest] = set()
    while pending:
        digest = pending.pop()
        used.add(digest)
        size = blobs.size(digest)
        if digest in walked or size is None or size > MAX_MANIFEST_BYTES:
            continue
        walked.add(digest)
        try:
            document = load_document(b"".join(blobs.stream(Descriptor("", digest, size))), "the manifest")
        except (ManifestError, NotFoundError):
            continue
        except CorruptBlobError as error:
            raise CorruptBlobError(
                f"{error.cause}, so what belongs to it cannot be told from garbage",
                next_step="fetch that artifact again, or delete it, and then collect",
            ) from None
        used.update(_digests(document, "config", "layers", "blobs"))
        pending.extend(_digests(document, "manifests", "subject"))
    return used


def sweep(blobs: BlobDirectory, ingest: Ingest, used: set[Digest], horizon: float) -> Collected:
    """Remove the blobs that are not ``used`` and were last changed before ``horizon``, in seconds since the epoch."""
    count = freed = 0
    for digest, status in blobs:
        if digest not in used and status.st_mtime < horizon:
            blobs.path(digest).unlink(missing_ok=True)
            count, freed = count + 1, freed + status.st_size
    files, dead = ingest.remove_dead()
    return Collected(count, files, freed + dead)


def check(index: LayoutIndex, blobs: BlobDirectory) -> Iterator[Problem]:
    """Yield what is wrong with the blobs that the index leads to; each is read once."""
    if index.malformed:
        yield Problem("index.json", "", f"{index.malformed} of its entries are no descriptors")
    checked: set[Digest] = set()
    for entry in index:
        pending = [(entry.descriptor, True)]
        while pending:
            descriptor, is_manifest = pending.pop()
            if descriptor.digest in checked:
                continue
            checked.add(descriptor.digest)
            try:
                if is_manifest:
                    document = load_document(_read(blobs, descriptor), "the manifest")
                    pending.extend((child, is_index(document)) for child in children_of(document))
                else:
                    for _ in blobs.stream(descriptor):
                        pass
            except KleverError as error:
                yield Problem(entry.name, descriptor.digest, error.cause)


def _read(blobs: BlobDirectory, descriptor: Descriptor) -> bytes:
    if descriptor.size > MAX_MANIFEST_BYTES:
        raise ManifestError(f"the manifest has {descriptor.size} bytes, more than {MAX_MANIFEST_BYTES}")
    return b"".join(blobs.stream(descriptor))


def _digests(document: Mapping[str, Any], *keys: str) -> Iterator[Digest]:
    for key in keys:
        value = document.get(key)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                with suppress(InvalidReferenceError):
                    yield parse_digest(item.get("digest", ""))
