"""MLlib: the columns at both ends of a chain of saved stages."""

import json
from typing import Any

import pytest

from klever.steps.errors import (
    LimitExceededError,
    MalformedModelError,
    MissingFilesError,
    ModelError,
    TruncatedModelError,
)
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence, Reading
from klever.steps.formats.mllib import FORMAT

ML = "org.apache.spark.ml."
MLLIB = "org.apache.spark.mllib."


def stage(name: str, defaults: dict[str, Any] | None = None, /, **parameters: Any) -> bytes:
    """Return a stage's metadata; ``extra`` goes beside the parameters."""
    extra = parameters.pop("extra", {})
    document = {"class": name, "timestamp": 1, "sparkVersion": "3.5.0", "uid": "u", "paramMap": parameters}
    return json.dumps({**document, "defaultParamMap": defaults or {}, **extra}, separators=(",", ":")).encode() + b"\n"


def pipeline(*stages: bytes) -> dict[str, bytes]:
    files = {"metadata/part-00000": stage(f"{ML}PipelineModel", stageUids=["x"] * len(stages))}
    for index, metadata in enumerate(stages):
        files[f"stages/{index}_Stage_{index:x}/metadata/part-00000"] = metadata
    return files


def read(files: dict[str, bytes]) -> Reading:
    memory = MemoryFiles(files)
    return FORMAT.read(memory, FORMAT.claim(memory) or Claim(Evidence.NAME, ()), None)


def columns(files: dict[str, bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    signature = read(files).signature
    inputs, outputs = (
        {tensor.name: (tensor.dtype, tensor.shape) for tensor in part or ()}
        for part in (signature.inputs, signature.outputs)
    )
    return inputs, outputs


PREDICTOR = {
    "featuresCol": "features",
    "labelCol": "label",
    "predictionCol": "prediction",
    "probabilityCol": "probability",
    "rawPredictionCol": "rawPrediction",
    "leafCol": "",
}


def test_a_pipeline_takes_what_no_stage_makes_and_gives_what_no_stage_takes() -> None:
    files = pipeline(
        stage(f"{ML}feature.StringIndexerModel", {"outputCol": "u__output"}, inputCol="species", outputCol="label"),
        stage(f"{ML}feature.Tokenizer", inputCol="text", outputCol="words"),
        stage(f"{ML}feature.HashingTF", {"numFeatures": 262144}, inputCol="words", outputCol="tf", numFeatures=64),
        stage(f"{ML}feature.VectorAssembler", inputCols=["x", "tf"], outputCol="features"),
        stage(f"{ML}classification.RandomForestClassificationModel", PREDICTOR, extra={"numClasses": 3}),
        stage(f"{ML}feature.IndexToString", inputCol="prediction", outputCol="predicted"),
    )
    inputs, outputs = columns(files)
    assert inputs == {"text": ("object", (-1,)), "x": (None, None)}
    assert outputs == {
        "rawPrediction": ("float64", (-1, 3)),
        "probability": ("float64", (-1, 3)),
        "predicted": ("object", (-1,)),
    }
    assert read(files).signature.layers == {
        "StringIndexerModel": 1,
        "Tokenizer": 1,
        "HashingTF": 1,
        "VectorAssembler": 1,
        "RandomForestClassificationModel": 1,
        "IndexToString": 1,
    }


def test_stages_run_by_their_index_not_their_name() -> None:
    stages = [stage(f"{ML}feature.Normalizer", inputCol=f"c{n}", outputCol=f"c{n + 1}") for n in range(12)]
    inputs, outputs = columns(pipeline(*stages))
    assert (list(inputs), list(outputs)) == (["c0"], ["c12"])


def test_a_default_for_one_column_means_nothing_beside_several() -> None:
    encoder = stage(f"{ML}feature.OneHotEncoderModel", {"outputCol": "u__output"}, inputCols=["a"], outputCols=["b"])
    assert columns({"metadata/part-00000": encoder}) == ({"a": ("float64", (-1,))}, {"b": ("float64", (-1, -1))})


@pytest.mark.parametrize(
    ("name", "metadata", "inputs", "outputs"),
    [
        ("classification.SVMModel", {"numFeatures": 4}, {"features": (-1, 4)}, {"prediction": "float64"}),
        ("regression.LinearRegressionModel", {"numFeatures": 4}, {"features": (-1, 4)}, {"prediction": "float64"}),
        ("clustering.KMeansModel", {"k": 3}, {"features": (-1, -1)}, {"prediction": "int32"}),
        ("tree.RandomForestModel", {"metadata": {}}, {"features": (-1, -1)}, {"prediction": "float64"}),
        (
            "recommendation.MatrixFactorizationModel",
            {"rank": 8},
            {"user": (-1,), "product": (-1,)},
            {"rating": "float64"},
        ),
        ("feature.Word2VecModel", {"vectorSize": 5}, {"word": (-1,)}, {"vector": "float64"}),
    ],
)
def test_models_of_the_rdd_api_take_and_give_columns_by_their_class(
    name: str, metadata: dict[str, Any], inputs: dict[str, Any], outputs: dict[str, Any]
) -> None:
    line = json.dumps({"class": MLLIB + name, "version": "1.0", **metadata}).encode()
    given, made = columns({"metadata/part-00000": line, "data/part-00000": b"PAR1"})
    assert {column: shape for column, (_, shape) in given.items()} == inputs
    assert {column: dtype for column, (dtype, _) in made.items()} == outputs


def test_a_search_for_parameters_is_read_as_its_best_model() -> None:
    files = {
        "metadata/part-00000": stage(f"{ML}tuning.CrossValidatorModel"),
        "bestModel/metadata/part-00000": stage(f"{ML}clustering.KMeansModel", PREDICTOR, k=3),
    }
    assert columns(files)[1]["prediction"] == ("int32", (-1,))


def test_metadata_of_spark_4_is_found() -> None:
    line = stage(f"{ML}feature.Tokenizer", inputCol="a", outputCol="b")
    files = {"metadata/part-00000-1f-c000.txt": line, "metadata/_SUCCESS": b"", "metadata/.part-00000.crc": b"crc\0"}
    assert columns(files)[0] == {"a": ("object", (-1,))}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        (f"{ML}PipelineModel", ("stages/",)),
        (f"{ML}classification.LinearSVCModel", ("data/",)),
        (f"{MLLIB}classification.SVMModel", ("data/",)),
        (f"{ML}feature.Tokenizer", ()),
    ],
)
def test_missing_directories_are_named(name: str, missing: tuple[str, ...]) -> None:
    claim = FORMAT.claim(MemoryFiles({"metadata/part-00000": stage(name)}))
    assert claim is not None
    assert claim.evidence is Evidence.CONTENT
    assert claim.missing == missing


