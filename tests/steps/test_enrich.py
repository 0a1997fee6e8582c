"""Writing the signature into an artifact's config: what changes, what stays, and what other writers do meanwhile."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import foreign
import pytest

from klever.steps.artifact import DERIVED_FROM, EXTRACTED_FROM, load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, attach, attachments
from klever.steps.conversions import Demands
from klever.steps.convert import convert
from klever.steps.enrich import Enriched, enrich
from klever.steps.errors import MetadataError, ModelError, NotFoundError, RegistryUnavailableError
from klever.steps.fetch import fetch
from klever.steps.inspect import inspect_path
from klever.steps.model.certificate import Level
from klever.steps.model.signature import Signature, Tensor
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.layer import LayerFiles
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.oci.store import StoredManifest
from klever.steps.publish import publish
from klever.steps.stores import Stores


def config_of(reference: Reference, stores: Stores) -> dict[str, Any]:
    """Return the config's own JSON."""
    store = stores.open(reference)
    artifact = load_artifact(store, reference)
    return json.loads(b"".join(store.get_blob(reference.repository, artifact.manifest.config)))


def untagged(enriched: Enriched) -> Reference:
    return replace(enriched.reference, tag=None)


def test_the_tag_gets_a_config_with_the_signature_over_the_same_layer(
    reference: Reference, stores: Stores, model: Path
) -> None:
    foreign.put(reference, stores, model)
    before = load_artifact(stores.open(reference), reference)
    enriched = enrich(reference, stores)
    after = load_artifact(stores.open(reference), reference)
    assert (enriched.changed, enriched.moved, enriched.notes) == (True, True, ())
    assert enriched.reference == after.reference
    assert after.manifest.layer == before.manifest.layer
    read = inspect_path(model).metadata.signature
    assert after.metadata.signature is not None
    assert read is not None
    assert [tensor.name for tensor in after.metadata.signature.outputs or ()] == ["prob"]
    assert after.metadata.signature.layers == read.layers
    assert after.has_full_signature


def test_unknown_fields_times_and_annotations_stay(reference: Reference, stores: Stores, model: Path) -> None:
    old = foreign.put(reference, stores, model)
    enrich(reference, stores)
    config = config_of(reference, stores)
    for name in ("created", "author", "labels", "x-reviewed"):
        assert config[name] == foreign.CONFIG[name]
    assert config["signature"]["inputs"][0]["unit"] == "pixel"
    artifact = load_artifact(stores.open(reference), reference)
    assert artifact.manifest.annotations == {
        **foreign.ANNOTATIONS,
        EXTRACTED_FROM: artifact.manifest.layer.digest,
        DERIVED_FROM: old.digest,
    }


def test_the_same_manifest_gives_the_same_one_every_time(reference: Reference, stores: Stores, model: Path) -> None:
    old = foreign.put(reference, stores, model)
    first = enrich(reference, stores)
    assert foreign.put(reference, stores, model) == old
    assert enrich(reference, stores).descriptor == first.descriptor


def test_what_carries_its_signature_is_left_as_it_is(reference: Reference, stores: Stores, model: Path) -> None:
    published = publish(model, reference, stores)
    enriched = enrich(reference, stores)
    assert (enriched.changed, enriched.moved) == (False, False)
    assert enriched.reference == published.reference
    assert not enrich(reference, stores, repack=True).changed
    assert not enrich(reference, stores, format_id="onnx").changed


def test_extracting_again_changes_nothing(reference: Reference, stores: Stores, model: Path) -> None:
    foreign.put(reference, stores, model)
    first = enrich(reference, stores)
    again = enrich(reference, stores)
    assert (again.changed, again.reference) == (False, first.reference)


def test_a_model_without_a_signature_is_extracted_once(reference: Reference, stores: Stores, tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"bytes of no format")
    publish(tmp_path / "weights.bin", reference, stores, format_id="Others")
    assert not enrich(reference, stores).changed


def test_a_reference_by_digest_gets_an_untagged_manifest(reference: Reference, stores: Stores, model: Path) -> None:
    old = foreign.put(reference, stores, model)
    enriched = enrich(replace(reference, tag=None, digest=old.digest), stores)
    assert (enriched.changed, enriched.moved) == (True, False)
    assert enriched.reference.tag is None
    assert load_artifact(stores.open(reference), enriched.reference).has_full_signature
    assert load_artifact(stores.open(reference), reference).descriptor.digest == old.digest


