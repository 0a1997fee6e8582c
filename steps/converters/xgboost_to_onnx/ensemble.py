"""Trees as the attributes of ONNX's `TreeEnsembleRegressor`: flat lists with an element a node or a leaf's value.

Source: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsembleRegressor.html, version 3.
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from klever.steps.converters.xgboost_to_onnx.booster import Booster, Floats, Integers, Tree
from klever.steps.errors import LimitExceededError, MalformedModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Some hundred bytes each in memory while the file is written.
MAX_NODES: Final = 20_000_000
#: The first version in which a category that no split knows goes left.
_NEW_CATEGORIES: Final = (1, 7)
#: Equals no feature that is rounded to a category: where no category goes right.
_NO_CATEGORY: Final = 0.5


class Ensemble:
    """The lists under construction."""

    def __init__(self, *, old_categories: bool) -> None:
        self._old_categories = old_categories
        self._count = 0
        self._trees = 0
        self._nodes: dict[str, list[Any]] = {
            name: []
            for name in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids",
                         "missing_value_tracks_true")
        }  # fmt: skip
        self._targets: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}

    @classmethod
    def of(cls, booster: Booster) -> "Ensemble":
        """Take all trees of a booster, each leaf times its tree's weight."""
        ensemble = cls(old_categories=booster.version < _NEW_CATEGORIES)
        weights = booster.tree_weights or [1.0] * len(booster.trees)
        for tree, group, weight in zip(booster.trees, booster.tree_groups, weights, strict=True):
            ensemble._add(tree, group, np.float32(weight))
        return ensemble

    def attributes(self) -> dict[str, list[Any]]:
        """Return the lists under the names of the attributes."""
        nodes = {f"nodes_{name}": values for name, values in self._nodes.items()}
        return nodes | {f"target_{name}": values for name, values in self._targets.items()}

    def _add(self, tree: Tree, group: int, weight: np.float32) -> None:
        reached = _reached(tree)
        extra = sum(len(found) + 1 for found in tree.categories.values())
        self._count += len(reached) + extra
        if self._count > MAX_NODES:
            raise LimitExceededError(f"the XGBoost model has more than {MAX_NODES} nodes")
        # Nodes that pruning left behind would be roots of trees that nothing reaches.
        place = np.full(len(tree.left), -1, np.int64)
        place[reached] = np.arange(len(reached))
        is_leaf = tree.left[reached] == -1
        # What a leaf has for children is no index; the root, whose place is 0, stands in for both.
        true, false = (place[np.where(is_leaf, 0, side[reached])] for side in (tree.left, tree.right))
        columns: dict[str, Iterable[Any]] = {
            "nodeids": range(len(reached)),
            "featureids": np.where(is_leaf, 0, tree.feature[reached]).tolist(),
            "modes": np.where(is_leaf, "LEAF", "BRANCH_LT").tolist(),
            "values": np.where(is_leaf, np.float32(0), tree.threshold[reached]).tolist(),
            "truenodeids": true.tolist(),
            "falsenodeids": false.tolist(),
            "missing_value_tracks_true": np.where(is_leaf, 0, tree.default_left[reached]).astype(np.int64).tolist(),
        }
        start = len(self._nodes["nodeids"])
        for name, values in columns.items():
            self._nodes[name].extend(values)
        if tree.categories:
            self._split_by_categories(tree, reached, start)
        added = len(self._nodes["nodeids"]) - start
        self._nodes["treeids"].extend([self._trees] * added)
        self._add_leaves(tree, reached[is_leaf], np.flatnonzero(is_leaf), group, weight)
        self._trees += 1

    def _add_leaves(self, tree: Tree, leaves: Integers, places: Integers, group: int, weight: np.float32) -> None:
        if tree.vectors is None:
            values: Floats = tree.threshold[leaves]
            targets = np.full(len(leaves), group)
        else:
            count = tree.vectors.shape[1]
            values = tree.vectors[leaves].reshape(-1)
            targets, places = np.tile(np.arange(count), len(leaves)), np.repeat(places, count)
        self._targets["treeids"].extend([self._trees] * len(places))
        self._targets["nodeids"].extend(places.tolist())
        self._targets["ids"].extend(targets.tolist())
        self._targets["weights"].extend((values * weight).tolist())

    def _split_by_categories(self, tree: Tree, reached: Integers, start: int) -> None:
        """Turn splits by categories into chains of comparisons: equal to the first, to the second, ... goes right."""
        nodes = self._nodes
        following = len(reached)
        for place, node in enumerate(reached.tolist()):
            if node not in tree.categories or tree.left[node] == -1:
                continue
            last = start + place
            shared = {
                "featureids": nodes["featureids"][last],
                "truenodeids": nodes["falsenodeids"][last],
                "falsenodeids": nodes["truenodeids"][last],
                "missing_value_tracks_true": int(not tree.default_left[node]),
            }
            for position, (mode, value) in enumerate(self._comparisons(tree, node)):
                if position:
                    nodes["falsenodeids"][last] = following
                    last = len(nodes["nodeids"])
                    nodes["nodeids"].append(following)
                    following += 1
                    for name in ("modes", "values", *shared):
                        nodes[name].append(0)
                for name, each in (("modes", mode), ("values", value), *shared.items()):
                    nodes[name][last] = each

    def _comparisons(self, tree: Tree, node: int) -> list[tuple[str, float]]:
        """Return what sends a row to the right of a split by categories."""
        categories = tree.categories[node]
        found = [("BRANCH_EQ", float(category)) for category in categories]
        if self._old_categories and not tree.default_left[node]:
            # What lies outside of the set's words of 32 bits went the way of missing values before version 1.7.
            size = (max(categories, default=-1) // 32 + 1) * 32
            found += [("BRANCH_GTE", float(size)), ("BRANCH_LT", 0.0)]
        return found or [("BRANCH_EQ", _NO_CATEGORY)]


def _reached(tree: Tree) -> Integers:
    """Return the nodes that hang together with the root, level by level; raises for one that has two parents."""
    seen = np.zeros(len(tree.left), bool)
    seen[0] = True
    levels = [np.zeros(1, np.int64)]
    while len(levels[-1]):
        splits = levels[-1][tree.left[levels[-1]] != -1]
        children = np.concatenate([tree.left[splits], tree.right[splits]])
        if bool(seen[children].any()) or len(np.unique(children)) < len(children):
            raise MalformedModelError("a node of the XGBoost model is the child of two others")
        seen[children] = True
        levels.append(children)
    return np.concatenate(levels)
