"""What a ModelJob asks for: which WorkflowTemplate, with which arguments. A pure function of its spec.

    >>> from klever.api.modeljob.model import parse_job
    >>> spec = {"model": "harbor.example/release/mnist:v1", "extraction": {"format": "onnx"}}
    >>> request_of(parse_job({"spec": spec})).arguments
    {'model': 'harbor.example/release/mnist:v1', 'format': 'ONNX'}

Every value has passed the grammar of what it is, so that none is a placeholder, a path or a script to anything that
reads it later. What does not belong here: whether the template is there, and what becomes of the Workflow.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from unicodedata import category

from klever.api.modeljob.model import (
    MAX_NAME,
    Conversion,
    Deployment,
    Extraction,
    Formats,
    InvalidJobError,
    ModelJob,
    ModelJobSpec,
    Pipeline,
    Variable,
)
from klever.steps.converters.paths import find_paths, reachable
from klever.steps.converters.table import PAIRS
from klever.steps.errors import InvalidReferenceError, MetadataError, printable
from klever.steps.formats.table import format_id
from klever.steps.model.signature import Tensor, parse_tensors
from klever.steps.oci.reference import parse_reference

EXTRACT: Final = "klever-extract"
CONVERT: Final = "klever-convert"
DEPLOY: Final = "klever-deploy"
#: Fields of the spec of which exactly one is set.
WORKS: Final = ("extraction", "conversion", "deployment", "pipeline")
#: The variables that have a meaning.
INPUTS: Final = "INPUTS"
OUTPUTS: Final = "OUTPUTS"

_FORM: Final = "HOST[:PORT]/PROJECT/NAME[:TAG][@DIGEST]"
_TAG_FORM: Final = "HOST[:PORT]/PROJECT/NAME:TAG"
#: Names of objects (RFC 1123 subdomain), of what becomes a Service (label), and of Argo's parameters
#: (``paramOrArtifactNameRegex`` in its validate.go).
_OBJECT: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_PARAMETER: Final = re.compile(r"[-A-Za-z0-9_]{1,128}", re.ASCII)
_DTYPE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
#: What Argo takes for the beginning of a placeholder, wherever it stands.
_PLACEHOLDER: Final = "{{"
#: Control characters that a value of several lines may have.
_LINES: Final = frozenset("\n\r\t")
#: What the readers and converters of signatures take: tensors, dimensions, elements of one.
_MAX_TENSORS: Final = 1000
_MAX_RANK: Final = 64
_MAX_SIZE: Final = 10**9
_MAX_TENSOR_NAME: Final = 1000


@dataclass(frozen=True)
class Request:
    """A WorkflowTemplate of the job's namespace, and what to run it with."""

    #: The kind of work in short, for people.
    work: str
    template: str
    arguments: Mapping[str, str]
    #: Arguments that are given where the template declares them, and otherwise not.
    offered: Mapping[str, str] = field(default_factory=dict)
    #: What whoever wrote the job should know although it runs.
    notes: tuple[str, ...] = ()

    def arguments_for(self, declared: Container[str]) -> dict[str, str]:
        """Return the arguments for a template that declares these parameters.

        Raises `InvalidJobError` where the job says where to push the result, and the template has no place for it.
        """
        if "as" in self.offered and "as" not in declared:
            raise _invalid(
                f"spec.desiredTag is set, but WorkflowTemplate {self.template} has no parameter as",
                "leave it out, or give the template's own parameter in spec.pipeline.arguments",
            )
        return dict(self.arguments) | {name: value for name, value in self.offered.items() if name in declared}


def request_of(job: ModelJob) -> Request:
    """Return what a job asks for; raises `InvalidJobError` for what cannot be run."""
    spec = job.spec
    if spec.init_container:
        raise _invalid(
            "spec.initContainer is not run by this version",
            "write a WorkflowTemplate whose first step does what the container did, and name it in spec.pipeline",
        )
    chosen = [work for work in WORKS if getattr(spec, work) is not None]
    if len(chosen) != 1:
        raise _invalid(
            f"the spec has {' and '.join(chosen) or 'none'} of {', '.join(WORKS)}",
            "write exactly one of them, for example extraction: {}",
        )
    if spec.extraction is not None:
        return _extraction(spec, spec.extraction)
    if spec.conversion is not None:
        return _conversion(spec, spec.conversion)
    if spec.deployment is not None:
        return _deployment(spec, spec.deployment)
    if spec.pipeline is not None:
        return _pipeline(spec, spec.pipeline)
    raise AssertionError


