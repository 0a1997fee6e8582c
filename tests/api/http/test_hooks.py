"""Harbor's webhook: who is let in, what is read, and what is answered, at once."""

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from klever.api.harbor.events import MAX_EVENT_BYTES
from klever.api.http.bodies import read_body
from klever.api.http.problems import Refused
from klever.api.http.secret import SecretFile

from .conftest import CLOUD, DEFAULT, DIGEST, HOOK, SECRET, Facade, Serve, cloud_event, default_event, digest, until


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (default_event(), DEFAULT),
        (default_event(), "application/json; charset=utf-8"),
        (cloud_event(), CLOUD),
        (cloud_event(), DEFAULT),
    ],
)
def test_a_push_is_accepted_in_both_formats_and_handed_on(facade: Facade, event: Any, kind: str) -> None:
    answer = facade.send(event, kind=kind)
    assert (answer.status, answer.document) == (202, {"accepted": 1, "duplicate": 0, "ignored": 0})
    until(lambda: facade.handled.pushes)
    push = facade.handled.pushes[0]
    assert (push.project, push.repository, push.digest, push.tag) == ("release", "release/mnist", DIGEST, "v1")


def test_nobody_waits_for_the_work(facade: Facade) -> None:
    facade.handled.may_go_on.clear()
    started = time.perf_counter()
    for number in range(50):
        assert facade.send(default_event(digest(number))).status == 202
    assert (time.perf_counter() - started) / 50 < 0.1
    facade.handled.may_go_on.set()
    until(lambda: len(facade.handled.pushes) == 50)


def test_an_event_that_is_no_push_is_ignored(facade: Facade) -> None:
    answer = facade.send(default_event(kind="PULL_ARTIFACT"))
    assert (answer.status, answer.document) == (202, {"accepted": 0, "duplicate": 0, "ignored": 1})
    assert not facade.handled.pushes


def test_what_is_told_twice_is_done_once(facade: Facade) -> None:
    facade.handled.may_go_on.clear()
    assert facade.send(default_event()).document["accepted"] == 1
    # Once in the other format, once within an event that also tells something new.
    assert facade.send(cloud_event()).document == {"accepted": 0, "duplicate": 1, "ignored": 0}
    answer = facade.send(default_event(DIGEST, digest(1)))
    assert answer.document == {"accepted": 1, "duplicate": 1, "ignored": 0}
    facade.handled.may_go_on.set()
    until(lambda: len(facade.handled.pushes) == 2)
    # Just done.
    assert facade.send(default_event()).document == {"accepted": 0, "duplicate": 1, "ignored": 0}
    assert {push.digest for push in facade.handled.pushes} == {DIGEST, digest(1)}


def test_another_tag_of_a_digest_is_another_push(facade: Facade) -> None:
    for tag in ("v1", "v2"):
        assert facade.send(default_event(tag=tag)).document["accepted"] == 1
    until(lambda: {push.tag for push in facade.handled.pushes} == {"v1", "v2"})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "hook-secret"},
        {"Authorization": SECRET[:-1]},
        {"Authorization": f"{SECRET}x"},
        {"Authorization": SECRET.upper()},
        {"Authorization": f"{SECRET}, {SECRET}"},
        {"X-Authorization": SECRET},
    ],
)
def test_who_does_not_know_the_secret_is_not_let_in(facade: Facade, headers: dict[str, str]) -> None:
    answer = facade.ask("POST", HOOK, json.dumps(default_event()), {"Content-Type": DEFAULT, **headers})
    assert (answer.status, answer.reason) == (401, "Unauthorized")
    assert "www-authenticate" in answer.headers
    assert not facade.handled.pushes
    assert facade.count("refused") == 1


def test_two_authorizations_are_one_too_many(facade: Facade) -> None:
    head = f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Type: {DEFAULT}\r\n"
    twice = f"Authorization: {SECRET}\r\n" * 2
    assert _exchange(facade, f"{head}{twice}\r\n{{}}".encode()).startswith(b"HTTP/1.1 401 ")


