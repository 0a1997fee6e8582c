"""Send Harbor's events to a port, as a process of its own: ``python load.py PORT --rate 500 --seconds 20``.

With ``--rate`` events are due at fixed moments, and each is timed from the moment at which it was due: one that had to
wait for another counts its waiting. Without it every connection sends the next event once the last is answered. Prints
one JSON object.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter

import uvloop

#: So long after a start is announced the first event is due: the connections are made by then.
_LEAD_SECONDS = 0.2


def event(number: int, run: str, digest: str, project: str) -> bytes:
    """Return a request with an event; every other one is a CloudEvent.

    Each tells of another tag of ``digest``, or of a digest of its own.
    """
    tag = f"v{number}-{run[:8]}" if digest else "v1"
    data = {
        "resources": [
            {
                "digest": digest or f"sha256:{run}{number:032x}",
                "tag": tag,
                "resource_url": f"harbor.example/{project}/mlp:{tag}",
            }
        ],
        "repository": {
            "date_created": 1795325393,
            "name": "mlp",
            "namespace": project,
            "repo_full_name": f"{project}/mlp",
            "repo_type": "private",
        },
    }
    if number % 2:
        kind = "application/cloudevents+json"
        document: dict[str, object] = {
            "specversion": "1.0",
            "id": "fadeb80b-8482-4b47-83cb-5769c7874649",
            "source": "/projects/2/webhook/policies/2",
            "type": "harbor.artifact.pushed",
            "datacontenttype": "application/json",
            "time": "2026-11-22T05:29:53Z",
            "data": data,
            "operator": "admin",
            "requestid": "dc8279c0-d63e-4ab9-b3ad-72d142178963",
        }
    else:
        kind = "application/json"
        document = {"type": "PUSH_ARTIFACT", "occur_at": 1795325393, "operator": "admin", "event_data": data}
    body = json.dumps(document, separators=(",", ":")).encode()
    head = (
        "POST /hooks/harbor HTTP/1.1\r\nHost: facade\r\nUser-Agent: Go-http-client/1.1\r\n"
        f"Authorization: Bearer bench\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Load:
    """The connections, and what they saw."""

    def __init__(self, port: int, rate: float, seconds: float, digest: str, project: str) -> None:
        self._port = port
        self._rate = rate
        self._digest = digest
        self._project = project
        self._seconds = seconds
        self._run = f"{random.getrandbits(128):032x}"
        self._next = 0
        self._began = 0.0
        self.latencies: list[float] = []
        self.statuses: Counter[str] = Counter()

    async def run(self, connections: int) -> float:
        """Send, and return the seconds that it took."""
        self._began = time.perf_counter() + _LEAD_SECONDS
        await asyncio.gather(*(self._connection() for _ in range(connections)))
        return time.perf_counter() - self._began

    def _due(self) -> tuple[int, float] | None:
        """Return the next event's number and moment; None after the last."""
        number = self._next
        moment = self._began + number / self._rate if self._rate else max(time.perf_counter(), self._began)
        if moment > self._began + self._seconds:
            return None
        self._next += 1
        return number, moment

    async def _connection(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while (due := self._due()) is not None:
            number, moment = due
            request = event(number, self._run, self._digest, self._project)
            if (wait := moment - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            # What a slow client adds is its own; what waited for a free connection waited for the server.
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            await reader.readexactly(length)
            self.latencies.append(time.perf_counter() - moment)
            self.statuses[head.split(b" ", 2)[1].decode()] += 1
        writer.close()


def main() -> None:
    """Send and tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--digest", default="")
    parser.add_argument("--project", default="bench")
    chosen = parser.parse_args()
    load = Load(chosen.port, chosen.rate, chosen.seconds, chosen.digest, chosen.project)
    seconds = uvloop.run(load.run(chosen.connections))
    ordered = sorted(load.latencies)
    document = {
        "sent": len(ordered),
        "seconds": seconds,
        "statuses": load.statuses,
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[int(len(ordered) * 0.99)],
        "longest": ordered[-1],
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