def work_of(spec: ModelJobSpec) -> str:
    """Return the kind of work in short, also of a spec that cannot be run."""
    if spec.conversion is not None:
        to = spec.conversion.mmdnn.to if spec.conversion.mmdnn else None
        return f"conversion to {_shown_format(to)}" if to else "conversion"
    if spec.pipeline is not None:
        return f"pipeline {printable(spec.pipeline.template)}"
    return next((work for work in WORKS if getattr(spec, work) is not None), "")


def _extraction(spec: ModelJobSpec, extraction: Extraction) -> Request:
    variables, notes = _variables(spec.env, (INPUTS, OUTPUTS))
    arguments = {
        "model": _model(spec),
        "format": _format(extraction.format, "spec.extraction.format") if extraction.format else "",
        "as": _destination(spec),
        "inputs": _as_json(_tensors(variables, INPUTS)),
        "outputs": _as_json(_tensors(variables, OUTPUTS)),
        "all_tags": _all_tags(spec) if not spec.desired_tag else "",
    }
    return Request(work_of(spec), EXTRACT, _given(arguments), notes=notes)


def _conversion(spec: ModelJobSpec, conversion: Conversion) -> Request:
    formats = conversion.mmdnn or Formats()
    if not formats.from_ or not formats.to:
        raise _invalid(
            "spec.conversion does not say from which format to which",
            "write conversion: {mmdnn: {from: FORMAT, to: FORMAT}}",
        )
    source = _format(formats.from_, "spec.conversion.mmdnn.from")
    target = _format(formats.to, "spec.conversion.mmdnn.to")
    if source == target or not find_paths(PAIRS, source, target):
        targets = reachable(PAIRS, source)
        raise _invalid(
            f"nothing converts {source} to {target}",
            f"{source} can become {' or '.join(targets)}" if targets else "convert from another format",
        )
    variables, notes = _variables(spec.env, (INPUTS,))
    shapes = {tensor.name: list(tensor.shape) for tensor in _tensors(variables, INPUTS) if tensor.shape is not None}
    arguments = {
        "model": _model(spec),
        "from": source,
        "to": target,
        "as": _destination(spec),
        "shapes": json.dumps(shapes) if shapes else "",
    }
    return Request(work_of(spec), CONVERT, _given(arguments), notes=notes)


def _deployment(spec: ModelJobSpec, deployment: Deployment) -> Request:
    _, notes = _variables(spec.env, ())
    name = deployment.name or ""
    if name and not _LABEL.fullmatch(name):
        raise _invalid(
            f"spec.deployment.name {printable(name)!r} cannot be the name of a Service",
            "write lower-case letters, digits and hyphens, beginning with a letter",
        )
    arguments = {
        "model": _model(spec),
        "as": _destination(spec),
        "name": name,
        "platform": deployment.platform or "",
        "server": deployment.server or "",
        "replicas": "" if deployment.replicas is None else str(deployment.replicas),
    }
    return Request(work_of(spec), DEPLOY, _given(arguments), notes=notes)


def _pipeline(spec: ModelJobSpec, pipeline: Pipeline) -> Request:
    _, notes = _variables(spec.env, ())
    template = pipeline.template
    if len(template) > MAX_NAME or not _OBJECT.fullmatch(template):
        raise _invalid(
            f"spec.pipeline.template {printable(template)!r} cannot be the name of a WorkflowTemplate",
            "write the name of a WorkflowTemplate of the job's namespace",
        )
    for name, value in pipeline.arguments.items():
        _check_argument(name, value)
    offered = _given({"model": _model(spec) if spec.model else "", "as": _destination(spec)})
    for name, value in offered.items():
        if pipeline.arguments.get(name, value) != value:
            spelled = "spec.model" if name == "model" else "spec.desiredTag"
            raise _invalid(
                f"spec.pipeline.arguments.{name} and {spelled} name different artifacts", "leave one of them out"
            )
    offered |= _given({"all_tags": _all_tags(spec)})
    others = {name: value for name, value in offered.items() if name not in pipeline.arguments}
    return Request(work_of(spec), template, dict(pipeline.arguments), others, notes)


def _invalid(cause: str, next_step: str) -> InvalidJobError:
    return InvalidJobError(cause, stage="job", next_step=next_step)


def _given(arguments: Mapping[str, str]) -> dict[str, str]:
    return {name: str(value) for name, value in arguments.items() if value}


def _model(spec: ModelJobSpec) -> str:
    if not spec.model:
        raise _invalid("spec.model is missing", f"write it as {_FORM}")
    return _reference("spec.model", spec.model, _FORM)


