"""Hold a document against the structural schema of a custom resource, as the API server does with strict validation."""

from collections.abc import Iterator
from typing import Any


def faults(schema: dict[str, Any], value: Any, path: str = "") -> Iterator[str]:
    """Yield a sentence for each field that is unknown, missing, or of another type than the schema says."""
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield f"{path}: neither a number nor text"
        return
    kind = schema.get("type")
    expected = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    if kind and (not isinstance(value, expected[kind]) or (kind == "integer" and isinstance(value, bool))):
        yield f"{path}: {type(value).__name__}, not {kind}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path}: {value!r} is none of {schema['enum']}"
    yield from (f"{path}: {fault}" for fault in _sizes(schema, value))
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from faults(schema["items"], item, f"{path}[{index}]")
    if isinstance(value, dict):
        yield from _object(schema, value, path)


def _sizes(schema: dict[str, Any], value: Any) -> Iterator[str]:
    limits = {str: "maxLength", list: "maxItems", dict: "maxProperties"}
    limit = limits.get(type(value))
    if limit and len(value) > schema.get(limit, len(value)):
        yield f"more than {limit} {schema[limit]}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{value} is out of bounds"


def _object(schema: dict[str, Any], value: dict[str, Any], path: str) -> Iterator[str]:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}.{name}: missing"
    for name, inner in value.items():
        if name in properties:
            yield from faults(properties[name], inner, f"{path}.{name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from faults(schema["additionalProperties"], inner, f"{path}.{name}")
        elif not schema.get("x-kubernetes-preserve-unknown-fields"):
            yield f"{path}.{name}: unknown"
