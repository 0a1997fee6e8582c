"""Convert a model along a path of converters, prove the result, and put it where it was asked for.

    >>> convert(Path("resnet-symbol.json"), "ONNX", Path("resnet-onnx"), Stores())  # doctest: +SKIP

What does not belong here: what one pair of formats does, how two models are compared, what was made before.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from klever.steps.artifact import StoredArtifact, load_artifact
from klever.steps.conversions import (
    CONVERSION_KEY,
    CONVERTED_FROM,
    Demands,
    Wanted,
    attach_certificate,
    find_in_directory,
    find_in_store,
    name_conversion,
    record,
)
from klever.steps.converters.interface import Options, Progress, SourceModel, check_survey, no_progress
from klever.steps.environments import environment, find_interpreter
from klever.steps.environments.create import create as create_environment
from klever.steps.errors import EnvironmentMissingError, UnprovenError, at_stage, storage_error
from klever.steps.extract import Extraction, extract
from klever.steps.fetch import fetch
from klever.steps.files import LocalFiles
from klever.steps.model.certificate import Certificate, Level, Party
from klever.steps.model.metadata import Metadata
from klever.steps.model.signature import Signature, Tensor
from klever.steps.oci.reference import Reference
from klever.steps.oci.staging import scratch_directory, staged_directory
from klever.steps.plan import Plan, plan, plan_artifact
from klever.steps.proof import Subject, prove
from klever.steps.publish import digest_of_package, publish
from klever.steps.recognise import CERTIFICATE_FILE, MODEL_FOLDER, ORMBFILE, Model, recognise
from klever.steps.stores import Stores
from klever.steps.transfer import watched

#: What writing a model and running it takes beside what Klever itself needs: its extra ``convert``.
_NEEDED_MODULES = ("numpy", "onnx")
#: The parts of the work that are done when the next thing begins.
_CONVERSION_BEGINS, _PROOF_BEGINS, _PROOF_ENDS = 0.1, 0.6, 0.95


class Converted(NamedTuple):
    """A conversion that is done, or was found done."""

    metadata: Metadata
    certificate: Certificate
    #: The reference pinned to its digest, or None for a directory.
    reference: Reference | None
    notes: tuple[str, ...] = ()
    found: bool = False


def convert(
    source: Path | Reference,
    target: str,
    destination: Path | Reference,
    stores: Stores,
    *,
    options: Options | None = None,
    demands: Demands | None = None,
    format_id: str | None = None,
    source_format: str | None = None,
    force: bool = False,
    create_environments: bool = False,
    report: Progress = no_progress,
) -> Converted:
    """Convert ``source`` to the format ``target`` at ``destination``: a directory, or a reference to publish under.

    ``format_id`` settles the source's format; ``source_format`` is the one that an artifact has to have, as for
    `plan_artifact`. ``force`` replaces a directory that is there; ``create_environments`` makes those that the work
    needs. Raises `NoPathError`, `OtherFormatError`, `UnsupportedOperatorsError` with all that no converter covers,
    `UnansweredError`, `EnvironmentMissingError`, `UnprovenError` where the result is not as ``demands`` ask; in each
    case nothing is left at the destination.
    """
    job = _open(source, target, stores, options or Options(), demands or Demands(), _Said(format_id, source_format))
    if not job.demands.again and (found := _find(job, destination, stores)):
        return found
    with at_stage("plan"):
        job.plan.check()
    with at_stage("convert"):
        _prepare(job, create=create_environments, report=report)
    with at_stage("convert"), scratch_directory("klever-convert") as scratch:
        model = _source(job, scratch / "source", stores, _part(report, 0.0, _CONVERSION_BEGINS))
        if isinstance(destination, Path):
            with staged_directory(destination, force=force) as package:
                return _make(job, model, package, scratch, report)
        package = scratch / "package"
        package.mkdir()
        made = _make(job, model, package, scratch, report)
        return _publish(job, made, package, destination, stores, _part(report, _PROOF_ENDS, 1.0))


@dataclass(frozen=True)
class _Job:
    """What is to be converted, and how."""

    plan: Plan
    options: Options
    demands: Demands
    wanted: Wanted
    #: The source in a store; None for a local one, whose files are the plan's.
    artifact: StoredArtifact | None


class _Said(NamedTuple):
    """What was said of the source's format: what it is, whatever the artifact says; what it has to be."""

    is_: str | None
    has_to_be: str | None


def _open(
    source: Path | Reference, target: str, stores: Stores, options: Options, demands: Demands, said: _Said
) -> _Job:
    artifact = None
    if isinstance(source, Path):
        local = recognise(source, format_id=said.is_)
        planned = plan(local, target, options)
        digest = digest_of_package(local)
    else:
        artifact = load_artifact(stores.open(source), source, format_id=said.is_ or said.has_to_be)
        planned = plan_artifact(artifact.reference, stores, target, options, format_id=said.is_, source=said.has_to_be)
        digest = artifact.manifest.layer.digest
    return _Job(planned, options, demands, name_conversion(digest, planned.path, options), artifact)


