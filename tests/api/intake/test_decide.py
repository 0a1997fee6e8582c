"""Whether a push starts a job follows from what the registry has, and not from what the payload says."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import fake
from intake import ADMIN, Site
from registries import QUICK

from klever.api.harbor.events import Push
from klever.api.intake import decide as reasons
from klever.api.intake.decide import decide
from klever.api.intake.policy import parse_policy
from klever.api.modeljob.model import parse_job
from klever.api.modeljob.request import request_of
from klever.steps.artifact import DERIVED_FROM, load_artifact
from klever.steps.attachments import CERTIFICATE, attach
from klever.steps.conversions import CONVERTED_FROM
from klever.steps.enrich import enrich
from klever.steps.errors import RegistryUnavailableError, TemporaryError, UnauthorizedError
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor, Digest
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.registry import RegistryStore
from klever.steps.stores import Stores

pytestmark = pytest.mark.registry

EXTRACTION = parse_policy("projects: [{match: release, namespace: models}]")
PIPELINE = parse_policy(
    "projects: [{match: release, namespace: models, pipeline: {template: klever-release, arguments: {formats: ONNX}}}]"
)


def test_a_model_without_its_signature_calls_for_an_extraction(site: Site, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    decision = decide(push, EXTRACTION, site.registry)
    assert decision.job is not None
    job = parse_job(decision.job)
    assert job.namespace == "models"
    assert job.spec.model == f"{site.host}/release/mnist:v1@{push.digest}"
    assert request_of(job).template == "klever-extract"
    assert job.metadata["annotations"] == {"kleveross.io/digest": push.digest}
    assert job.metadata["labels"] == {
        "kleveross.io/project": "release",
        "kleveross.io/model": "mnist",
        "kleveross.io/origin": "harbor-event",
    }


def test_every_tag_and_every_delivery_give_the_same_name(site: Site, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    pushes = [push, push, site.tag(push, "v2"), replace(push, tag=None), replace(push, operator="robot$x")]
    jobs = [decide(each, EXTRACTION, site.registry).job for each in pushes]
    assert len({job["metadata"]["name"] for job in jobs if job}) == 1
    assert {job["spec"]["model"] for job in jobs if job} == {
        f"{site.host}/release/mnist:v1@{push.digest}",
        f"{site.host}/release/mnist:v2@{push.digest}",
        f"{site.host}/release/mnist@{push.digest}",
    }


def test_another_digest_repository_or_pipeline_is_another_job(site: Site, package: Path, models: Path) -> None:
    first = site.publish_unread(package, "release/mnist:v1")
    pushes = [
        (first, EXTRACTION),
        (site.publish_unread(models / "PMML" / "kmeans" / "model", "release/mnist:v1"), EXTRACTION),
        (site.publish_unread(package, "release/other:v1"), EXTRACTION),
        (first, PIPELINE),
    ]
    jobs = [decide(push, policy, site.registry).job for push, policy in pushes]
    assert len({job["metadata"]["name"] for job in jobs if job}) == len(pushes)


def test_what_carries_its_signature_calls_for_nothing(site: Site, package: Path) -> None:
    assert decide(site.publish(package, "release/mnist:v1"), EXTRACTION, site.registry).reason == (
        reasons.CARRIES_SIGNATURE
    )


def test_the_push_of_an_extraction_calls_for_nothing(site: Site, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    stores = Stores(plain_http=True)
    stores._open[site.host, None] = site.registry
    enriched = enrich(site.reference("release/mnist:v1"), stores)
    assert enriched.descriptor.digest != push.digest
    own = replace(push, digest=enriched.descriptor.digest, operator="robot$release+klever")
    assert decide(own, EXTRACTION, site.registry).reason == reasons.CARRIES_SIGNATURE
    # Whoever the payload says it was.
    assert decide(replace(own, operator="admin"), EXTRACTION, site.registry).job is None


def test_a_signature_of_another_layer_does_not_count(site: Site, package: Path, models: Path) -> None:
    site.publish(package, "release/mnist:v1")
    site.publish(models / "PMML" / "kmeans" / "model", "release/mnist:v2")
    read = load_artifact(site.registry, site.reference("release/mnist:v1"))
    layer = load_artifact(site.registry, site.reference("release/mnist:v2")).manifest.layer
    push = site.put("release/mnist:mixed", read.metadata.to_config(), layer, dict(read.manifest.annotations))
    assert decide(push, EXTRACTION, site.registry).job is not None


def test_the_signature_of_an_extraction_by_klever_0_2_counts(site: Site, package: Path) -> None:
    """It left no annotation, but counts of layers."""
    site.publish(package, "release/mnist:v1")
    read = load_artifact(site.registry, site.reference("release/mnist:v1"))
    for layers, reason in (({"Conv": 1}, reasons.CARRIES_SIGNATURE), ({}, "")):
        assert read.metadata.signature is not None
        signature = read.metadata.signature.model_copy(update={"layers": layers})
        config = read.metadata.changed(signature=signature).to_config()
        push = site.put("release/mnist:old", config, read.manifest.layer)
        assert decide(push, EXTRACTION, site.registry).reason == reason


def test_an_annotation_without_a_signature_does_not_count(site: Site, package: Path) -> None:
    site.publish(package, "release/mnist:v1")
    read = load_artifact(site.registry, site.reference("release/mnist:v1"))
    config = read.metadata.changed(signature=None).to_config()
    push = site.put("release/mnist:v2", config, read.manifest.layer, dict(read.manifest.annotations))
    assert decide(push, EXTRACTION, site.registry).job is not None


def test_what_hangs_on_a_model_calls_for_nothing(site: Site, package: Path) -> None:
    model = site.publish_unread(package, "release/mnist:v1")
    artifact = load_artifact(site.registry, site.reference("release/mnist:v1"))
    certificate = attach(site.registry, artifact.reference, artifact.descriptor, CERTIFICATE, b"{}")
    push = replace(model, digest=certificate.digest, tag=None)
    assert "not a model artifact" in decide(push, EXTRACTION, site.registry).reason
    # A model that hangs on another one does neither.
    manifest = build_manifest(artifact.manifest.config, artifact.manifest.layer, subject=artifact.descriptor)
    push = site.put_manifest("release/mnist:on-it", manifest)
    assert decide(push, EXTRACTION, site.registry).reason == reasons.IS_REFERRER


@pytest.mark.parametrize("kind", ["image", "index", "two-layers"])
def test_what_is_no_model_calls_for_nothing(site: Site, package: Path, kind: str) -> None:
    site.publish_unread(package, "release/mnist:v1")
    artifact = load_artifact(site.registry, site.reference("release/mnist:v1"))
    config, layer = artifact.manifest.config, artifact.manifest.layer
    document = {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": config.to_json()}
    if kind == "image":
        image = Descriptor("application/vnd.oci.image.config.v1+json", config.digest, config.size)
        document |= {"config": image.to_json(), "layers": [layer.to_json()]}
    elif kind == "index":
        document = {"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [artifact.descriptor.to_json()]}
    else:
        document |= {"layers": [layer.to_json()] * 2}
    push = site.put_manifest("release/mnist:other", json.dumps(document).encode(), str(document["mediaType"]))
    decision = decide(push, EXTRACTION, site.registry)
    assert decision.job is None
    assert "model artifact" in decision.reason


def test_a_config_that_cannot_be_read_calls_for_a_job_that_says_so(site: Site, package: Path) -> None:
    site.publish_unread(package, "release/mnist:v1")
    layer = load_artifact(site.registry, site.reference("release/mnist:v1")).manifest.layer
    assert decide(site.put("release/mnist:v2", b'{"format": 7}', layer), EXTRACTION, site.registry).job is not None


def test_a_manifest_that_is_gone_calls_for_nothing(site: Site, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    gone = replace(push, digest=Digest("sha256:" + "0" * 64))
    assert decide(gone, EXTRACTION, site.registry).reason == reasons.IS_GONE


def test_the_tag_may_have_moved_on(site: Site, package: Path, models: Path) -> None:
    first = site.publish_unread(package, "release/mnist:v1")
    site.publish_unread(models / "PMML" / "kmeans" / "model", "release/mnist:v1")
    decision = decide(first, EXTRACTION, site.registry)
    assert decision.wanted is not None
    assert decision.wanted.digest == first.digest


def test_what_no_rule_covers_is_not_asked_for(site: Site) -> None:
    push = Push("elsewhere", "elsewhere/mnist", Digest("sha256:" + "0" * 64), "v1")
    with fake(lambda exchange: exchange.reply(500)) as server, RegistryStore(server.host, plain_http=True) as registry:
        assert decide(push, EXTRACTION, registry).reason == reasons.NOT_COVERED
        assert server.requests == []


def test_one_request_tells_what_is_no_model(site: Site, package: Path) -> None:
    site.publish_unread(package, "release/mnist:v1")
    artifact = load_artifact(site.registry, site.reference("release/mnist:v1"))
    certificate = attach(site.registry, artifact.reference, artifact.descriptor, CERTIFICATE, b"{}")
    data = site.registry.get_manifest("release/mnist", certificate.digest).data
    with (
        fake(lambda exchange: exchange.reply(200, data, {"Content-Type": media.MANIFEST})) as server,
        RegistryStore(server.host, plain_http=True, credentials=None) as registry,
    ):
        push = Push("release", "release/mnist", certificate.digest, None)
        assert decide(push, EXTRACTION, registry).job is None
        assert len(server.requests) == 1


def test_the_host_is_ours_whatever_a_payload_says(site: Site, package: Path) -> None:
    """A push has no host: what `resource_url` says is not read at all."""
    push = site.publish_unread(package, "release/mnist:v1")
    decision = decide(push, EXTRACTION, site.registry)
    assert decision.wanted is not None
    assert decision.wanted.host == site.registry.host


def test_a_pipeline_is_started_for_a_model_with_its_signature_too(site: Site, package: Path) -> None:
    for name in ("release/read:v1", "release/unread:v1"):
        push = (site.publish if "/read" in name else site.publish_unread)(package, name)
        decision = decide(push, PIPELINE, site.registry)
        assert decision.job is not None
        request = request_of(parse_job(decision.job))
        assert request.template == "klever-release"
        assert request.arguments_for({"model", "formats"}) == {
            "model": f"{site.host}/{name}@{push.digest}",
            "formats": "ONNX",
        }


@pytest.mark.parametrize("annotation", [CONVERTED_FROM, DERIVED_FROM])
def test_a_pipeline_is_not_started_for_the_result_of_one(site: Site, package: Path, annotation: str) -> None:
    site.publish(package, "release/mnist:v1")
    read = load_artifact(site.registry, site.reference("release/mnist:v1"))
    annotations = {**read.manifest.annotations, annotation: read.descriptor.digest}
    push = site.put("release/mnist:v1-onnx", read.metadata.to_config(), read.manifest.layer, annotations)
    assert decide(push, PIPELINE, site.registry).reason == reasons.IS_RESULT


def test_a_pipeline_is_not_started_by_our_own_robot(site: Site, package: Path) -> None:
    push = replace(site.publish(package, "release/mnist:v1"), operator="robot$release+klever")
    assert decide(push, PIPELINE, site.registry).reason == reasons.BY_ROBOT


def test_an_extraction_follows_a_push_by_our_own_robot_where_one_is_missing(site: Site, package: Path) -> None:
    push = replace(site.publish_unread(package, "release/mnist:v1"), operator="robot$release+klever")
    assert decide(push, EXTRACTION, site.registry).job is not None


def test_a_registry_that_is_away_is_worth_another_try(site: Site, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    with (
        RegistryStore("127.0.0.1:9", plain_http=True, retry=QUICK) as away,
        pytest.raises(RegistryUnavailableError) as caught,
    ):
        decide(push, EXTRACTION, away)
    assert isinstance(caught.value, TemporaryError)
    assert caught.value.stage == "event"


@pytest.mark.parametrize("credentials", [None, Credentials("admin", "wrong")], ids=["none", "wrong"])
def test_credentials_that_do_not_do_are_told(site: Site, package: Path, credentials: Credentials | None) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    with (
        RegistryStore(site.host, plain_http=True, credentials=credentials, retry=QUICK) as registry,
        pytest.raises(UnauthorizedError),
    ):
        decide(push, EXTRACTION, registry)


def test_a_robot_that_may_pull_is_enough(site: Site, package: Path) -> None:
    push = site.publish_unread(package, "release/mnist:v1")
    robot = site.stand_in.make_robot("release", f"reader-{push.digest[7:15]}", ["repository:pull"])
    with RegistryStore(
        site.host, plain_http=True, credentials=Credentials(robot.name, robot.secret), retry=QUICK
    ) as registry:
        assert decide(push, EXTRACTION, registry).job is not None
    assert ADMIN.username != robot.name
