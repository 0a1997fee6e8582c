"""Pickles are judged by their names before anything loads them, then convert as scikit-learn computes."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.sklearn_to_onnx import CONVERTER, judge_file
from klever.steps.converters.sklearn_to_onnx.names import judge_names
from klever.steps.converters.sklearn_to_onnx.versions import environment_of
from klever.steps.encodings.pickle import Global
from klever.steps.errors import ConversionError, TruncatedModelError, UnsafeModelError, UnsupportedOperatorsError
from klever.steps.extract import extract
from klever.steps.files import LocalFiles, MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.model.signature import Signature, Tensor
from klever.steps.recognise import recognise

SIGNATURE = Signature(
    inputs=(Tensor(name="input", dtype="float64", shape=(-1, 5)),),
    outputs=(Tensor(name="predict", dtype="int64", shape=(-1,)),),
)


def source_of(folder: Path) -> SourceModel:
    model = recognise(folder / "model")
    signature = extract(model).metadata.signature
    assert signature is not None
    return SourceModel(model.files, model.claim, signature)


def pickled(data: bytes) -> SourceModel:
    return SourceModel(MemoryFiles({"m.pkl": data}), Claim(Evidence.CONTENT, ("m.pkl",)), SIGNATURE)


def naming(*names: str, called: bool = False) -> bytes:
    """Return a pickle of a list of globals, the last of which is called with nothing if ``called``."""
    found = b"".join(
        b"c" + name.rpartition(".")[0].encode() + b"\n" + name.rpartition(".")[2].encode() + b"\n" for name in names
    )
    return b"\x80\x02(" + found + (b"(tR" if called else b"") + b"l."


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "builtins.getattr",
        "sklearn.externals.joblib.load",
        "joblib.load",
        "numpy.load",
        "operator.attrgetter",
        "mine.Estimator",
        "sklearn.utils.estimator_checks.check_estimator",
        "sklearn.datasets._base.load_files",
        "functools.partial",
    ],
)
@pytest.mark.parametrize("called", [False, True])
def test_a_name_that_is_not_on_the_list_is_refused_by_name(name: str, called: bool) -> None:
    with pytest.raises(UnsafeModelError, match=name.rpartition(".")[2].replace(".", r"\.")):
        CONVERTER.survey(pickled(naming("sklearn.svm._classes.SVC", name, called=called)), Options())


def test_an_exec_in_an_array_of_objects_is_found() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return eval, ("1",)

    stream = io.BytesIO()
    pickle.dump([1, Evil()], stream, protocol=2)
    with pytest.raises(UnsafeModelError, match="eval"):
        CONVERTER.survey(pickled(stream.getvalue()), Options())


def test_nothing_is_loaded_or_written_where_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelError):
        CONVERTER.convert(pickled(naming("posix.system")), Options(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_classes_that_nothing_converts_are_all_listed(tmp_path: Path) -> None:
    names = ("sklearn.cluster._birch.Birch", "sklearn.svm._classes.SVC", "lightgbm.sklearn.LGBMClassifier")
    survey = CONVERTER.survey(pickled(naming(*names)), Options())
    assert {each.operator for each in survey.uncovered} == {"Birch", "LGBMClassifier"}
    with pytest.raises(UnsupportedOperatorsError) as raised:
        CONVERTER.convert(pickled(naming(*names)), Options(), tmp_path)
    assert set(raised.value.operators) == {"Birch", "LGBMClassifier"}


def test_old_modules_are_loaded_from_where_they_moved() -> None:
    judged = judge_names([
        Global("sklearn.ensemble.forest", "RandomForestClassifier"),
        Global("copy_reg", "_reconstructor"),
        Global("sklearn.externals.joblib.numpy_pickle", "NumpyArrayWrapper"),
    ])  # fmt: skip
    assert not judged.unsafe
    assert not judged.uncovered
    assert dict(judged.allowed) == {
        "sklearn.ensemble.forest.RandomForestClassifier": "sklearn.ensemble._forest.RandomForestClassifier",
        "copy_reg._reconstructor": "copyreg._reconstructor",
        "sklearn.externals.joblib.numpy_pickle.NumpyArrayWrapper": "joblib.numpy_pickle.NumpyArrayWrapper",
    }


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("0.24.2", "convert-sklearn-0.24"),
        ("0.17", "convert-sklearn-0.24"),
        (None, "convert-sklearn-0.24"),
        ("1.0.2", "convert-sklearn-1.2"),
        ("1.2.2", "convert-sklearn-1.2"),
        ("1.3.0", "convert-sklearn"),
        ("1.10.dev0", "convert-sklearn"),
        ("nonsense", "convert-sklearn-0.24"),
    ],
)
def test_the_version_that_wrote_a_pickle_chooses_the_environment(version: object, name: str) -> None:
    assert environment_of(version) == name


def test_the_survey_tells_the_environment_of_the_file(models: Path) -> None:
    assert CONVERTER.survey(source_of(models / "SKLearn" / "gb_0_24"), Options()).environment == "convert-sklearn-0.24"
    assert CONVERTER.survey(source_of(models / "SKLearn" / "rf_1_9"), Options()).environment == "convert-sklearn"


def test_every_model_of_the_repository_names_what_is_allowed(models: Path) -> None:
    for folder in sorted((models / "SKLearn").iterdir()):
        (path,) = (folder / "model").iterdir()
        source = SourceModel(LocalFiles({"m": path}), Claim(Evidence.CONTENT, ("m",)), SIGNATURE)
        if folder.name.startswith("bad_"):
            with pytest.raises(TruncatedModelError):
                judge_file(source)
        else:
            assert not judge_file(source).names.uncovered


def test_the_number_of_features_is_asked_for_where_the_file_does_not_tell() -> None:
    source = SourceModel(
        MemoryFiles({"m.pkl": naming("sklearn.svm._classes.SVC")}), Claim(Evidence.CONTENT, ("m.pkl",)), Signature()
    )
    assert [each.answer for each in CONVERTER.survey(source, Options()).questions] == ["--shape input=-1,FEATURES"]
    assert not CONVERTER.survey(source, Options(shapes={"input": (-1, 4)})).questions


CASES = {
    "0.24": ["gb_0_24", "knn_0_24", "lr_0_24", "moc_0_24", "pickled_0_24", "rf_0_24", "svc_0_24", "vote_0_24"],
    "": ["ct_1_9", "dt_1_9", "gs_1_9", "hgb_1_9", "km_1_9", "lin2_1_9", "mlp_1_9", "pca_1_9", "pipe_1_9", "rf_1_9",
         "stack_1_9", "text_1_9"],
}  # fmt: skip


def check(folder: Path, directory: Path) -> None:
    """Convert, which compares with the estimator on the way, and see that names, types and shapes are the source's."""
    onnx = pytest.importorskip("onnx")
    source = source_of(folder)
    CONVERTER.convert(source, Options(opset=17), directory)
    model = onnx.load(directory / "model.onnx")
    made = [(each.name, len(each.type.tensor_type.shape.dim)) for each in (*model.graph.input, *model.graph.output)]
    wanted = [*(source.signature.inputs or ()), *(source.signature.outputs or ())]
    assert made == [(tensor.name, len(tensor.shape or ())) for tensor in wanted]