def test_stages_of_third_parties_are_claimed_and_other_metadata_is_not() -> None:
    foreign = stage("ml.dmlc.xgboost4j.scala.spark.XGBoostClassificationModel")
    assert FORMAT.claim(MemoryFiles({"metadata/part-00000": foreign, "data/x": b""})) is not None
    assert FORMAT.claim(MemoryFiles({"metadata/part-00000": b'{"class":"a.b.C","x":1}'})) is None
    assert FORMAT.claim(MemoryFiles({"other/metadata/part-00000": foreign})) is None


WIDE = stage(f"{ML}X", inputCols=[str(n) for n in range(20_001)])
NESTED = stage(f"{ML}tuning.CrossValidatorModel")


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({"metadata/part-00000": stage(f"{ML}PipelineModel")}, MissingFilesError),
        ({"x": b""}, MissingFilesError),
        ({"metadata/part-00000": stage(f"{ML}PipelineModel"), "stages/0_a/x": b""}, MissingFilesError),
        ({"metadata/part-00000": stage(f"{ML}X")[:-9]}, TruncatedModelError),
        ({"metadata/part-00000": b""}, TruncatedModelError),
        ({"metadata/part-00000": b"{a}"}, MalformedModelError),
        ({"metadata/part-00000": b"{}"}, MalformedModelError),
        ({"metadata/part-00000": b'{"class":3}'}, MalformedModelError),
        ({"metadata/part-00000": b'{"class":' + b"[" * 100_000 + b"}"}, LimitExceededError),
        (
            {"metadata/part-00000": stage(f"{ML}X", inputCols=["a"] * 9 + [str(n) for n in range(20_001)])},
            LimitExceededError,
        ),
        (
            {f"{'bestModel/' * n}metadata/part-0": stage(f"{ML}tuning.CrossValidatorModel") for n in range(20)},
            LimitExceededError,
        ),
    ],
    ids=[
        "a pipeline without stages",
        "no metadata",
        "a stage without metadata",
        "metadata cut short",
        "empty metadata",
        "metadata that is not JSON",
        "no class",
        "a class that is no name",
        "JSON nested too deep",
        "too many columns",
        "too many pipelines in one another",
    ],
)
def test_what_is_no_saved_model_is_refused(files: dict[str, bytes], error: type[ModelError]) -> None:
    with pytest.raises(error):
        read(files)
