"""Whether a converted estimator gives what scikit-learn gives, on values that it knows.

A library that rewrites patterns is right for most estimators and wrong for some without a word; this finds those before
the result leaves its environment. What does not belong here: the proof, which is made of the finished result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from estimators import encoders, named_columns

#: Enough for every class and most leaves of a tree to occur.
_ROWS = 64
#: Rows that may end in another leaf, as a number is rounded to single precision.
_ASTRAY = 2
_ABSOLUTE, _RELATIVE = 1e-4, 1e-3
_WORDS = ("the", "a", "one", "Two", "model", "registry", "good", "BAD", "x1", "words", "of", "text")


def compare(estimator: Any, model: Any, request: dict[str, Any]) -> str | None:
    """Return how the model differs from the estimator, None where it does not or where it cannot be told."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    rows = _ROWS if request["rows"] == -1 else request["rows"]
    table, fed = _sample(estimator, request, rows, [each.name for each in model.graph.input])
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made = dict(zip([each.name for each in session.get_outputs()], session.run(None, fed)))
    except Exception as error:
        return "onnxruntime does not run the result: %s" % " ".join(str(error).split())[:300]
    for name, values in made.items():
        expected = _call(estimator, name, table)
        if expected is not None and (difference := _difference(name, expected, values)) is not None:
            return difference
    return None


def _call(estimator: Any, name: str, table: Any) -> Any:
    """Return what a method gives as one array; None where it fails on values that it was not fitted on."""
    try:
        result = getattr(estimator, name)(table)
    except Exception:
        return None
    return result.toarray() if hasattr(result, "toarray") else np.asarray(result)


def _difference(name: str, expected: Any, made: Any) -> str | None:
    if expected.shape != made.shape:
        return "%s has the shape %s instead of %s" % (name, made.shape, expected.shape)
    if expected.dtype.kind in "OUS":
        same = expected.astype(str) == made.astype(str)
    elif expected.dtype.kind == "f":
        same = np.isclose(made, expected, rtol=_RELATIVE, atol=_ABSOLUTE, equal_nan=True)
    else:
        same = made == expected
    astray = int((~same.reshape(len(same), -1).all(axis=1)).sum()) if len(same) else 0
    return None if astray <= _ASTRAY else "%s differs in %d of %d rows" % (name, astray, len(same))


def _sample(estimator: Any, request: dict[str, Any], rows: int, names: list[str]) -> tuple[Any, dict[str, Any]]:
    """Return a table for the estimator, and the same for the model's inputs."""
    random = np.random.RandomState(0)
    columns = named_columns(estimator)
    known = {column: categories for encoder, picked in encoders(estimator)
             for column, categories in zip(picked, encoder.categories_)}  # fmt: skip
    if columns is not None:
        import pandas as pd

        values = {name: _column(random, known.get(name), rows) for name in columns}
        fed = {name: _as_input(value).reshape(-1, 1) for name, value in values.items() if name in names}
        return pd.DataFrame(values), fed
    (tensor,) = request["inputs"]
    if tensor["dtype"] == "object" and len(tensor["shape"]) == 1:
        texts = [" ".join(random.choice(_WORDS, 8)) for _ in range(rows)]
        return texts, {tensor["name"]: np.array(texts, object)}
    width = tensor["shape"][-1]
    array = np.stack([_column(random, known.get(place), rows) for place in range(width)], axis=1)
    array = _as_input(array)
    return array, {tensor["name"]: array}


def _column(random: Any, categories: Any, rows: int) -> Any:
    if categories is None:
        return random.standard_normal(rows)
    return np.asarray(categories)[random.randint(0, len(categories), rows)]


def _as_input(array: Any) -> Any:
    return array.astype(object if array.dtype.kind in "OUS" else np.float64)
