"""Write an estimator of scikit-learn as ONNX with skl2onnx, in the environment of the version that wrote it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import onnx
from agreement import compare
from estimators import RefusalError, innermost, load, members, named_columns, ranges, text_columns
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
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.DOUBLE})
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
    except RefusalError as refusal:
        return {"refused": str(refusal)}
    onnx.save(model, request["output"])
    return {"notes": notes, "ranges": ranges(estimator, [each.name for each in model.graph.input])}


def _convert(estimator: Any, request: dict[str, Any]) -> tuple[Any, list[str]]:
    """Return the model that agrees with the estimator, in double precision where skl2onnx and the runtime have it."""
    prepared = _prepared(estimator)
    wanted = request["outputs"] or _guessed(estimator)
    reason = ""
    for precision in ("double", "single"):
        try:
            model = _to_onnx(prepared, request, precision)
            notes = _finish(model, request, wanted)
            onnx.checker.check_model(model, full_check=True)
        except Exception as error:
            reason = reason or "%s: %s" % (type(error).__name__, " ".join(str(error).split())[:300])
            continue
        difference = compare(estimator, model, request)
        if difference is None:
            return model, notes
        reason = reason or difference
    raise RefusalError("skl2onnx does not convert this estimator: %s" % reason)


def _to_onnx(estimator: Any, request: dict[str, Any], precision: str) -> Any:
    from skl2onnx import __max_supported_opset__, to_onnx

    inputs = _input_types(estimator, request["inputs"], precision)
    opset = {"": min(request["opset"], __max_supported_opset__), "ai.onnx.ml": _ML_OPSET}
    try:
        # Probabilities as one tensor, not as a map for each row.
        options = {id(estimator): {"zipmap": False}}
        model = to_onnx(estimator, initial_types=inputs, options=options, target_opset=opset)
    except Exception:
        # What is no classifier knows no such option.
        model = to_onnx(estimator, initial_types=inputs, target_opset=opset)
    if precision == "single":
        _widen_inputs(model.graph)
    return model


def _widen_inputs(graph: Any) -> None:
    """Let a model of single precision take doubles, as scikit-learn does."""
    casts = []
    for given in graph.input:
        if given.type.tensor_type.elem_type == TensorProto.FLOAT:
            narrow = given.name + "_float32"
            _rename_reads(graph, given.name, narrow)
            casts.append(helper.make_node("Cast", [given.name], [narrow], name=narrow, to=TensorProto.FLOAT))
            given.type.tensor_type.elem_type = TensorProto.DOUBLE
    nodes = [*casts, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node)]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename_reads(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        names = [new if name == old else name for name in node.input]
        del node.input[:]
        node.input.extend(names)


def _guessed(estimator: Any) -> list[dict[str, Any]]:
    """Return what a class gives whose outputs the signature does not know."""
    methods = ["predict", "predict_proba"] if hasattr(estimator, "predict") else ["transform"]
    found = [name for name in methods if hasattr(estimator, name)]
    return [{"name": name, "dtype": None, "shape": None} for name in found]


def _prepared(estimator: Any) -> Any:
    """Return the estimator without what stands in the converter's way and changes no prediction."""
    from encoders import register
    from trees import split_outputs

    register()
    for each in members(estimator):
        if type(each).__name__ == "VotingClassifier":
            each.flatten_transform = False  # how `transform` arranges the votes
        elif type(each).__name__ == "KBinsDiscretizer" and each.encode == "onehot":
            each.encode = "onehot-dense"  # sparse, with the same values
    last = innermost(estimator, -1)
    if last is estimator and type(last).__name__ in ("RFE", "RFECV"):
        from sklearn.pipeline import Pipeline

        # Of what selects features for its own estimator, skl2onnx takes the selection alone.
        return Pipeline([("select", last), ("predict", last.estimator_)])
    return split_outputs(estimator)


