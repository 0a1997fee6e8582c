"""The arguments of operations, wherever they are written, and the name that finds an operation's rule.

tf.keras gives constants to the call by name; Keras 3 by position, or in the operation's configuration.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from klever.steps.frameworks.keras.document import MAX_RANK, ConfigError, as_integer
from klever.steps.frameworks.keras.layer import RECORDED, Call, Layer, Spec
from klever.steps.frameworks.keras.rules.recorded import function_name
from klever.steps.model.shapes import UNKNOWN, normalise_axis

_CAPITAL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def operation_name(layer: Layer) -> str:
    """Return the name under which an operation is looked up."""
    written = layer.config.get("function")
    if not isinstance(written, str):
        written = layer.class_name if layer.class_name != RECORDED else function_name(layer)
    text = _CAPITAL.sub("_", written)
    return text.rpartition(".")[2].lower().removeprefix("reduce_").removesuffix("_v2")


def parameter(layer: Layer, call: Call, position: int, *names: str) -> Any:
    """Return an argument by position or name, or a field of the configuration of one of the names; else None."""
    value = call.argument(position, *names)
    if value is None:
        value = next((layer.config[name] for name in names if name in layer.config), None)
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        return value.get("items")
    return value


def axes_of(value: object, rank: int) -> list[int] | None:
    """Return the axes of a parameter, None for all of them."""
    if value is None:
        return None
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_RANK:
        raise ConfigError("more axes than any tensor has")
    return [normalise_axis(as_integer(axis), rank) for axis in values]


def sizes_of(value: object) -> list[int] | None:
    """Return sizes from a list in which tensors stand for unknown ones; None where even the rank is unknown."""
    if isinstance(value, list) and len(value) <= MAX_RANK:
        return [UNKNOWN if isinstance(item, Spec) or item is None else as_integer(item) for item in value]
    return [value] if isinstance(value, int) else None


def common_dtype(specs: list[Spec]) -> str | None:
    """Return the one type of all operands; floating ones win over others, as Keras 3 promotes."""
    names = {spec.dtype for spec in specs}
    if len(names) > 1:
        names = {name for name in names if name and "float" in name}
    return names.pop() if len(names) == 1 else None
