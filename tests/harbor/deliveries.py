"""Webhooks as Harbor sends them: two formats, three tries, three seconds each; late, twice and out of order if wanted.

    deliveries.announce(inventory.project("release"), push, request_id)

What does not belong here: what happened.
"""

import heapq
import itertools
import json
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import urllib3
from harbor.inventory import Execution, Inventory, Policy, Repository

#: Harbor's event types, and what CloudEvents calls them.
CLOUD_TYPES = {
    "PUSH_ARTIFACT": "harbor.artifact.pushed",
    "PULL_ARTIFACT": "harbor.artifact.pulled",
    "DELETE_ARTIFACT": "harbor.artifact.deleted",
}


@dataclass
class Manner:
    """How events are delivered."""

    #: How often each is sent, at least and at most.
    copies: tuple[int, int] = (1, 1)
    #: Each copy waits up to this many seconds, so that they pass each other.
    shuffle_seconds: float = 0.0
    #: The share of events that is never sent.
    lost: float = 0.0
    seed: int = 0
    tries: int = 3
    timeout_seconds: float = 3.0
    retry_seconds: float = 0.5
    #: How long Harbor takes to notice that an execution has ended.
    refresh_seconds: float = 30.0


@dataclass(frozen=True)
class Happening:
    """Something that happened to an artifact."""

    kind: str
    repository: Repository
    digest: str
    tag: str | None
    operator: str


@dataclass(order=True)
class _Due:
    moment: float
    order: int
    send: "_Send" = field(compare=False)


@dataclass
class _Send:
    run: Execution
    target: Mapping[str, Any]
    headers: dict[str, str]
    body: bytes
    left: int


class Deliveries:
    """A queue of events on their way; `close` ends its threads."""

    def __init__(self, inventory: Inventory, host: str, manner: Manner | None = None) -> None:
        self.inventory = inventory
        self.host = host
        self.manner = manner or Manner()
        self.counts: Counter[str] = Counter()
        self._random = random.Random(self.manner.seed)
        self._due: list[_Due] = []
        self._order = itertools.count()
        self._wake = threading.Condition()
        self._busy = 0
        self._closed = False
        self._http = urllib3.PoolManager(maxsize=16, num_pools=16)
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="webhooks")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def announce(self, happened: Happening, request_id: str) -> None:
        """Send an event to whoever wants it."""
        with self.inventory.lock:
            policies = [
                policy
                for policy in self.inventory.policies.values()
                if policy.project is happened.repository.project
                and policy.enabled
                and happened.kind in policy.document["event_types"]
            ]
        for policy in policies:
            for target in policy.document["targets"]:
                self._announce(happened, policy, target, request_id)

    def wait_idle(self, seconds: float = 30.0) -> None:
        """Wait until nothing is on its way."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with self._wake:
                if not self._due and not self._busy:
                    return
            time.sleep(0.01)
        raise TimeoutError(f"events are still on their way after {seconds:.0f} s")

    def statistics(self) -> dict[str, Any]:
        """Return what was done so far."""
        with self._wake:
            waiting = len(self._due) + self._busy
            counts = dict(self.counts)
        return {"waiting": waiting, "manner": asdict(self.manner), **counts}

    def close(self) -> None:
        """Stop sending."""
        with self._wake:
            self._closed = True
            self._due.clear()
            self._wake.notify_all()
        self._thread.join()
        self._pool.shutdown()
        self._http.clear()

    def _announce(self, happened: Happening, policy: Policy, target: Mapping[str, Any], request_id: str) -> None:
        now = time.time()
        headers, body = self._format(happened, policy, target, request_id, now)
        run = self.inventory.add_execution(policy, happened.kind, body.decode())
        with self._wake:
            self.counts["events"] += 1
            if self._random.random() < self.manner.lost:
                self.counts["lost"] += 1
                return
            for _ in range(self._random.randint(*self.manner.copies)):
                self.counts["copies"] += 1
                wait = self._random.uniform(0, self.manner.shuffle_seconds)
                self._put(now + wait, _Send(run, target, headers, body, self.manner.tries))

    def _format(
        self, happened: Happening, policy: Policy, target: Mapping[str, Any], request_id: str, now: float
    ) -> tuple[dict[str, str], bytes]:
        repository = happened.repository
        reference = happened.tag or happened.digest
        name = f"{self.host}/{repository.name}"
        data = {
            "resources": [
                {
                    "digest": happened.digest,
                    "tag": reference,
                    "resource_url": f"{name}{':' if happened.tag else '@'}{reference}",
                }
            ],
            "repository": {
                "date_created": int(repository.created),
                "name": repository.name.partition("/")[2],
                "namespace": repository.project.name,
                "repo_full_name": repository.name,
                "repo_type": "public" if repository.project.is_public else "private",
            },
        }
        headers = {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}
        if target.get("auth_header"):
            headers["Authorization"] = str(target["auth_header"])
        if target.get("payload_format") == "CloudEvents":
            headers["Content-Type"] = "application/cloudevents+json"
            document: dict[str, Any] = {
                "specversion": "1.0",
                "id": str(uuid.uuid4()),
                "source": f"/projects/{repository.project.id}/webhook/policies/{policy.id}",
                "type": CLOUD_TYPES[happened.kind],
                "datacontenttype": "application/json",
                "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "data": data,
                "operator": happened.operator,
                "requestid": request_id,
            }
        else:
            headers["Content-Type"] = "application/json"
            document = {
                "type": happened.kind,
                "occur_at": int(now),
                "operator": happened.operator,
                "event_data": data,
            }
        return headers, json.dumps(document, separators=(",", ":")).encode()

    def _put(self, moment: float, send: _Send) -> None:
        heapq.heappush(self._due, _Due(moment, next(self._order), send))
        self._wake.notify_all()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._closed and (not self._due or self._due[0].moment > time.time()):
                    self._wake.wait(self._due[0].moment - time.time() if self._due else None)
                if self._closed:
                    return
                send = heapq.heappop(self._due).send
                self._busy += 1
            self._pool.submit(self._send, send)

    def _send(self, send: _Send) -> None:
        delivered = False
        with suppress(urllib3.exceptions.HTTPError, OSError):
            answer = self._http.request(
                "POST",
                str(send.target["address"]),
                body=send.body,
                headers=send.headers,
                timeout=urllib3.Timeout(self.manner.timeout_seconds),
                retries=False,
                redirect=False,
            )
            delivered = 200 <= answer.status < 300
        with self._wake:
            self._busy -= 1
            self.counts["delivered" if delivered else "refused"] += 1
            send.left -= 1
            if not delivered and send.left and not self._closed:
                self._put(time.time() + self.manner.retry_seconds, send)
                return
        send.run.succeeded = delivered or bool(send.run.succeeded)
        send.run.ended = time.time()
