"""Build a Workflow from a template or a document, hold its arguments against it, and create it exactly once.

What does not belong here: waiting for it, and reading files (`klever.workflows.manifest`).
"""

import random
import re
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final
from uuid import uuid4

from klever.steps.errors import KleverError, PermanentError, printable
from klever.workflows.argo import errors
from klever.workflows.argo.client import WORKFLOW_TEMPLATES, WORKFLOWS, Cluster
from klever.workflows.arguments import check_arguments, declared_parameters, plain
from klever.workflows.manifest import Document, Workflow, load

API_VERSION: Final = "argoproj.io/v1alpha1"
#: Says of a workflow which call made it, so that the answer to a call whose first answer was lost is recognised.
_SUBMISSION: Final = "kleveross.io/submission"
#: The letters that Kubernetes appends to ``generateName`` (k8s.io/apimachinery/pkg/util/rand): no words come out.
_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LETTERS: Final = 5
#: Names of workflows become values of labels on pods: at most 63 characters (Kubernetes), of a DNS subdomain.
_MAX_NAME: Final = 63
_NAME: Final = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?")
#: Another suffix is tried so often when one is taken; 27 ** 5 names make even the second unlikely.
_NAME_TRIES: Final = 5


class InvalidNameError(PermanentError):
    """The text cannot be a workflow's name."""

    usual_step = "use lower-case letters, digits and hyphens"


@dataclass(frozen=True)
class Identity:
    """What the workflow is called, who it belongs to, and what it is marked with."""

    #: Exactly this name; submitting the same again finds the first.
    name: str = ""
    #: What the name begins with where no name is given; the template's or document's own by default.
    prefix: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    #: Objects that take the workflow with them when they are deleted, as Kubernetes writes owner references.
    owners: tuple[Document, ...] = ()
    #: The service account of its pods; the template's own by default.
    service_account: str = ""


@dataclass(frozen=True)
class Submitted:
    """A workflow that the cluster has."""

    name: str
    namespace: str
    uid: str
    #: Whether it was there already, under the same name and with the same content.
    found: bool
    document: Document


def from_template(template: str, arguments: Mapping[str, str], identity: Identity | None = None) -> Document:
    """Return a Workflow that runs a WorkflowTemplate of its namespace with these arguments."""
    document: Document = {
        "apiVersion": API_VERSION,
        "kind": "Workflow",
        "metadata": {"generateName": f"{template}-"},
        "spec": {"workflowTemplateRef": {"name": template}},
    }
    return identified(with_arguments(document, arguments), identity or Identity())


def from_document(workflow: Workflow, arguments: Mapping[str, str], identity: Identity | None = None) -> Document:
    """Return the document of a workflow with these arguments.

    It may be a Workflow, WorkflowTemplate or ClusterWorkflowTemplate, as an object of Hera or as a mapping. A
    template's content becomes the workflow's own, so that it need not be in the cluster. Raises
    `InvalidArgumentsError` where the document itself declares what there is, `ManifestFileError` for what is none.
    """
    document = load(workflow)
    metadata = document.setdefault("metadata", {})
    for of_the_server in ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"):
        metadata.pop(of_the_server, None)
    document.pop("status", None)
    if document.get("kind") != "Workflow":
        name = metadata.pop("name", "") or "workflow"
        metadata.setdefault("generateName", f"{name}-")
        document |= {"apiVersion": API_VERSION, "kind": "Workflow"}
    spec = document.get("spec") or {}
    if not spec.get("workflowTemplateRef"):
        check_arguments(arguments, declared_parameters(spec), of=_called(document))
    # As argo submit does: people write 10 and true where the API server wants text.
    for parameter in (spec.get("arguments") or {}).get("parameters") or ():
        if parameter.get("value") is not None:
            parameter["value"] = plain(parameter["value"])
    return identified(with_arguments(document, arguments), identity or Identity())


def check(cluster: Cluster, workflow: Document, namespace: str = "", *, template: Document | None = None) -> None:
    """Hold a workflow's arguments against what it and the template that it refers to declare.

    ``template`` is the latter, where it is known already. Raises `TemplateMissingError`, and `InvalidArgumentsError`
    with every fault at once.
    """
    spec = workflow.get("spec") or {}
    own = declared_parameters(spec)
    values = {name: parameter.default for name, parameter in own.items() if parameter.default is not None}
    reference = spec.get("workflowTemplateRef")
    if not reference:
        check_arguments(values, own, of=_called(workflow))
    elif not reference.get("clusterScope"):
        # A ClusterWorkflowTemplate may not be readable for who submits; Argo's controller checks it then.
        name = str(reference["name"])
        template = template or get_template(cluster, name, namespace)
        # What a workflow declares with a value from elsewhere is given, though not known here.
        elsewhere = {name: parameter for name, parameter in own.items() if parameter.elsewhere}
        check_arguments(values, declared_parameters(template.get("spec") or {}) | elsewhere, of=name)


def get_template(cluster: Cluster, name: str, namespace: str = "") -> Document:
    """Return a WorkflowTemplate; raises `TemplateMissingError`, which names those that are there."""
    namespace = namespace or cluster.namespace
    try:
        return cluster.get(WORKFLOW_TEMPLATES.path(namespace, name))
    except errors.ClusterObjectMissingError as error:
        templates, _ = cluster.list_all(WORKFLOW_TEMPLATES.path(namespace))
        there = sorted(str(each["metadata"]["name"]) for each in templates)
        close = get_close_matches(name, there, n=1)
        raise errors.TemplateMissingError(
            f"namespace {namespace} has no WorkflowTemplate {printable(name)}; {_some(there)}",
            stage="submit",
            next_step=f"did you mean {close[0]}?"
            if close
            else "klever templates apply installs ours; name another namespace with -n",
        ) from error


