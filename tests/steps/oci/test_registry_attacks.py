"""Registries that mean harm: endless, slow or crafted answers cost little time and memory, and lead nowhere."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fakes import Exchange, Script, fake
from registries import QUICK

from klever.steps.errors import (
    KleverError,
    ManifestError,
    RegistryRefusedError,
    RegistryUnavailableError,
    TransferError,
    UnauthorizedError,
)
from klever.steps.oci import media
from klever.steps.oci.auth import parse_challenges
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.http import Retry, Timeouts
from klever.steps.oci.registry import RegistryStore
from klever.steps.oci.trust import is_inside

PATIENCE_SECONDS = 0.3
ONCE = Retry(tries=1)
BOUND_SECONDS = 4.0
CONFIG = Descriptor.of(b"{}", media.CONFIG)
MANIFEST = json.dumps(
    {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": CONFIG.to_json(), "layers": []}
).encode()


@contextmanager
def opened(script: Script, **options: Any) -> Iterator[RegistryStore]:
    defaults: dict[str, Any] = {
        "plain_http": True,
        "credentials": None,
        "retry": ONCE,
        "timeouts": Timeouts(connect=2, read=PATIENCE_SECONDS),
    }
    with fake(script) as server, RegistryStore(server.host, **{**defaults, **options}) as store:
        yield store


def drip(exchange: Exchange, data: bytes) -> None:
    """Send byte after byte, each well before a socket's time-out."""
    for position in range(len(data)):
        exchange.wfile.write(data[position : position + 1])
        exchange.wfile.flush()
        time.sleep(PATIENCE_SECONDS / 8)


def dripping_head(exchange: Exchange) -> None:
    drip(exchange, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 400)


def dripping_body(exchange: Exchange) -> None:
    exchange.begin(200, 4000, {"Content-Type": media.MANIFEST})
    drip(exchange, b" " * 4000)


def dripping_chunks(exchange: Exchange) -> None:
    exchange.send_response(200)
    exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    drip(exchange, b"0" * 4000)


def endless_interim_answers(exchange: Exchange) -> None:
    while True:
        exchange.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def endless_headers(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        exchange.wfile.write(b"X-More: " + b"a" * 1000 + b"\r\n")


def endless_header(exchange: Exchange) -> None:
    exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
    while True:
        exchange.wfile.write(b"a" * 10_000)


def no_http(exchange: Exchange) -> None:
    exchange.wfile.write(b"\0\xff" * 10_000)
    exchange.hang_up()


@pytest.mark.parametrize(
    "script",
    [
        dripping_head,
        dripping_body,
        dripping_chunks,
        endless_interim_answers,
        endless_headers,
        endless_header,
        no_http,
    ],
)
def test_an_answer_without_end_is_given_up_as_unavailable(script: Script) -> None:
    begin = time.monotonic()
    with opened(script) as store, pytest.raises(RegistryUnavailableError):
        store.get_manifest("models/x", "v1")
    assert time.monotonic() - begin < BOUND_SECONDS


def test_a_slow_but_steady_answer_is_read_to_its_end() -> None:
    def steady(exchange: Exchange) -> None:
        exchange.begin(200, len(MANIFEST), {"Content-Type": media.MANIFEST})
        for position in range(0, len(MANIFEST), 40):
            exchange.wfile.write(MANIFEST[position : position + 40])
            exchange.wfile.flush()
            time.sleep(0.01)

    with opened(steady) as store:
        assert store.get_manifest("models/x", "v1").data == MANIFEST


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Encoding": "gzip"},
        {"Content-Length": "-5"},
        {"Content-Length": "9" * 5000},
        {"Content-Length": "12, 13"},
        {"Docker-Content-Digest": "sha256:../../etc/passwd"},
        {"Docker-Content-Digest": "\x1b[31m"},
        {"Set-Cookie": "session=" + "x" * 4000},
        {"Link": "<" * 4000},
        {"Content-Type": "application/vnd.oci.image.index.v1+json"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_odd_headers_of_a_manifest_are_ignored_or_refused(headers: dict[str, str]) -> None:
    def script(exchange: Exchange) -> None:
        exchange.reply(200, MANIFEST, headers)
        exchange.hang_up()

    with opened(script) as store:
        try:
            assert store.get_manifest("models/x", "v1").data == MANIFEST
        except KleverError as error:
            assert "\x1b" not in str(error)


def test_cookies_are_not_kept() -> None:
    cookies: list[str | None] = []

    def script(exchange: Exchange) -> None:
        cookies.append(exchange.headers.get("Cookie"))
        exchange.reply(200, MANIFEST, {"Set-Cookie": "session=1", "Content-Type": media.MANIFEST})

    with opened(script) as store:
        store.get_manifest("models/x", "v1")
        store.get_manifest("models/x", "v1")
    assert cookies == [None, None]


def test_tags_and_repositories_that_are_no_names_are_left_out() -> None:
    names = ["v1", "../v2", "a b", "\x1b[31m", "x" * 300, "", "v\n3", 7, None, {"a": 1}, "\ud800"]

    def script(exchange: Exchange) -> None:
        key = "tags" if "tags" in exchange.path else "repositories"
        exchange.reply(200, json.dumps({key: names}).encode())

    with opened(script) as store:
        assert list(store.tags("models/x")) == ["v1"]
        assert list(store.repositories()) == ["v1"]


def test_a_listing_whose_link_is_made_to_be_slow_is_quick() -> None:
    def script(exchange: Exchange) -> None:
        exchange.reply(200, b'{"tags": ["v1"]}', {"Link": "<a>;" * 15_000})

    begin = time.monotonic()
    with opened(script) as store:
        assert list(store.tags("models/x")) == ["v1"]
    assert time.monotonic() - begin < BOUND_SECONDS


@pytest.mark.parametrize(
    "value", ["a" * 60_000 + '"', 'a="' * 20_000, "a=" * 30_000, 'a="\\' * 15_000, "Bearer " + "a, " * 20_000]
)
def test_a_challenge_that_is_made_to_be_slow_is_parsed_quickly(value: str) -> None:
    begin = time.monotonic()
    parse_challenges(["Bearer x=1", value])
    assert time.monotonic() - begin < 1


@pytest.mark.parametrize(
    "realm",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://169.254.169.254/latest/meta-data",
        "http://other.example/token",
        "//other.example/token",
        "http://user:pass@127.0.0.1/",
        "http://[::1",
        "\x01",
        "http://127.0.0.1\r\nX: y/",
        "",
    ],
)
def test_a_realm_that_leads_elsewhere_is_not_asked(realm: str) -> None:
    asked: list[str] = []

    def script(exchange: Exchange) -> None:
        asked.append(exchange.path)
        exchange.reply(
            401, b"", {"WWW-Authenticate": f'Bearer realm="{realm!r}"' if "\r" in realm else f'Bearer realm="{realm}"'}
        )

    with (
        opened(script, credentials=Credentials("ada", "secret")) as store,
        pytest.raises((UnauthorizedError, RegistryRefusedError)) as caught,
    ):
        store.get_manifest("models/x", "v1")
    assert asked == ["/v2/models/x/manifests/v1"]
    assert "secret" not in str(caught.value)


def test_a_token_answer_without_end_is_not_read() -> None:
    def script(exchange: Exchange) -> None:
        if exchange.path_only != "/token":
            realm = f"http://{exchange.headers['Host']}/token"
            exchange.reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})
            return
        exchange.begin(200, 1 << 40)
        while True:
            exchange.wfile.write(b'{"token": "' + b"a" * 100_000)

    begin = time.monotonic()
    with opened(script) as store, pytest.raises(RegistryRefusedError, match="longer than"):
        store.get_manifest("models/x", "v1")
    assert time.monotonic() - begin < BOUND_SECONDS


