"""The stand-in answers and sends what a real Harbor 2.16 did: its recordings, replayed."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from fakes import Exchange, fake
from harbor.server import StandIn, running_harbor

from klever.steps.oci.credentials import Credentials
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.manifest import children_of
from klever.steps.oci.registry import RegistryStore

pytestmark = [pytest.mark.registry, pytest.mark.corpus]

RECORDINGS = "reference/harbor-recordings"
#: What differs from one run to the next by its nature: the address, ids of requests, times, tokens, sessions, and where
#: in the registry an upload is kept.
_HOST = "127.0.0.1:8085"
_TIME = re.compile(r"[12]\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_STAMPS = {"occur_at", "date_created"}
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STATE = re.compile(r"_state=[\w%=-]+")
_CHANGING = {"Set-Cookie", "X-Request-Id", "Date"}

ADMIN = "admin:Harbor12345"
STRANGERS = {"project-get-anonymous", "v2-anonymous", "token-anonymous", "manifest-get-no-rights"}
PMML = "sha256:9d49ca4c46260e1961c23651b71110673c8d6ce7884b51ba4838295f1ba6643d"
EMPTY = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


#: Path, headers and body of a webhook.
Webhook = dict[str, Any]


@dataclass
class Replay:
    """A stand-in in the state that the recorded Harbor was in, one request after the other."""

    harbor: StandIn
    layout: LayoutStore
    received: list[Webhook]
    port: int
    http: urllib3.PoolManager
    robot: str = ""
    upload: str = ""

    def send(self, name: str, recorded: Mapping[str, Any]) -> urllib3.BaseHTTPResponse:
        method, target, *rest = recorded["request"].split(" ")
        headers = dict([rest[0].rstrip(":"), rest[1]] for _ in (1,) if rest)
        if credentials := self._credentials(name):
            headers["Authorization"] = "Basic " + base64.b64encode(credentials.encode()).decode()
        body = json.dumps(recorded["request_body"]).encode() if recorded.get("request_body") else None
        if body:
            body = body.replace(b":9099/", f":{self.port}/".encode())
            headers["Content-Type"] = "application/json"
        if "/manifests/" in target and method == "PUT":
            body = self._manifest(name)
            headers["Content-Type"] = json.loads(body).get("mediaType", "application/vnd.oci.image.manifest.v1+json")
        if name == "blob-put":
            target, body = f"{self.upload}&digest={EMPTY}", b"{}"
        if not target.startswith("http"):
            target = f"http://{self.harbor.host}{target}"
        headers.setdefault("Accept", "application/vnd.oci.image.manifest.v1+json, application/json")
        answer = self.http.request(method, target, headers=headers, body=body, retries=False, redirect=False)
        if name == "robot-create":
            self.robot = f"{answer.json()['name']}:{answer.json()['secret']}"
        if name == "blob-single-post":
            self.upload = answer.headers["Location"]
        return answer

    def push(self, name: str, *tags: str) -> None:
        """Push a sample as a tool does: blobs, then the manifest under each tag."""
        with self._store() as store:
            stored = self.layout.get_manifest("", f"{name}-v1")
            for part in children_of(json.loads(stored.data)):
                data = b"".join(self.layout.get_blob("", part))
                store.put_blob(f"release/{name}", lambda data=data: (data,))
            for tag in tags:
                kind = "application/vnd.oci.image.manifest.v1+json"
                store.put_manifest(f"release/{name}", stored.data, kind, tag=tag)

    def _store(self) -> RegistryStore:
        return RegistryStore(self.harbor.host, plain_http=True, credentials=Credentials("admin", "Harbor12345"))

    def _credentials(self, name: str) -> str:
        if "wrong-password" in name:
            return "admin:wrong"
        return "" if name in STRANGERS else self.robot if name.endswith("as-robot") else ADMIN

    def _manifest(self, name: str) -> bytes:
        if name != "referrer-put":
            return self.layout.get_manifest("", "pmml-model-v1").data
        empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": EMPTY, "size": 2}
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.kleveross.certificate.v1+json",
            "config": empty,
            "layers": [empty],
            "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": PMML, "size": 333},
        }
        # These bytes have the recorded digest.
        return json.dumps(document).encode()


@pytest.fixture
def replay(shared: Path, tmp_path: Path) -> Iterator[Replay]:
    received: list[Webhook] = []

    def receive(exchange: Exchange) -> None:
        body = json.loads(exchange.body())
        received.append({"path": exchange.path, "headers": dict(exchange.headers), "body": body})
        exchange.reply(200)

    samples = LayoutStore(shared / "samples" / "ormb-artifacts")
    with (
        fake(receive) as receiver,
        running_harbor(tmp_path / "registry") as harbor,
        urllib3.PoolManager() as http,
    ):
        yield Replay(harbor, samples, received, int(receiver.host.partition(":")[2]), http)


#: What happened between the recorded requests, by the request before which it did.
_BETWEEN = {
    "manifest-put-by-digest": (
        ("savedmodel-fashion", "v1"),
        ("pmml-model", "v1"),
        ("sklearn-model", "v1"),
        ("pmml-model", "v2"),
        ("pmml-model", "latest"),
    )
}


def replayed(replay: Replay, shared: Path) -> Iterator[tuple[str, dict[str, Any], urllib3.BaseHTTPResponse]]:
    """Send every recorded request; give its name, the recording and the answer."""
    recordings = json.loads((shared / RECORDINGS / "rest.json").read_text())
    for name, recorded in recordings.items():
        for push in _BETWEEN.get(name, ()):
            replay.push(*push)
        if name == "webhook-test-executions":
            replay.harbor.deliveries.wait_idle()
        yield name, recorded, replay.send(name, recorded)


def test_every_recorded_request_is_answered_as_harbor_answered_it(replay: Replay, shared: Path) -> None:
    for name, recorded, answer in replayed(replay, shared):
        assert answer.status == recorded["status"], f"{name}: {answer.data!r}"
        told = {header: answer.headers.get(header, "absent") for header in recorded["headers"]}
        assert _headers(told, replay) == _headers(recorded["headers"], replay), name
        if "length" in recorded:
            assert len(answer.data) == recorded["length"], name
        else:
            given = answer.json() if answer.data else ""
            assert _neutral(given, replay) == _neutral(recorded["body"], replay), name


def test_every_recorded_webhook_is_sent_as_harbor_sent_it(replay: Replay, shared: Path) -> None:
    for _name, _recorded, _answer in replayed(replay, shared):
        pass
    replay.harbor.deliveries.wait_idle()
    recorded = json.loads((shared / RECORDINGS / "webhooks.json").read_text())
    # They arrive in any order, here as there.
    assert sorted(_webhook(each, replay) for each in replay.received) == sorted(
        _webhook(each, replay) for each in recorded
    )


def _webhook(received: Webhook, replay: Replay) -> str:
    headers = {name: value for name, value in received["headers"].items() if name not in ("Host", "Content-Length")}
    return json.dumps([received["path"], headers, _neutral(received["body"], replay)], sort_keys=True)


def _headers(headers: Mapping[str, str], replay: Replay) -> dict[str, str]:
    """Return headers without what changes each time, of which counts that it is there."""
    return {
        name: str(value != "absent") if name in _CHANGING else _neutral(value, replay)
        for name, value in headers.items()
    }


def _neutral(value: Any, replay: Replay) -> Any:
    """Return a value with what differs by its nature made alike."""
    if isinstance(value, dict):
        for name, shown in (("token", "(a JWT)"), ("access_token", "(a JWT)"), ("secret", "(32 characters)")):
            if name in value:
                assert value[name] == shown or len(value[name]) == 32 or value[name].count(".") == 2
                value = {**value, name: shown}
        if value.get("vendor_type") == "WEBHOOK":
            # Executions are counted over all of Harbor, and what was still on its way at the moment is chance.
            value = {**value, "id": 0, "metrics": sum(value["metrics"].values())}
        return {key: 0 if key in _STAMPS else _neutral(one, replay) for key, one in value.items()}
    if isinstance(value, list):
        return [_neutral(one, replay) for one in value]
    if not isinstance(value, str):
        return value
    if value.startswith("{") and value.endswith("}"):
        return _neutral(json.loads(value), replay)
    value = value.replace(replay.harbor.host, _HOST).replace(f":{replay.port}/", ":9099/")
    return _STATE.sub("_state=", _UUID.sub("(id)", _TIME.sub("(time)", value)))
