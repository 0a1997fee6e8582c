"""Shape arithmetic, against numpy where numpy knows the answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klever.steps.model import shapes

dims = st.integers(1, 4)
concrete = st.lists(dims, max_size=4).map(tuple)


def hide(shape: tuple[int, ...], mask: list[bool]) -> tuple[int, ...]:
    """Make some sizes unknown."""
    return tuple(-1 if hidden else size for size, hidden in zip(shape, mask + [False] * len(shape), strict=False))


def agrees(ours: shapes.Shape, theirs: tuple[int, ...]) -> bool:
    """Say whether a partly unknown shape is one of numpy's."""
    return ours is None or (len(ours) == len(theirs) and all(a in (-1, b) for a, b in zip(ours, theirs, strict=True)))


@given(concrete, concrete)
def test_broadcast_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(shapes.ShapeMismatchError):
            shapes.broadcast(a, b)
    else:
        assert shapes.broadcast(a, b) == expected


@given(concrete, concrete, st.lists(st.booleans(), max_size=4), st.lists(st.booleans(), max_size=4))
def test_broadcast_of_partly_unknown_shapes_never_contradicts_the_full_ones(
    a: tuple[int, ...], b: tuple[int, ...], mask_a: list[bool], mask_b: list[bool]
) -> None:
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError:
        return
    assert agrees(shapes.broadcast(hide(a, mask_a), hide(b, mask_b)), expected)


@given(concrete, concrete)
def test_matmul_is_numpys(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    try:
        expected = (np.zeros(a) @ np.zeros(b)).shape
    except ValueError:
        with pytest.raises(shapes.ShapeMismatchError):
            shapes.matmul(a, b)
    else:
        assert shapes.matmul(a, b) == expected


@given(st.lists(dims, min_size=1, max_size=4).map(tuple), st.data())
def test_reduce_and_transpose_are_numpys(shape: tuple[int, ...], data: st.DataObject) -> None:
    axes = data.draw(
        st.sets(st.integers(-len(shape), len(shape) - 1)).filter(lambda a: len({x % len(shape) for x in a}) == len(a))
    )
    keep = data.draw(st.booleans())
    assert shapes.reduce(shape, axes, keep=keep) == np.zeros(shape).sum(axis=tuple(axes), keepdims=keep).shape
    order = data.draw(st.permutations(range(len(shape))))
    assert shapes.transpose(shape, order) == np.zeros(shape).transpose(order).shape


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), st.data())
def test_reshape_works_out_the_missing_size(shape: tuple[int, ...], data: st.DataObject) -> None:
    total = int(np.prod(shape))
    first = data.draw(st.sampled_from([d for d in range(1, total + 1) if total % d == 0]))
    assert shapes.reshape(shape, (first, -1)) == np.zeros(shape).reshape(first, -1).shape
    assert shapes.reshape(None, (first, -1)) == (first, -1)


def test_concatenation_adds_one_axis_and_merges_what_is_known_of_the_others() -> None:
    assert shapes.concatenate([(2, -1, 3), (-1, 4, 5)], -1) == (2, 4, 8)
    assert shapes.concatenate([(2, 3), None], 0) == (-1, 3)
    assert shapes.concatenate([None, None], 0) is None
    with pytest.raises(shapes.ShapeMismatchError):
        shapes.concatenate([(2, 3), (2, 4)], 0)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 3), st.integers(0, 4), st.integers(1, 2))
def test_a_sliding_window_is_counted_as_by_walking(
    size: int, window: int, stride: int, padding: int, dilation: int
) -> None:
    span = dilation * (window - 1) + 1
    positions = len(range(0, size + padding - span + 1, stride))
    if positions == 0:
        with pytest.raises(shapes.ShapeMismatchError):
            shapes.slide(size, window, stride=stride, padding=padding, dilation=dilation)
    else:
        assert shapes.slide(size, window, stride=stride, padding=padding, dilation=dilation) == positions


@given(st.integers(1, 30), st.integers(1, 5))
def test_a_window_with_just_enough_padding_begins_at_every_stride(size: int, stride: int) -> None:
    assert shapes.slide_same(size, stride) == len(range(0, size, stride))
    assert shapes.slide_same(-1, stride) == -1
    with pytest.raises(shapes.ShapeMismatchError):
        shapes.slide_same(size, 0)


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 3), st.integers(0, 4), st.integers(1, 2))
def test_unsliding_undoes_a_slide(positions: int, window: int, stride: int, padding: int, dilation: int) -> None:
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    try:
        size = shapes.unslide(positions, window, **options)
    except shapes.ShapeMismatchError:
        assert (positions - 1) * stride + dilation * (window - 1) + 1 < padding
        return
    assert shapes.slide(size, window, **options) == positions
    assert shapes.unslide(-1, window, **options) == -1


def test_parts_are_of_equal_size_and_unknown_where_the_whole_is() -> None:
    assert shapes.divide(7, 2) == 3
    assert shapes.divide(-1, 2) == -1


def test_an_amount_of_one_is_not_taken_for_an_unknown_size() -> None:
    assert shapes.subtract(5, 1) == 4
    assert shapes.subtract(5, -1) == 6
    assert shapes.subtract(-1, 1) == -1
