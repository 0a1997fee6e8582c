"""Find what no event told of: every artifact of the policy's projects that calls for a job and has none.

    relist(harbor, policy, cluster, host="harbor.example").created

Harbor's listing tells what an artifact is, its annotations and its config, so no manifest is asked for. An artifact
that another was made from is done: an extraction leaves it behind without a tag. A pipeline is started for what lacks
its signature and was pushed not long ago: whether one ran before, nothing tells once its job is gone. What does not
belong here: what an event leads to (`klever.api.intake.decide`), which asks the same of one artifact.
"""

import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

from klever.api.harbor.client import Harbor
from klever.api.harbor.errors import HarborNotFoundError
from klever.api.intake.decide import is_result
from klever.api.intake.jobs import Wanted
from klever.api.intake.policy import Policy
from klever.api.intake.submit import Outcome, ensure_job, start
from klever.api.modeljob.model import MODEL_JOBS
from klever.api.modeljob.names import FROM_RELIST, ORIGIN
from klever.steps.artifact import DERIVED_FROM, EXTRACTED_FROM
from klever.steps.errors import InvalidReferenceError, KleverError, TemporaryError
from klever.steps.oci import media
from klever.steps.oci.descriptor import Digest, parse_digest
from klever.steps.oci.reference import parse_repository, parse_tag
from klever.workflows.argo.client import Cluster

#: Pages of a listing, and jobs to be created, that are on their way at a time.
WORKERS: Final = 4
#: Jobs of a namespace that are in memory at once.
_JOBS_PAGE: Final = 250
#: How long after a push its event may be taken for lost where the registry does not show what has become of it, in
#: seconds. What has no tag is later more likely what is left of a version that was deleted, which an extraction would
#: bring back; a pipeline may have run, and its job be gone.
_RECENT_SECONDS: Final = 24 * 3600.0
#: More problems than these say nothing new.
_MAX_PROBLEMS: Final = 20


@dataclass(slots=True)
class Relisted:
    """What a relist saw and did."""

    projects: int = 0
    artifacts: int = 0
    #: Jobs that artifacts call for: those created, and those that were there already (waiting, at work, or failed).
    lacking: int = 0
    created: int = 0
    found: int = 0
    #: What kept a project from being listed, or a job from being created.
    problems: list[KleverError] = field(default_factory=list)


def relist(harbor: Harbor, policy: Policy, cluster: Cluster, *, host: str = "", workers: int = WORKERS) -> Relisted:
    """Create the jobs that are missing; ``host`` is the registry's in references, by default that of Harbor's address.

    A project that cannot be listed, or a namespace where no job can be made, is a problem that the result tells and no
    reason to leave the others. Raises a `TemporaryError` where Harbor or the cluster is away: nothing is lost, as the
    next relist begins anew.
    """
    done = Relisted()
    work = _Work(harbor, cluster, policy, host or harbor.registry_host, done)
    with ThreadPoolExecutor(workers, thread_name_prefix="relist") as pool:
        for project in _projects(harbor, policy):
            try:
                listing = _list(harbor, project, pool)
            except TemporaryError:
                raise
            except KleverError as error:
                work.tell(error)
                continue
            done.projects += 1
            done.artifacts += listing.count
            for outcome in pool.map(work.ensure, work.missing(project, listing)):
                done.created += outcome is Outcome.CREATED
                done.found += outcome is Outcome.FOUND
    return done


class _Listed(NamedTuple):
    """A model without its signature, as much of it as has to be remembered."""

    repository: str
    digest: Digest
    tags: tuple[str, ...]
    is_result: bool
    is_recent: bool


@dataclass(slots=True)
class _Listing:
    """What a project holds."""

    count: int = 0
    unread: list[_Listed] = field(default_factory=list)
    #: Repositories and digests that other artifacts were made from.
    done: set[tuple[str, str]] = field(default_factory=set)


class _Missing(NamedTuple):
    """A job to create; ``late`` where the tag came when the digest's own job was done."""

    wanted: Wanted
    late: bool


def _projects(harbor: Harbor, policy: Policy) -> Iterator[str]:
    """Yield the names of the projects that the policy means, each once."""
    yield from policy.names
    if policy.has_patterns:
        seen = set(policy.names)
        for project in harbor.projects():
            name = project.get("name")
            if isinstance(name, str) and name not in seen and policy.has_project(name):
                seen.add(name)
                yield name


def _list(harbor: Harbor, project: str, pool: Executor) -> _Listing:
    """Go through the artifacts of a project, page by page."""
    listing = _Listing()
    for artifact in harbor.artifacts_of(project, pool):
        listing.count += 1
        # Nothing that cannot be read as what Harbor answers is an artifact of ours.
        if artifact.get("media_type") != media.CONFIG or artifact.get("references"):
            continue
        repository, annotations = str(artifact.get("repository_name")), _map(artifact.get("annotations"))
        if repository.partition("/")[0] != project:
            continue
        if isinstance(source := annotations.get(DERIVED_FROM), str):
            listing.done.add((repository, source))
        if not _has_signature(artifact, annotations):
            try:
                listed = _read(repository, artifact, annotations)
            except InvalidReferenceError:
                continue
            if listed.tags or listed.is_recent:
                listing.unread.append(listed)
    return listing


