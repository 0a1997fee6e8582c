"""The layout store: other tools read it, many processes write it, and kills leave nothing half done."""

import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from klever.steps.errors import (
    AlreadyExistsError,
    CorruptBlobError,
    InvalidReferenceError,
    KleverError,
    ManifestError,
    NotFoundError,
    StorageError,
    TransferError,
)
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor, Digest, digest_of
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.manifest import build_manifest

NOWHERE = Digest("sha256:" + "0" * 64)
skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def publish(store: LayoutStore, repository: str, tag: str | None, content: bytes, **more: object) -> Descriptor:
    config = store.put_blob(repository, lambda: [b'{"format":"ONNX"}'])
    layer = store.put_blob(repository, lambda: [content[at : at + 1000] for at in range(0, len(content), 1000)])
    manifest = build_manifest(
        Descriptor(media.CONFIG, config.digest, config.size),
        Descriptor(media.LAYER, layer.digest, layer.size),
        **more,
    )
    return store.put_manifest(repository, manifest, media.MANIFEST, tag=tag)


def age(store: LayoutStore, seconds: float = 10_000) -> None:
    """Make every blob look as if it had been written long ago."""
    then = time.time() - seconds
    for path in (store.directory / "blobs").rglob("*"):
        os.utime(path, (then, then))


def blobs(store: LayoutStore) -> set[str]:
    return {"sha256:" + path.name for path in (store.directory / "blobs/sha256").iterdir()}


def left_over(store: LayoutStore) -> list[str]:
    return sorted(name for name in names(store.directory / ".klever") if name != "lock")


@pytest.fixture
def store(tmp_path: Path) -> LayoutStore:
    return LayoutStore(tmp_path / "store")


def test_what_is_put_is_got(store: LayoutStore) -> None:
    content = random.Random(1).randbytes(3 << 20)
    descriptor = publish(store, "release/mnist", "v1", content)
    found = store.get_manifest("release/mnist", "v1")
    assert found.descriptor.digest == descriptor.digest == digest_of(found.data)
    assert store.get_manifest("release/mnist", descriptor.digest).data == found.data
    layer = Descriptor.from_json(json.loads(found.data)["layers"][0], "layer")
    counts: list[int] = []
    assert b"".join(store.get_blob("release/mnist", layer, progress=counts.append)) == content
    assert sum(counts) == len(content)
    source = store.blob_source("release/mnist", layer)
    assert source is not None
    assert source.read_at(1000, 50) == content[1000:1050]
    source.close()
    assert store.has_blob("release/mnist", layer.digest)
    assert not store.has_blob("release/mnist", NOWHERE)
    assert store.mount_blob("other", layer, "release/mnist")
    assert store.check() == ()


