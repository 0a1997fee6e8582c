"""The table of pairs of formats, whose converters are imported when they are needed. To add a pair, add a row."""

from dataclasses import dataclass
from importlib import import_module
from typing import Final

from klever.steps.converters.interface import Converter, Exactness


@dataclass(frozen=True)
class Pair:
    """Two formats, by their ids, and how exactly the one becomes the other."""

    source: str
    target: str
    exactness: Exactness

    @property
    def id(self) -> str:
        """The name of the converter's module: ``mxnetparams_to_onnx``."""
        return f"{self.source}_to_{self.target}".lower()

    def load(self) -> Converter:
        """Import the converter."""
        converter: Converter = import_module(f"klever.steps.converters.{self.id}").CONVERTER
        return converter


PAIRS: Final = (
    Pair("MXNetParams", "ONNX", Exactness.EXACT),
    Pair("CaffeModel", "NetDef", Exactness.EXACT),
    Pair("NetDef", "ONNX", Exactness.EXACT),
    Pair("H5", "SavedModel", Exactness.EXACT),
    Pair("Keras", "SavedModel", Exactness.EXACT),
    Pair("H5", "ONNX", Exactness.REWRITTEN),
    Pair("Keras", "ONNX", Exactness.REWRITTEN),
    Pair("SavedModel", "ONNX", Exactness.REWRITTEN),
    Pair("GraphDef", "ONNX", Exactness.REWRITTEN),
    Pair("TorchScript", "ONNX", Exactness.REWRITTEN),
    Pair("SKLearn", "ONNX", Exactness.REWRITTEN),
    Pair("XGBoost", "ONNX", Exactness.EXACT),
)