def _read(repository: str, artifact: Mapping[str, Any], annotations: Mapping[str, Any]) -> _Listed:
    listed = artifact.get("tags")
    names = [tag.get("name") for tag in listed if isinstance(tag, dict)] if isinstance(listed, list) else []
    tags = tuple(sorted(parse_tag(name) for name in names if isinstance(name, str)))
    digest = parse_digest(str(artifact.get("digest")))
    is_recent = _is_recent(artifact.get("push_time"))
    return _Listed(parse_repository(repository), digest, tags, is_result(annotations), is_recent)


def _has_signature(artifact: Mapping[str, Any], annotations: Mapping[str, Any]) -> bool:
    """Say of a listed artifact what `StoredArtifact.has_full_signature` says of a stored one."""
    signature = _map(artifact.get("extra_attrs")).get("signature")
    if not isinstance(signature, dict):
        return False
    # Which layer it was read from the listing does not tell; whoever changes a layer and keeps what stands beside it
    # makes a push, which is looked at closely.
    return EXTRACTED_FROM in annotations or bool(signature.get("layers"))


def _is_recent(moment: object) -> bool:
    """Say whether a time of Harbor's is not long ago."""
    try:
        pushed = datetime.fromisoformat(str(moment))
    except ValueError:
        return False
    return pushed.tzinfo is not None and time.time() - pushed.timestamp() < _RECENT_SECONDS


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


class _Work:
    """What is missing, and its creation."""

    def __init__(self, harbor: Harbor, cluster: Cluster, policy: Policy, host: str, done: Relisted) -> None:
        self._harbor = harbor
        self._cluster = cluster
        self._policy = policy
        self._host = host
        self._done = done
        #: Names of the jobs by namespace; None for a namespace whose jobs cannot be listed.
        self._names: dict[str, set[str] | None] = {}
        self._lock = threading.Lock()

    def tell(self, problem: KleverError) -> None:
        """Keep a problem, unless another says the same or there are many."""
        problems = self._done.problems
        with self._lock:
            if len(problems) < _MAX_PROBLEMS and str(problem) not in map(str, problems):
                problems.append(problem)

    def missing(self, project: str, listing: _Listing) -> Iterator[_Missing]:
        """Yield the jobs that artifacts call for and that are not there."""
        for listed in listing.unread:
            is_done = (listed.repository, listed.digest) in listing.done
            for wanted in self._wanted(project, listed, is_done=is_done):
                if is_done and wanted.tag is None:
                    continue
                if wanted.rule.pipeline is not None and (is_done or listed.is_result or not listed.is_recent):
                    continue
                names = self._existing(wanted.rule.namespace)
                if names is None:
                    continue
                self._done.lacking += 1
                if not is_done and wanted.name() in names:
                    self._done.found += 1
                else:
                    yield _Missing(wanted, late=is_done)

    def ensure(self, missing: _Missing) -> Outcome | None:
        """Create a job; None where that is refused."""
        try:
            if missing.late:
                return start(self._cluster, missing.wanted, self._still_there, origin=FROM_RELIST).outcome
            return ensure_job(self._cluster, missing.wanted.document(FROM_RELIST))
        except TemporaryError:
            raise
        except KleverError as error:
            self.tell(error)
            return None

    def _wanted(self, project: str, listed: _Listed, *, is_done: bool) -> Iterator[Wanted]:
        """Yield what a listed artifact calls for: for each rule that covers it, by the tags that it has.

        Once by its first tag, as the job works on all; for a digest that is done, once by each tag.
        """
        name = listed.repository.partition("/")[2]
        seen: set[int] = set()
        for tag in listed.tags or (None,):
            rule = self._policy.rule_for(project, name, tag)
            if rule is not None and (is_done or id(rule) not in seen):
                seen.add(id(rule))
                yield Wanted(self._host, project, listed.repository, listed.digest, tag, rule)

    def _existing(self, namespace: str) -> set[str] | None:
        if namespace not in self._names:
            try:
                listed = self._cluster.each(MODEL_JOBS.path(namespace), {"labelSelector": ORIGIN}, page=_JOBS_PAGE)
                self._names[namespace] = {job["metadata"]["name"] for job in listed}
            except TemporaryError:
                raise
            except KleverError as error:
                self.tell(error)
                self._names[namespace] = None
        return self._names[namespace]

    def _still_there(self, wanted: Wanted) -> bool:
        name = wanted.repository.partition("/")[2]
        try:
            artifact = self._harbor.artifact(wanted.project, name, wanted.tag or wanted.digest)
        except HarborNotFoundError:
            return False
        return artifact.get("digest") == wanted.digest