def _input_types(estimator: Any, inputs: list[dict[str, Any]], precision: str) -> list[tuple[str, Any]]:
    """Return skl2onnx's name and type of each input: one, or one a column where columns are picked by name."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType

    columns = named_columns(estimator)
    kinds = text_columns(estimator)
    number = DoubleTensorType if precision == "double" else FloatTensorType
    if columns is not None:
        return [(name, (StringTensorType if name in kinds else number)([None, 1])) for name in columns]
    (tensor,) = inputs
    if tensor["shape"] is None:
        raise RefusalError("the number of features does not stand in the file")
    if tensor["dtype"] == "object":
        return [(tensor["name"], StringTensorType([None, *tensor["shape"][1:]] if tensor["shape"][1:] else [None, 1]))]
    kind = number
    if tensor["dtype"] is None and kinds:
        width = tensor["shape"][-1]
        if kinds != set(range(width)):
            raise RefusalError("the estimator takes texts and numbers in one table of columns without names")
        kind = StringTensorType
    return [(tensor["name"], kind([None, *tensor["shape"][1:]]))]


def _finish(model: Any, request: dict[str, Any], wanted: list[dict[str, Any]]) -> list[str]:
    """Give the outputs the names, types and shapes of the signature, and drop what they do not need."""
    graph = model.graph
    raw = [output.name for output in graph.output]
    del graph.value_info[:]
    outputs, notes = [], []
    for each in wanted:
        place = 1 if each["name"] == "predict_proba" else 0
        if place >= len(raw):
            notes.append("%s is left out, as skl2onnx does not give it" % each["name"])
            continue
        outputs.append(_output(graph, raw[place], each, request["rows"]))
    del graph.output[:]
    graph.output.extend(outputs)
    _drop_dead(graph)
    _flatten_texts(graph, request["inputs"])
    _set_rows(graph, request["rows"])
    for node in graph.node:
        if node.op_type == "StringNormalizer":
            kept = [each for each in node.attribute if each.name != "locale"]
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute("locale", _LOCALE)])
    return notes + _raise_opset(model, request["opset"])


def _output(graph: Any, name: str, wanted: dict[str, Any], rows: int) -> Any:
    """Add what turns a raw result into the one that the signature names; returns its declaration."""
    current = name
    shape = wanted["shape"]
    is_text = wanted["dtype"] == "object"
    raw = next(each.type.tensor_type for each in graph.output if each.name == name)
    declared = raw.elem_type
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    # skl2onnx declares some floats as of another width than they are; a cast makes either true.
    element = _ELEMENT_TYPES.get(wanted["dtype"] or "", TensorProto.DOUBLE if declared in _FLOATS else declared)
    if not is_text and element != TensorProto.STRING:
        steps.append(("Cast", [], {"to": element}))
    if shape is not None and len(shape) == 1:
        target = helper.make_tensor(wanted["name"] + "_shape", TensorProto.INT64, [1], [-1])
        graph.initializer.append(target)
        steps.append(("Reshape", [target.name], {}))
    steps = steps or [("Identity", [], {})]
    for position, (kind, extra, attributes) in enumerate(steps):
        result = wanted["name"] if position == len(steps) - 1 else "%s_%s" % (wanted["name"], kind.lower())
        graph.node.append(helper.make_node(kind, [current, *extra], [result], name=result, **attributes))
        current = result
    sizes: list[Any] = (
        [None] * len(raw.shape.dim) if shape is None else [None if size == -1 else size for size in shape]
    )
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
    weights = [
        onnx.TensorProto.FromString(each.SerializeToString()) for each in graph.initializer if each.name in needed
    ]
    del graph.initializer[:]
    graph.initializer.extend(weights)


def _read_by(node: Any) -> set[str]:
    names = set(node.input)
    for attribute in node.attribute:
        for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
            for inner in body.node:
                names |= _read_by(inner)
    return names


def _flatten_texts(graph: Any, inputs: list[dict[str, Any]]) -> None:
    """Take texts as scikit-learn does, one a row without a second dimension, which skl2onnx wants."""
    for given, tensor in zip(graph.input, inputs):
        sizes = given.type.tensor_type.shape.dim
        if tensor["name"] != given.name or tensor["shape"] is None or len(tensor["shape"]) != 1 or len(sizes) != 2:
            continue
        column, shape = given.name + "_column", given.name + "_shape"
        _rename_reads(graph, given.name, column)
        graph.initializer.append(helper.make_tensor(shape, TensorProto.INT64, [2], [-1, 1]))
        graph.node.insert(0, helper.make_node("Reshape", [given.name, shape], [column], name=column))
        del sizes[1]


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
    "Add", "Cast", "Constant", "ConstantOfShape", "CumSum", "Div", "Equal", "Flatten", "Gather", "GreaterOrEqual",
    "Identity", "If", "IsNaN", "LessOrEqual", "Loop", "Mul", "Pow", "Relu", "Reshape", "Scan", "Shape", "Size",
    "Squeeze", "Sub", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
