"""Sources of publication: what is allowed, component by component, and transfers that break."""

import gzip
import io
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes import Exchange, Fake, Script, fake

from klever.steps.download import Allowed, SourceRefusedError, SourceUnavailableError, check_files, download
from klever.steps.errors import ArchiveError, LimitExceededError, NotFoundError
from klever.steps.oci.http import Retry, Timeouts, Transport
from klever.steps.recognise import recognise

BODY = bytes(range(256)) * 8192
PREFIX = "https://models.example/released"


@pytest.fixture
def transport() -> Iterator[Transport]:
    quick = Transport(retry=Retry(tries=4, first=0.01, longest=0.02), timeouts=Timeouts(connect=5, read=5))
    yield quick
    quick.close()


@contextmanager
def serving_body(body: bytes = BODY, **headers: str) -> Iterator[tuple[Fake, Allowed]]:
    with fake(lambda exchange: exchange.reply(200, body, headers)) as server:
        yield server, Allowed.parse([f"http://{server.host}/released"])


@contextmanager
def serving_script(script: Script) -> Iterator[tuple[Fake, Allowed]]:
    with fake(script) as server:
        yield server, Allowed.parse([f"http://{server.host}/"])


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/released",
        "https://models.example/released/a/b.onnx",
        "https://models.example:443/released/b.onnx?signature=x",
        "https://MODELS.example./released/b.onnx",
        "https://models.example/%72eleased/b%20c.onnx",
    ],
)
def test_an_address_below_an_allowed_one_is_allowed(url: str) -> None:
    Allowed.parse([f"{PREFIX}/"]).check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://models.example/released-by-others/x",
        "https://models.example/Released/x",
        "https://models.example/",
        "http://models.example/released/x",
        "https://models.example:8443/released/x",
        "https://models.example.evil/released/x",
        "https://evil.example/released/x",
        "https://models.example@evil.example/released/x",
        "https://user:hunter2@models.example/released/x",
        "https://evil.example/https://models.example/released/x",
        "https://models.example/released/../secret/x",
        "https://models.example/released/%2e%2e/secret/x",
        "https://models.example/released/..%2fsecret",
        "https://models.example/released/%2e%2e%5csecret",
        "https://models.example/released//x",
        "https://models.example/released/./x",
        "https://models.example\\@evil.example/released/x",
        "https://models.example/released/x#fragment",
        "https://models.example/released/x y",
        "https://models.example/released/x\r\nHost: evil",
        "https://models.example/released/%00x",
        "https://models.example/released/%ff",
        "https://models.example/released/{{workflow.name}}",
        "https://[::1/released",
        "https://:0/released",
        "file:///released/x",
        "ftp://models.example/released/x",
        "s3://models.example/released/x",
        "https:models.example/released/x",
    ],
)
def test_any_other_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(SourceRefusedError) as raised:
        download(url, Allowed.parse([PREFIX]), tmp_path)
    assert raised.value.stage == "download"
    assert "hunter2" not in str(raised.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["models", "file:///models", "https://a.example/x?y=z", "http:x", "https://u:p@h/x"])
def test_an_allowed_place_has_to_be_one(text: str) -> None:
    with pytest.raises(SourceRefusedError):
        Allowed.parse([text])


def test_where_nothing_is_allowed_nothing_is(tmp_path: Path) -> None:
    for source in ("https://models.example/x", "/etc/passwd"):
        with pytest.raises(SourceRefusedError, match="no place is"):
            download(source, Allowed(), tmp_path)


def test_a_path_is_refused_where_addresses_are_allowed_and_the_other_way_round(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"x")
    with pytest.raises(SourceRefusedError):
        download(str(tmp_path / "x.onnx"), Allowed.parse([PREFIX]), tmp_path)
    with pytest.raises(SourceRefusedError):
        download(f"{PREFIX}/x.onnx", Allowed.parse([str(tmp_path)]), tmp_path)


