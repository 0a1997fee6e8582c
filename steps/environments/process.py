"""Run a program of `klever.steps.programs` in an environment: values in, values out, and nothing else shared.

The program gets a private directory as home, few variables, no credentials, a limit of memory and time, and a session
of its own that ends as a whole with it or with Klever. What does not belong here: what a program does.
"""

import contextlib
import errno
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, cast

from klever.steps.environments.limits import memory_limit
from klever.steps.environments.locate import find_interpreter
from klever.steps.environments.table import Environment, environment
from klever.steps.errors import (
    ConversionError,
    EnvironmentMissingError,
    StorageError,
    UnsafeModelError,
    UnsupportedOperatorsError,
    printable,
    storage_error,
)
from klever.steps.oci.staging import scratch_directory

#: Called with the part of the work that is done, from 0 to 1, and what is being done now.
Progress = Callable[[float, str], None]

#: Longer than the largest model of the issue takes a hundred times over, in seconds.
DEFAULT_TIMEOUT: Final = 3600.0
#: How much of what a program prints is kept for the error, in bytes, and the longest line of progress.
_KEPT_BYTES: Final = 16 << 10
#: A reply describes results that lie in files; one larger than this is a fault, in bytes.
_MAX_REPLY_BYTES: Final = 64 << 20
#: How often it is looked whether the program has ended while a child of it holds the pipes open, in seconds.
_POLL_SECONDS: Final = 0.5
#: How long a program that is told to end may take, in seconds.
_GRACE_SECONDS: Final = 2.0
#: Started by its path: nothing here imports a program.
PROGRAMS: Final = Path(__file__).parents[1] / "programs"
_MORE_MEMORY: Final = "try again with more memory"
#: Variables of the caller that a program needs and that hold no secret.
_PASSED: Final = ("LD_LIBRARY_PATH", "OMP_NUM_THREADS", "TZ")


class ProgramFailedError(ConversionError):
    """A program failed or did not end; ``log`` is the end of what it printed."""

    def __init__(self, cause: str, *, log: str = "", stage: str = "", next_step: str = "") -> None:
        super().__init__(cause, stage=stage, next_step=next_step)
        self.log = log


def ignore_progress(_done: float, _doing: str) -> None:
    """Report nothing."""


def run(
    environment_id: str,
    program: str,
    request: Mapping[str, Any],
    progress: Progress = ignore_progress,
    *,
    timeout: float = DEFAULT_TIMEOUT,
) -> dict[str, Any]:
    """Run ``program`` with ``request`` and return its reply; both hold JSON values, files go by absolute path.

    Raises `EnvironmentMissingError`, what a program says that it refuses (`ConversionError`; `UnsafeModelError` where
    the reply has ``unsafe``, `UnsupportedOperatorsError` where it has ``operators``), and `ProgramFailedError` where
    it fails, is killed or takes longer than ``timeout`` seconds.
    """
    return run_in(environment(environment_id), program, request, progress, timeout=timeout)


def run_in(
    wanted: Environment,
    program: str,
    request: Mapping[str, Any],
    progress: Progress = ignore_progress,
    *,
    timeout: float = DEFAULT_TIMEOUT,
    programs: Path = PROGRAMS,
) -> dict[str, Any]:
    """Run a program of the folder ``programs`` in an environment that need not be in the table; else like `run`."""
    interpreter = find_interpreter(wanted)
    with scratch_directory("klever-run") as staging:
        request_path, reply_path = staging / "request.json", staging / "reply.json"
        try:
            request_path.write_text(json.dumps(request), encoding="utf-8")
        except OSError as error:
            raise storage_error(f"cannot write to {staging}", error) from error
        # Its neighbours are found in its own folder, and nothing in a user's site directory; of the variables that
        # Python reads it has none but what `program_variables` says.
        command = [str(interpreter), "-B", "-s", str(programs / "main.py"), program]
        with _started([*command, str(request_path), str(reply_path), str(memory_limit())], staging) as process:
            log, in_time = _attend(process, progress, time.monotonic() + timeout)
        if not in_time:
            raise ProgramFailedError(
                f"{program} took longer than {timeout:.0f} s in {wanted.id}",
                log=log,
                next_step="try with a smaller model, or on a faster machine",
            )
        reply = _read_reply(reply_path)
        if reply is None:
            raise _ended(process.returncode, program, wanted, log)
        return _result(reply, program, wanted, log)


def program_variables(home: Path) -> dict[str, str]:
    """Return the variables that a program starts with; what it writes below its home goes to ``home``."""
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {
        "PATH": os.defpath,
        "HOME": str(home),
        "TMPDIR": str(home),
        "LC_ALL": "C.UTF-8",
        # Converters of other projects go through sets of names: what they write would be other bytes each time.
        "PYTHONHASHSEED": "0",
        # Results must not depend on a graphics card, nor on its driver.
        "CUDA_VISIBLE_DEVICES": "-1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **passed,
    }


