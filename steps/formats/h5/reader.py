"""Keras models in HDF5: from the attributes of the root to a signature."""

from collections.abc import Mapping
from typing import Any, Final

from klever.steps.encodings.hdf5.file import File, Group
from klever.steps.errors import MalformedModelError
from klever.steps.files import Source
from klever.steps.formats.interface import Reading
from klever.steps.frameworks.keras import interpret, parse_config
from klever.steps.model.signature import Signature

#: Attributes of the root that say who wrote the file.
_FACTS: Final = ("keras_version", "backend")
#: Groups that only files of weights have: Keras 3 and 2.12 on, by layer and by dependency.
_WEIGHT_GROUPS: Final = frozenset({"layers", "_layer_checkpoint_dependencies", "_functional", "vars"})


def read_model(source: Source, author: Signature | None) -> Reading:
    """Read the signature from ``model_config``.

    Raises `MalformedModelError` where the file holds weights without a model, or no model of Keras at all.
    """
    config, facts = read_configuration(source)
    found = interpret(config, author)
    return Reading(found.signature, notes=found.notes, facts=facts)


def read_configuration(source: Source) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Read ``model_config`` and who wrote the file; raises as `read_model`."""
    root = File(source).root
    text = root.attribute("model_config")
    if not isinstance(text, str):
        raise _without_model(root)
    values = {name: root.attribute(name) for name in _FACTS if name in root.attributes}
    return parse_config(text), {name: value for name, value in values.items() if isinstance(value, str)}


def _without_model(root: Group) -> MalformedModelError:
    """Say what the file is instead; names of many layers are split over ``layer_names0``, ``layer_names1``, ..."""
    weights = any(name.startswith("layer_names") for name in root.attributes) or bool(
        _WEIGHT_GROUPS & root.children.keys()
    )
    if weights:
        return MalformedModelError(
            "the HDF5 file holds the weights of a Keras model without the model itself (no model_config)",
            next_step="build the model, load these weights and save it whole with model.save('model.h5')",
        )
    return MalformedModelError("the HDF5 file is not a Keras model: its root has no attribute model_config")
