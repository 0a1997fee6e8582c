"""The Kubernetes with Argo that KUBECONFIG names, a registry that its pods reach, and namespaces with Klever in them.

Tests marked ``cluster`` use the fixtures of this module. Where KUBECONFIG is unset they are skipped by name; with
``KLEVER_TEST_CLUSTER=1``, which `make test-cluster` sets, they fail instead. The cluster has Argo Workflows, its
controller watches all namespaces, and its nodes have Klever's images with the tag ``KLEVER_TEST_IMAGE_TAG`` (``dev``).

With ``KLEVER_CLUSTER_HOST_IP``, the address under which pods reach this machine, the registry is a process here. Without
it the registry runs in the cluster, from ``docker.io/library/registry:3``, and this machine reaches it by
``kubectl port-forward``. What does not belong here: faults (`tests/cluster/`), and registries on loopback (`registries`).
"""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn
from uuid import uuid4

import pytest
from registries import QUICK, Timeouts, find_program, free_port, running

from klever.steps.artifact import EXTRACTED_FROM, StoredArtifact, load_artifact
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import Reference, parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.publish import publish
from klever.steps.stores import Stores
from klever.workflows.argo.apply import apply
from klever.workflows.argo.client import PODS, WORKFLOWS, Cluster, connect
from klever.workflows.argo.errors import ArgoMissingError
from klever.workflows.argo.submit import from_document, from_template, submit
from klever.workflows.argo.watch import get_run, wait
from klever.workflows.manifest import Document
from klever.workflows.status import Run
from klever.workflows.templates.golden import documents
from klever.workflows.templates.settings import Settings

KUBECONFIG_VARIABLE = "KUBECONFIG"
ASKED_VARIABLE = "KLEVER_TEST_CLUSTER"
HOST_IP_VARIABLE = "KLEVER_CLUSTER_HOST_IP"
IMAGE_TAG_VARIABLE = "KLEVER_TEST_IMAGE_TAG"
#: The images that the nodes have, by their short names and with blanks between; unset for all of them.
IMAGES_VARIABLE = "KLEVER_TEST_IMAGES"
NAMESPACES = "/api/v1/namespaces"
#: What every namespace of a test run is labelled with, so that those of a killed run are found.
OURS = {"kleveross.io/test": "true"}
REGISTRY_IMAGE = "docker.io/library/registry:3"
_FORWARDED = re.compile(r"Forwarding from (127\.0\.0\.1:\d+)")
_STARTED_SECONDS = 120.0
_ARGO = {"labelSelector": "app=workflow-controller"}


def lack(what: str) -> NoReturn:
    """Skip the test for want of something, or fail it where the cluster was asked for."""
    if os.environ.get(ASKED_VARIABLE):
        pytest.fail(f"{ASKED_VARIABLE} is set, so there has to be {what}")
    pytest.skip(f"needs {what}")


