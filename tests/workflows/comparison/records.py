"""What is compared of a run: each node's type, phase, message, values and place in the tree, free of what chance decides.

A record is JSON of one shape, made from a Workflow of Argo or from a `Run` of ours. The workflow's generated name is
replaced by the case's, and ids of nodes by their names. What comparing means is here too; running things is not.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from klever.workflows.status import Run

from .cases import HERE

Record = dict[str, Any]

FOLDER = HERE / "records"

#: Who finds a pod to be late, Argo's controller or Kubernetes, and how far the pod has come by then, is chance.
LATE = ("Step exceeded its deadline", "Pod was active on the node longer than the specified deadline")


def path_of(name: str) -> Any:
    return FOLDER / f"{name}.json"


def read(name: str) -> Record:
    record: Record = json.loads(path_of(name).read_text(encoding="utf-8"))
    return record


def write(name: str, record: Record) -> None:
    FOLDER.mkdir(exist_ok=True)
    # A line for each node: short enough to review, and a change shows as the nodes that changed.
    line = functools.partial(json.dumps, ensure_ascii=False, sort_keys=True)
    nodes = ",\n".join(f"  {line(node)}: {line(record['nodes'][node])}" for node in sorted(record["nodes"]))
    path_of(name).write_text(
        f'{{\n "phase": {line(record["phase"])},\n "message": {line(record["message"])},\n "nodes": {{\n{nodes}\n }}\n}}\n',
        encoding="utf-8",
    )


def of_argo(case: str, workflow: Mapping[str, Any]) -> Record:
    """Make the record of a Workflow as the API server shows it when it has ended."""
    status = workflow["status"]
    nodes = status.get("nodes") or {}
    names = {key: node["name"] for key, node in nodes.items()}
    return _record(
        _normalise(case, workflow["metadata"]["name"], names),
        status["phase"],
        status.get("message", ""),
        {
            node["name"]: {
                "type": node["type"],
                "phase": node["phase"],
                "message": node.get("message", ""),
                "displayName": node.get("displayName", ""),
                "template": (node.get("templateRef") or {}).get("template") or node.get("templateName"),
                "progress": node.get("progress", ""),
                "boundary": names.get(node.get("boundaryID", "")),
                "children": [names[child] for child in node.get("children", ())],
                "inputs": _parameters(node.get("inputs")),
                "outputs": _parameters(node.get("outputs")),
                "result": (node.get("outputs") or {}).get("result"),
                "exitCode": _code((node.get("outputs") or {}).get("exitCode")),
            }
            for node in nodes.values()
        },
    )


def of_run(case: str, run: Run) -> Record:
    """Make the record of a run of our own."""
    names = {node.id: node.name for node in run.nodes.values()}
    return _record(
        _normalise(case, run.name, names),
        str(run.phase),
        run.message,
        {
            node.name: {
                "type": str(node.kind),
                "phase": str(node.phase),
                "message": node.message,
                "displayName": node.display_name,
                "template": node.template,
                "progress": node.progress,
                "boundary": names.get(node.boundary),
                "children": [names[child] for child in node.children],
                "inputs": dict(node.inputs),
                "outputs": dict(node.outputs),
                "result": node.result,
                "exitCode": node.exit_code,
            }
            for node in run.nodes.values()
        },
    )


def differences(expected: Record, found: Record) -> list[str]:
    """Say in a line each where two records differ."""
    return list(_differences(expected, found, ""))


def _differences(expected: Any, found: Any, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(expected.keys() | found.keys()):
            yield from _differences(expected.get(key), found.get(key), f"{path}[{key}]")
    elif expected != found:
        yield f"{path}: on Argo {json.dumps(expected, ensure_ascii=False)}, found {json.dumps(found, ensure_ascii=False)}"


def _parameters(values: Mapping[str, Any] | None) -> dict[str, str]:
    parameters = (values or {}).get("parameters") or ()
    return {parameter["name"]: parameter["value"] for parameter in parameters if "value" in parameter}


def _code(code: str | None) -> int | None:
    return None if code is None else int(code)


def _normalise(case: str, workflow: str, names: Mapping[str, str]) -> Callable[[str], str]:
    """Give the function that takes a run's own name and its ids of nodes out of a text."""
    # Argo's ids are the name with a hash of the node's name, so they differ where the name does.
    ids = re.compile(
        "|".join(re.escape(key) for key in sorted(names, key=len, reverse=True) if key != workflow) or r"(?!)"
    )

    def normalise(text: str) -> str:
        return ids.sub(lambda found: names[found[0]], text).replace(workflow, case)

    return normalise


def _record(normalise: Callable[[str], str], phase: str, message: str, nodes: Mapping[str, Any]) -> Record:
    nodes = {name: _late(node) if node["message"] in LATE else node for name, node in nodes.items()}

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return normalise(value)
        if isinstance(value, dict):
            return {key: plain(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return sorted(plain(entry) for entry in value)
        return value

    return {
        "phase": phase,
        "message": normalise(message),
        # A value that is not there is left out, so that the files stay readable. A result may be an empty text.
        "nodes": {
            normalise(name): {
                key: plain(value)
                for key, value in node.items()
                if value not in ("", {}, [], None) or (key == "result" and value == "")
            }
            for name, node in nodes.items()
        },
    }


def _late(node: Mapping[str, Any]) -> dict[str, Any]:
    return {**node, "message": "late", "exitCode": None}
