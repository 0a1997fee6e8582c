"""Rows of equal scores may come in another order; nothing else may."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.proof.arrays import Array
from klever.steps.proof.compare import USUAL, compare
from klever.steps.proof.ties import ranks

#: One batch of five detections: scores, three of which tie, then filling.
SCORES = np.array([0.9, 0.5, 0.5, 0.5, 0.1, -1, -1], np.float32).reshape(1, 7, 1)
CLASSES = np.array([3, 1, 2, 0, 4, -1, -1], np.float32).reshape(1, 7, 1)
BOXES = np.concatenate([np.arange(20).reshape(5, 4), -np.ones((2, 4))]).astype(np.float32).reshape(1, 7, 4)
SOURCE = {"classes": CLASSES, "scores": SCORES, "boxes": BOXES}


def exchanged(order: list[int]) -> dict[str, Array]:
    return {name: array[:, order] for name, array in SOURCE.items()}


def agrees(source: dict[str, Array], result: dict[str, Array], *, ranked: bool = True) -> bool:
    return all(error.within_tolerance for error in compare(source, result, USUAL, ranked=ranked))


@given(st.permutations([1, 2, 3]))
def test_rows_of_equal_scores_may_come_in_any_order(order: list[int]) -> None:
    result = exchanged([0, *order, 4, 5, 6])
    assert agrees(SOURCE, result)
    assert agrees(SOURCE, result, ranked=False) == (order == [1, 2, 3])


def test_what_was_exchanged_is_told() -> None:
    errors = {error.name: error for error in compare(SOURCE, exchanged([0, 2, 1, 3, 4, 5, 6]), USUAL, ranked=True)}
    assert errors["boxes"].difference == "2 rows stand among equals elsewhere"
    assert errors["boxes"].largest_absolute == 0
    assert errors["scores"].difference is None


@pytest.mark.parametrize("order", [[1, 0, 2, 3, 4, 5, 6], [0, 1, 2, 4, 3, 5, 6], [0, 1, 2, 3, 5, 4, 6]])
def test_rows_of_other_scores_may_not_be_exchanged(order: list[int]) -> None:
    assert not agrees(SOURCE, exchanged(order))


def test_a_box_may_not_be_exchanged_without_its_class() -> None:
    result = exchanged([0, 2, 1, 3, 4, 5, 6])
    assert not agrees(SOURCE, result | {"classes": CLASSES})


def test_a_wrong_box_among_equals_is_found() -> None:
    boxes = BOXES[:, [0, 2, 1, 3, 4, 5, 6]].copy()
    boxes[0, 1, 2] += 1
    assert not agrees(SOURCE, exchanged([0, 2, 1, 3, 4, 5, 6]) | {"boxes": boxes})


def test_where_the_list_was_cut_others_of_the_same_score_may_be_kept() -> None:
    scores = np.concatenate([np.linspace(0.9, 0.6, 18), np.full(6, 0.5)])
    boxes = np.arange(96.0).reshape(24, 4)

    def kept(*last: int) -> dict[str, Array]:
        rows = [*range(18), *last]
        return {"scores": scores[rows], "boxes": boxes[rows]}

    (_, error) = compare(kept(18, 19, 20), kept(18, 21, 19), USUAL, ranked=True)
    assert error.within_tolerance
    assert error.difference == "1 rows stand among equals elsewhere, and 1 others were kept"
    assert not agrees(kept(18, 19, 20), kept(21, 22, 23)), "with every tenth row unknown nothing is shown"
    behind = {"scores": np.append(scores[:20], 0.1), "boxes": np.append(boxes[:20], boxes[:1], axis=0)}
    other = {"scores": behind["scores"], "boxes": np.append(boxes[[*range(19), 21]], boxes[:1], axis=0)}
    assert not agrees(behind, other), "the list was not cut there"


def test_batches_may_not_be_exchanged() -> None:
    two = {name: np.concatenate([array, array + 1]) for name, array in SOURCE.items()}
    assert not agrees(two, {name: array[::-1] for name, array in two.items()})


def test_rows_of_one_table_and_lists_are_rows_too() -> None:
    table = np.concatenate([CLASSES, SCORES, BOXES], axis=-1)
    assert agrees({"y": table}, {"y": table[:, [0, 3, 1, 2, 4, 5, 6]]})
    lists = {"scores": SCORES.ravel(), "boxes": BOXES[0]}
    assert agrees(lists, {name: array[[0, 3, 1, 2, 4, 5, 6]] for name, array in lists.items()})
    assert not agrees(lists, {name: array[[1, 0, 2, 3, 4, 5, 6]] for name, array in lists.items()})


def test_nothing_is_exchanged_where_no_column_agrees() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 50, 4))
    assert not agrees({"y": noise}, {"y": noise[:, ::-1]})


def test_only_models_that_rank_may_exchange() -> None:
    for operator in ("_contrib_box_nms", "MultiBoxDetection", "DetectionOutput", "TopK", "NonMaxSuppression", "topk"):
        assert ranks(["Convolution", operator])
    assert not ranks(["Convolution", "Softmax", "LSTM"])
