"""Reading a model's files out of a layer in a store: by ranges, by walking, from a stream."""

import gzip
import io
import random
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from klever.steps.errors import ArchiveError, CorruptBlobError, KleverError, LimitExceededError, NotFoundError
from klever.steps.files import HEAD_BYTES, BytesSource, ModelFiles, Source, opened
from klever.steps.oci import media
from klever.steps.oci.archive import Archive, IndexEntry, LayerIndex, PackMember
from klever.steps.oci.descriptor import Descriptor
from klever.steps.oci.layer import LayerFiles
from klever.steps.oci.layout import LayoutStore
from klever.steps.oci.store import Progress, no_progress

CHANCE = random.Random(9)
BIG = CHANCE.randbytes(24 << 20)
TEXT = b"".join(b'{"op":"conv%d","inputs":[%d]}\n' % (n, n * n % 977) for n in range(400_000))
CONTENTS = {
    "model/config.json": b'{"layers":[]}' * 100,
    "model/network.txt": TEXT,
    "model/weights.bin": BIG,
    "model/sub/empty": b"",
    "model/small": b"small",
    "README": b"not the model's",
}


class CountingStore(LayoutStore):
    """A layout that counts what is read from it, and can refuse ranges as some registries do."""

    def __init__(self, directory: Path, *, ranges: bool) -> None:
        super().__init__(directory)
        self.ranges = ranges
        self.requests = self.streams = self.bytes = 0

    def blob_source(self, repository: str, descriptor: Descriptor) -> Source | None:
        return CountingSource(self, super().blob_source(repository, descriptor)) if self.ranges else None

    def get_blob(self, repository: str, descriptor: Descriptor, *, progress: Progress = no_progress) -> Iterator[bytes]:
        self.streams += 1
        for chunk in super().get_blob(repository, descriptor, progress=progress):
            self.bytes += len(chunk)
            yield chunk


class CountingSource:
    def __init__(self, store: CountingStore, source: Source | None) -> None:
        assert source
        self._store, self._source, self.size = store, source, source.size

    def read_at(self, offset: int, length: int) -> bytes:
        data = self._source.read_at(offset, length)
        self._store.requests += 1
        self._store.bytes += len(data)
        return data

    def close(self) -> None:
        self._source.close()


def members(contents: dict[str, bytes]) -> list[PackMember]:
    return [PackMember(path, len(data), lambda data=data: BytesSource(data)) for path, data in contents.items()]


def stored(directory: Path, data: bytes, index: str | None, *, ranges: bool) -> tuple[CountingStore, Descriptor]:
    store = CountingStore(directory, ranges=ranges)
    layer = store.put_blob("a", lambda: [data])
    return store, layer.annotated({media.LAYER_INDEX: index} if index is not None else {})


def ours(contents: dict[str, bytes]) -> tuple[bytes, str]:
    archive = Archive(members(contents))
    return b"".join(archive.chunks()), archive.index.to_annotation()