def test_paths_are_compared_past_all_links_by_component(tmp_path: Path) -> None:
    inside, sibling = tmp_path / "m", tmp_path / "m-evil"
    for directory in (inside, sibling):
        directory.mkdir()
        (directory / "x.onnx").write_bytes(b"x")
    (inside / "link").symlink_to(sibling)
    (tmp_path / "alias").symlink_to(inside)
    allowed = Allowed.parse([str(inside)])
    assert download(f"{tmp_path}/alias/x.onnx", allowed, tmp_path) == inside / "x.onnx"
    for source in (f"{sibling}/x.onnx", f"{inside}/link/x.onnx", f"{inside}/../m-evil/x.onnx", "m/x.onnx", "/m\0"):
        with pytest.raises(SourceRefusedError):
            download(source, allowed, tmp_path)
    with pytest.raises(NotFoundError):
        download(f"{inside}/nothing", allowed, tmp_path)


def test_links_beside_a_model_do_not_lead_out(tmp_path: Path, models: Path) -> None:
    package, secret = tmp_path / "allowed" / "package", tmp_path / "secret"
    package.mkdir(parents=True)
    secret.mkdir()
    model = next((models / "ONNX" / "cnn_dynamic_dims" / "model").glob("*.onnx"))
    (secret / "m.onnx").write_bytes(model.read_bytes())
    (secret / "ormbfile.yaml").write_text("format: ONNX\n")
    allowed = Allowed.parse([str(tmp_path / "allowed")])
    (package / "ormbfile.yaml").write_text("format: ONNX\n")
    (package / "model").symlink_to(secret)
    with pytest.raises(SourceRefusedError):
        check_files(package, allowed)
    (package / "model").unlink()
    (package / "model").mkdir()
    (package / "model" / "m.onnx").write_bytes(model.read_bytes())
    check_files(package, allowed)
    (package / "ormbfile.yaml").unlink()
    (package / "ormbfile.yaml").symlink_to(secret / "ormbfile.yaml")
    with pytest.raises(SourceRefusedError):
        check_files(package, allowed)


def test_a_file_comes_under_the_name_in_its_address(tmp_path: Path, transport: Transport) -> None:
    with serving_body() as (server, allowed):
        path = download(f"http://{server.host}/released/re%20s.onnx?key=s3cret", allowed, tmp_path, transport=transport)
    assert path == tmp_path / "re s.onnx"
    assert path.read_bytes() == BODY


@pytest.mark.parametrize("url", ["released/", "released/" + "x" * 256])
def test_an_address_without_a_name_for_a_file_is_refused(url: str, tmp_path: Path) -> None:
    with serving_body() as (server, allowed), pytest.raises(SourceRefusedError):
        download(f"http://{server.host}/{url}", allowed, tmp_path)


def test_a_transfer_that_breaks_goes_on_where_it_broke(tmp_path: Path, transport: Transport) -> None:
    def script(exchange: Exchange) -> None:
        start = int((exchange.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        assert not start or exchange.headers["If-Range"] == '"one"'
        headers = {"ETag": '"one"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        exchange.begin(206 if start else 200, len(BODY) - start, headers)
        exchange.wfile.write(BODY[start : start + 700_000])
        if start + 700_000 < len(BODY):
            exchange.hang_up()

    with serving_script(script) as (server, allowed):
        path = download(f"http://{server.host}/x.onnx", allowed, tmp_path, transport=transport)
        assert path.read_bytes() == BODY
        assert len(server.requests) == 3


def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(tmp_path: Path, transport: Transport) -> None:
    new = BODY[::-1]
    answers = iter([(BODY, 700_000, '"one"'), (new, len(new), '"two"')])

    def script(exchange: Exchange) -> None:
        body, sent, etag = next(answers)
        exchange.begin(200, len(body), {"ETag": etag})
        exchange.wfile.write(body[:sent])
        exchange.hang_up()

    with serving_script(script) as (server, allowed):
        path = download(f"http://{server.host}/x.onnx", allowed, tmp_path, transport=transport)
    assert path.read_bytes() == new


def test_a_server_that_always_breaks_off_is_worth_another_try_later(tmp_path: Path, transport: Transport) -> None:
    def script(exchange: Exchange) -> None:
        exchange.begin(200, len(BODY))
        exchange.wfile.write(BODY[:1000])
        exchange.hang_up()

    with serving_script(script) as (server, allowed), pytest.raises(SourceUnavailableError, match="broke") as raised:
        download(f"http://{server.host}/x.onnx", allowed, tmp_path, transport=transport)
    assert raised.value.exit_code == 75


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, NotFoundError), (410, NotFoundError), (401, SourceRefusedError), (403, SourceRefusedError),
        (204, SourceRefusedError), (503, SourceUnavailableError), (429, SourceUnavailableError),
    ],
)  # fmt: skip
def test_what_a_server_answers_is_permanent_or_temporary(
    status: int, kind: type[Exception], tmp_path: Path, transport: Transport
) -> None:
    with serving_script(lambda exchange: exchange.reply(status)) as (server, allowed), pytest.raises(kind) as raised:
        download(f"http://{server.host}/x.onnx?signature=s3cret", allowed, tmp_path, transport=transport)
    assert "s3cret" not in str(raised.value)


