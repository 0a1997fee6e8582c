"""Arrays in pickles: types, sizes and small contents, from bytes that joblib and NumPy write."""

from pathlib import Path

import pytest

from klever.steps.encodings.pickle import Object, read_pickle
from klever.steps.encodings.stream import Stream
from klever.steps.errors import MalformedModelError, ModelError
from klever.steps.files import BytesSource, FileSource
from klever.steps.frameworks.joblib import array_of, dtype_of, read_joblib, scalar_of


def dtype(code: str, order: str = "<") -> str:
    """Return protocol 0 for ``numpy.dtype(code)`` as NumPy writes it."""
    return f"cnumpy\ndtype\n(S'{code}'\nI0\nI1\ntR(I3\nS'{order}'\nNNNI-1\nI-1\nI0\ntb"


def array(code: str, shape: str, content: str) -> Object:
    empty = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    text = f"{empty}(I1\n({shape}t{dtype(code)}I00\n{content}tb."
    root = read_pickle(Stream(BytesSource(text.encode()))).root
    assert isinstance(root, Object)
    return root


@pytest.mark.parametrize(
    ("code", "name", "width"),
    [("f8", "float64", 8), ("f4", "float32", 4), ("i8", "int64", 8), ("u1", "uint8", 1), ("b1", "bool", 1),
     ("c8", "complex64", 8),
     ("O8", "object", 8), ("U5", "object", 20), ("S3", "object", 3), ("V64", None, 64)],
)  # fmt: skip
def test_types_have_numpys_names(code: str, name: str | None, width: int) -> None:
    found = dtype_of(read_pickle(Stream(BytesSource(dtype(code).encode() + b"."))).root)
    assert found is not None
    assert (found.name, found.width) == (name, width)


def test_an_array_of_numpys_own_is_found() -> None:
    found = array_of(array("i8", "I2\n", r"S'\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00'" + "\n"))
    assert found is not None
    assert (found.dtype.name, found.shape) == ("int64", (2,))
    assert found.content == b"\x01" + bytes(7) + b"\x02" + bytes(7)


def test_texts_of_an_array_are_decoded() -> None:
    found = array_of(array("S3", "I2\n", r"S'ab\x00cde'" + "\n"))
    assert found is not None
    assert found.texts() == ["ab", "cde"]


def test_a_numpy_number_is_a_number() -> None:
    text = "cnumpy.core.multiarray\nscalar\n(" + dtype("i8") + r"S'\x07\x00\x00\x00\x00\x00\x00\x00'" + "\ntR."
    assert scalar_of(read_pickle(Stream(BytesSource(text.encode()))).root) == 7


def test_bytes_between_opcodes_are_skipped(models: Path) -> None:
    source = FileSource(models / "SKLearn" / "svc_0_24" / "model" / "model.joblib")
    try:
        pickle, named = read_joblib(source)
    finally:
        source.close()
    vectors = array_of(pickle.root.state["support_vectors_"])
    assert vectors is not None
    assert (vectors.dtype.name, vectors.shape[1]) == ("float64", 5)
    assert {one.name for one in named} >= {"SVC", "NumpyArrayWrapper"}


def test_an_array_without_a_type_is_malformed() -> None:
    with pytest.raises(MalformedModelError, match="no type or shape"):
        read_joblib(BytesSource(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)R}b."))


def test_arrays_of_objects_nested_without_end_meet_a_limit() -> None:
    wrapper = "cjoblib.numpy_pickle\nNumpyArrayWrapper\n)R(S'shape'\n(tS'dtype'\n" + dtype("O8") + "db"
    with pytest.raises(ModelError, match="deeper"):
        read_joblib(BytesSource(wrapper.encode() * 1000))
