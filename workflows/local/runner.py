"""Run a workflow on this machine.

    run(workflow, {"model": "fraud:v3"}, watch=lambda run: print(run.phase))

The engine says which pods are to run; here they run as processes, as many at once as there are cores, and each end
leads to the next pass. What does not belong here: what a workflow means, how a process is made.
"""

import asyncio
import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from klever.workflows.local.locks import FileLocks
from klever.workflows.local.nodes import Outputs
from klever.workflows.local.operation import Operation, Pod, Shutdown, mutexes_of
from klever.workflows.local.plan import NAMESPACE, Plan, make_plan
from klever.workflows.local.process import Ended, PodProcess, Surroundings, remove_tree
from klever.workflows.local.runs import Record, begin_record, runs_directory
from klever.workflows.manifest import Document, Workflow, load, read_documents
from klever.workflows.status import Phase, Run

#: The state is written this often while a workflow runs, and at its end.
_WRITE_SECONDS: Final = 1.0
#: The progress of DAGs and steps is summed this often; the sum costs as much as there are nodes.
_PROGRESS_SECONDS: Final = 0.2


@dataclass(frozen=True)
class Options:
    """How a workflow is run on this machine."""

    #: The run's name; empty for the workflow's own.
    name: str = ""
    namespace: str = NAMESPACE
    #: How many processes run at once.
    parallel: int = field(default_factory=lambda: os.cpu_count() or 1)
    #: How long a process may take to end after it was asked to.
    grace_seconds: float = 10.0
    #: Leave the tasks' staging directories in the run's directory.
    keep_staging: bool = False
    #: How many runs are kept, this one included.
    keep_runs: int = 20
    #: Called with a node's id and each line of its output, without the line's end; None shows none.
    stream: Callable[[str, bytes], None] | None = None
    #: Where Hera's script runner finds the functions that it runs.
    python_path: tuple[Path, ...] = field(default_factory=lambda: (Path.cwd(),))
    #: The environment that processes inherit.
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


def our_templates() -> list[Document]:
    """Return the workflow templates that come with Klever."""
    directory = files("klever.workflows.templates")
    found: list[Document] = []
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".yaml"):
            found += read_documents(Path(str(entry)))
    return found


def run(
    workflow: Workflow,
    arguments: Mapping[str, str] | None = None,
    *,
    templates: Iterable[Document] | None = None,
    options: Options | None = None,
    watch: Callable[[Run], None] | None = None,
) -> Run:
    """Run a workflow or workflow template to its end, and return its nodes as Argo would report them.

    ``templates`` are the workflow templates that it can refer to, by default ours. ``watch`` is called whenever
    something changed; it must not keep the run. Ctrl-C and SIGTERM stop the run: what runs is ended and exit handlers
    still run; a second time ends these too. Raises `InvalidWorkflowError`, `UnsupportedWorkflowError` before the first
    task, `AlreadyExistsError` for a run of its name that is running, `StorageError`. A workflow that fails is no
    error: see the phase.
    """
    options = options or Options()
    library = our_templates() if templates is None else templates
    plan = make_plan(load(workflow), arguments or {}, library, name=options.name, namespace=options.namespace)
    record = begin_record(plan.name, keep=options.keep_runs)
    try:
        return _run_somewhere(_Session(plan, record, options, watch or (lambda _: None)))
    finally:
        record.close()


