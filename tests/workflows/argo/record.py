"""Keep what a real Argo makes of the workflows in recorded.yaml; run by hand, with KUBECONFIG set.

    PYTHONPATH=tests python -m workflows.argo.record [IMAGE]

It takes some minutes. What does not belong here: what the tests expect of it.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from klever.workflows.argo.client import PODS, WORKFLOW_TEMPLATES, WORKFLOWS, Cluster, Resource, connect
from klever.workflows.argo.control import stop

HERE = Path(__file__).resolve().parent
ACCOUNTS = Resource("", "serviceaccounts", "v1")
QUOTAS = Resource("", "resourcequotas", "v1")
ROLES = Resource("rbac.authorization.k8s.io", "roles", "v1")
BINDINGS = Resource("rbac.authorization.k8s.io", "rolebindings", "v1")
#: Workflows that never end: what they wait for does not come.
WAITING = {"image-not-loaded", "no-image", "no-secret", "over-quota", "too-large"}
#: What only the API server and its caches need, and what repeats the specification.
DROPPED = {"managedFields", "storedTemplates"}


def prepare(cluster: Cluster, namespace: str) -> None:
    """Make the namespace, the rights that Argo's executor needs, and a quota."""
    cluster.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
    role = {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    cluster.create(ROLES.path(namespace), {"metadata": {"name": "executor"}, "rules": [role]})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "executor"}
    binding = {"metadata": {"name": "executor"}, "roleRef": reference, "subjects": [subject]}
    cluster.create(BINDINGS.path(namespace), binding)
    cluster.create(ACCOUNTS.path(namespace), {"metadata": {"name": "powerless"}})
    # Of something that none of the other workflows asks for.
    hard = {"requests.nvidia.com/gpu": "0"}
    cluster.create(QUOTAS.path(namespace), {"metadata": {"name": "small"}, "spec": {"hard": hard}})


def started(cluster: Cluster, namespace: str, name: str) -> None:
    """Wait until the pod of a workflow of one step runs."""
    while True:
        pods, _ = cluster.list_all(PODS.path(namespace), {"fieldSelector": f"metadata.name={name}"})
        if any(pod["status"].get("phase") == "Running" for pod in pods):
            return
        time.sleep(0.5)


def ended(cluster: Cluster, namespace: str) -> list[Any]:
    """Return the workflows when all are over that end."""
    while True:
        documents, _ = cluster.list_all(WORKFLOWS.path(namespace))
        left = [
            each["metadata"]["name"]
            for each in documents
            if not (each.get("status") or {}).get("finishedAt") and each["metadata"]["name"] not in WAITING
        ]
        if not left:
            return documents
        sys.stderr.write(f"waiting for {', '.join(left)}\n")
        time.sleep(10)


def trimmed(value: Any) -> Any:
    """Return a document without what no test needs."""
    if isinstance(value, dict):
        return {key: trimmed(each) for key, each in value.items() if key not in DROPPED}
    return [trimmed(each) for each in value] if isinstance(value, list) else value


def main() -> None:
    """Submit all, do to them what has to be done, and write what they have become."""
    image = sys.argv[1] if len(sys.argv) > 1 else "docker.io/klever/steps:dev"
    text = (HERE / "recorded.yaml").read_text("utf-8").replace("image: IMAGE", f"image: {image}")
    namespace = f"klever-record-{uuid4().hex[:6]}"
    with connect() as cluster:
        prepare(cluster, namespace)
        try:
            for document in yaml.safe_load_all(text):
                resource = WORKFLOWS if document["kind"] == "Workflow" else WORKFLOW_TEMPLATES
                cluster.create(resource.path(namespace), document)
            started(cluster, namespace, "stopped")
            stop(cluster, "stopped", namespace)
            for document in ended(cluster, namespace):
                path = HERE / "recordings" / f"{document['metadata']['name']}.json"
                path.write_text(json.dumps(trimmed(document), indent=1, ensure_ascii=False) + "\n", "utf-8")
                sys.stderr.write(f"{path.name}: {document.get('status', {}).get('phase')}\n")
        finally:
            cluster.delete(f"/api/v1/namespaces/{namespace}")


if __name__ == "__main__":
    main()
