"""What the program that runs TensorFlow models has to know beyond their files: tensors, a checked configuration.

What does not belong here: other formats.
"""

from typing import Any

from klever.steps.converters.h5_to_savedmodel import open_model as open_h5
from klever.steps.converters.interface import Options, SourceModel
from klever.steps.converters.keras_models import check_keras, request_of
from klever.steps.converters.keras_to_savedmodel import open_model as open_archive
from klever.steps.formats.savedmodel.reader import read_served, served_signature
from klever.steps.model.signature import Tensor


def described(model: SourceModel, format_id: str) -> dict[str, Any]:
    """Return the part of a request that a SavedModel or a Keras model needs; raises a `ModelError`."""
    if format_id == "SavedModel":
        return _saved_model(model)
    source = open_h5(model) if format_id == "H5" else open_archive(model)
    check_keras(source)
    return {"model": request_of(source, Options())}


def _saved_model(model: SourceModel) -> dict[str, Any]:
    graph = read_served(model.files, model.claim.files[0])
    chosen = served_signature(graph)
    if chosen is None:
        return {"tags": graph.tags}
    signature = graph.signatures[chosen]
    # An input and an output may have one name, and be two tensors.
    return {
        "tags": graph.tags,
        "tensors": {"inputs": _tensors(signature.inputs or ()), "outputs": _tensors(signature.outputs or ())},
    }


def _tensors(tensors: tuple[Tensor, ...]) -> dict[str, str]:
    return {tensor.name: tensor.tensor_name for tensor in tensors if tensor.tensor_name is not None}
