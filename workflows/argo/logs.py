"""Stream what the pods of a workflow print, each from when it starts, until the workflow is over.

Pods are found by a watch, and each is read in a thread of its own. A stream that breaks is taken up where it was. What
does not belong here: how lines are shown.
"""

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from klever.steps.errors import KleverError, PermanentError
from klever.workflows.argo import errors
from klever.workflows.argo.client import PODS, Cluster, Stream
from klever.workflows.argo.watch import Change, Watch
from klever.workflows.manifest import Document

_WORKFLOW_LABEL: Final = "workflows.argoproj.io/workflow"
_NODE_ANNOTATION: Final = "workflows.argoproj.io/node-id"
_NODE_NAME_ANNOTATION: Final = "workflows.argoproj.io/node-name"
#: Argo's own name for the container of a template.
_MAIN: Final = "main"
#: What Argo's own process around the main container writes into its log (workflow/executor/emissary).
_OF_ARGO: Final = re.compile(r'time="[^"]*" level=\w+ msg=.* argo=true(?: error=.*)?')
#: A longer line comes in pieces; Argo's own reader does so at 1 MB.
_LINE_BYTES: Final = 1 << 20
#: Seconds without a line after which a stream is opened again: a process may say nothing for long.
_SILENCE_SECONDS: Final = 600.0
#: Tries to take up a broken stream with nothing new in between, and seconds before each.
_TRIES: Final = 8
_WAIT_SECONDS: Final = 1.0
#: The most pods that are read at once; further ones wait for their turn, since every one is a connection and a thread.
_MAX_STREAMS: Final = 128
#: Seconds that the last lines have to arrive after the workflow's end.
_LAST_SECONDS: Final = 20.0


@dataclass(frozen=True)
class Line:
    """A line of a pod's main container."""

    node: str
    #: The last part of the node's full name, for one that is not known by another.
    node_name: str
    pod: str
    text: str
    #: RFC 3339 with nanoseconds, as the kubelet noted it.
    time: str


@dataclass
class _Position:
    """How far a stream was read: the time of the last line, and how many lines of just that time there were."""

    time: str = ""
    count: int = 0
    #: While the lines before are seen once more: how many of the last time are still to come. None otherwise.
    _repeated: int | None = None

    def resume(self) -> str:
        """Begin anew; return the whole second from which on lines have to be asked for, or nothing."""
        self._repeated = self.count if self.time else None
        # The API takes no fractions.
        return f"{self.time[:19]}Z" if self.time else ""

    def is_new(self, time: str) -> bool:
        """Note a line; return whether it was not seen before the stream broke."""
        if self._repeated is not None:
            if _order(time) < _order(self.time):
                return False
            if time == self.time and self._repeated:
                self._repeated -= 1
                return False
            self._repeated = None
        self.count = self.count + 1 if time == self.time else 1
        self.time = time
        return True


