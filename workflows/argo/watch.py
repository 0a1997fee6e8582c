"""Follow objects of a cluster without asking again and again: list, then watch from there.

The pattern of Kubernetes' own clients (k8s.io/docs: Efficient detection of changes): a watch that ends or breaks is
opened again from the last version seen; where that is too old, everything is listed again. Restarts of the API server
are outlived. What does not belong here: what the objects mean, apart from a workflow's being over.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOWS, Cluster, Stream
from klever.workflows.argo.server import hydrated
from klever.workflows.argo.status import parse_run
from klever.workflows.manifest import Document
from klever.workflows.status import Run

#: Seconds after which the server ends a watch by itself, which is then opened again.
_WATCH_SECONDS: Final = 240
#: Seconds without a byte after which a connection counts as dead: the server sends a bookmark about every 60.
_SILENCE_SECONDS: Final = 90.0
#: Seconds between tries after a break: the first, and the most.
_FIRST_WAIT_SECONDS: Final = 0.5
_LAST_WAIT_SECONDS: Final = 10.0
#: Seconds that an API server may be away.
PATIENCE_SECONDS: Final = 300.0
#: Seconds that Argo's controller has to take up a workflow before its absence is worth a word.
_TAKEN_UP_SECONDS: Final = 20
#: The longest event: etcd's limit for an object is 1.5 MB; JSON may escape what it keeps as bytes.
_EVENT_BYTES: Final = 32 << 20


class Change(StrEnum):
    """What happened to an object."""

    THERE = "THERE"
    GONE = "GONE"


class Event(NamedTuple):
    """An object and what happened to it."""

    change: Change
    object: Document


class Watch:
    """The changes of the objects under one path that a selector admits; to be iterated once, in one thread.

    A reader that does not go on for a while loses nothing but intermediate states. ``quiet_seconds`` bounds how long
    the iterator waits for an event; when it is over, None is given instead.
    """

    def __init__(
        self,
        cluster: Cluster,
        path: str,
        selector: Mapping[str, str],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._cluster = cluster
        self.path = path
        self.selector = dict(selector)
        self._patience = patience_seconds
        self._known: dict[str, Document] = {}
        self._version = ""
        self._stream: Stream | None = None
        self._stopped = threading.Event()
        #: Read before each time that a watch is opened; None for no limit of its own.
        self.quiet_seconds: int | None = None

    def stop(self) -> None:
        """End the iteration, from whatever thread."""
        self._stopped.set()
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def __iter__(self) -> Iterator[Event | None]:
        """Yield each object that is there, then each change; None after a quiet time."""
        wait = _FIRST_WAIT_SECONDS
        broken_since: float | None = None
        while not self._stopped.is_set():
            try:
                if not self._version:
                    yield from self._listed()
                quiet = self.quiet_seconds
                for event in self._watched(quiet or _WATCH_SECONDS):
                    wait, broken_since = _FIRST_WAIT_SECONDS, None
                    if event is not None:
                        yield event
                if self._stopped.is_set():
                    return
                wait, broken_since = _FIRST_WAIT_SECONDS, None
                if quiet is not None:
                    yield None
            except errors.ExpiredError:
                self._version = ""
            except errors.ClusterUnreachableError:
                now = time.monotonic()
                broken_since = now if broken_since is None else broken_since
                if now - broken_since > self._patience:
                    raise
                self._stopped.wait(wait)
                wait = min(wait * 2, _LAST_WAIT_SECONDS)

    def _listed(self) -> Iterator[Event]:
        objects, version = self._cluster.list_all(self.path, self.selector)
        there = {str(each["metadata"]["uid"]): each for each in objects}
        gone = [each for uid, each in self._known.items() if uid not in there]
        self._known, self._version = there, version
        for each in gone:
            yield Event(Change.GONE, each)
        for each in objects:
            yield Event(Change.THERE, each)

    def _watched(self, seconds: int) -> Iterator[Event | None]:
        query = self.selector | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(seconds),
        }
        self._stream = stream = self._cluster.stream(self.path, query, silence_seconds=_SILENCE_SECONDS)
        try:
            if self._stopped.is_set():
                # `stop` came while the stream was opened, and had none to interrupt.
                return
            for line in stream.lines(_EVENT_BYTES):
                if self._stopped.is_set():
                    return
                yield self._event(line)
        finally:
            self._stream = None
            stream.close()

    def _event(self, line: bytes) -> Event | None:
        try:
            event = json.loads(line)
            kind, changed = event["type"], event["object"]
        except (ValueError, KeyError, TypeError) as error:
            # The line was cut by a connection that ended.
            raise errors.ClusterUnreachableError("the cluster sent half an event", stage="cluster") from error
        if kind == "ERROR":
            # 410 Gone, or an internal error of the server's cache: in both cases only a new list helps.
            raise errors.ExpiredError(str(changed.get("message", "")), stage="cluster")
        metadata = changed["metadata"]
        self._version = str(metadata["resourceVersion"])
        if kind == "BOOKMARK":
            return None
        uid = str(metadata["uid"])
        if kind == "DELETED":
            self._known.pop(uid, None)
            return Event(Change.GONE, changed)
        # What it was is not needed, only that it was.
        self._known[uid] = {"metadata": metadata}
        return Event(Change.THERE, changed)


def follow(
    cluster: Cluster, name: str, namespace: str = "", *, patience_seconds: float = PATIENCE_SECONDS
) -> Iterator[Run]:
    """Yield a workflow's `Run` as it is, and after each change, until it is over.

    Raises `WorkflowMissingError`, `WorkflowDeletedError`, and `ClusterUnreachableError` after ``patience_seconds``
    without an answer.
    """
    namespace = namespace or cluster.namespace
    watch = Watch(
        cluster,
        WORKFLOWS.path(namespace),
        {"fieldSelector": f"metadata.name={name}"},
        patience_seconds=patience_seconds,
    )
    last: Run | None = None
    uid = ""
    # The first list answers whether it is there at all; it fails at once where no cluster answers.
    get_workflow(cluster, name, namespace)
    watch.quiet_seconds = _TAKEN_UP_SECONDS
    for event in watch:
        if event is None:
            if last is not None and not last.nodes and not last.message:
                last.message = "waits for Argo's controller: does it run, and does it watch this namespace?"
                yield last
            continue
        metadata = event.object["metadata"]
        uid = uid or metadata["uid"]
        if event.change is Change.GONE or metadata["uid"] != uid:
            raise errors.WorkflowDeletedError(f"workflow {name} in namespace {namespace} was deleted", stage="wait")
        last = parse_run(hydrated(cluster, event.object))
        if event.object.get("status"):
            watch.quiet_seconds = None
        yield last
        if last.phase.is_final:
            return


def wait(cluster: Cluster, name: str, namespace: str = "", watch: Callable[[Run], None] = lambda _run: None) -> Run:
    """Return a workflow's `Run` when it is over; ``watch`` is called with each state before. Raises as `follow`."""
    for run in follow(cluster, name, namespace):
        watch(run)
    return run


def get_workflow(cluster: Cluster, name: str, namespace: str = "") -> Document:
    """Return a Workflow's document; raises `WorkflowMissingError`."""
    namespace = namespace or cluster.namespace
    try:
        return cluster.get(WORKFLOWS.path(namespace, name))
    except errors.ClusterObjectMissingError as error:
        raise errors.WorkflowMissingError(f"namespace {namespace} has no workflow {name}", stage="cluster") from error


def get_run(cluster: Cluster, name: str, namespace: str = "") -> Run:
    """Return a workflow's `Run` as it is now; raises `WorkflowMissingError`."""
    return parse_run(hydrated(cluster, get_workflow(cluster, name, namespace)))