def test_it_is_a_layout_by_the_specification(store: LayoutStore) -> None:
    publish(store, "release/mnist", "v1", b"layer")
    directory = store.directory
    assert json.loads((directory / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((directory / "index.json").read_bytes())
    assert index["schemaVersion"] == 2
    assert [e["annotations"] for e in index["manifests"]] == [{media.REF_NAME: "release/mnist:v1"}]
    for path in (directory / "blobs/sha256").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert stat.S_IMODE((directory / "index.json").stat().st_mode) == 0o644
    assert stat.S_IMODE((directory / ".klever").stat().st_mode) == 0o700
    assert left_over(store) == []


@skopeo
def test_skopeo_reads_and_copies_it(store: LayoutStore, tmp_path: Path) -> None:
    publish(store, "release/mnist", "v1", b"layer")
    publish(store, "", "plain", b"layer two")
    for name in ("release/mnist:v1", "plain"):
        raw = subprocess.run(
            ["skopeo", "inspect", "--raw", f"oci:{store.directory}:{name}"], capture_output=True, check=True
        ).stdout
        repository, _, tag = name.rpartition(":")
        assert raw == store.get_manifest(repository, tag).data
        subprocess.run(
            ["skopeo", "copy", "-q", f"oci:{store.directory}:{name}", f"oci:{tmp_path}/copy:{name}"], check=True
        )
    copied = LayoutStore(tmp_path / "copy")
    assert copied.get_manifest("release/mnist", "v1").data == store.get_manifest("release/mnist", "v1").data
    assert list(copied.repositories()) == ["", "release/mnist"]
    assert copied.check() == ()
    # And what skopeo adds to ours is there beside our own.
    subprocess.run(
        ["skopeo", "copy", "-q", f"oci:{tmp_path}/copy:plain", f"oci:{store.directory}:release/mnist:v2"], check=True
    )
    publish(store, "release/mnist", "v3", b"layer three")
    assert list(store.tags("release/mnist")) == ["v1", "v2", "v3"]
    assert store.check() == ()


def test_the_original_tools_layout_is_read_without_writing(shared: Path) -> None:
    store = LayoutStore(shared / "samples/ormb-artifacts")
    assert list(store.repositories()) == [""]
    assert list(store.tags("")) == ["pmml-model-v1", "savedmodel-fashion-v1", "sklearn-model-v1"]
    found = store.get_manifest("", "sklearn-model-v1")
    assert found.descriptor.size == 334
    assert store.check() == ()


def test_a_read_only_layout_is_read(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"layer")
    shutil.rmtree(store.directory / ".klever")
    before = sorted(store.directory.rglob("*"))
    reader = LayoutStore(store.directory)
    assert list(reader.tags("a")) == ["v1"]
    assert reader.get_manifest("a", "v1")
    assert list(reader.referrers("a", NOWHERE)) == []
    assert reader.check() == ()
    assert sorted(store.directory.rglob("*")) == before


def test_a_missing_directory_is_not_found_by_reading_and_made_by_writing(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path / "deep" / "er")
    for read in (
        lambda: store.get_manifest("a", "v1"),
        lambda: list(store.tags("a")),
        lambda: list(store.repositories()),
        lambda: store.delete("a", "v1"),
        store.gc,
        lambda: list(store.get_blob("a", Descriptor("", NOWHERE, 1))),
    ):
        with pytest.raises(NotFoundError):
            read()
    assert not store.directory.exists()
    publish(store, "a", "v1", b"layer")
    assert list(store.tags("a")) == ["v1"]


def test_a_directory_of_other_things_is_not_made_a_layout(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(AlreadyExistsError, match="not an OCI image layout"):
        publish(LayoutStore(tmp_path), "a", "v1", b"")
    assert names(tmp_path) == ["photo.jpg"]


def test_what_other_tools_wrote_survives(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"layer")
    path = store.directory / "index.json"
    document = json.loads(path.read_bytes())
    image = b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}'
    child = store.put_blob("a", lambda: [image])
    nested = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.INDEX,
            "manifests": [{"mediaType": media.MANIFEST, "digest": child.digest, "size": child.size}],
        }
    ).encode()
    parent = store.put_blob("a", lambda: [nested])
    foreign = [
        {
            "mediaType": media.INDEX,
            "digest": parent.digest,
            "size": parent.size,
            "platform": {"os": "linux"},
            "annotations": {"x": "y", media.REF_NAME: "docker.io/library/busybox:latest"},
        },
        {"unknown": True},
        {"mediaType": media.MANIFEST, "digest": child.digest, "size": child.size},
    ]
    document["manifests"] += foreign
    document["org.example"] = {"kept": 1}
    path.write_text(json.dumps(document))
    publish(store, "a", "v2", b"layer two")
    store.delete("a", "v1")
    written = json.loads(path.read_bytes())
    assert written["org.example"] == {"kept": 1}
    assert [entry for entry in written["manifests"] if entry in foreign] == foreign
    assert store.get_manifest("docker.io/library/busybox", "latest").data == nested
    assert store.get_manifest("docker.io/library/busybox", child.digest).data == image
    assert store.get_manifest("", child.digest).data == image
    age(store)
    store.gc()
    assert {child.digest, parent.digest} <= blobs(store)
    assert [p.name for p in store.check()] == ["index.json"]


def test_a_tag_moves_and_a_digest_stays_reachable_under_another(store: LayoutStore) -> None:
    first = publish(store, "a", "v1", b"one")
    publish(store, "a", "stable", b"one")
    second = publish(store, "a", "v1", b"two")
    assert store.get_manifest("a", "v1").descriptor.digest == second.digest
    assert store.get_manifest("a", first.digest).descriptor.digest == first.digest
    publish(store, "a", "stable", b"two")
    with pytest.raises(NotFoundError):
        store.get_manifest("a", first.digest)
    assert len(json.loads((store.directory / "index.json").read_bytes())["manifests"]) == 2


def test_manifests_without_a_tag_belong_to_their_repository(store: LayoutStore) -> None:
    subject = publish(store, "a", "v1", b"model")
    referrer = publish(store, "a", None, b"scan", subject=subject, annotations={"verdict": "clean"})
    publish(store, "a", None, b"scan", subject=subject, annotations={"verdict": "clean"})
    assert store.get_manifest("a", referrer.digest)
    with pytest.raises(NotFoundError):
        store.get_manifest("b", referrer.digest)
    assert list(store.tags("a")) == ["v1"]
    found = list(store.referrers("a", subject.digest))
    assert [(d.digest, d.artifact_type, d.annotations) for d in found] == [
        (referrer.digest, media.CONFIG, {"verdict": "clean"})
    ]
    publish(store, "a", "scan", b"scan", subject=subject, annotations={"verdict": "clean"})
    assert list(store.tags("a")) == ["scan", "v1"]
    assert len(list(store.referrers("a", subject.digest))) == 1
    assert list(store.referrers("b", subject.digest)) == []


