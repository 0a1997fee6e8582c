"""SKLearn to ONNX with skl2onnx, in an environment with the scikit-learn that the pickle is of.

A pickle is a program. Its opcodes are read first, and only where every name in it stands on a list of exact names does
the program ``export_sklearn`` unpickle it, by a reader that holds to the same list. What does not belong here: ONNX.
"""

from pathlib import Path
from typing import Final, NamedTuple

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    Question,
    SourceModel,
    Survey,
    Uncovered,
    check_survey,
    no_progress,
)
from klever.steps.converters.sklearn_to_onnx.names import Judged, judge_names
from klever.steps.converters.sklearn_to_onnx.versions import environment_of
from klever.steps.errors import UnsafeModelError
from klever.steps.files import opened
from klever.steps.formats.sklearn.reader import Estimator
from klever.steps.frameworks.callables import describe
from klever.steps.frameworks.joblib import read_joblib

#: The name that the signature gives the one input.
INPUT: Final = "input"
_NEXT: Final = "load it in a process that may be lost, and save an estimator that names nothing of its own"


class Judgement(NamedTuple):
    """What was found out of a file without unpickling it."""

    names: Judged
    environment: str


class SKLearnToONNX(Converter):
    """One estimator, a pipeline of them included, to an ONNX model with the outputs of its signature."""

    version = "1"
    environment = "convert-sklearn"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Judge the names in the pickle; raises `UnsafeModelError` for what must not be unpickled."""
        judgement = judge_file(model)
        uncovered = [
            Uncovered(one.name, (str(one),), "skl2onnx does not convert it") for one in judgement.names.uncovered
        ]
        if options.dtype == "float16":
            reason = "its operators compute in single and double precision alone"
            uncovered.append(Uncovered("float16", ("the estimator",), reason))
        questions = []
        if not model.signature.inputs and INPUT not in options.shapes:
            questions.append(
                Question("the number of features does not stand in the file", f"--shape {INPUT}=-1,FEATURES")
            )
        return Survey(tuple(uncovered), tuple(questions), environment=judgement.environment)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``."""
        progress(0.0, "reading the pickle")
        check_survey(self.survey(model, options))
        from klever.steps.converters.sklearn_to_onnx.export import export

        return export(model, judge_file(model), options, directory, progress)


def judge_file(model: SourceModel) -> Judgement:
    """Read the names in a model's pickle and the version that wrote it; raises `UnsafeModelError`."""
    with opened(model.files, model.claim.files[0]) as source:
        pickle, named = read_joblib(source)
    names = judge_names(named)
    if names.unsafe:
        raise UnsafeModelError(
            f"loading the file would import {describe(names.unsafe)}, which is not known to be harmless",
            next_step=_NEXT,
        )
    return Judgement(names, environment_of(_version(pickle.root)))


def _version(root: object) -> object:
    from klever.steps.encodings.pickle import Object

    return Estimator(root).get("_sklearn_version") if isinstance(root, Object) else None


CONVERTER = SKLearnToONNX()
