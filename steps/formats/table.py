"""The table of formats, imported one by one when they are needed.

The order is that of help texts and the README. To add a format, add a row.
"""

from collections.abc import Iterator
from importlib import import_module
from types import MappingProxyType
from typing import Final

from klever.steps.errors import MetadataError
from klever.steps.formats.interface import Format

#: Format id to its module.
MODULES: Final = MappingProxyType(
    {
        name: f"klever.steps.formats.{name.lower()}"
        for name in (
            "SavedModel",
            "GraphDef",
            "H5",
            "Keras",
            "ONNX",
            "CaffeModel",
            "NetDef",
            "MXNetParams",
            "TorchScript",
            "PMML",
            "Safetensors",
            "GGUF",
            "MLflow",
            "SKLearn",
            "XGBoost",
            "MLlib",
            "TensorRT",
            "Pickle",
            "Others",
        )
    }
)


def format_id(name: str) -> str:
    """Return a format's id by its name in any case; raises `MetadataError` with the known ids otherwise."""
    for known in MODULES:
        if known.lower() == name.lower():
            return known
    raise MetadataError(f"there is no format {name!r}", next_step=f"use one of {', '.join(MODULES)}")


def load_format(name: str) -> Format:
    """Return the format of that name; raises `MetadataError` as `format_id` does."""
    found: Format = import_module(MODULES[format_id(name)]).FORMAT
    return found


def all_formats() -> Iterator[Format]:
    """Yield every format in the table's order."""
    for name in MODULES:
        yield load_format(name)
