"""Run one serving's server and start it again when it ends: ``python -m klever.api.serving.local.supervise DIRECTORY``.

The server gets ports of its own on the loopback, writes into the serving's log, and ends with its supervisor. What does
not belong here: what is served, which the serving's record says.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from klever.api.serving.local.record import Asked, Place, Standing, State

#: Between an end and the next start, in seconds: the first, and the longest.
_PAUSE_SECONDS, _MOST_PAUSE_SECONDS = 0.5, 30.0
#: Ends in a row, each before the server was ready, after which it is not started any more.
MAX_FAILURES: Final = 3
#: How often a server that is not ready yet is asked, and one that is, in seconds.
_ASK_SECONDS, _WATCH_SECONDS = 0.05, 1.0
#: How long a server may take to end by itself, in seconds.
_GRACE_SECONDS: Final = 10.0
#: A log of this size is kept beside the next one, in bytes.
_LOG_BYTES: Final = 16 << 20
_PR_SET_PDEATHSIG: Final = 1
#: Variables that a server gets: none that holds a secret.
_PASSED: Final = ("HOME", "LANG", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PATH", "TMPDIR", "TZ")


class Ended(Exception):  # noqa: N818 - no error: somebody wants this process to end
    """The supervisor was told to end."""


class Supervisor:
    """One serving's supervisor; ``run`` returns when it is told to end or has given up."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._asked = place.read_asked()
        self._restarts = 0

    def run(self) -> None:
        """Start the server again and again; on SIGTERM it ends first."""
        failures = 0
        while True:
            ports = _free_ports(self._asked.ports)
            self._stand(State.STARTING, ports)
            was_ready, code = self._serve(ports)
            failures = 0 if was_ready else failures + 1
            said = f"the server ended with {_meaning(code)}"
            if failures >= MAX_FAILURES:
                self._stand(State.FAILED, {}, message=f"{said}, {failures} times before it was ready")
                return
            self._stand(State.CRASHED, {}, message=said)
            self._restarts += 1
            time.sleep(min(_PAUSE_SECONDS * 2**failures, _MOST_PAUSE_SECONDS))

    def _serve(self, ports: Mapping[str, int]) -> tuple[bool, int]:
        """Run the server once; return whether it was ready, and its exit code."""
        _rotate(self._place.log)
        with self._place.log.open("ab") as log:
            server = _start(self._asked, ports, log.fileno(), self._place)
        was_ready = False
        try:
            self._stand(State.STARTING, ports, pid=server.pid)
            while server.poll() is None:
                if not was_ready and _answers(ports["http"], self._asked.ready):
                    was_ready = True
                    self._stand(State.READY, ports, pid=server.pid)
                with suppress(subprocess.TimeoutExpired):
                    server.wait(_WATCH_SECONDS if was_ready else _ASK_SECONDS)
        finally:
            _end(server)
        return was_ready, server.returncode

    def _stand(self, state: State, ports: Mapping[str, int], *, pid: int = 0, message: str = "") -> None:
        self._place.write_standing(Standing(state, dict(ports), pid, self._restarts, message, time.time()))


def _start(asked: Asked, ports: Mapping[str, int], log: int, place: Place) -> "subprocess.Popen[bytes]":
    values = {name: str(port) for name, port in ports.items()}
    command = [_filled(part, values) for part in asked.command]
    passed = {key: os.environ[key] for key in _PASSED if key in os.environ}
    environment = passed | {key: _filled(value, values) for key, value in asked.environment.items()}
    parent = os.getpid()
    libc = ctypes.CDLL(None, use_errno=True)

    def before() -> None:
        # The kernel ends the server with its supervisor, also with one that is killed (Linux).
        if hasattr(libc, "prctl"):
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(  # noqa: S603 - the server's own command
        command,
        cwd=place.directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        preexec_fn=before,  # noqa: PLW1509 - this process has one thread
    )


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Return a port of the loopback for each name that nobody listens at now."""
    with ExitStack() as held:
        ports = {}
        for name in names:
            listening = held.enter_context(socket.socket())
            listening.bind(("127.0.0.1", 0))
            ports[name] = int(listening.getsockname()[1])
        return ports


def _answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError, ValueError):
        return False


def _end(server: "subprocess.Popen[bytes]") -> None:
    """End the server with all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(server.pid, number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(_GRACE_SECONDS)


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def _meaning(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def _terminate(_number: int, _frame: object) -> None:
    raise Ended


def main() -> None:
    """Supervise the serving of the directory that the first argument names, as a process of its own.

    The process that was started ends when the supervisor has begun, with exit code 1 where another one lives.
    """
    place = Place(Path(sys.argv[1]))
    told, tell = os.pipe()
    if os.fork():
        os.close(tell)
        # Its end is told by the kernel, also where it fails.
        os._exit(0 if os.read(told, 1) else 1)
    os.close(told)
    os.setsid()
    signal.signal(signal.SIGTERM, _terminate)
    held = place.lock()
    if held is None:
        return
    try:
        os.write(tell, b"1")
        os.close(tell)
        Supervisor(place).run()
    except Ended:
        place.write_standing(Standing(State.STOPPED, since=time.time()))
    finally:
        os.close(held)


if __name__ == "__main__":
    main()
