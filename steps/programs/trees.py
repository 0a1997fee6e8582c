"""What skl2onnx lacks for trees and forests: several outputs with different numbers of classes.

What does not belong here: other estimators.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

_TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier")
_FORESTS = ("RandomForestClassifier", "ExtraTreesClassifier")


def split_outputs(estimator: Any) -> Any:
    """Return one classifier an output, together in a `MultiOutputClassifier`; the estimator itself where it has one."""
    kind = type(estimator).__name__
    if kind not in _TREES + _FORESTS or getattr(estimator, "n_outputs_", 1) == 1:
        return estimator
    from sklearn.multioutput import MultiOutputClassifier

    split = _tree_for if kind in _TREES else _forest_for
    whole = MultiOutputClassifier(copy.copy(estimator))
    whole.estimators_ = [split(estimator, place) for place in range(estimator.n_outputs_)]
    whole.classes_ = [one.classes_ for one in whole.estimators_]
    return whole


def _forest_for(forest: Any, place: int) -> Any:
    one = _with_classes(forest, place)
    one.estimators_ = [_tree_for(tree, place) for tree in forest.estimators_]
    return one


def _tree_for(tree: Any, place: int) -> Any:
    """Return the tree with the counts of one output: its splits are those of all."""
    from sklearn.tree._tree import Tree

    one = _with_classes(tree, place)
    state = tree.tree_.__getstate__()
    classes = int(np.atleast_1d(tree.n_classes_)[place])
    state["values"] = np.ascontiguousarray(state["values"][:, place : place + 1, :classes])
    # Its classes are counted in the width of a pointer, see ``SIZE_t`` in ``sklearn/tree/_tree.pyx``.
    one.tree_ = Tree(tree.tree_.n_features, np.array([classes], np.intp), 1)
    one.tree_.__setstate__(state)
    return one


def _with_classes(classifier: Any, place: int) -> Any:
    one = copy.copy(classifier)
    one.n_outputs_ = 1
    one.classes_ = np.asarray(classifier.classes_[place])
    one.n_classes_ = len(one.classes_)
    return one
