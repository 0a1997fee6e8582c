"""Which Keras a configuration is for: Keras 3, or the Keras 1 and 2 that live on as tf_keras."""

import re
from collections.abc import Mapping
from typing import Any, Final

#: The packages that load them.
KERAS: Final = "keras"
TF_KERAS: Final = "tf_keras"

_MAJOR: Final = re.compile(r"(\d{1,3})\.")


def framework_of(config: Mapping[str, Any], version: str | None) -> str:
    """Return `KERAS` or `TF_KERAS`, by the version that wrote the file or else by the form of the configuration.

    Since 3.0 an InputLayer has ``batch_shape`` where it was ``batch_input_shape``, and the policy of a data type is an
    object (keras/src/layers/core/input_layer.py, keras/src/dtype_policies).
    """
    major = major_version(version)
    if major is None:
        return KERAS if _is_modern(config) else TF_KERAS
    return KERAS if major >= 3 else TF_KERAS


def major_version(version: str | None) -> int | None:
    """Return the first number of a version, None where there is none."""
    found = _MAJOR.match(version) if version is not None else None
    return int(found[1]) if found else None


def _is_modern(value: object) -> bool:
    if isinstance(value, list):
        return any(map(_is_modern, value))
    if not isinstance(value, Mapping):
        return False
    if value.get("class_name") == "DTypePolicy":
        return True
    config = value.get("config")
    if value.get("class_name") == "InputLayer" and isinstance(config, Mapping) and "batch_shape" in config:
        return True
    return any(map(_is_modern, value.values()))
