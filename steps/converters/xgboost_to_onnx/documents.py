"""Boosters in JSON and UBJSON, which share a schema; a tree at a time is in memory as numbers of Python's.

Source: https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html, and ``LoadModel`` in
``src/tree/tree_model.cc``, ``src/tree/multi_target_tree_model.cc``, ``src/gbm/gbtree_model.cc`` and ``src/learner.cc``.
"""

import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from klever.steps.converters.xgboost_to_onnx.booster import Booster, Floats, Integers, Tree
from klever.steps.errors import ConversionError, LimitExceededError, MalformedModelError
from klever.steps.files import Source
from klever.steps.formats.xgboost.text import JSONWalker
from klever.steps.formats.xgboost.ubjson import UBJSONWalker
from klever.steps.formats.xgboost.window import Window

#: One array of one tree: a million nodes and more in JSON.
_MAX_ARRAY_BYTES: Final = 16 << 20
#: A thousandth of what a thousand trees take; keys count a hundred each in JSON.
_MAX_MARKS: Final = 1 << 32
_MAX_TREES: Final = 1_000_000

_Walker = JSONWalker | UBJSONWalker


def read_document(source: Source, *, json: bool) -> Booster:
    """Read a booster; raises `MalformedModelError`, `TruncatedModelError` and `LimitExceededError`."""
    window = Window(source, limit=_MAX_ARRAY_BYTES)
    walker: _Walker = JSONWalker(window, _MAX_MARKS) if json else UBJSONWalker(window, _MAX_MARKS)
    booster = Booster()
    for key in walker.entries():
        if key == "learner":
            _read_object(walker, booster, _LEARNER)
        elif key == "version":
            booster.version = tuple(_integers(walker.value()).tolist())
        else:
            walker.skip()
    return booster


_Readers = dict[str, Callable[[_Walker, Booster], None]]


def _read_object(walker: _Walker, booster: Booster, readers: _Readers) -> None:
    for key in walker.entries():
        if key in readers:
            readers[key](walker, booster)
        elif readers is _MODEL and key not in _PASSED_OVER:
            raise ConversionError(f"the XGBoost model has {key[:40]!r} beside its trees, whose meaning is not known")
        else:
            walker.skip()


def _read_attributes(walker: _Walker, booster: Booster) -> None:
    held = walker.value()
    if isinstance(held, dict):
        booster.attributes = {str(name): str(value)[:100] for name, value in held.items()}


def _read_parameters(walker: _Walker, booster: Booster) -> None:
    held = _object(walker.value())
    booster.features = _count(held.get("num_feature"))
    booster.groups = max(1, _count(held.get("num_class", 0)), _count(held.get("num_target", 1)))
    # A list since version 3.1, in brackets.
    texts = str(held.get("base_score", "0.5")).strip("[] ").split(",")
    try:
        booster.base_score = [float(text) for text in texts]
    except ValueError:
        raise MalformedModelError("the base score of the XGBoost model is no number") from None


def _read_objective(walker: _Walker, booster: Booster) -> None:
    booster.objective = str(_object(walker.value()).get("name", ""))


def _read_weights(walker: _Walker, booster: Booster) -> None:
    booster.linear = _floats(walker.value())


def _read_dart_weights(walker: _Walker, booster: Booster) -> None:
    booster.tree_weights = [float(weight) for weight in _floats(walker.value())]


def _read_groups(walker: _Walker, booster: Booster) -> None:
    booster.tree_groups = [int(group) for group in _integers(walker.value())]


def _read_booster(walker: _Walker, booster: Booster) -> None:
    _read_object(walker, booster, _GRADIENT_BOOSTER)


def _read_model(walker: _Walker, booster: Booster) -> None:
    _read_object(walker, booster, _MODEL)


def _read_forest(walker: _Walker, booster: Booster) -> None:
    booster.trees_a_round = max(1, _count(_object(walker.value()).get("num_parallel_tree", 1)))


def _read_trees(walker: _Walker, booster: Booster) -> None:
    for _ in walker.items():
        if len(booster.trees) >= _MAX_TREES:
            raise LimitExceededError(f"the XGBoost model has more than {_MAX_TREES} trees")
        fields: dict[str, Any] = {}
        for key in walker.entries():
            if key in _TREE_FIELDS:
                fields[key] = walker.value()
            else:
                walker.skip()
        booster.trees.append(_tree(fields))