class Logs:
    """The lines of a workflow's pods, given to ``on_line`` from several threads, one call at a time.

    As a context manager: entering begins, leaving waits for what is still on its way (`finish`), or, after an
    exception, ends at once. ``on_note`` gets sentences about pods whose lines cannot be had.
    """

    def __init__(
        self,
        cluster: Cluster,
        workflow: str,
        namespace: str = "",
        *,
        on_line: Callable[[Line], None],
        on_note: Callable[[str], None],
        node: str = "",
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace or cluster.namespace
        self._on_line = on_line
        self._on_note = on_note
        self._only = node
        path = PODS.path(self._namespace)
        self._watch = Watch(cluster, path, {"labelSelector": f"{_WORKFLOW_LABEL}={workflow}"})
        self._watcher = threading.Thread(target=self._find, name="logs", daemon=True)
        self._one_at_a_time = threading.Lock()
        self._places = threading.Semaphore(_MAX_STREAMS)
        self._readers: dict[str, threading.Thread] = {}
        self._streams: dict[str, Stream] = {}
        self._listed = threading.Event()
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        if kind is None:
            self.finish()
        self.stop()

    def finish(self) -> None:
        """Wait until every pod that has run is read to its end, at most for a few seconds each."""
        self._listed.wait(_LAST_SECONDS)
        try:
            pods, _ = self._cluster.list_all(*self._query())
            for pod in pods:
                self._read_if_started(pod)
        except KleverError as error:
            self._note(f"the last pods cannot be listed: {error.cause}")
        for reader in list(self._readers.values()):
            reader.join(_LAST_SECONDS)
        if not self._readers:
            self._note("there are no logs: no pod has run, or all were cleaned up")

    def stop(self) -> None:
        """End all streams."""
        self._ended.set()
        self._watch.stop()
        for stream in list(self._streams.values()):
            stream.interrupt()

    def _query(self) -> tuple[str, dict[str, str]]:
        return self._watch.path, self._watch.selector

    def _find(self) -> None:
        try:
            for event in self._watch:
                self._listed.set()
                if event is not None and event.change is Change.THERE:
                    self._read_if_started(event.object)
        except KleverError as error:
            if not self._ended.is_set():
                self._note(f"no further logs: {error.cause}")
        finally:
            self._listed.set()

    def _read_if_started(self, pod: Document) -> None:
        metadata = pod["metadata"]
        node = (metadata.get("annotations") or {}).get(_NODE_ANNOTATION, "")
        if self._only and node != self._only:
            return
        if not _has_started(pod) or self._ended.is_set():
            return
        with self._one_at_a_time:
            if metadata["uid"] in self._readers:
                return
            reader = threading.Thread(target=self._read, args=(pod, node), name=metadata["name"], daemon=True)
            # Started first: whoever finds it among the readers may wait for its end.
            reader.start()
            self._readers[metadata["uid"]] = reader

    def _read(self, pod: Document, node: str) -> None:
        metadata = pod["metadata"]
        name = str(metadata["name"])
        node_name = str((metadata.get("annotations") or {}).get(_NODE_NAME_ANNOTATION, name))
        position = _Position()
        with self._places:
            tries = _TRIES
            while tries and not self._ended.is_set():
                before = (position.time, position.count)
                broken = ""
                try:
                    self._follow(name, str(metadata["uid"]), node, node_name, position)
                    if not self._still_runs(name, str(metadata["uid"])):
                        return
                    # The kubelet ended it: it was restarted, or the end of the container is not told yet.
                except errors.ClusterObjectMissingError:
                    if not position.time:
                        self._note(f"the pod of {node_name} is gone, and its log with it")
                    return
                except PermanentError as error:
                    self._note(f"the log of {node_name} cannot be read: {error.cause}")
                    return
                except errors.ClusterUnreachableError as error:
                    broken = error.cause
                tries = tries - 1 if (position.time, position.count) == before else _TRIES
                if not tries and broken:
                    self._note(f"the log of {node_name} breaks off: {broken}")
                self._ended.wait(_WAIT_SECONDS)

    def _follow(self, name: str, uid: str, node: str, node_name: str, position: _Position) -> None:
        query = {"container": _MAIN, "follow": "true", "timestamps": "true"}
        since = position.resume()
        if since:
            query["sinceTime"] = since
        stream = self._cluster.stream(PODS.path(self._namespace, name, "log"), query, silence_seconds=_SILENCE_SECONDS)
        self._streams[uid] = stream
        try:
            for raw in stream.lines(_LINE_BYTES):
                time, _, text = raw.decode("utf-8", errors="replace").rstrip("\r").partition(" ")
                if position.is_new(time) and not _OF_ARGO.fullmatch(text):
                    with self._one_at_a_time:
                        self._on_line(Line(node, node_name, name, text, time))
        finally:
            self._streams.pop(uid, None)
            stream.close()

    def _still_runs(self, name: str, uid: str) -> bool:
        pod = self._cluster.get(PODS.path(self._namespace, name))
        return bool(pod["metadata"]["uid"] == uid) and "running" in _main_state(pod)

    def _note(self, text: str) -> None:
        with self._one_at_a_time:
            self._on_note(text)


def _has_started(pod: Document) -> bool:
    """Return whether the main container runs or has run, so that it has a log."""
    return not _main_state(pod).keys().isdisjoint({"running", "terminated"})


def _main_state(pod: Document) -> dict[str, Any]:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        if container.get("name") == _MAIN:
            return dict(container.get("state") or {})
    return {}


def _order(time: str) -> tuple[str, str]:
    """Return a time such that times compare: the kubelet leaves zeros at the end of the fraction away."""
    seconds, _, fraction = time.rstrip("Z").partition(".")
    return seconds, fraction.ljust(9, "0")
