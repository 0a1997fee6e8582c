"""Keras archives (``.keras``) become SavedModels, by the Keras that they were written for.

Inputs and outputs of the signature ``serving_default`` have the names of the layers. What does not belong here: Keras,
which the program `export_keras` runs.
"""

from typing import Final

from klever.steps.converters.interface import SourceModel
from klever.steps.converters.keras_models import KerasConverter, KerasModel, export
from klever.steps.encodings.zip import ZipArchive
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.files import opened
from klever.steps.formats.h5.weights import check_weights
from klever.steps.formats.keras.reader import read_configuration

#: The members that hold weights, of which a loader takes the first that is there.
_WEIGHTS: Final = "model.weights.h5"
_WEIGHTS_NPZ: Final = "model.weights.npz"
#: Keras stores without compression; vocabularies in text may be deflated by other tools.
_MAX_RATIO: Final = 64
_SLACK_BYTES: Final = 64 << 20


class KerasToSavedModel(KerasConverter):
    """A Keras archive to SavedModel."""

    version = "1"


def open_model(model: SourceModel) -> KerasModel:
    """Read what the archive says of its model; raises a `ModelError`."""
    name = model.claim.files[0]
    with opened(model.files, name) as content:
        config, facts = read_configuration(ZipArchive(content))
    return KerasModel(model.local_path(name), "keras", config, facts)


def check_weights_of(model: SourceModel) -> None:
    """Raise a `ModelError` where a loader would unpack or open what is not a model's weights."""
    with opened(model.files, model.claim.files[0]) as content:
        _check_members(ZipArchive(content))


def _check_members(archive: ZipArchive) -> None:
    members = archive.names.values()
    if (
        sum(member.size for member in members)
        > _MAX_RATIO * sum(member.compressed_size for member in members) + _SLACK_BYTES
    ):
        raise LimitExceededError("the members of the Keras archive expand to more than any real model's")
    if _WEIGHTS in archive.names:
        check_weights(archive.open(_WEIGHTS))
    elif _WEIGHTS_NPZ not in archive.names:
        raise MalformedModelError("the Keras archive has no weights")


CONVERTER = KerasToSavedModel(open_model, check_weights_of, export)