def test_repositories_and_tags_are_sorted_and_filtered(store: LayoutStore) -> None:
    for repository, tag in (("b/x", "v2"), ("a", "v1"), ("b/x", "v1"), ("b/y", "v1")):
        publish(store, repository, tag, b"m")
    assert list(store.repositories()) == ["a", "b/x", "b/y"]
    assert list(store.repositories("b/")) == ["b/x", "b/y"]
    assert list(store.tags("b/x")) == ["v1", "v2"]
    with pytest.raises(NotFoundError):
        list(store.tags("b"))


def test_a_deleted_tag_leaves_the_others_and_a_deleted_digest_takes_them_along(store: LayoutStore) -> None:
    descriptor = publish(store, "a", "v1", b"m")
    publish(store, "a", "v2", b"m")
    publish(store, "b", "v1", b"m")
    store.delete("a", "v1")
    assert list(store.tags("a")) == ["v2"]
    with pytest.raises(NotFoundError):
        store.delete("a", "v1")
    store.delete("a", descriptor.digest)
    with pytest.raises(NotFoundError):
        list(store.tags("a"))
    assert list(store.tags("b")) == ["v1"]


@pytest.mark.parametrize(
    "reference", ["../../etc/passwd", "a/b", "sha256:../../../etc/passwd", "sha256:" + "A" * 64, "md5:" + "0" * 32, ""]
)
def test_a_digest_or_tag_is_never_a_path(store: LayoutStore, reference: str) -> None:
    publish(store, "a", "v1", b"m")
    for use in (
        lambda: store.get_manifest("a", reference),
        lambda: store.delete("a", reference),
        lambda: store.put_manifest("a", b"{}", media.MANIFEST, tag=reference),
        lambda: list(store.get_blob("a", Descriptor("", Digest(reference), 1))),
        lambda: store.has_blob("a", Digest(reference)),
    ):
        with pytest.raises(InvalidReferenceError):
            use()


def test_a_repository_name_is_checked(store: LayoutStore) -> None:
    with pytest.raises(InvalidReferenceError):
        publish(store, "../up", "v1", b"m")


def test_a_manifest_needs_its_blobs(store: LayoutStore) -> None:
    missing = Descriptor(media.LAYER, NOWHERE, 5)
    config = store.put_blob("a", lambda: [b"{}"])
    manifest = build_manifest(Descriptor(media.CONFIG, config.digest, config.size), missing)
    with pytest.raises(NotFoundError):
        store.put_manifest("a", manifest, media.MANIFEST, tag="v1")
    assert list(store.repositories()) == []
    # And its writer waits for nothing but the config, whose blob is there.
    with pytest.raises(NotFoundError):
        store.put_manifest("a", build_manifest(missing, missing), media.MANIFEST, tag="v1")
    assert LayoutStore(store.directory).gc(older_than=0).blobs == 0


def test_contradicting_manifests_are_refused(store: LayoutStore) -> None:
    for data in (b'{"manifests":[],"layers":[]}', b'{"mediaType":"x/y"}', b"[]", b"{", b'{"layers":[7]}'):
        with pytest.raises(ManifestError):
            store.put_manifest("a", data, media.MANIFEST, tag="v1")


def damage(store: LayoutStore, digest: str, data: bytes) -> None:
    (store.directory / "blobs" / digest.replace(":", "/")).write_bytes(data)


def test_damaged_blobs_are_noticed_on_reading_and_by_the_check(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"content")
    manifest = json.loads(store.get_manifest("a", "v1").data)
    layer = Descriptor.from_json(manifest["layers"][0], "layer")
    for data in (b"changed", b"short", b"much longer"):
        damage(store, layer.digest, data)
        with pytest.raises(CorruptBlobError):
            list(store.get_blob("a", layer))
        assert [(p.name, p.digest) for p in store.check()] == [("a:v1", layer.digest)]
    assert str(store.check()[0]).startswith("a:v1: ")
    store.put_blob("a", lambda: [b"content"])
    assert store.check() == ()
    damage(store, layer.digest, b"changed")
    assert store.put_blob("a", lambda: [b"content"], expected=layer) == layer
    assert store.check() == ()
    (store.directory / "blobs" / layer.digest.replace(":", "/")).unlink()
    assert [(p.name, p.digest) for p in store.check()] == [("a:v1", layer.digest)]


