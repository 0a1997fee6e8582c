"""Write an estimator of scikit-learn as ONNX with skl2onnx, in the environment of the version that wrote it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from estimators import RefusalError, innermost, load, named_columns
from onnx import TensorProto, helper

_ELEMENT_TYPES = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int8": TensorProto.INT8,
    "int16": TensorProto.INT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
    "object": TensorProto.STRING,
}
#: The operator set of ai.onnx.ml that every runtime in use knows.
_ML_OPSET = 3
#: Every libc has this locale; the one that onnxruntime takes by default is missing in most containers.
_LOCALE = "C.UTF-8"


def run(request: dict[str, Any], progress: Callable[[float, str], None]) -> dict[str, Any]:
    """Export ``path`` to ``output`` with ``opset``.

    ``names`` are what the file may name, see `estimators.load`. ``inputs`` and ``outputs`` have ``name``, ``dtype`` and
    ``shape`` of the signature; ``rows`` is the first size of them all, -1 for any. Returns ``notes`` and ``ranges``.
    """
    try:
        progress(0.1, "loading the estimator")
        estimator = load(request["path"], request["names"])
        progress(0.4, "converting")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, notes = _convert(estimator, request)
        progress(0.9, "checking the model")
        onnx.checker.check_model(model)
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    onnx.save(model, request["output"])
    return {"notes": notes, "ranges": _ranges(estimator, [each.name for each in model.graph.input])}


def _convert(estimator: Any, request: dict[str, Any]) -> tuple[Any, list[str]]:
    from skl2onnx import to_onnx

    _prepare(estimator)
    inputs = _input_types(estimator, request["inputs"])
    opset = {"": request["opset"], "ai.onnx.ml": _ML_OPSET}
    error: Exception | None = None
    # Probabilities as one tensor, not as a map for each row; what is no classifier knows no such option.
    for options in ({id(estimator): {"zipmap": False}}, None):
        try:
            model = to_onnx(estimator, initial_types=inputs, options=options, target_opset=opset)
            break
        except Exception as raised:
            error = raised if options is None or "zipmap" not in str(raised) else error
            if options is not None and error is not None:
                break
    if error is not None:
        said = " ".join(str(error).split())[:300]
        raise RefusalError("skl2onnx does not convert this estimator: %s: %s" % (type(error).__name__, said)) from error
    return _finish(model, request)


def _prepare(estimator: Any) -> None:
    """Adjust what stands in the converter's way and changes no prediction."""
    last = innermost(estimator, -1)
    if type(last).__name__ == "VotingClassifier":
        # How `transform` arranges the votes.
        last.flatten_transform = False
    from encoders import register

    register()


def _input_types(estimator: Any, inputs: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Return skl2onnx's name and type of each input: one, or one a column where columns are picked by name."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    columns = named_columns(estimator)
    kinds = _text_columns(estimator)
    if columns is not None:
        return [
            (name, (StringTensorType if name in kinds else DoubleTensorType)([None, 1])) for name in columns
        ]
    (tensor,) = inputs
    if tensor["shape"] is None:
        raise RefusalError("the number of features does not stand in the file")
    if tensor["dtype"] == "object":
        return [(tensor["name"], StringTensorType([None, *tensor["shape"][1:]] if tensor["shape"][1:] else [None, 1]))]
    kind = FloatTensorType if tensor["dtype"] == "float32" else DoubleTensorType
    if tensor["dtype"] is None and kinds:
        width = tensor["shape"][-1]
        if kinds != set(range(width)):
            raise RefusalError("the estimator takes texts and numbers in one table of columns without names")
        kind = StringTensorType
    return [(tensor["name"], kind([None, *tensor["shape"][1:]]))]


def _encoders(estimator: Any) -> list[tuple[Any, list[Any]]]:
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


def _text_columns(estimator: Any) -> set[Any]:
    """Return the columns, by name or place, whose categories are texts."""
    found = set()
    for encoder, columns in _encoders(estimator):
        for column, categories in zip(columns, encoder.categories_):
            if np.asarray(categories).dtype.kind in "OUS":
                found.add(column)
    return found


def _ranges(estimator: Any, names: list[str]) -> dict[str, list[int]]:
    """Return the values that every encoder knows, where their categories are consecutive integers."""
    low, high = [], []
    for encoder, _ in _encoders(estimator):
        for categories in encoder.categories_:
            values = np.asarray(categories)
            if values.dtype.kind not in "iuf" or not np.array_equal(values, np.arange(len(values)) + values[0]):
                return {}
            low.append(int(values[0]))
            high.append(int(values[-1]) + 1)
    return {name: [max(low), min(high)] for name in names} if low and max(low) < min(high) else {}


def _finish(model: Any, request: dict[str, Any]) -> tuple[Any, list[str]]:
    """Give the outputs the names, types and shapes of the signature, and drop what they do not need."""
    graph = model.graph
    raw = [output.name for output in graph.output]
    del graph.value_info[:]
    outputs, notes = [], []
    for wanted in request["outputs"]:
        place = 1 if wanted["name"] == "predict_proba" else 0
        if place >= len(raw):
            notes.append("%s is left out, as skl2onnx does not give it" % wanted["name"])
            continue
        outputs.append(_output(graph, raw[place], wanted, request["rows"]))
    del graph.output[:]
    graph.output.extend(outputs)
    _drop_dead(graph)
    _set_rows(graph, request["rows"])
    for node in graph.node:
        if node.op_type == "StringNormalizer":
            kept = [each for each in node.attribute if each.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("locale", _LOCALE)])
    notes += _raise_opset(model, request["opset"])
    return model, notes


