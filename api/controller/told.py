"""Events of Kubernetes that tell how a job ended: what ``kubectl describe`` shows.

The name of an event is a function of the job, its generation and what happened, so that telling twice makes one. What
does not belong here: what is said.
"""

import logging
from datetime import UTC, datetime
from typing import Final

from klever.api.modeljob.model import API_VERSION, KIND, JobPhase, ModelJob, ModelJobStatus
from klever.api.modeljob.names import workflow_name
from klever.workflows.argo import errors
from klever.workflows.argo.client import Cluster, Resource

EVENTS: Final = Resource("", "events", "v1")
COMPONENT: Final = "klever-controller"
#: The longest message that the API server takes (k8s.io/kubernetes/pkg/apis/core/validation/events.go).
_MAX_MESSAGE: Final = 1024

_logger: Final = logging.getLogger(__name__)


def tell_end(cluster: Cluster, job: ModelJob, status: ModelJobStatus, instance: str) -> None:
    """Make the event of a job's end: Normal where it succeeded, else Warning.

    To be done before the status is written, which says that nothing more is to be done. A cluster that refuses events
    keeps nobody from his status. Raises the temporary errors of the cluster.
    """
    succeeded = status.phase is JobPhase.SUCCEEDED
    reason = str(status.phase)
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    document = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            # The Workflow's name holds job, uid and generation.
            "name": f"{workflow_name(job.uid, job.generation, job.name)}.{reason.lower()}",
            "namespace": job.namespace,
        },
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
            "resourceVersion": str(job.metadata.get("resourceVersion") or ""),
        },
        "type": "Normal" if succeeded else "Warning",
        "reason": reason,
        "message": status.message[:_MAX_MESSAGE],
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance[:128],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        cluster.create(EVENTS.path(job.namespace), document)
    except errors.NameTakenError:
        return
    except (errors.ForbiddenError, errors.InvalidWorkflowError, errors.RefusedError) as error:
        _logger.warning("no event is made for %s/%s: %s", job.namespace, job.name, error.cause)