@contextmanager
def _started(command: list[str], staging: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program as the leader of a session, all of which is gone when the block ends however it does."""
    try:
        # The program ends when its standard input does: with this process, even if that is killed.
        process = subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=staging,
            env=program_variables(staging),
            start_new_session=True,
        )
    except OSError as error:
        raise EnvironmentMissingError(
            f"{command[0]} cannot be started: {error.strerror}", next_step="create the environment again"
        ) from error
    with process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)


def _attend(process: subprocess.Popen[bytes], progress: Progress, deadline: float) -> tuple[str, bool]:
    """Read progress and log until the program ends; returns the log's end and whether it ended before ``deadline``."""
    out, err = (cast(IO[bytes], pipe).fileno() for pipe in (process.stdout, process.stderr))
    kept = {out: b"", err: b""}
    pipes = [out, err]
    while pipes:
        left = deadline - time.monotonic()
        if left <= 0:
            return _text(kept[err]), False
        ready, _, _ = select.select(pipes, [], [], min(left, _POLL_SECONDS))
        if not ready and process.poll() is not None:
            break
        for pipe in ready:
            data = os.read(pipe, _KEPT_BYTES)
            if not data:
                pipes.remove(pipe)
            elif pipe == out:
                *lines, rest = (kept[out] + data).split(b"\n")
                kept[out] = rest[-_KEPT_BYTES:]
                for line in lines:
                    _report(line, progress)
            else:
                kept[err] = (kept[err] + data)[-_KEPT_BYTES:]
    try:
        process.wait(max(0.0, min(_GRACE_SECONDS, deadline - time.monotonic())))
    except subprocess.TimeoutExpired:
        # It closed its pipes and goes on; whatever it may still do, it is not asked for.
        return _text(kept[err]), False
    return _text(kept[err]), True


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _report(line: bytes, progress: Progress) -> None:
    """Pass on one line of progress; anything else is not for a person."""
    try:
        done, doing = json.loads(line)
        progress(min(max(float(done), 0.0), 1.0), printable(str(doing)))
    except (ValueError, TypeError, RecursionError):
        return


def _read_reply(path: Path) -> dict[str, Any] | None:
    """Return what the program wrote; None where it wrote nothing that can be read."""
    try:
        if path.stat().st_size > _MAX_REPLY_BYTES:
            return None
        reply = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return reply if isinstance(reply, dict) else None


def _result(reply: dict[str, Any], program: str, wanted: Environment, log: str) -> dict[str, Any]:
    """Return the program's result, or raise what it refuses or failed with."""
    result = reply.get("result")
    if isinstance(result, dict):
        if "refused" not in result:
            return result
        raise _refusal(result)
    error = reply.get("error")
    error = error if isinstance(error, dict) else {}
    cause = printable(" ".join(str(error.get("cause", "")).split()), 300)
    kind = printable(str(error.get("type", "an error without a name")))
    if kind in ("ModuleNotFoundError", "ImportError"):
        raise EnvironmentMissingError(
            f"the environment {wanted.id} is not whole: {cause}",
            next_step=f"run klever environments delete {wanted.id}, then create it again",
        )
    _check_room(cause, program)
    if kind == "MemoryError":
        raise ProgramFailedError(f"{program} ran out of memory in {wanted.id}", log=log, next_step=_MORE_MEMORY)
    raise ProgramFailedError(f"{program} failed in {wanted.id}: {kind}: {cause}", log=log)


def _check_room(cause: str, program: str) -> None:
    """Raise `StorageError` where a program failed for want of room on the disk, which says nothing about a model."""
    if f"[Errno {errno.ENOSPC}]" in cause:
        raise StorageError(f"{program} found no room on the disk of the temporary files")


def _refusal(result: dict[str, Any]) -> ConversionError | UnsafeModelError | UnsupportedOperatorsError:
    sentence = printable(str(result["refused"]), 500)
    operators = result.get("operators")
    if isinstance(operators, dict):
        named = {str(operator): tuple(map(str, nodes)) for operator, nodes in operators.items()}
        return UnsupportedOperatorsError(sentence, operators=named)
    if result.get("unsafe"):
        return UnsafeModelError(sentence)
    return ConversionError(sentence, next_step=printable(str(result.get("next", "")), 500))


def _ended(code: int, program: str, wanted: Environment, log: str) -> ProgramFailedError:
    """Return the error for a program that ended without a reply."""
    if code == -signal.SIGKILL:
        cause = f"{program} was killed in {wanted.id}, most likely because the machine ran out of memory"
        return ProgramFailedError(cause, log=log, next_step=_MORE_MEMORY)
    if code < 0:
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return ProgramFailedError(f"{program} crashed in {wanted.id} with {name}", log=log)
    last = next((line for line in reversed(log.splitlines()) if line.strip()), "it printed nothing")
    _check_room(last, program)
    return ProgramFailedError(f"{program} ended with code {code} in {wanted.id}: {printable(last, 300)}", log=log)