def test_a_damaged_manifest_stops_garbage_collection(store: LayoutStore) -> None:
    descriptor = publish(store, "a", "v1", b"content")
    age(store)
    damage(store, descriptor.digest, b"x" * descriptor.size)
    before = blobs(store)
    with pytest.raises(CorruptBlobError, match="garbage"):
        store.gc()
    with pytest.raises(CorruptBlobError):
        store.get_manifest("a", "v1")
    assert blobs(store) == before


def never() -> Iterator[bytes]:
    pytest.fail("the blob was read although it is there")
    yield b""


def test_a_blob_that_is_there_is_not_written_again(store: LayoutStore) -> None:
    descriptor = store.put_blob("a", lambda: [b"content"])
    path = store.directory / "blobs" / descriptor.digest.replace(":", "/")
    inode = path.stat().st_ino
    assert store.put_blob("b", never, expected=descriptor) == descriptor
    assert path.stat().st_ino == inode


def test_what_differs_from_what_was_expected_is_refused(store: LayoutStore) -> None:
    expected = Descriptor.of(b"content", media.LAYER)
    for data in (b"Content", b"cont", b"content and more", b""):
        with pytest.raises(TransferError):
            store.put_blob("a", lambda data=data: [data], expected=expected)
    assert blobs(store) == set()
    assert left_over(store) == []
    assert store.put_blob("a", lambda: [b"content"], expected=expected) == expected


def test_sha512_blobs_are_kept_beside(store: LayoutStore) -> None:
    digest = Digest("sha512:" + hashlib.sha512(b"content").hexdigest())
    expected = Descriptor(media.LAYER, digest, 7)
    store.put_blob("a", lambda: [b"content"], expected=expected)
    assert b"".join(store.get_blob("a", expected)) == b"content"


def test_an_error_of_the_sender_leaves_nothing(store: LayoutStore) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x" * (3 << 20)
        raise TransferError("cut")

    with pytest.raises(TransferError):
        store.put_blob("a", failing)
    assert blobs(store) == set()
    assert left_over(store) == []


def test_a_full_disk_is_a_temporary_error_and_leaves_nothing(tmp_path: Path) -> None:
    script = f"""
import resource, signal
from pathlib import Path
from klever.steps.errors import StorageError
from klever.steps.oci.layout import LayoutStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
store = LayoutStore(Path({str(tmp_path / "store")!r}))
try:
    store.put_blob("a", lambda: [bytes(1 << 19)] * 5)
except StorageError as error:
    print(error.exit_code, error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("75 ")
    store = LayoutStore(tmp_path / "store")
    assert blobs(store) == set()
    assert left_over(store) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root writes anywhere")
def test_a_read_only_directory_is_a_temporary_error(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"content")
    store.directory.chmod(0o500)
    (store.directory / "blobs/sha256").chmod(0o500)
    try:
        with pytest.raises(StorageError):
            publish(LayoutStore(store.directory), "a", "v2", b"more")
    finally:
        store.directory.chmod(0o700)
        (store.directory / "blobs/sha256").chmod(0o700)


def test_a_disk_that_refuses_is_a_temporary_error(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"content")
    shutil.rmtree(store.directory / ".klever")
    (store.directory / ".klever").touch()
    with pytest.raises(StorageError):
        publish(LayoutStore(store.directory), "a", "v2", b"more")
    assert list(LayoutStore(store.directory).tags("a")) == ["v1"]


# Garbage.


def test_garbage_is_collected_and_counted_and_the_rest_stays(store: LayoutStore) -> None:
    subject = publish(store, "a", "v1", b"one")
    publish(store, "a", None, b"scan", subject=subject)
    publish(store, "a", "v2", b"two" * 1000)
    store.delete("a", "v2")
    assert store.gc().blobs == 0
    age(store)
    before = blobs(store)
    collected = store.gc()
    assert collected.blobs == 2
    assert collected.bytes > 3000
    assert len(before) - len(blobs(store)) == 2
    assert store.check() == ()
    assert store.gc().blobs == 0


def test_a_subject_that_only_a_referrer_names_is_kept(store: LayoutStore) -> None:
    subject = publish(store, "a", "v1", b"one")
    publish(store, "a", "scan", b"scan", subject=subject)
    store.delete("a", "v1")
    age(store)
    assert store.gc(older_than=0).blobs == 0


def test_a_living_writers_blobs_survive_any_collection(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"one")
    writer = LayoutStore(store.directory)
    config = writer.put_blob("a", lambda: [b"{}"])
    layer = writer.put_blob("a", lambda: [b"unreferenced"])
    assert store.gc(older_than=0).blobs == 0
    manifest = build_manifest(
        Descriptor(media.CONFIG, config.digest, config.size), Descriptor(media.LAYER, layer.digest, layer.size)
    )
    writer.put_manifest("a", manifest, media.MANIFEST, tag="v2")
    assert left_over(store) == []
    store.delete("a", "v2")
    assert store.gc(older_than=0).blobs == 3
    assert store.check() == ()


def test_a_reused_old_blob_survives_a_collection(store: LayoutStore) -> None:
    old = LayoutStore(store.directory).put_blob("a", lambda: [b"old"])
    age(store)
    writer = LayoutStore(store.directory)
    assert writer.put_blob("a", never, expected=old) == old
    assert store.gc(older_than=0).blobs == 0
    del writer
    assert store.gc(older_than=0).blobs == 1


def test_a_writer_that_is_gone_protects_nothing(store: LayoutStore) -> None:
    writer = LayoutStore(store.directory)
    writer.put_blob("a", lambda: [b"unreferenced"])
    assert store.gc(older_than=0).blobs == 0
    del writer
    assert store.gc(older_than=0).blobs == 1
    assert left_over(store) == []


# Processes.

WRITER = """
import random, sys
from pathlib import Path
from klever.steps.oci import media
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.manifest import build_manifest
directory, name, rounds, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
store = LayoutStore(Path(directory))
print("ready", flush=True)
for n in range(rounds):
    config = store.put_blob("a", lambda: [b'{"format":"ONNX"}'])
    data = random.Random(f"{name}{n}").randbytes(size)
    layer = store.put_blob("a", lambda: (data[at : at + 65536] for at in range(0, size, 65536)))
    manifest = build_manifest(
        Descriptor(media.CONFIG, config.digest, config.size), Descriptor(media.LAYER, layer.digest, layer.size)
    )
    store.put_manifest("a", manifest, media.MANIFEST, tag=f"{name}-{n}")
    if n % 3 == 2:
        store.delete("a", f"{name}-{n - 1}")
        store.gc(older_than=0)
