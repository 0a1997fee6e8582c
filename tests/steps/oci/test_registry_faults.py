"""Registries that fail, stall, lie or send us elsewhere: a typed error or a sound result, in bounded time."""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes import Exchange, Fake, Script, fake
from registries import QUICK

from klever.steps.errors import (
    KleverError,
    ManifestError,
    NotFoundError,
    RegistryRefusedError,
    RegistryUnavailableError,
    TransferError,
    UnauthorizedError,
)
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor, digest_of
from klever.steps.oci.http import Retry, Timeouts
from klever.steps.oci.registry import RegistryStore

MIB = 1 << 20
SMALL = os.urandom(100_000)
LARGE = os.urandom(6 * MIB + 5)
PATIENCE_SECONDS = 0.4


@contextmanager
def opened(script: Script, **options: Any) -> Iterator[tuple[RegistryStore, Fake]]:
    defaults: dict[str, Any] = {
        "plain_http": True,
        "credentials": None,
        "retry": QUICK,
        "timeouts": Timeouts(connect=2, read=PATIENCE_SECONDS),
    }
    with fake(script) as server, RegistryStore(server.host, **{**defaults, **options}) as store:
        yield store, server


def blob(data: bytes) -> Descriptor:
    return Descriptor.of(data, media.LAYER)


def fetch(store: RegistryStore, data: bytes) -> bytes:
    return b"".join(store.get_blob("models/x", blob(data)))


def serve_range(exchange: Exchange, data: bytes) -> None:
    """Answer as a sound server does."""
    match = re.fullmatch(r"bytes=(\d+)-(\d+)", exchange.headers.get("Range", ""))
    if not match:
        exchange.reply(200, data)
        return
    first, last = int(match[1]), min(int(match[2]), len(data) - 1)
    exchange.reply(206, data[first : last + 1], {"Content-Range": f"bytes {first}-{last}/{len(data)}"})


def in_turn(*scripts: Script) -> Script:
    """Answer each request by the next script, and by the last one from then on."""
    left = list(scripts)

    def script(exchange: Exchange) -> None:
        current = left.pop(0) if len(left) > 1 else left[0]
        current(exchange)

    return script


class Once:
    """Misbehave for the first ``times`` requests, then serve."""

    def __init__(self, misbehave: Script, data: bytes, times: int = 1) -> None:
        self.misbehave, self.data, self.left = misbehave, data, times

    def __call__(self, exchange: Exchange) -> None:
        self.left -= 1
        if self.left >= 0:
            self.misbehave(exchange)
        else:
            serve_range(exchange, self.data)


# Failing for a while


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_fails_for_a_while_is_asked_again(status: int) -> None:
    script = Once(lambda exchange: exchange.reply(status, b"busy"), SMALL, times=3)
    with opened(script) as (store, server):
        assert fetch(store, SMALL) == SMALL
        assert len(server.requests) == 4


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_goes_on_failing_is_given_up_as_unavailable(status: int) -> None:
    with opened(lambda exchange: exchange.refuse(status, "TOOMANYREQUESTS", "slow\x1b[31m down")) as (store, server):
        with pytest.raises(RegistryUnavailableError, match=rf"{status}.*TOOMANYREQUESTS: slow \[31m down") as failed:
            store.get_manifest("models/x", "v1")
        assert len(server.requests) == QUICK.tries
        assert failed.value.temporary


def test_retry_after_is_honoured_within_bounds() -> None:
    waits: list[float] = []
    answers = iter(["7", "99999", "Wed, 21 Oct 2015 07:28:00 GMT", "soon"])
    policy = Retry(tries=5, first=0.01, longest=20, sleep=waits.append)
    with (
        opened(lambda exchange: exchange.reply(429, b"", {"Retry-After": next(answers, "")}), retry=policy) as (
            store,
            _,
        ),
        pytest.raises(RegistryUnavailableError),
    ):
        store.ping()
    assert waits[:2] == [7, 20]
    assert max(waits[2:]) < 1


