"""The table of platforms, imported one by one when they are needed.

To add a platform, add a row. What does not belong here: this machine, where no manifest is made.
"""

from collections.abc import Iterator
from importlib import import_module
from types import MappingProxyType
from typing import Final

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Platform

#: Platform id to its module.
MODULES: Final = MappingProxyType(
    {name: f"klever.steps.serving.platforms.{name}" for name in ("kubernetes", "seldon", "kserve")}
)


def load_platform(name: str) -> Platform:
    """Return the platform of that name; raises `ServingError` with the known names otherwise."""
    if name not in MODULES:
        raise ServingError(f"there is no platform {name[:40]!r}", next_step=f"use one of {', '.join(MODULES)}")
    found: Platform = import_module(MODULES[name]).PLATFORM
    return found


def all_platforms() -> Iterator[Platform]:
    """Yield every platform in the table's order."""
    for name in MODULES:
        yield load_platform(name)
