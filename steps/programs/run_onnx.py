"""Run an ONNX model in onnxruntime, for its proof; the request and reply are those of the folder's docstring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arrays import load, save


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Run the model once on the processor."""
    progress(0.0, "starting onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # Errors alone; it warns of every constant that it folds.
    options.log_severity_level = 3
    progress(0.1, "loading the model")
    try:
        session = onnxruntime.InferenceSession(request["path"], options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return {"refused": "onnxruntime does not load the model: %s" % error}
    given = load(request["inputs"])
    fed = {each.name: _cast(given[each.name], each.type) for each in session.get_inputs() if each.name in given}
    progress(0.5, "running the model")
    names = [each.name for each in session.get_outputs()]
    values = session.run(names, fed)
    save(request["outputs"], {name: _plain(value) for name, value in zip(names, values)})
    return {"runtime": "onnxruntime", "version": onnxruntime.__version__, "outputs": names}


def _cast(array: Any, kind: str) -> Any:
    """Return an input as the session wants it: text as objects, numbers of the declared width."""
    import numpy as np

    if array.dtype.kind in "US":
        return array.astype(object)
    types = {"float": "float32", "double": "float64"}
    name = kind[len("tensor(") : -1] if kind.startswith("tensor(") else ""
    return array.astype(np.dtype(types.get(name, name or array.dtype)))


def _plain(value: Any) -> Any:
    """Return an output as one array: sequences of maps, as classifiers write them, as a row for each map."""
    import numpy as np

    if isinstance(value, list) and value and isinstance(value[0], dict):
        keys = sorted(value[0])
        return np.array([[row[key] for key in keys] for row in value])
    if isinstance(value, dict):
        return np.array([value[key] for key in sorted(value)])
    if isinstance(value, list) and len({np.shape(part) for part in value}) == 1:
        return np.stack(value)
    return np.asarray(value)
