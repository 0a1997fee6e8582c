"""The graph around the trees: missing values, categories, the sum, and what the objective makes of it."""

from pathlib import Path
from typing import Any

import numpy as np

from klever.steps.converters.asked import asked_shapes
from klever.steps.converters.interface import Conversion, Options, Progress, SourceModel
from klever.steps.converters.xgboost_to_onnx.binary import read_binary
from klever.steps.converters.xgboost_to_onnx.booster import Booster, Floats
from klever.steps.converters.xgboost_to_onnx.documents import read_document
from klever.steps.converters.xgboost_to_onnx.ensemble import Ensemble
from klever.steps.converters.xgboost_to_onnx.objectives import OBJECTIVES, Transform
from klever.steps.errors import MalformedModelError
from klever.steps.files import ModelFiles, opened
from klever.steps.writers.onnx import GraphBuilder, write_model

#: The least difference between two expectiles, of which the margin is still finite (``src/objective``).
_LEAST_RISE = 1e-6


def convert_booster(model: SourceModel, options: Options, directory: Path, progress: Progress) -> Conversion:
    """Write ``model.onnx``; raises a `ModelError` for the source's bytes."""
    progress(0.0, "reading the trees")
    booster = read_model(model.files, model.claim.files[0])
    progress(0.6, "writing the trees")
    inputs, outputs = model.signature.inputs or (), model.signature.outputs or ()
    if len(inputs) != 1 or len(outputs) != 1:
        raise MalformedModelError("the XGBoost model has not one input and one output")
    rows = asked_shapes(inputs, options).get(inputs[0].name, (-1,))[0]
    graph = GraphBuilder("xgboost", options.opset)
    x = graph.input(inputs[0].name, "float32", (rows, booster.features))
    margins = _trees(graph, booster, x) if booster.linear is None else _linear(graph, booster, booster.linear, x)
    result = _transformed(graph, booster, margins, outputs[0].name)
    is_flat = booster.groups == 1 or OBJECTIVES[booster.objective] is Transform.CLASS
    graph.output(result, "float32", (rows,) if is_flat else (rows, booster.groups))
    write_model(graph, directory / "model.onnx", progress=lambda done: progress(0.6 + 0.4 * done, "writing"))
    return Conversion(notes=_notes(booster))


def read_model(files: ModelFiles, path: str) -> Booster:
    """Read a booster in any of its encodings, checked; raises a `ModelError`."""
    with opened(files, path) as source:
        head = source.read_at(0, 2)
        if head[:1] == b"{" or head[:1].isspace():
            booster = read_document(source, json=head[1:2] not in b"iUIlL$#" or head[1:2] == b"")
        else:
            booster = read_binary(source)
    if booster.linear is not None and booster.linear.size == (booster.features + 1) * booster.groups:
        booster.linear = booster.linear.reshape(booster.features + 1, booster.groups)
    booster.check()
    return booster


def _notes(booster: Booster) -> tuple[str, ...]:
    best = booster.attributes.get("best_iteration", "")
    has_vectors = bool(booster.trees) and booster.trees[0].vectors is not None
    rounds = len(booster.trees) // booster.trees_a_round // (1 if has_vectors else booster.groups)
    if best.isdecimal() and int(best) + 1 < rounds:
        said = f"all {rounds} rounds are in the result, as in Booster.predict; training was best after {int(best) + 1}"
        return (f"{said}, where XGBClassifier and XGBRegressor stop",)
    return ()


def _base(booster: Booster) -> Floats:
    """Return the margin that every row begins with, [groups]."""
    scores = np.array(booster.base_score, np.float32)
    scores = np.broadcast_to(scores, (booster.groups,)) if len(scores) == 1 else scores
    if booster.base_is_margin:
        return scores
    with np.errstate(all="ignore"):
        inverse = OBJECTIVES[booster.objective].inverse
        if inverse is Transform.SIGMOID:
            scores = -np.log(np.float32(1) / scores - np.float32(1))
        elif inverse is Transform.EXP:
            scores = np.log(scores)
        elif inverse is Transform.RISING:
            rises = np.maximum(np.diff(scores.astype(np.float64)), _LEAST_RISE)
            scores = np.concatenate([scores[:1], np.log(np.expm1(rises)).astype(np.float32)])
    if not np.isfinite(scores).all():
        raise MalformedModelError(f"the base score of the XGBoost model is not one of {booster.objective}")
    base: Floats = scores.astype(np.float32)
    return base


def _trees(graph: GraphBuilder, booster: Booster, x: str) -> str:
    """Return the margins, [rows, groups]."""
    base = _base(booster)
    if not booster.trees:
        rows = graph.slice(graph.shape(x), [0], [1], [0])
        shape = graph.concat([rows, graph.constant([booster.groups])], 0)
        return str(graph.add("Expand", [graph.constant(base.reshape(1, -1)), shape]))
    attributes: dict[str, Any] = {
        "n_targets": booster.groups,
        "base_values": base.tolist(),
        "aggregate_function": "SUM",
        "post_transform": "NONE",
        **Ensemble.of(booster).attributes(),
    }
    features = _whole_categories(graph, booster, x)
    return str(graph.add("TreeEnsembleRegressor", [features], name="trees", domain="ai.onnx.ml", **attributes))


def _whole_categories(graph: GraphBuilder, booster: Booster, x: str) -> str:
    """Round the features that trees split by categories as XGBoost does, which takes 2.7 for category 2."""
    coded = {int(tree.feature[node]) for tree in booster.trees for node in tree.categories if tree.left[node] != -1}
    if not coded:
        return x
    mask = np.zeros((1, booster.features), bool)
    mask[0, sorted(coded)] = True
    return str(graph.add("Where", [graph.constant(mask), str(graph.add("Floor", [x])), x]))


def _linear(graph: GraphBuilder, booster: Booster, linear: Floats, x: str) -> str:
    """Return the margins of a linear booster, which adds nothing for a missing value."""
    present = graph.add("Where", [str(graph.add("IsNaN", [x])), graph.constant(np.float32(0)), x])
    weights = graph.constant(linear[:-1], "weights")
    sums = graph.add("MatMul", [str(present), weights])
    # Every output begins with the first base score, also where there is one for each (``GBLinear`` of version 3.4).
    bias = graph.constant(linear[-1] + _base(booster)[0], "bias")
    return str(graph.add("Add", [str(sums), bias]))


def _transformed(graph: GraphBuilder, booster: Booster, margins: str, name: str) -> str:
    transform = OBJECTIVES[booster.objective]
    if transform is Transform.CLASS:
        chosen = str(graph.add("ArgMax", [margins], axis=1, keepdims=0))
        return graph.cast(chosen, "float32", outputs=[name])
    result = margins
    if transform is Transform.SIGMOID:
        result = str(graph.add("Sigmoid", [margins]))
    elif transform is Transform.EXP:
        result = str(graph.add("Exp", [margins]))
    elif transform is Transform.STEP:
        result = graph.cast(str(graph.add("Greater", [margins, graph.constant(np.float32(0))])), "float32")
    elif transform is Transform.SOFTMAX:
        result = str(graph.add("Softmax", [margins], axis=1))
    elif transform is Transform.RISING and booster.groups > 1:
        first, others = graph.split(margins, [1, booster.groups - 1], 1)
        rises = graph.concat([first, str(graph.add("Softplus", [others]))], 1)
        result = str(graph.add("CumSum", [rises, graph.constant(np.int64(1))]))
    if booster.groups == 1:
        return graph.reshape(result, [-1], outputs=[name])
    return graph.identity(result, name)
