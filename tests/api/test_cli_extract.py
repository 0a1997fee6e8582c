"""``klever extract``: what it prints, and that it leaves alone what needs nothing."""

from pathlib import Path

import foreign

from klever.steps.oci.reference import parse_reference
from klever.steps.stores import Stores

from .conftest import Klever


def test_the_tag_gets_the_signature_and_a_second_time_nothing_changes(klever: Klever, home: Path, models: Path) -> None:
    reference = parse_reference("vision/net:v1")
    foreign.put(reference, Stores(home=home), models / "ONNX" / "cnn_dynamic_dims" / "model")
    first = klever("extract", "vision/net:v1")
    assert first.code == 0
    verb, signature, digest = first.out.splitlines()
    assert verb == "extracted vision/net:v1  ONNX"
    assert signature.startswith("  x float32[-1, 3, -1, -1] -> prob float32[-1, 5]; Conv 1")
    again = klever("extract", "vision/net:v1", "--json").document
    assert (again["digest"], again["changed"], again["moved"]) == (digest, False, False)
    assert klever("inspect", "vision/net:v1", "--json").document["signature"] == again["signature"]


def test_a_foreign_layer_is_packed_again_on_request(klever: Klever, home: Path, models: Path) -> None:
    model = models / "ONNX" / "cnn_dynamic_dims" / "model"
    beside = {"ormbfile.yaml": foreign.STALE, "notes.txt": b""}
    foreign.put(parse_reference("vision/net:v1"), Stores(home=home), model, beside=beside)
    done = klever("extract", "vision/net:v1", "--repack", "--json").document
    assert done["moved"]
    assert done["notes"] == ["left out, as they are not below model/: notes.txt"]


def test_what_is_not_there_is_a_sentence(klever: Klever) -> None:
    done = klever("extract", "--json", "vision/none:v1")
    assert (done.code, done.error["stage"]) == (1, "pull")
    assert klever("extract", "vision/net:v1@sha256:12").code == 1


def test_the_result_goes_elsewhere_with_what_somebody_tells(klever: Klever, home: Path, models: Path) -> None:
    reference, stores = parse_reference("vision/net:v1"), Stores(home=home)
    model = models / "GraphDef" / "unknown_rank" / "model"
    foreign.put(reference, stores, model, config={"format": "GraphDef"})
    told = '[{"name": "x", "size": [-1, 4]}]'
    done = klever("extract", "vision/net:v1", "--as", "vision/net:v1-read", "--inputs", told)
    assert done.code == 0
    assert done.out.splitlines()[0] == "extracted vision/net:v1-read  GraphDef"
    assert "x float32[-1, 4]" in done.out
    assert klever("inspect", "vision/net:v1", "--json").document["signature"]["inputs"][0].get("size") is None


def test_every_tag_of_what_was_read_moves_on_request(klever: Klever, home: Path, models: Path) -> None:
    for tag in ("v1", "latest"):
        foreign.put(
            parse_reference(f"vision/net:{tag}"), Stores(home=home), models / "ONNX" / "cnn_dynamic_dims" / "model"
        )
    assert klever("extract", "vision/net:v1", "--all-tags", "--json").document["notes"] == [
        "moved to it as well: latest"
    ]


def test_tensors_that_are_none_are_wrong_usage(klever: Klever) -> None:
    done = klever("extract", "vision/net:v1", "--outputs", '[{"size": [1]}]')
    assert done.code == 2
    assert "0.name" in done.err
