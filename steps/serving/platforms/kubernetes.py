"""Kubernetes and nothing else: a Deployment for each version, and one Service before them.

A Service hands each connection to any of the ready pods that it selects, all alike. So on plain Kubernetes the share of
a version is its share of the pods, and nothing else can be asked for:

- The version with the most traffic keeps its replicas, so that a canary never takes capacity away; the others get pods
  in proportion to it, and one at least. Beside 3 replicas a canary with 10 % has one pod, which is 25 %: with few pods
  the share is coarse, and `shares` says what it comes to.
- The Service selects the label ``kleveross.io/traffic: "true"``. A version without traffic has it ``"false"``: its
  pods answer at the Service of their own alone, ``NAME-PREDICTOR``, where a smoke test reaches them before anybody else
  does. The label is part of the pod, so a version that gets its first traffic is rolled out once more, its old pods
  staying until the new ones are ready. From then on weights change the number of pods only.
- A client that keeps its connection stays with its pod. Many short connections come close to the shares.
- While traffic is split there is no HorizontalPodAutoscaler, which would change the shares. Whoever applies these
  objects removes the one that was there.
- A header chooses nothing here: a Service does not read requests.

A rollout replaces no pod before its successor is ready (``maxUnavailable: 0``), so one that fails leaves the old
version serving until somebody undoes it; a pod that ends first stops being selected, then ends (``preStop``).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from klever.steps.errors import ServingError
from klever.steps.serving.platforms.interface import Manifest, Platform, Predictor, Serving
from klever.steps.serving.platforms.names import (
    PREDICTOR,
    REFERENCE,
    SERVING,
    TRAFFIC,
    URL,
    check_names,
    metadata,
    object_labels,
)
from klever.steps.serving.platforms.pods import bring_model, leave_slowly, pod_spec, server_container

#: What clients connect to, whatever number a version's server listens at.
PORTS: Final = {"http": 8000, "grpc": 8001, "metrics": 8002}
_CONTAINER: Final = "server"
_INITIALIZER: Final = "model-initializer"


class Kubernetes(Platform):
    """Deployments behind a Service."""

    id = "kubernetes"
    kind = "Deployment"

    def build(self, serving: Serving) -> tuple[Manifest, ...]:
        """Return Services, Deployments, and what scales and protects them; raises `ServingError`."""
        check_names(serving, (workload_name(serving, each) for each in serving.predictors))
        if by_header := next((each for each in serving.predictors if each.header), None):
            raise ServingError(
                f"plain Kubernetes cannot choose {by_header.name!r} by a header",
                next_step="split the traffic by weight, or deploy on Seldon Core",
            )
        counts = split(serving)
        taking = [each for each in serving.predictors if each.traffic]
        objects = [_service(serving, serving.name, taking, {SERVING: serving.name, TRAFFIC: "true"})]
        for each in serving.predictors:
            selector = {SERVING: serving.name, PREDICTOR: each.name}
            objects.append(_service(serving, workload_name(serving, each), [each], selector, each))
        scaled = serving.autoscaling is not None and len(taking) == 1
        for each in serving.predictors:
            alone = scaled and each.traffic > 0
            objects.append(_deployment(serving, each, None if alone else counts[each.name]))
            if alone:
                objects.append(_autoscaler(serving, each))
        if sum(counts[each.name] for each in taking) > 1:
            objects.append(_disruption_budget(serving))
        return tuple(objects)


def workload_name(serving: Serving, predictor: Predictor) -> str:
    """Return the name of a predictor's Deployment and Service."""
    return f"{serving.name}-{predictor.name}"


def service_url(serving: Serving, predictor: Predictor | None = None) -> str:
    """Return where the serving, or one predictor of it, answers within the cluster."""
    name = workload_name(serving, predictor) if predictor else serving.name
    return f"http://{name}.{serving.namespace}.svc:{PORTS['http']}"


def split(serving: Serving) -> Mapping[str, int]:
    """Return the pods of each predictor by name, which make its share of the traffic."""
    least = serving.autoscaling.minimum if serving.autoscaling else 1
    # Of equals the older one, which is known to carry the load.
    most = max(serving.predictors, key=lambda each: each.traffic)
    kept = max(most.replicas, least)
    counts = {}
    for each in serving.predictors:
        if each is most:
            counts[each.name] = kept
        elif each.traffic:
            counts[each.name] = max(1, round(kept * each.traffic / most.traffic))
        else:
            counts[each.name] = each.replicas
    return counts


def shares(serving: Serving) -> Mapping[str, float]:
    """Return the percent of the connections that each predictor gets in fact."""
    counts = split(serving)
    total = sum(counts[each.name] for each in serving.predictors if each.traffic)
    return {each.name: 100 * counts[each.name] / total if each.traffic else 0.0 for each in serving.predictors}


def _deployment(serving: Serving, predictor: Predictor, replicas: int | None) -> Manifest:
    name = workload_name(serving, predictor)
    container = server_container(predictor, serving.settings, _CONTAINER)
    leave_slowly(container)
    pod = pod_spec(serving, container)
    bring_model(pod, predictor, serving.settings, _INITIALIZER)
    labels = {**object_labels(serving, predictor), TRAFFIC: "true" if predictor.traffic else "false"}
    notes = {URL: service_url(serving, None if predictor.traffic else predictor)}
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": serving.settings.progress_deadline,
        "selector": {"matchLabels": {SERVING: serving.name, PREDICTOR: predictor.name}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": labels, "annotations": {REFERENCE: str(predictor.uri.reference)}},
            "spec": pod,
        },
    }
    if replicas is not None:
        # Left out where an autoscaler decides, whose number every application would undo.
        spec = {"replicas": replicas, **spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(serving, name, predictor, notes),
        "spec": spec,
    }


def _service(
    serving: Serving,
    name: str,
    behind: Sequence[Predictor],
    selector: Mapping[str, str],
    predictor: Predictor | None = None,
) -> Manifest:
    ports = [port for port in PORTS if all(port in each.process.ports for each in behind)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(serving, name, predictor),
        "spec": {
            "type": "ClusterIP",
            "selector": dict(selector),
            "ports": [{"name": port, "port": PORTS[port], "targetPort": port, "protocol": "TCP"} for port in ports],
        },
    }


def _autoscaler(serving: Serving, predictor: Predictor) -> Manifest:
    scaling = serving.autoscaling
    if scaling is None:
        raise TypeError("an autoscaler has its limits")
    name = workload_name(serving, predictor)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(serving, name, predictor),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": scaling.minimum,
            "maxReplicas": scaling.maximum,
            "metrics": [cpu_metric(scaling.cpu)],
        },
    }


def cpu_metric(percent: int) -> Manifest:
    """Return the load that an autoscaler holds (``autoscaling/v2``)."""
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _disruption_budget(serving: Serving) -> Manifest:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(serving, serving.name),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {SERVING: serving.name, TRAFFIC: "true"}},
        },
    }


PLATFORM = Kubernetes()
