"""A registry as a store, against the CNCF registries themselves."""

import hashlib
import json
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from registries import PASSWORD, QUICK, USER, Registry, Start

from klever.steps.errors import (
    CorruptBlobError,
    InvalidReferenceError,
    ManifestError,
    NotFoundError,
    RegistryRefusedError,
    RegistryUnavailableError,
    UnauthorizedError,
)
from klever.steps.oci import media
from klever.steps.oci.credentials import Credentials
from klever.steps.oci.descriptor import Descriptor, Digest, digest_of
from klever.steps.oci.registry import RegistryStore, check_login

if TYPE_CHECKING:
    from klever.steps.oci.store import Store

pytestmark = pytest.mark.registry

MIB = 1 << 20


@pytest.fixture
def repository() -> str:
    return f"models/{uuid.uuid4().hex}"


@pytest.fixture
def store(registry: Registry) -> Iterator[RegistryStore]:
    with registry.store() as opened:
        yield opened


def manifest(config: Descriptor, *layers: Descriptor, **fields: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": media.MANIFEST, "config": config.to_json()}
    return json.dumps({**document, "layers": [layer.to_json() for layer in layers], **fields}).encode()


def push(store: RegistryStore, repository: str, *tags: str, **fields: Any) -> Descriptor:
    config = store.put_blob(repository, lambda: [b"{}"], expected=Descriptor.of(b"{}", media.CONFIG))
    data = manifest(config, **fields)
    for tag in tags:
        store.put_manifest(repository, data, media.MANIFEST, tag=tag)
    return store.put_manifest(repository, data, media.MANIFEST)


def test_the_store_is_one_by_the_protocol(registry: Registry) -> None:
    with registry.store() as store:
        typed: Store = store
        assert typed is store


@pytest.mark.parametrize("size", [0, 1, MIB, 9 * MIB + 17])
@pytest.mark.parametrize("known", [False, True])
def test_a_blob_comes_back_as_it_was_sent(store: RegistryStore, repository: str, size: int, known: bool) -> None:
    data = os.urandom(size)
    expected = Descriptor.of(data, "application/x") if known else None
    sent: list[int] = []
    chunks = [data[i : i + MIB] for i in range(0, size, MIB)]
    descriptor = store.put_blob(repository, lambda: chunks, expected=expected, progress=sent.append)
    assert (descriptor.digest, descriptor.size, sum(sent)) == (digest_of(data), size, size)
    assert store.has_blob(repository, descriptor.digest)
    got: list[int] = []
    assert b"".join(store.get_blob(repository, descriptor, progress=got.append)) == data
    assert sum(got) == size


def test_a_blob_that_is_there_is_not_sent_again(store: RegistryStore, repository: str) -> None:
    expected = store.put_blob(repository, lambda: [b"weights"])

    def fail() -> list[bytes]:
        raise AssertionError("the chunks were asked for")

    told: list[int] = []
    assert store.put_blob(repository, fail, expected=expected, progress=told.append) is expected
    assert told == [7]


@pytest.mark.parametrize("data", [b"weightz", b"weight", b"weights!"])
def test_bytes_that_differ_from_the_expected_are_refused(store: RegistryStore, repository: str, data: bytes) -> None:
    expected = Descriptor.of(b"weights", "application/x")
    with pytest.raises(CorruptBlobError):
        store.put_blob(repository, lambda: [data], expected=expected)
    assert not store.has_blob(repository, expected.digest)


def test_an_error_of_the_chunks_themselves_comes_through_and_ends_the_upload(
    store: RegistryStore, registry: Registry, repository: str
) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"x" * MIB
        raise OSError("disk on fire")

    with pytest.raises(OSError, match="disk on fire"):
        store.put_blob(repository, chunks)
    if registry.version != "2.8":  # which answers 404 to the removal of a torn upload
        assert not list(registry.root.rglob(f"{repository}/_uploads/*/data"))


def test_ranges_of_a_blob_are_read_without_the_rest(store: RegistryStore, repository: str) -> None:
    data = os.urandom(3 * MIB)
    descriptor = store.put_blob(repository, lambda: [data])
    source = store.blob_source(repository, descriptor)
    assert source is not None
    assert source.size == len(data)
    for offset, length in [(0, 4), (3, 100_000), (2 * MIB - 3, 7), (len(data) - 5, 50), (len(data), 9), (17, 0)]:
        assert source.read_at(offset, length) == data[offset : offset + length]
    source.close()


def test_a_blob_of_another_repository_is_mounted_and_an_unknown_one_is_not(
    store: RegistryStore, repository: str
) -> None:
    descriptor = store.put_blob(f"{repository}/from", lambda: [b"weights"])
    assert store.mount_blob(repository, descriptor, f"{repository}/from") is True
    assert store.has_blob(repository, descriptor.digest)
    assert store.mount_blob(repository, Descriptor.of(b"other", "application/x"), f"{repository}/from") is False


def test_a_manifest_comes_back_by_tag_and_by_digest(store: RegistryStore, repository: str) -> None:
    descriptor = push(store, repository, "v1", "v2")
    for reference in ("v1", "v2", descriptor.digest):
        stored = store.get_manifest(repository, reference)
        assert stored.descriptor == descriptor
        assert digest_of(stored.data) == descriptor.digest
    assert list(store.tags(repository)) == ["v1", "v2"]


def test_what_is_not_there_is_not_found(store: RegistryStore, repository: str) -> None:
    push(store, repository, "v1")
    absent = digest_of(b"absent")
    attempts: list[Callable[[], object]] = [
        lambda: store.get_manifest(repository, "v9"),
        lambda: store.get_manifest(repository, absent),
        lambda: list(store.get_blob(repository, Descriptor(media.LAYER, absent, 7))),
        lambda: store.blob_source(repository, Descriptor(media.LAYER, absent, 7)),
        lambda: list(store.tags(f"{repository}/none")),
        lambda: store.delete(repository, absent),
    ]
    for attempt in attempts:
        with pytest.raises(NotFoundError, match="there is no"):
            attempt()
    assert not store.has_blob(repository, absent)
    assert not list(store.referrers(repository, absent))


def test_a_manifest_without_its_blobs_is_refused_in_the_registrys_words(store: RegistryStore, repository: str) -> None:
    data = manifest(Descriptor.of(b"never sent", media.CONFIG))
    with pytest.raises((RegistryRefusedError, NotFoundError), match="MANIFEST_BLOB_UNKNOWN"):
        store.put_manifest(repository, data, media.MANIFEST, tag="v1")


def test_names_that_are_no_names_never_reach_the_registry(store: RegistryStore) -> None:
    for attempt in (
        lambda: store.get_manifest("../../etc", "v1"),
        lambda: store.get_manifest("models/x", "../v1"),
        lambda: store.get_manifest("models/x", "sha256:zz"),
        lambda: store.has_blob("models/x", Digest("sha256:../x")),
        lambda: store.delete("models/x", "v1?x=y"),
    ):
        with pytest.raises(InvalidReferenceError):
            attempt()


def test_repositories_are_listed_by_prefix(store: RegistryStore, repository: str) -> None:
    for name in ("b", "a"):
        push(store, f"{repository}/{name}", "v1")
    assert list(store.repositories(repository)) == [f"{repository}/a", f"{repository}/b"]
    assert f"{repository}/a" in list(store.repositories())


def test_a_digest_is_deleted_with_its_tags(store: RegistryStore, repository: str) -> None:
    descriptor = push(store, repository, "v1")
    store.delete(repository, descriptor.digest)
    with pytest.raises(NotFoundError):
        store.get_manifest(repository, descriptor.digest)


def test_deleting_a_tag_never_deletes_another(store: RegistryStore, registry: Registry, repository: str) -> None:
    descriptor = push(store, repository, "v1", "v2")
    if registry.version == "2.8":
        with pytest.raises(RegistryRefusedError, match="cannot remove a tag alone") as refused:
            store.delete(repository, "v1")
        assert "by its digest" in refused.value.next_step
    else:
        store.delete(repository, "v1")
        assert list(store.tags(repository)) == ["v2"]
    assert store.get_manifest(repository, "v2").descriptor == descriptor


def test_a_registry_that_forbids_deletion_says_so(start_registry: Start) -> None:
    with start_registry(delete=False).store() as store:
        descriptor = push(store, "models/x", "v1")
        for reference in ("v1", descriptor.digest):
            with pytest.raises(RegistryRefusedError, match="does not remove manifests") as refused:
                store.delete("models/x", reference)
            assert "delete" in refused.value.next_step
        assert list(store.tags("models/x")) == ["v1"]


def test_referrers_are_listed_and_unlisted_where_the_registry_has_no_api_for_them(
    store: RegistryStore, repository: str
) -> None:
    subject = push(store, repository, "v1")
    first = push(store, repository, subject=subject.to_json(), artifactType="application/x.certificate")
    second = push(store, repository, subject=subject.to_json(), annotations={"kleveross.io/step": "convert"})
    again = push(store, repository, subject=subject.to_json(), artifactType="application/x.certificate")
    assert again == first
    listed = list(store.referrers(repository, subject.digest))
    assert [one.digest for one in listed] == [first.digest, second.digest]
    assert [one.artifact_type for one in listed] == ["application/x.certificate", media.CONFIG]
    assert listed[1].annotations == {"kleveross.io/step": "convert"}
    assert list(store.tags(repository)) == ["v1"]
    store.delete(repository, first.digest)
    assert [one.digest for one in store.referrers(repository, subject.digest)] == [second.digest]


def test_a_store_serves_several_threads(store: RegistryStore, repository: str) -> None:
    blobs = [os.urandom(2 * MIB) for _ in range(6)]
    results: dict[int, bytes] = {}

    def work(number: int) -> None:
        descriptor = store.put_blob(repository, lambda: [blobs[number]])
        results[number] = b"".join(store.get_blob(repository, descriptor))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[number] for number in range(6)] == blobs


