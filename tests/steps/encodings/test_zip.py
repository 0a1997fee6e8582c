"""ZIP archives: what is read agrees with the standard library's, what contradicts itself is refused."""

import io
import struct
import zipfile

import pytest

from klever.steps.encodings.zip import MAX_MEMBERS, ZipArchive
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import BytesSource


def archive_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def opened(data: bytes) -> ZipArchive:
    return ZipArchive(BytesSource(data))


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"PK\x05\x06 inside a comment"])
def test_members_are_read_as_they_were_written(method: int, comment: bytes) -> None:
    members = {"a/b.txt": b"text" * 1000, "é": b"", "big": bytes(range(256)) * 2000}
    archive = opened(archive_of(members, method, comment))
    assert list(archive.names) == list(members)
    assert {name: archive.read(name, 1 << 20) for name in archive.names} == members


def test_zip64_members_are_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("m", "w", force_zip64=True) as member:
        member.write(b"x" * 1000)
    assert opened(buffer.getvalue()).read("m", 1000) == b"x" * 1000


@pytest.fixture(scope="module")
def crowded() -> bytes:
    """An archive of more members than the plain end record counts."""
    return archive_of({str(index): b"" for index in range(66_000)}, zipfile.ZIP_STORED)


def test_many_members_need_the_zip64_end_record(crowded: bytes) -> None:
    assert len(opened(crowded).names) == 66_000


def test_a_stored_member_is_read_in_parts() -> None:
    view = opened(archive_of({"w": bytes(range(200))}, zipfile.ZIP_STORED)).open("w")
    assert view.size == 200
    assert view.read_at(190, 100) == bytes(range(190, 200))
    assert view.read_at(300, 1) == b""


def test_a_compressed_member_is_not_read_in_parts() -> None:
    with pytest.raises(MalformedModelError, match="compressed"):
        opened(archive_of({"w": b"x" * 100})).open("w")


def test_an_absent_crc_is_accepted_only_where_the_writer_may_leave_it_out() -> None:
    data = bytearray(archive_of({"a": b"text"}, zipfile.ZIP_STORED))
    at = data.index(b"PK\x01\x02") + 16
    data[at : at + 4] = bytes(4)
    with pytest.raises(MalformedModelError, match="CRC"):
        opened(bytes(data)).read("a", 100)
    assert ZipArchive(BytesSource(bytes(data)), crc_optional=True).read("a", 100) == b"text"
    data[at] = 1
    with pytest.raises(MalformedModelError, match="CRC"):
        ZipArchive(BytesSource(bytes(data)), crc_optional=True).read("a", 100)


def test_a_member_above_the_limit_is_not_inflated() -> None:
    with pytest.raises(LimitExceededError):
        opened(archive_of({"bomb": b"\0" * (10 << 20)})).read("bomb", 1 << 20)


def test_the_sum_of_all_reads_is_limited() -> None:
    archive = opened(archive_of({"bomb": b"\0" * (40 << 20)}))
    for _ in range(6):
        archive.read("bomb", 64 << 20)
    with pytest.raises(LimitExceededError, match="together"):
        archive.read("bomb", 64 << 20)


def test_an_archive_cut_short_is_called_truncated() -> None:
    data = archive_of({"a": b"text"})
    for end in range(len(data)):
        with pytest.raises(TruncatedModelError):
            opened(data[:end])


def patched(data: bytes, at: int, value: bytes) -> bytes:
    return data[:at] + value + data[at + len(value) :]


def test_an_encrypted_member_is_refused() -> None:
    data = archive_of({"a": b"text"})
    central = data.index(b"PK\x01\x02")
    with pytest.raises(MalformedModelError, match="encrypted"):
        opened(patched(data, central + 8, b"\x01")).read("a", 100)


def test_an_unknown_method_is_refused_by_its_number() -> None:
    data = archive_of({"a": b"text"})
    central = data.index(b"PK\x01\x02")
    with pytest.raises(MalformedModelError, match="method 99"):
        opened(patched(data, central + 10, b"\x63")).read("a", 100)


def test_damaged_content_does_not_match_its_checksum() -> None:
    data = archive_of({"a": b"text"}, zipfile.ZIP_STORED)
    with pytest.raises(MalformedModelError, match="CRC"):
        opened(data.replace(b"text", b"tixt")).read("a", 100)


def test_a_local_header_that_names_another_member_is_refused() -> None:
    data = archive_of({"abc": b"text"}, zipfile.ZIP_STORED)
    with pytest.raises(MalformedModelError, match="contradicts"):
        opened(data.replace(b"abc", b"xyz", 1)).read("abc", 100)


def test_a_name_that_occurs_twice_is_refused() -> None:
    data = archive_of({"abc": b"1", "xyz": b"2"}, zipfile.ZIP_STORED)
    with pytest.raises(MalformedModelError, match="twice"):
        opened(data.replace(b"xyz", b"abc"))


def test_a_claim_of_too_many_members_is_refused_before_they_are_read(crowded: bytes) -> None:
    record = crowded.rindex(b"PK\x06\x06")
    with pytest.raises(LimitExceededError):
        opened(patched(crowded, record + 32, struct.pack("<Q", MAX_MEMBERS + 1)))


def test_an_absent_name_gives_a_typed_error() -> None:
    with pytest.raises(MalformedModelError, match="no member"):
        opened(archive_of({"a": b""})).read("b", 1)
