"""Make of a document what a run starts from: one spec with all arguments, checked, and its first variables.

What does not belong here: running it.
"""

import random
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from klever.workflows.local.arguments import parameters_json, parameters_of
from klever.workflows.local.errors import InvalidWorkflowError, TemplateError, UnsupportedWorkflowError
from klever.workflows.local.expressions import ExpressionError, environment, parse
from klever.workflows.local.fields import DOCUMENT, Check, honoured_spec
from klever.workflows.local.gotext import as_text, dump_json
from klever.workflows.local.library import Base, Library
from klever.workflows.local.merging import merge
from klever.workflows.local.validate import validate
from klever.workflows.local.variables import substitute
from klever.workflows.manifest import Document

#: Kubernetes makes such names unique with these letters (``k8s.io/apimachinery/pkg/util/rand``).
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
#: A workflow that names no namespace; locks and variables need one.
NAMESPACE = "default"


@dataclass(frozen=True)
class Plan:
    """What is run."""

    name: str
    namespace: str
    base: Base
    library: Library
    globals: dict[str, str]


def make_plan(
    document: Document,
    arguments: Mapping[str, str],
    templates: Iterable[Document],
    *,
    name: str = "",
    namespace: str = NAMESPACE,
) -> Plan:
    """Check a workflow or workflow template, and return what to run.

    Raises `InvalidWorkflowError` for what Argo would refuse, `UnsupportedWorkflowError` for what this machine does
    not do, with all fields named.
    """
    kind = document.get("kind") or "Workflow"
    if kind not in ("Workflow", "WorkflowTemplate"):
        raise InvalidWorkflowError(f"a {kind} cannot be run; a Workflow or WorkflowTemplate can")
    library = Library.of(templates)
    metadata = document.get("metadata") or {}
    spec = dict(document.get("spec") or {})
    check = Check()
    check.take(DOCUMENT, {key: value for key, value in document.items() if key != "status"}, "")
    name = name or _name(kind, metadata)
    namespace = metadata.get("namespace") or namespace
    spec = _with_reference(spec, library)
    spec["arguments"] = _with_arguments(spec.get("arguments") or {}, arguments)
    _check_all(spec, library, check)
    if check.problems:
        raise UnsupportedWorkflowError(list(dict.fromkeys(check.problems)))
    spec = honoured_spec(spec)
    library = Library({key: {**other, "spec": _honoured(other)} for key, other in library.documents.items()})
    _normalise(spec)
    base = Base.of(name, spec)
    metadata = {"labels": dict(metadata.get("labels") or {}), "annotations": dict(metadata.get("annotations") or {})}
    try:
        globals_ = _globals(name, namespace, spec, metadata)
        validate(base, library, globals_)
        spec = {**substitute({**spec, "templates": []}, globals_), "templates": spec.get("templates") or []}
    except (TemplateError, ExpressionError) as error:
        raise InvalidWorkflowError(error.cause, next_step=error.next_step) from error
    return Plan(name, namespace, Base.of(name, spec), library, globals_)


def _honoured(document: Document) -> dict[str, Any]:
    spec = honoured_spec(document.get("spec") or {})
    _normalise(spec)
    return spec


def _name(kind: str, metadata: Mapping[str, Any]) -> str:
    if kind == "Workflow" and metadata.get("name"):
        return str(metadata["name"])
    prefix = metadata.get("generateName") or f"{metadata.get('name') or 'workflow'}-"
    # As on a cluster, the letters only tell runs apart.
    return f"{prefix}{''.join(random.choices(_LETTERS, k=5))}"  # noqa: S311


def _with_reference(spec: dict[str, Any], library: Library) -> dict[str, Any]:
    """Return the spec over that of the workflow template that it refers to (``JoinWorkflowSpec``)."""
    reference = spec.get("workflowTemplateRef")
    if not reference:
        return spec
    if spec.get("templates"):
        raise InvalidWorkflowError("Templates is invalid field in spec if workflow referred WorkflowTemplate reference")
    try:
        below = library.base(reference.get("name") or "").spec
    except TemplateError as error:
        raise InvalidWorkflowError(error.cause, next_step=error.next_step) from error
    merged = merge(below, spec)
    own = {parameter["name"]: parameter for parameter in parameters_of(spec.get("arguments"))}
    under = {parameter["name"]: parameter for parameter in parameters_of(below.get("arguments"))}
    if merged.get("arguments"):
        merged["arguments"] = {
            **merged["arguments"],
            "parameters": [
                # A description or enum of the template stays, a value of the workflow replaces all sources of one.
                {**_without_value(under.get(parameter["name"], {})), **own.get(parameter["name"], parameter)}
                for parameter in parameters_of(merged["arguments"])
            ],
        }
    return merged


def _without_value(parameter: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameter.items() if key in ("description", "enum")}


