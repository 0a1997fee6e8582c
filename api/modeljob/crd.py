"""The definition of ModelJobs for the API server, made from the model and the rules.

    python -m klever.api.modeljob.crd            # write the files
    python -m klever.api.modeljob.crd --check    # fail where they are not what would be written

Structural schemas are a part of OpenAPI 3.0 without references and alternatives (Kubernetes' documentation, "Specifying
a structural schema"). What does not belong here: what a field means.
"""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from klever.api.modeljob.model import GROUP, KIND, MODEL_JOBS, ModelJob
from klever.api.modeljob.rules import RULES, Rule
from klever.workflows.templates.golden import as_yaml

FILES: Final = ("crds/modeljobs.kleveross.io.yaml", "charts/klever/files/modeljobs.kleveross.io.yaml")

_HEADER: Final = "# Written by make golden from api/modeljob/; change model.py or rules.py there instead.\n"
_COLUMNS: Final = (
    {"name": "Model", "type": "string", "jsonPath": ".spec.model", "description": "The artifact to work on."},
    {"name": "Kind", "type": "string", "jsonPath": ".status.work", "description": "The kind of work."},
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase", "description": "Where the job stands."},
    {
        "name": "Result",
        "type": "string",
        "jsonPath": ".status.result.reference",
        "description": "What the job made, pinned to its digest.",
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {
        "name": "Workflow",
        "type": "string",
        "jsonPath": ".status.workflow",
        "priority": 1,
        "description": "The Workflow that does the work.",
    },
    {
        "name": "Message",
        "type": "string",
        "jsonPath": ".status.message",
        "priority": 1,
        "description": "What it waits for, what was made, or what failed and what to do.",
    },
)
#: What every object has; the API server knows more of metadata than a schema may say.
_FIXED: Final = {
    "apiVersion": {"type": "string", "description": f"{GROUP}/{MODEL_JOBS.version}."},
    "kind": {"type": "string", "description": f"{KIND}."},
    "metadata": {"type": "object"},
}
#: What pydantic writes and a structural schema may not have, or need not.
_DROPPED: Final = frozenset({"title", "default", "propertyNames", "$defs"})
_OPEN: Final = "x-kubernetes-preserve-unknown-fields"


def build() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{MODEL_JOBS.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "klever", "app.kubernetes.io/part-of": "klever"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": MODEL_JOBS.plural,
                "singular": KIND.lower(),
                "shortNames": ["mj"],
                "categories": ["klever"],
            },
            "versions": [
                {
                    "name": MODEL_JOBS.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [dict(column) for column in _COLUMNS],
                    "schema": {"openAPIV3Schema": build_schema()},
                }
            ],
        },
    }


def build_schema() -> dict[str, Any]:
    """Return the structural schema of a ModelJob, with its rules."""
    document = ModelJob.model_json_schema(by_alias=True, mode="validation")
    schema = _structural(document, document["$defs"])
    schema["description"] = (
        "A piece of work on a model in a registry: read its signature, convert it, serve it, or run a pipeline with it."
        " The controller starts one Workflow for it and says in its status what became of it."
    )
    schema["properties"] |= _FIXED
    for place, rules in RULES.items():
        _at(schema, place)["x-kubernetes-validations"] = [_validation(rule) for rule in rules]
    return schema


def _structural(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of pydantic's as a structural one: what it refers to stands in its place, null is no value."""
    merged = dict(_resolved(part, definitions))
    made = {name: value for name, value in merged.items() if name not in _DROPPED}
    if "properties" in made:
        made["properties"] = {name: _structural(inner, definitions) for name, inner in made["properties"].items()}
    if "items" in made:
        made["items"] = _structural(made["items"], definitions)
    if _OPEN in made:
        made.pop("additionalProperties", None)
    elif isinstance(made.get("additionalProperties"), Mapping):
        made["additionalProperties"] = _structural(made["additionalProperties"], definitions)
    return {name: made[name] for name in sorted(made, key=_order)}


def _resolved(part: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put a definition, or the one alternative that is not null, under what is said beside it."""
    if "$ref" in part:
        name = str(part["$ref"]).rpartition("/")[2]
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return {**_resolved(definitions[name], definitions), **beside}
    if "anyOf" in part:
        (only,) = (each for each in part["anyOf"] if each.get("type") != "null")
        beside = {key: value for key, value in part.items() if key != "anyOf"}
        return {**_resolved(only, definitions), **beside}
    return part


def _order(name: str) -> tuple[int, str]:
    first = ("description", "type", "format", "enum")
    last = ("required", "properties", "items", "additionalProperties")
    if name in first:
        return first.index(name), ""
    return (len(first) + 1 + last.index(name), "") if name in last else (len(first), name)


def _at(schema: dict[str, Any], place: str) -> dict[str, Any]:
    for name in place.split("."):
        schema = schema["properties"][name]
    return schema


def _validation(rule: Rule) -> dict[str, str]:
    made = {"rule": rule.rule, "message": rule.message}
    return made | {"fieldPath": rule.field, "reason": "FieldValueRequired"} if rule.field else made


def render() -> str:
    """Return the text of the files."""
    return _HEADER + as_yaml([build()])


def _stale(root: Path, text: str) -> Iterator[Path]:
    for name in FILES:
        path = root / name
        if not path.is_file() or path.read_text("utf-8") != text:
            yield path


def main(arguments: list[str], root: Path = Path(__file__).parents[2]) -> int:
    """Write the files under ``root``, or say which are not up to date; return the exit code."""
    text = render()
    stale = list(_stale(root, text))
    if arguments == ["--check"]:
        if stale:
            names = ", ".join(str(path.relative_to(root)) for path in stale)
            sys.stderr.write(f"not up to date: {names}; run make golden\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
