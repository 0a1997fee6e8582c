"""Pipelines on the cluster that KUBECONFIG names, against workflows that do nothing: ``python bench/cluster.py``.

Needs what the cluster tests need: Argo, the image ``steps`` with the tag KLEVER_TEST_IMAGE_TAG (``dev``), and
KLEVER_CLUSTER_HOST_IP, under which pods reach the registry that runs here. The cluster should have nothing else to do.
"""

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from uuid import uuid4

from figures import MEGABYTE, note, ratio, rows
from registry import registry_binaries, running_registry

from klever.steps.artifact import EXTRACTED_FROM, load_artifact
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor, digest_of
from klever.steps.oci.manifest import build_manifest
from klever.steps.oci.reference import parse_reference
from klever.steps.oci.registry import RegistryStore
from klever.steps.publish import publish
from klever.steps.stores import Stores
from klever.workflows.argo.apply import apply
from klever.workflows.argo.client import WORKFLOWS, Cluster, connect
from klever.workflows.argo.submit import from_document, from_template, submit
from klever.workflows.argo.watch import wait
from klever.workflows.manifest import Document
from klever.workflows.status import Phase
from klever.workflows.templates.golden import documents
from klever.workflows.templates.settings import Settings

MODEL = Path(__file__).resolve().parent.parent / "tests" / "models" / "MXNetParams" / "mlp" / "model"
#: Runs of each kind, one after the other in turn.
RUNS = 9
AT_ONCE = 200
#: Each waits so long between two: what the controller and the node do after a workflow's end is over then.
_PAUSE_SECONDS = 2.0
_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 3_600


@dataclass(frozen=True)
class _Place:
    cluster: Cluster
    host: str
    settings: Settings

    def hello(self) -> Document:
        """A workflow of one pod with the image of the steps, which does nothing."""
        image = f"{self.settings.image_prefix}steps:{self.settings.image_tag}"
        container = {"image": image, "imagePullPolicy": "IfNotPresent", "command": ["true"]}
        spec = {
            "entrypoint": "main",
            # As the templates have it: the token is mounted beside the step alone.
            "serviceAccountName": self.settings.service_account,
            "automountServiceAccountToken": False,
            "executor": {"serviceAccountName": self.settings.executor_service_account},
            "templates": [{"name": "main", "container": container}],
        }
        document = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"generateName": "hello-"}}
        return from_document({**document, "spec": spec}, {})

    def extraction(self, tag: str) -> Document:
        return from_template("klever-extract", {"model": f"{self.host}/bench/mlp:{tag}"})

    def run(self, workflow: Document) -> float:
        """Return the seconds from submission until it is known to have succeeded."""
        started = time.perf_counter()
        run = wait(self.cluster, submit(self.cluster, workflow).name)
        seconds = time.perf_counter() - started
        if run.phase is not Phase.SUCCEEDED:
            raise SystemExit(f"{run.name} {run.phase}: {[node.message for node in run.failures()]}")
        return seconds


def bench_cluster() -> None:
    """Measure everything that takes a cluster."""
    address, binaries = os.environ.get("KLEVER_CLUSTER_HOST_IP"), registry_binaries()
    if not os.environ.get("KUBECONFIG") or not address or not binaries:
        print("cluster: skipped, KUBECONFIG or KLEVER_CLUSTER_HOST_IP is unset or no registry is installed")
        return
    settings = Settings(image_tag=os.environ.get("KLEVER_TEST_IMAGE_TAG") or "dev", plain_http=True)
    binary = binaries.get("registry 3") or next(iter(binaries.values()))
    with (
        tempfile.TemporaryDirectory() as folder,
        running_registry(binary, Path(folder), address) as host,
        installed(settings) as cluster,
    ):
        place = _Place(cluster, host, settings)
        publish_unread(host, [*(f"one{number}" for number in range(RUNS + 1)), *(f"many{n}" for n in range(AT_ONCE))])
        bench_image(cluster, settings)
        bench_one(place)
        bench_many(place)