def theirs(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as file:
        info = tarfile.TarInfo("model")
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        file.addfile(info)
        for path, data in contents.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


OURS, INDEX = ours(CONTENTS)
WITHOUT_TEXT = {path: data for path, data in CONTENTS.items() if data is not TEXT}
FOLDED, _ = ours(WITHOUT_TEXT)
THEIRS = theirs(CONTENTS)
WAYS = {
    "ranges by index": (OURS, INDEX, True, CONTENTS),
    "ranges by walking": (FOLDED, None, True, WITHOUT_TEXT),
    "index of another version": (FOLDED, '{"v":9}', True, WITHOUT_TEXT),
    "no index and deflated files": (OURS, None, True, CONTENTS),
    "stream by index": (OURS, INDEX, False, CONTENTS),
    "stream": (OURS, None, False, CONTENTS),
    "another tool's layer with ranges": (THEIRS, None, True, CONTENTS),
    "another tool's layer": (THEIRS, None, False, CONTENTS),
    "an index that fits another layer": (THEIRS, INDEX, True, CONTENTS),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_yields_the_same_bytes(way: str, tmp_path: Path) -> None:
    data, index, ranges, contents = WAYS[way]
    store, layer = stored(tmp_path, data, index, ranges=ranges)
    model = {path.removeprefix("model/"): d for path, d in contents.items() if path.startswith("model/")}
    with LayerFiles(store, "a", layer) as layer_files:
        files: ModelFiles = layer_files
        assert files.sizes == {path: len(d) for path, d in model.items()}
        assert list(files.sizes) == sorted(model)
        for path, expected in model.items():
            assert files.head(path) == expected[:HEAD_BYTES]
            with opened(files, path) as source:
                assert source.size == len(expected)
                assert source.read_at(len(expected), 10) == b""
                for offset in (0, 1000, 65530, 131072, 9 << 20, len(expected) // 2, len(expected) - 100):
                    if offset >= 0:
                        assert source.read_at(offset, 70_000) == expected[offset : offset + 70_000]
                assert source.read_at(5, 300) == expected[5:305]
        with pytest.raises(NotFoundError):
            files.open("README")


def test_a_header_in_front_of_large_weights_costs_a_few_ranges(tmp_path: Path) -> None:
    store, layer = stored(tmp_path, OURS, INDEX, ranges=True)
    with LayerFiles(store, "a", layer) as files, opened(files, "weights.bin") as source:
        for at in range(0, 200_000, 100):
            source.read_at(at, 100)
        assert source.read_at(source.size - 1000, 1000) == BIG[-1000:]
    assert store.requests <= 6
    assert store.bytes < 1 << 20
    assert store.streams == 0


def test_a_stream_with_an_index_is_left_when_the_headers_have_passed(tmp_path: Path) -> None:
    store, layer = stored(tmp_path, OURS, INDEX, ranges=False)
    with LayerFiles(store, "a", layer) as files:
        assert files.sizes["weights.bin"] == len(BIG)
        assert files.head("config.json")
        assert files.head("network.txt")
    assert store.streams == 1
    assert store.bytes <= 2 << 20


def test_one_pass_is_enough_for_heads_tails_and_small_files(tmp_path: Path) -> None:
    store, layer = stored(tmp_path, THEIRS, None, ranges=False)
    with LayerFiles(store, "a", layer) as files:
        for path in files.sizes:
            files.head(path)
        with opened(files, "weights.bin") as source:
            assert source.read_at(source.size - (1 << 20), 1 << 20) == BIG[-(1 << 20) :]
            assert source.read_at(1 << 20, 1 << 20) == BIG[1 << 20 : 2 << 20]
    assert store.streams == 1


def test_a_zip_is_read_from_its_end_in_a_few_passes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for n in range(30):
            file.writestr(f"data/{n}", BIG[n << 19 : (n + 1) << 19])
        file.writestr("code.py", b"pass")
    store, layer = stored(tmp_path, theirs({"model/m.pt": buffer.getvalue()}), None, ranges=False)
    with LayerFiles(store, "a", layer) as files, opened(files, "m.pt") as source:

        class File(io.RawIOBase):
            at = 0

            def seekable(self) -> bool:
                return True

            def seek(self, offset: int, whence: int = 0) -> int:
                self.at = offset + (0, self.at, source.size)[whence]
                return self.at

            def tell(self) -> int:
                return self.at

            def read(self, size: int = -1) -> bytes:
                data = source.read_at(self.at, source.size if size < 0 else size)
                self.at += len(data)
                return data

        with zipfile.ZipFile(File()) as file:
            assert file.read("code.py") == b"pass"
            for n in range(30):
                assert file.read(f"data/{n}") == BIG[n << 19 : (n + 1) << 19]
    assert store.streams <= 3


def test_a_reader_that_jumps_back_for_ever_is_stopped(tmp_path: Path) -> None:
    store, layer = stored(tmp_path, THEIRS, None, ranges=False)
    with LayerFiles(store, "a", layer) as files, opened(files, "weights.bin") as source:

        def jump(times: int) -> None:
            for _ in range(times):
                assert source.read_at(19 << 20, 10) == BIG[19 << 20 :][:10]
                assert source.read_at(9 << 20, 10) == BIG[9 << 20 :][:10]

        jump(4)
        with pytest.raises(LimitExceededError, match="passes"):
            jump(20)
    assert store.streams <= 12


@pytest.mark.parametrize("ranges", [True, False])
def test_a_lying_index_is_found_out(ranges: bool, tmp_path: Path) -> None:
    index = LayerIndex.from_annotation(INDEX)
    assert index
    lies = {
        "offset": [IndexEntry(e.path, e.size, e.offset + 7, e.packed) for e in index.entries],
        "size": [IndexEntry(e.path, e.size + 1, e.offset, e.packed) for e in index.entries],
        "kind": [IndexEntry(e.path, e.size, e.offset, None if e.packed else 10) for e in index.entries],
        "path": [IndexEntry(e.path + "x", e.size, e.offset, e.packed) for e in index.entries],
        "far": [IndexEntry(e.path, e.size, e.offset + (1 << 50), e.packed) for e in index.entries],
        "first right": [
            index.entries[0],
            *(IndexEntry(e.path, e.size + 5, e.offset, e.packed) for e in index.entries[1:]),
        ],
    }
    for name, entries in lies.items():
        text = LayerIndex(tuple(entries), len(entries)).to_annotation()
        store, layer = stored(tmp_path / name, OURS, text, ranges=ranges)
        with LayerFiles(store, "a", layer) as files:
            for path in files.sizes:
                try:
                    with opened(files, path) as source:
                        assert source.read_at(0, 100_000) == CONTENTS[f"model/{path}"][:100_000], name
                except ArchiveError:
                    pass


def test_mutated_layers_give_typed_errors_or_readings(tmp_path: Path) -> None:
    contents = {"model/a.json": TEXT[:5000], "model/b.bin": BIG[:70_000], "model/c": b"c"}
    data, index = ours(contents)
    chance = random.Random(2)
    for _round in range(300):
        changed = bytearray(data)
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(changed)) if chance.random() < 0.3 else chance.randrange(2000)
            changed[at : at + chance.randint(0, 2)] = chance.randbytes(chance.randint(0, 2))
        store, layer = stored(
            tmp_path, bytes(changed), index if chance.random() < 0.7 else None, ranges=chance.random() < 0.7
        )
        with LayerFiles(store, "a", layer) as files:
            try:
                for path in files.sizes:
                    with opened(files, path) as source:
                        source.read_at(0, 1000)
                        source.read_at(source.size // 2, 1 << 20)
            except KleverError:
                pass
        (tmp_path / "blobs" / layer.digest.replace(":", "/")).unlink()


def test_a_damaged_blob_is_noticed_when_the_stream_is_read_to_its_end(tmp_path: Path) -> None:
    data = gzip.compress(gzip.decompress(theirs({"model/a": b"a" * 100})), 0)
    store, layer = stored(tmp_path, data, None, ranges=False)
    path = tmp_path / "blobs" / layer.digest.replace(":", "/")
    path.write_bytes(data[:4] + b"\1" + data[5:])
    with LayerFiles(store, "a", layer) as files, pytest.raises(CorruptBlobError):
        _ = files.sizes


def test_original_artifacts_are_read_remotely(shared: Path) -> None:
    store = LayoutStore(shared / "samples/ormb-artifacts")
    import json

    manifest = json.loads(store.get_manifest("", "savedmodel-fashion-v1").data)
    with LayerFiles(store, "", Descriptor.from_json(manifest["layers"][0], "layer")) as files:
        assert list(files.sizes) == [
            "saved_model.pb",
            "variables/variables.data-00000-of-00001",
            "variables/variables.index",
        ]
        assert len(files.head("saved_model.pb")) == HEAD_BYTES