def submit(cluster: Cluster, workflow: Document, namespace: str = "", *, template: Document | None = None) -> Submitted:
    """Create a workflow, exactly once also where an answer is lost; its arguments are checked first.

    It comes into ``namespace``, or into the one that it names itself, or into the cluster's. ``template`` is the one
    that it refers to, where that is known already.
    A workflow with a name that is there already with the same content is found, not made; with other content it is a
    `NameTakenError`. Raises what `check` raises, `InvalidWorkflowError`, `ForbiddenError`, `ClusterUnreachableError`.
    """
    namespace = namespace or (workflow.get("metadata") or {}).get("namespace") or cluster.namespace
    check(cluster, workflow, namespace, template=template)
    document = deepcopy(workflow)
    metadata = document["metadata"]
    metadata["namespace"] = namespace
    fixed = bool(metadata.get("name"))
    mark = uuid4().hex
    metadata.setdefault("annotations", {})[_SUBMISSION] = mark
    for _ in range(_NAME_TRIES):
        name = metadata["name"] if fixed else _generated(metadata["generateName"])
        metadata["name"] = name
        try:
            created = cluster.create(WORKFLOWS.path(namespace), document)
        except errors.NameTakenError as error:
            existing = cluster.get(WORKFLOWS.path(namespace, name))
            ours = (existing["metadata"].get("annotations") or {}).get(_SUBMISSION) == mark
            if ours:
                return _submitted(existing, found=False)
            if not fixed:
                continue
            if _contains(existing.get("spec"), document["spec"]):
                return _submitted(existing, found=True)
            raise errors.NameTakenError(
                f"namespace {namespace} has another workflow {name}, with other content", stage="submit"
            ) from error
        except KleverError as error:
            if error.stage == "cluster":
                error.stage = "submit"
            raise
        return _submitted(created, found=False)
    raise errors.NameTakenError(f"no free name that begins with {metadata['generateName']}", stage="submit")


def _submitted(document: Document, *, found: bool) -> Submitted:
    metadata = document["metadata"]
    return Submitted(metadata["name"], metadata["namespace"], metadata["uid"], found, document)


def with_arguments(workflow: Document, arguments: Mapping[str, str]) -> Document:
    """Put values into a workflow, in place, and return it: over those of a declared parameter, or behind the others."""
    if not arguments:
        return workflow
    section = workflow.setdefault("spec", {}).setdefault("arguments", {})
    parameters: list[dict[str, Any]] = section.setdefault("parameters", [])
    there = {each["name"]: each for each in parameters}
    for name, value in arguments.items():
        if name in there:
            there[name].pop("valueFrom", None)
            there[name]["value"] = value
        else:
            parameters.append({"name": name, "value": value})
    return workflow


def identified(workflow: Document, identity: Identity) -> Document:
    """Put what the workflow is called and marked with into it, in place, and return it."""
    metadata = workflow.setdefault("metadata", {})
    if identity.name:
        metadata.pop("generateName", None)
        metadata["name"] = _checked_name(identity.name)
    elif identity.prefix:
        metadata.pop("name", None)
        metadata["generateName"] = identity.prefix
    elif not metadata.get("name"):
        metadata.setdefault("generateName", "workflow-")
    for kind, values in (("labels", identity.labels), ("annotations", identity.annotations)):
        if values:
            metadata[kind] = {**(metadata.get(kind) or {}), **values}
    if identity.owners:
        metadata["ownerReferences"] = [*(metadata.get("ownerReferences") or ()), *identity.owners]
    if identity.service_account:
        workflow["spec"]["serviceAccountName"] = identity.service_account
    return workflow


def _checked_name(name: str) -> str:
    if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
        raise InvalidNameError(
            f"{printable(name)!r} cannot be a workflow's name, which has up to {_MAX_NAME} lower-case letters, digits "
            "and hyphens",
            stage="submit",
        )
    return name


def _generated(prefix: str) -> str:
    # A prefix that is too long loses its end, as the API server does it.
    suffix = "".join(random.choices(_LETTERS, k=_SUFFIX_LETTERS))  # noqa: S311 - no secret
    return prefix[: _MAX_NAME - _SUFFIX_LETTERS] + suffix


def _contains(existing: Any, asked: Any) -> bool:
    """Return whether the server's object says everything that was asked; it may have added defaults of its own."""
    if isinstance(asked, dict):
        return isinstance(existing, dict) and all(
            _contains(existing.get(key), value) for key, value in asked.items() if value not in (None, {}, [])
        )
    if isinstance(asked, list):
        return (
            isinstance(existing, list)
            and len(existing) == len(asked)
            and all(_contains(one, other) for one, other in zip(existing, asked, strict=True))
        )
    return bool(existing == asked)


def _called(workflow: Document) -> str:
    metadata = workflow.get("metadata") or {}
    return str(metadata.get("name") or metadata.get("generateName", "").rstrip("-") or "the workflow")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    if not listed:
        return "it has none"
    return f"it has {', '.join(listed[:20])}" + (f" and {len(listed) - 20} more" if len(listed) > 20 else "")
