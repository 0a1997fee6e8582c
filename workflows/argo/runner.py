"""Run a workflow on Argo and wait for it, as `klever.workflows.local.run` does on this machine.

    with connect() as cluster:
        finished = run("klever-extract", {"model": "harbor.example/vision/net:v1"}, cluster=cluster)

What does not belong here: anything but putting the parts together.
"""

from collections.abc import Callable, Mapping

from klever.workflows.argo.client import Cluster
from klever.workflows.argo.submit import Identity, from_document, from_template, submit
from klever.workflows.argo.watch import wait
from klever.workflows.manifest import Workflow
from klever.workflows.status import Run


def run(
    workflow: Workflow | str,
    arguments: Mapping[str, str] | None = None,
    *,
    cluster: Cluster,
    namespace: str = "",
    identity: Identity | None = None,
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Submit a workflow and return its finished run; a text is the name of a WorkflowTemplate in the namespace.

    ``watch`` is called with each state before the last. Ctrl-C ends the waiting and not the workflow. Raises as
    `submit` and `wait`. A workflow that fails is no error: see the phase.
    """
    if isinstance(workflow, str):
        document = from_template(workflow, arguments or {}, identity)
    else:
        document = from_document(workflow, arguments or {}, identity)
    submitted = submit(cluster, document, namespace)
    return wait(cluster, submitted.name, submitted.namespace, watch or (lambda _run: None))
