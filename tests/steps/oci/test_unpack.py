"""Archives: what is unpacked, and the attacks that are refused."""

import gzip
import io
import os
import random
import stat
import struct
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from klever.steps.errors import ArchiveError, StorageError, TransferError
from klever.steps.oci import tar
from klever.steps.oci.inflate import Ratio, gunzip
from klever.steps.oci.unpack import Limits, unpack


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def member(name: str, data: bytes = b"x", kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    info.mode = 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def archive(*members: tuple[tarfile.TarInfo, bytes] | tarfile.TarInfo, fmt: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=fmt) as file:
        for entry in members:
            info, data = entry if isinstance(entry, tuple) else (entry, b"x" * entry.size)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def block(
    name: bytes, size: int | bytes = 0, kind: bytes = b"0", mode: bytes = b"0000644\0", link: bytes = b""
) -> bytes:
    """A header block, of any content, with a right checksum."""
    header = bytearray(512)
    header[: len(name)] = name
    header[100:108] = mode
    header[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    header[156:157] = kind
    header[157 : 157 + len(link)] = link
    header[257:265] = b"ustar\x0000"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    data = b""
    for record in records:
        length = len(record) + 2
        while len(str(length)) + 1 + len(record) + 1 != length:
            length = len(str(length)) + 1 + len(record) + 1
        data += b"%d %s\n" % (length, record)
    return block(b"PaxHeader", len(data), kind) + data + bytes(-len(data) % 512)


def content(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def unpacked(tar_bytes: bytes, staging: Path, **limits: object) -> tuple[tar.Member, ...]:
    return unpack([gzip.compress(tar_bytes)], staging, limits=Limits(**limits))


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    directory = tmp_path / "outer" / "staging"
    directory.mkdir(parents=True, mode=0o700)
    return directory


END = bytes(1024)

HOSTILE: dict[str, bytes] = {
    "parent": archive(member("../x")),
    "parent within": archive(member("model/../../x")),
    "absolute": archive(member("/tmp/x")),
    "sibling prefix": archive(member("../staging-evil/x")),
    "symlink": archive(member("model/l", kind=tarfile.SYMTYPE, linkname="/tmp")),
    "write through symlink": archive(member("l", kind=tarfile.SYMTYPE, linkname="/tmp"), member("l/x")),
    "hard link": archive(member("l", kind=tarfile.LNKTYPE, linkname="../../etc/passwd")),
    "character device": archive(member("d", kind=tarfile.CHRTYPE)),
    "block device": archive(member("d", kind=tarfile.BLKTYPE)),
    "fifo": archive(member("d", kind=tarfile.FIFOTYPE)),
    "setuid": archive(member("model/x", mode=0o4755)),
    "setgid": archive(member("model/x", mode=0o2755)),
    "sticky": archive(member("model/x", mode=0o1644)),
    "setgid directory": archive(member("model", kind=tarfile.DIRTYPE, mode=0o2755)),
    "duplicate": archive(member("model/x"), member("model/x")),
    "duplicate by dot": archive(member("model/x"), member("./model/x")),
    "duplicate directory": archive(member("m", kind=tarfile.DIRTYPE), member("m", kind=tarfile.DIRTYPE)),
    "file as directory": archive(member("model"), member("model/x")),
    "directory as file": archive(member("model/x"), member("model")),
    "double slash": archive(member("model//x")),
    "dot within": archive(member("model/./x")),
    "double dot slash": archive(member("././x")),
    "backslash": archive(member("model\\..\\x")),
    "newline": archive(member("model/x\ny")),
    "empty name": block(b"") + END,
    "trailing slash on a file": block(b"model/x/") + END,
    "long name": archive(member("model/" + "x" * 256)),
    "long path": archive(member("/".join(["x" * 200] * 12))),
    "deep path": archive(member("/".join("x" * 65))),
    "not utf-8": block(b"model/\xff\xfe") + END,
    "nul in pax path": pax(b"path=model/x\0y") + block(b"x") + END,
    "pax path that leaves": pax(b"path=../x") + block(b"x") + END,
    "pax size smaller": pax(b"size=1") + block(b"model/x", 1024) + bytes(1024) + END,
    "pax size larger": pax(b"size=1024") + block(b"model/x", 1) + bytes(1024) + END,
    "pax size where ustar says none": pax(b"size=1024") + block(b"model/x", 0) + bytes(1024) + END,
    "pax size negative": pax(b"size=-1") + block(b"model/x") + END,
    "pax size twice": pax(b"size=0", b"size=0") + block(b"model/x") + END,
    "pax path twice": pax(b"path=a", b"path=b") + block(b"model/x") + END,
    "pax link": pax(b"linkpath=/etc/passwd") + block(b"model/x") + END,
    "pax sparse": pax(b"GNU.sparse.major=1") + block(b"model/x") + END,
    "pax without equals": pax(b"nothing") + block(b"model/x") + END,
    "pax length too long": block(b"p", 9, b"x") + content(b"99 path=x") + block(b"x") + END,
    "two pax headers": pax(b"path=a") + pax(b"path=b") + block(b"x") + END,
    "global path": pax(b"path=a", kind=b"g") + block(b"x") + END,
    "global size": pax(b"size=1", kind=b"g") + block(b"x") + END,
    "global linkpath": pax(b"linkpath=a", kind=b"g") + block(b"x") + END,
    "pax and gnu name": pax(b"path=a") + block(b"L", 2, b"L") + content(b"b\0") + block(b"x") + END,
    "two gnu names": 2 * (block(b"L", 2, b"L") + content(b"b\0")) + block(b"x") + END,
    "gnu long link": block(b"K", 2, b"K") + content(b"b\0") + block(b"x") + END,
    "gnu sparse": block(b"model/x", 0, b"S") + END,
    "gnu multi-volume": block(b"model/x", 0, b"M") + END,
    "unknown type": block(b"model/x", 0, b"Z") + END,
    "contiguous": block(b"model/x", 0, b"7") + END,
    "link target on a file": block(b"model/x", link=b"/etc/passwd") + END,
    "directory with content": block(b"model/", 512, b"5") + bytes(512) + END,
    "huge extended header": block(b"p", 1 << 30, b"x") + END,
    "empty extended header": block(b"p", 0, b"x") + block(b"x") + END,
    "extended header at the end": pax(b"path=a") + END,
    "wrong checksum": block(b"model/x").replace(b"ustar", b"vstar") + END,
    "size not octal": block(b"model/x", size=b"9999999999\0\0") + END,
    "size negative": block(b"model/x", size=b"\xff" * 12) + END,
    "size with sign": block(b"model/x", size=b"-0000000001\0") + END,
    "size impossible": block(b"model/x", size=b"\x80" + b"\xff" * 11) + END,
    "mode malformed": block(b"model/x", mode=b"rw-r--r-") + END,
    "no end": block(b"model/x"),
    "one zero block": block(b"model/x") + bytes(512),
    "zero block between": block(b"a") + bytes(512) + block(b"b") + END,
    "trailing garbage": block(b"a") + END + b"x",
    "second archive behind the first": block(b"a") + END + block(b"b") + END,
    "cut within a file": block(b"a", 4096) + bytes(512),
    "cut within a header": block(b"a")[:100],
    "empty": b"",
    "text": b"hello, world\n" * 100,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_sentence_and_touches_nothing_outside(case: str, staging: Path) -> None:
    evil = staging.parent / "staging-evil"
    evil.mkdir()
    with pytest.raises(ArchiveError) as caught:
        unpacked(HOSTILE[case], staging)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert len(message) < 300
    assert names(staging.parent) == ["staging", "staging-evil"]
    assert names(evil) == []


def test_files_and_directories_get_plain_modes(staging: Path) -> None:
    previous = os.umask(0o077)
    try:
        unpacked(
            archive(
                member("./", kind=tarfile.DIRTYPE, mode=0o777),
                member("./model", kind=tarfile.DIRTYPE, mode=0o700),
                (member("./model/run.sh", b"run", mode=0o777), b"run"),
                (member("model/deep/er/x", b"y", mode=0), b"y"),
                member("model/empty", kind=tarfile.DIRTYPE),
            ),
            staging,
        )
    finally:
        os.umask(previous)
    found = {p.relative_to(staging).as_posix(): stat.S_IMODE(p.stat().st_mode) for p in staging.rglob("*")}
    assert found == {
        "model": 0o755,
        "model/run.sh": 0o644,
        "model/deep": 0o755,
        "model/deep/er": 0o755,
        "model/deep/er/x": 0o644,
        "model/empty": 0o755,
    }
    assert stat.S_IMODE(staging.stat().st_mode) == 0o700
    assert (staging / "model/run.sh").read_bytes() == b"run"


@pytest.mark.parametrize("fmt", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_common_tar_format_is_read(fmt: int, staging: Path) -> None:
    names = ["ormbfile.yaml", "model/" + "d" * 90 + "/weights.bin", "README"]
    if fmt != tarfile.USTAR_FORMAT:
        names += ["model/" + "e" * 120 + "/" + "f" * 120, "model/模型.onnx"]
    unpacked(archive(*((member(n, n.encode()), n.encode()) for n in names), fmt=fmt), staging)
    for name in names:
        assert (staging / name).read_bytes() == name.encode()


def test_pax_times_and_global_comments_are_ignored(staging: Path) -> None:
    data = pax(b"comment=made by git", kind=b"g") + pax(b"mtime=1.5", b"SCHILY.xattr.x=\xff\n\0") + block(b"a", 1)
    assert unpacked(data + content(b"z") + END, staging) == (tar.Member("a", 1),)
    assert (staging / "a").read_bytes() == b"z"


def test_v7_headers_are_read(staging: Path) -> None:
    old = bytearray(block(b"old/", kind=b"\0"))
    old[257:265] = bytes(8)
    old[148:156] = b" " * 8
    old[148:156] = b"%06o\0 " % sum(old)
    assert unpacked(bytes(old) + END, staging) == (tar.Member("old", 0, directory=True),)


def test_planted_links_in_the_staging_directory_are_not_followed(staging: Path) -> None:
    outside = staging.parent / "outside"
    outside.mkdir()
    (staging / "model").symlink_to(outside)
    with pytest.raises((ArchiveError, StorageError)):
        unpacked(archive(member("model/x")), staging)
    (staging / "file").symlink_to(outside / "target")
    with pytest.raises((ArchiveError, StorageError)):
        unpacked(archive(member("file")), staging)
    assert names(outside) == []


def zeros(count: int) -> Iterator[bytes]:
    """A gzipped tar of one file of ``count`` zero bytes, made as it is read."""
    import zlib

    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield compressor.compress(tar.build_header("model/zeros", count))
    for _ in range(count >> 20):
        yield compressor.compress(bytes(1 << 20))
    yield compressor.compress(END) + compressor.flush()


def test_a_bomb_is_stopped_by_its_ratio(staging: Path) -> None:
    with pytest.raises(ArchiveError, match="decompression bomb"):
        unpack(zeros(64 << 20), staging, limits=Limits(ratio=Ratio(floor_bytes=1 << 20)))
    assert (staging / "model/zeros").stat().st_size <= 4 << 20


def test_the_default_limit_lets_a_small_file_of_zeros_pass(staging: Path) -> None:
    unpack(zeros(64 << 20), staging)
    assert (staging / "model/zeros").stat().st_size == 64 << 20


def test_a_bomb_is_stopped_by_its_bytes(staging: Path) -> None:
    with pytest.raises(ArchiveError, match="limit of 1000 bytes"):
        unpacked(archive(member("a", b"x" * 600), member("b", b"x" * 600)), staging, total_bytes=1000)


def test_a_file_larger_than_the_disk_is_a_temporary_error_before_it_is_written(staging: Path) -> None:
    with pytest.raises(StorageError, match="free"):
        unpacked(block(b"model/x", size=b"\x80" + (1 << 60).to_bytes(11, "big")), staging)
    assert names(staging) == []


def test_a_bomb_is_stopped_by_its_members(staging: Path) -> None:
    many = b"".join(block(b"f%d" % n) for n in range(60)) + END
    with pytest.raises(ArchiveError, match="more than 50"):
        unpacked(many, staging, members=50)
    with pytest.raises(ArchiveError, match="more than 50"):
        unpacked(block(b"/".join([b"x"] * 40)) + block(b"/".join([b"y"] * 40)) + END, staging, members=50)


def test_extended_headers_count_as_members(staging: Path) -> None:
    with pytest.raises(ArchiveError, match="headers"):
        unpacked(pax(b"comment=x", kind=b"g") * 200 + END, staging, members=50)


GOOD = archive((member("model/a", b"hello" * 1000), b"hello" * 1000))


def damaged_crc(data: bytes) -> bytes:
    return data[:-8] + struct.pack("<I", 1) + data[-4:]


GZIP_DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "crc": damaged_crc,
    "length": lambda data: data[:-4] + struct.pack("<I", 1),
    "cut by a byte": lambda data: data[:-1],
    "cut by its trailer": lambda data: data[:-8],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "garbage behind": lambda data: data + b"garbage behind it",
    "zeros behind": lambda data: data + bytes(512),
    "a byte behind": lambda data: data + b"\x1f",
    "another archive behind": lambda data: data + gzip.compress(GOOD),
    "not gzip": lambda data: b"PK\3\4" + data,
    "plain tar": lambda _data: GOOD,
    "nothing": lambda _data: b"",
}


@pytest.mark.parametrize("case", GZIP_DAMAGE)
@pytest.mark.parametrize("level", [0, 6])
def test_damaged_gzip_is_refused(case: str, level: int, staging: Path) -> None:
    data = GZIP_DAMAGE[case](gzip.compress(GOOD, level))
    for step in (len(data) or 1, 7):
        with pytest.raises(ArchiveError):
            list(unpack((data[at : at + step] for at in range(0, len(data), step)), staging))
        for path in sorted(staging.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()


def test_gzip_of_several_members_is_legal(staging: Path) -> None:
    parts = b"".join(gzip.compress(GOOD[at : at + 100]) for at in range(0, len(GOOD), 100)) + gzip.compress(b"")
    for step in (len(parts), 11):
        assert b"".join(gunzip(parts[at : at + step] for at in range(0, len(parts), step))) == GOOD
    unpack([parts], staging)
    assert (staging / "model/a").read_bytes() == b"hello" * 1000


def test_a_million_empty_gzip_members_cost_linear_time() -> None:
    assert list(gunzip([gzip.compress(b"") * 100_000])) == []


@pytest.mark.parametrize("size", [0, 1, 511, 512, 65535, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_any_length_at_any_chunking_is_inflated_to_its_end(size: int) -> None:
    data = bytes(size)
    for level in (0, 1, 9):
        packed = gzip.compress(data, level)
        for step in (13, 4096, len(packed)):
            if len(packed) // step < 10_000:
                assert b"".join(gunzip(packed[at : at + step] for at in range(0, len(packed), step))) == data


def test_damage_that_the_sender_notices_at_the_end_is_told_as_such(staging: Path) -> None:
    def damaged() -> Iterator[bytes]:
        yield damaged_crc(gzip.compress(GOOD))
        raise TransferError("the blob arrived with another digest")

    with pytest.raises(TransferError):
        unpack(damaged(), staging)


def test_a_mutated_archive_is_refused_or_means_what_others_read(staging: Path) -> None:
    long = "model/" + "n" * 120
    good = archive((member("model/a", b"a" * 700), b"a" * 700), (member(long, b"b"), b"b"), member("model/ü"))
    chance = random.Random(4)
    accepted = 0
    for round_number in range(600):
        changed = bytearray(good)
        at = 512 * chance.randrange(len(good) // 512)
        offset = at + chance.choice([0, 50, 100, 107, 124, 130, 135, 156, 157, 257, 263, 345, chance.randrange(512)])
        changed[offset] = chance.choice([0, 32, 48, 49, 53, 55, 120, 128, 255, chance.randrange(256)])
        # A right checksum, so that more than the checksum is tried.
        if chance.random() < 0.8:
            changed[at + 148 : at + 156] = b" " * 8
            changed[at + 148 : at + 156] = b"%06o\0 " % sum(changed[at : at + 512])
        target = staging / str(round_number)
        target.mkdir()
        try:
            members = unpacked(bytes(changed), target)
        except ArchiveError:
            continue
        accepted += 1
        with tarfile.open(fileobj=io.BytesIO(changed)) as file:
            theirs = {m.name: file.extractfile(m).read() for m in file.getmembers() if m.isfile()}
        assert {m.path: (target / m.path).read_bytes() for m in members if not m.directory} == theirs
    assert accepted > 20


def test_a_missing_staging_directory_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        unpacked(GOOD, tmp_path / "none")


def test_original_artifacts_unpack(shared: Path, staging: Path) -> None:
    blobs = shared / "samples/ormb-artifacts/blobs/sha256"
    layers = [path for path in blobs.iterdir() if path.read_bytes()[:2] == b"\x1f\x8b"]
    assert len(layers) == 3
    for path in layers:
        target = staging / path.name
        target.mkdir()
        members = unpack([path.read_bytes()], target)
        with tarfile.open(path) as file:
            assert [m.name for m in file.getmembers()] == [m.path for m in members]
            for info in file.getmembers():
                if info.isfile():
                    assert (target / info.name).read_bytes() == file.extractfile(info).read()