def test_a_tag_that_points_elsewhere_is_left(reference: Reference, stores: Stores, model: Path, models: Path) -> None:
    old = foreign.put(reference, stores, model)
    # Kept by another tag: a layout forgets what nothing names.
    foreign.put(replace(reference, tag="kept"), stores, model)
    other = publish(models / "ONNX" / "every_type" / "model", reference, stores)
    enriched = enrich(reference.pinned(old.digest), stores)
    assert (enriched.changed, enriched.moved) == (True, False)
    assert load_artifact(stores.open(reference), reference).reference == other.reference
    assert load_artifact(stores.open(reference), untagged(enriched)).has_full_signature
    assert "the tag v1 points at" in enriched.notes[-1]
    assert enriched.descriptor.digest in enriched.notes[-1]


def test_a_tag_that_was_removed_is_not_made_again(reference: Reference, stores: Stores, model: Path) -> None:
    kept = replace(reference, tag="kept")
    old = foreign.put(kept, stores, model)
    enriched = enrich(reference.pinned(old.digest), stores)
    assert not enriched.moved
    assert "removed" in enriched.notes[-1]
    with pytest.raises(NotFoundError):
        load_artifact(stores.open(reference), reference)


def test_an_extraction_that_is_begun_again_after_it_was_done_finds_its_result(
    reference: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model)
    first = enrich(reference, stores)
    again = enrich(reference.pinned(old.digest), stores)
    assert (again.reference, again.moved, again.notes) == (first.reference, True, ())


class Interfering:
    """A store in which somebody does something just before a manifest is looked up for the n-th time."""

    def __init__(self, store: Any, at: int, interfere: Callable[[], object]) -> None:
        self._store, self._left, self._interfere = store, at, interfere

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get_manifest(self, repository: str, reference: str) -> StoredManifest:
        self._left -= 1
        if not self._left:
            self._interfere()
        found: StoredManifest = self._store.get_manifest(repository, reference)
        return found


class InterferingStores(Stores):
    """Stores of which one is interfered with."""

    interference: tuple[int, Callable[[], object]]

    def open(self, reference: Reference) -> Any:
        return Interfering(super().open(reference), *self.interference)


def test_a_tag_that_moves_while_the_layer_is_read_keeps_what_it_was_moved_to(
    reference: Reference, stores: Stores, model: Path, models: Path
) -> None:
    foreign.put(reference, stores, model)
    moved = []
    others = InterferingStores(plain_http=True)
    # Looked up to be read, then directly before it is written.
    others.interference = 2, lambda: moved.append(publish(models / "ONNX" / "every_type" / "model", reference, stores))
    enriched = enrich(reference, others)
    others.close()
    assert not enriched.moved
    assert load_artifact(stores.open(reference), reference).reference == moved[0].reference
    assert load_artifact(stores.open(reference), untagged(enriched)).has_full_signature


def test_certificates_and_records_hang_on_the_new_manifest_too(
    reference: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model)
    store = stores.open(reference)
    attach(store, reference, old, CERTIFICATE, b'{"level":"executed"}', {"kleveross.io/proof-level": "executed"})
    attach(store, reference, old, CONVERSION, b'{"key":"k"}', {"kleveross.io/conversion": "k"})
    attach(store, reference, old, "application/vnd.example.signature", b'{"about":"the old manifest"}')
    enriched = enrich(reference, stores)
    for kind, name in ((CERTIFICATE, "kleveross.io/proof-level"), (CONVERSION, "kleveross.io/conversion")):
        hanging = list(attachments(store, enriched.reference, kind))
        assert len(hanging) == 1
        assert name in hanging[0].annotations
    assert not list(attachments(store, enriched.reference, "application/vnd.example.signature"))


def test_a_conversion_of_the_old_manifest_is_found_from_the_new_one(
    reference: Reference, stores: Stores, models: Path
) -> None:
    config = {"format": "MXNetParams"}
    foreign.put(reference, stores, models / "MXNetParams" / "mlp" / "model", config=config)
    unproven = Demands(level=Level.NONE)
    made = convert(reference, "ONNX", replace(reference, tag="onnx"), stores, demands=unproven)
    enriched = enrich(reference, stores)
    found = convert(enriched.reference, "ONNX", replace(reference, tag="again"), stores, demands=unproven)
    assert found.found
    assert made.reference is not None
    assert found.reference is not None
    assert found.reference.digest == made.reference.digest


