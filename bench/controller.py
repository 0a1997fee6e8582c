"""The controller of ModelJobs with thousands of finished ones, on the cluster that KUBECONFIG names.

``python bench/controller.py``. Needs Argo Workflows in the cluster and the definition of ModelJobs. Workflows start no
pod here. What does not belong here: what a push costs until its job is there.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from figures import MEGABYTE, note, rows

from klever.api.modeljob.model import API_VERSION, KIND, MODEL_JOBS, parse_job
from klever.api.modeljob.status import status_of
from klever.workflows.argo.client import WORKFLOW_TEMPLATES, WORKFLOWS, Cluster, connect
from klever.workflows.status import Phase, Run

FINISHED = 5_000
#: Jobs whose Workflow is waited for, one after another.
NEW = 40
_THREADS = 8
#: Seconds in which what was listed may still be let go of.
_SETTLE_SECONDS = 10.0
_PATIENCE_SECONDS = 120.0
_PROGRAM = str(Path(sys.executable).with_name("klever-controller"))
#: A Workflow that only waits.
_TEMPLATE = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "WorkflowTemplate",
    "metadata": {"name": "wait"},
    "spec": {"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]},
}


def bench_controller() -> None:
    """Measure everything that takes a cluster with ModelJobs."""
    if not os.environ.get("KUBECONFIG"):
        print("controller: skipped, KUBECONFIG is unset")
        return
    with _namespace() as cluster, tempfile.TemporaryDirectory() as folder:
        cluster.create(WORKFLOW_TEMPLATES.path(cluster.namespace), _TEMPLATE)
        started = time.perf_counter()
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda number: _finished(cluster, number), range(FINISHED)))
        print(f"  {FINISHED} finished jobs were made in {time.perf_counter() - started:.0f} s")
        with _Controller(cluster.namespace, Path(folder) / "log") as controller:
            started = time.perf_counter()
            _until(lambda: controller.number('klever_modeljobs{phase="Succeeded"}') == FINISHED, 0.1)
            note(f"controller: {FINISHED} finished jobs known", time.perf_counter() - started, 10, "s")
            time.sleep(_SETTLE_SECONDS)
            seconds = _reactions(cluster)
            median, slowest = statistics.median(seconds) * 1000, max(seconds) * 1000
            note(f"controller: job created until its Workflow is, median of {NEW}", median, 150, "ms")
            print(f"  the slowest of {NEW}: {slowest:.0f} ms")
            now, most = controller.memory()
            note(f"controller: memory with {FINISHED} finished jobs", now / MEGABYTE, 100, "MB")
            note("controller: peak memory", most / MEGABYTE, 100, "MB")


def _finished(cluster: Cluster, number: int) -> None:
    """Make a job that has finished, with a status as the controller writes it."""
    digest = f"sha256:{number:064x}"
    reference = f"harbor.example/vision/net-{number % 50}:v{number}"
    path = MODEL_JOBS.path(cluster.namespace)
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": f"net-{number:05d}", "labels": {"kleveross.io/project": "vision"}},
        "spec": {"model": f"{reference}@{digest}", "extraction": {"format": "ONNX"}},
    }
    job = parse_job(cluster.create(path, document))
    signature = "data float32[-1, 3, 224, 224] -> prob float32[-1, 1000]; Conv 53, Relu 49, Add 16, MatMul 1"
    run = Run(
        name=f"net-{number:05d}-abcdefghijkl",
        phase=Phase.SUCCEEDED,
        outputs={
            "reference": f"{reference}@{digest}",
            "digest": digest,
            "format": "ONNX",
            "signature": signature,
            "changed": "true",
            "moved": "true",
        },
        started=datetime.now(UTC),
        finished=datetime.now(UTC),
    )
    cluster.merge(f"{path}/{job.name}/status", {"status": status_of(job, run).to_json()})


def _reactions(cluster: Cluster) -> list[float]:
    """Return, for jobs that are made one after another, the seconds from the answer until its Workflow is seen."""
    seen: dict[str, float] = {}
    _, version = cluster.list_all(WORKFLOWS.path(cluster.namespace))
    query = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "600"}
    stream = cluster.stream(WORKFLOWS.path(cluster.namespace), query, silence_seconds=600)

    def look() -> None:
        for line in stream.lines(1 << 22):
            event = json.loads(line)
            if event["type"] == "ADDED":
                seen[event["object"]["metadata"]["ownerReferences"][0]["name"]] = time.perf_counter()

    threading.Thread(target=look, daemon=True).start()
    seconds = []
    for number in range(NEW):
        name = f"new-{number}"
        document = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name},
            "spec": {"pipeline": {"template": "wait"}},
        }
        cluster.create(MODEL_JOBS.path(cluster.namespace), document)
        created = time.perf_counter()
        _until(lambda name=name: name in seen)  # type: ignore[misc]
        seconds.append(seen[name] - created)
        time.sleep(0.25)
    stream.interrupt()
    return seconds


class _Controller:
    """The program as it is installed, as a process of its own."""

    def __init__(self, namespace: str, log: Path) -> None:
        self._log = log
        self._command = [
            *(_PROGRAM, "--namespaces", namespace, "--namespace", namespace),
            *("--health-port", "0", "--metrics-port", "0"),
        ]

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stderr=log)
        _until(lambda: b"\n" in self._log.read_bytes())
        self._port = json.loads(self._log.read_text("utf-8").splitlines()[0])["metrics"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(60)

    def number(self, name: str) -> float:
        """Return one of its numbers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))

    def memory(self) -> tuple[int, int]:
        """Return what it has in memory now, and had at most, in bytes."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
        return tuple(int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) * 1024 for name in ("VmRSS", "VmHWM"))  # type: ignore[return-value]


@contextmanager
def _namespace() -> Iterator[Cluster]:
    name = f"klever-bench-{uuid4().hex[:8]}"
    with connect(namespace=name) as cluster:
        cluster.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        try:
            yield cluster
        finally:
            cluster.delete(f"/api/v1/namespaces/{name}")


def _until(condition: Any, pause: float = 0.002) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"it took more than {_PATIENCE_SECONDS:.0f} s")
        time.sleep(pause)


def main() -> None:
    """Measure and exit with 1 where a figure falls short."""
    bench_controller()
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