_LEARNER: Final[_Readers] = {
    "attributes": _read_attributes,
    "gradient_booster": _read_booster,
    "learner_model_param": _read_parameters,
    "objective": _read_objective,
}
#: Dart holds its trees one level deeper, in a ``gbtree`` of its own.
_GRADIENT_BOOSTER: Final[_Readers] = {
    "gbtree": _read_booster,
    "model": _read_model,
    "weight_drop": _read_dart_weights,
}
#: Version 3.3 or so put dart's weights beside the trees and called the booster gbtree.
_MODEL: Final[_Readers] = {
    "gbtree_model_param": _read_forest,
    "tree_info": _read_groups,
    "trees": _read_trees,
    "weight_drop": _read_dart_weights,
    "weights": _read_weights,
}
#: What stands beside them and changes no prediction from numbers; ``cats`` are names of categories.
_PASSED_OVER: Final = frozenset({"boosted_rounds", "cats", "iteration_indptr", "param"})
_TREE_FIELDS: Final = frozenset({
    "base_weights", "categories", "categories_nodes", "categories_segments", "categories_sizes", "default_left",
    "leaf_weights", "left_children", "right_children", "split_conditions", "split_indices", "split_type", "tree_param",
})  # fmt: skip


def _tree(fields: dict[str, Any]) -> Tree:
    left, right = _integers(fields.get("left_children")), _integers(fields.get("right_children"))
    return Tree(
        left=left,
        right=right,
        feature=_integers(fields.get("split_indices")),
        threshold=_floats(fields.get("split_conditions")),
        default_left=_integers(fields.get("default_left")).astype(bool),
        categories=_categories(fields),
        vectors=_vectors(fields, left, right),
    )


def _vectors(fields: dict[str, Any], left: Integers, right: Integers) -> Floats | None:
    """Return the vectors of the leaves of a tree with several outputs, whose ``size_leaf_vector`` is above 1."""
    targets = _count(_object(fields.get("tree_param", {})).get("size_leaf_vector", 0))
    if targets <= 1:
        return None
    leaves = _floats(fields.get("leaf_weights", []))
    if not len(leaves):
        weights = _floats(fields.get("base_weights"))
        return _rows(weights, targets)
    # Since version 3.2 only leaves have vectors; the place of a right child says which is theirs.
    vectors = _rows(leaves, targets)
    places = np.where(left == -1, right, 0)
    if len(places) and (places.min() < 0 or places.max() >= len(vectors)):
        raise MalformedModelError("a leaf of the XGBoost model names a vector that is not there")
    taken: Floats = vectors[places]
    return taken


def _rows(values: Floats, width: int) -> Floats:
    if len(values) % width:
        raise MalformedModelError(f"the leaves of the XGBoost model have not {width} values each")
    return values.reshape(-1, width)


def _categories(fields: dict[str, Any]) -> dict[int, tuple[int, ...]]:
    """Return the categories that go right, for each node of type 1: a segment of one list for each."""
    nodes = _integers(fields.get("categories_nodes", []))
    kinds = _integers(fields.get("split_type", []))
    if bool(np.any(kinds == 1)) and not len(nodes):
        raise MalformedModelError("a tree of the XGBoost model splits by categories that it does not list")
    values = _integers(fields.get("categories", []))
    starts = _integers(fields.get("categories_segments", []))
    sizes = _integers(fields.get("categories_sizes", []))
    if not len(nodes) == len(starts) == len(sizes):
        raise MalformedModelError("the categories of a tree of the XGBoost model are not one list a node")
    found = {}
    for node, start, size in zip(nodes.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        if not 0 <= start <= start + size <= len(values):
            raise MalformedModelError("a tree of the XGBoost model names categories that are not there")
        found[node] = tuple(values[start : start + size].tolist())
    return found


def _integers(value: Any) -> Integers:
    found: Integers = _numbers(value, "int64")
    return found


def _floats(value: Any) -> Floats:
    # Text of nine digits names one float32; that of the nearest double is the same one.
    found: Floats = _numbers(value, "float64").astype(np.float32)
    return found


def _numbers(value: Any, dtype: str) -> Any:
    if not isinstance(value, list):
        raise MalformedModelError("a tree of the XGBoost model lacks an array")
    try:
        found = np.array(value, dtype)
    except (ValueError, TypeError, OverflowError):
        raise MalformedModelError("an array of the XGBoost model holds something other than numbers") from None
    if found.ndim != 1:
        raise MalformedModelError("an array of the XGBoost model holds lists")
    return found


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MalformedModelError("the XGBoost model has a value where its parameters should be")
    return value


_COUNT: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


def _count(value: Any) -> int:
    if not _COUNT.fullmatch(str(value)):
        raise MalformedModelError(f"the XGBoost model has a count that is no number: {str(value)[:40]!r}")
    return int(str(value))