def test_what_is_attached_and_malformed_stops_nothing(reference: Reference, stores: Stores, model: Path) -> None:
    old = foreign.put(reference, stores, model)
    store = stores.open(reference)
    config = Descriptor.of(b"{}", CERTIFICATE)
    store.put_blob(reference.repository, lambda: (b"{}",), expected=config)
    odd = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "artifactType": CERTIFICATE,
        "config": config.to_json(),
        "layers": [],
        "subject": Descriptor(media.MANIFEST, old.digest, old.size).to_json(),
    }
    store.put_manifest(reference.repository, json.dumps(odd).encode(), media.MANIFEST)
    assert enrich(reference, stores).moved


def test_a_foreign_layer_is_packed_again_without_its_stale_file(
    reference: Reference, stores: Stores, model: Path, tmp_path: Path
) -> None:
    beside = {"ormbfile.yaml": foreign.STALE, "README.md": b"# net"}
    foreign.put(reference, stores, model, beside=beside)
    enriched = enrich(reference, stores, repack=True)
    artifact = load_artifact(stores.open(reference), reference)
    assert (enriched.changed, enriched.moved) == (True, True)
    assert enriched.notes == ("left out, as they are not below model/: README.md",)
    store = stores.open(reference)
    with LayerFiles(store, reference.repository, artifact.manifest.layer) as files:
        assert files.strays == ()
    config = config_of(reference, stores)
    assert config["size"] == artifact.manifest.layer.size
    assert (config["created"], config["author"]) == ("2020-10-13T09:31:41.362Z", "Ada")
    assert artifact.manifest.layer == load_artifact(store, published_layer(reference, stores, model)).manifest.layer
    fetch(reference, tmp_path / "fetched", stores)
    assert {path.name: path.read_bytes() for path in (tmp_path / "fetched" / "model").iterdir()} == {
        path.name: path.read_bytes() for path in model.iterdir()
    }
    assert not enrich(reference, stores, repack=True).changed


def published_layer(reference: Reference, stores: Stores, model: Path) -> Reference:
    """Publish the model as it is, under another name, and return where."""
    return publish(model, replace(reference, tag="published"), stores).reference


def test_without_being_asked_a_foreign_layer_stays(reference: Reference, stores: Stores, model: Path) -> None:
    foreign.put(reference, stores, model, beside={"ormbfile.yaml": foreign.STALE})
    before = load_artifact(stores.open(reference), reference).manifest.layer
    enriched = enrich(reference, stores)
    assert enriched.metadata.author == "Ada"
    assert load_artifact(stores.open(reference), reference).manifest.layer == before


def test_a_certificate_about_the_old_layer_does_not_hang_on_another(
    reference: Reference, stores: Stores, model: Path
) -> None:
    old = foreign.put(reference, stores, model, beside={"ormbfile.yaml": foreign.STALE})
    store = stores.open(reference)
    attach(store, reference, old, CERTIFICATE, b'{"level":"executed"}')
    enriched = enrich(reference, stores, repack=True)
    assert not list(attachments(store, enriched.reference, CERTIFICATE))


def test_a_stated_format_replaces_the_one_in_the_config(reference: Reference, stores: Stores, model: Path) -> None:
    foreign.put(reference, stores, model, config={"format": "Others"})
    assert enrich(reference, stores, format_id="onnx").metadata.format == "ONNX"


def test_a_model_that_cannot_be_read_leaves_the_tag(reference: Reference, stores: Stores, models: Path) -> None:
    old = foreign.put(reference, stores, models / "ONNX" / "bad_truncated" / "model")
    with pytest.raises(ModelError):
        enrich(reference, stores)
    assert load_artifact(stores.open(reference), reference).descriptor.digest == old.digest


class Failing:
    """A store whose n-th writing fails, as one that goes away."""

    def __init__(self, store: Any, at: int) -> None:
        self._store, self.left = store, at

    def __getattr__(self, name: str) -> Any:
        if name in ("put_blob", "put_manifest"):
            self.left -= 1
            if self.left <= 0:
                raise RegistryUnavailableError("gone")
        return getattr(self._store, name)


