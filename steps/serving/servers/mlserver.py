"""MLServer: ONNX by a runtime of ours, SKLearn, XGBoost and MLflow by its own.

The model's directory holds ``settings.json`` of the server, ``model-settings.json`` of the model, and the model's files
below ``model/``, so that nothing of the model lies where Python looks for modules. What does not belong here: the
runtime for ONNX, which is a program (`klever.steps.programs`).
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.model.signature import Signature, Tensor
from klever.steps.serving.datatypes import datatype_of
from klever.steps.serving.servers.interface import Layout, Process, Protocol, ServedModel, Server, Tuning

#: Below which the model's files lie.
_FOLDER: Final = "model"
#: The version that every model has here, as Triton's only one has.
_VERSION: Final = "1"
#: Format to the class that serves it; the first is ours.
_RUNTIMES: Final = MappingProxyType(
    {
        "ONNX": "serve_onnx.OnnxModel",
        "SKLearn": "mlserver_sklearn.SKLearnModel",
        "XGBoost": "mlserver_xgboost.XGBoostModel",
        "MLflow": "mlserver_mlflow.MLflowRuntime",
    }
)
#: What MLServer has no name for (`mlserver.types.Datatype`).
_UNKNOWN: Final = frozenset({"BF16"})
#: Rows in a batch where somebody asks for a delay and no size.
_BATCH: Final = 32
#: Methods of an estimator that MLServer calls, in the order in which one is preferred where none is asked for.
_METHODS: Final = ("predict", "transform", "predict_proba")
#: Of the server. Ports are not among them: what stands here wins over what a platform says in variables.
_SETTINGS: Final = MappingProxyType(
    {
        # It logs every request otherwise.
        "debug": False,
        # Other processes import everything once more, and were seen to hang in their start.
        "parallel_workers": 0,
        # Numbers hardly shrink, and to try takes longer than to send them.
        "gzip_enabled": False,
        # Requests are tensors: gRPC's own limit of 4 MiB is one picture.
        "grpc_max_message_length": 1 << 30,
    }
)
_CONVERT: Final = "convert the model to ONNX, which MLServer serves by onnxruntime"


class MLServer(Server):
    """Seldon's MLServer."""

    id = "mlserver"
    formats = frozenset(_RUNTIMES)
    runs_in = "serve-mlserver"

    def lacks(self, model: ServedModel) -> tuple[str, ...]:
        """Return why MLServer cannot serve the model; the runtimes themselves find out what a model takes."""
        if model.format == "XGBoost" and _booster_name(model) is None:
            return ("XGBoost 3.1 and later do not read the binary encoding: save the model as UBJSON with XGBoost 2",)
        if model.format == "SKLearn" and not _method(model):
            return ("the estimator has neither of predict, transform and predict_proba, which MLServer calls",)
        if model.format == "MLlib":
            return ("MLServer's runtime for Spark takes models of spark.mllib alone, and fails on every request",)
        return ()

    def layout(self, model: ServedModel, tuning: Tuning) -> Layout:
        """Return both settings, and where the model's files lie; raises `ServingError`."""
        if model.format not in self.formats:
            raise ServingError(f"mlserver does not take {model.format}", next_step=_CONVERT)
        if lacks := self.lacks(model):
            raise ServingError(f"mlserver cannot serve {model.name}: {lacks[0]}", next_step=_CONVERT)
        files, uri = _files(model)
        notes = list(_notes(model, tuning))
        texts = {"model-settings.json": _model_settings(model, tuning, uri), "settings.json": _SETTINGS}
        generated = {path: _json(document) for path, document in texts.items()}
        return Layout(files, generated, tuple(notes), seen=_seen(model))

    def process(self, name: str, tuning: Tuning) -> Process:
        """Return how MLServer is started by our program, which the variables of its ports reach too."""
        del tuning
        return Process(
            image=self.runs_in,
            command=("python", "-s", "{programs}/serve_mlserver.py", "{directory}/{name}"),
            ports=MappingProxyType({"http": 8080, "grpc": 8081, "metrics": 8082}),
            live="/v2/health/live",
            ready=f"/v2/models/{name}/ready",
            protocol=Protocol.V2,
            environment=MappingProxyType(
                {
                    "MLSERVER_HOST": "{host}",
                    "MLSERVER_HTTP_PORT": "{http}",
                    "MLSERVER_GRPC_PORT": "{grpc}",
                    "MLSERVER_METRICS_PORT": "{metrics}",
                }
            ),
        )


def _files(model: ServedModel) -> tuple[dict[str, str], str]:
    """Return which file lies where, and the path that the runtime is told."""
    match model.format:
        case "ONNX":
            # External data are found by their place beside the model, under whatever name the model has.
            return {f"{_FOLDER}/{path}": path for path in model.files.sizes}, f"{_FOLDER}/{model.claim.files[0]}"
        case "MLflow":
            return {f"{_FOLDER}/{path}": path for path in model.files.sizes}, _FOLDER
        case "XGBoost":
            place = f"{_FOLDER}/{_booster_name(model)}"
        case _:
            place = f"{_FOLDER}/model.joblib"
    return {place: model.claim.files[0]}, place


