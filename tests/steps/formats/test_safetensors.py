"""Safetensors: headers, shards and what may break in them."""

import json
import struct
from typing import Any

import pytest

from klever.steps.errors import LimitExceededError, MalformedModelError, ModelError, TruncatedModelError
from klever.steps.files import BytesSource, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.safetensors import FORMAT
from klever.steps.formats.safetensors.reader import read_header


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def tensor(dtype: str, shape: list[Any], *offsets: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": list(offsets)}


def read(files: dict[str, bytes]) -> Reading:
    memory = MemoryFiles(files)
    claim = FORMAT.claim(memory)
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    return FORMAT.read(memory, claim, None)


def test_weights_without_a_graph_have_facts_but_no_inputs() -> None:
    header = {
        "__metadata__": {"format": "tf"},
        "layers.0.fc.weight": tensor("F16", [2, 3], 0, 12),
        "layers.0.fc.bias": tensor("F16", [3], 12, 18),
        "layers.1.fc.weight": tensor("I8", [2], 18, 20),
        "scale": tensor("F32", [], 20, 24),
    }
    reading = read({"model.safetensors": file_of(header, bytes(24))})
    assert reading.signature.inputs is None
    assert reading.signature.outputs is None
    assert reading.signature.layers == {"fc": 2, "scale": 1}
    assert reading.framework == "TensorFlow"
    assert reading.facts["parameters"] == 12
    assert reading.facts["dtypes"] == {"F16": 2, "F32": 1, "I8": 1}
    assert len(reading.notes) == 1


def test_shards_are_one_model_and_absent_ones_are_named() -> None:
    first = file_of({"a": tensor("U8", [1], 0, 1)}, b"x")
    second = file_of({"b": tensor("U8", [1], 0, 1)}, b"x")
    names = [f"model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)]
    claim = FORMAT.claim(MemoryFiles({names[0]: first, names[2]: second}))
    assert claim is not None
    assert claim.missing == (names[1],)
    assert read({names[0].replace("3.", "2."): first, names[1].replace("3.", "2."): second}).facts["tensors"] == 2


def test_two_models_compete() -> None:
    one = file_of({})
    claim = FORMAT.claim(MemoryFiles({"a.safetensors": one, "b.safetensors": one}))
    assert claim is not None
    assert claim.competing == ("a.safetensors", "b.safetensors")


@pytest.mark.parametrize("config", [b"", b"[1]", b"{", b'{"architectures": 3}', b"[" * 100_000])
def test_a_broken_config_says_nothing(config: bytes) -> None:
    assert "architectures" not in read({"m.safetensors": file_of({}), "config.json": config}).facts


@pytest.mark.parametrize(
    ("defect", "data", "error"),
    [
        ("empty", b"", TruncatedModelError),
        ("header longer than the file", struct.pack("<Q", 100) + b"{}", TruncatedModelError),
        ("header longer than allowed", struct.pack("<Q", 1 << 40) + b"{}", LimitExceededError),
        ("no object", file_of(b"[]"), MalformedModelError),
        ("no JSON", file_of(b"{a}"), MalformedModelError),
        ("no UTF-8", file_of(b'{"\xff":1}'), MalformedModelError),
        ("deep", file_of(b'{"a":' + b"[" * 100_000), LimitExceededError),
        ("repeated name", file_of(b'{"a":{},"a":{}}'), MalformedModelError),
        ("hole", file_of({"a": tensor("U8", [1], 1, 2)}, b"xx"), MalformedModelError),
        (
            "overlap",
            file_of({"a": tensor("U8", [2], 0, 2), "b": tensor("U8", [2], 1, 3)}, b"xxx"),
            MalformedModelError,
        ),
        ("wrong size", file_of({"a": tensor("F32", [2], 0, 4)}, b"xxxx"), MalformedModelError),
        ("unknown type", file_of({"a": tensor("F7", [2], 0, 4)}, b"xxxx"), MalformedModelError),
        ("negative size", file_of({"a": tensor("U8", [-1, -1], 0, 1)}, b"x"), MalformedModelError),
        ("fraction", file_of({"a": tensor("U8", [1.0], 0, 1)}, b"x"), MalformedModelError),
        ("data cut off", file_of({"a": tensor("U8", [4], 0, 4)}, b"x"), TruncatedModelError),
        ("data left over", file_of({"a": tensor("U8", [1], 0, 1)}, b"xy"), MalformedModelError),
        ("half a surrogate pair", file_of({"\ud800": tensor("U8", [0], 0, 0)}), MalformedModelError),
    ],
)
def test_a_broken_file_is_refused(defect: str, data: bytes, error: type[ModelError]) -> None:
    with pytest.raises(error):
        read_header(BytesSource(data))
