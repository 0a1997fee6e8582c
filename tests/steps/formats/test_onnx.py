"""ONNX: what its reader promises beyond the conformance suite."""

import json
from pathlib import Path
from typing import Any

import pytest
from corpus import corpus
from wire import field, varint

from klever.steps.errors import LimitExceededError, MalformedModelError, MissingFilesError, UnsafeModelError
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Evidence, Reading
from klever.steps.formats.onnx import FORMAT

CORPUS = corpus("ONNX")


def tensor_info(name: bytes) -> bytes:
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, field(1, field(2, b"N")))))


NODE = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Relu"))


def model(graph: bytes) -> bytes:
    return field(1, 8) + field(7, NODE + graph) + field(8, field(2, 13))


def read(files: dict[str, bytes]) -> Reading:
    memory = MemoryFiles(files)
    claim = FORMAT.claim(memory)
    assert claim is not None
    return FORMAT.read(memory, claim, None)


class SparseSource:
    """A file of which all bytes are zero but those of some pieces, and which counts what is read."""

    def __init__(self, pieces: dict[int, bytes], size: int) -> None:
        self.pieces = pieces
        self.size = size
        self.bytes_read = 0
        self.reads = 0

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(min(length, self.size - offset), 0)
        self.bytes_read += length
        self.reads += 1
        data = bytearray(length)
        for start, piece in self.pieces.items():
            low, high = max(start, offset), min(start + len(piece), offset + length)
            if low < high:
                data[low - offset : high - offset] = piece[low - start : high - start]
        return bytes(data)

    def close(self) -> None:
        pass


class SparseFiles:
    def __init__(self, source: SparseSource) -> None:
        self.source = source
        self.sizes = {"model.onnx": source.size}

    def open(self, path: str) -> SparseSource:
        return self.source

    def head(self, path: str) -> bytes:
        return self.source.read_at(0, 4096)


@pytest.mark.parametrize("late_name", [False, True])
def test_the_content_of_tensors_is_never_read(late_name: bool) -> None:
    weights, tensors = 1 << 30, 4
    pieces: dict[int, bytes] = {}
    name = field(8, b"w")
    before = field(1, weights) + field(2, 2) + (b"" if late_name else name) + varint(9 << 3 | 2) + varint(weights)
    after = name if late_name else b""
    tail = field(11, tensor_info(b"w")) + field(11, tensor_info(b"x")) + field(12, tensor_info(b"y"))
    tensor = varint(5 << 3 | 2) + varint(len(before) + weights + len(after)) + before
    length = len(NODE) + tensors * (len(tensor) + weights + len(after)) + len(tail)
    position = 0
    for content in (field(1, 8) + varint(7 << 3 | 2) + varint(length) + NODE, *[tensor] * tensors):
        pieces[position] = content
        position += len(content)
        if content is tensor:
            position += weights
            pieces[position] = after
            position += len(after)
    pieces[position] = tail
    source = SparseSource(pieces, position + len(tail))
    files = SparseFiles(source)
    claim = FORMAT.claim(files)
    assert claim is not None
    reading = FORMAT.read(files, claim, None)
    assert [tensor.name for tensor in reading.signature.inputs or ()] == ["x"]
    assert source.bytes_read < 1 << 20
    assert source.reads < 4 * tensors + 8


