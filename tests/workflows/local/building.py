"""Documents of workflows with no more in them than a test is about."""

from typing import Any

Document = dict[str, Any]


def workflow(*templates: Document, entrypoint: str = "main", parameters: Any = (), **spec: Any) -> Document:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "test-"},
        "spec": {
            "entrypoint": entrypoint,
            "arguments": {"parameters": list(parameters)},
            "templates": list(templates),
            **spec,
        },
    }


def shell(
    name: str, script: str, *, inputs: tuple[str, ...] = (), outputs: dict[str, str] | None = None, **more: Any
) -> Document:
    """Make a template of a script for sh; ``outputs`` maps names to paths."""
    made: Document = {"name": name, "script": {"image": "none", "command": ["sh"], "source": script}, **more}
    if inputs:
        made["inputs"] = {"parameters": [{"name": each} for each in inputs]}
    if outputs:
        made["outputs"] = {"parameters": [{"name": key, "valueFrom": {"path": path}} for key, path in outputs.items()]}
    return made


def container(name: str, *command: str, **more: Any) -> Document:
    return {"name": name, "container": {"image": "none", "command": list(command), **more}}


def dag(*tasks: Document, name: str = "main", **more: Any) -> Document:
    return {"name": name, "dag": {"tasks": list(tasks)}, **more}


def task(name: str, template: str, *, given: dict[str, str] | None = None, **more: Any) -> Document:
    made: Document = {"name": name, "template": template, **more}
    if given:
        made["arguments"] = {"parameters": [{"name": key, "value": value} for key, value in given.items()]}
    return made
