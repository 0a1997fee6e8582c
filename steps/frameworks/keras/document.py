"""The JSON of a configuration, and typed access to what it holds."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from klever.steps.encodings.json import parse_json
from klever.steps.errors import LimitExceededError, MalformedModelError
from klever.steps.model.shapes import UNKNOWN, Shape

#: Text of a configuration in bytes; NASNetLarge, of a thousand layers, has 1.1 MB.
MAX_CONFIG_BYTES: Final = 32 << 20
#: Objects and lists, and items in them: parsed they take up to 50 times the memory of their text. NASNetLarge has
#: 25 000 and 50 000, a layer for text its vocabulary.
_MAX_CONTAINERS: Final = 200_000
_MAX_ITEMS: Final = 1_000_000
#: Sizes that frameworks store in 64 bits with a sign.
MAX_DIMENSION: Final = (1 << 63) - 1
#: TensorFlow allows ranks up to 254; beyond 32 there is nothing real.
MAX_RANK: Final = 32
#: Characters of an equation for ``einsum``.
MAX_EQUATION: Final = 256


class ConfigError(ValueError):
    """A field of a layer's configuration has a value that the layer cannot have."""


def parse_config(text: str) -> Mapping[str, Any]:
    """Parse the JSON of a model's configuration.

    Raises `MalformedModelError` where it is no JSON object, `LimitExceededError` where it is longer or nested
    deeper than that of any real model.
    """
    if len(text) > MAX_CONFIG_BYTES:
        raise LimitExceededError(f"the Keras configuration has {len(text)} characters, more than {MAX_CONFIG_BYTES}")
    if text.count("{") + text.count("[") > _MAX_CONTAINERS or text.count(",") > _MAX_ITEMS:
        raise LimitExceededError("the Keras configuration has more parts than that of any real model")
    config = parse_json(text, "the Keras configuration")
    if not isinstance(config, dict):
        raise MalformedModelError("the Keras configuration is not a JSON object")
    return config


def as_dimension(value: object) -> int:
    """Return a size; null and negative numbers mean an unknown one."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool) or not isinstance(value, int) or value > MAX_DIMENSION:
        raise ConfigError(f"{value!r:.40} is no dimension")
    return max(value, UNKNOWN)


def as_shape(value: object) -> Shape:
    """Return a shape from a list of sizes, or None for null and for anything that is no list of sizes.

    Lists that Keras 3 marks as tuples (``{"class_name": "__tuple__", "items": [...]}``) count as well.
    """
    if isinstance(value, Mapping):
        value = value.get("items")
    if not isinstance(value, list) or len(value) > MAX_RANK:
        return None
    try:
        return tuple(as_dimension(size) for size in value)
    except ConfigError:
        return None


def as_integers(value: object, count: int) -> tuple[int, ...]:
    """Return ``count`` integers from a list of as many, or from one that stands for them all."""
    values: Sequence[object] = value if isinstance(value, list) else [value] * count
    if len(values) == 1 and count > 1:
        values = [values[0]] * count
    if len(values) != count:
        raise ConfigError(f"{value!r:.40} are not {count} integers")
    return tuple(as_integer(item) for item in values)


def as_integer(value: object) -> int:
    """Return an integer, also from a float that is one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_DIMENSION:
        raise ConfigError(f"{value!r:.40} is no integer")
    return value