def _booster_name(model: ServedModel) -> str | None:
    """Return the name by which XGBoost knows a model's encoding; None for the one that it reads no more.

    Of another name XGBoost 3 thinks that the file is UBJSON.
    """
    head = model.files.head(model.claim.files[0])
    if head[:1] == b"{" and head[1:2] and head[1:2] in b"iUIlL$#":
        return "model.ubj"
    return "model.json" if head.lstrip()[:1] == b"{" else None


def _method(model: ServedModel) -> str | None:
    """Return the method that is called where a request does not say; where the outputs are not known, the usual one."""
    outputs = model.signature.outputs
    if not outputs:
        return _METHODS[0]
    names = {tensor.name for tensor in outputs}
    return next((method for method in _METHODS if method in names), None)


def _model_settings(model: ServedModel, tuning: Tuning, uri: str) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    parameters: dict[str, Any] = {"uri": uri, "version": _VERSION}
    document: dict[str, Any] = {
        "name": model.name,
        "implementation": _RUNTIMES[model.format],
        "platform": model.format.lower(),
        "versions": [_VERSION],
        "parameters": parameters,
    }
    rows = _rows(model, tuning)
    if model.format == "ONNX":
        extra = {"instances": tuning.instances}
        if rows:
            extra |= {"max_batch": rows, "queue_delay": tuning.queue_delay}
    elif rows:
        document |= {"max_batch_size": rows, "max_batch_time": tuning.queue_delay / 1e6}
    if model.format == "SKLearn" and (method := _method(model)) != "predict":
        extra["predict_fn"] = method
    if extra:
        parameters["extra"] = extra
    seen = _seen(model) or model.signature
    for key, tensors in (("inputs", seen.inputs), ("outputs", seen.outputs)):
        # MLflow's runtime reads its own, with content types that tell tables from tensors.
        if model.format != "MLflow" and (told := _tensors(tensors or ())):
            document[key] = told
    return document


def _seen(model: ServedModel) -> Signature | None:
    """Return what clients of MLServer's own runtimes see: its codecs answer a list as a column."""
    outputs = model.signature.outputs
    if model.format == "ONNX" or not outputs:
        return None
    columns = [
        each.model_copy(update={"shape": (*each.shape, 1)}) if each.shape and len(each.shape) == 1 else each
        for each in outputs
    ]
    if model.format == "MLflow" and [each.name for each in outputs] == ["output-0"]:
        # MLflow counts what has no name from 0 on, MLServer what it answers from 1 on.
        columns = [columns[0].model_copy(update={"name": "output-1"})]
    return model.signature.model_copy(update={"outputs": tuple(columns)})


def _rows(model: ServedModel, tuning: Tuning) -> int:
    """Return the largest batch, 0 for none: without a delay requests never wait, and so never meet."""
    if not tuning.queue_delay or tuning.max_batch == 0 or _unbatched(model):
        return 0
    rows = _BATCH if tuning.max_batch is None else tuning.max_batch
    return rows if rows > 1 else 0


def _unbatched(model: ServedModel) -> str | None:
    """Return why requests cannot be put on top of each other."""
    if model.format == "MLflow":
        return "MLflow's models may take tables, so requests are not batched"
    signature = model.signature
    if not signature.inputs or not signature.outputs:
        return "the signature is not known, so requests are not batched"
    for tensor in (*signature.inputs, *signature.outputs):
        if not tensor.shape or tensor.shape[0] != -1:
            return f"the first dimension of {tensor.name[:80]!r} is fixed, so requests are not batched"
    return None


def _tensors(tensors: Sequence[Tensor]) -> list[dict[str, Any]]:
    """Return the metadata of tensors; none at all where some cannot be told, which would be taken for missing."""
    told = []
    for tensor in tensors:
        datatype = datatype_of(tensor.dtype)
        if datatype is None or datatype in _UNKNOWN or tensor.shape is None:
            return []
        told.append({"name": tensor.name, "datatype": datatype, "shape": list(tensor.shape)})
    return told


def _notes(model: ServedModel, tuning: Tuning) -> Sequence[str]:
    notes = []
    if (tuning.queue_delay or tuning.max_batch) and tuning.max_batch != 0 and (why := _unbatched(model)):
        notes.append(why)
    elif tuning.max_batch and not tuning.queue_delay:
        notes.append("without a delay no request waits for another, so requests are not batched")
    elif _rows(model, tuning):
        notes.append("requests run together along the first dimension, which has to count rows that stand alone")
    if tuning.instances > 1 and model.format != "ONNX":
        notes.append("a runtime of MLServer's own holds one copy of the model; ask the platform for replicas")
    if tuning.gpu:
        notes.append("MLServer runs its models on processors; the graphics card is not used")
    if model.format in ("SKLearn", "MLflow"):
        notes.append("loading the model unpickles it, which runs what the file names: serve what you trust")
    return notes


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(dict(document), indent=2, ensure_ascii=False) + "\n").encode()


SERVER = MLServer()
