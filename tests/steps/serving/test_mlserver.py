"""What MLServer finds in a model's directory, and what it is asked to serve."""

import json
from pathlib import Path
from typing import Any

import pytest

from klever.steps.errors import ServingError
from klever.steps.extract import extract
from klever.steps.files import MemoryFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Signature, Tensor
from klever.steps.recognise import recognise
from klever.steps.serving.servers.interface import Layout, Protocol, ServedModel, Tuning
from klever.steps.serving.servers.mlserver import SERVER
from klever.steps.serving.servers.table import load_server

MODELS = Path(__file__).parents[2] / "models"


def served(case: str, format_id: str | None = None) -> ServedModel:
    """A model of the tests as a server gets it."""
    model = recognise(MODELS / case / "model", format_id=format_id)
    metadata = extract(model).metadata
    return ServedModel("it", model.format.id, model.files, model.claim, metadata.signature or Signature(), metadata)


def settings(layout: Layout) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(layout.texts["model-settings.json"])
    return found


def made_up(signature: Signature, format_id: str = "ONNX") -> ServedModel:
    files = MemoryFiles({"model.onnx": b"\x08\x07"})
    return ServedModel(
        "it", format_id, files, Claim(Evidence.NAME, ("model.onnx",)), signature, Metadata(format=format_id)
    )


def test_it_is_the_servers_table() -> None:
    assert load_server("mlserver") is SERVER


def test_an_onnx_model_is_served_by_the_runtime_of_ours() -> None:
    layout = SERVER.layout(served("ONNX/cnn_dynamic_dims"), Tuning())
    assert layout.files == {"model/model.onnx": "model.onnx"}
    assert settings(layout) == {
        "name": "it",
        "implementation": "serve_onnx.OnnxModel",
        "platform": "onnx",
        "versions": ["1"],
        "parameters": {"uri": "model/model.onnx", "version": "1", "extra": {"instances": 1}},
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3, -1, -1]}],
        "outputs": [{"name": "prob", "datatype": "FP32", "shape": [-1, 5]}],
    }


def test_external_data_keep_their_place_beside_the_model() -> None:
    layout = SERVER.layout(served("ONNX/external_data_in_a_folder"), Tuning())
    assert layout.files == {"model/model.onnx": "model.onnx", "model/weights/w.bin": "weights/w.bin"}


def test_a_model_under_another_name_is_found_by_it() -> None:
    layout = SERVER.layout(served("ONNX/under_another_name"), Tuning())
    assert settings(layout)["parameters"]["uri"] in layout.files


def test_text_scalars_and_booleans_have_the_protocols_names() -> None:
    told = settings(SERVER.layout(served("ONNX/dtypes_string_fp16_bool_scalar"), Tuning()))
    assert [(each["datatype"], each["shape"]) for each in told["inputs"]] == [
        ("BYTES", [-1]),
        ("INT64", [2]),
        ("FP16", [2]),
        ("BOOL", []),
    ]


@pytest.mark.parametrize(
    ("case", "name"),
    [
        ("XGBoost/json_3_softmax", "model.json"),
        ("XGBoost/ubjson_1_6", "model.ubj"),
        ("XGBoost/json_1_6_dart", "model.json"),
    ],
)
def test_a_booster_gets_the_name_that_tells_its_encoding(case: str, name: str) -> None:
    model = served(case)
    layout = SERVER.layout(model, Tuning())
    assert layout.files == {f"model/{name}": model.claim.files[0]}
    assert settings(layout)["implementation"] == "mlserver_xgboost.XGBoostModel"
    assert settings(layout)["parameters"]["uri"] == f"model/{name}"


def test_a_booster_in_the_binary_encoding_is_refused_before_it_is_started() -> None:
    model = served("XGBoost/binary_0_90")
    (lack,) = SERVER.lacks(model)
    with pytest.raises(ServingError, match="binary encoding") as caught:
        SERVER.layout(model, Tuning())
    assert lack in caught.value.cause
    assert "ONNX" in caught.value.next_step


def test_an_estimator_is_asked_for_what_it_can() -> None:
    forest = settings(SERVER.layout(served("SKLearn/rf_1_9"), Tuning()))
    assert forest["implementation"] == "mlserver_sklearn.SKLearnModel"
    assert "extra" not in forest["parameters"]
    assert [each["name"] for each in forest["outputs"]] == ["predict", "predict_proba"]
    components = settings(SERVER.layout(served("SKLearn/pca_1_9"), Tuning()))
    assert components["parameters"]["extra"] == {"predict_fn": "transform"}


def test_clients_see_a_list_as_the_column_that_mlserver_makes_of_it() -> None:
    model = served("SKLearn/rf_1_9")
    layout = SERVER.layout(model, Tuning())
    assert [each["shape"] for each in settings(layout)["outputs"]] == [[-1, 1], [-1, 3]]
    assert layout.seen is not None
    assert [each.shape for each in layout.seen.outputs or ()] == [(-1, 1), (-1, 3)]
    assert layout.seen.inputs == model.signature.inputs
    assert SERVER.layout(served("ONNX/cnn_dynamic_dims"), Tuning()).seen is None


def test_a_pickled_estimator_comes_with_a_warning_and_under_a_name_that_is_known() -> None:
    layout = SERVER.layout(served("SKLearn/pickled_0_24"), Tuning())
    assert layout.files == {"model/model.joblib": "model.pkl"}
    assert any("unpickles" in note for note in layout.notes)