def _all_tags(spec: ModelJobSpec) -> str:
    """Return whether every tag that points at the model moves to the result: where a job is about a digest."""
    return "true" if "@" in (spec.model or "") else ""


def _destination(spec: ModelJobSpec) -> str:
    if not spec.desired_tag:
        return ""
    if "@" in spec.desired_tag:
        raise _invalid("spec.desiredTag has a digest, and only a tag can be given", f"write it as {_TAG_FORM}")
    return _reference("spec.desiredTag", spec.desired_tag, _TAG_FORM)


def _reference(place: str, text: str, form: str) -> str:
    try:
        reference = parse_reference(text)
    except InvalidReferenceError as error:
        raise _invalid(f"{place} is no reference: {error.cause}", f"write it as {form}") from None
    if not reference.host:
        # Also oci:DIRECTORY, which is a place on a laptop.
        raise _invalid(
            f"{place} {printable(text)!r} names no registry",
            f"write it as {form}; a host without a dot needs its port, as in harbor:80/vision/net:v1",
        )
    return str(reference)


def _format(name: str, place: str) -> str:
    try:
        return format_id(name)
    except MetadataError as error:
        raise _invalid(f"{place}: there is no format {printable(name)!r}", error.next_step) from None


def _shown_format(name: str) -> str:
    try:
        return format_id(name)
    except MetadataError:
        return printable(name)


def _check_argument(name: str, value: str) -> None:
    place = f"spec.pipeline.arguments.{printable(name)}"
    if not _PARAMETER.fullmatch(name):
        raise _invalid(f"{place} cannot be a parameter's name", "write letters, digits, hyphens and underscores")
    if _PLACEHOLDER in value:
        raise _invalid(
            f"{place} holds {_PLACEHOLDER}, which Argo would take for a placeholder", "write the value itself"
        )
    if any(category(letter) in ("Cc", "Cs") and letter not in _LINES for letter in value):
        raise _invalid(f"{place} holds control characters", "write the value as text")


def _variables(env: Iterable[Variable], used: tuple[str, ...]) -> tuple[dict[str, Variable], tuple[str, ...]]:
    """Return the variables that are used, the last of each name as in a container, and a note on the others."""
    found = {variable.name: variable for variable in env}
    unused = [printable(name) for name in found if name not in used]
    verb, it = ("is", "it") if len(unused) == 1 else ("are", "them")
    notes = (f"{', '.join(unused)} of spec.env {verb} not used: this work has no meaning for {it}",) if unused else ()
    return {name: variable for name, variable in found.items() if name in used}, notes


def _tensors(variables: Mapping[str, Variable], name: str) -> Sequence[Tensor]:
    """Return what INPUTS or OUTPUTS lists; nothing where the variable is not there or empty."""
    variable = variables.get(name)
    if variable is None:
        return ()
    if variable.value_from:
        raise _invalid(
            f"{name} of spec.env takes its value from elsewhere, where the controller does not read",
            f"write the JSON list itself as the value of {name}",
        )
    if not (variable.value or "").strip():
        return ()
    place = f"{name} of spec.env"
    try:
        tensors = parse_tensors(variable.value or "", place)
    except MetadataError as error:
        raise _invalid(error.cause, error.next_step) from None
    if len(tensors) > _MAX_TENSORS:
        raise _invalid(f"{place} lists {len(tensors)} tensors", f"list at most {_MAX_TENSORS}")
    for tensor in tensors:
        _check_tensor(tensor, place)
    return tensors


def _check_tensor(tensor: Tensor, place: str) -> None:
    shown = f"{printable(tensor.name)!r} in {place}"
    if not 0 < len(tensor.name) <= _MAX_TENSOR_NAME or not tensor.name.isprintable() or _PLACEHOLDER in tensor.name:
        raise _invalid(f"{shown} is a name that no model has", "write the name that the model's files have")
    if tensor.dtype is not None and not _DTYPE.fullmatch(tensor.dtype):
        raise _invalid(f"{shown} has the type {printable(tensor.dtype)!r}", "write a type such as float32 or int64")
    if len(tensor.shape or ()) > _MAX_RANK or any(size > _MAX_SIZE for size in tensor.shape or ()):
        raise _invalid(f"{shown} has a size that no tensor has", "write one number for each dimension")


def _as_json(tensors: Iterable[Tensor]) -> str:
    """Return tensors as the templates take them; empty for none."""
    listed = [
        {key: value for key, value in tensor.to_json().items() if key in ("name", "size", "dType")}
        for tensor in tensors
    ]
    return json.dumps(listed, ensure_ascii=False) if listed else ""
