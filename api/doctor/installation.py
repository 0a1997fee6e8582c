"""Which installation is examined: its cluster, its namespaces, and what its controller was told.

What does not belong here: whether any of that is as it has to be.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from klever.steps.errors import PermanentError
from klever.workflows.argo.client import Cluster, Resource
from klever.workflows.argo.errors import ClusterObjectMissingError, ForbiddenError

Document = dict[str, Any]

CONTROLLER, SERVER = "klever-controller", "klever-server"
POLICY: Final = "klever-policy"
NAMESPACES: Final = "/api/v1/namespaces"
DEPLOYMENTS: Final = Resource("apps", "deployments", "v1")
CONFIG_MAPS: Final = Resource("", "configmaps", "v1")


@dataclass(frozen=True)
class Installation:
    """An installation of Klever in a cluster."""

    cluster: Cluster
    #: The namespace of the controller and the server.
    home: str
    #: Those where jobs run.
    namespaces: tuple[str, ...]
    #: What the controller's container is told in plain variables; empty where it cannot be seen.
    told: Mapping[str, str] = field(default_factory=dict)

    @property
    def watched(self) -> tuple[str, ...]:
        """The namespaces whose jobs the controller handles; empty for all, or where it cannot be seen."""
        listed = (name.strip() for name in self.told.get("KLEVER_NAMESPACES", "").split(","))
        return tuple(dict.fromkeys(name for name in listed if name))

    def read(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return an object; None where there is none."""
        try:
            return self.cluster.get(resource.path(namespace, name))
        except ClusterObjectMissingError:
            return None


def find(cluster: Cluster, namespaces: Iterable[str] = ()) -> Installation:
    """Return the installation in the cluster's namespace; its controller says where jobs run, unless it is given.

    The server is told the same. Raises the errors of the cluster, but not for what is absent or may not be read.
    """
    home = cluster.namespace
    told: dict[str, str] = {}
    for name in (CONTROLLER, SERVER):
        try:
            told = told or variables_of(cluster.get(DEPLOYMENTS.path(home, name)))
        except (ClusterObjectMissingError, ForbiddenError):
            continue
    found = Installation(cluster, home, (home,), told)
    return replace(found, namespaces=tuple(dict.fromkeys(namespaces)) or found.watched or (home,))


def variables_of(deployment: Document) -> dict[str, str]:
    """Return the plain variables of a deployment's first container."""
    return {
        str(each["name"]): str(each["value"])
        for each in container_of(deployment).get("env") or ()
        if isinstance(each, dict) and each.get("name") and each.get("value") is not None
    }


def container_of(deployment: Document) -> Document:
    """Return the first container of a deployment; empty for none."""
    pod = ((deployment.get("spec") or {}).get("template") or {}).get("spec") or {}
    return next((each for each in pod.get("containers") or () if isinstance(each, dict)), {})


def policy_text(installation: Installation) -> str:
    """Return the policy as the ConfigMap has it; raises `PermanentError` where there is none."""
    document = installation.read(CONFIG_MAPS, installation.home, POLICY)
    text = ((document or {}).get("data") or {}).get("policy.yaml")
    if not isinstance(text, str):
        raise PermanentError(
            f"namespace {installation.home} has no ConfigMap {POLICY} with the key policy.yaml",
            next_step="install the chart, or name the installation's namespace with -n",
        )
    return text
