"""Packing: what other tools read, determinism, what is stored and what is deflated."""

import gzip
import hashlib
import io
import json
import random
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klever.steps.errors import ArchiveError, StorageError
from klever.steps.files import BytesSource, FileSource
from klever.steps.oci import tar
from klever.steps.oci.archive import STORED_BYTES, Archive, IndexEntry, LayerIndex, PackMember
from klever.steps.oci.unpack import unpack

RANDOM = random.Random(7).randbytes(3 * STORED_BYTES + 1000)
TEXT = b"".join(b"<Field name='x%d' value='%d'/>\n" % (n, n * n % 977) for n in range(60_000))


def packed(contents: dict[str, bytes]) -> tuple[bytes, LayerIndex]:
    members = [PackMember(path, len(data), lambda data=data: BytesSource(data)) for path, data in contents.items()]
    archive = Archive(members)
    return b"".join(archive.chunks()), archive.index


CONTENTS = {
    "model/m.onnx": RANDOM,
    "model/net.pmml": TEXT,
    "model/empty": b"",
    "model/" + "d" * 120 + "/" + "f" * 150: b"long",
    "model/模型.json": b"{}",
    "model/full": RANDOM[:STORED_BYTES],
    "model/block": RANDOM[:512],
    "model/zeros": bytes(2 << 20),
}


def test_pythons_tarfile_reads_what_is_packed() -> None:
    data, _ = packed(CONTENTS)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as file:
        members = file.getmembers()
        assert {m.name: file.extractfile(m).read() for m in members} == CONTENTS
        assert {(m.mode, m.uid, m.gid, m.mtime, m.type) for m in members} == {(0o644, 0, 0, 0, tarfile.REGTYPE)}
        assert [m.name for m in members] == list(CONTENTS)


def test_gnu_tar_and_gzip_accept_what_is_packed(tmp_path: Path) -> None:
    data, _ = packed(CONTENTS)
    path = tmp_path / "layer.tar.gz"
    path.write_bytes(data)
    subprocess.run(["gzip", "-t", str(path)], check=True)
    listing = subprocess.run(["tar", "tzf", str(path)], check=True, capture_output=True, text=True)
    assert not listing.stderr
    assert len(listing.stdout.splitlines()) == len(CONTENTS)
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "xzf", str(path), "-C", str(out)], check=True)
    assert {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()} == CONTENTS


def test_the_same_files_make_the_same_bytes_again() -> None:
    members = [PackMember(path, len(data), lambda data=data: BytesSource(data)) for path, data in CONTENTS.items()]
    archive = Archive(members)
    first, second = b"".join(archive.chunks()), b"".join(archive.chunks())
    assert first == second == packed(CONTENTS)[0]
    assert archive.size == sum(map(len, CONTENTS.values()))


def test_what_is_packed_is_unpacked(tmp_path: Path) -> None:
    data, _ = packed(CONTENTS)
    unpack([data], tmp_path)
    assert {p.relative_to(tmp_path).as_posix(): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == CONTENTS


def test_text_is_deflated_and_weights_are_stored() -> None:
    data, index = packed(CONTENTS)
    kinds = {entry.path: entry.packed for entry in index.entries}
    assert [path for path, length in kinds.items() if length is not None] == ["model/net.pmml"]
    assert (kinds["model/net.pmml"] or 0) < len(TEXT) / 3
    assert len(data) < len(RANDOM) + STORED_BYTES + len(TEXT) / 3 + (2 << 20) + 16_384


def test_a_text_with_a_run_of_zeros_stays_far_from_a_bomb() -> None:
    mixed = TEXT[: 1 << 20] + bytes(8 << 20) + TEXT[: 1 << 20] + bytes(8 << 20) + TEXT[: 1 << 20]
    data, _ = packed({"model/mixed.json": mixed})
    assert gzip.decompress(data)[512 : 512 + len(mixed)] == mixed
    assert len(mixed) < 100 * len(data)


def test_chunks_are_small_and_few() -> None:
    big = RANDOM * 60
    sizes = [len(chunk) for chunk in Archive([PackMember("model/w", len(big), lambda: BytesSource(big))]).chunks()]
    assert max(sizes) < 3 << 20
    assert len(sizes) < 2 + len(big) / (1 << 19)


@pytest.mark.parametrize("actual", [b"shorter", b"much longer than was said"])
def test_a_file_that_changes_its_size_is_an_error(actual: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m"
    path.write_bytes(b"0123456789")
    archive = Archive([PackMember("model/m", 10, lambda: FileSource(path))])
    path.write_bytes(actual)
    with pytest.raises(StorageError, match="changed while it was packed"):
        list(archive.chunks())


class GrowingSource(BytesSource):
    """A file that another process appends to after it was opened."""

    def __init__(self, data: bytes, seen: int) -> None:
        super().__init__(data)
        self.size = seen


@pytest.mark.parametrize("seen", [5, 15])
def test_a_file_that_changes_after_it_was_opened_is_an_error(seen: int) -> None:
    archive = Archive([PackMember("model/m", seen, lambda: GrowingSource(b"0123456789", seen))])
    with pytest.raises(StorageError, match="changed while it was packed"):
        list(archive.chunks())


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "./a", "a\\b", "a\nb", "", "x" * 256, "a/."])
def test_paths_that_unpacking_would_refuse_are_not_packed(path: str) -> None:
    with pytest.raises(ArchiveError):
        Archive([PackMember(path, 0, lambda: BytesSource(b""))])


