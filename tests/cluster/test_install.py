"""The whole on a real cluster: the chart, a Harbor's stand-in that tells of pushes, ModelJobs, and what is left at the end.

The release is installed once for all tests, everything is pushed and applied at once, and the tests look at what came of
it, in the order of this file: the last ones delete. What does not belong here: rights (`test_rights`), faults, and many
events (`test_storm`).
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from clusters import (
    HOST_IP_VARIABLE,
    IMAGES_VARIABLE,
    ClusterRegistry,
    has_image,
    lack,
    settings,
    temporary_namespace,
    until,
)
from harbor.server import StandIn, running_harbor
from helm import CHART, helm

from klever.api.modeljob.model import MODEL_JOBS
from klever.api.modeljob.names import FROM_EVENT, JOB, ORIGIN
from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.converters.table import PAIRS
from klever.steps.errors import NotFoundError
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.reference import parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.workflows.argo.client import PODS, WORKFLOW_TEMPLATES, WORKFLOWS, Cluster, Resource
from klever.workflows.templates.images import IMAGE_OF_ENVIRONMENT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1500)]

#: A model of each of the nine classic formats.
MODELS = (
    "SavedModel/keras_three",
    "GraphDef/two_outputs",
    "H5/seq2seq_tfkeras",
    "ONNX/cnn_dynamic_dims",
    "CaffeModel/mtcnn_det1",
    "NetDef/opmix_brew",
    "MXNetParams/ssd",
    "TorchScript/resnet_traced_torch17",
    "PMML/pipeline",
)
#: What each format that converts is converted from.
SOURCES = {
    "MXNetParams": "MXNetParams/mlp",
    "CaffeModel": "CaffeModel/tiny_v1",
    "NetDef": "NetDef/misc",
    "H5": "H5/sequential_keras3",
    "Keras": "Keras/sequential_keras3",
    "SavedModel": "SavedModel/keras_three",
    "GraphDef": "GraphDef/convolutions",
    "TorchScript": "TorchScript/tabular_traced_torch215",
    "SKLearn": "SKLearn/dt_1_9",
    "XGBoost": "XGBoost/binary_2_1_linear",
}
#: Projects: pushes of other tools are read, pushes by `klever publish` start a pipeline, sources of conversions start
#: nothing, and one that belongs to others.
COPIED, PUBLISHED, QUIET, ANOTHERS = "vision", "inbox", "sources", "speech"
ADMIN = Credentials("admin", "Harbor12345")
KLEVER = str(Path(sys.executable).with_name("klever"))
CRD = "modeljobs.kleveross.io"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#: As long as every job together may take.
JOBS_SECONDS = 900.0
#: Pods start with what they need; a kubelet looks again at secrets that were not there within two minutes.
START_SECONDS = 240
SERVICES = Resource("", "services", "v1")
Document = dict[str, Any]


def package(models: Path, model: str) -> Path:
    """Return what is published of a model of the repository."""
    directory = models / model
    return directory if (directory / "ormbfile.yaml").is_file() else directory / "model"


def short(model: str) -> str:
    """Return the name of a model's repository."""
    return model.lower().replace("/", "-").replace("_", "-")