@dataclass
class ClusterRegistry:
    """A CNCF registry over plain HTTP that pods and this machine reach, maybe under different names."""

    #: As pods name it.
    host: str
    #: As this machine names it.
    near: str
    #: Ends its service, keeping what is stored; begins it again.
    stop: Callable[[], object] = field(repr=False)
    start: Callable[[], object] = field(repr=False)

    def reference(self, name: str) -> str:
        """Return what a pod calls ``NAME[:TAG]``."""
        return f"{self.host}/{name}"

    def here(self, name: str) -> Reference:
        """Return what this machine calls ``NAME[:TAG]``, or a reference that a pod gave."""
        return parse_reference(f"{self.near}/{name.removeprefix(f'{self.host}/')}")

    def store(self, **options: Any) -> RegistryStore:
        """Open it from here."""
        return RegistryStore(
            self.near,
            **{"plain_http": True, "retry": QUICK, "timeouts": Timeouts(connect=5, read=5), "credentials": None}
            | options,
        )

    def load(self, name: str) -> StoredArtifact:
        """Return the artifact under a name, or under a reference that a pod gave."""
        with self.store() as store:
            return load_artifact(store, self.here(name))

    def publish(self, package: Path, name: str) -> str:
        """Publish a package and return its digest."""
        return publish(package, self.here(name), Stores(plain_http=True)).descriptor.digest

    def publish_unread(self, package: Path, name: str) -> str:
        """Publish a package as a tool does that reads no signatures, and return its digest."""
        self.publish(package, name)
        reference = self.here(name)
        with self.store() as store:
            artifact = load_artifact(store, reference)
            config = artifact.metadata.changed(signature=None).to_config()
            described = store.put_blob(reference.repository, lambda: (config,))
            annotations = {k: v for k, v in artifact.manifest.annotations.items() if k != EXTRACTED_FROM}
            manifest = build_manifest(
                Descriptor(media.CONFIG, described.digest, described.size), artifact.manifest.layer, annotations
            )
            return store.put_manifest(reference.repository, manifest, media.MANIFEST, tag=reference.tag).digest

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take it away for the time of the block."""
        self.stop()
        try:
            yield
        finally:
            self.start()


@dataclass(frozen=True)
class Installation:
    """A namespace of its own with Klever's templates and accounts in it."""

    cluster: Cluster
    registry: ClusterRegistry
    namespace: str

    def submit(self, template: str, arguments: Mapping[str, str], **spec: Any) -> str:
        """Start a WorkflowTemplate and return the workflow's name; ``spec`` replaces fields of the workflow's own."""
        document = from_template(template, arguments)
        document["spec"] |= spec
        return submit(self.cluster, document, self.namespace).name

    def submit_document(self, document: Document, arguments: Mapping[str, str] | None = None) -> str:
        """Start a workflow and return its name."""
        return submit(self.cluster, from_document(document, arguments or {}), self.namespace).name

    def look(self, name: str) -> Run:
        """Return the run of a workflow as it is now."""
        return get_run(self.cluster, name, self.namespace)

    def wait(self, name: str) -> Run:
        """Return the finished run of a workflow."""
        return wait(self.cluster, name, self.namespace)

    def run(self, template: str, arguments: Mapping[str, str], **spec: Any) -> Run:
        """Start a WorkflowTemplate and return its finished run."""
        return self.wait(self.submit(template, arguments, **spec))

    def pods(self, workflow: str) -> list[Document]:
        """Return the pods of a workflow."""
        selector = {"labelSelector": f"workflows.argoproj.io/workflow={workflow}"}
        return self.cluster.list_all(PODS.path(self.namespace), selector)[0]

    def delete_pods(self, workflow: str) -> None:
        """Delete the pods of a workflow without giving them time to end, as a node that is lost does."""
        for pod in self.pods(workflow):
            self.cluster.delete(PODS.path(self.namespace, pod["metadata"]["name"]), {"gracePeriodSeconds": "0"})


@contextmanager
def temporary_namespace(cluster: Cluster, prefix: str) -> Iterator[str]:
    """Make a namespace and delete it, without waiting until it is gone."""
    name = f"{prefix}-{uuid4().hex[:8]}"
    cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": OURS}})
    try:
        yield name
    finally:
        cluster.delete(f"{NAMESPACES}/{name}")


