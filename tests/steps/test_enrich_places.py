"""Where the result of an extraction goes: the tag that was read, every tag of its digest, or another place."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import foreign
import pytest
from fakes import Exchange, fake
from registries import running

from klever.steps.artifact import DERIVED_FROM, load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, attach, attachments
from klever.steps.enrich import enrich
from klever.steps.errors import InvalidReferenceError, NotFoundError, RegistryRefusedError, RegistryUnavailableError
from klever.steps.fetch import fetch
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.layer import LayerFiles
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.oci.retag import MAX_TAGS
from klever.steps.oci.store import Store
from klever.steps.publish import publish
from klever.steps.stores import Stores

PROOF = b'{"level":"executed"}'


def points_at(reference: Reference, stores: Stores, tag: str | None = None) -> Digest:
    """Return the digest that a tag of the reference's repository points at, its own by default."""
    return load_artifact(stores.open(reference), replace(reference, tag=tag or reference.tag)).descriptor.digest


def documents(reference: Reference, stores: Stores, kind: str) -> list[tuple[Any, bytes]]:
    """Return the annotations and the document of each attachment of a kind."""
    store, found = stores.open(reference), []
    for each in attachments(store, reference, kind):
        manifest = json.loads(store.get_manifest(reference.repository, each.digest).data)
        layer = Descriptor.from_json(manifest["layers"][0], "the layer")
        found.append((each.annotations, b"".join(store.get_blob(reference.repository, layer))))
    return found