def test_a_directory_of_mlflow_is_served_whole_and_tells_its_own_signature() -> None:
    layout = SERVER.layout(served("MLflow/ormb_sample_without_signature"), Tuning())
    assert layout.files.keys() == {"model/MLmodel", "model/conda.yaml", "model/model.pkl"}
    told = settings(layout)
    assert told["parameters"]["uri"] == "model"
    assert "inputs" not in told


def test_clients_see_mlflows_output_under_the_name_that_mlserver_gives_it() -> None:
    seen = SERVER.layout(served("MLflow/columns"), Tuning()).seen
    assert seen is not None
    assert [(each.name, each.shape) for each in seen.outputs or ()] == [("output-1", (-1, 1))]


def test_a_model_of_spark_is_not_taken_and_told_why() -> None:
    model = served("MLlib/ormb_sample")
    assert "MLlib" not in SERVER.formats
    assert "spark.mllib" in SERVER.lacks(model)[0]
    with pytest.raises(ServingError, match="does not take MLlib"):
        SERVER.layout(model, Tuning())


@pytest.mark.parametrize("case", ["ONNX/cnn_dynamic_dims", "SKLearn/rf_1_9", "XGBoost/ubjson_1_6", "MLflow/columns"])
def test_nothing_of_a_model_lies_where_python_looks_for_modules(case: str) -> None:
    layout = SERVER.layout(served(case), Tuning())
    assert layout.files
    assert all(path.startswith("model/") for path in layout.files)
    assert layout.texts.keys() == {"model-settings.json", "settings.json"}


def test_requests_wait_for_each_other_only_where_somebody_asks_for_it() -> None:
    model = served("ONNX/cnn_dynamic_dims")
    assert "max_batch" not in settings(SERVER.layout(model, Tuning()))["parameters"]["extra"]
    asked = settings(SERVER.layout(model, Tuning(max_batch=8, queue_delay=500)))
    assert asked["parameters"]["extra"] == {"instances": 1, "max_batch": 8, "queue_delay": 500}
    none = settings(SERVER.layout(model, Tuning(max_batch=0, queue_delay=500)))
    assert none["parameters"]["extra"] == {"instances": 1}
    forest = settings(SERVER.layout(served("SKLearn/rf_1_9"), Tuning(queue_delay=500)))
    assert (forest["max_batch_size"], forest["max_batch_time"]) == (32, 0.0005)


def test_a_size_without_a_delay_is_noted_as_without_effect() -> None:
    layout = SERVER.layout(served("ONNX/cnn_dynamic_dims"), Tuning(max_batch=8))
    assert any("without a delay" in note for note in layout.notes)


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (
            Signature(
                inputs=(Tensor(name="x", dtype="float32", shape=(2, 3)),),
                outputs=(Tensor(name="y", dtype="float32", shape=(-1, 3)),),
            ),
            "the first dimension of 'x' is fixed",
        ),
        (
            Signature(
                inputs=(Tensor(name="x", dtype="float32", shape=(-1, 3)),),
                outputs=(Tensor(name="y", dtype="float32", shape=()),),
            ),
            "the first dimension of 'y' is fixed",
        ),
        (Signature(), "the signature is not known"),
    ],
)
def test_what_cannot_be_put_on_top_of_each_other_is_not_batched(signature: Signature, why: str) -> None:
    layout = SERVER.layout(made_up(signature), Tuning(queue_delay=500))
    assert settings(layout)["parameters"]["extra"] == {"instances": 1}
    assert any(why in note for note in layout.notes)


@pytest.mark.parametrize("dtype", [None, "bfloat16", "complex64"])
def test_tensors_that_mlserver_has_no_name_for_are_left_to_the_runtime(dtype: str | None) -> None:
    signature = Signature(inputs=(Tensor(name="x", dtype=dtype, shape=(1,)),), outputs=())
    assert "inputs" not in settings(SERVER.layout(made_up(signature), Tuning()))


def test_instances_are_threads_of_ours_and_noted_as_without_use_elsewhere() -> None:
    ours, theirs = (
        SERVER.layout(served(case), Tuning(instances=3)) for case in ("ONNX/cnn_dynamic_dims", "SKLearn/rf_1_9")
    )
    assert settings(ours)["parameters"]["extra"]["instances"] == 3
    assert not any("one copy" in note for note in ours.notes)
    assert any("one copy" in note for note in theirs.notes)
    for layout in (ours, theirs):
        assert json.loads(layout.texts["settings.json"])["parallel_workers"] == 0


def test_the_process_answers_where_its_platform_says() -> None:
    process = SERVER.process("it", Tuning())
    assert process.image == "serve-mlserver"
    assert process.ports == {"http": 8080, "grpc": 8081, "metrics": 8082}
    assert (process.live, process.ready) == ("/v2/health/live", "/v2/models/it/ready")
    assert process.protocol is Protocol.V2
    assert process.environment["MLSERVER_HTTP_PORT"] == "{http}"
    # A port in the file would win over the platform's.
    told = json.loads(SERVER.layout(served("ONNX/cnn_dynamic_dims"), Tuning()).texts["settings.json"])
    assert not any(key.endswith("port") for key in told)


def test_a_graphics_card_is_noted_as_without_use() -> None:
    layout = SERVER.layout(served("ONNX/cnn_dynamic_dims"), Tuning(gpu=True))
    assert any("processors" in note for note in layout.notes)
