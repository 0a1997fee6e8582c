"""Checks of what Klever stands on: Kubernetes, Argo Workflows, and the definition of ModelJobs.

What does not belong here: what is installed in a namespace.
"""

import re
from collections.abc import Iterator
from typing import Final

from klever.api.doctor.check import Check, Probe, failed, ok, skipped, warning
from klever.api.doctor.installation import DEPLOYMENTS, Document, Installation, container_of
from klever.api.doctor.machine import klever_version
from klever.api.modeljob.crd import build
from klever.workflows.argo.errors import ArgoMissingError, ClusterObjectMissingError

#: The oldest that installations are made for; rules of CEL in a definition are on from 1.25.
_OLDEST_KUBERNETES: Final = (1, 27)
#: The first that is tested with, and the major version that nothing is known of yet.
_OLDEST_ARGO: Final = (3, 6)
_UNKNOWN_ARGO: Final = 5
_ARGO_KINDS: Final = frozenset({"workflows", "workflowtemplates", "workflowtaskresults"})
_ARGO_CONTROLLER: Final = "workflow-controller"
_DEFINITIONS: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_VERSION: Final = re.compile(r"v?(\d{1,4})\.(\d{1,4})")


def probes(installation: Installation, argo_namespace: str) -> dict[str, Probe]:
    """Return the checks of what is there once in a cluster, beside `kubernetes`."""
    return {
        "modeljobs": lambda: _definition(installation),
        "argo": lambda: _argo(installation),
        "argo controller": lambda: _argo_controller(installation, argo_namespace),
    }


def kubernetes(installation: Installation) -> Iterator[Check]:
    """Check the API server's version, and with it that there is one."""
    told = str(installation.cluster.get("/version").get("gitVersion", ""))
    found = _parse(told)
    detail = f"Kubernetes {told} at {installation.cluster.address}"
    oldest = ".".join(map(str, _OLDEST_KUBERNETES))
    if found is None:
        yield skipped("kubernetes", f"the API server's version is {told!r}, which tells no number")
    elif found < _OLDEST_KUBERNETES:
        yield failed("kubernetes", detail, f"upgrade the cluster to {oldest} or later")
    else:
        yield ok("kubernetes", detail)


def _definition(installation: Installation) -> Iterator[Check]:
    wanted = build()
    name = wanted["metadata"]["name"]
    apply = "helm upgrade with crds.install=true, or: kubectl apply --server-side -f crds/modeljobs.kleveross.io.yaml"
    try:
        found = installation.cluster.get(f"{_DEFINITIONS}/{name}")
    except ClusterObjectMissingError:
        yield failed("modeljobs", f"the cluster does not know {name}", apply)
        return
    conditions = {each.get("type"): each for each in (found.get("status") or {}).get("conditions") or ()}
    for kind in ("NamesAccepted", "Established"):
        condition = conditions.get(kind) or {}
        if condition.get("status") != "True":
            said = condition.get("message") or "the API server has not said why"
            yield failed("modeljobs", f"{name} is not {kind}: {said}", f"kubectl describe crd {name} says more")
            return
    if _own(found) != _own(wanted):
        yield failed("modeljobs", f"{name} is not the definition of Klever {klever_version()}", apply)
    else:
        yield ok("modeljobs", f"{name} is established, as Klever {klever_version()} defines it")


def _own(definition: Document) -> Document:
    """Return what a definition says, without what the API server adds to it."""
    spec = dict(definition.get("spec") or {})
    if (spec.get("conversion") or {}).get("strategy") == "None":
        del spec["conversion"]
    spec.pop("preserveUnknownFields", None)
    return spec


def _argo(installation: Installation) -> Iterator[Check]:
    try:
        listed = installation.cluster.get("/apis/argoproj.io/v1alpha1").get("resources") or ()
    except ArgoMissingError as error:
        yield failed("argo", error.cause, "install Argo Workflows in the cluster")
        return
    missing = _ARGO_KINDS - {str(each.get("name")) for each in listed if isinstance(each, dict)}
    if missing:
        yield failed("argo", f"the cluster does not know {', '.join(sorted(missing))}", "install all CRDs of Argo")
    else:
        yield ok("argo", "the cluster knows Argo's workflows, templates and task results")


def _argo_controller(installation: Installation, namespace: str) -> Iterator[Check]:
    name = "argo controller"
    found, _ = installation.cluster.list_all(DEPLOYMENTS.path(namespace))
    deployment = next((each for each in found if _runs_argo(each)), None)
    if deployment is None:
        yield skipped(
            name,
            f"no deployment in namespace {namespace} runs Argo's {_ARGO_CONTROLLER}",
            "name Argo's namespace with --argo-namespace",
        )
        return
    image = str(container_of(deployment).get("image", ""))
    version = _parse(image.partition("@")[0].rpartition(":")[2])
    where = f"{namespace}/{deployment['metadata']['name']}"
    if not (deployment.get("status") or {}).get("readyReplicas"):
        yield failed(name, f"{where} is not ready", f"kubectl describe deployment -n {namespace} says why")
    elif version is None:
        yield skipped(name, f"{where} runs, and its image {image} tells no version")
    elif version < _OLDEST_ARGO:
        oldest = ".".join(map(str, _OLDEST_ARGO))
        yield failed(name, f"{where} is {image}", f"upgrade Argo Workflows to {oldest} or later")
    elif version[0] >= _UNKNOWN_ARGO:
        yield warning(
            name, f"{where} is {image}, which is newer than what is known", "watch the first workflows closely"
        )
    else:
        yield ok(name, f"{where} is {image}")


def _runs_argo(deployment: Document) -> bool:
    container = container_of(deployment)
    image = str(container.get("image", "")).partition("@")[0]
    return _ARGO_CONTROLLER in image or _ARGO_CONTROLLER in (container.get("command") or ())


def _parse(text: str) -> tuple[int, int] | None:
    found = _VERSION.match(text)
    return (int(found[1]), int(found[2])) if found else None
