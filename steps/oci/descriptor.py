"""Digests and descriptors: how OCI documents point at bytes.

Grammar and fields are those of the OCI image specification 1.1, ``descriptor.md``.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NewType, Self

from klever.steps.errors import InvalidReferenceError, ManifestError

#: A digest that has passed `parse_digest`: safe to be part of a path or URL.
Digest = NewType("Digest", str)

_DIGEST: Final = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})", re.ASCII)

#: No manifest of an artifact claims a blob larger than this, in bytes (8 EiB would overflow other tools' int64).
MAX_BLOB_BYTES: Final = 1 << 62


def parse_digest(text: str) -> Digest:
    """Return ``text`` as a digest; raises `InvalidReferenceError` unless it is a lower-case sha256 or sha512."""
    if not isinstance(text, str) or not _DIGEST.fullmatch(text):
        raise InvalidReferenceError(f"{str(text)[:100]!r} is not a digest: expected sha256:<64 hex digits>")
    return Digest(text)


def digest_of(data: bytes) -> Digest:
    """Return the sha256 digest of ``data``."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class Descriptor:
    """Media type, digest and size in bytes of a blob or manifest, with what is said about it."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str | None = None

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """Describe bytes that are at hand."""
        return cls(media_type, digest_of(data), len(data))

    @classmethod
    def from_json(cls, value: object, what: str) -> Self:
        """Read a descriptor from a parsed document; raises `ManifestError` that begins with ``what``."""
        if not isinstance(value, dict):
            raise ManifestError(f"{what} is no descriptor but {type(value).__name__}")
        media_type, size = value.get("mediaType"), value.get("size")
        annotations, artifact_type = value.get("annotations") or {}, value.get("artifactType")
        if not isinstance(media_type, str) or not media_type:
            raise ManifestError(f"{what} has no mediaType")
        if type(size) is not int or not 0 <= size <= MAX_BLOB_BYTES:
            raise ManifestError(f"{what} has no valid size")
        if not isinstance(annotations, dict) or not all(isinstance(v, str) for v in annotations.values()):
            raise ManifestError(f"the annotations of {what} are not a map of text to text")
        if artifact_type is not None and not isinstance(artifact_type, str):
            raise ManifestError(f"the artifactType of {what} is not text")
        try:
            digest = parse_digest(value.get("digest", ""))
        except InvalidReferenceError as error:
            raise ManifestError(f"{what}: {error.cause}") from None
        return cls(media_type, digest, size, annotations, artifact_type or None)

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor's JSON object, in the order that other tools write."""
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        return document

    def annotated(self, annotations: Mapping[str, str]) -> Self:
        """Return the same descriptor with ``annotations`` added."""
        return replace(self, annotations={**self.annotations, **annotations})