def run(*command: str, variables: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """Run a program and return what it prints; it has to succeed."""
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass
class Site:
    """A Harbor, and a release that listens to it."""

    cluster: Cluster
    harbor: StandIn
    #: The release's namespace, that of its jobs, and that of others' jobs.
    home: str
    jobs: str
    others: str
    #: The Docker configuration of whoever pushes.
    docker: Path
    values: Document
    #: Models and formats that have an image here, as conversions of the test.
    pairs: list[tuple[str, str]] = field(default_factory=list)

    def reference(self, project: str, model: str, tag: str = "v1") -> str:
        """Return what a model of a project is called."""
        return f"{self.harbor.host}/{project}/{short(model)}:{tag}"

    def load(self, reference: str) -> StoredArtifact:
        """Return an artifact as it is now."""
        parsed = parse_reference(reference)
        with RegistryStore(self.harbor.host, plain_http=True, credentials=ADMIN) as store:
            return load_artifact(store, parsed)

    def all(self, resource: Resource, namespace: str, **labels: str) -> list[Document]:
        """Return the objects of a namespace that have labels."""
        selector = {"labelSelector": ",".join(f"{key}={value}" for key, value in labels.items())} if labels else None
        return self.cluster.list_all(resource.path(namespace), selector)[0]

    def job_of(self, reference: str) -> Document:
        """Return the one job for an artifact, by its repository."""
        name = reference.rpartition(":")[0]
        found = [each for each in self.all(MODEL_JOBS, self.jobs) if each["spec"]["model"].startswith(f"{name}:")]
        assert len(found) == 1, [each["metadata"]["name"] for each in found]
        return found[0]

    def klever(self, *arguments: str) -> str:
        """Run the command line as whoever pushes."""
        return run(KLEVER, *arguments, variables={"DOCKER_CONFIG": str(self.docker), "KLEVER_PLAIN_HTTP": "true"})

    def publish(self, path: Path, reference: str) -> None:
        """Publish a model with its signature."""
        self.klever("publish", str(path), reference)

    def copy(self, source: str, reference: str) -> None:
        """Copy an artifact as people do who have no Klever."""
        run(
            *("skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"),
            *("--dest-creds", f"{ADMIN.username}:{ADMIN.password}", f"docker://{source}", f"docker://{reference}"),
        )

    def apply(self, document: Document) -> str:
        """Apply a manifest."""
        return run("kubectl", "apply", "--namespace", self.jobs, "--filename", "-", stdin=json.dumps(document))


# ---------------------------------------------------------------- the installation
@pytest.fixture(scope="module")
def site(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A Harbor's stand-in, and the chart installed for it."""
    address = os.environ.get(HOST_IP_VARIABLE) or lack(
        f"{HOST_IP_VARIABLE}: pods have to reach a Harbor on this machine"
    )
    for program in ("kubectl", "helm", "skopeo"):
        if shutil.which(program) is None:
            lack(f"{program} on the PATH")
    if not has_image("api"):
        lack(f"the image api among {IMAGES_VARIABLE}")
    directory = tmp_path_factory.mktemp("harbor")
    with ExitStack() as stack:
        harbor = stack.enter_context(running_harbor(directory / "storage", address=address))
        for project in (COPIED, PUBLISHED, QUIET, ANOTHERS):
            harbor.make_project(project)
        home, jobs, others = (
            stack.enter_context(temporary_namespace(cluster, f"klever-test-{name}"))
            for name in ("home", "jobs", "others")
        )
        docker = directory / "docker"
        docker.mkdir()
        (docker / "config.json").write_text(json.dumps(docker_config(harbor.host, ADMIN)))
        values = {
            "namespaces": [jobs, others],
            "image": {"tag": settings().image_tag, "pullPolicy": "IfNotPresent"},
            "harbor": {"url": harbor.url},
            "registry": {"plainHttp": True},
            "policy": {
                "projects": [
                    {"match": COPIED, "namespace": jobs},
                    {"match": PUBLISHED, "namespace": jobs, "pipeline": {"template": "klever-extract"}},
                ]
            },
        }
        made = Site(cluster, harbor, home, jobs, others, docker, values)
        # First the secrets, for pods find those at once that are there when they start; where Harbor's events go is known
        # when there is a Service.
        set_up(made, f"http://{address}:9/hooks/harbor")
        give_credentials(made, others, harbor.make_robot(ANOTHERS))
        stack.enter_context(installed(made))
        service = cluster.get(SERVICES.path(home, "klever-server"))["spec"]
        said = set_up(made, f"http://{service['clusterIP']}:{service['ports'][0]['port']}/hooks/harbor")
        changed = [line for line in said.splitlines() if ": unchanged" not in line]
        assert all(line.startswith("webhook") for line in changed), said
        yield made


@contextmanager
def installed(site: Site) -> Iterator[None]:
    """Install the chart with its CRD, and see that it goes."""
    # The CRD may be there from an earlier installation, which left it behind.
    install = ("install", "klever", CHART, "--namespace", site.home, "--take-ownership", "--wait")
    done = helm(*install, f"--timeout={START_SECONDS}s", values=site.values)
    try:
        assert done.returncode == 0, done.stderr + told(site)
        yield
    finally:
        helm("uninstall", "klever", "--namespace", site.home, "--ignore-not-found", "--wait")


def told(site: Site) -> str:
    """Return what the pods of the release say."""
    command = ["kubectl", "--namespace", site.home]
    return "".join(
        subprocess.run([*command, *more], capture_output=True, text=True, timeout=60).stdout
        for more in (
            ("get", "pods,events"),
            ("logs", "--selector=app.kubernetes.io/name=klever", "--all-containers", "--tail=50"),
        )
    )


def set_up(site: Site, hook: str) -> str:
    """Run `klever harbor setup` and return what it prints."""
    projects = [f"--project={each}" for each in (COPIED, PUBLISHED, QUIET)]
    return site.klever(
        *("harbor", "setup", site.harbor.url, *projects, "--hook-url", hook),
        *("--install-namespace", site.home, "--namespace", site.jobs),
    )


def docker_config(host: str, user: Credentials) -> Document:
    """Return the configuration by which Docker's tools are this user."""
    return {"auths": {host: {"username": user.username, "password": user.password}}}


def give_credentials(site: Site, namespace: str, robot: Any) -> None:
    """Make a namespace the robot's, as its owners do."""
    config = json.dumps(docker_config(site.harbor.host, Credentials(robot.name, robot.secret)))
    site.cluster.create(
        Resource("", "secrets", "v1").path(namespace),
        {
            "metadata": {"name": "klever-registry"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": config},
        },
    )


# ---------------------------------------------------------------- the work
@pytest.fixture(scope="module")
def worked(site: Site, cluster_registry: ClusterRegistry, models: Path) -> Site:
    """The site when everything was pushed and applied, and all of its jobs have finished."""

    def copy(model: str) -> None:
        name = f"unread/{short(model)}:v1"
        cluster_registry.publish_unread(package(models, model), name)
        site.copy(f"{cluster_registry.near}/{name}", site.reference(COPIED, model))

    def publish(model: str) -> None:
        site.publish(package(models, model), site.reference(PUBLISHED, model))

    def convert(model: str, target: str) -> None:
        site.apply(conversion(site, model, target))

    site.pairs = [(SOURCES[pair.source], pair.target) for pair in PAIRS if has_image(image_of(pair.load().environment))]
    with ThreadPoolExecutor(4) as pool:
        done = [
            pool.submit(site.publish, package(models, each), site.reference(QUIET, each)) for each in converted(site)
        ]
        for each in done:
            each.result()
        # The longest first.
        done = [pool.submit(convert, *pair) for pair in site.pairs]
        done += [pool.submit(work, model) for model in MODELS for work in (copy, publish)]
        done.append(pool.submit(site.publish, package(models, MODELS[0]), site.reference(COPIED, "already/read")))
        for each in done:
            each.result()
    reach_for_others(site, package(models, MODELS[0]))
    site.harbor.deliveries.wait_idle()
    expected = len(site.pairs) + 2 * len(MODELS)
    until(lambda: len(finished(site, site.jobs)) >= expected, f"the end of {expected} jobs", JOBS_SECONDS)
    until(lambda: len(finished(site, site.others)) == 2, "the end of the others' jobs")
    return site


def reach_for_others(site: Site, model: Path) -> None:
    """Create jobs in the others' namespace that want to read from, and to write to, a project that is not theirs."""
    own = site.reference(ANOTHERS, "own/model")
    site.publish(model, own)
    for name, spec in {
        "read": {"model": site.reference(COPIED, MODELS[0]), "extraction": {}},
        "write": {"model": own, "desiredTag": site.reference(COPIED, "of/others"), "extraction": {}},
    }.items():
        document = {"apiVersion": "kleveross.io/v1alpha1", "kind": "ModelJob", "metadata": {"name": name}, "spec": spec}
        site.cluster.create(MODEL_JOBS.path(site.others), document)


def image_of(environment: str | None) -> str:
    """Return the image in which a converter runs."""
    return IMAGE_OF_ENVIRONMENT[environment or ""]


def converted(site: Site) -> list[str]:
    """Return the models that are converted, each once."""
    return list(dict.fromkeys(model for model, _ in site.pairs))


def conversion(site: Site, model: str, target: str) -> Document:
    """Return a manifest as people have had them."""
    return {
        "apiVersion": "kleveross.io/v1alpha1",
        "kind": "ModelJob",
        "metadata": {"name": f"{short(model)}-to-{target.lower()}"},
        "spec": {
            "model": site.reference(QUIET, model),
            "desiredTag": site.reference(QUIET, f"{model}-{target}"),
            "conversion": {"mmdnn": {"from": model.partition("/")[0], "to": target}},
        },
    }


def finished(site: Site, namespace: str) -> list[Document]:
    """Return the jobs that have ended."""
    jobs = site.all(MODEL_JOBS, namespace)
    return [each for each in jobs if (each.get("status") or {}).get("phase") in ("Succeeded", "Failed")]


def check(site: Site, job: Document, reference: str, form: str) -> StoredArtifact:
    """Fail unless a job has succeeded by its Workflow, and its result is what the registry has under a tag."""
    status = job["status"]
    assert status["phase"] == "Succeeded", status["message"]
    workflow = site.cluster.get(WORKFLOWS.path(site.jobs, status["workflow"]))
    assert workflow["status"]["phase"] == "Succeeded"
    (owner,) = workflow["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("ModelJob", job["metadata"]["uid"])
    artifact = site.load(reference)
    assert artifact.has_full_signature
    assert artifact.metadata.format == form
    assert status["result"]["digest"] == artifact.descriptor.digest
    assert status["result"]["format"] == form
    return artifact


def examined(said: str) -> dict[str, set[str]]:
    """Return the states of `klever doctor`'s checks by the kind of check; none may have failed."""
    checks = json.loads(said)["checks"]
    assert not [each for each in checks if each["state"] == "failed"]
    kinds = ("lease", "templates", "rights", "modeljob", "workflow", "webhook policy")
    states: dict[str, set[str]] = {}
    for each in checks:
        kind = next((kind for kind in kinds if each["name"].startswith(f"{kind} ")), each["name"])
        states.setdefault(kind, set()).add(each["state"])
    return states


# ---------------------------------------------------------------- what came of it
@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_skopeo_copied_gets_its_signature(worked: Site, model: str) -> None:
    reference = worked.reference(COPIED, model)
    job = worked.job_of(reference)
    assert job["metadata"]["labels"][ORIGIN] == FROM_EVENT
    assert "extraction" in job["spec"]
    artifact = check(worked, job, reference, model.partition("/")[0])
    assert artifact.descriptor.digest != job["metadata"]["annotations"]["kleveross.io/digest"]


@pytest.mark.parametrize("model", MODELS)
def test_a_model_that_klever_published_goes_through_the_pipeline_of_its_project(worked: Site, model: str) -> None:
    reference = worked.reference(PUBLISHED, model)
    job = worked.job_of(reference)
    assert job["metadata"]["labels"][ORIGIN] == FROM_EVENT
    assert job["spec"]["pipeline"]["template"] == "klever-extract"
    check(worked, job, reference, model.partition("/")[0])


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.source}-{pair.target}")
def test_a_conversion_that_was_applied_is_in_the_registry_with_its_proof(worked: Site, pair: Any) -> None:
    image = image_of(pair.load().environment)
    if not has_image(image):
        pytest.skip(f"{IMAGES_VARIABLE} does not name {image}")
    model = SOURCES[pair.source]
    name = conversion(worked, model, pair.target)["metadata"]["name"]
    job = worked.cluster.get(MODEL_JOBS.path(worked.jobs, name))
    check(worked, job, worked.reference(QUIET, f"{model}-{pair.target}"), pair.target)
    assert job["status"]["result"]["certificate"]["level"] in ("compared", "executed", "checked")


def test_what_is_pushed_with_its_signature_starts_nothing(worked: Site) -> None:
    reference = worked.reference(COPIED, "already/read")
    assert worked.load(reference).has_full_signature
    assert not [each for each in worked.all(MODEL_JOBS, worked.jobs) if "already-read" in each["spec"]["model"]]


def test_every_push_was_told_and_every_event_was_taken(worked: Site) -> None:
    done = worked.harbor.deliveries.statistics()
    assert done["events"] >= 2 * len(MODELS)
    assert done.get("refused", 0) == 0


def test_kubectl_waits_for_jobs(worked: Site) -> None:
    wait = ("wait", "--for=condition=Succeeded", "--all", "modeljobs", "--timeout=30s", "--namespace", worked.jobs)
    assert run("kubectl", *wait).count("condition met") == len(worked.all(MODEL_JOBS, worked.jobs))


@pytest.mark.parametrize("name", ["read", "write"])
def test_a_job_reaches_no_project_that_its_namespace_has_no_credentials_for(worked: Site, name: str) -> None:
    """Neither to read nor to write, though the registry and the credentials of another namespace would allow it."""
    status = worked.cluster.get(MODEL_JOBS.path(worked.others, name))["status"]
    assert status["phase"] == "Failed"
    assert re.search("answers 40[13] .*; next: ", status["message"]), status["message"]
    with pytest.raises(NotFoundError):
        worked.load(worked.reference(COPIED, "of/others"))
    assert not worked.all(WORKFLOWS, worked.jobs, **{JOB: name})


def test_an_upgrade_that_changes_nothing_starts_no_pod_anew(worked: Site) -> None:
    pods = {each["metadata"]["name"] for each in worked.all(PODS, worked.home)}
    done = helm("upgrade", "klever", CHART, "--namespace", worked.home, "--reuse-values", "--wait", "--timeout=60s")
    assert done.returncode == 0, done.stderr
    assert {each["metadata"]["name"] for each in worked.all(PODS, worked.home)} == pods


def test_the_releases_notes_hold_the_command_that_sets_harbor_up(worked: Site) -> None:
    notes = run("helm", "get", "notes", "klever", "--namespace", worked.home)
    command = " ".join(notes.partition("klever harbor setup")[2].partition("\n\n")[0].replace("\\", "").split())
    hook = f"http://klever-server.{worked.home}:80/hooks/harbor"
    assert command == (
        f"{worked.harbor.url} --project {COPIED} --project {PUBLISHED} --hook-url {hook}"
        f" --install-namespace {worked.home} -n {worked.jobs} -n {worked.others} -u admin"
    )


def test_doctor_finds_nothing_wrong_from_outside(worked: Site) -> None:
    service = worked.cluster.get(SERVICES.path(worked.home, "klever-server"))["spec"]
    hook = f"http://{service['clusterIP']}:{service['ports'][0]['port']}/hooks/harbor"
    found = examined(worked.klever("doctor", "--json", "--namespace", worked.home, "--webhook", hook))
    for name in ("lease", "templates", "rights", "modeljob", "workflow", "registry", "robot", "webhook policy"):
        assert found[name] == {"ok"}, (name, found[name])


def test_doctor_finds_nothing_wrong_in_the_controllers_pod(worked: Site) -> None:
    doctor = ("deployment/klever-controller", "--", "klever", "doctor", "--json")
    found = examined(run("kubectl", "exec", "--namespace", worked.home, *doctor))
    for name in ("kubernetes", "registry", "robot"):
        assert found[name] == {"ok"}, (name, found[name])


def test_the_releases_own_test_succeeds(worked: Site) -> None:
    done = helm("test", "klever", "--namespace", worked.home, "--timeout=60s")
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- what is left
def test_deletion_of_a_job_takes_its_workflow_and_its_pods(worked: Site) -> None:
    run("kubectl", "delete", "modeljobs", "--all", "--namespace", worked.jobs, "--timeout=60s")
    results = Resource("argoproj.io", "workflowtaskresults")

    def left() -> list[Document]:
        return [each for kind in (WORKFLOWS, PODS, results) for each in worked.all(kind, worked.jobs)]

    until(lambda: not left(), "the end of workflows and pods", 60)


def test_an_uninstalled_release_leaves_the_definition_of_modeljobs_alone(worked: Site) -> None:
    done = helm("uninstall", "klever", "--namespace", worked.home, "--wait", "--timeout=120s")
    assert done.returncode == 0, done.stderr
    kinds = (
        "deployments,replicasets,services,ingresses,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,"
        "poddisruptionbudgets,workflowtemplates.argoproj.io,clusterroles,clusterrolebindings,secrets"
    )
    ours = ("--all-namespaces", "--selector=app.kubernetes.io/instance=klever", "--output=json")
    left = json.loads(run("kubectl", "get", kinds, *ours))["items"]
    places = {worked.home, worked.jobs, worked.others}
    assert [
        (each["kind"], each["metadata"]["name"])
        for each in left
        if each["metadata"].get("namespace", worked.home) in places or each["metadata"]["name"].endswith(worked.home)
    ] == []
    until(lambda: not worked.all(PODS, worked.home), "the end of the pods", 60)
    assert worked.cluster.get(f"{CRDS}/{CRD}")["metadata"]["name"] == CRD
    assert not worked.all(WORKFLOW_TEMPLATES, worked.jobs)
