"""Run a pod as a process of this machine: its own process group, a private staging directory, a log, a time limit.

What does not belong here: which pods run when, and what their ends mean for others.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import sys
import sysconfig
from asyncio import StreamReader
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from klever.steps.errors import KleverError
from klever.workflows.local.gotext import as_text
from klever.workflows.local.nodes import Outputs, is_progress
from klever.workflows.local.operation import Pod
from klever.workflows.local.scope import global_names
from klever.workflows.local.staging import HERA_OUTPUTS, Staging
from klever.workflows.status import Phase

#: Argo keeps the last 256 KiB of a script's output (``CaptureScriptResult``).
MAX_RESULT_BYTES: Final = 256 * 1024
#: Kubernetes keeps the last 4096 bytes of a message (``MaxContainerTerminationMessageLength``).
MAX_MESSAGE_BYTES: Final = 4096
#: Kubernetes keeps as much of a log where that is the message (``MaxContainerTerminationMessageLogLength``, lines).
MAX_LOG_MESSAGE_BYTES: Final = 2048
MAX_LOG_MESSAGE_LINES: Final = 80
#: An output parameter is part of the workflow's object, which etcd limits to 1.5 MiB.
MAX_PARAMETER_BYTES: Final = 1024 * 1024
#: What argoexec ends with when it fails itself (``emissary.go``).
_EXECUTOR_FAILED: Final = 64
#: How often a process's progress file is looked at while it runs; Argo looks every three seconds.
_PROGRESS_SECONDS: Final = 1.0
#: Where ``klever-task`` and ``python`` of the running installation are.
_OWN_PROGRAMS: Final = tuple(dict.fromkeys([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)]))
_DEADLINE_MESSAGE: Final = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True)
class Surroundings:
    """What all processes of a run share."""

    run_name: str
    namespace: str
    staging: Path
    logs: Path
    #: The environment of whoever started the run.
    environment: Mapping[str, str]
    #: Where Python files of the user's are looked for, for Hera's script runner.
    python_path: tuple[Path, ...]
    #: How long a process may take to end after it was asked to.
    grace_seconds: float
    keep_staging: bool
    #: Called with each line of output and the node's id, if output is to be shown.
    stream: Callable[[str, bytes], None] | None


@dataclass
class Ended:
    """How a pod's process ended, in the words that Argo would have for the pod."""

    phase: Phase
    message: str = ""
    outputs: Outputs = field(default_factory=Outputs)


