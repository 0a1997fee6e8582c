"""H5: recognition, and the corpus against the frameworks that wrote it."""

import json
from pathlib import Path

import pytest
from corpus import corpus

from klever.steps.errors import MalformedModelError
from klever.steps.files import LocalFiles, MemoryFiles, Source
from klever.steps.formats.h5 import FORMAT
from klever.steps.formats.interface import Evidence, Reading

SIGNATURE = b"\x89HDF\r\n\x1a\n"
#: What the oracle names otherwise, as its input had no name of its own: Keras 3 then numbers the tensors of a session,
#: and the file keeps the layers' names alone, which are the tensors' once the file is loaded.
SESSION_NAMES = {
    "seq_cnn_keras3": (["input_layer"], ["dense_1"]),
    "resnet_bottleneck_keras3": (["input_layer_1"], ["predictions"]),
}
CASES = [path.name for path in corpus("H5")]


def read(folder: Path) -> Reading:
    files = LocalFiles.below(folder)
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    return FORMAT.read(files, claim, None)


@pytest.mark.corpus
@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("bad_")])
def test_a_model_of_the_corpus_has_the_signature_of_its_oracle(shared: Path, case: str) -> None:
    folder = shared / "corpus" / "H5" / case
    oracle = json.loads((folder / "oracle" / "meta.json").read_text())
    signature = read(folder / "model").signature
    for kind, position in (("inputs", 0), ("outputs", 1)):
        expected = oracle[kind]
        names = SESSION_NAMES[case][position] if case in SESSION_NAMES else list(expected)
        tensors = {tensor.name: tensor for tensor in getattr(signature, kind)}
        assert sorted(tensors) == sorted(names)
        for name, (shape, dtype) in zip(names, expected.values(), strict=True):
            found = tensors[name]
            assert found.dtype == dtype
            assert found.shape is not None
            assert found.shape[0] == -1
            assert len(found.shape) == len(shape)
            # Only the variable length of text is unknown.
            assert all(
                a in (b, -1) and (a == b or name == "tokens") for a, b in zip(found.shape[1:], shape[1:], strict=True)
            )


@pytest.mark.corpus
def test_a_lambda_is_read_without_running_it(shared: Path) -> None:
    reading = read(shared / "corpus" / "H5" / "bad_lambda_tf211" / "model")
    assert [tensor.name for tensor in reading.signature.inputs or ()] == ["input_4"]
    assert "Lambda layers lambda" in reading.notes[0]
    assert not Path("/tmp/PWNED_H5").exists()


@pytest.mark.corpus
def test_weights_alone_are_refused(shared: Path) -> None:
    with pytest.raises(MalformedModelError, match="weights of a Keras model without the model itself"):
        read(shared / "corpus" / "H5" / "bad_weights_only_tf115" / "model")


def test_the_facts_name_the_version_and_the_backend(models: Path) -> None:
    reading = read(models / "H5" / "sequential_keras3" / "model")
    assert reading.facts == {"keras_version": "3.15.1", "backend": "tensorflow"}


@pytest.mark.parametrize("offset", [0, 512, 1024, 2048, 8192])
def test_the_signature_may_stand_after_a_user_block(offset: int) -> None:
    claim = FORMAT.claim(MemoryFiles({"model.h5": bytes(offset) + SIGNATURE + bytes(9000)}))
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT


@pytest.mark.parametrize("name", ["net.hdf5", "net.keras", "net"])
def test_another_name_is_changed_to_one_that_old_clients_find(name: str) -> None:
    claim = FORMAT.claim(MemoryFiles({name: SIGNATURE}))
    assert claim is not None
    assert claim.rename == {name: "net.h5"}


def test_weights_beside_the_model_do_not_compete_with_it() -> None:
    claim = FORMAT.claim(MemoryFiles({"best.weights.h5": SIGNATURE, "model.h5": SIGNATURE}))
    assert claim is not None
    assert claim.files == ("model.h5",)
    assert claim.competing == ()


def test_two_models_compete() -> None:
    claim = FORMAT.claim(MemoryFiles({"a.h5": SIGNATURE, "b.h5": SIGNATURE}))
    assert claim is not None
    assert claim.competing == ("a.h5", "b.h5")


@pytest.mark.parametrize("head", [b"", SIGNATURE[:3]])
def test_a_file_cut_inside_its_signature_is_claimed_by_name(head: bytes) -> None:
    claim = FORMAT.claim(MemoryFiles({"model.h5": head}))
    assert claim is not None
    assert claim.evidence == Evidence.NAME


@pytest.mark.parametrize("head", [b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04", b"\x80\x02"])
def test_other_bytes_of_the_name_are_not_claimed(head: bytes) -> None:
    assert FORMAT.claim(MemoryFiles({"model.h5": head})) is None


def test_the_weights_are_not_read(models: Path) -> None:
    data = (models / "H5" / "sequential_keras3" / "model" / "model.h5").read_bytes()
    source = _Counting(data, 500 << 20)
    files = _One(source)
    claim = FORMAT.claim(files)
    assert claim is not None
    FORMAT.read(files, claim, None)
    assert source.taken <= 256 << 10
    assert source.reads <= 8


class _Counting:
    """A source as large as a model with weights, which counts what is taken."""

    def __init__(self, data: bytes, size: int) -> None:
        self._data = data
        self.size = size
        self.taken = self.reads = 0

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        self.taken += length
        self.reads += 1
        return self._data[offset : offset + length].ljust(length, b"\0")

    def close(self) -> None:
        pass


class _One:
    def __init__(self, source: _Counting) -> None:
        self._source = source
        self.sizes = {"model.h5": source.size}

    def open(self, path: str) -> Source:
        return self._source

    def head(self, path: str) -> bytes:
        return self._source.read_at(0, 4096)
