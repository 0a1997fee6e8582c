"""The table of WorkflowTemplates, imported when they are built. To add one, add a row."""

from collections.abc import Iterable
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from klever.steps.errors import NotFoundError, PermanentError
from klever.workflows.templates.settings import Settings

if TYPE_CHECKING:
    from hera.workflows import WorkflowTemplate

#: Name to module of this package; an earlier one is called by those after it.
TEMPLATES: Final = MappingProxyType(
    {
        "klever-extract": "extract",
        "klever-convert": "convert",
        "klever-publish": "publish",
        "klever-release": "release",
    }
)

#: What stands for the accounts and rights among the names of templates.
ACCESS: Final = "access"


class HeraMissingError(PermanentError):
    """Hera is not installed, and what is asked for is not what stands rendered in the package."""

    usual_step = "pip install 'klever[workflows]'"


def build(settings: Settings | None = None, names: Iterable[str] | None = None) -> "list[WorkflowTemplate]":
    """Return the templates of these names, or all; raises `NotFoundError` for a name that is not in the table."""
    made = []
    for name in TEMPLATES if names is None else names:
        if name not in TEMPLATES:
            raise NotFoundError(f"there is no template {name!r}", next_step=f"choose from {', '.join(TEMPLATES)}")
        try:
            module = import_module(f"klever.workflows.templates.{TEMPLATES[name]}")
        except ModuleNotFoundError as error:
            raise HeraMissingError(f"building templates needs Hera: {error}", stage="render") from error
        made.append(module.build(settings or Settings()))
    return made
