"""The small workflows that both runners are compared on: which there are, and how one is written.

A case is a function, in a module of `TOPICS`, that is marked with `case` and fills a Hera workflow; or it is a YAML file
whose first document is a workflow and whose others are the templates it refers to. What running one means is not said here.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hera.workflows import Workflow, WorkflowTemplate

#: The image of every pod, built from ``image/``: plain Python and sh, as on the machine of the local runner.
IMAGE = "docker.io/klever/comparison:dev"

HERE = Path(__file__).resolve().parent

TOPICS = (
    "combinations",
    "conditions",
    "dependencies",
    "exits",
    "failures",
    "limits",
    "loops",
    "nesting",
    "outputs",
    "references",
    "retries",
    "values",
)

Document = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One workflow with the arguments it is run with."""

    name: str
    build: Callable[[], Document]
    arguments: Mapping[str, str] = field(default_factory=dict)
    #: The WorkflowTemplates that it refers to.
    templates: Callable[[], list[Document]] = list


_CASES: dict[str, Case] = {}


def case(
    *,
    defaults: Mapping[str, Any] | None = None,
    arguments: Mapping[str, str] | None = None,
    templates: Callable[[], Iterable[WorkflowTemplate]] = list,
    **spec: Any,
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Make a case of a function that fills a workflow, whose first template is called ``main``.

    ``defaults`` are the workflow's own parameters, ``arguments`` what it is submitted with; what else there is to say
    about the workflow follows by its name in Hera.
    """

    def register(fill: Callable[[], None]) -> Callable[[], None]:
        name = fill.__name__.replace("_", "-")

        def build() -> Document:
            fields = {"entrypoint": "main", "arguments": dict(defaults or {}) or None, **spec}
            with Workflow(generate_name=f"{name}-", **fields) as workflow:
                fill()
            return workflow.to_dict()

        _add(
            Case(
                name=name,
                build=build,
                arguments=arguments or {},
                templates=lambda: [template.to_dict() for template in templates()],
            )
        )
        return fill

    return register


def _add(added: Case) -> None:
    if added.name in _CASES:
        msg = f"two cases are called {added.name}"
        raise ValueError(msg)
    _CASES[added.name] = added


def _of_file(path: Path) -> Case:
    workflow, *templates = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return Case(name=path.stem, build=lambda: workflow, templates=lambda: templates)


@functools.cache
def every_case() -> Mapping[str, Case]:
    """Return all cases by their name."""
    for topic in TOPICS:
        importlib.import_module(f".{topic}", __package__)
    for path in HERE.glob("*.yaml"):
        _add(_of_file(path))
    return dict(sorted(_CASES.items()))
