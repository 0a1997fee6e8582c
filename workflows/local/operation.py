"""Walk a workflow from its entry as Argo's controller does in ``operate``: one pass, then again when something changed.

A pass looks at the nodes that are there, makes those that can be, and marks those that have ended. It never waits:
what runs and what is waited for is left to its caller. What does not belong here: processes, time passing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Protocol

from klever.steps.errors import KleverError
from klever.workflows.local import dag, retries, steps
from klever.workflows.local.arguments import process, substitute_twice
from klever.workflows.local.call import Call
from klever.workflows.local.durations import parse_duration, parse_go_duration
from klever.workflows.local.errors import (
    ParallelismReachedError,
    TemplateError,
    TimeoutReachedError,
    WaitingError,
)
from klever.workflows.local.gotext import as_text, dump_json, timestamp
from klever.workflows.local.hooks import run_workflow_hooks
from klever.workflows.local.library import Base, Library, template_label
from klever.workflows.local.merging import merge_defaults
from klever.workflows.local.nodes import LocalNode, Nodes, Outputs, declared_inputs
from klever.workflows.local.scope import global_names
from klever.workflows.local.variables import substitute
from klever.workflows.status import Kind, Phase, Run

#: Argo's annotation for what the node is called in its pages.
DISPLAY_NAME: Final = "workflows.argoproj.io/display-name"
_DISPLAY_NAME: Final = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9-.]{0,61}[a-zA-Z0-9]$")
#: Argo's limit on templates that start templates (``maxStackDepth``).
MAX_DEPTH: Final = 100
_POLICIES_ON_ERROR: Final = ("Always", "OnError", "OnTransientError")


class Shutdown(StrEnum):
    """How a run is ended from outside (Argo's ``ShutdownStrategy``)."""

    #: What runs is killed; exit handlers still run.
    STOP = "Stop"
    #: Exit handlers are killed as well.
    TERMINATE = "Terminate"


@dataclass(frozen=True)
class Pod:
    """What is to run as a process: a node's container or script, all variables replaced."""

    node: str
    template: Mapping[str, Any]
    #: Whether standard output is somebody's ``outputs.result``.
    wants_result: bool
    #: Seconds that it may run, with what its end then says.
    deadline: float | None
    volumes: tuple[Mapping[str, Any], ...] = ()


class Pods(Protocol):
    """Where pods run."""

    def start(self, pod: Pod) -> None:
        """Run it as soon as there is room."""

    def kill(self, node: str) -> None:
        """End it, or take it back if it has not begun."""


class Locks(Protocol):
    """Where mutexes are."""

    def try_acquire(self, holder: str, names: list[str]) -> str | None:
        """Take all, or none and return the name of one that another holds; the caller is told when it is free."""

    def release(self, holder: str) -> None:
        """Give back what ``holder`` has, or wants."""


class Operation:
    """One workflow on its way."""

    def __init__(
        self,
        run: Run,
        base: Base,
        library: Library,
        globals_: dict[str, str],
        *,
        pods: Pods,
        locks: Locks,
    ) -> None:
        self.run = run
        self.base = base
        self.library = library
        self.globals = globals_
        self.nodes = Nodes(run, self._note_change)
        self.shutdown: Shutdown | None = None
        #: What the last pass waits for, for the case that nothing will ever happen.
        self.waits_for: list[str] = []
        #: When a pass is due though nothing else happens.
        self.wake: datetime | None = None
        self.changed = False
        #: The tasks of loops and the resolved tasks of nodes that are there, by node name.
        self.expanded: dict[str, list[dict[str, Any]]] = {}
        #: The tasks of a loop that may still change, by the group's name.
        self.open_tasks: dict[str, list[dict[str, Any]]] = {}
        self.graphs: dict[str, Any] = {}
        self.raw_templates: dict[str, Mapping[str, Any]] = {}
        self._pods = pods
        self._locks = locks
        self._processed: dict[str, tuple[int, dict[str, Any]]] = {}
        self._version = 0
        #: The templates of nodes as text, to look for references to results in.
        self._texts: dict[str, str] = {}
        self._depth = 0
        self._active_pods = 0

    # -- what the world tells

    def _note_change(self) -> None:
        self.changed = True

    def pod_started(self, node_id: str) -> None:
        """Note that a pod runs."""
        node = self.nodes[node_id]
        if node.phase is Phase.PENDING:
            node.started = datetime.now(UTC)
            self.nodes.mark(node, Phase.RUNNING, "")

    def pod_ended(self, node_id: str, phase: Phase, message: str, outputs: Outputs) -> None:
        """Note how a pod ended; one that was given up before stays as it was."""
        node = self.nodes[node_id]
        if node.is_final:
            return
        node.give(outputs)
        self.publish(outputs)
        self.nodes.mark(node, phase, message)

    def pod_progressed(self, node_id: str, progress: str) -> None:
        """Note what a pod says about its progress."""
        node = self.nodes[node_id]
        if node.progress != progress:
            node.progress = progress
            self._note_change()

    def stop(self, how: Shutdown) -> None:
        """End the run from outside."""
        self.shutdown = how
        self._note_change()

    def wake_at(self, moment: datetime) -> None:
        """Ask for a pass at ``moment``."""
        self.wake = moment if self.wake is None else min(self.wake, moment)

    def publish(self, outputs: Outputs | None) -> None:
        """Make outputs with a ``globalName`` known to the whole workflow."""
        if outputs is None:
            return
        for name, value in outputs.parameters.items():
            global_name = outputs.global_names.get(name)
            key = f"workflow.outputs.parameters.{global_name}"
            if global_name and value is not None and self.globals.get(key) != value:
                self.globals[key] = value
                self._version += 1
                self._note_change()

    # -- a pass

    @property
    def deadline(self) -> datetime | None:
        """Return when the workflow has to have ended."""
        seconds = self.base.spec.get("activeDeadlineSeconds")
        if seconds is None or self.run.started is None:
            return None
        return self.run.started + timedelta(seconds=float(as_text(seconds)))

    @property
    def is_past_deadline(self) -> bool:
        """Whether the workflow's deadline has passed."""
        return self.deadline is not None and datetime.now(UTC) > self.deadline

    def may_run(self, *, exiting: bool) -> bool:
        """Say whether a shutdown lets this run (``ShouldExecute``)."""
        return self.shutdown is None or (exiting and self.shutdown is Shutdown.STOP)

    def advance(self) -> None:
        """Make one pass (``operate``)."""
        self.waits_for = []
        self.wake = None
        if self.run.started is None:
            self.run.started = datetime.now(UTC)
            self.run.phase = Phase.RUNNING
        self.globals["workflow.status"] = self.run.phase.value
        self.globals["workflow.duration"] = f"{(datetime.now(UTC) - self.run.started).total_seconds():f}"
        self._control()
        self._active_pods = self.nodes.active_pods()
        try:
            self._operate()
        except WaitingError as waiting:
            self.waits_for.append(str(waiting))

    def _operate(self) -> None:
        spec = self.base.spec
        holder = {"template": spec.get("entrypoint") or ""}
        arguments = spec.get("arguments") or {}
        try:
            node = self.execute(self.run.name, holder, arguments, self.base, Call())
        except KleverError as error:
            self._finish(Phase.ERROR, f"error in entry template execution: {error.cause}")
            return
        if node is None:
            return
        status = {Phase.SKIPPED: Phase.SUCCEEDED, Phase.OMITTED: Phase.SUCCEEDED}.get(node.phase, node.phase)
        self.globals["workflow.status"] = status.value
        self.globals["workflow.failures"] = self._failures()
        try:
            hooked = run_workflow_hooks(self)
        except KleverError as error:
            self.nodes.mark(node, Phase.ERROR, error.cause)
            hooked = True
        if not hooked or not node.is_final:
            return
        self._end(node, status)

    def _end(self, node: LocalNode, status: Phase) -> None:
        exit_node: LocalNode | None = None
        hook = self._exit_hook()
        name = f"{self.run.name}.onExit"
        if hook is not None and (self.nodes.get(name) is not None or self.may_run(exiting=True)):
            try:
                exit_node = self.execute(
                    name, hook, hook.get("arguments") or {}, self.base, Call(exiting=True, hooked=True)
                )
            except KleverError as error:
                self._finish(Phase.ERROR, f"error in exit template execution : {error.cause}")
                return
            if exit_node is None or not exit_node.is_final:
                return
        if status is Phase.SUCCEEDED:
            failed = exit_node if exit_node is not None and exit_node.phase.is_failure else None
            self._finish(failed.phase if failed else status, failed.message if failed else "")
            return
        stopped = node.phase.is_failure and self.shutdown is not None
        self._finish(status, f"Stopped with strategy '{self.shutdown}'" if stopped else node.message)

    def _exit_hook(self) -> dict[str, Any] | None:
        spec = self.base.spec
        if on_exit := spec.get("onExit"):
            return {"template": on_exit, "arguments": spec.get("arguments") or {}}
        hook = (spec.get("hooks") or {}).get("exit")
        if hook is None:
            return None
        given = hook.get("arguments") or {}
        return {**hook, "arguments": given if given.get("parameters") else spec.get("arguments") or {}}

    def fail_stuck(self) -> None:
        """End a run in which nothing will ever happen again, where Argo would wait for ever."""
        reason = next(iter(self.waits_for), "no task can start")
        self._finish(Phase.ERROR, f"nothing can go on: {reason}")

    def _finish(self, phase: Phase, message: str) -> None:
        root = self.nodes.get(self.run.name)
        if phase is Phase.ERROR and root is not None and root.phase is Phase.RUNNING:
            self.nodes.mark(root, Phase.ERROR, "Workflow operation error")
        self.run.phase = phase
        self.run.message = message
        self.run.finished = datetime.now(UTC)
        self.run.outputs = dict(root.outputs) if root else {}
        self._note_change()

    def _failures(self) -> str:
        failures = [
            {
                "displayName": node.display_name,
                "message": node.message,
                "templateName": node.template,
                "phase": node.phase.value,
                "podName": self.nodes.pod_name(node.name, node.template),
                "finishedAt": timestamp(node.finished),
            }
            for node in self.nodes
            if node.phase.is_failure
        ]
        listed = "[" + ",".join(_json_in_order(failure) for failure in failures) + "]" if failures else "null"
        # Quoted once more, as Argo does, so that the quotes outlive the substitution.
        return dump_json(listed)

    def _control(self) -> None:
        """End what may not go on: after a stop, and past the deadline (``exec_control.go``)."""
        late = self.is_past_deadline
        if self.deadline is not None and not late:
            self.wake_at(self.deadline)
        for node in list(self.nodes):
            if node.is_final or node.kind not in (Kind.POD, Kind.SUSPEND):
                continue
            if not self.may_run(exiting=node.exiting):
                message = f"workflow shutdown with strategy:  {self.shutdown}"
                if node.kind is Kind.SUSPEND:
                    message = f"Stopped with strategy '{self.shutdown}'"
                self._give_up(node, message)
            elif late and not node.exiting:
                self._give_up(node, "Step exceeded its deadline")

    def _give_up(self, node: LocalNode, message: str) -> None:
        if node.created:
            self._pods.kill(node.id)
        self._locks.release(node.id)
        self.nodes.mark(node, Phase.FAILED, message)

    # -- templates

    def resolve(self, holder: Mapping[str, Any], base: Base) -> tuple[Base, dict[str, Any]]:
        """Return a template with the workflow's ``templateDefaults``, and its base; raises `TemplateError`."""
        found, template = self.library.resolve(holder, base)
        defaults = self.base.spec.get("templateDefaults")
        return found, merge_defaults(template, defaults) if defaults else template

    def strategy(self, template: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return how the template is retried, if it is."""
        # An empty one is a strategy too: as often as it takes.
        own = template.get("retryStrategy")
        return own if own is not None else self.base.spec.get("retryStrategy")

    def execute(
        self, name: str, holder: Mapping[str, Any], arguments: Mapping[str, Any], base: Base, call: Call
    ) -> LocalNode | None:
        """Start, continue or end the node of a template, and return it (``executeTemplate``).

        Raises `WaitingError` where it may not start yet, `KleverError` where it cannot; then its node says so.
        """
        node = self.nodes.get(name)
        if node is not None and node.is_final:
            self._locks.release(node.id)
            return node
        if node is not None and self.is_under_way(node):
            return node
        self._depth += 1
        try:
            if self._depth >= MAX_DEPTH:
                raise TemplateError(
                    "Maximum recursion depth exceeded. See https://argo-workflows.readthedocs.io/en/latest/"
                    "workflow-of-workflows/"
                )
            inner, template = self.resolve(holder, base)
            processed = self._process(name, template, holder, arguments)
            self._check_display_name(processed)
        except KleverError as error:
            self._mark_or_make(name, holder, call, error)
            raise
        else:
            return self._execute(name, holder, arguments, base, call, inner, template, processed)
        finally:
            self._depth -= 1

    def is_under_way(self, node: LocalNode) -> bool:
        """Say whether a pod of this node runs or is to run, so that a pass has nothing to do for it."""
        if node.kind is Kind.RETRY:
            last = self.nodes.last_try(node)
            return not node.is_final and last is not None and self.is_under_way(last)
        return node.kind is Kind.POD and node.created and not node.is_final

    def _mark_or_make(self, name: str, holder: Mapping[str, Any], call: Call, error: KleverError) -> LocalNode:
        node = self.nodes.get(name)
        if node is not None:
            return self.nodes.mark(node, Phase.ERROR, error.cause)
        return self._add(name, Kind.SKIPPED, holder, call, phase=Phase.ERROR, message=error.cause)

    def _add(
        self,
        name: str,
        kind: Kind,
        holder: Mapping[str, Any],
        call: Call,
        *,
        phase: Phase,
        message: str = "",
        template: Mapping[str, Any] | None = None,
    ) -> LocalNode:
        node = self.nodes.add(
            name,
            kind,
            phase=phase,
            template=template_label(holder),
            boundary=call.boundary,
            message=message,
            hooked=call.hooked,
            retried=call.retried,
            exiting=call.exiting,
            inputs=declared_inputs(dict(template)) if template is not None else None,
        )
        shown = ((template or {}).get("annotations") or {}).get(DISPLAY_NAME)
        if shown:
            node.display_name = shown
        return node

    def _process(
        self, name: str, template: Mapping[str, Any], holder: Mapping[str, Any], arguments: Mapping[str, Any]
    ) -> dict[str, Any]:
        known = self._processed.get(name)
        if known is not None and known[0] == self._version:
            return known[1]
        local = {"node.name": name}
        if is_pod(template) and self.strategy(template) is None:
            local["pod.name"] = self.nodes.pod_name(name, template.get("name") or "")
        if holder.get("name"):
            # Only one of both is asked for in a document that Argo accepts.
            local["tasks.name"] = local["steps.name"] = str(holder["name"])
        processed = process(template, arguments, self.globals, local)
        self._processed[name] = (self._version, processed)
        return processed

    def _check_display_name(self, template: Mapping[str, Any]) -> None:
        shown = (template.get("annotations") or {}).get(DISPLAY_NAME)
        if shown and not _DISPLAY_NAME.fullmatch(shown):
            raise TemplateError(f"displayName must match the regex {_DISPLAY_NAME.pattern}")

    def _execute(
        self,
        name: str,
        holder: Mapping[str, Any],
        arguments: Mapping[str, Any],
        base: Base,
        call: Call,
        inner: Base,
        template: Mapping[str, Any],
        processed: dict[str, Any],
    ) -> LocalNode | None:
        node = self.nodes.get(name)
        self._check_timeout(processed, node)
        self._check_parallelism(processed, node, call.boundary)
        if (waiting := self._lock(name, holder, call, processed)) is not None:
            return waiting
        strategy = self.strategy(processed)
        retry: LocalNode | None = None
        if strategy is not None:
            retry = self.nodes.get(name) or self._add(
                name, Kind.RETRY, holder, call, phase=Phase.RUNNING, template=processed
            )
            call = replace(call, retried=True)
            tried = self._next_try(retry, strategy, call, processed)
            if tried is None:
                if retry.is_final:
                    self._locks.release(retry.id)
                return retry
            name, call, processed = tried
        try:
            node = self._run(name, holder, call, inner, template, processed)
        except WaitingError:
            raise
        except KleverError as error:
            node = self._mark_or_make(name, holder, call, error)
            if retry is not None:
                self.nodes.join(retry, node)
            policy = (strategy or {}).get("retryPolicy") or ("Always" if (strategy or {}).get("expression") else "")
            if strategy is None or policy not in _POLICIES_ON_ERROR:
                self._locks.release(retry.id if retry else node.id)
                raise
        if retry is None:
            if node.is_final:
                self._locks.release(node.id)
            return node
        self.nodes.join(retry, node)
        if not retry.is_final and node.is_final:
            return self.execute(retry.name, holder, arguments, base, replace(call, retried=False))
        return retry

    def _next_try(
        self, retry: LocalNode, strategy: Mapping[str, Any], call: Call, processed: dict[str, Any]
    ) -> tuple[str, Call, dict[str, Any]] | None:
        """Return the name, call and template of the try that runs or is to run, or None where none is."""
        tries = self.nodes.tries(retry)
        last = tries[-1] if tries else None
        deadline = call.deadline
        if last is not None and last.is_final:
            if not last.phase.is_failure:
                retry.give(last.given)
                self.nodes.mark(retry, Phase.SUCCEEDED)
                return None
            verdict = self._decide(retry, strategy, tries)
            if verdict.next is retries.Next.ENDED:
                self.nodes.mark(retry, verdict.phase or last.phase, verdict.message)
                retry.give(last.given)
                return None
            if verdict.message is not None:
                self.nodes.mark(retry, retry.phase, verdict.message)
            if verdict.next is retries.Next.WAIT:
                if verdict.until is not None:
                    self.wake_at(verdict.until)
                return None
            deadline = verdict.deadline or deadline
        if last is not None and not last.is_final:
            number, name = len(tries) - 1, last.name
            last = tries[-2] if len(tries) > 1 else None
        else:
            number = len(tries)
            name = f"{retry.name}({number})"
        local = {"retries": str(number), **retries.last_try_variables(last)}
        if is_pod(processed):
            local["pod.name"] = self.nodes.pod_name(name, processed.get("name") or "")
        return name, replace(call, deadline=deadline), substitute_twice(processed, self.globals, local)

    def _decide(self, retry: LocalNode, strategy: Mapping[str, Any], tries: list[LocalNode]) -> retries.Verdict:
        stopped = ""
        if self.shutdown is not None:
            stopped = f"Stopped with strategy '{self.shutdown}'"
        elif self.is_past_deadline and self.deadline is not None:
            stopped = f"retry exceeded workflow deadline {self.deadline:%Y-%m-%d %H:%M:%S} +0000 UTC"
        try:
            return retries.decide(strategy, tries, now=datetime.now(UTC), stopped=stopped)
        except KleverError as error:
            self.nodes.mark(retry, Phase.ERROR, error.cause)
            raise

    def _run(
        self,
        name: str,
        holder: Mapping[str, Any],
        call: Call,
        inner: Base,
        template: Mapping[str, Any],
        processed: dict[str, Any],
    ) -> LocalNode:
        if is_pod(processed):
            return self._run_pod(name, holder, call, processed)
        if processed.get("suspend") is not None:
            return self._suspend(name, holder, call, processed)
        kind = Kind.DAG if processed.get("dag") is not None else Kind.STEPS
        node = self.nodes.get(name)
        if node is None:
            node = self._add(name, kind, holder, call, phase=Phase.RUNNING, template=processed)
        self.raw_templates[node.id] = template
        run = dag.execute if kind is Kind.DAG else steps.execute
        return run(self, node, processed, inner, call)

    # -- pods

    def _run_pod(self, name: str, holder: Mapping[str, Any], call: Call, processed: dict[str, Any]) -> LocalNode:
        node = self.nodes.get(name)
        if node is None:
            node = self._add(name, Kind.POD, holder, call, phase=Phase.PENDING, template=processed)
        if node.created or node.is_final:
            return node
        if not self.may_run(exiting=call.exiting):
            return self.nodes.mark(node, Phase.FAILED, f"workflow shutdown with strategy: {self.shutdown}")
        deadline = self._pod_deadline(node, call, processed)
        variables = {
            **self.globals,
            **{f"inputs.parameters.{key}": value for key, value in declared_inputs(processed).items()},
            "pod.name": self.nodes.pod_name(name, processed.get("name") or ""),
        }
        volumes = [*(self.base.spec.get("volumes") or []), *(processed.get("volumes") or [])]
        pod = Pod(
            node=node.id,
            template=substitute(processed, variables),
            wants_result=self._wants_result(name, call.boundary),
            deadline=deadline,
            volumes=tuple(substitute(volumes, variables)),
        )
        node.created = True
        node.progress = "0/1"
        self._active_pods += 1
        self._pods.start(pod)
        return node

    def _pod_deadline(self, node: LocalNode, call: Call, processed: Mapping[str, Any]) -> float | None:
        """Return the seconds that a pod may take, the least of all limits but the workflow's own."""
        now = datetime.now(UTC)
        limits: list[float] = []
        if (seconds := processed.get("activeDeadlineSeconds")) is not None:
            try:
                limits.append(float(as_text(seconds)))
            except ValueError as error:
                raise TemplateError(f"activeDeadlineSeconds is {as_text(seconds)!r}, no number") from error
        if (timeout := processed.get("timeout")) and node.started is not None:
            limits.append(parse_go_duration(timeout) - (now - node.started).total_seconds())
        if call.deadline is not None:
            limits.append((call.deadline - now).total_seconds())
        return max(min(limits), 0.0) if limits else None

    def _check_timeout(self, processed: Mapping[str, Any], node: LocalNode | None) -> None:
        timeout = processed.get("timeout")
        if not timeout or node is None or node.started is None or node.phase is not Phase.PENDING:
            return
        deadline = node.started + timedelta(seconds=parse_go_duration(timeout))
        if datetime.now(UTC) > deadline:
            self._locks.release(node.id)
            self.nodes.mark(node, Phase.FAILED, "Timeout")
            raise TimeoutReachedError("Timeout")
        self.wake_at(deadline)

    def _wants_result(self, name: str, boundary: str) -> bool:
        """Say whether the template around asks for this task's output (``hasOutputResultRef``)."""
        if not boundary:
            return False
        template = self.raw_templates[boundary]
        root = "tasks" if template.get("dag") is not None else "steps"
        if boundary not in self._texts:
            self._texts[boundary] = dump_json(template)
        text = self._texts[boundary]
        task = task_name(name)
        return (
            re.search(rf"{root}\.{task}\.outputs\.result", text) is not None
            or re.search(rf"{root}\[['\"]{task}['\"]\]\.outputs.result", text) is not None
        )

    def _suspend(self, name: str, holder: Mapping[str, Any], call: Call, processed: dict[str, Any]) -> LocalNode:
        node = self.nodes.get(name)
        if node is None:
            node = self._add(name, Kind.SUSPEND, holder, call, phase=Phase.RUNNING, template=processed)
        if node.started is None:
            raise TemplateError("a node without a start cannot wait")
        deadline = node.started + timedelta(seconds=parse_duration(as_text(processed["suspend"].get("duration") or "")))
        if datetime.now(UTC) < deadline:
            self.wake_at(deadline)
            return node
        node.give(_supplied(processed))
        return self.nodes.mark(node, Phase.SUCCEEDED)

    # -- limits

    def _lock(self, name: str, holder: Mapping[str, Any], call: Call, processed: dict[str, Any]) -> LocalNode | None:
        names = mutexes_of(processed, self.globals["workflow.namespace"])
        if not names:
            return None
        node_id = self.nodes.id_of(name)
        busy = self._locks.try_acquire(node_id, names)
        node = self.nodes.get(name)
        if busy is None:
            if node is not None and node.waiting_for_lock:
                node.waiting_for_lock = False
                self.nodes.mark(node, node.phase, "")
            return None
        if node is None:
            kind = node_kind(processed)
            node = self._add(name, kind, holder, call, phase=Phase.PENDING, template=processed)
        node.waiting_for_lock = True
        return self.nodes.mark(node, node.phase, f"Waiting for {busy} lock. Lock status: 0/1")

    def _check_parallelism(self, template: Mapping[str, Any], node: LocalNode | None, boundary: str) -> None:
        """Raise `ParallelismReachedError` where as much runs as may (``checkParallelism``)."""
        limit = self.base.spec.get("parallelism")
        if limit is not None and self._active_pods >= int(as_text(limit)):
            raise ParallelismReachedError("the workflow's parallelism is reached")
        nested = template.get("dag") is not None or template.get("steps") is not None
        if node is not None and nested:
            self._check_fail_fast(template, node)
            if (most := _parallelism(template)) and self.nodes.active_pods(node.id) >= most:
                raise ParallelismReachedError("the template's parallelism is reached")
        if boundary and (node is None or node.phase not in (Phase.PENDING, Phase.RUNNING)):
            around = self.raw_templates[boundary]
            self._check_fail_fast(around, self.nodes[boundary])
            if (most := _parallelism(around)) and self.nodes.active_children(boundary) >= most:
                raise ParallelismReachedError("the template's parallelism is reached")

    def _check_fail_fast(self, template: Mapping[str, Any], node: LocalNode) -> None:
        if not template.get("failFast") or not self.nodes.failed_children(node.id):
            return
        message = "template has failed or errored children and failFast enabled"
        if self.nodes.active_pods(node.id) == 0:
            if template.get("steps") is not None and (group := self.nodes.last_step_group(node)) is not None:
                self.nodes.mark(group, Phase.FAILED, message)
            self.nodes.mark(node, Phase.FAILED, message)
        raise ParallelismReachedError(message)


def is_pod(template: Mapping[str, Any]) -> bool:
    """Say whether the template runs a container."""
    return template.get("container") is not None or template.get("script") is not None


def node_kind(template: Mapping[str, Any]) -> Kind:
    """Return the type of node that a template makes."""
    if is_pod(template):
        return Kind.POD
    if template.get("dag") is not None:
        return Kind.DAG
    return Kind.STEPS if template.get("steps") is not None else Kind.SUSPEND


def mutexes_of(holder: Mapping[str, Any], namespace: str) -> list[str]:
    """Return the names of the mutexes in ``synchronization``, as Argo names locks, sorted."""
    synchronization = holder.get("synchronization") or {}
    one = synchronization.get("mutex")
    mutexes = [*(synchronization.get("mutexes") or []), *([one] if one else [])]
    return sorted({f"{mutex.get('namespace') or namespace}/Mutex/{mutex.get('name') or ''}" for mutex in mutexes})


def task_name(node_name: str) -> str:
    """Return the task that a node stems from: ``fan`` of ``wf.fan(0:1)(0)`` (``getStepOrDAGTaskName``)."""
    opener = ""
    end = len(node_name)
    for index in range(len(node_name) - 1, -1, -1):
        letter = node_name[index]
        if letter == opener:
            opener = ""
        elif opener:
            continue
        elif letter in ")]":
            opener = "(" if letter == ")" else "["
        else:
            end = index + 1
            break
    return node_name[:end].rsplit(".", 1)[-1]


def _parallelism(template: Mapping[str, Any]) -> int:
    return int(as_text(template.get("parallelism") or 0))


def _supplied(template: Mapping[str, Any]) -> Outputs | None:
    """Return the outputs of a suspended node that nobody answered: their defaults."""
    values: dict[str, str | None] = {}
    inputs = {item["name"]: item for item in (template.get("inputs") or {}).get("parameters") or []}
    for parameter in (template.get("outputs") or {}).get("parameters") or []:
        source = parameter.get("valueFrom") or {}
        if source.get("supplied") is None:
            continue
        default = source.get("default")
        if default is None:
            default = inputs.get(parameter["name"], {}).get("default")
        if default is None:
            raise TemplateError(
                f"raw output parameter '{parameter['name']}' has not been set and does not have a default value"
            )
        values[parameter["name"]] = str(default)
    return Outputs(values, global_names=global_names(template)) if values else None


def _json_in_order(values: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{dump_json(key)}:{dump_json(value)}" for key, value in values.items()) + "}"