def bench_image(cluster: Cluster, settings: Settings) -> None:
    """Note the size of the image of the steps, as the node that holds it says."""
    nodes, _ = cluster.list_all("/api/v1/nodes")
    name = f"{settings.image_prefix}steps:{settings.image_tag}"
    sizes = [
        image["sizeBytes"]
        for node in nodes
        for image in node["status"].get("images", ())
        if name in (image.get("names") or ())
    ]
    note(f"the image steps on the node ({name})", max(sizes) / MEGABYTE, 180, "MB")


def bench_one(place: _Place) -> None:
    """Measure an extraction and a hello-world in turn, each alone on the cluster."""
    kinds: dict[str, Callable[[int], Document]] = {
        "hello": lambda _number: place.hello(),
        "extract": lambda number: place.extraction(f"one{number}"),
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(RUNS + 1):
        for kind, workflow in kinds.items():
            seconds[kind].append(place.run(workflow(number)))
            time.sleep(_PAUSE_SECONDS)
    # The first of each fills caches.
    extract, hello = (statistics.median(seconds[kind][1:]) for kind in ("extract", "hello"))
    ratio("klever-extract, submitted to Succeeded / a hello-world", extract, hello, 1.25)


def bench_many(place: _Place) -> None:
    """Measure as many extractions as pods fit on a node, submitted at once, and as many hello-worlds."""
    hello, done = _together(place, lambda _number: place.hello())
    print(f"  {AT_ONCE} hello-worlds at once: {done} succeeded in {hello:.0f} s, {done / hello:.2f} a second")
    extract, done = _together(place, lambda number: place.extraction(f"many{number}"))
    note(f"{AT_ONCE} extractions at once: succeeded", done, AT_ONCE, "", at_least=True)
    ratio(f"{AT_ONCE} extractions at once / {AT_ONCE} hello-worlds", extract, hello, 1.25)


def _together(place: _Place, workflow: Callable[[int], Document]) -> tuple[float, int]:
    """Submit workflows and return the seconds until the last has ended, and how many succeeded."""
    label = uuid4().hex[:8]
    started = time.perf_counter()
    todo = iter(range(AT_ONCE))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(todo, None)
            if number is None:
                return
            document = workflow(number)
            document["metadata"].setdefault("labels", {})["bench"] = label
            submit(place.cluster, document)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    selector = {"labelSelector": f"bench={label},workflows.argoproj.io/completed=true"}
    while time.perf_counter() - started < _PATIENCE_SECONDS:
        ended, _ = place.cluster.list_all(WORKFLOWS.path(place.cluster.namespace), selector)
        if len(ended) == AT_ONCE:
            break
        time.sleep(_LOOK_SECONDS)
    seconds = time.perf_counter() - started
    return seconds, sum(each["status"]["phase"] == Phase.SUCCEEDED for each in ended)


@contextmanager
def installed(settings: Settings) -> Iterator[Cluster]:
    """Make a namespace with Klever in it, and delete it."""
    name = f"klever-bench-{uuid4().hex[:8]}"
    with connect(namespace=name) as cluster:
        cluster.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            for _change in apply(cluster, chain.from_iterable(documents(settings, name).values())):
                pass
            yield cluster
        finally:
            cluster.delete(f"/api/v1/namespaces/{name}")


def publish_unread(host: str, tags: list[str]) -> str:
    """Publish a small model under many tags, as a tool does that reads no signatures; return its digest."""
    reference = parse_reference(f"{host}/bench/mlp:source")
    publish(MODEL, reference, Stores(plain_http=True))
    with RegistryStore(host, plain_http=True, credentials=None) as store:
        artifact = load_artifact(store, reference)
        config = artifact.metadata.changed(signature=None).to_config()
        described = store.put_blob(reference.repository, lambda: (config,))
        annotations = {k: v for k, v in artifact.manifest.annotations.items() if k != EXTRACTED_FROM}
        manifest = build_manifest(
            Descriptor(media.CONFIG, described.digest, described.size), artifact.manifest.layer, annotations
        )
        for tag in tags:
            store.put_manifest(reference.repository, manifest, media.MANIFEST, tag=tag)
    return digest_of(manifest)


def main() -> None:
    """Measure and exit with 1 where a figure falls short."""
    bench_cluster()
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