def test_a_download_that_is_given_up_leaves_the_store_usable(store: RegistryStore, repository: str) -> None:
    descriptor = store.put_blob(repository, lambda: [bytes(MIB)] * 12)
    chunks = store.get_blob(repository, descriptor)
    next(chunks)
    chunks.close()
    whole = hashlib.sha256(b"".join(store.get_blob(repository, descriptor))).hexdigest()
    assert descriptor.digest == f"sha256:{whole}"


# TLS and passwords


def test_a_registry_of_a_private_authority_works_with_its_certificate(tls_registry: Registry, repository: str) -> None:
    with tls_registry.store() as store:
        data = os.urandom(5 * MIB)
        descriptor = store.put_blob(repository, lambda: [data])
        assert b"".join(store.get_blob(repository, descriptor)) == data
        source = store.blob_source(repository, descriptor)
        assert source is not None
        assert source.read_at(4 * MIB, 10) == data[4 * MIB : 4 * MIB + 10]
        push(store, repository, "v1")
        assert list(store.tags(repository)) == ["v1"]


def test_the_authority_may_come_from_the_environment(tls_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls_registry.ca_file))
    with tls_registry.store(ca_file=None, plain_http=False) as store:
        store.ping()


def test_an_unknown_authority_is_refused_unless_that_is_wanted(tls_registry: Registry) -> None:
    with tls_registry.store(ca_file=None) as store, pytest.raises(RegistryRefusedError, match="certificate") as refused:
        store.ping()
    assert "SSL_CERT_FILE" in refused.value.next_step
    with tls_registry.store(ca_file=None, insecure=True) as store:
        store.ping()


