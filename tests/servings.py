"""Servings to make manifests of, and what holds built-in kinds against the fields that Kubernetes has."""

import re
from collections.abc import Iterator
from typing import Any

from klever.steps.oci.reference import parse_reference
from klever.steps.serving.platforms.interface import Predictor, Serving, Settings
from klever.steps.serving.platforms.resources import estimate_resources
from klever.steps.serving.servers.interface import Process, Protocol, Tuning
from klever.steps.serving.uri import ModelUri

DIGEST = "sha256:" + "5" * 64
OTHER_DIGEST = "sha256:" + "7" * 64
#: A server as the contract has it, with every placeholder.
V2 = Process(
    image="serve-mlserver",
    command=("python", "{programs}/serve.py", "{directory}/{name}", "--port={http}"),
    ports={"http": 8080, "grpc": 8081, "metrics": 8082},
    live="/v2/health/live",
    ready="/v2/models/resnet/ready",
    protocol=Protocol.V2,
    environment={"SERVER_HOST": "{host}"},
)
SCORING = Process(
    image="registry.example/openscoring@sha256:" + "1" * 64,
    command=("java", "-jar", "/server.jar", "--port", "{http}"),
    ports={"http": 8000},
    live="/openscoring/model/resnet",
    ready="/openscoring/model/resnet",
    protocol=Protocol.OPENSCORING,
)


def predictor(name: str = "v1", digest: str | None = DIGEST, process: Process = V2, **given: Any) -> Predictor:
    """Return one version."""
    pinned = f"@{digest}" if digest else ""
    server = "mlserver" if process is V2 else "openscoring"
    uri = ModelUri(parse_reference(f"harbor.example/vision/resnet:{name}{pinned}"), server, "resnet", Tuning())
    return Predictor(name, uri, process, given.pop("resources", estimate_resources(server, 100 << 20)), **given)


def serving(*predictors: Predictor, settings: Settings | None = None, **given: Any) -> Serving:
    """Return a serving of these versions, or of one."""
    given = {"name": "resnet", "namespace": "models", "labels": {"format": "ONNX"}, **given}
    return Serving(predictors=predictors or (predictor(),), settings=settings or Settings(), **given)


def canary(traffic: int, **given: Any) -> Serving:
    """Return an old version and a new one with a share."""
    replicas = given.pop("replicas", 1)
    old = predictor("v1", traffic=100 - traffic, replicas=replicas)
    return serving(old, predictor("v2", OTHER_DIGEST, traffic=traffic), **given)


def of_kind(objects: tuple[dict[str, Any], ...], kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind."""
    return [each for each in objects if each["kind"] == kind]


def variables(container: dict[str, Any]) -> dict[str, str]:
    """Return a container's variables by name; a name that stands twice fails."""
    named = {each["name"]: each["value"] for each in container["env"]}
    assert len(named) == len(container["env"])
    return named


def builtin_faults(kind: str, value: Any, path: str = "") -> Iterator[str]:
    """Yield a sentence for each field that the models of Kubernetes' client do not have, lack, or have otherwise."""
    from kubernetes import client

    if kind.startswith("List["):
        for index, each in enumerate(_kind_of(value, list)):
            yield from builtin_faults(kind[5:-1], each, f"{path}[{index}]")
    elif found := re.fullmatch(r"Dict\[str, (.+)\]", kind):
        for key, each in _kind_of(value, dict).items():
            yield from builtin_faults(found[1], each, f"{path}.{key}")
    elif kind in ("str", "datetime", "int", "bool", "float"):
        if type(value).__name__ != kind:
            yield f"{path}: {value!r} is no {kind}"
    elif kind != "object":
        model = getattr(client, kind)
        fields = {model.attribute_map[name]: inner for name, inner in model.openapi_types.items()}
        for key, each in _kind_of(value, dict).items():
            if key not in fields:
                yield f"{path}.{key}: {kind} has no such field"
            else:
                yield from builtin_faults(fields[key], each, f"{path}.{key}")


def _kind_of(value: Any, kind: type) -> Any:
    assert isinstance(value, kind), f"{value!r} is no {kind.__name__}"
    return value