@pytest.fixture
def another(place: str) -> Reference:
    """A reference of another repository of the same store."""
    return parse_reference(f"{place}released/{uuid4().hex}:v9")


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What references of another store begin with."""
    return f"oci:{tmp_path_factory.mktemp('elsewhere') / 'layout'}:"


# Every tag of the digest.


@pytest.mark.parametrize("named", ["tag and digest", "digest"])
def test_every_tag_of_the_digest_moves_and_no_other_one(
    reference: Reference, stores: Stores, model: Path, models: Path, named: str
) -> None:
    old = foreign.put(reference, stores, model)
    for tag in ("latest", "v2"):
        foreign.put(replace(reference, tag=tag), stores, model)
    other = publish(models / "ONNX" / "every_type" / "model", replace(reference, tag="other"), stores)
    asked = replace(reference, digest=old.digest, tag=reference.tag if named == "tag and digest" else None)
    enriched = enrich(asked, stores, all_tags=True)
    for tag in ("v1", "v2", "latest"):
        assert points_at(reference, stores, tag) == enriched.descriptor.digest
    assert points_at(reference, stores, "other") == other.descriptor.digest
    assert (enriched.changed, enriched.moved) == (True, True)
    moved = "latest, v2" if asked.tag else "latest, v1, v2"
    assert enriched.notes == (f"moved to it as well: {moved}",)


def test_unless_asked_other_tags_stay(reference: Reference, stores: Stores, model: Path) -> None:
    old = foreign.put(reference, stores, model)
    foreign.put(replace(reference, tag="v2"), stores, model)
    assert enrich(reference.pinned(old.digest), stores).notes == ()
    assert points_at(reference, stores, "v2") == old.digest


def test_other_tags_move_also_where_the_one_that_is_named_went_elsewhere(
    reference: Reference, stores: Stores, model: Path, models: Path
) -> None:
    old = foreign.put(reference, stores, model)
    foreign.put(replace(reference, tag="v2"), stores, model)
    new = publish(models / "ONNX" / "every_type" / "model", reference, stores)
    enriched = enrich(reference.pinned(old.digest), stores, all_tags=True)
    assert not enriched.moved
    assert points_at(reference, stores) == new.descriptor.digest
    assert points_at(reference, stores, "v2") == enriched.descriptor.digest


@pytest.mark.parametrize("named", ["tag and digest", "digest"])
def test_done_again_after_it_was_done_it_finds_its_result(
    reference: Reference, stores: Stores, model: Path, named: str
) -> None:
    old = foreign.put(reference, stores, model)
    foreign.put(replace(reference, tag="v2"), stores, model)
    asked = replace(reference, digest=old.digest, tag=reference.tag if named == "tag and digest" else None)
    first = enrich(asked, stores, all_tags=True)
    again = enrich(asked, stores, all_tags=True)
    assert again.reference == first.reference
    assert points_at(reference, stores) == points_at(reference, stores, "v2") == first.descriptor.digest


class Failing:
    """A store whose n-th writing fails, as one that goes away."""

    def __init__(self, store: Any, at: int) -> None:
        self._store, self.left = store, at

    def __getattr__(self, name: str) -> Any:
        if name in ("put_blob", "put_manifest", "mount_blob"):
            self.left -= 1
            if self.left <= 0:
                raise RegistryUnavailableError("gone")
        return getattr(self._store, name)


class FailingStores(Stores):
    """Stores that go away, all of them at the same moment."""

    failing: dict[tuple[str, str | None], Failing]
    at = 1

    def open(self, reference: Reference) -> Any:
        return self.failing.setdefault((reference.host, reference.layout), Failing(super().open(reference), self.at))


@pytest.mark.parametrize("named", ["tag", "tag and digest", "digest"])
def test_wherever_the_store_goes_away_another_try_moves_every_tag(
    reference: Reference, stores: Stores, model: Path, named: str
) -> None:
    old = foreign.put(reference, stores, model)
    for tag in ("v0", "v2"):
        foreign.put(replace(reference, tag=tag), stores, model)
    asked = {
        "tag": reference,
        "tag and digest": reference.pinned(old.digest),
        "digest": replace(reference, tag=None, digest=old.digest),
    }[named]
    tags, at, done = ("v0", "v1", "v2"), 0, None
    while done is None:
        at += 1
        failing = FailingStores(plain_http=True)
        failing.failing, failing.at = {}, at
        try:
            done = enrich(asked, failing, all_tags=True)
        except RegistryUnavailableError:
            # Those that have moved are whole: what they point at can be read.
            assert old.digest in {points_at(reference, stores, tag) for tag in tags} or named == "digest"
        finally:
            failing.close()
    assert at >= 4
    assert {points_at(reference, stores, tag) for tag in tags} == {done.descriptor.digest}


class Watched:
    """A store that notes the blobs that are sent to it, and lets no writing move the tag ``kept``."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sent: list[Digest] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def put_blob(self, *arguments: Any, **options: Any) -> Descriptor:
        stored = self._store.put_blob(*arguments, **options)
        self.sent.append(stored.digest)
        return stored

    def put_manifest(self, repository: str, data: bytes, media_type: str, *, tag: str | None = None) -> Descriptor:
        if tag == "kept":
            raise RegistryRefusedError("the tag is immutable")
        return self._store.put_manifest(repository, data, media_type, tag=tag)


class WatchedStores(Stores):
    """One store, watched."""

    watched: Watched | None = None

    def open(self, reference: Reference) -> Any:
        self.watched = self.watched or Watched(super().open(reference))
        return self.watched


def test_a_tag_that_may_not_move_is_a_note_and_holds_nothing_up(
    reference: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model)
    foreign.put(replace(reference, tag="kept"), stores, model)
    watched = WatchedStores(plain_http=True)
    enriched = enrich(reference, watched, all_tags=True)
    watched.close()
    assert enriched.moved
    assert enriched.notes == (
        f"the tag kept points at the {old.digest} that was read and cannot be moved: the tag is immutable",
    )


