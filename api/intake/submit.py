"""Create the job that an artifact calls for, once, whoever asks and however often.

    decision = decide(push, policy, registry)
    if decision.wanted:
        start(cluster, decision.wanted, at_registry(registry))

The name decides: a job that exists is the answer to the same question. What does not belong here: the question.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

from klever.api.intake.jobs import Wanted
from klever.api.modeljob.model import MODEL_JOBS, JobPhase, parse_status
from klever.api.modeljob.names import FROM_EVENT
from klever.steps.errors import NotFoundError, at_stage
from klever.steps.oci.registry import RegistryStore
from klever.workflows.argo.client import Cluster
from klever.workflows.argo.errors import ClusterObjectMissingError, NameTakenError
from klever.workflows.manifest import Document

#: How often a tag is put back on a digest whose extraction is done, and extracted again, while the jobs are kept. A
#: nightly build that always gives the same digest does it seven times in the week that jobs are kept by default.
MAX_REPEATS: Final = 16

#: Says whether the tag of what is wanted points at its digest now.
StillThere = Callable[[Wanted], bool]


class Outcome(StrEnum):
    """Whether there was something to create."""

    CREATED = "created"
    FOUND = "found"


class Started(NamedTuple):
    """The job that answers for an artifact."""

    outcome: Outcome
    namespace: str
    name: str


def ensure_job(cluster: Cluster, job: Document) -> Outcome:
    """Create a job where there is none of its name."""
    metadata = job["metadata"]
    try:
        with at_stage("job"):
            cluster.create(MODEL_JOBS.path(metadata["namespace"]), job)
    except NameTakenError:
        return Outcome.FOUND
    return Outcome.CREATED


def start(cluster: Cluster, wanted: Wanted, still_there: StillThere, *, origin: str = FROM_EVENT) -> Started:
    """Create the job of a digest where there is none, and one for a tag that came when it was done.

    An extraction works on every tag that the digest has at its end. A tag that is put on the digest later gets a job of
    its own, which is the last that is asked: ``still_there`` costs a request. A pipeline runs once for a digest. What
    failed is not repeated by itself: its message says what to do.
    """
    namespace = wanted.rule.namespace
    for repeat in range(MAX_REPEATS + 1):
        job = wanted.document(origin, f"{wanted.tag} {repeat}" if repeat else "")
        name = job["metadata"]["name"]
        if ensure_job(cluster, job) is Outcome.CREATED:
            return Started(Outcome.CREATED, namespace, name)
        # First whether it is done, then the tag: what its end has moved is no tag that came later.
        if wanted.tag is None or wanted.rule.pipeline or not _has_succeeded(cluster, namespace, name):
            break
        if not still_there(wanted):
            break
    return Started(Outcome.FOUND, namespace, name)


def at_registry(registry: RegistryStore) -> StillThere:
    """Return a look at the registry."""

    def look(wanted: Wanted) -> bool:
        try:
            found = registry.get_manifest(wanted.repository, wanted.tag or wanted.digest)
        except NotFoundError:
            return False
        return found.descriptor.digest == wanted.digest

    return look


def _has_succeeded(cluster: Cluster, namespace: str, name: str) -> bool:
    """Say whether a job is done; one that is gone meanwhile is not."""
    try:
        document = cluster.get(MODEL_JOBS.path(namespace, name))
    except ClusterObjectMissingError:
        return False
    return parse_status(document.get("status")).phase is JobPhase.SUCCEEDED
