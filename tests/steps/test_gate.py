"""The gate believes what lies in the store about an artifact's bytes, and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import foreign
import pytest

from klever.steps.artifact import load_artifact
from klever.steps.attachments import CERTIFICATE, attach
from klever.steps.errors import RegistryUnavailableError, UnprovenError
from klever.steps.gate import gate, judge
from klever.steps.model.certificate import Certificate, Level, OutputError, Party
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.stores import Stores

REFERENCE = parse_reference("vision/net:v1")
DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(home=tmp_path / "home")


@pytest.fixture
def model(models: Path) -> Path:
    return models / "ONNX" / "cnn_dynamic_dims" / "model"


def certificate(result: str, level: Level = Level.COMPARED, *, within: bool = True) -> Certificate:
    outputs = (OutputError(name="y", within_tolerance=within),) if level is Level.COMPARED else ()
    return Certificate(
        level=level,
        created="2026-01-01T00:00:00Z",
        source=Party(format="MXNetParams", digest=DIGEST),
        result=Party(format="ONNX", digest=result),
        path=(),
        options={},
        outputs=outputs,
    )


def put_certified(stores: Stores, model: Path, level: Level = Level.COMPARED, *, within: bool = True) -> Reference:
    """Put an artifact whose config holds a certificate about its layer."""
    foreign.put(REFERENCE, stores, model)
    layer = load_artifact(stores.open(REFERENCE), REFERENCE).manifest.layer.digest
    proof = certificate(layer, level, within=within).to_json()
    foreign.put(REFERENCE, stores, model, config={**foreign.CONFIG, "certificate": proof})
    return load_artifact(stores.open(REFERENCE), REFERENCE).reference


@pytest.mark.parametrize("required", [Level.NONE, Level.EXECUTED, Level.COMPARED])
def test_a_certificate_about_these_bytes_that_is_strong_enough_passes(
    stores: Stores, model: Path, required: Level
) -> None:
    reference = put_certified(stores, model)
    (judgement,) = gate([reference], stores, level=required)
    assert judgement.to_json() == {
        "reference": str(reference),
        "digest": reference.digest,
        "format": "ONNX",
        "level": "compared",
        "withinTolerance": True,
        "source": DIGEST,
        "result": load_artifact(stores.open(reference), reference).manifest.layer.digest,
    }


def test_a_certificate_that_is_too_weak_does_not_pass(stores: Stores, model: Path) -> None:
    put_certified(stores, model, Level.EXECUTED)
    with pytest.raises(UnprovenError, match="was proven to the level executed, and compared is required"):
        gate([REFERENCE], stores, level=Level.COMPARED)


def test_a_result_that_differs_passes_at_no_level(stores: Stores, model: Path) -> None:
    put_certified(stores, model, within=False)
    with pytest.raises(UnprovenError, match="does not compute what its source does"):
        gate([REFERENCE], stores, level=Level.NONE)


def test_a_certificate_about_other_bytes_does_not_pass(stores: Stores, model: Path) -> None:
    config = {**foreign.CONFIG, "certificate": certificate(DIGEST).to_json()}
    foreign.put(REFERENCE, stores, model, config=config)
    assert judge(REFERENCE, stores).fault == "has a certificate that is about other bytes"


def test_without_a_certificate_nothing_passes(stores: Stores, model: Path) -> None:
    foreign.put(REFERENCE, stores, model)
    assert judge(REFERENCE, stores, level=Level.NONE).fault == "has no certificate"


def test_a_certificate_that_hangs_on_the_artifact_counts(stores: Stores, model: Path) -> None:
    descriptor = foreign.put(REFERENCE, stores, model)
    store = stores.open(REFERENCE)
    layer = load_artifact(store, REFERENCE).manifest.layer.digest
    attach(store, REFERENCE, descriptor, CERTIFICATE, b"[not a certificate")
    attach(store, REFERENCE, descriptor, CERTIFICATE, json.dumps(certificate(layer).to_json()).encode())
    assert judge(REFERENCE, stores, level=Level.COMPARED).fault == ""


def test_what_is_not_there_or_is_no_artifact_is_named_beside_the_others(
    stores: Stores, model: Path, models: Path
) -> None:
    put_certified(stores, model)
    gone, odd = replace(REFERENCE, tag="gone"), replace(REFERENCE, tag="odd")
    foreign.put(odd, stores, model, config={"no": "format"})
    with pytest.raises(UnprovenError) as raised:
        gate([REFERENCE, gone, odd], stores)
    assert "vision/net:gone is not there; vision/net:odd is no artifact that can be read" in raised.value.cause
    assert "vision/net:v1" not in raised.value.cause


def test_a_registry_that_is_away_is_no_judgement() -> None:
    class Away(Stores):
        def open(self, reference: Reference) -> object:  # type: ignore[override]
            raise RegistryUnavailableError("away")

    with pytest.raises(RegistryUnavailableError):
        gate([REFERENCE], Away())
