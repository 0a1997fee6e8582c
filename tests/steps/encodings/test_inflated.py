"""Compressed files are read front to back, and bombs meet a limit."""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable

import pytest

from klever.steps.encodings.inflated import MAX_SMALL_BYTES, inflate
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import BytesSource

CONTENT = bytes(range(256)) * 3000
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "joblib before 0.10": lambda data: b"ZF" + hex(len(data)).encode().ljust(19) + zlib.compress(data),
    "joblib of Python 2": lambda data: b"ZF" + hex(len(data)).encode().ljust(20) + zlib.compress(data),
}


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=COMPRESSORS)
def test_content_is_read_forward_with_gaps(compress: Callable[[bytes], bytes]) -> None:
    content = inflate(BytesSource(compress(CONTENT)))
    assert content.read_at(0, 10) == CONTENT[:10]
    assert content.read_at(5, 10) == CONTENT[5:15]
    assert content.read_at(700_000, 20) == CONTENT[700_000:700_020]
    assert content.read_at(len(CONTENT) - 3, 100) == CONTENT[-3:]
    assert content.read_at(len(CONTENT) + 10, 1) == b""


def test_what_is_not_compressed_is_returned_itself() -> None:
    source = BytesSource(b"\x80\x04N.")
    assert inflate(source) is source


@pytest.mark.parametrize("name", ["zlib", "bzip2", "xz"])
def test_a_bomb_meets_a_limit(name: str) -> None:
    content = inflate(BytesSource(COMPRESSORS[name](bytes(MAX_SMALL_BYTES + (1 << 20)))))
    with pytest.raises(LimitExceededError):
        content.read_at(MAX_SMALL_BYTES + 1000, 1)


@pytest.mark.parametrize("compress", COMPRESSORS.values(), ids=COMPRESSORS)
def test_damaged_content_is_malformed_or_ends_early(compress: Callable[[bytes], bytes]) -> None:
    data = bytearray(compress(CONTENT))
    data[len(data) // 2 : len(data) // 2 + 8] = b"\xff" * 8
    try:
        got = inflate(BytesSource(bytes(data))).read_at(0, len(CONTENT))
    except MalformedModelError:
        return
    assert got != CONTENT


def test_lz4_says_what_to_do() -> None:
    with pytest.raises(MalformedModelError, match="LZ4") as caught:
        inflate(BytesSource(b"\x04\x22\x4d\x18" + bytes(20)))
    assert "zlib" in caught.value.next_step
