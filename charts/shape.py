"""The JSON schema of the chart's values: types from their defaults, descriptions from their comments, forms from here.

What does not belong here: defaults, which `klever/values.yaml` has.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from klever.api.intake.policy import Policy
from klever.api.logs import LOG_LEVELS
from klever.workflows.manifest import Document
from klever.workflows.templates import settings

#: What says nothing of the form of a value.
_SILENT: Final = frozenset({"$defs", "default", "title"})
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_ANY: Final = {"type": "object"}


def _matching(form: str, *, empty: bool = False) -> Document:
    return {"type": "string", "pattern": f"^(?:{form})$" if not empty else f"^(?:{form})?$"}


def _list_of(item: Document) -> Document:
    return {"type": "array", "items": item, "uniqueItems": True}


def _written(shape: Any, parts: Mapping[str, Document]) -> Any:
    """Return a schema of pydantic's as people write it: one text for a list, a number for a text; no references."""
    if isinstance(shape, list):
        return [_written(each, parts) for each in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        return _written(parts[shape["$ref"].rpartition("/")[2]], parts)
    kept = {
        key: {name: _written(inner, parts) for name, inner in value.items()}
        if key == "properties"
        else _written(value, parts)
        for key, value in shape.items()
        if key not in _SILENT
    }
    if shape.get("type") == "array":
        # As pydantic calls the limits of what another function makes a list of.
        limits = {f"{end}Items": kept.pop(f"{end}Length") for end in ("min", "max") if f"{end}Length" in kept}
        many = kept | limits
        return {"anyOf": [kept["items"], many]} if shape["items"].get("type") == "string" else many
    if isinstance(values := kept.get("additionalProperties"), dict):
        values["type"] = [values["type"], "number", "boolean"]
    return kept


_POLICY: Final = Policy.model_json_schema()
_NAME: Final = settings.NAME.pattern
#: A DNS label (RFC 1123), as names of namespaces are.
_LABEL: Final = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
_COUNT: Final = {"type": "integer", "minimum": 1}
_OF_PODS: Final[Mapping[str, Document]] = {
    "replicas": {"type": "integer", "minimum": 0},
    "resources": _ANY,
    "nodeSelector": _TEXTS,
    "tolerations": {"type": "array", "items": _ANY},
    "affinity": _ANY,
    "priorityClassName": _matching(_NAME, empty=True),
    "podAnnotations": _TEXTS,
    "podLabels": _TEXTS,
}
#: What the values' own types do not say. Objects that are named here are open: whatever Kubernetes has there goes.
SHAPES: Final[Mapping[str, Document]] = {
    "namespaces": _list_of(_matching(_LABEL)),
    "logLevel": {"enum": list(LOG_LEVELS)},
    "image.prefix": _matching(settings.PREFIX.pattern),
    "image.tag": _matching(settings.TAG.pattern, empty=True),
    "image.pullPolicy": {"enum": list(settings.PULL_POLICIES)},
    "image.pullSecrets": _list_of(_matching(_NAME)),
    "harbor.url": _matching(r"https?://[^/\s@?#]+/?", empty=True),
    "harbor.secret": _matching(_NAME),
    "harbor.relistSeconds": {"type": "integer", "minimum": 10},
    "hook.secret": _matching(_NAME),
    "registry.host": _matching(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?", empty=True),
    "registry.secret": _matching(_NAME),
    "registry.caConfigMap": _matching(_NAME, empty=True),
    "policy": _written({key: value for key, value in _POLICY.items() if key != "description"}, _POLICY["$defs"]),
    "jobs.ttlSeconds": {"type": "integer", "minimum": 0},
    "pipelines.allowedUrls": _list_of(_matching(settings.URL.pattern)),
    "pipelines.allowedClaims": _list_of(_matching(_NAME)),
    "pipelines.remember": _matching(settings.DURATION.pattern, empty=True),
    "pipelines.keepLogs": _matching(settings.DURATION.pattern),
    "pipelines.retries": _COUNT,
    "pipelines.keepSucceededSeconds": _COUNT,
    "pipelines.keepFailedSeconds": _COUNT,
    "pipelines.deadlines.stepSeconds": _COUNT,
    "pipelines.deadlines.convertSeconds": _COUNT,
    "pipelines.deadlines.workflowSeconds": _COUNT,
    "argo.version": {"enum": list(settings.ARGO_VERSIONS)},
    "argo.namespace": _matching(_LABEL),
    "argo.serviceAccount": _matching(_NAME),
    **{f"{component}.{name}": shape for component in ("controller", "server") for name, shape in _OF_PODS.items()},
    "server.service.type": {"enum": ["ClusterIP", "LoadBalancer", "NodePort"]},
    "server.service.port": _PORT,
    "server.service.annotations": _TEXTS,
    "server.ingress.className": _matching(_NAME, empty=True),
    "server.ingress.host": _matching(r"(?:\*\.)?" + _NAME, empty=True),
    "server.ingress.paths": _list_of(_matching(r"/\S*")) | {"minItems": 1},
    "server.ingress.tlsSecret": _matching(_NAME, empty=True),
    "server.ingress.annotations": _TEXTS,
    "networkPolicies.apiServerPorts": _list_of(_PORT),
    "networkPolicies.registryPorts": _list_of(_PORT),
    "networkPolicies.egressBlocks": _list_of(
        {
            "type": "object",
            "required": ["cidr"],
            "additionalProperties": False,
            "properties": {"cidr": {"type": "string"}, "except": _list_of({"type": "string"})},
        }
    ),
    "networkPolicies.extraEgress": {"type": "array", "items": _ANY},
    "metrics.podMonitor.interval": _matching(r"(?:\d+(?:ms|[smhd]))+"),
    "metrics.podMonitor.labels": _TEXTS,
}
#: Values of older versions: what they are called now stands in `templates/_values.tpl`, which translates them.
DEPRECATED: Final[Mapping[str, Document]] = {
    "registry.insecure": {"type": "boolean", "deprecated": True, "description": "Now called registry.plainHttp."},
}
_TYPES: Final = {"bool": "boolean", "int": "integer", "str": "string"}


def schema(text: str, comment: str) -> Document:
    """Return the schema of the values whose defaults, with comments, are the YAML ``text``."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise SystemExit("values.yaml is no mapping")
    made = _object(root, text.splitlines(), "")
    missing = set(SHAPES) - set(_paths(made))
    if missing:
        raise SystemExit(f"values.yaml has none of {', '.join(sorted(missing))}")
    # What Helm gives every chart that another one depends on.
    made["properties"]["global"] = {"type": "object"}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$comment": comment,
        "title": "Values of the chart klever",
        **made,
    }


def open_objects() -> list[str]:
    """Return the names of values that are taken whole: what they hold is not ours."""
    return sorted({path.rpartition(".")[2] for path, shape in SHAPES.items() if shape.get("type") == "object"})


def _object(node: yaml.MappingNode, lines: Sequence[str], above: str) -> Document:
    properties: dict[str, Document] = {}
    for key, value in node.value:
        path = f"{above}{key.value}"
        described = {"description": text} if (text := _comment(lines, key.start_mark.line)) else {}
        if path in SHAPES:
            properties[key.value] = described | SHAPES[path]
        elif isinstance(value, yaml.MappingNode) and value.value:
            properties[key.value] = described | _object(value, lines, f"{path}.")
        else:
            kind = _TYPES.get(value.tag.rpartition(":")[2])
            if kind is None:
                raise SystemExit(f"charts/shape.py does not say what may stand in {path}")
            properties[key.value] = described | {"type": kind}
    properties |= {
        path.removeprefix(above): shape
        for path, shape in DEPRECATED.items()
        if path.rpartition(".")[0] == above.rstrip(".") and above
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _comment(lines: Sequence[str], line: int) -> str:
    """Return the first paragraph of the comment above a line."""
    words: list[str] = []
    while line and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        words.insert(0, lines[line].lstrip().removeprefix("#").strip())
    return " ".join(words).partition("  ")[0]


def _paths(made: Document, above: str = "") -> list[str]:
    found = []
    for name, shape in made.get("properties", {}).items():
        found += [f"{above}{name}", *_paths(shape, f"{above}{name}.")]
    return found
