"""GGUF: metadata, tensors, shards; versions and byte orders."""

import struct
from typing import Any

import pytest

from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import BytesSource, LocalFiles, MemoryFiles
from klever.steps.formats.gguf import FORMAT
from klever.steps.formats.gguf.reader import read_header


def text(value: bytes, order: str = "<", wide: str = "Q") -> bytes:
    return struct.pack(order + wide, len(value)) + value


def header(tensors: int, *entries: bytes, version: int = 3, order: str = "<", wide: str = "Q") -> bytes:
    return b"GGUF" + struct.pack(f"{order}I2{wide}", version, tensors, len(entries)) + b"".join(entries)


def entry(key: bytes, kind: int, value: bytes, order: str = "<", wide: str = "Q") -> bytes:
    return text(key, order, wide) + struct.pack(f"{order}I", kind) + value


def tensor(name: bytes, sizes: tuple[int, ...], kind: int, offset: int, order: str = "<", wide: str = "Q") -> bytes:
    layout = f"{order}I{len(sizes)}{wide}IQ"
    return text(name, order, wide) + struct.pack(layout, len(sizes), *sizes, kind, offset)


@pytest.mark.parametrize(("version", "order", "wide"), [(1, "<", "I"), (2, "<", "Q"), (3, "<", "Q"), (3, ">", "Q")])
def test_every_version_and_byte_order_is_read(version: int, order: str, wide: str) -> None:
    layout = {"order": order, "wide": wide}
    data = header(
        1,
        entry(b"general.architecture", 8, text(b"llama", **layout), **layout),
        entry(b"llama.block_count", 4, struct.pack(f"{order}I", 7), **layout),
        entry(b"tokenizer.ggml.tokens", 9, struct.pack(f"{order}I{wide}", 8, 2) + text(b"a", **layout) * 2, **layout),
        entry(b"ids", 9, struct.pack(f"{order}I{wide}2i", 5, 2, 1, 2), **layout),
        version=version,
        **layout,
    )
    data += tensor(b"blk.0.q.weight", (32, 2), 8, 0, **layout)
    data += bytes(-len(data) % 32) + bytes(68)
    found = read_header(BytesSource(data))
    assert found.metadata == {"general.architecture": "llama", "llama.block_count": 7}
    assert found.lengths == {"tokenizer.ggml.tokens": 2, "ids": 2}
    assert found.tensors == {"blk.0.q.weight": ("Q8_0", (32, 2))}


def test_facts_come_from_the_metadata_and_modules_from_the_names(models: Any) -> None:
    files = LocalFiles.below(models / "GGUF" / "llama_q8_0" / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    reading = FORMAT.read(files, claim, None)
    assert reading.facts["architecture"] == "llama"
    assert reading.facts["quantization"] == "Q8_0"
    assert reading.facts["contextLength"] == 128
    assert reading.facts["vocabularySize"] == 50
    assert reading.facts["dtypes"] == {"F16": 1, "F32": 3, "Q8_0": 12}
    assert (reading.signature.layers or {})["attn_q"] == 2
    assert reading.signature.inputs is None


def test_shards_are_one_model_and_absent_ones_are_named() -> None:
    shard = header(0)
    claim = FORMAT.claim(MemoryFiles({"m-00001-of-00002.gguf": shard}))
    assert claim is not None
    assert claim.missing == ("m-00002-of-00002.gguf",)


def test_a_file_of_another_name_gets_the_formats_suffix() -> None:
    claim = FORMAT.claim(MemoryFiles({"model.bin": header(0)}))
    assert claim is not None
    assert claim.rename == {"model.bin": "model.bin.gguf"}


NESTED = struct.pack("<IQ", 9, 1) * 6 + struct.pack("<IQ", 0, 0)


@pytest.mark.parametrize(
    ("defect", "data", "error"),
    [
        ("empty", b"", TruncatedModelError),
        ("other letters", b"GGML" + bytes(40), MalformedModelError),
        ("unknown version", header(0, version=9), MalformedModelError),
        ("absurd counts", b"GGUF" + struct.pack("<I2Q", 3, 1 << 60, 1 << 60), LimitExceededError),
        ("unknown value type", header(0, entry(b"a", 77, b"")), MalformedModelError),
        ("text past the end", header(0, entry(b"a", 8, struct.pack("<Q", 1000))), TruncatedModelError),
        ("text beyond all bounds", header(0, entry(b"a", 8, b"\xff" * 8)), LimitExceededError),
        ("array past the end", header(0, entry(b"a", 9, struct.pack("<IQ", 10, 1 << 40))), TruncatedModelError),
        ("texts past the end", header(0, entry(b"a", 9, struct.pack("<IQ", 8, 2) + b"\xff" * 16)), TruncatedModelError),
        ("too many texts", header(0, entry(b"a", 9, struct.pack("<IQ", 8, 1 << 40))), LimitExceededError),
        ("nested arrays", header(0, entry(b"a", 9, NESTED)), LimitExceededError),
        ("rank", header(1) + text(b"t") + struct.pack("<I", 99), MalformedModelError),
        ("two of a name", header(2) + tensor(b"t", (1,), 0, 0) * 2, MalformedModelError),
        ("part of a block", header(1) + tensor(b"t", (33,), 8, 0), MalformedModelError),
        ("weights cut off", header(1) + tensor(b"t", (64,), 0, 0) + bytes(100), TruncatedModelError),
        (
            "alignment",
            header(1, entry(b"general.alignment", 4, bytes(4))) + tensor(b"t", (1,), 0, 0),
            MalformedModelError,
        ),
    ],
)
def test_a_broken_file_is_refused(defect: str, data: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error):
        read_header(BytesSource(data))
