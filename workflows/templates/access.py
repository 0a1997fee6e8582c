"""What the templates need in a namespace beside themselves: accounts, and the least rights of each.

    klever-step       the pods; no rights, and no token of it is mounted
    klever-executor   Argo's own container beside each step, which reports outputs: create and patch workflowtaskresults
    klever-cache      in the namespace of Argo's controller: to keep results of steps in ConfigMaps there

The documents have no namespace where the one that they are applied to is meant. What does not belong here: credentials
of registries, which nobody but the administrator has.
"""

from typing import Any, Final

from klever.workflows.templates.settings import Settings

_LABELS: Final = {"app.kubernetes.io/name": "klever", "app.kubernetes.io/part-of": "klever"}
_RBAC: Final = "rbac.authorization.k8s.io"


def build(settings: Settings, namespace: str) -> list[dict[str, Any]]:
    """Return the documents; ``namespace`` is where they are applied."""
    executor = settings.executor_service_account
    documents: list[dict[str, Any]] = [
        _account(settings.service_account),
        _account(executor),
        # Kubernetes makes no token for an account of itself; Argo looks for this name (util/secrets/secret_name.go).
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": f"{executor}.service-account-token",
                "labels": dict(_LABELS),
                "annotations": {"kubernetes.io/service-account.name": executor},
            },
            "type": "kubernetes.io/service-account-token",
        },
        *_allowed(executor, "", executor, namespace, "argoproj.io", "workflowtaskresults", ["create", "patch"]),
    ]
    if settings.remember:
        documents += _allowed(
            "klever-cache",
            settings.controller_namespace,
            settings.controller_service_account,
            settings.controller_namespace,
            "",
            "configmaps",
            ["create", "get", "update"],
        )
    return documents


def _account(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "labels": dict(_LABELS)},
        "automountServiceAccountToken": False,
    }


def _allowed(
    name: str, namespace: str, account: str, home: str, group: str, resource: str, verbs: list[str]
) -> list[dict[str, Any]]:
    metadata = {"name": name, "labels": dict(_LABELS)} | ({"namespace": namespace} if namespace else {})
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": dict(metadata),
            "rules": [{"apiGroups": [group], "resources": [resource], "verbs": verbs}],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": dict(metadata),
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": home}],
        },
    ]