def test_waiting_has_an_end() -> None:
    waits: list[float] = []
    policy = Retry(tries=100, first=1, longest=20, total=60, sleep=waits.append)
    with (
        opened(lambda exchange: exchange.reply(503), retry=policy) as (store, _),
        pytest.raises(RegistryUnavailableError),
    ):
        store.ping()
    assert 20 < sum(waits) <= 60


def test_a_connection_that_is_cut_before_an_answer_is_tried_again() -> None:
    with opened(Once(Exchange.reset, SMALL)) as (store, _):
        assert fetch(store, SMALL) == SMALL


def test_a_server_that_never_answers_is_a_temporary_failure() -> None:
    with (
        opened(lambda exchange: time.sleep(1), retry=Retry(tries=2, first=0.01)) as (store, _),
        pytest.raises(RegistryUnavailableError, match="no answer in time"),
    ):
        store.ping()


# Downloads


def cut(exchange: Exchange, data: bytes = LARGE, keep: int = 3 * MIB) -> None:
    exchange.begin(200, len(data))
    exchange.wfile.write(data[:keep])
    exchange.hang_up()


def test_a_download_goes_on_where_it_was_cut() -> None:
    progress: list[int] = []
    with opened(Once(cut, LARGE)) as (store, server):
        assert b"".join(store.get_blob("models/x", blob(LARGE), progress=progress.append)) == LARGE
        assert server.requests[1][2]["Range"] == f"bytes={3 * MIB}-{len(LARGE) - 1}"
    assert sum(progress) == len(LARGE)


def test_a_download_that_stalls_goes_on_over_another_connection() -> None:
    def stall(exchange: Exchange) -> None:
        exchange.begin(200, len(LARGE))
        exchange.wfile.write(LARGE[:100])
        exchange.wfile.flush()
        time.sleep(PATIENCE_SECONDS * 2)
        exchange.hang_up()

    with opened(Once(stall, LARGE)) as (store, server):
        assert fetch(store, LARGE) == LARGE
        assert server.requests[1][2]["Range"].startswith("bytes=100-")


def test_a_download_that_trickles_is_given_up() -> None:
    def trickle(exchange: Exchange) -> None:
        exchange.begin(200, len(LARGE))
        for position in range(60):
            exchange.wfile.write(LARGE[position : position + 1])
            exchange.wfile.flush()
            time.sleep(PATIENCE_SECONDS / 8)

    with (
        opened(trickle, retry=Retry(tries=2, first=0.01)) as (store, _),
        pytest.raises(TransferError, match="next to nothing"),
    ):
        fetch(store, LARGE)


def whole_for_a_range(exchange: Exchange) -> None:
    exchange.reply(200, LARGE)


def test_a_whole_blob_in_answer_to_a_range_is_skipped_to_the_missing_part() -> None:
    with opened(in_turn(cut, whole_for_a_range)) as (store, server):
        assert fetch(store, LARGE) == LARGE
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda exchange: exchange.reply(416),
        lambda exchange: exchange.reply(206, LARGE[:MIB], {"Content-Range": f"bytes 0-{MIB - 1}/{len(LARGE)}"}),
        lambda exchange: exchange.reply(
            206, LARGE[:MIB], {"Content-Range": f"bytes {3 * MIB}-{4 * MIB - 1}/{4 * MIB}"}
        ),
        lambda exchange: exchange.reply(206, LARGE[:MIB]),
        lambda exchange: exchange.reply(200, LARGE[:MIB]),
        lambda exchange: exchange.reply(200, LARGE + b"more"),
        lambda exchange: exchange.reply(200, LARGE, {"Content-Encoding": "gzip"}),
    ],
    ids=["416", "other-range", "other-total", "no-range", "short", "long", "encoded"],
)
def test_a_wrong_answer_to_a_range_is_noticed(answer: Script) -> None:
    with opened(in_turn(cut, answer, lambda exchange: serve_range(exchange, LARGE))) as (store, server):
        assert fetch(store, LARGE) == LARGE
        assert len(server.requests) == 3
    with opened(in_turn(cut, answer)) as (store, _), pytest.raises(TransferError):
        fetch(store, LARGE)


