"""Seldon Core, version 1: a SeldonDeployment with a predictor for each version.

The model comes in one of two ways, never both, because a pod with both mounts two volumes at /mnt/models:

- By the operator: ``graph.modelUri`` and ``graph.storageInitializerImage``, and ``graph.envSecretRefName`` for the
  registry's user and password. This is the usual way.
- By an init container of our own, where the registry needs what the operator's cannot be told: a Docker configuration,
  authorities of its certificate, HTTP.

Traffic is split by weight among the predictors of one SeldonDeployment. A predictor with a header is a SeldonDeployment
of its own: the operator reads ``seldon.io/ambassador-header`` of a whole one, and ``seldon.io/ambassador-service-name``
puts both behind one address. Emissary (Ambassador) does that; under Istio the operator makes weights alone.

A pod that ends waits in a ``preStop`` that the operator adds and that needs ``/bin/sh`` and ``/bin/sleep`` in the
image; its schema knows no other kind of waiting. Facts of the operator are those of its release 1.19.
"""

from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Header, Manifest, Platform, Predictor, Serving, Settings
from klever.steps.serving.platforms.kubernetes import cpu_metric
from klever.steps.serving.platforms.names import REFERENCE, check_names, metadata, object_labels
from klever.steps.serving.platforms.pods import bring_model, image_of, pod_spec, server_container
from klever.steps.serving.servers.interface import Protocol

API_VERSION: Final = "machinelearning.seldon.io/v1"
#: What the name of a container of ours ends with; the operator's own ends with ``-model-initializer``, and one of that
#: name keeps it from adding the volume that it mounts all the same.
_INITIALIZER: Final = "-model"
#: Where servers of Klever 0.2 looked; an image made for them finds its model so.
_MODEL_STORE: Final = "/mnt"


class Seldon(Platform):
    """SeldonDeployments."""

    id = "seldon"
    kind = "SeldonDeployment"

    def build(self, serving: Serving) -> tuple[Manifest, ...]:
        """Return one SeldonDeployment for what is split by weight and one for each header; raises `ServingError`."""
        check_names(serving, (name for each in serving.predictors for name in _made(serving, each)))
        settings = serving.settings
        if settings.environment_secret and _brings_itself(settings):
            raise ServingError(
                f"Seldon's initializer takes the secret {settings.environment_secret!r} as variables and nothing else, "
                "so no Docker configuration, no authorities and no plain HTTP",
                next_step="leave that secret out, so that an init container of ours reads the Docker configuration",
            )
        shared = [each for each in serving.predictors if each.header is None]
        objects = [_deployment(serving, serving.name, shared, {})]
        for each in serving.predictors:
            if each.header is not None:
                name = f"{serving.name}-{each.name}"
                objects.append(_deployment(serving, name, [each], _by_header(serving, each.header)))
        return tuple(objects)


def _made(serving: Serving, predictor: Predictor) -> tuple[str, ...]:
    """Return the names that the operator makes; beyond 63 characters it puts hashes in their place.

    Where they fit, the container's name has room for ``-provision-location``, which names its volume.
    """
    name = serving.name if predictor.header is None else f"{serving.name}-{predictor.name}"
    service = f"{name}-{predictor.name}"
    container = f"{service}-{predictor.name}"
    deployment = f"{service}-0-{predictor.name}"
    return (service, container, deployment)


def _brings_itself(settings: Settings) -> bool:
    return bool(settings.registry_secret or settings.ca_config_map or settings.plain_http)


def _by_header(serving: Serving, header: Header) -> dict[str, str]:
    # The operator cuts the text at its colons and wants two parts.
    if ":" in header.name + header.value or not header.name.strip() or not header.value.strip():
        raise ServingError(f"{header.name[:80]!r} with {header.value[:80]!r} is no header that Seldon can match")
    return {
        "seldon.io/ambassador-header": f"{header.name}: {header.value}",
        "seldon.io/ambassador-service-name": serving.name,
    }


def _deployment(serving: Serving, name: str, predictors: list[Predictor], annotations: dict[str, str]) -> Manifest:
    spec: dict[str, Any] = {"name": name}
    if annotations:
        spec["annotations"] = annotations
    if all(each.process.protocol is Protocol.V2 for each in predictors):
        spec["protocol"] = "v2"
    alone = len(predictors) == 1
    spec["predictors"] = [_predictor(serving, each, 100 if alone else each.traffic) for each in predictors]
    described = predictors[0] if alone else None
    notes = {} if alone else {REFERENCE: str(predictors[-1].uri.reference)}
    return {
        "apiVersion": API_VERSION,
        "kind": "SeldonDeployment",
        "metadata": metadata(serving, name, described, notes),
        "spec": spec,
    }


def _predictor(serving: Serving, predictor: Predictor, traffic: int) -> Manifest:
    settings = serving.settings
    container = server_container(predictor, settings, predictor.name)
    variables = {"MODEL_STORE": _MODEL_STORE, "SERVING_NAME": predictor.uri.name or ""}
    container["env"] += [{"name": key, "value": value} for key, value in variables.items()]
    pod = pod_spec(serving, container)
    graph: dict[str, Any] = {"name": predictor.name, "type": "MODEL", "endpoint": {"type": "REST"}}
    if _brings_itself(settings):
        bring_model(pod, predictor, settings, f"{predictor.name}{_INITIALIZER}")
    else:
        graph["modelUri"] = str(predictor.uri)
        graph["storageInitializerImage"] = image_of(settings.initializer, settings)
        if settings.environment_secret:
            graph["envSecretRefName"] = settings.environment_secret
    graph["serviceAccountName"] = settings.service_account or "default"
    component: dict[str, Any] = {
        "metadata": {
            "labels": object_labels(serving, predictor),
            "annotations": {REFERENCE: str(predictor.uri.reference)},
        },
        "spec": pod,
    }
    if scaling := serving.autoscaling:
        component["hpaSpec"] = {
            "minReplicas": scaling.minimum,
            "maxReplicas": scaling.maximum,
            "metricsv2": [cpu_metric(scaling.cpu)],
        }
    replicas = max(predictor.replicas, serving.autoscaling.minimum if serving.autoscaling else 1)
    if replicas > 1:
        component["pdbSpec"] = {"maxUnavailable": 1}
    return {
        "name": predictor.name,
        "annotations": {"seldon.io/no-engine": "true"},
        "labels": {"version": predictor.name},
        "replicas": replicas,
        "traffic": traffic,
        "progressDeadlineSeconds": settings.progress_deadline,
        "graph": graph,
        "componentSpecs": [component],
    }


PLATFORM = Seldon()
