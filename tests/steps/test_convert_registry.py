"""Converting from and to real registries: results, certificates and records, with and without a referrers API."""

from pathlib import Path
from uuid import uuid4

import pytest
from registries import Registry

from klever.steps.artifact import load_artifact
from klever.steps.attachments import CERTIFICATE, CONVERSION, attachments
from klever.steps.conversions import Demands
from klever.steps.convert import convert
from klever.steps.model.certificate import Level
from klever.steps.oci.reference import parse_reference
from klever.steps.publish import publish
from klever.steps.stores import Stores

pytestmark = pytest.mark.registry
UNPROVEN = Demands(level=Level.NONE)


def test_a_result_is_published_certified_recorded_and_found(registry: Registry, models: Path, tmp_path: Path) -> None:
    stores = Stores(plain_http=True, home=tmp_path / "home")
    folder = uuid4().hex
    source = parse_reference(f"{registry.host}/{folder}/mlp:v1")
    results = [parse_reference(f"{registry.host}/{folder}/{name}:v1") for name in ("onnx", "copy")]
    try:
        publish(models / "MXNetParams" / "mlp" / "model", source, stores)
        made = convert(source, "ONNX", results[0], stores, demands=UNPROVEN)
        artifact = load_artifact(stores.open(results[0]), results[0])
        assert artifact.reference == made.reference
        stored = load_artifact(stores.open(source), source)
        for reference, kind in ((artifact.reference, CERTIFICATE), (stored.reference, CONVERSION)):
            assert len(list(attachments(stores.open(reference), reference, kind))) == 1
        found = convert(source, "ONNX", results[1], stores, demands=UNPROVEN)
        assert found.found
        assert found.reference is not None
        assert found.reference.digest == artifact.descriptor.digest
    finally:
        stores.close()