def test_tls_to_a_plain_registry_names_the_flag(registry: Registry) -> None:
    with registry.store(plain_http=False) as store, pytest.raises(RegistryRefusedError, match="TLS") as refused:
        store.ping()
    assert "--plain-http" in refused.value.next_step


def test_plain_http_to_a_tls_registry_names_the_flag(tls_registry: Registry) -> None:
    with tls_registry.store(plain_http=True) as store, pytest.raises(RegistryRefusedError) as refused:
        store.ping()
    assert "--plain-http" in refused.value.next_step


@pytest.mark.parametrize("credentials", [None, Credentials(USER, "wrong"), Credentials("mallory", PASSWORD)])
def test_without_the_right_password_nothing_goes(tls_registry: Registry, credentials: Credentials | None) -> None:
    with tls_registry.store(credentials=credentials) as store:
        for attempt in (
            store.ping,
            lambda: store.get_manifest("models/x", "v1"),
            lambda: store.put_blob("models/x", lambda: [b"x"]),
        ):
            with pytest.raises(UnauthorizedError) as refused:
                attempt()
            assert refused.value.next_step.endswith(f"klever login {tls_registry.host}")


def test_a_log_in_is_checked(tls_registry: Registry, token_registry: Registry) -> None:
    for registry in (tls_registry, token_registry):
        options: Any = {"plain_http": registry.plain_http, "ca_file": registry.ca_file, "retry": QUICK}
        check_login(registry.host, USER, PASSWORD, **options)
        with pytest.raises(UnauthorizedError) as refused:
            check_login(registry.host, USER, "not the secret", **options)
        assert "not the secret" not in str(refused.value)