def until(condition: Callable[[], object], what: str, seconds: float = _STARTED_SECONDS) -> None:
    """Wait until a condition holds; fail where it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} took more than {seconds:.0f} s")
        time.sleep(0.1)


@contextmanager
def registry_process(directory: Path, address: str) -> Iterator[ClusterRegistry]:
    """Run a registry on this machine."""
    version = next((each for each in ("3", "2.8") if find_program(each)), None)
    if version is None:
        lack("a CNCF registry program, registry or docker-registry, on the PATH")
    port = free_port(address)
    host = f"{address}:{port}"
    with ExitStack() as stack:

        def start() -> None:
            stack.enter_context(running(version, directory, address=address, port=port))

        start()
        yield ClusterRegistry(host, host, stack.close, start)


@contextmanager
def registry_deployment(cluster: Cluster) -> Iterator[ClusterRegistry]:
    """Run a registry in the cluster."""
    if shutil.which("kubectl") is None:
        lack(f"kubectl on the PATH, or {HOST_IP_VARIABLE}")
    with temporary_namespace(cluster, "klever-test-registry") as namespace:
        labels = {"app": "registry"}
        container = {
            "name": "registry",
            "image": REGISTRY_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "env": [{"name": "REGISTRY_STORAGE_DELETE_ENABLED", "value": "true"}],
            "readinessProbe": {"httpGet": {"path": "/v2/", "port": 5000}, "periodSeconds": 1},
        }
        deployments, services = (
            f"/apis/apps/v1/namespaces/{namespace}/deployments",
            f"{NAMESPACES}/{namespace}/services",
        )
        cluster.create(
            deployments,
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "registry"},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                },
            },
        )
        cluster.create(
            services,
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "registry"},
                "spec": {"selector": labels, "ports": [{"port": 5000}]},
            },
        )
        status = f"{deployments}/registry"
        until(lambda: cluster.get(status).get("status", {}).get("readyReplicas"), f"the start of {REGISTRY_IMAGE}")
        with _forwarded(namespace) as near:

            def select(app: str) -> None:
                # A service that selects nothing refuses connections, and the pod keeps its storage.
                cluster.merge(f"{services}/registry", {"spec": {"selector": {"app": app}}})

            yield ClusterRegistry(
                f"registry.{namespace}:5000", near, lambda: select("none"), lambda: select("registry")
            )


@contextmanager
def _forwarded(namespace: str) -> Iterator[str]:
    command = ["kubectl", "port-forward", "--namespace", namespace, "deployment/registry", ":5000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            match = _FORWARDED.match(said)
            if match is None:
                pytest.fail(f"kubectl port-forward said {said!r}")
            yield match[1]
        finally:
            process.kill()


def has_image(name: str) -> bool:
    """Say whether the nodes have an image of ours."""
    given = os.environ.get(IMAGES_VARIABLE)
    return not given or name in given.split()


def settings() -> Settings:
    """Return the settings of what the tests install."""
    return Settings(image_tag=os.environ.get(IMAGE_TAG_VARIABLE) or "dev", plain_http=True)


def install(namespace: str) -> None:
    """Put Klever's templates and accounts into a namespace."""
    with connect(namespace=namespace) as there:
        for _change in apply(there, chain.from_iterable(documents(settings(), namespace).values())):
            pass


def apply_crd() -> None:
    """Put the definition of ModelJobs into the cluster as an administrator does, and wait until it is served."""
    path = Path(__file__).resolve().parent.parent / "crds/modeljobs.kleveross.io.yaml"
    for command in (
        ("apply", "--server-side", "--force-conflicts", "--filename", str(path)),
        ("wait", "--for=condition=Established", "--filename", str(path), "--timeout=60s"),
    ):
        subprocess.run(["kubectl", *command], check=True, capture_output=True, timeout=90)


def restart_argo(cluster: Cluster) -> None:
    """Delete Argo's controller and wait until its successor is ready."""
    pods, _ = cluster.list_all(PODS.path("argo"), _ARGO)
    gone = {pod["metadata"]["uid"] for pod in pods}
    for pod in pods:
        cluster.delete(PODS.path("argo", pod["metadata"]["name"]))

    def restarted() -> bool:
        now, _ = cluster.list_all(PODS.path("argo"), _ARGO)
        states = [
            each
            for pod in now
            if pod["metadata"]["uid"] not in gone
            for each in pod["status"].get("containerStatuses", ())
        ]
        return any(each["ready"] for each in states)

    until(restarted, "the restart of Argo's controller")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that KUBECONFIG names."""
    if not os.environ.get(KUBECONFIG_VARIABLE):
        lack(f"a cluster that {KUBECONFIG_VARIABLE} names")
    with connect() as connected:
        try:
            connected.list_all(WORKFLOWS.path("default"))
        except ArgoMissingError:
            lack("Argo Workflows in the cluster")
        yield connected


@pytest.fixture(scope="session")
def cluster_registry(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterRegistry]:
    """A registry for the whole session: use repositories of your own."""
    address = os.environ.get(HOST_IP_VARIABLE)
    opened = registry_process(tmp_path_factory.mktemp("registry"), address) if address else registry_deployment(cluster)
    with opened as registry:
        yield registry


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """An empty namespace for the tests of a module."""
    with temporary_namespace(cluster, "klever-test") as name:
        yield name


@pytest.fixture(scope="module")
def klever(cluster: Cluster, cluster_registry: ClusterRegistry, namespace: str) -> Installation:
    """Klever, installed in a namespace for the tests of a module."""
    install(namespace)
    return Installation(cluster, cluster_registry, namespace)