def test_a_path_given_twice_is_not_packed() -> None:
    with pytest.raises(ArchiveError, match="twice"):
        Archive([PackMember("model/a", 0, lambda: BytesSource(b""))] * 2)


def test_headers_beyond_eight_gib_are_what_others_write_and_we_read() -> None:
    size = (8 << 30) + 5
    header = tar.build_header("model/huge", size)
    info = tarfile.TarFile(fileobj=io.BytesIO(header + bytes(1024))).next()
    assert info is not None
    assert (info.name, info.size) == ("model/huge", size)
    written = tarfile.TarInfo("model/huge")
    written.size = size
    for fmt in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        parser, at, found = tar.HeaderParser(), 0, None
        data = written.tobuf(fmt)
        while found is None:
            part = data[at : at + parser.wanted]
            at += len(part)
            found = parser.feed(part)
        assert found == tar.Member("model/huge", size)


def test_the_index_survives_its_annotation() -> None:
    _, index = packed(CONTENTS)
    text = index.to_annotation()
    assert LayerIndex.from_annotation(text) == index
    assert index.complete
    assert "\n" not in text


def test_the_annotation_stays_small_for_many_files() -> None:
    entries = tuple(IndexEntry(f"model/part-{n:05}" + "x" * 200, 1, n) for n in range(5000))
    text = LayerIndex(entries, len(entries)).to_annotation()
    assert len(text) < 64 * 1024
    short = LayerIndex.from_annotation(text)
    assert short is not None
    assert not short.complete
    assert short.entries == entries[: len(short.entries)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"v":2,"n":0,"m":[]}',
        '{"v":1,"n":0,"m":[["a",1,2]]}',
        '{"v":1,"n":1,"m":[["a",-1,2]]}',
        '{"v":1,"n":1,"m":[["a",1]]}',
        '{"v":1,"n":1,"m":[["a",1,2,3,4]]}',
        '{"v":1,"n":1,"m":[["a",true,2]]}',
        '{"v":1,"n":1,"m":[["a",1,2,-3]]}',
        '{"v":1,"n":2,"m":[["a",1,2],["a",1,2]]}',
        '{"v":1,"n":"2","m":[]}',
        '{"v":1,"n":1,"m":7}',
        '{"v":1,"m":' + "[" * 20_000,
        json.dumps({"v": 1, "n": 1, "m": [["a" * 100_000, 1, 2]]}),
    ],
)
def test_a_malformed_index_is_no_index(text: str) -> None:
    assert LayerIndex.from_annotation(text) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200_000), st.sampled_from(["random", "text", "zeros"])), max_size=6))
def test_any_files_come_back(files: list[tuple[int, str]]) -> None:
    pools = {"random": RANDOM + RANDOM[:3000], "text": TEXT, "zeros": bytes(200_000)}
    contents = {f"model/{n}": pools[kind][:size] for n, (size, kind) in enumerate(files)}
    data, index = packed(contents)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as file:
        assert {m.name: file.extractfile(m).read() for m in file.getmembers()} == contents
    assert [(e.path, e.size) for e in index.entries] == [(p, len(d)) for p, d in contents.items()]
    assert hashlib.sha256(data).digest() == hashlib.sha256(packed(contents)[0]).digest()
