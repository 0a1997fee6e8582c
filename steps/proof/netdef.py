"""Run a NetDef that was made where there is no Caffe2: as the ONNX model that it becomes.

What does not belong here: a NetDef that is the source of a conversion. Its proof must not rest on our own converter.
"""

from pathlib import Path
from typing import Final

from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.netdef_to_onnx import CONVERTER
from klever.steps.files import LocalFiles
from klever.steps.formats.interface import Claim, Evidence
from klever.steps.proof.interface import Subject

#: What a certificate says of it.
NOTE: Final = f"the NetDef was run as ONNX, which netdef_to_onnx {CONVERTER.version} makes of it"


def as_onnx(subject: Subject, directory: Path) -> Subject:
    """Convert a NetDef into the empty ``directory`` and return it as a model to run, its names kept."""
    CONVERTER.convert(subject.model, Options(), directory)
    files = LocalFiles.below(directory)
    model = next(name for name in files.sizes if name.endswith(".onnx"))
    return Subject("ONNX", SourceModel(files, Claim(Evidence.CONTENT, (model,)), subject.model.signature))
