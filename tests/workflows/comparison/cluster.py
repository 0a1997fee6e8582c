"""Run the cases on a real Argo, several at a time."""

import copy
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from uuid import uuid4

from klever.workflows.argo.client import WORKFLOW_TEMPLATES, WORKFLOWS, Cluster

from .cases import Case, Document

FINAL = ("Succeeded", "Failed", "Error")

#: How many run at a time: with more, a small node is too slow for the deadlines and orders of events that are compared.
AT_ONCE = 8


@contextmanager
def temporary_namespace(cluster: Cluster) -> Iterator[str]:
    """Make a namespace and delete it, without waiting until it is gone."""
    name = f"comparison-{uuid4().hex[:8]}"
    cluster.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield name
    finally:
        cluster.delete(f"/api/v1/namespaces/{name}")


def allow(cluster: Cluster, namespace: str) -> None:
    """Let the pods of a namespace report what they did, as Argo's documentation says for a workflow's account."""
    group = "rbac.authorization.k8s.io"
    path = f"/apis/{group}/v1/namespaces/{namespace}"
    rule = {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    cluster.create(
        f"{path}/roles",
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": "executor"}, "rules": [rule]},
    )
    cluster.create(
        f"{path}/rolebindings",
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "executor"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "executor"},
            "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
        },
    )


def run_all(
    cluster: Cluster, namespace: str, cases: Iterable[Case], *, seconds: float
) -> Iterator[tuple[Case, Document]]:
    """Run the cases in a namespace, and yield each with its Workflow when that has ended.

    Raises TimeoutError that names those which have not ended in time.
    """
    left = list(cases)
    templates = {template["metadata"]["name"]: template for case in left for template in case.templates()}
    for template in templates.values():
        cluster.create(WORKFLOW_TEMPLATES.path(namespace), template)
    running: dict[str, Case] = {}
    end = time.monotonic() + seconds
    while left or running:
        while left and len(running) < AT_ONCE:
            case = left.pop(0)
            created = cluster.create(WORKFLOWS.path(namespace), submitted(case))
            running[created["metadata"]["name"]] = case
        for workflow in cluster.list_all(WORKFLOWS.path(namespace))[0]:
            name = workflow["metadata"]["name"]
            if name in running and workflow.get("status", {}).get("phase") in FINAL:
                yield running.pop(name), workflow
                cluster.delete(WORKFLOWS.path(namespace, name))
        if running and time.monotonic() > end:
            msg = f"not ended after {seconds:g} s: {', '.join(sorted(running))}"
            raise TimeoutError(msg)
        time.sleep(0.5)


def submitted(case: Case) -> Document:
    """Return the workflow as ``argo submit -p`` sends it: each argument in the place of its parameter's value."""
    document = copy.deepcopy(case.build())
    document["metadata"] = {**document["metadata"], "name": f"{case.name}-{uuid4().hex[:5]}"}
    document["metadata"].pop("generateName", None)
    if case.arguments:
        arguments = document["spec"].setdefault("arguments", {})
        arguments["parameters"] = _given(arguments.get("parameters", []), case.arguments)
    return document


def _given(parameters: list[Document], arguments: Mapping[str, str]) -> list[Document]:
    declared = {parameter["name"]: parameter for parameter in parameters}
    for name, value in arguments.items():
        declared[name] = {**declared.get(name, {"name": name}), "value": value}
    return list(declared.values())
