"""Run a source and its result on the same inputs and compare what they compute.

A proof that cannot be finished is no error: it reaches a lower level, and a note says why. What does not belong here:
how one runtime is called, and how numbers are compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from klever.steps.converters.interface import Progress, no_progress
from klever.steps.environments import environment, is_available, run
from klever.steps.errors import ConversionError, EnvironmentMissingError, KleverError, ModelError, storage_error
from klever.steps.model.certificate import Level, Runtime
from klever.steps.model.signature import Tensor
from klever.steps.oci.staging import scratch_directory
from klever.steps.proof.interface import Evidence, Subject
from klever.steps.proof.requests import build_request
from klever.steps.proof.runners import ONNX, Runner, runner_of

if TYPE_CHECKING:
    from klever.steps.proof.arrays import Array
    from klever.steps.proof.inputs import Pair

#: What a proof ends with instead of an exception; everything else, a full disk for one, is no finding about a model.
_FINDINGS = (ConversionError, EnvironmentMissingError, ModelError)
#: The part of the work that is done when the source begins to run, and when both have.
_RESULT_RAN, _SOURCE_RAN = 0.4, 0.95


def prove(
    source: Subject,
    result: Subject,
    *,
    level: Level = Level.COMPARED,
    seed: int = 0,
    half: bool = False,
    ranges: Mapping[str, tuple[int, int]] | None = None,
    report: Progress = no_progress,
) -> Evidence:
    """Prove as much as the environments on this machine allow; with `Level.NONE` nothing is run.

    ``seed`` makes the inputs, within ``ranges`` where the converter knows them by name; ``half`` says that the result
    computes in half precision. Raises a `KleverError` only for what is no finding about the models: a full disk.
    """
    if level is Level.NONE:
        return Evidence(Level.NONE)
    try:
        from klever.steps.proof.inputs import make_inputs
    except ImportError:
        return Evidence(Level.NONE, notes=("a proof needs numpy: install klever[convert]",))
    evidence = Evidence(Level.NONE, seed=seed)
    try:
        pairs = make_inputs(_given(source, result), result.model.signature.inputs or (), seed, ranges or {})
        evidence = replace(evidence, inputs=tuple(pair.tensor for pair in pairs))
        made = _run_result(result, pairs, _part(report, 0.0, _RESULT_RAN))
    except _FINDINGS as error:
        return replace(evidence, notes=(_note("the result was not run", error),))
    evidence = replace(evidence, level=Level.EXECUTED, result_runtime=made.runtime, notes=made.notes)
    try:
        expected = _run_source(source, result, pairs, _part(report, _RESULT_RAN, _SOURCE_RAN))
    except _FINDINGS as error:
        return replace(evidence, notes=(_note("the source was not run", error), *evidence.notes))
    evidence = replace(evidence, source_runtime=expected.runtime)
    return _compared(evidence, source, result, expected, made, half=half)


class _Ran(NamedTuple):
    """What a model computed, in the order of its outputs."""

    runtime: Runtime
    outputs: "dict[str, Array]"
    notes: tuple[str, ...] = ()


def _compared(
    evidence: Evidence, source: Subject, result: Subject, expected: _Ran, made: _Ran, *, half: bool
) -> Evidence:
    from klever.steps.proof.compare import choose_tolerance, compare, says_something
    from klever.steps.proof.ties import ranks

    if not says_something(expected.outputs.values()):
        note = f"the source computes nothing but NaN and infinities from the inputs of seed {evidence.seed}"
        return replace(evidence, notes=(note, *evidence.notes))
    operators = [name for each in (source, result) for name in each.model.signature.layers or ()]
    tolerance = choose_tolerance(operators, half=half)
    outputs = compare(expected.outputs, made.outputs, tolerance, ranked=ranks(operators))
    return replace(evidence, level=Level.COMPARED, tolerance=tolerance, outputs=outputs)


def _run_source(source: Subject, result: Subject, pairs: "Sequence[Pair]", report: Progress) -> _Ran:
    from klever.steps.proof.inputs import values_for

    signature = source.model.signature
    given = values_for(_given(source, result), [pair.source for pair in pairs], pairs)
    with scratch_directory("klever-prove") as scratch:
        ran = _run(source, runner_of(source), given, scratch, report)
    # A program may tell more than the signature has: the blobs that a network keeps for its training.
    named = [tensor.name for tensor in signature.outputs or () if tensor.name in ran.outputs]
    return ran._replace(outputs={name: ran.outputs[name] for name in named}) if named else ran


def _given(source: Subject, result: Subject) -> tuple[Tensor, ...]:
    """Return the inputs that the source gets: not those that the result was made without, with their defaults."""
    known = {tensor.name for tensor in result.model.signature.inputs or ()}
    inputs = source.model.signature.inputs or ()
    return tuple(each for each in inputs if each.name in known or not (each.model_extra or {}).get("optional"))


def _run_result(result: Subject, pairs: "Sequence[Pair]", report: Progress) -> _Ran:
    from klever.steps.proof.inputs import values_for

    given = values_for(result.model.signature.inputs or (), [pair.result for pair in pairs], pairs)
    runner = runner_of(result)
    with scratch_directory("klever-prove") as scratch:
        if result.format == "NetDef" and not is_available(environment(runner.environment)):
            from klever.steps.proof.netdef import NOTE, as_onnx

            (scratch / "onnx").mkdir()
            return _run(as_onnx(result, scratch / "onnx"), ONNX, given, scratch, report)._replace(notes=(NOTE,))
        return _run(result, runner, given, scratch, report)


def _run(subject: Subject, runner: Runner, given: "dict[str, Array]", scratch: Path, report: Progress) -> _Ran:
    from klever.steps.proof.arrays import load, save

    request = build_request(subject, scratch)
    request |= {"inputs": str(scratch / "inputs.npz"), "outputs": str(scratch / "outputs.npz")}
    try:
        save(scratch / "inputs.npz", given)
    except OSError as error:
        raise storage_error(f"cannot write to {scratch}", error) from error
    reply = run(runner.environment, runner.program, request, report)
    outputs = load(scratch / "outputs.npz")
    runtime = Runtime(name=str(reply.get("runtime", runner.program)), version=str(reply.get("version", "")))
    names = [name for name in reply.get("outputs") or outputs if name in outputs]
    return _Ran(runtime, {name: outputs[name] for name in names})


def _note(what: str, error: KleverError) -> str:
    return f"{what}: {error.cause}" + (f"; {error.next_step}" if isinstance(error, EnvironmentMissingError) else "")


def _part(report: Progress, begin: float, end: float) -> Progress:
    return lambda done, doing: report(begin + (end - begin) * done, doing)
