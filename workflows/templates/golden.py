"""The rendered templates: as YAML, in the files beside their sources, and read back without Hera.

    python -m klever.workflows.templates.golden            # write the files
    python -m klever.workflows.templates.golden --check    # fail where they are not what would be written

What does not belong here: what a template holds.
"""

import sys
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import yaml

from klever.workflows.manifest import Document
from klever.workflows.templates import access
from klever.workflows.templates.settings import Settings
from klever.workflows.templates.table import ACCESS, TEMPLATES, build

_HEADER: Final = "# Written by make golden from {module}.py; change that file instead.\n"


class _Dumper(yaml.SafeDumper):
    """Long strings on one line, texts of several lines as blocks, sequences indented below their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's interface
        super().increase_indent(flow, indentless=False)


def as_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Return documents as one YAML text, each after the other, in the order of their own keys."""
    return yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=2**16, allow_unicode=True, default_flow_style=False
    )


def render() -> dict[str, str]:
    """Return the text of each golden file by its name, from the sources; imports Hera."""
    settings = Settings()
    made = {
        TEMPLATES[name]: parts for name, parts in zip(TEMPLATES, ([each.to_dict()] for each in build()), strict=True)
    } | {ACCESS: access.build(settings, "default")}
    return {f"{module}.yaml": _HEADER.format(module=module) + as_yaml(parts) for module, parts in made.items()}


def load() -> dict[str, Document]:
    """Return the golden templates by their names; imports no Hera."""
    here = files("klever.workflows.templates")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return {
        # A safe loader, and a file of our own.
        name: yaml.load((here / f"{module}.yaml").read_text("utf-8"), Loader=loader)  # noqa: S506
        for name, module in TEMPLATES.items()
    }


def documents(settings: Settings, namespace: str, names: Iterable[str] | None = None) -> dict[str, list[Document]]:
    """Return the documents of each of these names, or of all: templates, and what access to ``namespace`` takes.

    Default settings need no Hera. Raises `HeraMissingError` where others do, and `NotFoundError` for another name.
    """
    chosen = [*TEMPLATES, ACCESS] if names is None else list(dict.fromkeys(names))
    templates = [name for name in chosen if name != ACCESS]
    if settings == Settings() and set(templates) <= set(TEMPLATES):
        golden = load()
        made = {name: [golden[name]] for name in templates}
    else:
        made = {
            name: [template.to_dict()] for name, template in zip(templates, build(settings, templates), strict=True)
        }
    return {name: access.build(settings, namespace) if name == ACCESS else made[name] for name in chosen}


def _main(arguments: list[str]) -> int:
    here = Path(__file__).parent
    stale = [
        name
        for name, text in render().items()
        if not (here / name).is_file() or (here / name).read_text("utf-8") != text
    ]
    if arguments == ["--check"]:
        if stale:
            sys.stderr.write(f"not up to date: {', '.join(stale)}; run make golden\n")
        return 1 if stale else 0
    for name in stale:
        (here / name).write_text(render()[name], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