def test_of_very_many_tags_some_are_looked_at_and_a_note_says_so(stores: Stores, tmp_path: Path, model: Path) -> None:
    reference = parse_reference(f"oci:{tmp_path / 'layout'}:net:v1")
    old = foreign.put(reference, stores, model)
    store = stores.open(reference)
    manifest = store.get_manifest("net", old.digest)
    for number in range(MAX_TAGS + 5):
        store.put_manifest("net", manifest.data, manifest.descriptor.media_type, tag=f"t{number:05}")
    enriched = enrich(reference, stores, all_tags=True)
    assert enriched.moved
    assert f"of {MAX_TAGS + 6} tags the first {MAX_TAGS} were looked at" in enriched.notes[1]
    assert points_at(reference, stores, f"t{MAX_TAGS - 1:05}") == enriched.descriptor.digest
    assert points_at(reference, stores, f"t{MAX_TAGS + 1:05}") == old.digest


@pytest.mark.parametrize("answers", ["a digest", "no digest", "405 to HEAD"])
def test_a_tag_is_looked_up_without_its_manifest_where_the_registry_can(answers: str) -> None:
    manifest = b'{"schemaVersion": 2, "layers": []}'

    def script(exchange: Exchange) -> None:
        if exchange.command == "HEAD" and answers == "405 to HEAD":
            exchange.reply(405)
            return
        named = {"Docker-Content-Digest": "sha256:" + "a" * 64} if answers == "a digest" else {}
        exchange.reply(200, b"" if exchange.command == "HEAD" else manifest, named)

    with fake(script) as server, RegistryStore(server.host, plain_http=True, credentials=None) as store:
        found = store.find_digest("vision/net", "v1")
        asked = server.asked("GET")
    if answers == "a digest":
        assert (found, asked) == ("sha256:" + "a" * 64, [])
    else:
        assert (found, len(asked)) == (Digest(found), 1)
        assert found.startswith("sha256:")


# Another place.


def test_under_another_tag_of_its_repository_the_result_leaves_the_model_alone(
    reference: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model)
    target = replace(reference, tag="read")
    enriched = enrich(reference, stores, publish_as=target)
    assert (enriched.changed, enriched.moved, enriched.notes) == (True, True, ())
    assert enriched.reference == target.pinned(enriched.descriptor.digest)
    assert points_at(reference, stores) == old.digest
    made = load_artifact(stores.open(target), target)
    assert made.has_full_signature
    assert made.manifest.annotations[DERIVED_FROM] == old.digest


def test_the_result_is_the_same_wherever_it_goes(
    reference: Reference, another: Reference, stores: Stores, model: Path, tmp_path: Path
) -> None:
    foreign.put(reference, stores, model)
    there = enrich(reference, stores, publish_as=another)
    assert enrich(reference, stores).descriptor == there.descriptor
    fetch(another, tmp_path / "fetched", stores)
    assert {path.name for path in (tmp_path / "fetched" / "model").iterdir()} == {path.name for path in model.iterdir()}


def test_what_hangs_on_the_model_comes_along_to_another_repository(
    reference: Reference, another: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model)
    attach(stores.open(reference), reference, old, CERTIFICATE, PROOF, {"kleveross.io/proof-level": "x"})
    attach(stores.open(reference), reference, old, CONVERSION, b'{"key":"k"}', {"kleveross.io/conversion": "k"})
    enriched = enrich(reference, stores, publish_as=another)
    assert documents(enriched.reference, stores, CERTIFICATE) == [({"kleveross.io/proof-level": "x"}, PROOF)]
    assert documents(enriched.reference, stores, CONVERSION) == [({"kleveross.io/conversion": "k"}, b'{"key":"k"}')]


def test_another_store_gets_all_of_it(
    reference: Reference, elsewhere: str, stores: Stores, model: Path, tmp_path: Path
) -> None:
    old = foreign.put(reference, stores, model)
    attach(stores.open(reference), reference, old, CERTIFICATE, PROOF)
    target = parse_reference(f"{elsewhere}{uuid4().hex}:v1")
    enriched = enrich(reference, stores, publish_as=target)
    assert load_artifact(stores.open(target), target).has_full_signature
    assert documents(enriched.reference, stores, CERTIFICATE) == [({}, PROOF)]
    fetch(target, tmp_path / "fetched", stores)
    assert points_at(reference, stores) == old.digest


