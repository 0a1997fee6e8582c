"""A process of ``klever-controller`` that a test starts, asks, kills and ends."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clusters import until

PROGRAM = str(Path(sys.executable).with_name("klever-controller"))
_STARTS, _LEADS = "the controller starts", "this replica leads"


class Controller:
    """One replica, for the ModelJobs of some namespaces; its Lease is in the first of them."""

    def __init__(
        self, log: Path, namespaces: list[str], *options: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        self._environment = dict(environment or {})
        self._command = [
            PROGRAM,
            *("--namespaces", ",".join(namespaces), "--namespace", namespaces[0]),
            *("--health-port", "0", "--metrics-port", "0", "--log-level", "debug"),
            *options,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        #: Where the log of this process begins, among those of its predecessors.
        self._begin = 0

    def start(self, *, leads: bool = True) -> None:
        """Start it and wait until it waits to lead, or until it leads."""
        self._begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env={**os.environ, **self._environment}
            )
        until(lambda: self.said(_LEADS if leads else _STARTS), "the start of the controller", 60)

    @property
    def leads(self) -> bool:
        """Whether it has taken the lead."""
        return bool(self.said(_LEADS))

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield what this process has logged; each line has to be JSON."""
        with self._log.open("rb") as log:
            log.seek(self._begin)
            for line in log:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def said(self, message: str) -> dict[str, Any] | None:
        """Return the first line with a message."""
        return next((line for line in self.lines() if line["message"] == message), None)

    def complaints(self) -> list[dict[str, Any]]:
        """Return the lines that tell of an error."""
        return [line for line in self.lines() if line["level"] == "error" or "trace" in line]

    def ask(self, path: str) -> tuple[int, str]:
        """Ask its port for health, or that for numbers."""
        line = self.said(_STARTS)
        assert line is not None
        port = line["metrics" if path == "/metrics" else "health"]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def number(self, name: str, **labels: str) -> float:
        """Return one of its numbers; 0 where it has none."""
        wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
        lines = self.ask("/metrics")[1].splitlines()
        return float(next((line.rpartition(" ")[2] for line in lines if line.startswith(f"{wanted} ")), "0"))

    def memory(self) -> tuple[int, int]:
        """Return what it has in memory now, and had at most, in bytes."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
        now, most = (re.search(rf"{name}:\s+(\d+) kB", status) for name in ("VmRSS", "VmHWM"))
        assert now is not None
        assert most is not None
        return int(now[1]) * 1024, int(most[1]) * 1024

    def kill(self) -> None:
        """Kill it as a node does that fails: without a word."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """End it as Kubernetes does, and return its exit code."""
        return self._signal(signal.SIGTERM)

    def wait(self, seconds: float) -> int:
        """Wait until it ends by itself and return its exit code."""
        assert self._process is not None
        return self._process.wait(seconds)

    def _signal(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        process.send_signal(number)
        self._process = None
        return process.wait(30)


@contextmanager
def controller(log: Path, namespaces: list[str], *options: str, **more: Any) -> Iterator[Controller]:
    """Start a replica for the time of the block."""
    replica = Controller(log, namespaces, *options, **more)
    replica.start()
    try:
        yield replica
    finally:
        replica.kill()