class PodProcess:
    """One pod on its way through one process."""

    def __init__(self, pod: Pod, pod_name: str, surroundings: Surroundings) -> None:
        self._pod = pod
        self._pod_name = pod_name
        self._surroundings = surroundings
        self._container: Mapping[str, Any] = pod.template.get("container") or pod.template.get("script") or {}
        self._process: Process | None = None
        self._killed = asyncio.Event()
        self._tail = bytearray()

    @property
    def log_file(self) -> Path:
        """Where the output goes."""
        return self._surroundings.logs / f"{self._pod.node}.log"

    @property
    def is_killed(self) -> bool:
        """Whether it is to end."""
        return self._killed.is_set()

    def kill(self) -> None:
        """End it, now or as soon as it begins."""
        self._killed.set()

    async def run(self, started: Callable[[], None], progressed: Callable[[str], None]) -> Ended:
        """Run it to its end; nothing of it is left behind."""
        directory = self._surroundings.staging / self._pod.node
        try:
            staging = Staging.make(directory, self._pod.template, list(self._pod.volumes))
            return await self._run(staging, started, progressed)
        except KleverError as error:
            return Ended(Phase.ERROR, error.cause)
        except OSError as error:
            return Ended(Phase.ERROR, f"the process cannot be prepared: {error}")
        finally:
            if not self._surroundings.keep_staging:
                await asyncio.to_thread(remove_tree, directory)

    async def _run(self, staging: Staging, started: Callable[[], None], progressed: Callable[[str], None]) -> Ended:
        environment = self._environment(staging)
        arguments = self._arguments(staging)
        program = _find_program(arguments[0], environment["PATH"])
        started()
        if program.problem:
            message = f"failed to find name in PATH: {program.problem}"
            self.log_file.write_text(f"Error: {message}\n")
            return self._ended(staging, _EXECUTOR_FAILED, message)
        with self.log_file.open("ab", buffering=0) as log:
            shared = self._surroundings.stream is None and not self._pod.wants_result
            try:
                self._process = await asyncio.create_subprocess_exec(
                    program.path,
                    *arguments[1:],
                    stdin=DEVNULL,
                    stdout=log if shared else PIPE,
                    stderr=log if self._surroundings.stream is None else PIPE,
                    env=environment,
                    cwd=self._directory(staging),
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                message = f"failed to start command: {error}"
                log.write(f"Error: {message}\n".encode())
                return self._ended(staging, _EXECUTOR_FAILED, message)
            return await self._attend(self._process, staging, log, progressed)

    async def _attend(
        self, process: Process, staging: Staging, log: IO[bytes], progressed: Callable[[str], None]
    ) -> Ended:
        readers = [
            asyncio.ensure_future(self._read(stream, log, keep=stream is process.stdout and self._pod.wants_result))
            for stream in (process.stdout, process.stderr)
            if stream is not None
        ]
        watcher = asyncio.ensure_future(_watch_progress(staging.progress_file, progressed))
        try:
            reason = await self._wait(process)
        finally:
            watcher.cancel()
            # Whatever the process started and left ends with it, as in a pod.
            _signal_group(process.pid, signal.SIGKILL)
        if readers:
            _, late = await asyncio.wait(readers, timeout=self._surroundings.grace_seconds)
            for reader in late:
                reader.cancel()
        if progress := _read_progress(staging.progress_file):
            progressed(progress)
        code = process.returncode if process.returncode is not None else -signal.SIGKILL
        # A signal's number is negative here, and on 128 where shells and Argo tell of it.
        ended = self._ended(staging, code if code >= 0 else 128 - code)
        if reason:
            return Ended(Phase.FAILED, reason, ended.outputs)
        return ended

    async def _wait(self, process: Process) -> str:
        """Wait for the process's end, bring it about where it is due, and return why."""
        waiting = asyncio.ensure_future(process.wait())
        killed = asyncio.ensure_future(self._killed.wait())
        reason = ""
        try:
            await asyncio.wait({waiting, killed}, timeout=self._pod.deadline, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                reason = "" if killed.done() else _DEADLINE_MESSAGE
                _signal_group(process.pid, signal.SIGTERM)
                await asyncio.wait({waiting}, timeout=self._surroundings.grace_seconds)
                if not waiting.done():
                    _signal_group(process.pid, signal.SIGKILL)
                    await waiting
        except asyncio.CancelledError:
            _signal_group(process.pid, signal.SIGKILL)
            await waiting
            raise
        finally:
            killed.cancel()
        return reason

    async def _read(self, stream: StreamReader, log: IO[bytes], *, keep: bool) -> None:
        line = b""
        while chunk := await stream.read(65536):
            log.write(chunk)
            if keep:
                self._tail += chunk
                # One byte more: a last newline does not count.
                del self._tail[: max(len(self._tail) - MAX_RESULT_BYTES - 1, 0)]
            if self._surroundings.stream is not None:
                *lines, line = (line + chunk).split(b"\n")
                for whole in lines:
                    self._surroundings.stream(self._pod.node, whole)
                if len(line) > 65536:
                    self._surroundings.stream(self._pod.node, line)
                    line = b""
        if line and self._surroundings.stream is not None:
            self._surroundings.stream(self._pod.node, line)

    # -- what it runs

    def _environment(self, staging: Staging) -> dict[str, str]:
        localised = {
            name: staging.localise(value)
            for name, value in self._declared().items()
            if not staging.points_to_absent(value)
        }
        inherited = dict(self._surroundings.environment)
        path = localised.pop("PATH", inherited.get("PATH", os.defpath))
        environment = {
            **inherited,
            "TMPDIR": str(staging.directory / "tmp"),
            "PATH": os.pathsep.join([*_OWN_PROGRAMS, path]),
            "PYTHONPATH": os.pathsep.join(
                [*map(str, self._surroundings.python_path), *filter(None, [inherited.get("PYTHONPATH")])]
            ),
            **localised,
            "KLEVER_MESSAGE_FILE": str(staging.message_file),
            "ARGO_PROGRESS_FILE": str(staging.progress_file),
        }
        if HERA_OUTPUTS in staging.places:
            environment.setdefault("hera__outputs_directory", str(staging.places[HERA_OUTPUTS]))
        return environment

    def _declared(self) -> dict[str, str]:
        """Return the container's own variables, each of which may refer to those before it."""
        declared: dict[str, str] = {}
        for variable in self._container.get("env") or []:
            value = self._value(variable)
            if value is not None:
                declared[variable["name"]] = _expand(value, declared)
        return declared

    def _value(self, variable: Mapping[str, Any]) -> str | None:
        source = variable.get("valueFrom")
        if not source:
            return as_text(variable.get("value") or "")
        field_path = (source.get("fieldRef") or {}).get("fieldPath")
        known = {"metadata.name": self._pod_name, "metadata.namespace": self._surroundings.namespace}
        return known.get(field_path or "")

    def _arguments(self, staging: Staging) -> list[str]:
        declared = self._declared()
        given = [as_text(part) for key in ("command", "args") for part in self._container.get(key) or []]
        arguments = [staging.localise(_expand(part, declared)) for part in given]
        if source := self._container.get("source"):
            script = staging.directory / "script"
            script.write_text(staging.localise(source), encoding="utf-8")
            script.chmod(0o700)
            arguments.append(str(script))
        return arguments

    def _directory(self, staging: Staging) -> Path:
        if work := self._container.get("workingDir"):
            return staging.place_of(work)
        return staging.directory / "work"

    # -- what its end means

    def _ended(self, staging: Staging, code: int, message: str = "") -> Ended:
        values, missing = self._parameters(staging)
        outputs = Outputs(values, self._result(), code, global_names(self._pod.template))
        if code != 0:
            said = message or self._message(staging)
            text = f"main: Error (exit code {code})"
            return Ended(Phase.FAILED, f"{text}: {said}" if said else text, outputs)
        if missing:
            return Ended(Phase.ERROR, f"wait: Error (exit code {_EXECUTOR_FAILED}): {missing}", outputs)
        return Ended(Phase.SUCCEEDED, "", outputs)

    def _parameters(self, staging: Staging) -> tuple[dict[str, str | None], str]:
        """Return the output parameters, and why the first that is not there is not (``SaveParameters``)."""
        values: dict[str, str | None] = {}
        missing = ""
        for parameter in (self._pod.template.get("outputs") or {}).get("parameters") or []:
            name, source = parameter["name"], parameter.get("valueFrom") or {}
            values[name] = None
            if missing or not source.get("path"):
                fixed = parameter.get("value")
                values[name] = None if fixed is None else as_text(fixed)
                continue
            try:
                values[name] = _read_parameter(staging.place_of(source["path"]))
            except OSError as error:
                default = source.get("default")
                if default is None:
                    reason = (error.strerror or str(error)).lower()
                    missing = f"open {self._executor_path(source['path'])}: {reason}"
                else:
                    values[name] = as_text(default).removesuffix("\n")
        return values, missing

    def _executor_path(self, path: str) -> str:
        """Return where Argo's executor would have looked for an output."""
        for mount in self._container.get("volumeMounts") or []:
            if path == mount["mountPath"] or path.startswith(f"{mount['mountPath'].rstrip('/')}/"):
                return f"/mainctrfs{path}"
        return f"/var/run/argo/outputs/parameters{path}"

    def _result(self) -> str | None:
        if not self._pod.wants_result:
            return None
        text = bytes(self._tail)
        text = text.removesuffix(b"\n")[-MAX_RESULT_BYTES:]
        return text.decode("utf-8", errors="replace")

    def _message(self, staging: Staging) -> str:
        path = self._container.get("terminationMessagePath")
        said = _read_end(staging.places[os.path.normpath(path)] if path else staging.message_file, MAX_MESSAGE_BYTES)
        if not said and self._container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            end = _read_end(self.log_file, MAX_LOG_MESSAGE_BYTES)
            said = "".join(end.splitlines(keepends=True)[-MAX_LOG_MESSAGE_LINES:])
        return said


@dataclass(frozen=True)
class _Program:
    path: str
    problem: str = ""


def _find_program(name: str, path: str) -> _Program:
    """Find a program as Go's ``exec.LookPath`` does, with its words where there is none."""
    if found := shutil.which(name, path=path):
        return _Program(found)
    if "/" not in name:
        return _Program(name, f'exec: "{name}": executable file not found in $PATH')
    problem = "permission denied" if Path(name).exists() else f"stat {name}: no such file or directory"
    return _Program(name, f'exec: "{name}": {problem}')


def _expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by the container's own variables, and ``$$`` by ``$``, as Kubernetes does."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([^)]*)\)", replace, text)


def _read_parameter(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_PARAMETER_BYTES + 1)
    if len(content) > MAX_PARAMETER_BYTES:
        msg = f"the output has more than {MAX_PARAMETER_BYTES} bytes"
        raise OSError(msg)
    return content.decode("utf-8", errors="replace").removesuffix("\n")


def _read_end(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - limit, 0))
            return file.read(limit).decode("utf-8", errors="replace")
    except OSError:
        return ""


async def _watch_progress(path: Path, progressed: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_SECONDS)
        if progress := _read_progress(path):
            progressed(progress)


def _read_progress(path: Path) -> str:
    lines = _read_end(path, 1024).strip().splitlines()
    return lines[-1].strip() if lines and is_progress(lines[-1].strip()) else ""


def _signal_group(pid: int, number: signal.Signals) -> None:
    # The process leads a group of its own, which may outlive it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def remove_tree(directory: Path) -> None:
    """Remove a directory with all in it, read-only directories too."""

    def retry(function: Callable[..., Any], path: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            function(path)

    shutil.rmtree(directory, onerror=retry)
