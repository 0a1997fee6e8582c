"""XGBoost to ONNX, tree by tree from the model's own file: no XGBoost, no library in between.

Every split of a tree becomes one node of a `TreeEnsembleRegressor`, whose comparisons are those of XGBoost in float32
(``x < threshold``, a missing value by its own way), so that each row ends in the same leaves. What does not belong
here: the encodings (`documents`, `binary`), what an objective makes of the sums (`objectives`).
"""

from pathlib import Path

from klever.steps.converters.interface import (
    Conversion,
    Converter,
    Options,
    Progress,
    SourceModel,
    Survey,
    Uncovered,
    check_survey,
    no_progress,
)
from klever.steps.converters.xgboost_to_onnx.objectives import OBJECTIVES

_BOOSTERS = ("gbtree", "dart", "gblinear")


class XGBoostToONNX(Converter):
    """One booster to an ONNX model with the input and output that its signature has."""

    version = "1"

    def survey(self, model: SourceModel, options: Options) -> Survey:
        """Judge the booster and the objective, which stand before and behind the trees."""
        from klever.steps.formats.xgboost.reader import read_booster

        facts = read_booster(model.files, model.claim.files[0]).facts
        uncovered = []
        booster, objective = str(facts.get("booster")), str(facts.get("objective"))
        if booster not in _BOOSTERS:
            uncovered.append(Uncovered(f"booster {booster}", ("learner",)))
        if objective not in OBJECTIVES:
            uncovered.append(Uncovered(f"objective {objective}", ("learner",), "what it makes of a sum is not known"))
        if options.dtype == "float16":
            reason = "features rounded to half precision end in other leaves"
            uncovered.append(Uncovered(f"{booster} in float16", ("learner",), reason))
        types = facts.get("featureTypes") or []
        is_coded = "c" in types if isinstance(types, list) else False
        notes = ("categorical features are given by their codes, as XGBoost numbers them",) if is_coded else ()
        return Survey(uncovered=tuple(uncovered), notes=notes)

    def convert(
        self, model: SourceModel, options: Options, directory: Path, progress: Progress = no_progress
    ) -> Conversion:
        """Write ``model.onnx``."""
        check_survey(self.survey(model, options))
        from klever.steps.converters.xgboost_to_onnx.convert import convert_booster

        return convert_booster(model, options, directory, progress)


CONVERTER = XGBoostToONNX()
