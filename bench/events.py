"""From a push to its Workflow on the cluster that KUBECONFIG names: ``python bench/events.py``.

Harbor's stand-in, klever-server and klever-controller run here as processes of their own; registry, API server and
Argo are real. The clock begins before the push's last request and ends when the Workflow is heard of, so the push
itself, the webhook, the look at the registry, the job and the controller are all within. Needs what
``bench/cluster.py`` needs.
"""

import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import MODEL, installed
from facade import SERVER, free_port, process
from figures import note, rows

from klever.api.modeljob.crd import build
from klever.steps.artifact import EXTRACTED_FROM, load_artifact
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.publish import publish
from klever.steps.stores import Stores
from klever.workflows.argo.client import WORKFLOWS, Cluster
from klever.workflows.templates.settings import Settings

TESTS = Path(__file__).resolve().parent.parent / "tests"
CONTROLLER = str(Path(sys.executable).with_name("klever-controller"))
RUNS = 20
PROJECT, SECRET, PASSWORD = "bench", "Bearer bench", "Harbor12345"
_PATIENCE_SECONDS = 60.0
#: Between a workflow's end and the next push: what the node does after a pod is over then.
_PAUSE_SECONDS = 1.0
_CUSTOM_RESOURCES = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass
class Watched:
    """The Workflows of a namespace, heard of as they come: by the digest that they work on, when, and whether ended."""

    cluster: Cluster
    created: dict[str, float] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def start(self) -> None:
        """Begin to listen."""
        path = WORKFLOWS.path(self.cluster.namespace)
        _, version = self.cluster.list_all(path)
        stream = self.cluster.stream(path, {"watch": "true", "resourceVersion": version}, silence_seconds=3_600)
        threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _listen(self, stream: Any) -> None:
        for line in stream.lines(1 << 24):
            now = time.perf_counter()
            workflow = json.loads(line)["object"]
            parameters = {each["name"]: each.get("value") for each in workflow["spec"]["arguments"]["parameters"]}
            digest = str(parameters["model"]).partition("@")[2]
            self.created.setdefault(digest, now)
            if workflow["metadata"].get("labels", {}).get("workflows.argoproj.io/completed") == "true":
                self.ended.add(digest)


@contextmanager
def harbor(directory: Path, address: str, hook: str) -> Iterator[str]:
    """Run the stand-in and give its host."""
    command = [sys.executable, "-m", "harbor.server", "--directory", str(directory), "--address", address]
    command += ["--project", PROJECT, "--webhook", hook]
    variables = {"PYTHONPATH": str(TESTS), "HARBOR_WEBHOOK_AUTHORIZATION": SECRET, "HARBOR_ADMIN_PASSWORD": PASSWORD}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}) as started:
        try:
            assert started.stdout is not None
            yield str(json.loads(started.stdout.readline())["host"])
        finally:
            started.terminate()


def prepare(cluster: Cluster, host: str) -> None:
    """Put the definition of ModelJobs and the credentials of pods into the cluster."""
    definition = build()
    path = f"{_CUSTOM_RESOURCES}/{definition['metadata']['name']}"
    cluster.apply(path, definition, {"fieldManager": "klever-bench", "force": "true"})
    auth = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "klever-registry"},
        "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson": json.dumps({"auths": {host: {"auth": auth}}})},
    }
    cluster.create(f"/api/v1/namespaces/{cluster.namespace}/secrets", secret)


def bench_events() -> None:
    """Measure one push after the other."""
    address = os.environ.get("KLEVER_CLUSTER_HOST_IP")
    if not os.environ.get("KUBECONFIG") or not address:
        print("events: skipped, KUBECONFIG or KLEVER_CLUSTER_HOST_IP is unset")
        return
    settings = Settings(image_tag=os.environ.get("KLEVER_TEST_IMAGE_TAG") or "dev", plain_http=True)
    port, health_port = free_port(), free_port()
    hook = f"http://127.0.0.1:{port}/hooks/harbor"
    with (
        tempfile.TemporaryDirectory() as folder,
        harbor(Path(folder) / "harbor", address, hook) as host,
        installed(settings) as cluster,
    ):
        prepare(cluster, host)
        files = {"secret": SECRET, "username": "admin", "password": PASSWORD}
        files["policy.yaml"] = json.dumps({"projects": [{"match": PROJECT, "namespace": cluster.namespace}]})
        for name, text in files.items():
            Path(folder, name).write_text(text)
        variables = {
            "KLEVER_NAMESPACES": cluster.namespace,
            "KLEVER_NAMESPACE": cluster.namespace,
            "KLEVER_HARBOR_URL": f"http://{host}",
            "KLEVER_HARBOR_USERNAME_FILE": f"{folder}/username",
            "KLEVER_HARBOR_PASSWORD_FILE": f"{folder}/password",
            "KLEVER_POLICY_FILE": f"{folder}/policy.yaml",
            "KLEVER_HOOK_SECRET_FILE": f"{folder}/secret",
            "KLEVER_PLAIN_HTTP": "true",
            "KLEVER_HOST": "127.0.0.1",
            "KLEVER_PORT": str(port),
            "KLEVER_HEALTH_PORT": str(health_port),
            "KLEVER_METRICS_PORT": "-1",
            "KLEVER_RELIST_SECONDS": "0",
        }
        with process(port, [SERVER], variables), process(health_port, [CONTROLLER], variables):
            watched = Watched(cluster)
            watched.start()
            seconds = [_push(host, number, watched) for number in range(RUNS + 2)][2:]
    print("  " + " ".join(f"{each * 1000:.0f}" for each in sorted(seconds)) + " ms")
    note("from a push to its Workflow, median", statistics.median(seconds) * 1000, 300, "ms")


def _push(host: str, number: int, watched: Watched) -> float:
    """Push a model whose signature nobody has read, and return the seconds until its Workflow was heard of."""
    with RegistryStore(host, plain_http=True, credentials=Credentials("admin", PASSWORD)) as store:
        stores = Stores(plain_http=True)
        stores._open[host, None] = store
        reference = parse_reference(f"{host}/{PROJECT}/mlp:v{number}")
        if number == 0:
            # It carries its signature, so it starts nothing.
            publish(MODEL, parse_reference(f"{host}/{PROJECT}/mlp:source"), stores)
        artifact = load_artifact(store, parse_reference(f"{host}/{PROJECT}/mlp:source"))
        config = artifact.metadata.changed(signature=None, description=f"number {number}").to_config()
        described = store.put_blob(reference.repository, lambda: (config,))
        annotations = {k: v for k, v in artifact.manifest.annotations.items() if k != EXTRACTED_FROM}
        descriptor = Descriptor(media.CONFIG, described.digest, described.size)
        manifest = build_manifest(descriptor, artifact.manifest.layer, annotations)
        began = time.perf_counter()
        digest = store.put_manifest(reference.repository, manifest, media.MANIFEST, tag=f"v{number}").digest
    deadline = began + _PATIENCE_SECONDS
    while digest not in watched.ended:
        if time.perf_counter() > deadline:
            raise SystemExit(f"no Workflow of {reference} has ended within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(0.05)
    time.sleep(_PAUSE_SECONDS)
    return watched.created[digest] - began


def main() -> None:
    """Measure and exit with 1 where the figure falls short."""
    bench_events()
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