@pytest.mark.environment("convert-sklearn-0.24")
@pytest.mark.parametrize("name", CASES["0.24"])
def test_estimators_of_old_versions_convert(models: Path, name: str, tmp_path: Path) -> None:
    check(models / "SKLearn" / name, tmp_path)


@pytest.mark.environment("convert-sklearn")
@pytest.mark.parametrize("name", CASES[""])
def test_estimators_of_new_versions_convert(models: Path, name: str, tmp_path: Path) -> None:
    check(models / "SKLearn" / name, tmp_path)


@pytest.mark.environment("convert-sklearn")
def test_the_program_itself_refuses_a_name_that_was_not_judged(models: Path, tmp_path: Path) -> None:
    from klever.steps.environments import run

    (path,) = (models / "SKLearn" / "rf_1_9" / "model").iterdir()
    expected = json.loads((models / "SKLearn" / "rf_1_9" / "expected.json").read_text())
    request = {
        "path": str(path), "output": str(tmp_path / "model.onnx"), "opset": 17, "names": {}, "rows": -1,
        "inputs": [{"name": "input", "dtype": "float64", "shape": expected["inputs"][0]["size"]}], "outputs": [],
    }  # fmt: skip
    with pytest.raises(ConversionError, match="not seen to name before"):
        run("convert-sklearn", "export_sklearn", request)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.environment("convert-sklearn")
def test_the_program_gives_no_state_to_a_class(tmp_path: Path) -> None:
    from klever.steps.environments import run

    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x02csklearn.svm._classes\nSVC\nN}X\x07\x00\x00\x00predictK\x01s\x86b.")
    names = {"sklearn.svm._classes.SVC": "sklearn.svm._classes.SVC"}
    request = {
        "path": str(path), "output": str(tmp_path / "model.onnx"), "opset": 17, "names": names, "rows": -1,
        "inputs": [{"name": "input", "dtype": "float64", "shape": [-1, 5]}], "outputs": [],
    }  # fmt: skip
    with pytest.raises(ConversionError, match="changes a class"):
        run("convert-sklearn", "export_sklearn", request)