def test_a_stranger_learns_nothing_about_the_body(facade: Facade) -> None:
    for body in (b"", b"{", b"x" * (MAX_EVENT_BYTES + 1)):
        assert facade.ask("POST", HOOK, body, {"Content-Type": "text/plain"}).reason == "Unauthorized"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"type": "PUSH_ARTIFACT"}',
        b'{"type": "PUSH_ARTIFACT", "type": "PULL_ARTIFACT"}',
        b"[" * 100_000,
        json.dumps(default_event("sha256:../../etc/passwd")).encode(),
        json.dumps(default_event(tag="{{workflow.name}}")).encode(),
        json.dumps(default_event()).replace("release/mnist", "file:///etc/passwd").encode(),
        json.dumps(default_event()).replace("release/mnist", "other/mnist").encode(),
    ],
)
def test_what_harbor_would_not_send_is_malformed(facade: Facade, body: bytes) -> None:
    answer = facade.send(body)
    assert (answer.status, answer.reason) == (400, "MalformedEvent")
    assert not facade.handled.pushes


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/cloudevents-batch+json"},
        {"Content-Type": ""},
        {"Content-Type": DEFAULT, "Content-Encoding": "gzip"},
    ],
)
def test_other_media_types_are_refused(facade: Facade, headers: dict[str, str]) -> None:
    answer = facade.ask("POST", HOOK, json.dumps(default_event()), {"Authorization": SECRET, **headers})
    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


