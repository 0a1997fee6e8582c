"""Say how a model could be converted, without doing it.

>>> plan(recognise(Path("resnet-symbol.json")), "ONNX").to_json()["steps"]  # doctest: +SKIP
[{'converter': 'mxnetparams_to_onnx', 'source': 'MXNetParams', 'target': 'ONNX', 'exactness': 'exact', ...}]
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from klever.steps.converters.interface import Options, SourceModel, Survey, check_survey
from klever.steps.converters.paths import Path, find_paths, reachable
from klever.steps.converters.table import PAIRS
from klever.steps.environments import environment, is_available
from klever.steps.errors import ConversionError, NoPathError, at_stage, printable
from klever.steps.extract import Extraction, extract
from klever.steps.files import ModelFiles
from klever.steps.formats.table import load_format
from klever.steps.proof.interface import Subject
from klever.steps.proof.runners import needed_environments
from klever.steps.recognise import Model, choose

if TYPE_CHECKING:
    from klever.steps.oci.reference import Reference
    from klever.steps.stores import Stores


class OtherFormatError(ConversionError):
    """The model is not of the format that it was said to be converted from."""


@dataclass(frozen=True)
class Plan:
    """A chain of converters, and what stands between the model and its first."""

    source: str
    target: str
    path: Path
    survey: Survey
    model: SourceModel
    extraction: Extraction
    #: The environments that a comparison of the result with its source needs; the model says which, while it is open.
    proving: tuple[str, ...] = ()

    @property
    def is_feasible(self) -> bool:
        """Whether nothing is uncovered and nothing has to be asked; environments can be made."""
        return not self.survey.uncovered and not self.survey.questions

    @property
    def environments(self) -> tuple[str, ...]:
        """Each converter's environment, empty where it needs none; the first one's may depend on the file."""
        first, *others = self.path
        own = self.survey.environment or first.load().environment
        return (own, *(pair.load().environment for pair in others))

    def check(self) -> None:
        """Raise `UnsupportedOperatorsError` or `UnansweredError` with all that is in the way."""
        check_survey(self.survey)

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object."""
        return {
            "source": self.source,
            "target": self.target,
            "feasible": self.is_feasible,
            "steps": list(self._steps()),
            "uncovered": [
                {"operator": each.operator, "count": len(each.nodes), "nodes": list(each.nodes), "reason": each.reason}
                for each in self.survey.uncovered
            ],
            "questions": [asdict(question) for question in self.survey.questions],
            "notes": [*self.extraction.notes, *self.survey.notes],
        }

    def _steps(self) -> Iterator[dict[str, Any]]:
        for pair, needed in zip(self.path, self.environments, strict=True):
            step: dict[str, Any] = {
                "converter": pair.id,
                "version": pair.load().version,
                "source": pair.source,
                "target": pair.target,
                "exactness": pair.exactness.name.lower(),
            }
            if needed:
                step["environment"] = needed
                step["environmentReady"] = is_available(environment(needed))
            yield step


def plan(model: Model[ModelFiles], target: str, options: Options | None = None) -> Plan:
    """Plan the conversion of a recognised model to the format ``target``.

    Of several paths the best one that covers every operator is taken, else the best of all. Raises `NoPathError`, a
    `MetadataError` for an unknown format, a `ConversionError` for options that the target or the model cannot have, a
    `ModelError` for the source's bytes.
    """
    options = options or Options()
    with at_stage("plan"):
        paths = _paths(model.format.id, load_format(target).id)
        if options.dtype and paths[0][-1].target != "ONNX":
            raise ConversionError(
                f"half precision is made in ONNX alone, not in {paths[0][-1].target}", next_step="leave out --dtype"
            )
        extraction = extract(model)
        signature = extraction.metadata.signature
        if signature is None:
            raise NoPathError(f"the signature of this {model.format.id} model cannot be read")
        source = SourceModel(model.files, model.claim, signature)
        surveys = [(path, path[0].load().survey(source, options)) for path in _by_first(paths)]
        path, survey = next((each for each in surveys if not each[1].uncovered), surveys[0])
        proving = needed_environments(Subject(model.format.id, source), path[-1].target)
        return Plan(model.format.id, path[-1].target, path, survey, source, extraction, proving)


def plan_artifact(
    reference: "Reference",
    stores: "Stores",
    target: str,
    options: Options | None = None,
    *,
    format_id: str | None = None,
    source: str | None = None,
) -> Plan:
    """Plan the conversion of an artifact; of its layer no more is transferred than the survey reads.

    ``source`` is the format that the artifact has to have: `OtherFormatError` where it says another one. It settles the
    format of an artifact that says none; ``format_id`` does so whatever the artifact says.
    """
    from klever.steps.artifact import load_artifact
    from klever.steps.oci.layer import LayerFiles

    store = stores.open(reference)
    with at_stage("plan"):
        source = load_format(source).id if source else None
    artifact = load_artifact(store, reference, format_id=format_id or source)
    with at_stage("plan"), LayerFiles(store, artifact.reference.repository, artifact.manifest.layer) as files:
        said = artifact.metadata.format
        if source and source.lower() != said.lower():
            if not _says_nothing(said):
                raise OtherFormatError(
                    f"{reference} is {printable(said)}, and {source} was to be converted",
                    next_step=f"convert from {printable(said)}, or correct the reference",
                )
            said = source
        form, claim = choose(files, format_id or said)
        return plan(Model(files, form, claim, artifact.metadata), target, options)


def _says_nothing(format_id: str) -> bool:
    """Say whether a format is the one of models whose format nobody knew."""
    return format_id.lower() == "others"


def _paths(source: str, target: str) -> list[Path]:
    if source == target:
        raise NoPathError(f"the model is {target} already", next_step="use it as it is")
    paths = find_paths(PAIRS, source, target)
    if not paths:
        targets = reachable(PAIRS, source)
        raise NoPathError(
            f"no converter leads from {source} to {target}",
            next_step=f"{source} can become {', '.join(targets)}" if targets else f"nothing converts {source} yet",
        )
    return paths


def _by_first(paths: list[Path]) -> list[Path]:
    """Return the best path for each way to begin: a survey judges the first converter alone."""
    chosen: dict[str, Path] = {}
    for path in paths:
        chosen.setdefault(path[0].id, path)
    return list(chosen.values())
