"""The definition of ModelJobs as a real API server takes and applies it, and as kubectl shows it."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from clusters import lack, temporary_namespace
from modeljobs import HISTORIC, MODEL, REFUSED, TAKEN, Document, manifest

from klever.api.modeljob.model import MODEL_JOBS, parse_job
from klever.api.modeljob.status import changes, status_of
from klever.workflows.argo.client import Cluster
from klever.workflows.status import Phase, Run

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "crds" / "modeljobs.kleveross.io.yaml"
Kubectl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> Iterator[str]:
    """A namespace, in a cluster that has the definition."""
    if shutil.which("kubectl") is None:
        lack("kubectl on the PATH")
    with temporary_namespace(cluster, "klever-test-crd") as name:
        applied = subprocess.run(
            ["kubectl", "apply", "--server-side", "--force-conflicts", "-f", str(CRD)], capture_output=True, text=True
        )
        assert applied.returncode == 0, applied.stderr
        established = ["kubectl", "wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRD)]
        subprocess.run(established, check=True, capture_output=True)
        yield name


@pytest.fixture(scope="module")
def kubectl(place: str) -> Kubectl:
    """Run kubectl in the namespace, with a document on its standard input."""

    def call(*arguments: str, document: Document | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["kubectl", *arguments, "--namespace", place],
            input=None if document is None else yaml.safe_dump(document),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return call


def dry_run(kubectl: Kubectl, document: Document) -> subprocess.CompletedProcess[str]:
    return kubectl("apply", "--dry-run=server", "-o", "json", "-f", "-", document=document)


@pytest.mark.parametrize("name", TAKEN)
def test_a_manifest_applies_and_keeps_its_spec(kubectl: Kubectl, name: str) -> None:
    applied = dry_run(kubectl, TAKEN[name])
    assert applied.returncode == 0, applied.stderr
    assert applied.stderr == ""
    assert json.loads(applied.stdout)["spec"] == TAKEN[name]["spec"]


@pytest.mark.parametrize("name", REFUSED)
def test_nonsense_is_refused_with_what_to_write(kubectl: Kubectl, name: str) -> None:
    document, sentence = REFUSED[name]
    refused = kubectl("create", "--dry-run=server", "--validate=false", "-f", "-", document=document)
    assert refused.returncode != 0
    assert sentence in refused.stderr


@pytest.mark.parametrize("path", sorted((ROOT / "examples/modeljobs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_apply_strictly(kubectl: Kubectl, path: Path) -> None:
    applied = kubectl("apply", "--dry-run=server", "--validate=strict", "-f", str(path))
    assert applied.returncode == 0, applied.stderr


def test_a_manifest_applied_twice_is_unchanged(kubectl: Kubectl) -> None:
    document = HISTORIC["env"] | {"metadata": {"name": "twice"}}
    assert kubectl("apply", "-f", "-", document=document).stdout.strip().endswith("created")
    assert kubectl("apply", "-f", "-", document=document).stdout.strip().endswith("unchanged")


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("modeljob", "A piece of work on a model in a registry"),
        ("modeljob.spec.model", "Reference of the artifact to work on: HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]."),
        ("modeljob.spec.conversion.mmdnn.to", "The format to convert to"),
        ("modeljob.spec.pipeline.arguments", "Values for the template's parameters"),
        ("modeljob.spec.env.value", "A JSON list with an object for each input or output"),
        ("mj.status.conditions", "kubectl wait --for=condition=Succeeded"),
        ("mj.status.result.certificate.level", "it computes what its source does"),
    ],
)
def test_kubectl_explains_a_field(kubectl: Kubectl, field: str, words: str) -> None:
    explained = kubectl("explain", field)
    assert words in " ".join(explained.stdout.split()), explained.stderr


@pytest.fixture(scope="module")
def finished(cluster: Cluster, place: str) -> str:
    """A job with the status of a run that ended well."""
    path = MODEL_JOBS.path(place)
    created = cluster.create(path, manifest("finished", model=MODEL, extraction={}))
    reference = f"harbor.example/release/mxnet:v1@sha256:{'0' * 64}"
    run = Run("finished-abc", phase=Phase.SUCCEEDED, outputs={"reference": reference, "digest": f"sha256:{'0' * 64}"})
    status = status_of(parse_job(created), run)
    cluster.merge(MODEL_JOBS.path(place, "finished", "status"), {"status": status.to_json()})
    return "finished"


def test_the_table_has_model_kind_phase_result_and_age(kubectl: Kubectl, finished: str) -> None:
    header, row = kubectl("get", "mj", finished).stdout.splitlines()
    assert header.split() == ["NAME", "MODEL", "KIND", "PHASE", "RESULT", "AGE"]
    name, model, kind, phase, result, _ = row.split()
    assert (name, model, kind, phase) == (finished, MODEL, "extraction", "Succeeded")
    assert result.startswith("harbor.example/release/mxnet:v1@sha256:")


def test_the_wide_table_says_what_happened_and_in_which_workflow(kubectl: Kubectl, finished: str) -> None:
    header, row = kubectl("get", "modeljobs", finished, "-o", "wide").stdout.splitlines()
    assert header.split()[-2:] == ["WORKFLOW", "MESSAGE"]
    assert "finished-abc" in row
    assert "extraction is done: harbor.example/release/mxnet:v1@sha256:" in row


def test_the_jobs_are_in_the_category_klever(kubectl: Kubectl, finished: str) -> None:
    assert f"modeljob.kleveross.io/{finished}" in kubectl("get", "klever", "-o", "name").stdout.split()


def test_kubectl_waits_for_success(kubectl: Kubectl, finished: str) -> None:
    waited = kubectl("wait", "--for=condition=Succeeded", "--timeout=10s", f"modeljob/{finished}")
    assert waited.returncode == 0, waited.stderr
    not_failed = kubectl("wait", "--for=condition=Failed", "--timeout=1s", f"modeljob/{finished}")
    assert not_failed.returncode != 0


def test_the_status_is_the_controllers_and_a_new_spec_a_new_generation(cluster: Cluster, place: str) -> None:
    path = MODEL_JOBS.path(place)
    created = cluster.create(
        path, manifest("generations", model=MODEL, extraction={}) | {"status": {"phase": "Failed"}}
    )
    assert "status" not in created
    one = MODEL_JOBS.path(place, "generations")
    status = status_of(parse_job(created), None)
    reported = cluster.merge(f"{one}/status", {"status": status.to_json()})
    assert reported["metadata"]["generation"] == 1
    changed = cluster.merge(one, {"spec": {"extraction": {"format": "ONNX"}}})
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == reported["status"]


def test_a_status_goes_to_the_server_and_comes_back_the_same(cluster: Cluster, place: str) -> None:
    created = cluster.create(MODEL_JOBS.path(place), manifest("told", model=MODEL, extraction={}))
    job = parse_job(created)
    status = status_of(job, Run("told-abc", phase=Phase.FAILED, message="invalid spec: x"))
    path = MODEL_JOBS.path(place, "told", "status")
    stored = cluster.merge(path, {"status": status.to_json()})
    assert stored["status"] == status.to_json()
    again = status_of(parse_job(stored), Run("told-abc", phase=Phase.FAILED, message="invalid spec: x"))
    assert changes(stored["status"], again.to_json()) == {}


def test_a_status_is_turned_into_another_by_what_differs(cluster: Cluster, place: str) -> None:
    created = cluster.create(MODEL_JOBS.path(place), manifest("turned", model=MODEL, extraction={}))
    path = MODEL_JOBS.path(place, "turned", "status")
    outputs = {"reference": f"{MODEL}@sha256:{'1' * 64}", "level": "compared", "found": "true"}
    first = status_of(parse_job(created), Run("turned-a", phase=Phase.SUCCEEDED, outputs=outputs))
    stored = cluster.merge(path, {"status": first.to_json()})
    second = status_of(parse_job(stored), Run("turned-b", phase=Phase.SUCCEEDED, outputs={"reference": MODEL}))
    patch = changes(stored["status"], second.to_json())
    assert cluster.merge(path, {"status": patch})["status"] == second.to_json()
