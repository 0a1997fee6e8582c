"""What every pod that serves has: a server that reads /mnt/models, and what fills it before.

What does not belong here: objects that are not part of a pod.
"""

import re
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Predictor, Serving, Settings

#: Where Seldon Core and KServe mount a model; so do we.
MODELS: Final = "/mnt/models"
MODELS_VOLUME: Final = "models"
#: Where images of ours have `klever.steps.programs`.
PROGRAMS: Final = "/opt/klever/programs"
#: The user of our images. Triton's starts as root and runs as anybody.
USER: Final = 65532
#: Seconds in which a pod that is going away still takes requests: until every node has heard that it is.
_LEAVE_SECONDS: Final = 10
#: And in which it then answers what it has taken.
_GRACE_SECONDS: Final = 45
#: How often a start may be found unfinished, every 5 seconds: a large model takes minutes to load.
_STARTS: Final = 180
_DOCKER_CONFIG: Final = "/klever-docker"
_CERTIFICATES: Final = "/klever-certificates"
_TEMPORARY: Final = "/tmp"  # noqa: S108 - a volume of the pod's own
_PLACE: Final = re.compile(r"\{(\w+)\}", re.ASCII)
_GPU: Final = "nvidia.com/gpu"


def image_of(name: str, settings: Settings) -> str:
    """Return a whole reference: short names are images of ours."""
    ours = "/" not in name and ":" not in name and "@" not in name
    return f"{settings.image_prefix}{name}:{settings.image_tag}" if ours else name


def security_context() -> dict[str, Any]:
    """Return that of a container, which the Pod Security Standard "restricted" admits."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def server_container(predictor: Predictor, settings: Settings, name: str) -> dict[str, Any]:
    """Return the server's container without the mount of its models, which some platforms add themselves."""
    process = predictor.process
    variables = {key: _filled(value, predictor) for key, value in process.environment.items()}
    # A read-only root leaves one place for what a framework writes.
    variables |= {"HOME": _TEMPORARY, "TMPDIR": _TEMPORARY}
    if not predictor.gpus:
        # NVIDIA's runtime shows every card to who does not say otherwise.
        variables["NVIDIA_VISIBLE_DEVICES"] = ""
    cards = {_GPU: str(predictor.gpus)} if predictor.gpus else {}
    amounts = predictor.resources.quantities
    return {
        "name": name,
        "image": image_of(process.image, settings),
        "imagePullPolicy": settings.image_pull_policy,
        "command": [_filled(part, predictor) for part in process.command],
        "workingDir": _TEMPORARY,
        "env": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "ports": [{"name": port, "containerPort": number, "protocol": "TCP"} for port, number in process.ports.items()],
        # Without a limit of processors: one that waits for its share answers late, and nobody gains by it.
        "resources": {"requests": {**amounts, **cards}, "limits": {"memory": amounts["memory"], **cards}},
        "startupProbe": _probe(process.ready, period=5, failures=_STARTS),
        "livenessProbe": _probe(process.live, period=10, failures=3),
        "readinessProbe": _probe(process.ready, period=5, failures=3),
        "securityContext": security_context(),
        "volumeMounts": [{"name": "tmp", "mountPath": _TEMPORARY}],
    }


def initializer_container(predictor: Predictor, settings: Settings, name: str) -> dict[str, Any]:
    """Return the init container that pulls the model and lays it out: ``klever-initializer URI DIRECTORY``."""
    variables = {"HOME": _TEMPORARY, "TMPDIR": _TEMPORARY, **registry_variables(settings)}
    mounts: list[dict[str, Any]] = [
        {"name": MODELS_VOLUME, "mountPath": MODELS},
        {"name": "tmp", "mountPath": _TEMPORARY},
    ]
    if settings.registry_secret:
        variables["DOCKER_CONFIG"] = _DOCKER_CONFIG
        mounts.append({"name": "registry", "mountPath": _DOCKER_CONFIG, "readOnly": True})
    if settings.ca_config_map:
        variables["KLEVER_CA_FILE"] = f"{_CERTIFICATES}/ca.crt"
        mounts.append({"name": "certificates", "mountPath": _CERTIFICATES, "readOnly": True})
    container: dict[str, Any] = {
        "name": name,
        "image": image_of(settings.initializer, settings),
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["klever-initializer"],
        "args": [str(predictor.uri), MODELS],
        "env": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        # For the pull and nothing else: layers are streamed, so the size of the model does not count.
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
        "securityContext": security_context(),
        "volumeMounts": mounts,
    }
    if settings.environment_secret:
        container["envFrom"] = [{"secretRef": {"name": settings.environment_secret}}]
    return container


def registry_variables(settings: Settings) -> dict[str, str]:
    """Return how the initializer speaks to the registry."""
    return {"KLEVER_PLAIN_HTTP": "true"} if settings.plain_http else {}


def pod_spec(serving: Serving, container: dict[str, Any]) -> dict[str, Any]:
    """Return the pod around a server's container, without what brings the model."""
    settings = serving.settings
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        # A variable for each Service of the namespace is nothing that a server needs.
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if serving.scheduler:
        spec["schedulerName"] = serving.scheduler
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if settings.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    return spec


def bring_model(spec: dict[str, Any], predictor: Predictor, settings: Settings, name: str) -> None:
    """Add our own init container to a pod, with the volume that it shares with the server."""
    spec["initContainers"] = [initializer_container(predictor, settings, name)]
    spec["containers"][0]["volumeMounts"].append({"name": MODELS_VOLUME, "mountPath": MODELS, "readOnly": True})
    spec["volumes"].append({"name": MODELS_VOLUME, "emptyDir": {"sizeLimit": predictor.resources.storage_quantity}})
    if settings.registry_secret:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        secret = {"secretName": settings.registry_secret, "defaultMode": 0o440, "optional": True, "items": items}
        spec["volumes"].append({"name": "registry", "secret": secret})
    if settings.ca_config_map:
        spec["volumes"].append({"name": "certificates", "configMap": {"name": settings.ca_config_map}})


def leave_slowly(container: dict[str, Any]) -> None:
    """Let a container go on for a while after its pod was told to end, without a shell (Kubernetes 1.30 and later)."""
    container["lifecycle"] = {"preStop": {"sleep": {"seconds": _LEAVE_SECONDS}}}


def _filled(text: str, predictor: Predictor) -> str:
    known = {
        "directory": MODELS,
        "name": predictor.uri.name or "",
        "programs": PROGRAMS,
        "host": "0.0.0.0",  # noqa: S104 - the pod's own addresses
        **{port: str(number) for port, number in predictor.process.ports.items()},
    }

    def value(found: re.Match[str]) -> str:
        if found[1] not in known:
            raise ServingError(f"the server {predictor.uri.server} wants {found[0]}, which a pod does not have")
        return known[found[1]]

    return _PLACE.sub(value, text)


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
        "successThreshold": 1,
    }
