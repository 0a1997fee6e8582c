"""Which program runs a model, and in which environment.

What does not belong here: what a program is asked (see ``requests``).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from klever.steps.converters.interface import SourceModel
from klever.steps.errors import EnvironmentMissingError
from klever.steps.proof.interface import Subject


class Runner(NamedTuple):
    """A program of `klever.steps.programs` that runs models, and the environment that it needs."""

    environment: str
    program: str


ONNX: Final = Runner("prove-onnx", "run_onnx")
_TENSORFLOW: Final = Runner("convert-tensorflow", "run_tensorflow")


def _xgboost(model: SourceModel) -> Runner:
    """Choose by the encoding: XGBoost dropped the binary one with 3.1, and JSON and UBJSON both begin with a brace."""
    head = model.files.head(model.claim.files[0])
    current = head.lstrip().startswith(b"{")
    return Runner("prove-xgboost" if current else "prove-xgboost-binary", "run_xgboost")


def _sklearn(model: SourceModel) -> Runner:
    """Choose by the version that wrote the pickle."""
    from klever.steps.converters.sklearn_to_onnx import judge_file

    return Runner(judge_file(model).environment, "run_sklearn")


#: Format to what runs its models, or to what chooses that by the model.
RUNNERS: Final[Mapping[str, Runner | Callable[[SourceModel], Runner]]] = MappingProxyType(
    {
        "CaffeModel": Runner("prove-caffe", "run_opencv"),
        "GraphDef": _TENSORFLOW,
        "H5": _TENSORFLOW,
        "Keras": _TENSORFLOW,
        "MXNetParams": Runner("prove-mxnet", "run_mxnet"),
        "NetDef": Runner("prove-caffe2", "run_caffe2"),
        "ONNX": ONNX,
        "SKLearn": _sklearn,
        "SavedModel": _TENSORFLOW,
        "TorchScript": Runner("convert-torch", "run_torch"),
        "XGBoost": _xgboost,
    }
)


def runner_of(subject: Subject) -> Runner:
    """Return what runs a model; raises `EnvironmentMissingError` where nothing does."""
    found = RUNNERS.get(subject.format)
    if found is None:
        raise EnvironmentMissingError(f"nothing runs {subject.format} models here")
    return found if isinstance(found, Runner) else found(subject.model)


def needed_environments(source: Subject, target: str) -> tuple[str, ...]:
    """Return the environments that a comparison of a model with its result in the format ``target`` needs.

    A NetDef that was made needs none of Caffe2: as ONNX it runs where ONNX does.
    """
    runners = [runner_of(source)] if source.format in RUNNERS else []
    result = ONNX if target == "NetDef" else RUNNERS.get(target)
    if isinstance(result, Runner):
        runners.append(result)
    return tuple(dict.fromkeys(runner.environment for runner in runners))
