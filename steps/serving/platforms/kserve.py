"""KServe: an InferenceService with a container of ours, and the ClusterStorageContainer that brings its model.

The server is a custom predictor (``containers``), not ``model.modelFormat`` with a ServingRuntime. A runtime is found
by the name of a format, so what runs would follow from whatever the cluster has; a container says which server, in
which version, is told what, as on every other platform, and needs no second object in each namespace. What KServe wants
of one (``CustomPredictor`` of ``pkg/apis/serving/v1beta1``): the name ``kserve-container``; the model's URI in the
variable ``STORAGE_URI``, of which it makes the storage initializer; ``PROTOCOL``, which is v1 unless told.

A URI is matched with the prefixes of ClusterStorageContainers, and the container of the one that fits becomes the init
container, with ``URI /mnt/models`` as arguments. Its name has to be ``storage-initializer``. There is one for a
cluster, so how it speaks to the registry and who it is there is an installation's matter (`build_storage_container`),
and a serving's own ``registry_secret`` has no place; the secret with variables is looked up in the namespace of each
pod.

The pod has what Knative admits as it is installed (``PodSpecMask``): one port, probes at its number, no startup probe,
no security context of the pod. Traffic between the last ready revision and the newest is ``canaryTrafficPercent``,
which Knative does; the object describes the newest alone, so the older of two predictors is what the cluster has
already.
"""

from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Manifest, Platform, Predictor, Serving, Settings
from klever.steps.serving.platforms.names import check_names, metadata
from klever.steps.serving.platforms.pods import image_of, registry_variables, security_context, server_container
from klever.steps.serving.servers.interface import Protocol
from klever.steps.serving.uri import SCHEME

API_VERSION: Final = "serving.kserve.io/v1beta1"
_CONTAINER: Final = "kserve-container"
_INITIALIZER: Final = "storage-initializer"
#: Of an InferenceService KServe makes what is called so, and Knative of that and the namespace the name of a host.
_COMPONENT: Final = "-predictor"
#: Where KServe mounts the ConfigMap that its ``caBundleConfigMapName`` names.
_AUTHORITIES: Final = "/etc/ssl/custom-certs/cabundle.crt"
#: The old revision, and the new one beside it.
_MOST: Final = 2
#: A start counts among the failures here, every 10 seconds.
_LIVENESS_FAILURES: Final = 60


class KServe(Platform):
    """InferenceServices."""

    id = "kserve"
    kind = "InferenceService"

    def build(self, serving: Serving) -> tuple[Manifest, ...]:
        """Return the InferenceService; raises `ServingError`."""
        check_names(serving, (f"{serving.name}{_COMPONENT}-{serving.namespace}",))
        if any(each.header for each in serving.predictors):
            raise ServingError(
                "KServe cannot choose a predictor by a header",
                next_step="split the traffic by weight, or deploy on Seldon Core",
            )
        if len(serving.predictors) > _MOST:
            raise ServingError(f"KServe serves an old and a new version, not {len(serving.predictors)}")
        newest = serving.predictors[-1]
        canary = len(serving.predictors) == _MOST
        # By its tag the new revision is reached even where it has no traffic.
        notes = {"serving.kserve.io/enable-tag-routing": "true"} if canary else {}
        predictor = _predictor(serving, newest)
        if canary:
            predictor = {"canaryTrafficPercent": newest.traffic, **predictor}
        return (
            {
                "apiVersion": API_VERSION,
                "kind": "InferenceService",
                "metadata": metadata(serving, serving.name, newest, notes),
                "spec": {"predictor": predictor},
            },
        )


def build_storage_container(settings: Settings, name: str = "klever-initializer") -> Manifest:
    """Return what makes a cluster's KServe understand ``oci+model://``; it has no namespace.

    With ``ca_config_map`` KServe itself has to be told of the same authorities: its ``caBundleConfigMapName``.
    """
    variables = registry_variables(settings)
    if settings.ca_config_map:
        variables["KLEVER_CA_FILE"] = _AUTHORITIES
    container: dict[str, Any] = {
        "name": _INITIALIZER,
        "image": image_of(settings.initializer, settings),
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["klever-initializer"],
        "env": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        # It has no volume but the model's.
        "securityContext": security_context() | {"readOnlyRootFilesystem": False},
    }
    if settings.environment_secret:
        # Not every namespace has one, and not every registry wants one.
        container["envFrom"] = [{"secretRef": {"name": settings.environment_secret, "optional": True}}]
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {
            "name": name,
            "labels": {
                "app.kubernetes.io/name": name,
                "app.kubernetes.io/part-of": "klever",
                "app.kubernetes.io/managed-by": "klever",
            },
        },
        "spec": {
            "container": container,
            "supportedUriFormats": [{"prefix": SCHEME}],
            "workloadType": "initContainer",
        },
    }


def _predictor(serving: Serving, predictor: Predictor) -> Manifest:
    settings = serving.settings
    container = server_container(predictor, settings, _CONTAINER)
    port = predictor.process.ports["http"]
    container["ports"] = [{"name": "http1", "containerPort": port, "protocol": "TCP"}]
    del container["startupProbe"]
    for probe in ("livenessProbe", "readinessProbe"):
        container[probe]["httpGet"]["port"] = port
    container["livenessProbe"]["failureThreshold"] = _LIVENESS_FAILURES
    container["env"].append({"name": "STORAGE_URI", "value": str(predictor.uri)})
    if predictor.process.protocol is Protocol.V2:
        container["env"].append({"name": "PROTOCOL", "value": "v2"})
    scaling = serving.autoscaling
    spec: dict[str, Any] = {
        # Without an autoscaler's limits both are the same: KServe has none that is off.
        "minReplicas": scaling.minimum if scaling else predictor.replicas,
        "maxReplicas": scaling.maximum if scaling else predictor.replicas,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    }
    if settings.service_account:
        spec["serviceAccountName"] = settings.service_account
    if settings.image_pull_secret:
        spec["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    if serving.scheduler:
        spec["schedulerName"] = serving.scheduler
    return spec


PLATFORM = KServe()