def _run_somewhere(session: "_Session") -> Run:
    """Run in this thread's own event loop, or in another thread where this one's is busy, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(session.run())
    outcome: list[Run | BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(session.run()))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=work, name="klever-workflow")
    thread.start()
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            session.interrupt()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


class _Session:
    """One run: the operation, its processes, and the events between them."""

    def __init__(self, plan: Plan, record: Record, options: Options, watch: Callable[[Run], None]) -> None:
        self._plan = plan
        self._record = record
        self._options = options
        self._watch = watch
        self._status = Run(name=plan.name, namespace=plan.namespace)
        self._processes: dict[str, PodProcess] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._written = 0.0
        self._summed = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self) -> Run:
        self._loop = asyncio.get_running_loop()
        self._event = asyncio.Event()
        self._room = asyncio.Semaphore(max(self._options.parallel, 1))
        locks = FileLocks(runs_directory().parent / "locks", self._event.set)
        self._locks = locks
        self._operation = Operation(
            self._status, self._plan.base, self._plan.library, self._plan.globals, pods=self, locks=locks
        )
        self._surroundings = Surroundings(
            run_name=self._plan.name,
            namespace=self._plan.namespace,
            staging=self._record.staging,
            logs=self._record.logs,
            environment=self._options.environment,
            python_path=self._options.python_path,
            grace_seconds=self._options.grace_seconds,
            keep_staging=self._options.keep_staging,
            stream=self._options.stream,
        )
        try:
            with self._signals():
                await self._work()
        finally:
            for process in self._processes.values():
                process.kill()
            if self._tasks:
                await asyncio.wait(self._tasks.values())
            locks.close()
            if not self._options.keep_staging:
                remove_tree(self._record.staging)
        self._report(last=True)
        return self._status

    async def _work(self) -> None:
        operation = self._operation
        while True:
            self._event.clear()
            if await self._may_begin():
                # A pass that changes something may make the next one possible.
                operation.changed = True
                while operation.changed and not self._status.phase.is_final:
                    operation.changed = False
                    operation.advance()
            if self._status.phase.is_final:
                return
            self._report()
            if not self._tasks and operation.wake is None and not self._event.is_set() and not self._waits_for_lock():
                operation.fail_stuck()
                return
            await self._wait(operation.wake)

    async def _may_begin(self) -> bool:
        """Say whether the workflow's own mutexes are had."""
        names = mutexes_of(self._plan.base.spec, self._plan.namespace)
        if not names or self._status.started is not None:
            return True
        if self._operation.shutdown is not None:
            return True
        busy = self._locks.try_acquire(self._plan.name, names)
        self._status.message = f"Waiting for {busy} lock. Lock status: 0/1" if busy else ""
        return busy is None

    def _waits_for_lock(self) -> bool:
        return self._locks.is_waiting

    async def _wait(self, until: datetime | None) -> None:
        timeout = None if until is None else max((until - datetime.now(UTC)).total_seconds(), 0.0) + 0.001
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._event.wait(), timeout)

    def _report(self, *, last: bool = False) -> None:
        now = asyncio.get_running_loop().time()
        if last or now - self._summed > _PROGRESS_SECONDS:
            self._operation.nodes.update_progress()
            self._summed = now
        if last or now - self._written > _WRITE_SECONDS:
            self._record.write(self._status)
            self._written = now
        self._watch(self._status)

    # -- pods

    def start(self, pod: Pod) -> None:
        """Run a pod as soon as there is room."""
        node = self._operation.nodes[pod.node]
        name = self._operation.nodes.pod_name(node.name, pod.template.get("name") or "")
        self._processes[pod.node] = process = PodProcess(pod, name, self._surroundings)
        task = asyncio.ensure_future(self._attend(pod, process))
        self._tasks[pod.node] = task

    def kill(self, node: str) -> None:
        """End a pod."""
        self._processes[node].kill()

    async def _attend(self, pod: Pod, process: PodProcess) -> None:
        try:
            ended = await self._run_process(pod, process)
            self._operation.pod_ended(pod.node, ended.phase, ended.message, ended.outputs)
        finally:
            del self._tasks[pod.node]
            del self._processes[pod.node]
            self._event.set()

    async def _run_process(self, pod: Pod, process: PodProcess) -> Ended:
        async with self._room:
            if process.is_killed:
                return Ended(Phase.FAILED, "", Outputs())

            def started() -> None:
                self._operation.pod_started(pod.node)
                self._event.set()

            def progressed(progress: str) -> None:
                self._operation.pod_progressed(pod.node, progress)
                self._event.set()

            return await process.run(started, progressed)

    # -- signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}
        for number in numbers:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def interrupt(self) -> None:
        """Stop the run, from any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        stopped_before = self._operation.shutdown is not None
        self._operation.stop(Shutdown.TERMINATE if stopped_before else Shutdown.STOP)
        self._event.set()


__all__ = ["Options", "our_templates", "run"]
