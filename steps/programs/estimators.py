"""What the programs of scikit-learn share: loading a pickle that names nothing but what is expected of it.

The names were read and judged before the framework was started; here each is held against that list once more, at the
moment it would be imported. What does not belong here: ONNX.
"""

from __future__ import annotations

import importlib
import pickle
import types
import warnings
from typing import Any, ClassVar

import joblib.numpy_pickle
import numpy as np

#: Protocol 2 writes bytes as text in this encoding; others could inflate what they decode.
_ENCODINGS = frozenset({"latin1", "latin-1", "ascii", "utf-8"})


class RefusalError(Exception):
    """The file is not what it was judged to be, or this version of scikit-learn cannot use it."""


class _Restricted:
    """What a reader of pickles does here: import from a list, and leave classes as they are."""

    #: Set before a file is read, by `load`.
    names: ClassVar[dict[str, str]] = {}
    stack: list[Any]

    def find_class(self, module: str, name: str) -> Any:
        """Import one of the names that are expected."""
        current = self.names.get("%s.%s" % (module, name))
        if current is None:
            raise RefusalError("the pickle names %s.%s, which it was not seen to name before" % (module, name))
        if current == "_codecs.encode":
            return _encode
        home, _, own = current.rpartition(".")
        return getattr(importlib.import_module(home), own)

    def load_build(self) -> None:
        """Give an object its state; a class that had one would change for every object."""
        if isinstance(self.stack[-2], (type, types.FunctionType, types.BuiltinFunctionType)):
            raise RefusalError("the pickle changes a class instead of an object")
        super().load_build()  # type: ignore[misc]


class _ArrayReader(_Restricted, joblib.numpy_pickle.NumpyUnpickler):
    """Joblib's own, which reads arrays between the opcodes."""

    dispatch: ClassVar[dict[int, Any]] = {
        **joblib.numpy_pickle.NumpyUnpickler.dispatch,
        pickle.BUILD[0]: _Restricted.load_build,
    }


class _Reader(_Restricted, pickle._Unpickler):
    """Python's own, for the pickles that stand in joblib's files for arrays of objects."""

    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: _Restricted.load_build}


def load(path: str, names: dict[str, str]) -> Any:
    """Return the estimator in a file of joblib's, or in a pickle.

    ``names`` maps the globals that the file may name to those that they are now, ``module.name`` each. Raises
    `RefusalError` for any other, and where the estimator cannot be made of what is in the file.
    """
    _Restricted.names = names
    module = joblib.numpy_pickle
    module.NumpyUnpickler = _ArrayReader
    module.pickle = types.SimpleNamespace(load=lambda stream, **options: _Reader(stream, **options).load())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return joblib.load(path)
    except RefusalError:
        raise
    except Exception as error:
        import sklearn

        said = " ".join(str(error).split())[:200]
        cause = "%s: %s" % (type(error).__name__, said)
        raise RefusalError("scikit-learn %s does not load the file: %s" % (sklearn.__version__, cause)) from error


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in _ENCODINGS:
        raise RefusalError("the pickle encodes text as %s" % encoding[:40])
    return text.encode(encoding)


def innermost(estimator: Any, place: int) -> Any:
    """Return the step of nested pipelines and searches that sees the input (0), or that gives the result (-1)."""
    for _ in range(12):
        steps = getattr(estimator, "steps", None)
        below = None
        if steps:
            used = [step for _, step in steps if step is not None and step != "passthrough"]
            below = used[place] if used else None
        if below is None:
            below = getattr(estimator, "best_estimator_", None)
        if below is None:
            return estimator
        estimator = below
    return estimator


def named_columns(estimator: Any) -> list[str] | None:
    """Return the names of the columns where the estimator picks some by name, so that it takes a table."""
    first = innermost(estimator, 0)
    picked = [columns for _, _, columns in getattr(first, "transformers_", [])]
    flat = [one for columns in picked if not isinstance(columns, slice)
            for one in ([columns] if isinstance(columns, str) else columns)]  # fmt: skip
    if not any(isinstance(one, str) for one in flat):
        return None
    names = getattr(first, "feature_names_in_", None)
    if names is None:
        # Before version 1.0.
        names = getattr(first, "_df_columns", None)
    if names is None:
        return list(dict.fromkeys(one for one in flat if isinstance(one, str)))
    return [str(name) for name in names]


def members(estimator: Any) -> list[Any]:
    """Return an estimator with the steps and parts of it that transform or predict, at any depth."""
    found = [estimator]
    held = [step for _, step in getattr(estimator, "steps", [])]
    held += [part for _, part in getattr(estimator, "transformer_list", [])]
    held += [part for _, part, _ in getattr(estimator, "transformers_", [])]
    if hasattr(estimator, "best_estimator_"):
        held.append(estimator.best_estimator_)
    for each in held:
        if each is not None and not isinstance(each, str):
            found += members(each)
    return found


def encoders(estimator: Any) -> list[tuple[Any, list[Any]]]:
    """Return the encoders of categories that see the input, each with the columns that it sees."""
    first = innermost(estimator, 0)
    if hasattr(first, "transformers_"):
        found = []
        for _, below, columns in first.transformers_:
            encoder = innermost(below, 0) if not isinstance(below, str) else below
            if hasattr(encoder, "categories_"):
                picked = [columns] if isinstance(columns, (str, int)) else columns
                picked = range(*columns.indices(first.n_features_in_)) if isinstance(columns, slice) else picked
                found.append((encoder, list(picked)))
        return found
    return [(first, list(range(len(first.categories_))))] if hasattr(first, "categories_") else []


def text_columns(estimator: Any) -> set[Any]:
    """Return the columns, by name or place, whose categories are texts."""
    found = set()
    for encoder, columns in encoders(estimator):
        for column, categories in zip(columns, encoder.categories_):
            if np.asarray(categories).dtype.kind in "OUS":
                found.add(column)
    return found


def ranges(estimator: Any, names: list[str]) -> dict[str, list[int]]:
    """Return the values that every encoder knows, where their categories are consecutive integers."""
    low, high = [], []
    for encoder, _ in encoders(estimator):
        for categories in encoder.categories_:
            values = np.asarray(categories)
            if values.dtype.kind not in "iuf" or not np.array_equal(values, np.arange(len(values)) + values[0]):
                return {}
            low.append(int(values[0]))
            high.append(int(values[-1]) + 1)
    return {name: [max(low), min(high)] for name in names} if low and max(low) < min(high) else {}
