"""Run an estimator of scikit-learn for its proof; the request is the folder's, and ``names`` those of `estimators`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from arrays import load as load_arrays
from arrays import save
from estimators import RefusalError, load, named_columns


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Call the methods that ``fetches`` names: ``predict``, ``predict_proba``, ``transform``."""
    progress(0.1, "starting scikit-learn")
    import sklearn

    try:
        estimator = load(request["path"], request["names"])
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    progress(0.5, "running the model")
    given = load_arrays(request["inputs"])
    columns = named_columns(estimator)
    table = _table(given, columns, request["input_names"])
    results = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in request["fetches"]:
            result = getattr(estimator, name)(table)
            results[name] = result.toarray() if hasattr(result, "toarray") else result
    save(request["outputs"], results)
    return {"runtime": "scikit-learn", "version": sklearn.__version__, "outputs": list(results)}


def _table(given: dict[str, Any], columns: list[str] | None, names: list[str]) -> Any:
    """Return what the methods take: an array, texts, or a table where columns are picked by their names."""
    if columns is None:
        (array,) = given.values() if len(given) == 1 else [given[names[0]]]
        return [str(text) for text in array.reshape(-1)] if array.dtype.kind in "US" and array.ndim == 1 else array
    import pandas as pd

    if len(given) == 1 and len(columns) > 1:
        (array,) = given.values()
        return pd.DataFrame(array, columns=columns)
    return pd.DataFrame({name: given[name].reshape(-1) for name in columns if name in given})