def _with_arguments(declared: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """Return the workflow's arguments with those that the caller gives; raises `InvalidWorkflowError`."""
    parameters = [dict(parameter) for parameter in parameters_of(declared)]
    known = {parameter.get("name"): parameter for parameter in parameters}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise InvalidWorkflowError(
            f"the workflow has no parameter {', '.join(unknown)}",
            next_step=f"its parameters are {', '.join(map(str, known)) or 'none'}",
        )
    for name, value in given.items():
        known[name]["value"] = value
        known[name].pop("valueFrom", None)
    for parameter in parameters:
        _settle(parameter)
    return {**declared, "parameters": parameters}


def _settle(parameter: dict[str, Any]) -> None:
    """Give a parameter its default, and hold it against its enum."""
    name = parameter.get("name")
    source = parameter.get("valueFrom") or {}
    if parameter.get("value") is None:
        default = source.get("default") if source.get("default") is not None else parameter.get("default")
        if default is not None:
            parameter["value"] = default
            parameter.pop("valueFrom", None)
    if parameter.get("value") is None:
        if source:
            return
        raise InvalidWorkflowError(
            f"spec.arguments.{name}.value or spec.arguments.{name}.valueFrom is required",
            next_step=f"give it with -p {name}=VALUE",
        )
    allowed = [as_text(choice) for choice in parameter.get("enum") or []]
    if parameter.get("enum") is not None and as_text(parameter["value"]) not in allowed:
        raise InvalidWorkflowError(
            f"spec.arguments.{name}.value should be present in spec.arguments.{name}.enum list",
            next_step=f"{name} can be {', '.join(allowed)}; it was given {as_text(parameter['value'])!r}",
        )


def _check_all(spec: Mapping[str, Any], library: Library, check: Check) -> None:
    """Check the spec, its templates, and those of other workflow templates that they reach."""
    check.spec(spec, "spec")
    for template, where in check.each(spec.get("templates"), "spec.templates"):
        check.template(template, where, volumes=spec.get("volumes"))
    seen: set[tuple[str, str]] = set()
    queue = list(references_in(spec))
    while queue:
        name, template_name = queue.pop()
        if (name, template_name) in seen or "{{" in name + template_name or name not in library.documents:
            continue
        seen.add((name, template_name))
        base = library.base(name)
        template = base.templates.get(template_name)
        if template is None:
            continue
        where = f"WorkflowTemplate {name}: spec.templates[{template_name}]"
        # A template brings its own volumes; else those of the workflow that refers to it count.
        check.template(template, where, volumes=spec.get("volumes"))
        queue += references_in(template)
        queue += [(name, local) for local in local_references(template) if local in base.templates]


def references_in(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the workflow templates and their templates that a part of a document refers to."""
    if isinstance(value, Mapping):
        reference = value.get("templateRef")
        if isinstance(reference, Mapping):
            yield str(reference.get("name") or ""), str(reference.get("template") or "")
        for inner in value.values():
            yield from references_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references_in(inner)


def local_references(template: Mapping[str, Any]) -> Iterator[str]:
    """Yield the templates that a template's tasks, steps and hooks name without saying whose they are."""
    tasks = list((template.get("dag") or {}).get("tasks") or [])
    for group in template.get("steps") or []:
        tasks += group if isinstance(group, list) else [group]
    for task in tasks:
        for holder in (task, *(task.get("hooks") or {}).values()):
            if holder.get("template"):
                yield str(holder["template"])
        if task.get("onExit"):
            yield str(task["onExit"])
        if task.get("inline"):
            yield from local_references(task["inline"])


#: The fields whose values are texts whatever YAML took them for (Argo's ``AnyString``).
_ANY_STRINGS = ("value", "default")


def _normalise(value: Any) -> None:
    """Make texts of parameters' values, in place."""
    if isinstance(value, Mapping):
        for holder in ("arguments", "inputs", "outputs"):
            for parameter in parameters_of(value.get(holder)) if isinstance(value.get(holder), Mapping) else ():
                _normalise_parameter(parameter)
        for inner in value.values():
            _normalise(inner)
    elif isinstance(value, list):
        for inner in value:
            _normalise(inner)


def _normalise_parameter(parameter: dict[str, Any]) -> None:
    for holder in (parameter, parameter.get("valueFrom") or {}):
        for key in _ANY_STRINGS:
            if holder.get(key) is not None:
                holder[key] = as_text(holder[key])
    if parameter.get("enum"):
        parameter["enum"] = [as_text(choice) for choice in parameter["enum"]]


def _globals(name: str, namespace: str, spec: Mapping[str, Any], metadata: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the variables that the whole workflow knows from its start (``setGlobalParameters``)."""
    now = datetime.now(UTC).replace(microsecond=0)
    parameters = parameters_of(spec.get("arguments"))
    found = {
        "workflow.name": name,
        "workflow.namespace": namespace,
        "workflow.mainEntrypoint": spec.get("entrypoint") or "",
        "workflow.serviceAccountName": spec.get("serviceAccountName") or "",
        "workflow.uid": str(uuid.uuid4()),
        "workflow.creationTimestamp": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "workflow.creationTimestamp.s": str(int(now.timestamp())),
        "workflow.creationTimestamp.RFC3339": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "workflow.parameters": parameters_json(parameters),
        "workflow.parameters.json": parameters_json(parameters),
    }
    # The letters of github.com/argoproj/pkg/strftime.
    for letter in "AaBbCcDdeFHIjklMmnpRrSTtUuVvWwXxYyZz":
        found[f"workflow.creationTimestamp.{letter}"] = now.strftime(f"%{letter}")
    if spec.get("priority") is not None:
        found["workflow.priority"] = as_text(spec["priority"])
    for parameter in parameters:
        found[f"workflow.parameters.{parameter['name']}"] = parameter["value"]
    more = spec.get("workflowMetadata") or {}
    for kind in ("labels", "annotations"):
        values = {**metadata[kind], **(more.get(kind) or {})}
        found[f"workflow.{kind}"] = found[f"workflow.{kind}.json"] = dump_json(metadata[kind])
        found.update({f"workflow.{kind}.{key}": as_text(value) for key, value in values.items()})
    for label, source in (more.get("labelsFrom") or {}).items():
        value = parse(source["expression"]).evaluate(environment(found))
        if not isinstance(value, str):
            raise TemplateError(f'the label "{label}" is {value!r}, no text')
        found[f"workflow.labels.{label}"] = value
    return found
