"""Give an expression its variables: flat names with dots become nested mappings (Argo's ``util/expand``).

What does not belong here: which variables there are.
"""

from collections.abc import Mapping
from typing import Any


def environment(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``{"a.b": 1}`` as ``{"a": {"b": 1}}``; of ``a`` and ``a.b`` the longer name wins."""
    nested: dict[str, Any] = {}
    names = sorted(variables)
    for index, name in enumerate(names):
        if index + 1 < len(names) and names[index + 1].startswith(f"{name}."):
            continue
        *parents, last = name.split(".")
        level: Any = nested
        for parent in parents:
            inner = level.get(parent)
            if not isinstance(inner, dict):
                inner = level[parent] = {}
            level = inner
        level[last] = variables[name]
    return nested


def has_variable(variables: Mapping[str, Any], name: str) -> bool:
    """Say whether ``name``, which may have dots, is there, be it nil (Argo's ``hasVarInEnv``)."""
    if name in variables:
        return True
    parts = name.split(".")
    current: Any = variables
    remaining = parts
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in variables:
            current, remaining = variables[prefix], parts[length:]
            break
    for part in remaining:
        if not isinstance(current, Mapping) or part not in current:
            return False
        current = current[part]
    return True
