"""The webhook of ``klever-server`` against an application that only reads the body: ``python bench/facade.py``.

Servers and load are processes of their own on the same machine. The registry behind is real, the API server is one that
knows nothing but jobs. Needs two cores that have nothing else to do.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cluster import publish_unread
from figures import MEGABYTE, note, ratio, rows
from registry import registry_binaries, running_registry

HERE = Path(__file__).resolve().parent
SERVER = str(Path(sys.executable).with_name("klever-server"))
#: Events a second that a busy Harbor might send, and for how long.
RATE, SECONDS = 500, 10
CONNECTIONS = 32
RUNS = 3
_STARTED_SECONDS = 30.0
_DRAINED_SECONDS = 300.0


@dataclass(frozen=True)
class Load:
    """What a load saw: events a second, seconds at the median and for 99 of 100."""

    rate: float
    p50: float
    p99: float


def serve_empty(port: int) -> None:
    """Serve a route that reads the body and answers the same."""
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse

    app = FastAPI()

    @app.post("/hooks/harbor")
    async def take(request: Request) -> JSONResponse:
        await request.body()
        return JSONResponse({"accepted": 1, "duplicate": 0, "ignored": 0}, 202)

    uvicorn.run(app, port=port, loop="uvloop", http="httptools", ws="none", log_level="error", access_log=False)


def serve_jobs(port: int) -> None:
    """Serve an API server's part: every job is created."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = 1 << 16

        def do_POST(self) -> None:
            self._answer(201, self.rfile.read(int(self.headers["Content-Length"])))

        def do_GET(self) -> None:
            self._answer(200, b'{"major": "1"}')

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


@contextmanager
def process(
    port: int, command: list[str], variables: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server until the block ends; begin when it answers."""
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(variables or {})}) as started,
    ):
        try:
            deadline = time.monotonic() + _STARTED_SECONDS
            while not answers(port):
                if started.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    raise SystemExit(f"{command} did not start: {log.read()[-2000:].decode(errors='replace')}")
                time.sleep(0.05)
            yield started
        finally:
            started.terminate()
            with suppress(subprocess.TimeoutExpired):
                started.wait(30)
            started.kill()


def answers(port: int) -> bool:
    """Say whether somebody speaks HTTP there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status < 500
    except OSError:
        return False
    finally:
        connection.close()


def own(name: str, port: int) -> list[str]:
    """Return the command that serves one of this module's servers."""
    return [sys.executable, str(HERE / "facade.py"), name, str(port)]


def send(port: int, *, rate: float = 0, seconds: float = SECONDS, digest: str = "", project: str = "bench") -> Load:
    """Run the load and return what it saw; every event has to be accepted."""
    options = [f"--rate={rate}", f"--seconds={seconds}", f"--connections={CONNECTIONS}", f"--digest={digest}"]
    options += [f"--project={project}"]
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py"), str(port), *options], check=True, capture_output=True, text=True
    )
    seen = json.loads(done.stdout)
    if seen["statuses"].keys() != {"202"}:
        raise SystemExit(f"not every event was accepted: {seen['statuses']}")
    return Load(seen["sent"] / seen["seconds"], seen["p50"], seen["p99"])


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bench_facade() -> None:
    """Measure both at the same rate and at the highest, in turn."""
    binaries = registry_binaries()
    if not binaries:
        print("the facade: skipped, no registry is installed")
        return
    binary = binaries.get("registry 3") or next(iter(binaries.values()))
    empty_port, jobs_port, port = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "registry").mkdir()
        with (
            running_registry(binary, Path(folder) / "registry") as host,
            process(jobs_port, own("jobs", jobs_port)),
            process(empty_port, own("empty", empty_port)) as empty,
            process(port, [SERVER], _variables(Path(folder), host, jobs_port, port)) as server,
        ):
            digest = publish_unread(host, ["v1"])
            _measure_at_rate(empty_port, port, digest)
            _measure_at_most(empty_port, port, (empty.pid, server.pid))
            memory = sum(_peak(each) for each in (server.pid, *_children(server.pid)))
    note("  peak memory of klever-server, both of its processes", memory / MEGABYTE, 200, "MB")