def _find(job: _Job, destination: Path | Reference, stores: Stores) -> Converted | None:
    """Return what was made before; its certificate is attached again, as the run that made it may have been killed."""
    if isinstance(destination, Path):
        metadata = find_in_directory(job.wanted, job.demands, destination)
        reference = None
    else:
        with at_stage("push"):
            artifact = find_in_store(job.wanted, job.demands, job.artifact, destination, stores)
            if artifact is not None:
                attach_certificate(artifact, destination, stores)
        metadata = artifact.metadata if artifact else None
        reference = artifact.reference if artifact else None
    if metadata is None or metadata.certificate is None:
        return None
    return Converted(metadata, metadata.certificate, reference, found=True)


def _source(job: _Job, directory: Path, stores: Stores, report: Progress) -> SourceModel:
    """Return the source on the local disk, with the signature that was read from it."""
    if job.artifact is None:
        return job.plan.model
    fetch(job.artifact.reference, directory, stores, format_id=job.plan.source, watch=watched(report))
    fetched = recognise(directory, format_id=job.plan.source)
    return _subject(job.plan.source, fetched, extract(fetched)).model


def _make(job: _Job, model: SourceModel, package: Path, scratch: Path, report: Progress) -> Converted:
    """Fill ``package``: the model, its ``ormbfile.yaml`` and its certificate."""
    source = Subject(job.plan.source, model)
    folder = package / MODEL_FOLDER
    with at_stage("convert"):
        made = _run(job, source.model, folder, scratch, _part(report, _CONVERSION_BEGINS, _PROOF_BEGINS))
    result = _subject(job.plan.target, made.model, made.extraction)
    with at_stage("prove"):
        evidence = prove(
            source,
            result,
            level=job.demands.level,
            seed=job.demands.seed,
            half=job.options.dtype == "float16",
            ranges=made.ranges,
            report=_part(report, _PROOF_BEGINS, _PROOF_ENDS),
        )
        certificate = Certificate(
            level=evidence.level,
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            source=Party(format=job.plan.source, digest=job.wanted.source, runtime=evidence.source_runtime),
            result=Party(format=job.plan.target, digest=digest_of_package(made.model), runtime=evidence.result_runtime),
            path=job.wanted.path,
            options=dict(job.wanted.options),
            seed=evidence.seed,
            inputs=evidence.inputs,
            tolerance=evidence.tolerance,
            outputs=evidence.outputs,
            notes=evidence.notes,
        )
        check_proof(certificate, job.demands, result.model.signature.inputs or ())
    metadata = _metadata(job.plan.extraction.metadata, made.extraction.metadata, certificate)
    _write(package, metadata, certificate)
    differences = compare_signatures(source.model.signature, result.model.signature)
    notes = (*job.plan.survey.notes, *made.notes, *made.extraction.notes, *differences, *certificate.notes)
    return Converted(metadata, certificate, None, tuple(dict.fromkeys(notes)))


class _Made(NamedTuple):
    """The last model of the path, read from its own files, and what the converters told."""

    model: Model[LocalFiles]
    extraction: Extraction
    ranges: Mapping[str, tuple[int, int]]
    notes: tuple[str, ...]


def _run(job: _Job, source: SourceModel, folder: Path, scratch: Path, report: Progress) -> _Made:
    """Run the path's converters one after another; the last one writes into ``folder``."""
    path, model = job.plan.path, source
    ranges: dict[str, tuple[int, int]] = {}
    notes: list[str] = []
    for index, pair in enumerate(path):
        converter = pair.load()
        if index:
            with at_stage("plan"):
                check_survey(converter.survey(model, job.options))
        directory = folder if index == len(path) - 1 else scratch / f"made-{index}"
        _make_directory(directory)
        share = _part(report, index / len(path), (index + 1) / len(path))
        conversion = converter.convert(model, job.options, directory, share)
        ranges.update(conversion.ranges)
        notes.extend(conversion.notes)
        made = recognise(directory, format_id=pair.target)
        extraction = extract(made)
        if index:
            shutil.rmtree(scratch / f"made-{index - 1}", ignore_errors=True)
        model = _subject(pair.target, made, extraction).model
    return _Made(made, extraction, ranges, tuple(notes))


def _subject(format_id: str, model: Model[LocalFiles], extraction: Extraction) -> Subject:
    signature = extraction.metadata.signature or Signature()
    return Subject(format_id, SourceModel(model.files, model.claim, signature))


def _part(report: Progress, begin: float, end: float) -> Progress:
    """Return what reports a part of the whole work."""
    return lambda done, doing: report(begin + (end - begin) * done, doing)