def test_wrong_bytes_of_a_small_blob_are_fetched_anew_and_of_a_large_one_are_an_error_at_the_end() -> None:
    wrong = bytes(len(SMALL))
    with opened(Once(lambda exchange: exchange.reply(200, wrong), SMALL)) as (store, _):
        assert fetch(store, SMALL) == SMALL
    with opened(lambda exchange: exchange.reply(200, wrong)) as (store, server):
        with pytest.raises(TransferError, match="other bytes"):
            next(iter(store.get_blob("models/x", blob(SMALL))))
        assert len(server.requests) == QUICK.tries
    with opened(lambda exchange: exchange.reply(200, bytes(len(LARGE)))) as (store, _):
        got: list[int] = []
        chunks = store.get_blob("models/x", blob(LARGE), progress=got.append)
        with pytest.raises(TransferError, match="other bytes"):
            list(chunks)
        assert sum(got) == len(LARGE)


def test_a_blob_without_end_is_not_read_past_its_size() -> None:
    def endless(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        while True:
            exchange.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    with opened(endless) as (store, _), pytest.raises(TransferError):
        fetch(store, SMALL)


# Random access


@pytest.mark.parametrize(
    "answer",
    [
        whole_for_a_range,
        lambda exchange: exchange.reply(416),
        lambda exchange: exchange.reply(206, LARGE[:10], {"Content-Range": f"bytes 0-9/{len(LARGE)}"}),
        lambda exchange: exchange.reply(
            206, LARGE[: 64 << 10], {"Content-Range": f"bytes 0-{(64 << 10) - 1}/{10 * MIB}"}
        ),
        lambda exchange: exchange.reply(206, LARGE[: 64 << 10]),
    ],
    ids=["200", "416", "short", "other-total", "no-range"],
)
def test_a_server_without_sound_ranges_gives_no_random_access(answer: Script) -> None:
    with opened(answer) as (store, _):
        assert store.blob_source("models/x", blob(LARGE)) is None


def test_random_access_asks_little_and_reads_ahead() -> None:
    with opened(lambda exchange: serve_range(exchange, LARGE)) as (store, server):
        source = store.blob_source("models/x", blob(LARGE))
        assert source is not None
        for offset in range(0, 60_000, 1000):
            assert source.read_at(offset, 1000) == LARGE[offset : offset + 1000]
        assert len(server.requests) == 1
        assert source.read_at(5 * MIB, 100) == LARGE[5 * MIB : 5 * MIB + 100]
        assert len(server.requests) == 2


def test_random_access_goes_on_after_a_broken_answer() -> None:
    state = iter([True, False, True])

    def script(exchange: Exchange) -> None:
        if next(state, True):
            serve_range(exchange, LARGE)
        else:
            exchange.begin(206, 16 << 10, {"Content-Range": f"bytes {MIB}-{MIB + (16 << 10) - 1}/{len(LARGE)}"})
            exchange.wfile.write(b"x")
            exchange.hang_up()

    with opened(script) as (store, _):
        source = store.blob_source("models/x", blob(LARGE))
        assert source is not None
        assert source.read_at(MIB, 5) == LARGE[MIB : MIB + 5]


def test_a_signed_address_is_kept_for_a_source_and_asked_for_again_when_it_expires() -> None:
    valid = {"key": "1"}

    def storage(exchange: Exchange) -> None:
        if exchange.query["signature"] != [valid["key"]]:
            exchange.reply(403, b"<Error>expired</Error>")
        else:
            serve_range(exchange, LARGE)

    with fake(storage) as bucket:

        def script(exchange: Exchange) -> None:
            exchange.reply(307, b"", {"Location": f"http://{bucket.host}/b?signature={valid['key']}"})

        with opened(script, credentials=Credentials("alice", "secret")) as (store, server):
            source = store.blob_source("models/x", blob(LARGE))
            assert source is not None
            source.read_at(MIB, 5)
            assert (len(server.requests), len(bucket.requests)) == (1, 2)
            valid["key"] = "2"
            assert source.read_at(2 * MIB, 5) == LARGE[2 * MIB : 2 * MIB + 5]
            assert (len(server.requests), len(bucket.requests)) == (2, 4)


# Uploads


class Receiver:
    """A registry that takes uploads, after ``failures`` did what they do to the first requests of a method."""

    def __init__(self, **failures: list[Script]) -> None:
        self.failures = failures
        self.parts: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.count = 0

    def __call__(self, exchange: Exchange) -> None:
        if self.failures.get(exchange.command):
            self.failures[exchange.command].pop(0)(exchange)
            return
        body = exchange.body()
        key = exchange.path_only
        if exchange.command == "POST":
            self.count += 1
            exchange.reply(202, b"", {"Location": f"/up/{self.count}?_state=a%2Fb"})
        elif exchange.command == "PATCH":
            self.parts[key] = body
            exchange.reply(202, b"", {"Location": f"{key}?_state=c%3D"})
        elif exchange.command == "PUT":
            data = self.parts.get(key, b"") + body
            digest = exchange.query["digest"][0]
            if digest_of(data) != digest:
                exchange.refuse(400, "DIGEST_INVALID", "no")
                return
            self.blobs[digest] = data
            exchange.reply(201, b"", {"Docker-Content-Digest": digest})
        elif exchange.command == "HEAD":
            exchange.reply(200 if key.rpartition("/")[2] in self.blobs else 404)
        else:
            exchange.reply(204)


def halves() -> list[bytes]:
    return [LARGE[: 3 * MIB], LARGE[3 * MIB :]]


def read_then(status: int, code: str = "UNKNOWN") -> Script:
    def script(exchange: Exchange) -> None:
        exchange.body()
        exchange.refuse(status, code, "said the registry")

    return script


def cut_upload(exchange: Exchange) -> None:
    exchange.rfile.read(MIB)
    exchange.reset()


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("failure", [read_then(500), read_then(503), cut_upload], ids=["500", "503", "cut"])
def test_an_upload_that_fails_begins_afresh(known: bool, failure: Script) -> None:
    receiver = Receiver(**{"PUT" if known else "PATCH": [failure, failure]})
    progress: list[int] = []
    with opened(receiver) as (store, server):
        expected = blob(LARGE) if known else None
        descriptor = store.put_blob("models/x", halves, expected=expected, progress=progress.append)
        assert len(server.asked("POST")) == 3
        assert server.asked("DELETE") == ["/up/1?_state=a%2Fb", "/up/2?_state=a%2Fb"]
    assert receiver.blobs == {descriptor.digest: LARGE}
    assert sum(progress) == len(LARGE)


def test_the_registrys_own_query_of_an_upload_is_kept() -> None:
    with opened(Receiver()) as (store, server):
        descriptor = store.put_blob("models/x", halves)
        assert server.asked("PATCH") == ["/up/1?_state=a%2Fb"]
        assert server.asked("PUT") == [f"/up/1?_state=c%3D&digest={descriptor.digest}"]


def test_an_upload_that_goes_on_failing_is_given_up() -> None:
    receiver = Receiver(PATCH=[cut_upload] * 100)
    with opened(receiver) as (store, server):
        with pytest.raises(RegistryUnavailableError):
            store.put_blob("models/x", halves)
        assert len(server.asked("PATCH")) == QUICK.tries


def test_bytes_that_were_altered_on_their_way_are_sent_again() -> None:
    receiver = Receiver(PUT=[read_then(400, "DIGEST_INVALID")])
    with opened(receiver) as (store, _):
        assert store.put_blob("models/x", halves).digest in receiver.blobs


def test_a_registry_that_forgot_the_upload_gets_another() -> None:
    receiver = Receiver(PATCH=[read_then(404, "BLOB_UPLOAD_UNKNOWN")])
    with opened(receiver) as (store, server):
        assert store.put_blob("models/x", halves).digest in receiver.blobs
        assert len(server.asked("POST")) == 2


def test_a_registry_that_stores_another_digest_is_not_believed() -> None:
    def lie(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(201, b"", {"Docker-Content-Digest": digest_of(b"another")})

    with opened(Receiver(PUT=[lie] * 100)) as (store, _), pytest.raises(TransferError, match="stored"):
        store.put_blob("models/x", halves)


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_registry_without_patch_gets_a_single_put(status: int) -> None:
    receiver = Receiver(PATCH=[read_then(status, "UNSUPPORTED")])
    with opened(receiver) as (store, _):
        assert store.put_blob("models/x", halves).digest in receiver.blobs


@pytest.mark.parametrize(
    ("status", "kind"), [(401, UnauthorizedError), (403, UnauthorizedError), (413, RegistryRefusedError)]
)
def test_a_registry_that_refuses_in_the_middle_is_heard(status: int, kind: type[KleverError]) -> None:
    def refuse(exchange: Exchange) -> None:
        exchange.rfile.read(1000)
        exchange.refuse(status, "DENIED", "enough of it", {"Connection": "close"})
        exchange.wfile.flush()
        threading.Event().wait(0.3)
        exchange.hang_up()

    def endless() -> Iterator[bytes]:
        for _ in range(2000):
            yield bytes(MIB)

    with opened(Receiver(PATCH=[refuse])) as (store, _), pytest.raises(kind, match="DENIED: enough of it"):
        store.put_blob("models/x", endless)


def test_a_harbor_whose_quota_is_used_up_says_so() -> None:
    words = (
        "adding 6.0 MiB of storage resource, which when updated to current usage will exceed the configured upper limit"
    )
    with (
        opened(lambda exchange: (exchange.body(), exchange.refuse(403, "DENIED", words))[1]) as (store, _),
        pytest.raises(RegistryRefusedError, match="exceed the configured upper limit") as refused,
    ):
        store.put_manifest("models/x", b"{}", media.MANIFEST, tag="v1")
    assert "quota" in refused.value.next_step


# Redirects


def test_a_redirect_to_another_host_is_followed_without_credentials() -> None:
    with fake(lambda exchange: serve_range(exchange, LARGE)) as bucket:

        def script(exchange: Exchange) -> None:
            if "Authorization" not in exchange.headers:
                exchange.reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
            else:
                exchange.reply(307, b"", {"Location": f"http://{bucket.host}/signed?X-Signature=abc"})

        with opened(script, credentials=Credentials("alice", "secret")) as (store, _):
            assert fetch(store, LARGE) == LARGE
        headers = bucket.requests[0][2]
        assert not {"Authorization", "Cookie", "Referer"} & set(headers)


@pytest.mark.parametrize(
    "location", ["", "file:///etc/passwd", "ftp://x/y", "http://[", "http://u:p@127.0.0.1/x", "//"]
)
def test_a_redirect_that_leads_nowhere_good_is_refused(location: str) -> None:
    with (
        opened(lambda exchange: exchange.reply(302, b"", {"Location": location})) as (store, _),
        pytest.raises(RegistryRefusedError),
    ):
        fetch(store, SMALL)


def test_a_redirect_without_end_is_refused() -> None:
    with opened(lambda exchange: exchange.reply(302, b"", {"Location": "/again"})) as (store, server):
        with pytest.raises(RegistryRefusedError, match="redirects"):
            fetch(store, SMALL)
        assert len(server.requests) == 6


def test_an_upload_to_another_host_goes_there_without_credentials() -> None:
    receiver = Receiver()
    with fake(receiver) as other:

        def script(exchange: Exchange) -> None:
            if "Authorization" not in exchange.headers:
                exchange.reply(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
            else:
                exchange.reply(202, b"", {"Location": f"http://{other.host}/up/1?s=1"})

        with opened(script, credentials=Credentials("alice", "secret")) as (store, _):
            assert store.put_blob("models/x", halves).digest in receiver.blobs
        assert not any("Authorization" in headers for _method, _path, headers in other.requests)


def test_the_urls_of_a_layer_are_not_followed() -> None:
    with fake(lambda exchange: exchange.reply(200, SMALL)) as foreign:
        layer = {**blob(SMALL).to_json(), "urls": [f"http://{foreign.host}/layer"]}
        descriptor = Descriptor.from_json(layer, "the layer")
        with (
            opened(lambda exchange: exchange.refuse(404, "BLOB_UNKNOWN", "gone")) as (store, _),
            pytest.raises(NotFoundError),
        ):
            list(store.get_blob("models/x", descriptor))
        assert not foreign.requests


# Manifests and listings

INDEX = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": []}).encode()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (INDEX, {"Content-Type": media.MANIFEST}),
        (json.dumps({"manifests": [], "layers": []}).encode(), {"Content-Type": media.INDEX}),
        (b"<html>", {"Content-Type": "text/html"}),
        (b"[]", {"Content-Type": media.MANIFEST}),
        (b"[" * 100_000, {"Content-Type": media.MANIFEST}),
        (INDEX, {"Docker-Content-Digest": digest_of(b"another")}),
        (INDEX, {"Docker-Content-Digest": "md5:0"}),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(body: bytes, headers: dict[str, str]) -> None:
    with opened(lambda exchange: exchange.reply(200, body, headers)) as (store, _), pytest.raises(ManifestError):
        store.get_manifest("models/x", "v1")


def test_a_manifest_with_another_digest_than_asked_for_is_refused() -> None:
    with (
        opened(lambda exchange: exchange.reply(200, INDEX)) as (store, _),
        pytest.raises(ManifestError, match="digest"),
    ):
        store.get_manifest("models/x", digest_of(b"another"))


def test_a_manifest_without_media_type_is_what_the_registry_says() -> None:
    body = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()
    for declared, expected in ((media.MANIFEST, media.MANIFEST), ("application/json", media.MANIFEST)):
        headers = {"Content-Type": f"{declared}; charset=utf-8"}
        with opened(lambda exchange, headers=headers: exchange.reply(200, body, headers)) as (store, _):
            assert store.get_manifest("models/x", "v1").descriptor.media_type == expected


def test_an_endless_manifest_is_not_read() -> None:
    with (
        opened(lambda exchange: exchange.begin(200, 1 << 40) or exchange.wfile.write(bytes(6 * MIB))) as (store, _),
        pytest.raises(RegistryRefusedError, match="longer"),
    ):
        store.get_manifest("models/x", "v1")


def test_listings_go_on_page_by_page() -> None:
    def script(exchange: Exchange) -> None:
        last = int(exchange.query.get("last", ["0"])[0])
        page = [f"v{number}" for number in range(last, last + 3)] + ["not a tag", "../x", f"sha256-{'0' * 64}"]
        links = [
            f'</v2/models/x/tags/list?last={last + 3}&n=3>; rel="next"',
            f"<http://{exchange.headers['Host']}/v2/models/x/tags/list?last={last + 3}>;rel=next",
        ]
        headers = {"Link": links[last // 3 % 2]} if last < 9 else {}
        exchange.reply(200, json.dumps({"name": "x", "tags": page}).encode(), headers)

    with opened(script) as (store, _):
        assert list(store.tags("models/x")) == sorted(f"v{number}" for number in range(12))


@pytest.mark.parametrize(
    "link", ["<http://elsewhere.example/v2/x>; rel=next", "</v2/models/x/tags/list?n=1000>; rel=next"]
)
def test_a_listing_that_leads_elsewhere_or_round_in_circles_is_refused(link: str) -> None:
    with opened(lambda exchange: exchange.reply(200, b'{"tags": ["v1"]}', {"Link": link})) as (store, server):
        with pytest.raises(RegistryRefusedError):
            list(store.tags("models/x"))
        assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b'{"tags": 7}', b"null", b'{"tags": ["' + b"x" * 100])
def test_a_web_page_in_place_of_a_listing_is_refused(body: bytes) -> None:
    with opened(lambda exchange: exchange.reply(200, body)) as (store, _), pytest.raises(RegistryRefusedError):
        list(store.tags("models/x"))


def test_referrers_come_from_the_api_where_there_is_one() -> None:
    entry = {**blob(SMALL).to_json(), "artifactType": "application/x"}
    body = json.dumps({"schemaVersion": 2, "mediaType": media.INDEX, "manifests": [entry]}).encode()
    with opened(lambda exchange: exchange.reply(200, body, {"Content-Type": media.INDEX})) as (store, server):
        assert [one.digest for one in store.referrers("models/x", digest_of(b"x"))] == [digest_of(SMALL)]
        assert server.asked("GET") == [f"/v2/models/x/referrers/{digest_of(b'x')}"]


def test_a_registry_that_lists_referrers_itself_gets_no_tag_for_them() -> None:
    subject = digest_of(b"x")

    def script(exchange: Exchange) -> None:
        exchange.body()
        exchange.reply(201, b"", {"OCI-Subject": subject})

    body = {
        "schemaVersion": 2,
        "mediaType": media.MANIFEST,
        "subject": Descriptor(media.MANIFEST, subject, 1).to_json(),
    }
    with opened(script) as (store, server):
        store.put_manifest("models/x", json.dumps(body).encode(), media.MANIFEST)
        assert len(server.requests) == 1


# Secrets


def test_no_secret_is_in_a_log_an_error_or_a_repr(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    secret, token, signature = "pa55word-of-alice", "t0ken-t0ken-t0ken", "s1gnature"

    def bucket_script(exchange: Exchange) -> None:
        exchange.reply(403, f"<Error>{exchange.path}</Error>".encode())

    with fake(bucket_script) as bucket:

        def script(exchange: Exchange) -> None:
            if exchange.path_only == "/token":
                exchange.reply(200, json.dumps({"token": token}).encode())
            elif "Authorization" not in exchange.headers:
                realm = f"http://{exchange.headers['Host']}/token"
                exchange.reply(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})
            elif "blobs" in exchange.path:
                exchange.reply(307, b"", {"Location": f"http://{bucket.host}/x?X-Signature={signature}"})
            else:
                exchange.refuse(403, "DENIED", f"you sent {exchange.headers['Authorization']} and {secret}")

        errors: list[KleverError] = []
        with opened(script, credentials=Credentials("alice", secret)) as (store, _):
            attempts: list[Callable[[], object]] = [
                lambda: store.get_manifest("models/x", "v1"),
                lambda: fetch(store, SMALL),
            ]
            for attempt in attempts:
                with pytest.raises(UnauthorizedError) as failed:
                    attempt()
                errors.append(failed.value)
            shown = [repr(store), repr(Credentials("alice", secret)), repr(vars(store))]
    texts = [caplog.text, *shown, *(f"{error!r} {error} {error.next_step}" for error in errors)]
    for error in errors:
        assert error.__cause__ is None
    for hidden in (secret, token, signature):
        assert not any(hidden in text for text in texts)


# Proxies


def test_a_proxy_of_the_environment_is_used_save_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with fake(lambda exchange: serve_range(exchange, SMALL)) as proxy:
        monkeypatch.setenv("http_proxy", f"http://user:hidden@{proxy.host}")
        options: dict[str, Any] = {"plain_http": True, "credentials": None, "retry": QUICK}
        with RegistryStore("registry.invalid", **options) as store:
            assert fetch(store, SMALL) == SMALL
        _method, path, headers = proxy.requests[0]
        assert path == f"http://registry.invalid/v2/models/x/blobs/{blob(SMALL).digest}"
        assert headers["Proxy-Authorization"].startswith("Basic ")
        monkeypatch.setenv("no_proxy", "registry.invalid")
        with (
            RegistryStore("registry.invalid", **options) as store,
            pytest.raises(RegistryUnavailableError, match="name"),
        ):
            store.ping()
        with opened(lambda exchange: serve_range(exchange, SMALL)) as (store, server):
            assert fetch(store, SMALL) == SMALL
            assert len(server.requests) == 1
        assert len(proxy.requests) == 1


@pytest.mark.parametrize("proxy", ["socks5://h:1", "http://", "http://[::1"])
def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    store = RegistryStore("registry.invalid", plain_http=True, credentials=None, retry=QUICK)
    with store, pytest.raises(RegistryRefusedError, match="proxy"):
        store.ping()