def _measure_at_rate(empty_port: int, port: int, digest: str) -> None:
    """Measure at a fixed rate, while the registry is asked and a job created for each event."""
    send(port, rate=50, seconds=2, digest=digest)
    loads: dict[str, list[Load]] = {"empty": [], "facade": []}
    worked = []
    for _ in range(RUNS):
        began = time.perf_counter()
        loads["facade"].append(send(port, rate=RATE, digest=digest))
        # While the same work goes on beside it: most of the events wait when the load ends.
        loads["empty"].append(send(empty_port, rate=RATE, seconds=SECONDS / 2))
        _drain(port)
        worked.append(RATE * SECONDS / (time.perf_counter() - began))
    p99 = {kind: statistics.median(load.p99 for load in each) for kind, each in loads.items()}
    rate = min(load.rate for load in loads["facade"])
    note("events a second that klever-server takes as they are due", rate, RATE * 0.99, "/s", at_least=True)
    note(f"  p99 at {RATE} a second, while they are worked on", p99["facade"] * 1000, 100, "ms")
    ratio("  p99 / that of an application that only reads the body", p99["facade"], p99["empty"], 5)
    print(f"  {statistics.median(worked):.0f} events a second are worked on to their jobs")


def _measure_at_most(empty_port: int, port: int, ids: tuple[int, int]) -> None:
    """Measure as fast as it goes, of a project that the policy does not cover: the webhook's own cost."""
    rates, costs = [], dict.fromkeys(ids, 0.0)
    for _ in range(RUNS):
        for each, its_port in zip(ids, (empty_port, port), strict=True):
            before = _processor_seconds(each)
            load = send(its_port, seconds=SECONDS / 2, project="other")
            costs[each] += (_processor_seconds(each) - before) / (load.rate * SECONDS / 2) / RUNS
        rates.append(load.rate)
        _drain(port)
    note("events a second that klever-server takes at most", statistics.median(rates), 500, "/s", at_least=True)
    theirs, ours = (costs[each] * 1e6 for each in ids)
    told = f"({ours:.0f} us / {theirs:.0f} us)"
    # Of the processor's time: how long it takes depends on what else there is to do.
    note(f"  an event's cost / that of an application that only reads the body {told}", ours / theirs, 4)


def _variables(folder: Path, registry: str, jobs_port: int, port: int) -> dict[str, str]:
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{jobs_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
    }
    files = {
        "secret": "Bearer bench",
        "policy.yaml": "projects: [{match: bench, namespace: bench}]",
        "kubeconfig": json.dumps(kubeconfig),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return {
        "KUBECONFIG": str(folder / "kubeconfig"),
        "KLEVER_HOST": "127.0.0.1",
        "KLEVER_PORT": str(port),
        "KLEVER_REGISTRY_HOST": registry,
        "KLEVER_PLAIN_HTTP": "true",
        "KLEVER_HOOK_SECRET_FILE": str(folder / "secret"),
        "KLEVER_POLICY_FILE": str(folder / "policy.yaml"),
        # Room for all: what is refused is no figure.
        "KLEVER_QUEUE_SIZE": "1000000",
        "KLEVER_LOG_LEVEL": "error",
    }


def _drain(port: int) -> None:
    """Wait until everything that was accepted is done."""
    deadline = time.monotonic() + _DRAINED_SECONDS
    while _waiting(port):
        if time.monotonic() > deadline:
            raise SystemExit(f"not every event was worked on within {_DRAINED_SECONDS:.0f} s")
        time.sleep(0.1)


def _waiting(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("klever_harbor_queue "))


def _children(process_id: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()]


def _processor_seconds(process_id: int) -> float:
    """Return the time that a process has had on processors."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _peak(process_id: int) -> int:
    """Return a process's peak of resident memory in bytes."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def main() -> None:
    """Measure and exit with 1 where a figure falls short; or be one of the servers."""
    servers = {"empty": serve_empty, "jobs": serve_jobs}
    if len(sys.argv) == 3:
        servers[sys.argv[1]](int(sys.argv[2]))
        return
    bench_facade()
    sys.exit(not all(row.holds for row in rows))


if __name__ == "__main__":
    main()