def test_what_is_under_the_other_tag_is_replaced(
    reference: Reference, another: Reference, stores: Stores, model: Path, models: Path
) -> None:
    publish(models / "ONNX" / "every_type" / "model", another, stores)
    foreign.put(reference, stores, model)
    enriched = enrich(reference, stores, publish_as=another)
    assert points_at(another, stores) == enriched.descriptor.digest


def test_what_carries_its_signature_is_copied_as_it_is(
    reference: Reference, another: Reference, stores: Stores, model: Path
) -> None:
    published = publish(model, reference, stores)
    attach(stores.open(reference), reference, published.descriptor, CERTIFICATE, PROOF)
    enriched = enrich(reference, stores, publish_as=another)
    assert (enriched.changed, enriched.moved) == (False, True)
    assert enriched.reference == another.pinned(published.descriptor.digest)
    assert points_at(another, stores) == published.descriptor.digest
    assert documents(enriched.reference, stores, CERTIFICATE) == [({}, PROOF)]


def test_the_models_own_tag_is_no_other_place(reference: Reference, stores: Stores, model: Path, models: Path) -> None:
    old = foreign.put(reference, stores, model)
    foreign.put(replace(reference, tag="kept"), stores, model)
    new = publish(models / "ONNX" / "every_type" / "model", reference, stores)
    enriched = enrich(reference.pinned(old.digest), stores, publish_as=reference)
    assert not enriched.moved
    assert points_at(reference, stores) == new.descriptor.digest


def test_a_digest_cannot_be_asked_for(reference: Reference, stores: Stores, model: Path) -> None:
    old = foreign.put(reference, stores, model)
    with pytest.raises(InvalidReferenceError, match="names a digest, which follows"):
        enrich(reference, stores, publish_as=replace(reference, tag="x", digest=old.digest))


def test_a_layer_is_packed_again_where_the_result_goes(
    reference: Reference, another: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model, beside={"ormbfile.yaml": foreign.STALE})
    enriched = enrich(reference, stores, publish_as=another, repack=True)
    store = stores.open(another)
    made = load_artifact(store, enriched.reference)
    with LayerFiles(store, another.repository, made.manifest.layer) as files:
        assert files.strays == ()
    assert points_at(reference, stores) == old.digest


@pytest.mark.parametrize("repack", [False, True])
def test_wherever_the_other_store_goes_away_nothing_is_there_and_another_try_completes(
    reference: Reference, another: Reference, stores: Stores, model: Path, repack: bool
) -> None:
    old = foreign.put(reference, stores, model, beside={"ormbfile.yaml": foreign.STALE})
    attach(stores.open(reference), reference, old, CERTIFICATE, PROOF)
    at, done = 0, None
    while done is None:
        at += 1
        failing = FailingStores(plain_http=True)
        failing.failing, failing.at = {}, at
        try:
            done = enrich(reference, failing, publish_as=another, repack=repack)
        except RegistryUnavailableError:
            with pytest.raises(NotFoundError):
                load_artifact(stores.open(another), another)
        finally:
            failing.close()
    assert at > 3
    assert points_at(another, stores) == done.descriptor.digest
    assert points_at(reference, stores) == old.digest


@pytest.mark.registry
def test_between_repositories_of_a_registry_the_layer_is_mounted_and_not_sent(
    registry_version: str, tmp_path: Path, stores: Stores, model: Path
) -> None:
    with running(registry_version, tmp_path) as registry:
        source, target = (parse_reference(f"{registry.host}/{name}:v1") for name in ("a/net", "b/net"))
        foreign.put(source, stores, model)
        watched = WatchedStores(plain_http=True)
        enriched = enrich(source, watched, publish_as=target)
        made = load_artifact(stores.open(target), enriched.reference).manifest
        watched.close()
    assert watched.watched is not None
    assert watched.watched.sent == [made.config.digest]