@pytest.mark.parametrize("token", ["a\r\nX-Injected: 1", "", " ", "é", 5, None, ["a"], "\ud800"])
def test_a_token_that_would_change_the_request_is_refused(token: object) -> None:
    def script(exchange: Exchange) -> None:
        realm = f"http://{exchange.headers['Host']}/token"
        if exchange.path_only == "/token":
            exchange.reply(200, json.dumps({"token": token}).encode())
        else:
            exchange.reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}"'})

    with opened(script) as store, pytest.raises(RegistryRefusedError, match="no usable token"):
        store.get_manifest("models/x", "v1")


@pytest.mark.parametrize(
    "host",
    [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "0",
        "169.254.43518",
        "[::1]".strip("[]"),
        "::ffff:127.0.0.1",
    ],
)
def test_short_spellings_of_this_machine_are_known(host: str) -> None:
    assert is_inside(host)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "example.org", "1.example", "0x7f.example", "8.8.8.8", "134744072", "1.2.3.4.5"]
)
def test_other_hosts_are_not_this_machine(host: str) -> None:
    assert not is_inside(host)


@pytest.mark.parametrize(
    "document",
    [
        b'{"config": {}, "config": {}, "layers": []}',
        b'{"schemaVersion": NaN, "config": {}, "layers": []}',
        b'{"schemaVersion": 1e999, "config": {}, "layers": []}',
        b'{"schemaVersion": ' + b"9" * 5000 + b', "config": {}, "layers": []}',
        b'{"a": "\\ud800", "config": {}, "layers": []}',
        b'{"a": ' + b"[" * 500 + b"]" * 500 + b', "config": {}, "layers": []}',
        b'{"a": ' + b"[" * 100_000,
        "{}".encode("utf-16"),
        b"\xff\xfe",
    ],
)
def test_a_manifest_that_two_readers_could_read_in_two_ways_is_refused(document: bytes) -> None:
    def script(exchange: Exchange) -> None:
        exchange.reply(200, document, {"Content-Type": media.MANIFEST})

    with opened(script) as store, pytest.raises(ManifestError):
        store.get_manifest("models/x", "v1")


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_a_blob_in_another_encoding_is_not_unpacked_on_the_way(encoding: str) -> None:
    data = b"\x1f\x8b" + bytes(1000)

    def script(exchange: Exchange) -> None:
        exchange.reply(200, data, {"Content-Encoding": encoding})

    with opened(script, retry=QUICK) as store, pytest.raises(TransferError, match="encoding"):
        b"".join(store.get_blob("models/x", Descriptor.of(data, media.LAYER)))