def test_a_body_that_announces_too_much_is_not_read(facade: Facade) -> None:
    head = f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET}\r\nContent-Type: {DEFAULT}\r\n"
    # Not a byte of it is sent.
    answer = _exchange(facade, f"{head}Content-Length: {MAX_EVENT_BYTES + 1}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"reason":"TooLarge"' in answer


def test_a_body_in_chunks_is_refused_where_it_becomes_too_large(facade: Facade) -> None:
    head = f"POST {HOOK} HTTP/1.1\r\nHost: x\r\nAuthorization: {SECRET}\r\nContent-Type: {DEFAULT}\r\n"
    chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
    # The end never comes, and is not waited for.
    body = chunk * (MAX_EVENT_BYTES // 0x8000 + 1)
    answer = _exchange(facade, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_the_largest_body_is_read(facade: Facade) -> None:
    event = default_event(*map(digest, range(50)))
    body = json.dumps(event).encode()
    answer = facade.send(body + b" " * (MAX_EVENT_BYTES - len(body)))
    assert answer.document["accepted"] == 50


def test_a_body_that_stalls_is_given_up() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    request = Request({"type": "http", "headers": []}, never)
    with pytest.raises(Refused) as refused:
        asyncio.run(read_body(request, 10, seconds=0.01))
    assert refused.value.status == HTTPStatus.REQUEST_TIMEOUT


def test_a_full_queue_asks_to_come_again_and_takes_no_part_of_an_event(serve: Serve) -> None:
    facade = serve(queue_size=3)
    facade.handled.may_go_on.clear()
    assert facade.send(default_event(digest(1), digest(2))).status == 202
    answer = facade.send(default_event(digest(3), digest(4)))
    assert (answer.status, answer.reason) == (503, "QueueFull")
    assert int(answer.headers["retry-after"]) > 0
    # What is known takes no room.
    assert facade.send(default_event(digest(1), digest(5))).document == {"accepted": 1, "duplicate": 1, "ignored": 0}
    facade.handled.may_go_on.set()
    until(lambda: len(facade.handled.pushes) == 3)
    assert facade.send(default_event(digest(3), digest(4))).status == 202


def test_several_secrets_are_accepted_while_one_replaces_another(facade: Facade) -> None:
    facade.secret_file.write_text(f"{SECRET}\nBearer another\n\n")
    assert facade.send(default_event(digest(1))).status == 202
    assert facade.send(default_event(digest(2)), secret="Bearer another").status == 202
    facade.secret_file.write_text("Bearer another")
    assert facade.send(default_event(digest(3))).status == 401
    assert facade.send(default_event(digest(4)), secret="Bearer another").status == 202
    # An empty line is not an empty secret.
    assert facade.send(default_event(digest(5)), secret="").status == 401


def test_a_secret_is_replaced_as_kubernetes_replaces_mounted_ones(tmp_path: Path) -> None:
    for name, text in (("first", "a" * 10), ("second", "b" * 10)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text(text)
    (tmp_path / "data").symlink_to("first")
    secret = SecretFile(tmp_path / "data" / "secret")
    assert secret.accepts(b"a" * 10)
    (tmp_path / "new").symlink_to("second")
    (tmp_path / "new").rename(tmp_path / "data")
    assert not secret.accepts(b"a" * 10)
    assert secret.accepts(b"b" * 10)


@pytest.mark.parametrize("text", [None, "", "\n \n", "x\n" * 40_000])
def test_without_a_secret_nobody_is_let_in_until_there_is_one(facade: Facade, text: str | None) -> None:
    if text is None:
        facade.secret_file.unlink()
    else:
        facade.secret_file.write_text(text)
    for secret in (SECRET, "", "x"):
        answer = facade.send(default_event(), secret=secret)
        assert (answer.status, answer.reason) == (503, "SecretMissing")
    ready = facade.get("/readyz")
    assert ready.status == 503
    assert str(facade.secret_file) in ready.document["checks"]["secret"]
    facade.secret_file.write_text(SECRET)
    assert facade.send(default_event()).status == 202
    assert facade.get("/readyz").status == 200


@pytest.mark.parametrize("missing", [{"secret_file": None}, {"registry_host": ""}])
def test_what_is_not_configured_is_off(serve: Serve, missing: dict[str, Any]) -> None:
    facade = serve(**missing)
    answer = facade.send(default_event())
    assert (answer.status, answer.reason) == (503, "NotConfigured")
    assert facade.get("/readyz").status == 200


def test_no_secret_is_in_a_log_or_an_answer(
    facade: Facade, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    answers = [
        facade.send(default_event()),
        facade.send(default_event(), secret="Bearer wrong-secret"),
        facade.send(b"{"),
        facade.send(default_event(), kind="text/plain"),
        facade.get("/readyz"),
        facade.get("/metrics"),
    ]
    until(lambda: facade.count("started") == 1)
    captured = capfd.readouterr()
    seen = caplog.text + captured.out + captured.err + "".join(f"{each.headers}{each.data!r}" for each in answers)
    assert "release/mnist" in str([vars(record) for record in caplog.records])
    assert "hook-secret" not in seen
    assert "wrong-secret" not in seen
    assert not any("hook-secret" in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused_in_the_same_shape(facade: Facade, method: str) -> None:
    answer = facade.ask(method, HOOK)
    assert (answer.status, answer.reason) == (405, "MethodNotAllowed")


def test_the_interface_describes_itself(facade: Facade) -> None:
    document = facade.get("/openapi.json").document
    hook = document["paths"][HOOK]["post"]
    assert set(hook["requestBody"]["content"]) == {DEFAULT, CLOUD}
    assert {"202", "400", "401", "408", "413", "415", "503"} <= hook["responses"].keys()
    assert "422" not in hook["responses"]
    for path, routes in document["paths"].items():
        assert all(route["summary"] for route in routes.values()), path
    # Their pages would load scripts from elsewhere.
    assert [facade.get(path).status for path in ("/docs", "/redoc")] == [404, 404]


def _exchange(facade: Facade, request: bytes) -> bytes:
    """Send bytes and return what is answered until the other side has nothing more to say."""
    with socket.create_connection(("127.0.0.1", facade.port), timeout=10) as connection:
        connection.sendall(request)
        return b"".join(_received(connection))


def _received(connection: socket.socket) -> Iterator[bytes]:
    head = b""
    while b"\r\n\r\n" not in head:
        part = connection.recv(1 << 16)
        assert part, "the connection ended before an answer"
        head += part
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    rest = length - len(head.partition(b"\r\n\r\n")[2])
    yield head
    while rest > 0:
        part = connection.recv(rest)
        rest -= len(part)
        yield part
