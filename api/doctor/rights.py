"""Checks of what may be done: by Klever's accounts, by whoever asks, and whether the API server takes their objects.

What does not belong here: granting anything. What the accounts need is what the chart gives them, in
``charts/klever/templates/_rules.tpl`` and `klever.workflows.templates.access`.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

from klever.api.doctor.check import Check, Probe, failed, ok, skipped, warning
from klever.api.doctor.installation import CONTROLLER, SERVER, Installation
from klever.api.modeljob.model import MODEL_JOBS
from klever.steps.errors import KleverError
from klever.workflows.argo.client import WORKFLOWS
from klever.workflows.argo.errors import ClusterObjectMissingError, ForbiddenError
from klever.workflows.argo.submit import Identity, from_template
from klever.workflows.templates.settings import Settings

_GROUP: Final = "/apis/authorization.k8s.io/v1"
_KLEVER, _ARGO, _CORE, _LEASES = "kleveross.io", "argoproj.io", "", "coordination.k8s.io"
#: A name that no object has: what is checked with it is never made.
_NOBODY: Final = "klever-doctor"
#: Rights that are asked for at the same time.
_AT_ONCE: Final = 8
_MODEL: Final = "registry.example/klever/doctor:v1"


class Right(NamedTuple):
    """Verbs on one kind of objects, or on the one of a name."""

    group: str
    #: With a subresource behind a slash.
    resource: str
    verbs: tuple[str, ...]
    name: str = ""

    def __str__(self) -> str:
        named = f" {self.name}" if self.name else ""
        return (f"{self.resource}.{self.group}" if self.group else self.resource) + named


#: What accounts of the installation's namespace do in each namespace with jobs.
IN_NAMESPACES: Final = {
    CONTROLLER: (
        Right(_KLEVER, "modeljobs", ("create", "delete", "get", "list", "watch")),
        Right(_KLEVER, "modeljobs/status", ("patch",)),
        Right(_ARGO, "workflows", ("create", "delete", "get", "list", "patch", "watch")),
        Right(_ARGO, "workflowtemplates", ("get", "list")),
        Right(_CORE, "events", ("create",)),
    ),
    SERVER: (Right(_KLEVER, "modeljobs", ("create", "get")),),
}
#: What they do in the installation's namespace itself.
AT_HOME: Final = {
    CONTROLLER: (
        Right(_LEASES, "leases", ("create",)),
        Right(_LEASES, "leases", ("get", "update"), CONTROLLER),
    )
}
#: What the account beside each step does in its own namespace.
OF_EXECUTOR: Final = (Right(_ARGO, "workflowtaskresults", ("create", "patch")),)
#: What people do who use an installation.
_OF_PEOPLE: Final = (
    Right(_KLEVER, "modeljobs", ("create", "get", "list", "watch")),
    Right(_ARGO, "workflows", ("create", "get", "list", "watch")),
    Right(_CORE, "pods/log", ("get",)),
)


def probes(installation: Installation) -> dict[str, Probe]:
    """Return the checks of rights, and of objects that the API server is asked to take without keeping them."""
    home = installation.home
    made: dict[str, Probe] = {
        f"rights {home}, leading": partial(_of_account, installation, f"rights {home}, leading", home, home, AT_HOME)
    }
    executor = {Settings().executor_service_account: OF_EXECUTOR}
    for namespace in installation.namespaces:
        title = f"rights {namespace}, jobs"
        made[title] = partial(_of_account, installation, title, namespace, home, IN_NAMESPACES)
        title = f"rights {namespace}, pods"
        made[title] = partial(_of_account, installation, title, namespace, namespace, executor)
        made[f"rights {namespace}, yours"] = partial(_own, installation, namespace)
        made[f"workflow {namespace}"] = partial(_workflow, installation, namespace)
        made[f"modeljob {namespace}"] = partial(_model_job, installation, namespace)
    return made


def _of_account(
    installation: Installation, title: str, namespace: str, home: str, needed: Mapping[str, tuple[Right, ...]]
) -> Iterator[Check]:
    lacking = {}
    for account, rights in needed.items():
        user = {
            "user": f"system:serviceaccount:{home}:{account}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{home}", "system:authenticated"],
        }
        if lacks := list(_refused(installation, namespace, rights, user)):
            lacking[account] = lacks
    for account, lacks in lacking.items():
        yield failed(
            title,
            f"{account} may not {_told(lacks)}",
            "helm upgrade gives it these rights"
            + (f", with {namespace} among namespaces" if namespace != home else ""),
        )
    if not lacking:
        yield ok(title, f"{', '.join(needed)}: all that is needed")


def _own(installation: Installation, namespace: str) -> Iterator[Check]:
    title = f"rights {namespace}, yours"
    if lacks := list(_refused(installation, namespace, _OF_PEOPLE, None)):
        yield warning(title, f"you may not {_told(lacks)}", "ask whoever administers the cluster, if you need it")
    else:
        yield ok(title, "you may make ModelJobs and workflows, and read logs")


def _refused(
    installation: Installation, namespace: str, rights: Iterable[Right], user: dict[str, Any] | None
) -> Iterator[tuple[Right, str]]:
    """Yield what a user may not do, whoever asks for None (``SubjectAccessReview``)."""
    kind = "SelfSubjectAccessReview" if user is None else "LocalSubjectAccessReview"
    path = f"{_GROUP}/{kind.lower()}s" if user is None else f"{_GROUP}/namespaces/{namespace}/{kind.lower()}s"

    def is_allowed(asked: tuple[Right, str]) -> bool:
        right, verb = asked
        resource, _, subresource = right.resource.partition("/")
        attributes = {
            "namespace": namespace,
            "verb": verb,
            "group": right.group,
            "resource": resource,
            "subresource": subresource,
            "name": right.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": kind,
            "metadata": {} if user is None else {"namespace": namespace},
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}} | (user or {}),
        }
        return bool((installation.cluster.create(path, review).get("status") or {}).get("allowed"))

    asked = [(right, verb) for right in rights for verb in right.verbs]
    # A distant cluster answers each in a good part of a second.
    with ThreadPoolExecutor(_AT_ONCE) as workers:
        for one, allowed in zip(asked, workers.map(is_allowed, asked), strict=True):
            if not allowed:
                yield one


def _told(refused: Iterable[tuple[Right, str]]) -> str:
    """Return rights in words: ``create, get modeljobs.kleveross.io; patch events``."""
    verbs: dict[Right, list[str]] = {}
    for right, verb in refused:
        verbs.setdefault(right, []).append(verb)
    return "; ".join(f"{', '.join(each)} {right}" for right, each in verbs.items())


def _workflow(installation: Installation, namespace: str) -> Iterator[Check]:
    document = from_template("klever-extract", {"model": _MODEL}, Identity(name=_NOBODY))
    yield from _taken(
        installation, f"workflow {namespace}", WORKFLOWS.path(namespace), document, "install Argo Workflows' CRDs"
    )


def _model_job(installation: Installation, namespace: str) -> Iterator[Check]:
    document = {
        "apiVersion": f"{_KLEVER}/{MODEL_JOBS.version}",
        "kind": "ModelJob",
        "metadata": {"name": _NOBODY},
        "spec": {"model": _MODEL, "extraction": {}},
    }
    yield from _taken(
        installation, f"modeljob {namespace}", MODEL_JOBS.path(namespace), document, "install the CRD of ModelJobs"
    )


def _taken(
    installation: Installation, title: str, path: str, document: dict[str, Any], missing: str
) -> Iterator[Check]:
    """Check that the API server takes an object, which it is told not to keep."""
    try:
        installation.cluster.create(path, document, {"dryRun": "All"})
    except ForbiddenError as error:
        yield skipped(title, error.cause, error.next_step)
    except ClusterObjectMissingError as error:
        yield failed(title, error.cause, f"make the namespace, or {missing}")
    except KleverError as error:
        yield failed(title, error.cause, error.next_step or "look at the cluster's admission and quotas")
    else:
        yield ok(title, "the API server would take one")