# Tokens


def test_tokens_are_asked_for_with_the_scopes_of_the_work_and_kept(token_registry: Registry, repository: str) -> None:
    server = token_registry.token_server
    assert server is not None
    with token_registry.store() as store:
        server.requests.clear()
        descriptor = store.put_blob(repository, lambda: [bytes(MIB)] * 2)
        push(store, repository, "v1")
        list(store.get_blob(repository, descriptor))
        assert list(store.tags(repository)) == ["v1"]
        assert [query["scope"] for _method, query, _user in server.requests] == [[f"repository:{repository}:pull,push"]]
        assert store.mount_blob(f"{repository}/to", descriptor, repository)
        assert set(server.requests[-1][1]["scope"]) == {
            f"repository:{repository}/to:pull,push",
            f"repository:{repository}:pull",
        }
        assert list(store.repositories(repository))
        store.delete(repository, store.get_manifest(repository, "v1").descriptor.digest)


def test_an_identity_token_is_exchanged(token_registry: Registry, repository: str) -> None:
    server = token_registry.token_server
    assert server is not None
    server.requests.clear()
    with token_registry.store(credentials=Credentials(identity_token=server.identity_token)) as store:
        push(store, repository, "v1")
    method, parameters, authorization = server.requests[0]
    assert (method, authorization, parameters["grant_type"]) == ("POST", "", ["refresh_token"])
    with (
        token_registry.store(credentials=Credentials(identity_token="stale")) as store,
        pytest.raises(UnauthorizedError) as refused,
    ):
        store.get_manifest(repository, "v1")
    assert "stale" not in str(refused.value)


def test_a_stranger_pulls_what_is_public_and_nothing_else(token_registry: Registry) -> None:
    repository = f"public/{uuid.uuid4().hex}"
    with token_registry.store() as store:
        push(store, repository, "v1")
    with token_registry.store(credentials=None) as store:
        store.get_manifest(repository, "v1")
        for attempt in (
            lambda: store.put_blob(repository, lambda: [b"x"]),
            lambda: list(store.tags("private/x")),
            lambda: list(store.repositories()),
        ):
            with pytest.raises(UnauthorizedError) as refused:
                attempt()
            assert refused.value.next_step


def test_a_token_that_expired_is_renewed(start_registry: Start) -> None:
    registry = start_registry(token=True)
    assert registry.token_server is not None
    registry.token_server.life_seconds = 1
    with registry.store() as store:
        push(store, "models/x", "v1")
        asked = len(registry.token_server.requests)
        threading.Event().wait(1.1)
        assert list(store.tags("models/x")) == ["v1"]
        assert len(registry.token_server.requests) > asked


def test_a_registry_that_is_not_there_is_a_temporary_failure() -> None:
    with (
        RegistryStore("127.0.0.1:1", plain_http=True, credentials=None, retry=QUICK) as store,
        pytest.raises(RegistryUnavailableError, match="refused") as failed,
    ):
        store.ping()
    assert failed.value.exit_code == 75


def test_a_manifest_that_is_too_large_is_not_sent_round(store: RegistryStore, repository: str) -> None:
    config = store.put_blob(repository, lambda: [b"{}"])
    data = manifest(config, annotations={"x": "y" * (5 << 20)})
    with pytest.raises((RegistryRefusedError, ManifestError)):
        store.put_manifest(repository, data, media.MANIFEST, tag="v1")
