"""Checks of what the chart installs: deployments, who leads, templates, accounts, secrets.

What does not belong here: what the accounts may do (`klever.api.doctor.rights`), and what the secrets are good for
(`klever.api.doctor.harbor`).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from klever.api.doctor.check import Check, Probe, failed, ok, skipped, warning
from klever.api.doctor.installation import (
    CONTROLLER,
    DEPLOYMENTS,
    SERVER,
    Document,
    Installation,
    container_of,
    policy_text,
)
from klever.api.doctor.machine import klever_version
from klever.api.harbor import secrets
from klever.api.harbor.keeping import SECRETS
from klever.api.intake.policy import parse_policy
from klever.steps.errors import KleverError, printable
from klever.workflows.argo.apply import argo_major
from klever.workflows.argo.client import PODS, WORKFLOW_TEMPLATES, Resource
from klever.workflows.templates.golden import load
from klever.workflows.templates.settings import Settings

_ACCOUNTS: Final = Resource("", "serviceaccounts", "v1")
_LEASES: Final = Resource("coordination.k8s.io", "leases", "v1")
_TOKEN_TYPE: Final = "kubernetes.io/service-account-token"  # noqa: S105 - a type
#: What an administrator decides about templates (`klever.workflows.templates.settings`), wherever it stands in one, and
#: what Argo 4 has otherwise than Argo 3. All else is the same in every installation of one version.
_SETTINGS: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "env",
        "executor",
        "image",
        "imagePullPolicy",
        "memoize",
        "metadata",
        "podGC",
        "podSpecPatch",
        "retryStrategy",
        "serviceAccountName",
        "ttlStrategy",
        "volumeMounts",
        "volumes",
    }
)
#: Of the arguments of a container, those by which settings are told.
_SETTING_ARGUMENTS: Final = ("--allow",)


def probes(installation: Installation) -> dict[str, Probe]:
    """Return the checks of an installation's parts."""
    home = installation.home
    made: dict[str, Probe] = {
        f"deployment {home}/{CONTROLLER}": partial(_deployment, installation, CONTROLLER),
        f"deployment {home}/{SERVER}": partial(_deployment, installation, SERVER),
        f"lease {home}/{CONTROLLER}": partial(_lease, installation),
        f"accounts {home}": partial(_accounts, installation, home, (CONTROLLER, SERVER)),
        f"policy {home}": partial(_policy, installation),
    }
    settings = Settings()
    for namespace in installation.namespaces:
        accounts = (settings.service_account, settings.executor_service_account)
        made[f"templates {namespace}"] = partial(_templates, installation, namespace)
        made[f"accounts {namespace}"] = partial(_accounts, installation, namespace, accounts)
        if namespace == home:
            made[f"accounts {namespace}"] = partial(_accounts, installation, home, (CONTROLLER, SERVER, *accounts))
        made[f"token {namespace}"] = partial(_token, installation, namespace, settings.executor_service_account)
    for name in (secrets.HARBOR, secrets.HOOK):
        made[f"secret {home}/{name}"] = partial(_secret, installation, home, name)
    for namespace in dict.fromkeys((home, *installation.namespaces)):
        made[f"secret {namespace}/{secrets.REGISTRY}"] = partial(_secret, installation, namespace, secrets.REGISTRY)
    return made


def _deployment(installation: Installation, name: str) -> Iterator[Check]:
    home = installation.home
    title = f"deployment {home}/{name}"
    found = installation.read(DEPLOYMENTS, home, name)
    if found is None:
        yield failed(
            title, "there is none", f"helm install klever charts/klever -n {home}; or name its namespace with -n"
        )
        return
    wanted = (found.get("spec") or {}).get("replicas", 1)
    ready = (found.get("status") or {}).get("readyReplicas", 0)
    image = str(container_of(found).get("image", ""))
    told = f"{ready} of {wanted} ready, {image}"
    if ready < wanted and (reasons := _waiting(installation, found)):
        told += f"; its pods: {', '.join(reasons)}"
    look = f"kubectl describe pod -n {home} -l app.kubernetes.io/component={name.removeprefix('klever-')} says why"
    if not wanted:
        yield failed(title, "it is scaled to none", f"kubectl scale deployment/{name} -n {home} --replicas=2")
    elif not ready:
        yield failed(title, told, look)
    elif ready < wanted:
        yield warning(title, told, look)
    elif not image.partition("@")[0].endswith(f":{klever_version()}"):
        yield ok(title, f"{told}; this is Klever {klever_version()}")
    else:
        yield ok(title, told)


