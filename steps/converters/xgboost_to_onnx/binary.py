"""Boosters in the binary encoding that XGBoost wrote until 3.0: C structures one behind the other.

Source: ``LearnerIO::LoadModel`` in ``src/learner.cc``, ``GBTreeModel::Load`` in ``src/gbm/gbtree_model.cc``,
``RegTree::Load`` in ``src/tree/tree_model.cc``, ``GBLinearModel::Load`` in ``src/gbm/gblinear_model.h``.
"""

import base64
import binascii
import struct
from typing import Any, Final

import numpy as np

from klever.steps.converters.xgboost_to_onnx.booster import Booster, Floats, Tree
from klever.steps.errors import LimitExceededError, MalformedModelError, TruncatedModelError
from klever.steps.files import Source

#: Larger than any model in this encoding, which is read as a whole.
_MAX_BYTES: Final = 2 << 30

#: ``LearnerModelParam``: base_score, num_feature, num_class, two flags, major and minor version, num_target.
_LEARNER: Final = struct.Struct("<fIi2iIII")
_LEARNER_BYTES: Final = 136
#: ``GBTreeModelParam`` begins with the number of trees.
_TREES_BYTES: Final = 160
#: ``GBLinearModelParam``, of which nothing is needed.
_LINEAR_BYTES: Final = 136
#: ``TreeParam``: num_roots, num_nodes, num_deleted, max_depth, num_feature, size_leaf_vector, and reserved words.
_TREE: Final = struct.Struct("<6i")
_TREE_BYTES: Final = 148
_NODE: Final = np.dtype([("parent", "<i4"), ("left", "<i4"), ("right", "<i4"), ("split", "<u4"), ("value", "<f4")])
#: ``RTreeNodeStat``: three floats and a count.
_STATISTICS_BYTES: Final = 16
#: The highest bit of a split says where missing values go.
_DEFAULT_LEFT: Final = 1 << 31
_BASE64: Final = b"bs64\t"


def read_binary(source: Source) -> Booster:
    """Read a booster; raises `MalformedModelError`, `TruncatedModelError` and `LimitExceededError`."""
    if source.size > _MAX_BYTES:
        raise LimitExceededError(f"the XGBoost model is larger than {_MAX_BYTES >> 30} GiB")
    data = source.read_at(0, source.size)
    if data.startswith(_BASE64):
        try:
            data = base64.b64decode(b"".join(data[len(_BASE64) :].split()), validate=True)
        except binascii.Error as error:
            raise MalformedModelError("the XGBoost model says that it is base64 and is not") from error
    cursor = _Cursor(data.removeprefix(b"binf"))
    base_score, features, classes, _, _, major, _, targets = _LEARNER.unpack_from(cursor.take(_LEARNER_BYTES))
    booster = Booster(
        features=features,
        groups=max(1, classes, targets if major else 1),
        objective=cursor.text(),
        base_score=[float(base_score)],
        base_is_margin=major == 0,
    )
    kind = cursor.text()
    if kind == "gblinear":
        cursor.take(_LINEAR_BYTES)
        booster.linear = cursor.floats()
        return booster
    if kind not in ("gbtree", "dart"):
        raise MalformedModelError(f"the XGBoost model has a booster {kind[:40]!r}")
    (trees,) = struct.unpack_from("<i", cursor.take(_TREES_BYTES))
    booster.trees = [_read_tree(cursor, old=major == 0) for _ in range(max(0, trees))]
    if trees > 0:
        booster.tree_groups = np.frombuffer(cursor.take(4 * trees), "<i4").tolist()
        if kind == "dart":
            booster.tree_weights = cursor.floats().tolist()
    return booster


class _Cursor:
    """A position in bytes that are in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self._position = 0

    def take(self, length: int) -> memoryview:
        end = self._position + length
        if length < 0 or end > len(self._data):
            raise TruncatedModelError(f"the XGBoost model ends at byte {len(self._data)} before it is complete")
        taken = self._data[self._position : end]
        self._position = end
        return taken

    def _length(self) -> int:
        (length,) = struct.unpack("<Q", self.take(8))
        return int(length)

    def text(self) -> str:
        data = bytes(self.take(self._length()))
        if not data.isascii():
            raise MalformedModelError("the XGBoost model has a name that cannot be read")
        return data.decode("ascii")

    def floats(self) -> Floats:
        values: Floats = np.frombuffer(self.take(4 * self._length()), "<f4").astype(np.float32)
        return values


def _read_tree(cursor: _Cursor, *, old: bool) -> Tree:
    _, count, _, _, _, leaf_size = _TREE.unpack_from(cursor.take(_TREE_BYTES))
    nodes: Any = np.frombuffer(cursor.take(count * _NODE.itemsize), _NODE)
    cursor.take(count * _STATISTICS_BYTES)
    if old and leaf_size > 0:
        cursor.floats()  # vectors of leaves, which no version used
    split = nodes["split"].astype(np.int64)
    return Tree(
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        feature=split & (_DEFAULT_LEFT - 1),
        threshold=nodes["value"].astype(np.float32),
        default_left=(split & _DEFAULT_LEFT) != 0,
    )