class FailingStores(Stores):
    """Stores of which one goes away."""

    failing: Failing | None = None
    at = 1

    def open(self, reference: Reference) -> Any:
        if self.failing is None:
            self.failing = Failing(super().open(reference), self.at)
        return self.failing


@pytest.mark.parametrize("repack", [False, True])
def test_wherever_the_store_goes_away_the_tag_is_whole_and_another_try_completes(
    reference: Reference, stores: Stores, model: Path, repack: bool
) -> None:
    old = foreign.put(reference, stores, model, beside={"ormbfile.yaml": foreign.STALE})
    store = stores.open(reference)
    attach(store, reference, old, CONVERSION, b'{"key":"k"}', {"kleveross.io/conversion": "k"})
    at = 0
    while True:
        at += 1
        failing = FailingStores(plain_http=True)
        failing.at = at
        try:
            done = enrich(reference, failing, repack=repack)
        except RegistryUnavailableError:
            assert load_artifact(store, reference).descriptor.digest == old.digest
            continue
        finally:
            failing.close()
        break
    # Config, what hangs on it and manifest; or layer, config and manifest.
    assert at == 4
    assert load_artifact(store, reference).reference == done.reference
    assert done.moved


SAMPLES = {
    "sklearn-model-v1": ("SKLearn", "input", [-1, 64]),
    "savedmodel-fashion-v1": ("SavedModel", "Conv1_input", [-1, 28, 28, 1]),
    "pmml-model-v1": ("PMML", "Income", None),
}


@pytest.mark.corpus
@pytest.mark.parametrize("tag", SAMPLES)
def test_artifacts_of_the_original_tool_get_their_signatures(tag: str, shared: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    shutil.copytree(shared / "samples" / "ormb-artifacts", layout, copy_function=shutil.copyfile)
    for path in (layout, *layout.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    reference, stores = parse_reference(f"oci:{layout}:{tag}"), Stores()
    before = config_of(reference, stores)
    enriched = enrich(reference, stores)
    form, name, shape = SAMPLES[tag]
    after = config_of(reference, stores)
    first = after["signature"]["inputs"][0]
    assert (after["format"], first["name"], first.get("size")) == (form, name, shape)
    known = {"format", "framework", "signature", "created"}
    assert {k: v for k, v in before.items() if k not in known and v is not None}.items() <= after.items()
    assert enriched.moved
    assert not LayoutStore(layout).check()


@pytest.fixture
def open_model(models: Path) -> Path:
    """A graph whose input has no known rank."""
    return models / "GraphDef" / "unknown_rank" / "model"


def test_what_is_told_fills_what_the_file_leaves_open(reference: Reference, stores: Stores, open_model: Path) -> None:
    foreign.put(reference, stores, open_model, config={"format": "GraphDef"})
    unknown = enrich(reference, stores).metadata.signature
    assert unknown is not None
    assert unknown.inputs == (Tensor(name="x", dtype="float32"),)
    told = Signature(inputs=(Tensor(name="x", shape=(-1, 4)),))
    enriched = enrich(reference, stores, told=told)
    assert (enriched.changed, enriched.moved, enriched.notes) == (True, True, ())
    assert config_of(reference, stores)["signature"]["inputs"] == [{"name": "x", "dType": "float32", "size": [-1, 4]}]
    assert not enrich(reference, stores, told=told).changed
    assert not enrich(reference, stores).changed


def test_where_it_contradicts_what_is_told_the_file_wins(reference: Reference, stores: Stores, model: Path) -> None:
    foreign.put(reference, stores, model)
    told = Signature(inputs=(Tensor(name="x", dtype="int64"),), outputs=(Tensor(name="ghost"), Tensor(name="prob")))
    enriched = enrich(reference, stores, told=told)
    assert enriched.moved
    assert enriched.notes == (
        "input 'x' is float32 in the file, int64 in what was told",
        "output 'ghost' of what was told is not in the file",
    )
    assert config_of(reference, stores)["signature"]["inputs"][0]["dType"] == "float32"


def test_a_config_without_a_format_is_extracted_where_somebody_states_it(
    reference: Reference, stores: Stores, model: Path
) -> None:
    foreign.put(reference, stores, model, config={"author": "Ada"})
    with pytest.raises(MetadataError, match="does not say the format"):
        enrich(reference, stores)
    enriched = enrich(reference, stores, format_id="onnx")
    assert (enriched.metadata.format, enriched.metadata.author) == ("ONNX", "Ada")
