"""Which program runs a model of a format, and in which environment.

What does not belong here: what a program is asked (see ``requests``).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple


class Runner(NamedTuple):
    """A program of `klever.steps.programs` that runs models, and the environment that it needs."""

    environment: str
    program: str


ONNX: Final = Runner("prove-onnx", "run_onnx")
_TENSORFLOW: Final = Runner("convert-tensorflow", "run_tensorflow")

#: Format to what runs its models.
RUNNERS: Final[Mapping[str, Runner]] = MappingProxyType(
    {
        "CaffeModel": Runner("prove-caffe", "run_opencv"),
        "GraphDef": _TENSORFLOW,
        "H5": _TENSORFLOW,
        "Keras": _TENSORFLOW,
        "MXNetParams": Runner("prove-mxnet", "run_mxnet"),
        "NetDef": Runner("prove-caffe2", "run_caffe2"),
        "ONNX": ONNX,
        "SavedModel": _TENSORFLOW,
        "SKLearn": Runner("convert-sklearn", "run_sklearn"),
        "TorchScript": Runner("convert-torch", "run_torch"),
        "XGBoost": Runner("prove-xgboost", "run_xgboost"),
    }
)


def needed_environments(source: str, result: str) -> tuple[str, ...]:
    """Return the environments that a comparison of these two formats needs.

    A NetDef that was made needs none of Caffe2: as ONNX it runs where ONNX does.
    """
    runners = (RUNNERS.get(source), ONNX if result == "NetDef" else RUNNERS.get(result))
    return tuple(dict.fromkeys(runner.environment for runner in runners if runner))