def _output(graph: Any, name: str, wanted: dict[str, Any], rows: int) -> Any:
    """Add what turns a raw result into the one that the signature names; returns its declaration."""
    current = name
    shape = wanted["shape"]
    is_text = wanted["dtype"] == "object"
    steps = []
    if wanted["dtype"] is not None and not is_text:
        steps.append(("Cast", [], {"to": _ELEMENT_TYPES[wanted["dtype"]]}))
    if shape is not None and len(shape) == 1:
        target = helper.make_tensor(wanted["name"] + "_shape", TensorProto.INT64, [1], [-1])
        graph.initializer.append(target)
        steps.append(("Reshape", [target.name], {}))
    steps = steps or [("Identity", [], {})]
    for position, (kind, extra, attributes) in enumerate(steps):
        result = wanted["name"] if position == len(steps) - 1 else "%s_%s" % (wanted["name"], kind.lower())
        graph.node.append(helper.make_node(kind, [current, *extra], [result], name=result, **attributes))
        current = result
    element = _ELEMENT_TYPES.get(wanted["dtype"] or "", TensorProto.DOUBLE)
    if wanted["dtype"] is None:
        element = next(each.type.tensor_type.elem_type for each in graph.output if each.name == name)
    sizes = None if shape is None else [None if size == -1 else size for size in shape]
    if sizes:
        sizes[0] = "rows" if rows == -1 else rows
    return helper.make_tensor_value_info(wanted["name"], element, sizes)


def _drop_dead(graph: Any) -> None:
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in needed for name in node.output):
            kept.append(node)
            needed.update(_read_by(node))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in reversed(kept)]
    del graph.node[:]
    graph.node.extend(copies)
    weights = [onnx.TensorProto.FromString(each.SerializeToString()) for each in graph.initializer if each.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _read_by(node: Any) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in body.node:
                names |= _read_by(inner)
    return names


def _set_rows(graph: Any, rows: int) -> None:
    for each in graph.input:
        first = each.type.tensor_type.shape.dim[0]
        if rows == -1:
            first.dim_param = "rows"
        else:
            first.dim_value = rows


def _raise_opset(model: Any, opset: int) -> list[str]:
    """Declare the opset that was asked for where every operator means the same in it; a note where one does not."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version != opset:
            for node in _every_node(model.graph):
                if node.domain in ("", "ai.onnx") and not _is_same(node.op_type, entry.version, opset):
                    return ["the model has opset %d, the highest that skl2onnx writes here" % entry.version]
            entry.version = opset
    return []


def _every_node(graph: Any) -> Any:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from _every_node(body)


def _is_same(operator: str, old: int, new: int) -> bool:
    try:
        schemas = [onnx.defs.get_schema(operator, version, "") for version in (old, new)]
    except onnx.defs.SchemaError:
        return False
    return schemas[0].since_version == schemas[1].since_version or operator in _WIDENED


#: Operators that later sets changed only by allowing more types.
_WIDENED = frozenset({
    "Cast", "Constant", "ConstantOfShape", "Equal", "Flatten", "Gather", "Identity", "If", "IsNaN", "Loop", "Reshape",
    "Scan", "Shape", "Size", "Squeeze", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
