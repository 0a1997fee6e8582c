"""Join documents as Kubernetes' strategic merge does for the fields that a run looks at.

What does not belong here: what the fields mean.
"""

from collections.abc import Mapping
from typing import Any, Final

#: Fields that say which kind of template it is: of the defaults only those of the same kind count.
_KINDS: Final = ("container", "script", "dag", "steps", "suspend", "resource", "http", "plugin", "data", "containerSet")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``below`` with ``above`` over it; lists of named things are joined by name, others are replaced."""
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            continue
        known = merged.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(known, value)
        elif _is_named(known) and _is_named(value):
            merged[key] = _merge_named(known or [], value)
        else:
            merged[key] = value
    return merged


def merge_defaults(template: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return a template with ``templateDefaults`` under it."""
    fitting = {key: value for key, value in defaults.items() if key not in _KINDS or template.get(key) is not None}
    return merge(fitting, template)


def _is_named(value: Any) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) and "name" in item for item in value)
    )


def _merge_named(below: list[Any], above: list[Any]) -> list[Any]:
    over = {item["name"]: item for item in above}
    under = {item["name"]: item for item in below}
    first = [merge(under[name], item) if name in under else item for name, item in over.items()]
    return [*first, *(item for name, item in under.items() if name not in over)]
