"""Run a booster of XGBoost for its proof; the request is the folder's."""

from collections.abc import Callable
from typing import Any

import xgboost
from arrays import load, save


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Predict once, as ``Booster.predict`` does, NaN for what is missing."""
    progress(0.3, "loading the model")
    with open(request["path"], "rb") as stream:
        data = bytearray(stream.read())
    booster = xgboost.Booster({"nthread": 1})
    try:
        # From memory the encoding is found by the content, from a file by the name.
        booster.load_model(data)
    except xgboost.core.XGBoostError as error:
        return {"refused": f"XGBoost {xgboost.__version__} does not load the model: {_first_line(error)}"}
    progress(0.6, "running the model")
    (features,) = load(request["inputs"]).values()
    matrix = xgboost.DMatrix(
        features,
        feature_names=booster.feature_names,
        feature_types=booster.feature_types,
        enable_categorical=booster.feature_types is not None,
    )
    (name,) = request["fetches"] or ["predict"]
    save(request["outputs"], {name: booster.predict(matrix)})
    return {"runtime": "xgboost", "version": xgboost.__version__, "outputs": [name]}


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