"""


def start(directory: Path, name: str, rounds: int, size: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", WRITER, str(directory), name, str(rounds), str(size)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


def test_eight_processes_write_and_collect_at_once(store: LayoutStore) -> None:
    writers = [start(store.directory, f"w{n}", 9, 30_000) for n in range(8)]
    for writer in writers:
        writer.communicate()
        assert writer.returncode == 0
    assert len(list(store.tags("a"))) == 8 * 6
    assert store.check() == ()
    assert left_over(store) == []
    store.gc(older_than=0)
    assert len(blobs(store)) == 1 + 2 * 48


def test_killed_writers_leave_a_sound_store(store: LayoutStore) -> None:
    chance = random.Random(3)
    publish(store, "a", "first", b"content")
    for n in range(20):
        writer = start(store.directory, f"k{n}", 500, 2 << 20)
        assert writer.stdout
        writer.stdout.readline()
        time.sleep(chance.uniform(0, 0.15))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert store.check() == ()
        assert "first" in list(store.tags("a"))
    publish(store, "a", "last", b"content")
    assert left_over(store) == []
    for tag in list(store.tags("a")):
        if tag not in ("first", "last"):
            store.delete("a", tag)
    store.gc(older_than=0)
    assert len(blobs(store)) == 3
    assert store.check() == ()


def test_a_writer_killed_while_it_makes_the_layout_does_not_block_the_next(tmp_path: Path) -> None:
    store = LayoutStore(tmp_path / "store")
    (store.directory / ".klever").mkdir(parents=True, mode=0o700)
    publish(store, "a", "v1", b"m")
    assert store.check() == ()


def test_any_index_bytes_give_a_typed_error_or_a_reading(store: LayoutStore) -> None:
    publish(store, "a", "v1", b"m")
    path = store.directory / "index.json"
    good = path.read_bytes()
    chance = random.Random(5)
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        path.write_bytes(data)
        try:
            list(store.repositories())
            list(store.referrers("a", NOWHERE))
            store.get_manifest("a", "v1")
        except KleverError:
            pass
    for data in (
        b"[" * 100_000,
        b'{"manifests":' + b"[" * 100_000,
        b'{"manifests":7}',
        b'{"manifests":[null,[],1]}',
        b"",
    ):
        path.write_bytes(data)
        with suppress(ManifestError):
            assert list(store.repositories()) == []
