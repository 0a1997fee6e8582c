"""The columns that a saved Spark model or pipeline takes and gives.

Each stage is a directory with one line of JSON in ``metadata/``; the numbers in ``data/`` (Parquet) are
not read. The layout: ``org.apache.spark.ml.util.DefaultParamsWriter``, ``Pipeline.SharedReadWrite``
and, for the RDD-based API, ``org.apache.spark.mllib.util.Saveable``.
"""

import re
from collections import Counter
from typing import Any, Final

from klever.steps.encodings.json import parse_json
from klever.steps.errors import LimitExceededError, MalformedModelError, MissingFilesError, TruncatedModelError
from klever.steps.files import ModelFiles, opened
from klever.steps.formats.interface import Reading
from klever.steps.formats.mllib import metadata_path
from klever.steps.formats.mllib.stages import Column, Stage, tensors
from klever.steps.model.signature import Signature

#: Metadata of one stage in bytes; a boosted ensemble lists a weight for each of its trees.
MAX_METADATA_BYTES: Final = 4 << 20
#: Stages of all pipelines together, and pipelines within pipelines.
MAX_STAGES: Final = 1000
MAX_DEPTH: Final = 8
#: Columns of all stages.
MAX_COLUMNS: Final = 20_000

_STAGE_DIRECTORY: Final = re.compile(r"stages/([0-9]{1,9})_[^/]+/")
#: Where the models that wrap another one keep it.
_WRAPPED: Final = {"CrossValidatorModel": "bestModel/", "TrainValidationSplitModel": "bestModel/"}


def read_directory(files: ModelFiles) -> Reading:
    """Read the signature of the model at the root of ``files``.

    Inputs are the columns that no earlier stage makes, outputs those that no later stage takes; a
    column that serves as a label alone is neither. ``layers`` counts the stages' classes. Raises
    `MissingFilesError` for a pipeline without its stages, `MalformedModelError` and
    `LimitExceededError`.
    """
    stages: list[Stage] = []
    outermost = _read_stage(files, "")
    _collect(files, "", outermost, stages, 0)
    for stage in stages:
        stage.find_columns()
    if sum(len(stage.inputs) + len(stage.outputs) for stage in stages) > MAX_COLUMNS:
        raise LimitExceededError(f"the Spark model's stages name more than {MAX_COLUMNS} columns")
    inputs, outputs = _connect(stages)
    notes = [
        f"the stage {stage.name} may take columns that its parameters do not list"
        for stage in stages
        if stage.kind in ("RFormula", "SQLTransformer")
    ]
    if outermost.name == "Pipeline":
        notes.append("this is a pipeline that has not been fitted")
    facts = {
        "class": outermost.class_name,
        "sparkVersion": outermost.metadata.get("sparkVersion"),
        "uid": outermost.metadata.get("uid"),
    }
    return Reading(
        signature=Signature(
            inputs=tensors(inputs),
            outputs=tensors(outputs),
            layers=dict(Counter(stage.name for stage in stages)),
        ),
        notes=tuple(notes),
        facts={name: fact for name, fact in facts.items() if isinstance(fact, str)},
    )


def _collect(files: ModelFiles, directory: str, stage: Stage, stages: list[Stage], depth: int) -> None:
    """Add the stages that do the work, in the order in which they run."""
    if depth > MAX_DEPTH:
        raise LimitExceededError(f"the Spark model nests more than {MAX_DEPTH} pipelines")
    if stage.name in _WRAPPED:
        inner = [directory + _WRAPPED[stage.name]]
    elif stage.name in ("PipelineModel", "Pipeline"):
        inner = _stage_directories(files, directory)
        if not inner:
            raise MissingFilesError("the Spark pipeline comes without its stages", missing=(f"{directory}stages/",))
    else:
        stages.append(stage)
        if len(stages) > MAX_STAGES:
            raise LimitExceededError(f"the Spark model has more than {MAX_STAGES} stages")
        return
    for path in inner:
        _collect(files, path, _read_stage(files, path), stages, depth + 1)


def _stage_directories(files: ModelFiles, directory: str) -> list[str]:
    """Return the directories ``stages/<index>_<uid>/`` by their index."""
    found: dict[str, int] = {}
    for path in files.sizes:
        if path.startswith(directory) and (match := _STAGE_DIRECTORY.match(path, len(directory))):
            found[directory + match[0]] = int(match[1])
    return sorted(found, key=lambda path: (found[path], path))


def _read_stage(files: ModelFiles, directory: str) -> Stage:
    path = metadata_path(files, directory)
    if path is None:
        raise MissingFilesError(
            f"the Spark model has no metadata in {directory or 'its root'}",
            missing=(f"{directory}metadata/part-00000",),
        )
    with opened(files, path) as source:
        data = source.read_at(0, MAX_METADATA_BYTES + 1)
    line = data.lstrip().partition(b"\n")[0]
    if len(line) > MAX_METADATA_BYTES:
        raise LimitExceededError(f"{path} is longer than {MAX_METADATA_BYTES >> 20} MiB")
    if not line.rstrip().endswith(b"}"):
        raise TruncatedModelError(f"{path} ends before its JSON does")
    metadata = parse_json(line, path)
    class_name = metadata.get("class") if isinstance(metadata, dict) else None
    if not isinstance(class_name, str) or not class_name:
        raise MalformedModelError(f"{path} does not name the class of its stage")
    return Stage(class_name, _parameters(metadata), metadata)


def _parameters(metadata: dict[str, Any]) -> dict[str, Any]:
    """Merge what was set over the defaults, which Spark writes apart since 2.4."""
    merged: dict[str, Any] = {}
    for key in ("defaultParamMap", "paramMap"):
        part = metadata.get(key)
        if isinstance(part, dict):
            merged.update(part)
    return merged


def _connect(stages: list[Stage]) -> tuple[dict[str, Column], dict[str, Column]]:
    """Find the columns at both ends of the chain of stages."""
    taken = {name for stage in stages for name in stage.inputs}
    labels = {stage.label for stage in stages} - taken
    inputs: dict[str, Column] = {}
    made: dict[str, Column] = {}
    for stage in stages:
        if stage.outputs and labels.issuperset(stage.outputs):
            continue  # Spark leaves out an indexer whose column is absent, as a label is when predicting
        for name, column in stage.inputs.items():
            if name in made:
                continue
            known = inputs.get(name, (None, None))
            inputs[name] = (known[0] or column[0], known[1] or column[1])
        for name, column in stage.outputs.items():
            made.pop(name, None)
            made[name] = column
    last: dict[str, int] = {name: index for index, stage in enumerate(stages) for name in stage.outputs}
    outputs = {
        name: column
        for name, column in made.items()
        if not any(name in stage.inputs for stage in stages[last[name] + 1 :])
    }
    return inputs, outputs
