"""Keras models in HDF5 become SavedModels, by the Keras that they were written for.

Inputs and outputs of the signature ``serving_default`` have the names of the layers. What does not belong here: Keras,
which the program `export_keras` runs.
"""

from klever.steps.converters.interface import SourceModel
from klever.steps.converters.keras_models import KerasConverter, KerasModel, export
from klever.steps.files import opened
from klever.steps.formats.h5.reader import read_configuration
from klever.steps.formats.h5.weights import check_weights


class H5ToSavedModel(KerasConverter):
    """Keras in HDF5 to SavedModel."""

    version = "1"


def open_model(model: SourceModel) -> KerasModel:
    """Read what the file says of its model; raises a `ModelError`, also for a file of weights alone."""
    name = model.claim.files[0]
    with opened(model.files, name) as content:
        config, facts = read_configuration(content)
    return KerasModel(model.local_path(name), "h5", config, facts)


def check_weights_of(model: SourceModel) -> None:
    """Raise a `ModelError` where libhdf5 would be led to other files or absurd sizes."""
    with opened(model.files, model.claim.files[0]) as content:
        check_weights(content)


CONVERTER = H5ToSavedModel(open_model, check_weights_of, export)
