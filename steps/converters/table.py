"""The table of converters, imported one by one when they are needed. To add a pair, add a row."""

from collections.abc import Iterator
from importlib import import_module
from typing import Final

from klever.steps.converters.interface import Converter

#: Modules of this room, named by source and target.
MODULES: Final = (
    "mxnetparams_to_onnx",
    "caffemodel_to_netdef",
    "netdef_to_onnx",
    "h5_to_savedmodel",
    "keras_to_savedmodel",
    "h5_to_onnx",
    "keras_to_onnx",
    "savedmodel_to_onnx",
    "graphdef_to_onnx",
    "torchscript_to_onnx",
    "sklearn_to_onnx",
    "xgboost_to_onnx",
)


def all_converters() -> Iterator[Converter]:
    """Yield every converter in the table's order."""
    for module in MODULES:
        converter: Converter = import_module(f"klever.steps.converters.{module}").CONVERTER
        yield converter