def test_a_server_that_is_away_is_temporary(tmp_path: Path, transport: Transport) -> None:
    with pytest.raises(SourceUnavailableError, match=r"cannot reach 127\.0\.0\.1:9: connection refused"):
        download("http://127.0.0.1:9/x", Allowed.parse(["http://127.0.0.1:9/"]), tmp_path, transport=transport)


def test_redirects_lead_where_sources_may_come_from_or_nowhere(tmp_path: Path, transport: Transport) -> None:
    with serving_body() as (elsewhere, _):
        targets = {
            "/released/near": "far.onnx",
            "/released/out": "/secret/x.onnx",
            "/released/away": f"http://{elsewhere.host}/released/x.onnx",
            "/released/local": "file:///etc/passwd",
            "/released/round": "/released/round",
            "/released/none": "",
        }

        def script(exchange: Exchange) -> None:
            if exchange.path in targets:
                exchange.reply(302, headers={"Location": targets[exchange.path]})
            else:
                exchange.reply(200, BODY)

        with fake(script) as server:
            allowed = Allowed.parse([f"http://{server.host}/released"])
            base = f"http://{server.host}/released"
            assert download(f"{base}/near", allowed, tmp_path, transport=transport).read_bytes() == BODY
            for name in ("out", "away", "local", "round", "none"):
                with pytest.raises(SourceRefusedError, match="is redirected"):
                    download(f"{base}/{name}", allowed, tmp_path, transport=transport)
        assert elsewhere.requests == []


@pytest.mark.parametrize("announced", [True, False])
def test_more_than_the_limit_is_not_taken(announced: bool, tmp_path: Path, transport: Transport) -> None:
    def script(exchange: Exchange) -> None:
        if announced:
            exchange.reply(200, BODY)
            return
        exchange.send_response(200)
        exchange.end_headers()
        exchange.wfile.write(BODY)
        exchange.hang_up()

    with serving_script(script) as (server, allowed), pytest.raises(LimitExceededError):
        download(f"http://{server.host}/x", allowed, tmp_path, limit=1 << 20, transport=transport)
    assert (tmp_path / "x").stat().st_size <= 1 << 20


def packed(folder: Path, name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder, arcname=name)
    return buffer.getvalue()


@pytest.mark.parametrize("ending", [".tar", ".tar.gz", ".tgz"])
def test_an_archive_gives_the_package_that_it_holds(
    ending: str, tmp_path: Path, models: Path, transport: Transport
) -> None:
    data = packed(models / "ONNX" / "cnn_dynamic_dims" / "model", "net/model")
    with serving_body(data if ending == ".tar" else gzip.compress(data)) as (server, allowed):
        path = download(f"http://{server.host}/released/net{ending}", allowed, tmp_path, transport=transport)
    assert recognise(path).format.id == "ONNX"
    assert [entry.name for entry in tmp_path.iterdir()] == ["unpacked"]


def test_an_archive_that_leaves_its_directory_is_refused(tmp_path: Path, transport: Transport) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../evil"))
    with serving_body(buffer.getvalue()) as (server, allowed), pytest.raises(ArchiveError, match="evil"):
        download(f"http://{server.host}/released/x.tar", allowed, tmp_path, transport=transport)
    assert not list(tmp_path.parent.glob("evil"))