def _prepare(job: _Job, *, create: bool, report: Progress) -> None:
    """See that every environment that the work cannot do without is there; with ``create`` make them, else raise."""
    if lacking := [name for name in _NEEDED_MODULES if find_spec(name) is None]:
        raise EnvironmentMissingError(
            f"converting needs {' and '.join(lacking)}, which this installation of Klever lacks",
            next_step="in Klever's directory run pip install --constraint constraints.txt '.[convert]'",
        )
    required = job.demands.level is Level.COMPARED and not job.demands.unsafe_publish_unverified
    proven = job.plan.proving
    wanted = [*job.plan.environments, *(proven if required else ())]
    for identifier in dict.fromkeys(filter(None, wanted)):
        if create:
            create_environment(environment(identifier), report)
        else:
            find_interpreter(environment(identifier))
    if create and job.demands.level is not Level.NONE:
        for identifier in proven:
            # A comparison that was not required goes without; the certificate says why.
            with suppress(EnvironmentMissingError):
                create_environment(environment(identifier), report)


def check_proof(certificate: Certificate, demands: Demands, inputs: Sequence[Tensor]) -> None:
    """Raise `UnprovenError` unless the certificate is as good as asked; ``inputs`` are those of the result."""
    if demands.accept(certificate):
        return
    if not certificate.within_tolerance:
        worst = [output for output in certificate.outputs if not output.within_tolerance]
        told = "; ".join(
            f"output {each.name!r} {each.difference or f'is off by up to {each.largest_absolute:.3g}'}"
            for each in worst[:5]
        )
        raise UnprovenError(f"the result does not compute what the source does: {told}", stage="prove")
    next_step = "make what the notes name, or lower --require"
    if certificate.level is Level.NONE and any(-1 in (tensor.shape or ())[1:] for tensor in inputs):
        # A proof guesses such sizes, and a network may work on few of them.
        next_step = "tell the sizes that the model works on with --shape, or lower --require"
    raise UnprovenError(
        f"the result was proven to the level {certificate.level.value}, and {demands.level.value} is required"
        + (f": {certificate.notes[0]}" if certificate.notes else ""),
        stage="prove",
        next_step=next_step,
    )


def _metadata(source: Metadata, result: Metadata, certificate: Certificate) -> Metadata:
    """Join what people wrote about the source with what was read from the result."""
    return source.changed(
        format=result.format,
        framework=result.framework,
        signature=result.signature,
        signatures=result.signatures,
        facts=result.facts,
        size=None,
        created=None,
        directory_structure=None,
        certificate=certificate,
    )


def compare_signatures(source: Signature, result: Signature) -> tuple[str, ...]:
    """Return a sentence for each name or shape that the result does not share with its source."""
    return (
        *_differences("input", source.inputs or (), result.inputs or ()),
        *_differences("output", source.outputs or (), result.outputs or ()),
    )


def _differences(kind: str, source: tuple[Tensor, ...], result: tuple[Tensor, ...]) -> Iterator[str]:
    made = {tensor.name: tensor for tensor in result}
    known = {tensor.name for tensor in source}
    yield from (
        f"{kind} {tensor.name!r} of the source is not in the result" for tensor in source if tensor.name not in made
    )
    yield from (
        f"{kind} {tensor.name!r} of the result is not in the source" for tensor in result if tensor.name not in known
    )
    for tensor in source:
        other = made.get(tensor.name)
        if other is None:
            continue
        if None not in (tensor.shape, other.shape) and tensor.shape != other.shape:
            yield f"{kind} {tensor.name!r} is {_sizes(tensor)} in the source and {_sizes(other)} in the result"
        if None not in (tensor.dtype, other.dtype) and tensor.dtype != other.dtype:
            yield f"{kind} {tensor.name!r} is {tensor.dtype} in the source and {other.dtype} in the result"


def _sizes(tensor: Tensor) -> str:
    return "[" + ", ".join(map(str, tensor.shape or ())) + "]"


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir()
    except OSError as error:
        raise storage_error(f"cannot make {directory}", error) from error


def _write(package: Path, metadata: Metadata, certificate: Certificate) -> None:
    try:
        (package / ORMBFILE).write_text(metadata.to_yaml(), encoding="utf-8")
        text = json.dumps(certificate.to_json(), indent=2, ensure_ascii=False)
        (package / CERTIFICATE_FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise storage_error(f"cannot write to {package}", error) from error


# Where it goes.


def _publish(
    job: _Job, made: Converted, package: Path, destination: Reference, stores: Stores, report: Progress
) -> Converted:
    annotations = {CONVERSION_KEY: job.wanted.key, CONVERTED_FROM: job.wanted.source}
    published = publish(package, destination, stores, annotations=annotations, watch=watched(report))
    notes = made.notes
    with at_stage("push"):
        artifact = load_artifact(stores.open(destination), published.reference)
        attach_certificate(artifact, destination, stores)
        if job.artifact is not None:
            notes += record(job.wanted, job.artifact, published.reference, stores)
    return made._replace(metadata=published.metadata, reference=published.reference, notes=notes)