def _waiting(installation: Installation, deployment: Document) -> list[str]:
    """Return why pods of a deployment do not run, in Kubernetes' words, as far as that may be seen."""
    labels = ((deployment.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    try:
        pods, _ = installation.cluster.list_all(PODS.path(installation.home), {"labelSelector": selector})
    except KleverError:
        return []
    reasons: set[str] = set()
    for pod in pods:
        status = pod.get("status") or {}
        # Of a pod without a node nothing waits but itself.
        unplaced = [each for each in status.get("conditions") or () if each.get("type") == "PodScheduled"]
        waiting = [(each.get("state") or {}).get("waiting") for each in status.get("containerStatuses") or ()]
        reasons.update(printable(str(each["reason"])) for each in (*unplaced, *waiting) if each and each.get("reason"))
    return sorted(reasons)


def _lease(installation: Installation) -> Iterator[Check]:
    title = f"lease {installation.home}/{CONTROLLER}"
    look = f"kubectl logs -n {installation.home} deployment/{CONTROLLER} says why"
    found = installation.read(_LEASES, installation.home, CONTROLLER)
    if found is None:
        yield failed(title, "no controller has ever led here", look)
        return
    spec = found.get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    try:
        renewed = datetime.fromisoformat(str(spec.get("renewTime")))
        age = (datetime.now(UTC) - renewed).total_seconds()
    except (ValueError, TypeError):
        age = float("inf")
    # Clocks of machines differ; a controller that is well renews it every few seconds.
    lasts = 2.0 * float(spec.get("leaseDurationSeconds") or 15)
    if not holder:
        yield failed(title, "no controller leads", look)
    elif age > lasts:
        yield failed(title, f"{holder} led, and has not been heard of for {age:.0f} s", look)
    else:
        yield ok(title, f"{holder} leads")


def _accounts(installation: Installation, namespace: str, names: Sequence[str]) -> Iterator[Check]:
    title = f"accounts {namespace}"
    listed, _ = installation.cluster.list_all(_ACCOUNTS.path(namespace))
    missing = sorted(set(names) - {str(each["metadata"]["name"]) for each in listed})
    if missing:
        yield failed(title, f"{', '.join(missing)} missing", _install(installation, namespace))
    else:
        yield ok(title, ", ".join(names))


def _token(installation: Installation, namespace: str, account: str) -> Iterator[Check]:
    """Check the token by which Argo's own container reports what a step gave (``util/secrets`` of Argo)."""
    name = f"{account}.service-account-token"
    title = f"token {namespace}"
    found = installation.read(SECRETS, namespace, name)
    if found is None:
        yield failed(title, f"the secret {name} is missing", _install(installation, namespace))
    elif found.get("type") != _TOKEN_TYPE or "token" not in (found.get("data") or {}):
        yield failed(title, f"the secret {name} holds no token", f"kubectl delete secret {name} -n {namespace}, then "
                     + _install(installation, namespace))  # fmt: skip
    else:
        yield ok(title, f"{name} holds one")


def _templates(installation: Installation, namespace: str) -> Iterator[Check]:
    title = f"templates {namespace}"
    golden = load()
    listed, _ = installation.cluster.list_all(WORKFLOW_TEMPLATES.path(namespace))
    there = {str(each["metadata"]["name"]): each for each in listed}
    missing = [name for name in golden if name not in there]
    stale = [name for name in golden if name in there and common(golden[name]) != common(there[name])]
    install = _install(installation, namespace)
    if missing:
        yield failed(title, f"{', '.join(missing)} missing", install)
    if stale:
        told = f"{', '.join(stale)} of another version than Klever {klever_version()}"
        yield failed(title, told, f"klever templates diff -n {namespace} shows it; {install}")
    if not missing and not stale:
        yield ok(title, f"{', '.join(golden)}, for Argo {argo_major(installation.cluster)}")


def common(template: Document) -> Any:
    """Return what a WorkflowTemplate has in common with the same one of every installation of this version."""
    return _without_settings(template.get("spec") or {})


def _without_settings(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_settings(each) for key, each in value.items() if key not in _SETTINGS}
    if isinstance(value, list):
        return [
            _without_settings(each)
            for each in value
            if not (isinstance(each, str) and each.startswith(_SETTING_ARGUMENTS))
        ]
    return value


def _policy(installation: Installation) -> Iterator[Check]:
    title = f"policy {installation.home}"
    policy = parse_policy(policy_text(installation))
    elsewhere = sorted(set(policy.namespaces) - set(installation.watched)) if installation.watched else ()
    if not policy.projects:
        yield warning(title, "it has no project, so no push starts anything", "set policy in the chart's values")
    elif elsewhere:
        yield failed(
            title,
            f"pushes start jobs in {', '.join(elsewhere)}, where the controller does not look",
            "add these to namespaces in the chart's values",
        )
    else:
        told = ", ".join(" ".join((*rule.match, "in", rule.namespace)) for rule in policy.projects[:5])
        more = len(policy.projects) - 5
        yield ok(title, told + (f" and {more} more" if more > 0 else ""))


def _secret(installation: Installation, namespace: str, name: str) -> Iterator[Check]:
    title = f"secret {namespace}/{name}"
    found = installation.read(SECRETS, namespace, name)
    host = installation.told.get("KLEVER_REGISTRY_HOST", "")
    if found is None:
        if not installation.told.get("KLEVER_HARBOR_URL"):
            needed = "for a registry with passwords" if name == secrets.REGISTRY else "with Harbor"
            yield skipped(title, f"there is none; it is needed {needed} alone")
        else:
            yield failed(title, "there is none", "klever harbor setup makes it")
        return
    try:
        secrets.check(found)
        told = _content(name, found, host)
    except KleverError as error:
        yield failed(title, error.cause, error.next_step)
        return
    if told:
        yield ok(title, told)
    else:
        empty = f"it has nothing for {host}" if name == secrets.REGISTRY and host else "it lacks what it is for"
        yield failed(title, empty, "klever harbor setup puts it right")


def _content(name: str, document: Document, host: str) -> str:
    """Return what a secret has, in words without secrets; empty where it lacks what it is for."""
    if name == secrets.HOOK:
        return "has what Harbor is to send" if secrets.read_hook(document) else ""
    if name == secrets.HARBOR:
        credentials = secrets.read_harbor(document)
        known = bool(credentials.username and credentials.password) and not secrets.is_pending(document)
        return f"of {credentials.username}" if known else ""
    if not host:
        return "a Docker configuration"
    found = secrets.read_registry(document, host)
    return f"{found.username} at {host}" if found else ""


def _install(installation: Installation, namespace: str) -> str:
    if installation.told:
        return f"helm upgrade with {namespace} among namespaces; or klever templates apply -n {namespace}"
    return f"klever templates apply -n {namespace}, or install the chart"
