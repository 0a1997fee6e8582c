"""A booster as all encodings describe it: trees of splits and leaves, or the weights of a linear model."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from klever.steps.errors import LimitExceededError, MalformedModelError

#: More than the largest published boosters have, of hashed words and of labels; arrays are made of these sizes.
MAX_FEATURES: Final = 1 << 27
MAX_GROUPS: Final = 1 << 20

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """One tree, all arrays with an element a node. A leaf has no left child, which is -1."""

    left: Integers
    right: Integers
    feature: Integers
    #: ``x < threshold`` goes left; in a leaf of a single output its value.
    threshold: Floats
    #: Whether a missing value goes left.
    default_left: NDArray[np.bool_]
    #: Node to the categories that go right, where it splits by them.
    categories: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    #: The leaves' vectors, [nodes, targets], where one tree has several outputs.
    vectors: Floats | None = None

    def check(self, features: int) -> None:
        """Raise `MalformedModelError` unless the arrays are of one length and every index is in its range."""
        count = len(self.left)
        lengths = {len(self.right), len(self.feature), len(self.threshold), len(self.default_left)}
        if not count or lengths != {count} or (self.vectors is not None and len(self.vectors) != count):
            raise MalformedModelError("a tree of the XGBoost model has no nodes, or arrays of different lengths")
        splits = self.left != -1
        children = np.concatenate([self.left[splits], self.right[splits]])
        if len(children) and (children.min() <= 0 or children.max() >= count):
            raise MalformedModelError("a tree of the XGBoost model names a child that is not there")
        used = self.feature[splits]
        if len(used) and (used.min() < 0 or used.max() >= features):
            raise MalformedModelError(f"a tree of the XGBoost model splits by a feature beyond the {features}")


@dataclass
class Booster:
    """What a prediction needs."""

    #: Of the XGBoost that wrote it; empty in the binary encoding.
    version: tuple[int, ...] = ()
    features: int = 0
    #: Classes or targets, 1 for a single output.
    groups: int = 1
    objective: str = ""
    trees: list[Tree] = field(default_factory=list)
    #: Trees that one round adds for each output: the size of a boosted forest.
    trees_a_round: int = 1
    #: The group that each tree adds to.
    tree_groups: list[int] = field(default_factory=list)
    #: Factors of dart's trees.
    tree_weights: list[float] = field(default_factory=list)
    #: [features + 1, groups] of a linear booster, the bias in the last row.
    linear: Floats | None = None
    #: One value, or one a group, as it stands in the file.
    base_score: list[float] = field(default_factory=lambda: [0.5])
    #: Before version 1.0 the base score was saved as a margin.
    base_is_margin: bool = False
    attributes: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `MalformedModelError` for counts that contradict each other, `LimitExceededError` for absurd ones."""
        if self.features > MAX_FEATURES or self.groups > MAX_GROUPS:
            raise LimitExceededError(f"the XGBoost model claims {self.features} features and {self.groups} outputs")
        if len(self.tree_groups) != len(self.trees):
            raise MalformedModelError("the XGBoost model does not say which output each of its trees adds to")
        if any(not 0 <= group < self.groups for group in self.tree_groups):
            raise MalformedModelError(f"a tree of the XGBoost model adds to an output beyond the {self.groups}")
        if self.tree_weights and len(self.tree_weights) != len(self.trees):
            raise MalformedModelError("the XGBoost model has not one weight a tree")
        if self.linear is not None and self.linear.shape != (self.features + 1, self.groups):
            raise MalformedModelError("the linear XGBoost model has another number of weights than features")
        if len(self.base_score) not in (1, self.groups):
            raise MalformedModelError("the XGBoost model has another number of base scores than of outputs")
        for tree in self.trees:
            if tree.vectors is not None and tree.vectors.shape[1] != self.groups:
                raise MalformedModelError("a leaf of the XGBoost model has another number of values than of outputs")
            tree.check(self.features)
