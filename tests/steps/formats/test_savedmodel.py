"""SavedModel: what its reader promises beyond the conformance suite."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus

from klever.steps.errors import MalformedModelError, MissingFilesError
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Claim, Evidence, Reading
from klever.steps.formats.savedmodel import FORMAT
from klever.steps.model.signature import NamedSignature

CORPUS = corpus("SavedModel")


def read(directory: Path) -> Reading:
    files = LocalFiles.below(directory)
    return FORMAT.read(files, claim_of(files), None)


def claim_of(files: LocalFiles | MemoryFiles) -> Claim:
    claim = FORMAT.claim(files)
    assert claim is not None
    return claim


def contents(directory: Path) -> dict[str, bytes]:
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def test_every_signature_is_told_but_the_internal_ones(models: Path) -> None:
    reading = read(models / "SavedModel" / "three_signatures" / "model")
    assert reading.signatures is not None
    assert list(reading.signatures) == ["lookup", "scale", "serving_default"]
    scale = reading.signatures["scale"]
    assert scale.method_name == "tensorflow/serving/predict"
    assert [(tensor.name, tensor.shape) for tensor in scale.inputs] == [("alpha", ()), ("any", None)]


def test_a_signature_that_stands_in_is_noted(models: Path) -> None:
    reading = read(models / "SavedModel" / "no_serving_default" / "model")
    assert reading.facts["signatureName"] == "only_this"
    assert any("no signature serving_default" in note for note in reading.notes)


def test_operators_that_write_files_are_reported_though_nested_in_functions(models: Path) -> None:
    reading = read(models / "SavedModel" / "writes_a_file_in_a_function" / "model")
    notes = "\n".join(reading.notes)
    assert re.search(r"WriteFile writes files \(in function __inference_inner", notes)
    assert "PrintV2 writes files" in notes


def test_a_models_own_checkpoint_is_no_hazard(models: Path) -> None:
    assert read(models / "SavedModel" / "keras_three" / "model").notes == ()


def test_the_operators_inside_functions_are_counted_apart(models: Path) -> None:
    reading = read(models / "SavedModel" / "keras_three" / "model")
    assert "Conv2D" not in (reading.signature.layers or {})
    assert reading.facts["functionOperators"]["Conv2D"] > 0


def test_the_highest_version_is_read_and_the_others_noted(models: Path) -> None:
    directory = models / "SavedModel" / "highest_version" / "model"
    assert claim_of(LocalFiles.below(directory)).files == ("10/saved_model.pb",)
    assert any("version 10 was read" in note and "9" in note for note in read(directory).notes)


def test_the_meta_graph_for_serving_is_read_and_sparse_inputs_noted(models: Path) -> None:
    reading = read(models / "SavedModel" / "sparse_quantised_two_meta_graphs" / "model")
    assert reading.facts["tags"] == ["serve"]
    assert any("of 2 MetaGraphs" in note for note in reading.notes)
    assert any("input sp of serving_default is a sparse tensor: values sp/values:0" in note for note in reading.notes)


def test_variables_that_the_graph_needs_are_missed_by_name(models: Path) -> None:
    with pytest.raises(MissingFilesError) as caught:
        read(models / "SavedModel" / "bad_without_variables" / "model")
    assert caught.value.missing == ("1/variables/variables.index",)


def test_a_lost_shard_is_missed_from_the_names_alone(models: Path) -> None:
    files = contents(models / "SavedModel" / "klever_sample" / "model")
    shard = files.pop("variables/variables.data-00000-of-00001")
    files["variables/variables.data-00000-of-00002"] = shard
    assert claim_of(MemoryFiles(files)).missing == ("variables/variables.data-00001-of-00002",)
    del files["variables/variables.data-00000-of-00002"]
    assert claim_of(MemoryFiles(files)).missing == ("variables/variables.data-00000-of-00001",)


def test_another_name_is_recognised_and_mended(models: Path) -> None:
    files = contents(models / "SavedModel" / "klever_sample" / "model")
    files["net.pb"] = files.pop("saved_model.pb")
    claim = claim_of(MemoryFiles(files))
    assert claim.evidence is Evidence.CONTENT
    assert claim.rename == {"net.pb": "saved_model.pb"}


def test_the_text_form_is_refused_by_name() -> None:
    files = MemoryFiles({"saved_model.pbtxt": b"saved_model_schema_version: 1\n"})
    claim = claim_of(files)
    assert claim.evidence is Evidence.NAME
    with pytest.raises(MalformedModelError, match="text form"):
        FORMAT.read(files, claim, None)


def test_companions_are_variables_and_assets() -> None:
    siblings = frozenset({"saved_model.pb", "variables", "assets", "fingerprint.pb", "notes.txt", "other.pb"})
    assert FORMAT.companions("saved_model.pb", siblings) == ("assets", "fingerprint.pb", "variables")


@pytest.mark.corpus
@pytest.mark.parametrize("case", CORPUS, ids=lambda path: path.name)
def test_the_corpus_reads_as_tensorflow_does(case: Path) -> None:
    meta: dict[str, Any] = json.loads((case / "oracle" / "meta.json").read_text())
    reading = read(case / "model")
    signature = reading.signature
    assert reading.signatures is not None
    assert set(reading.signatures) == set(meta["signatures"])
    for tensors, oracle in ((signature.inputs, meta["inputs"]), (signature.outputs, meta["outputs"])):
        assert [tensor.name for tensor in tensors or ()] == sorted(oracle)
        for tensor in tensors or ():
            sizes, dtype = oracle[tensor.name]
            assert tensor.dtype == dtype
            assert tensor.shape is not None
            assert all(size in (-1, told) for size, told in zip(tensor.shape, sizes, strict=True))
    for name, specification in meta["signatures"].items():
        if isinstance(specification[0], dict):
            _compare(reading.signatures[name], specification)


def _compare(signature: NamedSignature, specification: list[dict[str, str]]) -> None:
    """Compare with TensorSpecs as TensorFlow prints them."""
    for tensors, specs in zip((signature.inputs, signature.outputs), specification, strict=True):
        for tensor in tensors:
            shape = "<unknown>" if tensor.shape is None else str(tensor.shape).replace("-1", "None")
            dtype = "string" if tensor.dtype == "object" else tensor.dtype
            assert f"shape={shape}, dtype=tf.{dtype}," in specs[tensor.name]
