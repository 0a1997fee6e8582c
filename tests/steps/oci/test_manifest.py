"""The artifact's manifest: what is read, what is refused, what is written."""

import json
import random
from contextlib import suppress

import pytest

from klever.steps.errors import ManifestError
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import MAX_MANIFEST_BYTES, build_manifest, parse_manifest

CONFIG = Descriptor.of(b"{}", media.CONFIG)
LAYER = Descriptor.of(b"layer", media.LAYER)


def document(**changes: object) -> bytes:
    """A good manifest as the original tool writes it, with changes; a change to None removes the field."""
    good: dict[str, object] = {"schemaVersion": 2, "config": CONFIG.to_json(), "layers": [LAYER.to_json()]}
    good.update(changes)
    return json.dumps({key: value for key, value in good.items() if value is not None}).encode()


def test_the_original_tools_manifest_without_a_media_type_is_read() -> None:
    for media_type in (None, media.MANIFEST):
        artifact = parse_manifest(document(), media_type)
        assert (artifact.config, artifact.layer, artifact.subject) == (CONFIG, LAYER, None)


def test_what_is_built_is_parsed() -> None:
    subject = Descriptor.of(b"other", media.MANIFEST)
    layer = LAYER.annotated({media.LAYER_INDEX: "{}"})
    artifact = parse_manifest(build_manifest(CONFIG, layer, {"b": "é", "a": "1"}, subject), media.MANIFEST)
    assert artifact.layer == layer
    assert artifact.annotations == {"a": "1", "b": "é"}
    assert artifact.subject == subject


def test_the_same_manifest_has_the_same_bytes() -> None:
    assert build_manifest(CONFIG, LAYER, {"a": "1", "b": "2"}) == build_manifest(CONFIG, LAYER, {"b": "2", "a": "1"})


def test_foreign_urls_are_ignored() -> None:
    layer = {**LAYER.to_json(), "urls": ["http://169.254.169.254/latest"]}
    assert parse_manifest(document(layers=[layer])).layer == LAYER


BAD: dict[str, bytes] = {
    "manifest and index in one": document(manifests=[]),
    "manifest and index in one that says index": document(manifests=[], mediaType=media.INDEX),
    "manifest that says index": document(mediaType=media.INDEX),
    "docker manifest list": document(mediaType=media.DOCKER_INDEX),
    "index": json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}).encode(),
    "index that says manifest": json.dumps({"mediaType": media.MANIFEST, "manifests": []}).encode(),
    "media type of another kind": document(mediaType=7),
    "image": document(config={**CONFIG.to_json(), "mediaType": "application/vnd.oci.image.config.v1+json"}),
    "no config": document(config=None),
    "config no object": document(config=[]),
    "no layers": document(layers=None),
    "layers empty": document(layers=[]),
    "layers no list": document(layers={}),
    "two layers": document(layers=[LAYER.to_json()] * 2),
    "layer of another type": document(layers=[{**LAYER.to_json(), "mediaType": "application/zip"}]),
    "layer of negative size": document(layers=[{**LAYER.to_json(), "size": -1}]),
    "layer of boolean size": document(layers=[{**LAYER.to_json(), "size": True}]),
    "layer of impossible size": document(layers=[{**LAYER.to_json(), "size": 1 << 80}]),
    "digest that is a path": document(layers=[{**LAYER.to_json(), "digest": "sha256:../../etc/passwd"}]),
    "digest that is a number": document(layers=[{**LAYER.to_json(), "digest": 7}]),
    "annotations of numbers": document(annotations={"a": 1}),
    "annotations no object": document(annotations=["a"]),
    "subject no descriptor": document(subject="sha256:abc"),
    "not an object": b"[]",
    "not JSON": b"{",
    "not UTF-8": b'{"a":"\xff"}',
    "empty": b"",
    "deep": b'{"config":' + b"[" * 200_000,
    "long number": b'{"config":' + b"9" * 10_000 + b"}",
    "too large": document(annotations={"a": "x" * MAX_MANIFEST_BYTES}),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_manifest_is_refused(case: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(BAD[case], None)
    assert len(str(caught.value)) < 300


def test_a_manifest_served_as_another_type_is_refused() -> None:
    good = build_manifest(CONFIG, LAYER)
    for media_type in (media.INDEX, media.DOCKER_INDEX, media.DOCKER_MANIFEST, "text/plain"):
        with pytest.raises(ManifestError):
            parse_manifest(good, media_type)
    with pytest.raises(ManifestError):
        parse_manifest(document(), media.INDEX)


def test_a_manifest_too_large_for_registries_is_not_built() -> None:
    with pytest.raises(ManifestError):
        build_manifest(CONFIG, LAYER, {"a": "x" * MAX_MANIFEST_BYTES})


def test_any_bytes_give_a_manifest_or_a_manifest_error() -> None:
    good = build_manifest(CONFIG, LAYER, {"a": "1"}, Descriptor.of(b"x", media.MANIFEST))
    chance = random.Random(11)
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 8)] = chance.randbytes(chance.randint(0, 4))
        with suppress(ManifestError):
            parse_manifest(bytes(data), media.MANIFEST)
