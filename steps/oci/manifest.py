"""Manifests: parse what a store gave, build what it gets.

An ORMB artifact is an OCI image manifest (image specification 1.1, ``manifest.md``) with the model config's media
type and exactly one layer; the manifests of the original tool carry no ``mediaType`` of their own. What does not
belong here: the config's content, and fetching.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from klever.steps.errors import ManifestError
from klever.steps.model.strict import parse_json
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor

#: What registries accept at least and at most (distribution specification, "Pushing Manifests"), in bytes.
MAX_MANIFEST_BYTES: Final = 4 << 20

#: More blobs than any image has.
_MAX_CHILDREN: Final = 10_000
_MANIFEST_TYPES: Final = frozenset({media.MANIFEST, media.DOCKER_MANIFEST})
_INDEX_TYPES: Final = frozenset({media.INDEX, media.DOCKER_INDEX})


@dataclass(frozen=True)
class Artifact:
    """An ORMB artifact's manifest."""

    config: Descriptor
    layer: Descriptor
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    artifact_type: str | None = None


def parse_manifest(data: bytes, media_type: str | None = None) -> Artifact:
    """Parse an artifact's manifest, which came with ``media_type``; raises `ManifestError` for anything else.

    The layer's ``urls`` are not read: a blob comes from the store that holds the manifest or not at all.
    """
    document = load_document(data, "the manifest")
    check_media_type(document, media_type)
    if is_index(document) or media_type in _INDEX_TYPES:
        raise ManifestError("this is an index of several manifests, and not a model artifact")
    config = Descriptor.from_json(document.get("config"), "the manifest's config")
    if config.media_type != media.CONFIG:
        raise ManifestError(
            f"this is not a model artifact: got a config of type {config.media_type[:100]!r}, expected {media.CONFIG}"
        )
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) != 1:
        count = len(layers) if isinstance(layers, list) else "no list of"
        raise ManifestError(f"a model artifact has exactly one layer: got {count} layers")
    layer = Descriptor.from_json(layers[0], "the manifest's layer")
    if layer.media_type != media.LAYER:
        raise ManifestError(f"got a layer of type {layer.media_type[:100]!r}, expected {media.LAYER}")
    artifact_type = document.get("artifactType")
    if artifact_type is not None and not isinstance(artifact_type, str):
        raise ManifestError("the manifest's artifactType is not text")
    return Artifact(config, layer, annotations_of(document), subject_of(document), artifact_type or None)


def build_manifest(
    config: Descriptor,
    layer: Descriptor,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
) -> bytes:
    """Build an artifact's manifest: the same bytes for the same arguments, whatever the order of annotations."""
    first = {"artifactType": artifact_type} if artifact_type else {}
    return _serialise(first, config, layer, annotations, subject)


def build_attachment(
    artifact_type: str,
    empty: Descriptor,
    document: Descriptor,
    subject: Descriptor,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """Build the manifest of a document of ``artifact_type`` that is about the manifest ``subject``.

    ``empty`` describes the config that such a manifest has in the place of one: ``{}``.
    """
    return _serialise({"artifactType": artifact_type}, empty, document, annotations, subject)


def _serialise(
    first: Mapping[str, str],
    config: Descriptor,
    layer: Descriptor,
    annotations: Mapping[str, str] | None,
    subject: Descriptor | None,
) -> bytes:
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        **first,
        "config": config.to_json(),
        "layers": [layer.to_json()],
    }
    if subject is not None:
        document["subject"] = Descriptor(subject.media_type, subject.digest, subject.size).to_json()
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    if len(data) > MAX_MANIFEST_BYTES:
        raise ManifestError(f"the manifest would have {len(data)} bytes, more than registries take")
    return data


def load_document(data: bytes, what: str, *, max_bytes: int = MAX_MANIFEST_BYTES) -> dict[str, Any]:
    """Parse a JSON object strictly; raises `ManifestError` that begins with ``what``."""
    if len(data) > max_bytes:
        raise ManifestError(f"{what} has {len(data)} bytes, more than {max_bytes}")
    try:
        document = parse_json(data)
    except ValueError as error:
        raise ManifestError(f"{what} {error}") from None
    if not isinstance(document, dict):
        raise ManifestError(f"{what} is not a JSON object")
    return document


def is_index(document: Mapping[str, Any]) -> bool:
    """Say whether a document is an index by what it holds."""
    return "manifests" in document


def check_media_type(document: Mapping[str, Any], media_type: str | None) -> None:
    """Raise `ManifestError` where a document could be read both as manifest and as index.

    Both at once, or another type than the one it was served as, let two clients see two artifacts under one digest
    (CVE-2021-41190).
    """
    own = document.get("mediaType")
    if own is not None and not isinstance(own, str):
        raise ManifestError("the manifest's mediaType is not text")
    if own and media_type and own != media_type:
        raise ManifestError(f"the manifest says it is {own[:100]!r} but came as {media_type[:100]!r}")
    if is_index(document) and not document.keys().isdisjoint({"config", "layers", "fsLayers"}):
        raise ManifestError("the document is a manifest and an index at once")
    kind = own or media_type
    if kind in _INDEX_TYPES and not is_index(document):
        raise ManifestError("the manifest says it is an index, but holds none")
    if kind in _MANIFEST_TYPES and is_index(document):
        raise ManifestError("the manifest is an index, but says it is an image manifest")


def annotations_of(document: Mapping[str, Any]) -> Mapping[str, str]:
    """Return a document's annotations; raises `ManifestError` unless they map text to text."""
    annotations = document.get("annotations") or {}
    if not isinstance(annotations, dict) or not all(isinstance(value, str) for value in annotations.values()):
        raise ManifestError("the manifest's annotations are not a map of text to text")
    return annotations


def subject_of(document: Mapping[str, Any]) -> Descriptor | None:
    """Return the manifest that this one is about, if any; raises `ManifestError`."""
    subject = document.get("subject")
    return None if subject is None else Descriptor.from_json(subject, "the manifest's subject")


def children_of(document: Mapping[str, Any]) -> Iterator[Descriptor]:
    """Yield what a manifest or index of any kind cannot do without: config, layers, manifests.

    Raises `ManifestError` for a malformed descriptor.
    """
    if document.get("config") is not None:
        yield Descriptor.from_json(document["config"], "the manifest's config")
    # "blobs" is the artifact manifest of OCI 1.1's release candidates, which some tools still write.
    for key in ("layers", "manifests", "blobs"):
        values = document.get(key)
        if values is None:
            continue
        if not isinstance(values, list) or len(values) > _MAX_CHILDREN:
            raise ManifestError(f"the manifest's {key} are not a list of at most {_MAX_CHILDREN}")
        for value in values:
            yield Descriptor.from_json(value, f"one of the manifest's {key}")
