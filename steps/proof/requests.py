"""What a program that runs a model is asked: the files, and what it has to know of them beyond their names.

What does not belong here: the inputs' values, and which program it is.
"""

from pathlib import Path
from typing import Any

from klever.steps.files import LocalFiles
from klever.steps.proof.interface import Subject


def build_request(subject: Subject, scratch: Path) -> dict[str, Any]:
    """Return what a program needs to run ``subject``, but for the arrays; ``scratch`` holds what has to be written."""
    request = _files(subject)
    signature = subject.model.signature
    request["input_names"] = [tensor.name for tensor in signature.inputs or ()]
    request["fetches"] = [tensor.name for tensor in signature.outputs or ()]
    if subject.format == "CaffeModel":
        from klever.steps.proof.caffe import deployed

        request |= deployed(subject.model, scratch)
    elif subject.format in ("H5", "Keras", "SavedModel"):
        from klever.steps.proof.tensorflow import described

        request |= described(subject.model, subject.format)
    if subject.format == "SKLearn":
        from klever.steps.converters.sklearn_to_onnx import judge_file

        request["names"] = dict(judge_file(subject.model).names.allowed)
    return request


def _files(subject: Subject) -> dict[str, Any]:
    model = subject.model
    if not isinstance(model.files, LocalFiles):
        raise TypeError("the files of a model that is run are on the local disk")
    files = {name: str(model.path(name).absolute()) for name in model.claim.files}
    return {"format": subject.format, "path": files[model.claim.files[0]], "files": files}