def test_facts_name_versions_and_producer(models: Path) -> None:
    files = LocalFiles.below(models / "ONNX" / "branches_and_functions" / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    facts = FORMAT.read(files, claim, None).facts
    assert facts["irVersion"] == 10
    assert facts["opsets"] == {"ai.onnx": 21, "local": 1}
    assert facts["producer"] == "onnx-helper"


def test_values_that_are_no_tensors_are_noted(models: Path) -> None:
    files = LocalFiles.below(models / "ONNX" / "sequence_map_optional_sparse" / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    notes = "\n".join(FORMAT.read(files, claim, None).notes)
    assert "output seq is a sequence, each element a tensor of float32" in notes
    assert "output map is a sequence, each element a map from int64 to a tensor of float32" in notes
    assert "input opt is optional, where present a tensor of int64" in notes
    assert "output sparse is a sparse tensor of float32" in notes
    assert "domain com.example" in notes
    assert "ai.onnx.ml" not in notes


def test_a_shape_that_is_nowhere_told_is_unknown_and_noted() -> None:
    bare = field(1, b"y") + field(2, field(1, field(1, 1)))
    reading = read({"m.onnx": model(field(11, tensor_info(b"x")) + field(12, bare))})
    assert reading.signature.outputs is not None
    assert reading.signature.outputs[0].shape is None
    assert "the file tells no shape of output y" in reading.notes


@pytest.mark.parametrize("location", ["/etc/passwd", "../x", "a/../../x", "C:\\x", "\\\\host\\x", "", ".", "a\0b"])
def test_external_data_outside_the_directory_is_refused_unopened(location: str) -> None:
    tensor = field(8, b"w") + field(13, field(1, b"location") + field(2, location.encode())) + field(14, 1)
    with pytest.raises(UnsafeModelError):
        read({"m.onnx": model(field(5, tensor) + field(12, tensor_info(b"y")))})


def test_missing_external_data_are_named_by_their_path_in_the_model() -> None:
    tensor = field(8, b"w") + field(13, field(1, b"location") + field(2, b"./b/../w.bin")) + field(14, 1)
    with pytest.raises(MissingFilesError) as caught:
        read({"onnx/m.onnx": model(field(5, tensor) + field(12, tensor_info(b"y")))})
    assert caught.value.missing == ("onnx/w.bin",)


def test_a_message_holds_no_name_at_full_length() -> None:
    tensor = field(8, b"w" * 60000) + field(13, field(1, b"location") + field(2, b"/" * 60000)) + field(14, 1)
    with pytest.raises(UnsafeModelError) as caught:
        read({"m.onnx": model(field(5, tensor) + field(12, tensor_info(b"y")))})
    assert len(str(caught.value)) < 1000


def test_a_graph_without_outputs_is_malformed() -> None:
    with pytest.raises(MalformedModelError):
        read({"m.onnx": model(field(11, tensor_info(b"x")))})


def test_graphs_nested_without_end_are_bounded() -> None:
    graph = field(2, b"g")
    for _ in range(3000):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    with pytest.raises(LimitExceededError):
        read({"m.onnx": field(1, 8) + field(7, graph)})


def test_another_name_is_recognised_and_given_the_extension() -> None:
    data = model(field(12, tensor_info(b"y")))
    claim = FORMAT.claim(MemoryFiles({"net.bin": data}))
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    assert claim.rename == {"net.bin": "net.onnx"}


def test_several_models_compete_and_flatbuffers_do_not() -> None:
    data = model(field(12, tensor_info(b"y")))
    claim = FORMAT.claim(MemoryFiles({"a.onnx": data, "b.onnx": data}))
    assert claim is not None
    assert claim.competing == ("a.onnx", "b.onnx")
    assert FORMAT.claim(MemoryFiles({"a.ort": b"\x18\0\0\0ORTM" + bytes(64)})) is None


def test_companions_are_the_files_that_exporters_write_beside() -> None:
    siblings = frozenset({"m.onnx", "m.onnx.data", "m.onnx_data", "m.data", "other.onnx", "README.md"})
    assert FORMAT.companions("m.onnx", siblings) == ("m.data", "m.onnx.data", "m.onnx_data")


@pytest.mark.corpus
@pytest.mark.parametrize(
    "case", [path for path in CORPUS if not path.name.startswith("bad_")], ids=lambda path: path.name
)
def test_the_corpus_reads_as_onnxruntime_does(case: Path) -> None:
    meta: dict[str, Any] = json.loads((case / "oracle" / "meta.json").read_text())
    files = LocalFiles.below(case / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    signature = FORMAT.read(files, claim, None).signature
    for tensors, expected in ((signature.inputs, meta["ort_inputs"]), (signature.outputs, meta["ort_outputs"])):
        actual = [[tensor.name, list(tensor.shape or ())] for tensor in tensors or ()]
        assert actual == [
            [name, [size if isinstance(size, int) else -1 for size in sizes]] for name, sizes, _ in expected
        ]
    # The oracle's arrays hold strings as numpy's fixed-width type.
    types = {
        name: "object" if dtype.startswith("<U") else dtype
        for name, (_, dtype) in {**meta["inputs"], **meta["outputs"]}.items()
    }
    assert {tensor.name: tensor.dtype for tensor in (*(signature.inputs or ()), *(signature.outputs or ()))} == types
