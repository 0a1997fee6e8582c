"""SKLearn beyond the conformance suite: names of features, compression, versions, what is no estimator."""

import bz2
import lzma
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from klever.steps.errors import MalformedModelError
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Evidence
from klever.steps.formats.sklearn import FORMAT
from klever.steps.formats.sklearn.kinds import Kind, kind_of


@pytest.mark.corpus
def test_the_sample_of_old_packages_is_read(shared: Path) -> None:
    files = LocalFiles.below(shared / "samples" / "ormb" / "SKLearn-model" / "model")
    claim = FORMAT.claim(files)
    assert claim is not None
    reading = FORMAT.read(files, claim, None)
    assert [(t.name, t.dtype, t.shape) for t in reading.signature.inputs or ()] == [("input", "float64", (-1, 64))]
    assert [(t.name, t.dtype, t.shape) for t in reading.signature.outputs or ()] == [("predict", "int64", (-1,))]
    assert reading.signature.layers == {"SVC": 1}
    assert reading.facts["estimator"] == "SVC"


@pytest.mark.parametrize("compress", [zlib.compress, bz2.compress, lzma.compress])
def test_a_compressed_estimator_is_recognised_and_read(models: Path, compress: Callable[[bytes], bytes]) -> None:
    data = (models / "SKLearn" / "pickled_0_24" / "model" / "model.pkl").read_bytes()
    files = MemoryFiles({"model.joblib": compress(data)})
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence == Evidence.CONTENT
    assert FORMAT.read(files, claim, None).signature.inputs


def test_a_pickle_gets_the_name_that_servers_look_for(models: Path) -> None:
    data = (models / "SKLearn" / "pickled_0_24" / "model" / "model.pkl").read_bytes()
    claim = FORMAT.claim(MemoryFiles({"1/model.pkl": data}))
    assert claim is not None
    assert claim.rename == {"1/model.pkl": "1/model.joblib"}


def test_a_pickle_of_something_else_is_claimed_by_its_name_only_and_refused() -> None:
    files = MemoryFiles({"model.joblib": pickle.dumps({"a": 1})})
    claim = FORMAT.claim(files)
    assert claim is not None
    assert claim.evidence == Evidence.NAME
    with pytest.raises(MalformedModelError, match="no estimator"):
        FORMAT.read(files, claim, None)


def test_columns_keep_their_names() -> None:
    """A hand-written pickle with ``feature_names_in_`` as NumPy writes an array of objects."""
    dtype = "cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI63\ntb"
    empty = "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    names = f"{empty}(I1\n(I2\nt{dtype}I00\n(lS'age'\naS'height'\natb"
    text = (
        f"csklearn.linear_model._base\nLinearRegression\n)\x81(S'n_features_in_'\nI2\nS'feature_names_in_'\n{names}db."
    )
    files = MemoryFiles({"model.joblib": text.encode("latin-1")})
    claim = FORMAT.claim(files)
    assert claim is not None
    inputs = FORMAT.read(files, claim, None).signature.inputs
    assert inputs is not None
    assert inputs[0].to_json() == {
        "name": "input",
        "dType": "float64",
        "size": [-1, 2],
        "featureNames": ["age", "height"],
    }


def test_code_in_an_estimator_is_reported() -> None:
    text = "csklearn.svm._classes\nSVC\n)\x81(S'kernel'\ncos\nsystem\nS'n_features_in_'\nI2\ndb."
    files = MemoryFiles({"model.joblib": text.encode("latin-1")})
    claim = FORMAT.claim(files)
    assert claim is not None
    assert any("DANGEROUS" in note and "os.system" in note for note in FORMAT.read(files, claim, None).notes)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("RandomForestClassifier", Kind.CLASSIFIER),
        ("XGBRegressor", Kind.REGRESSOR),
        ("LogisticRegression", Kind.CLASSIFIER),
        ("LinearRegression", Kind.REGRESSOR),
        ("KMeans", Kind.CLUSTERER),
        ("IsolationForest", Kind.OUTLIER),
        ("PCA", Kind.TRANSFORMER),
        ("Mystery", Kind.UNKNOWN),
    ],
)
def test_a_class_has_a_kind(name: str, kind: Kind) -> None:
    assert kind_of(name) is kind
